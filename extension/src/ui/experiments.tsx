/** The experiments panel: the project's executions as a tree of branches, and what can be done with them. */
import { Dialog, InputDialog, showDialog } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { ReactWidget } from '@jupyterlab/ui-components';
import { type ISignal, Signal } from '@lumino/signaling';
import React, { useEffect, useMemo, useRef, useState } from 'react';
import type { IBranch, IExecution, IProject } from '../contract';
import type { Jobs } from '../jobs';
import { basename, duration, moment, size } from '../model/format';
import { type ITreeRow, rowsInView, treeRows } from '../model/tree';
import type { ProvcrtServer } from '../server';
import { experimentsIcon } from './icons';
import { useSignal } from './useSignal';

export interface IExperimentsContext {
  server: ProvcrtServer;
  jobs: Jobs;
  /** A contents path in the project that is shown: the current notebook's, or the file browser's folder. */
  path: () => string;
  /** Told when `path` may have changed. */
  moved: ISignal<unknown, unknown>;
  openNotebook: (contents: string) => void;
  compare: (path: string, a: string, b: string) => void;
}

export class ExperimentsPanel extends ReactWidget {
  constructor(private readonly context: IExperimentsContext) {
    super();
    this.id = 'provcrt-experiments';
    this.title.icon = experimentsIcon;
    this.title.caption = 'Experiments (PROV-CRT)';
    this.addClass('provcrt-Panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Experiments');
    context.jobs.ended.connect(() => this.refresh());
    context.moved.connect(() => {
      if (context.path() !== this.path) {
        this.refresh();
      }
    });
  }

  /** Ask the server again; at once if the panel is open, else when it is opened. */
  refresh(): void {
    this.path = this.context.path();
    this.fresh = false;
    if (this.isVisible) {
      void this.load();
    }
  }

  render(): JSX.Element {
    return <Experiments panel={this} {...this.context} />;
  }

  protected onAfterShow(): void {
    if (!this.fresh) {
      this.refresh();
    }
  }

  private async load(): Promise<void> {
    this.fresh = true;
    const path = this.path;
    try {
      this.project = await this.context.server.executions(path);
      this.error = null;
    } catch (error) {
      this.project = null;
      this.error = (error as Error).message;
    }
    if (path === this.path) {
      this.loaded.emit();
    }
  }

  /** What was found, or why nothing was. */
  project: IProject | null = null;
  error: string | null = null;
  path = '';
  readonly loaded = new Signal<this, void>(this);
  private fresh = false;
}

const ROW = 40;

function Experiments(props: IExperimentsContext & { panel: ExperimentsPanel }): JSX.Element {
  const { panel } = props;
  useSignal(panel.loaded);
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const [chosen, setChosen] = useState<string[]>([]);
  const [filter, setFilter] = useState('');
  const { project } = panel;
  const rows = useMemo(
    () => (project ? treeRows(project, closed, filter) : []),
    [project, closed, filter]
  );
  const selected = chosen
    .map(id => project?.executions.find(execution => execution.id === id))
    .filter((found): found is IExecution => found !== undefined);
  const branch = project?.branches.find(candidate => candidate.id === chosen[0]) ?? null;
  const some = !!project && project.executions.length + project.branches.length > 0;

  const choose = (id: string, more: boolean) => {
    if (!more) {
      setChosen([id]);
    } else {
      setChosen(
        chosen.includes(id) ? chosen.filter(other => other !== id) : [...chosen, id].slice(-2)
      );
    }
  };
  const toggle = (id: string) => {
    const next = new Set(closed);
    if (!next.delete(id)) {
      next.add(id);
    }
    setClosed(next);
  };
  return (
    <>
      <div className="provcrt-Toolbar">
        <input
          type="search"
          className="provcrt-Filter"
          placeholder="Filter"
          aria-label="Filter executions"
          value={filter}
          onChange={event => setFilter(event.target.value)}
        />
        <button type="button" onClick={() => panel.refresh()} title="Ask the server again">
          Refresh
        </button>
      </div>
      {panel.error && <p className="provcrt-Error">{panel.error}</p>}
      {project && !some && (
        <p className="provcrt-Empty">
          No executions here yet. Record one with <i>Record an Execution of This Notebook</i> in the
          command palette, or branch from a cell.
        </p>
      )}
      {some && (
        <>
          <Tree rows={rows} chosen={chosen} onChoose={choose} onToggle={toggle} />
          <Actions {...props} selected={selected} branch={chosen.length === 1 ? branch : null} />
        </>
      )}
    </>
  );
}

interface ITreeProps {
  rows: ITreeRow[];
  chosen: string[];
  onChoose: (id: string, more: boolean) => void;
  onToggle: (id: string) => void;
}

/** Only rows in view are drawn: a project may have thousands. */
function Tree({ rows, chosen, onChoose, onToggle }: ITreeProps): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState({ top: 0, height: 600 });
  const look = () => {
    const element = frame.current;
    if (element) {
      setSeen({ top: element.scrollTop, height: element.clientHeight || 600 });
    }
  };
  useEffect(() => {
    const element = frame.current;
    if (!element) {
      return;
    }
    const observer = new ResizeObserver(look);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const press = (event: React.KeyboardEvent) => {
    const at = rows.findIndex(row => row.id === chosen[chosen.length - 1]);
    const row = rows[at];
    const go = (index: number) => {
      const next = rows[Math.min(rows.length - 1, Math.max(0, index))];
      if (next) {
        onChoose(next.id, false);
        const top = rows.indexOf(next) * ROW;
        const element = frame.current;
        if (
          element &&
          (top < element.scrollTop || top + ROW > element.scrollTop + element.clientHeight)
        ) {
          element.scrollTop = top - element.clientHeight / 2;
        }
      }
    };
    if (event.key === 'ArrowDown') {
      go(at + 1);
    } else if (event.key === 'ArrowUp') {
      go(at - 1);
    } else if (row && row.children > 0 && event.key === (row.open ? 'ArrowLeft' : 'ArrowRight')) {
      onToggle(row.id);
    } else {
      return;
    }
    event.preventDefault();
  };
  const { first, end } = rowsInView(rows.length, ROW, seen.top, seen.height);
  return (
    <div
      ref={frame}
      className="provcrt-Tree"
      role="tree"
      aria-label="Executions"
      aria-multiselectable
      tabIndex={0}
      aria-activedescendant={chosen.length ? `provcrt-row-${chosen[chosen.length - 1]}` : undefined}
      onScroll={look}
      onKeyDown={press}
    >
      <div style={{ height: rows.length * ROW, position: 'relative' }}>
        {rows.slice(first, end).map((row, index) => (
          <Row
            key={row.id}
            row={row}
            top={(first + index) * ROW}
            chosen={chosen.includes(row.id)}
            onChoose={onChoose}
            onToggle={onToggle}
          />
        ))}
      </div>
    </div>
  );
}

const SIGNS = { reproduced: '✓', volatile: '~', diverged: '≠' };

interface IRowProps extends Pick<ITreeProps, 'onChoose' | 'onToggle'> {
  row: ITreeRow;
  top: number;
  chosen: boolean;
}

function Row({ row, top, chosen, onChoose, onToggle }: IRowProps): JSX.Element {
  const { execution, branch } = row.item;
  return (
    <div
      id={`provcrt-row-${row.id}`}
      className={`provcrt-Row${chosen ? ' provcrt-mod-chosen' : ''}`}
      role="treeitem"
      aria-level={row.depth + 1}
      aria-posinset={row.place}
      aria-setsize={row.siblings}
      aria-selected={chosen}
      aria-expanded={row.children ? row.open : undefined}
      data-row={row.id}
      style={{ top, height: ROW, paddingLeft: 4 + Math.min(row.depth, 12) * 14 }}
      onClick={event => onChoose(row.id, event.ctrlKey || event.metaKey || event.shiftKey)}
    >
      <span
        className="provcrt-Row-toggle"
        aria-hidden="true"
        onClick={event => {
          event.stopPropagation();
          if (row.children) {
            onToggle(row.id);
          }
        }}
      >
        {row.children ? (row.open ? '▾' : '▸') : ''}
      </span>
      {execution ? <ExecutionText execution={execution} /> : <BranchText branch={branch} />}
    </div>
  );
}

function ExecutionText({ execution }: { execution: IExecution }): JSX.Element {
  const title = [
    `${execution.id}: ${execution.command}`,
    `${moment(execution.when)}, ${duration(execution.seconds)}, ${size(execution.size)}`,
    execution.error ?? '',
    ...execution.changes
  ];
  return (
    <div className="provcrt-Row-text" title={title.filter(Boolean).join('\n')}>
      <div>
        <b>{execution.id}</b> {execution.name || execution.command}
        {execution.tags.map(tag => (
          <span key={tag} className="provcrt-Tag">
            {tag}
          </span>
        ))}
      </div>
      <small>
        {moment(execution.when)} · {duration(execution.seconds)}
        {execution.status === 'failed' && <span className="provcrt-mod-bad"> · failed</span>}
        {execution.verdict && (
          <span
            className={execution.verdict === 'diverged' ? 'provcrt-mod-bad' : 'provcrt-mod-good'}
          >
            {' '}
            · {SIGNS[execution.verdict]} {execution.verdict}
          </span>
        )}
        {execution.relation && ` · ${execution.relation}`}
      </small>
    </div>
  );
}

function BranchText({ branch }: { branch: IBranch }): JSX.Element {
  return (
    <div className="provcrt-Row-text" title={`${branch.notebook}, a branch of ${branch.source}`}>
      <div>
        <b>{branch.id}</b> {basename(branch.notebook)}
      </div>
      <small>
        {moment(branch.when)} · branch of {basename(branch.source)}
      </small>
    </div>
  );
}

interface IActionsProps extends IExperimentsContext {
  panel: ExperimentsPanel;
  selected: IExecution[];
  /** A branch, if it alone is selected. */
  branch: IBranch | null;
}

/** What can be done with the selection; what cannot says why. */
function Actions({
  panel,
  selected,
  branch,
  server,
  jobs,
  openNotebook,
  compare
}: IActionsProps): JSX.Element {
  const [error, setError] = useState<string | null>(null);
  const { path } = panel;
  const one = selected.length === 1 ? selected[0] : null;
  const attempt = (action: () => Promise<unknown>) => () => {
    setError(null);
    action().then(
      () => panel.refresh(),
      (failure: Error) => setError(failure.message)
    );
  };
  const single = one ? null : 'select one execution';
  const button = (label: string, why: string | null, action: () => Promise<unknown>) => (
    <button
      type="button"
      aria-disabled={why !== null}
      title={why === null ? label : `${label}: ${why}`}
      onClick={why === null ? attempt(action) : () => setError(`${label}: ${why}.`)}
    >
      {label}
    </button>
  );
  return (
    <div className="provcrt-Actions" role="toolbar" aria-label="Actions on the selected executions">
      {button(
        'Open',
        branch ? null : (single ?? (one?.notebook ? null : 'it is no notebook')),
        async () =>
          openNotebook(
            branch
              ? inProject(panel.project, branch.notebook)
              : await server.open(one?.id ?? '', path)
          )
      )}
      {button(
        'Compare',
        selected.length === 2 ? null : 'select two executions (Ctrl and click)',
        async () => compare(path, selected[0].id, selected[1].id)
      )}
      {button('Repeat', single, async () => jobs.watch(await server.repeat(one?.id ?? '', path)))}
      {button('Rename', single, async () => {
        const name = await InputDialog.getText({
          title: `Rename ${one?.id}`,
          label: 'Name',
          text: one?.name
        });
        if (one && name.button.accept) {
          await server.change(one.id, path, { name: (name.value ?? '').trim() });
        }
      })}
      {button('Tag', single, async () => {
        const tags = await InputDialog.getText({
          title: `Tags of ${one?.id}`,
          label: 'Separated by commas',
          text: one?.tags.join(', ')
        });
        if (one && tags.button.accept) {
          const words = (tags.value ?? '').split(',').map(word => word.trim());
          await server.change(one.id, path, { tags: words.filter(Boolean) });
        }
      })}
      {button('Export', single, async () => {
        const file = await InputDialog.getText({
          title: `Export ${one?.id}`,
          label: 'File',
          text: `${one?.name || one?.id}.provcrt`
        });
        if (one && file.button.accept && file.value) {
          jobs.watch(await server.export(one.id, path, file.value));
        }
      })}
      {button('Delete', single, async () => {
        const sure = await showDialog({
          title: `Delete ${one?.id}?`,
          body: 'Its recorded content is freed. Branches of it stay.',
          buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Delete' })]
        });
        if (one && sure.button.accept) {
          await server.remove(one.id, path);
        }
      })}
      {error && (
        <p className="provcrt-Error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

/** The contents path of a notebook of the project. */
function inProject(project: IProject | null, notebook: string): string {
  return PathExt.join(project?.project?.root ?? '', notebook);
}
