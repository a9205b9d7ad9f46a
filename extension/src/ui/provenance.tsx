/** The provenance panel: the selected cell's record, and the notebook's graph. */
import { ReactWidget } from '@jupyterlab/ui-components';
import { NotebookActions } from '@jupyterlab/notebook';
import React, { useState } from 'react';
import type { IPastRecord, IRecord } from '../contract';
import { badge } from '../model/badge';
import type { INotebook, Notebooks } from '../notebooks';
import type { ProvcrtServer } from '../server';
import { GraphView } from './graphview';
import { provenanceIcon } from './icons';
import { RecordView } from './record';
import { useAnswer, useSignal } from './useSignal';

export interface IProvenanceContext {
  notebooks: Notebooks;
  server: ProvcrtServer;
  openFile: (contents: string) => void;
}

export class ProvenancePanel extends ReactWidget {
  constructor(private readonly context: IProvenanceContext) {
    super();
    this.id = 'provcrt-provenance';
    this.title.icon = provenanceIcon;
    this.title.caption = 'Provenance (PROV-CRT)';
    this.addClass('provcrt-Panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Provenance');
  }

  /** Show the graph or the cell's record. */
  turnTo(tab: Tab): void {
    this.tab = tab;
    this.update();
  }

  render(): JSX.Element {
    return <Provenance {...this.context} tab={this.tab} onTab={tab => this.turnTo(tab)} />;
  }

  private tab: Tab = 'cell';
}

export type Tab = 'cell' | 'graph';

function Provenance(
  props: IProvenanceContext & { tab: Tab; onTab: (tab: Tab) => void }
): JSX.Element {
  useSignal(props.notebooks.changed);
  const notebook = props.notebooks.current;
  return (
    <>
      <div className="provcrt-Tabs" role="tablist" aria-label="Provenance of">
        {(['cell', 'graph'] as const).map(tab => (
          <button
            key={tab}
            type="button"
            role="tab"
            aria-selected={props.tab === tab}
            onClick={() => props.onTab(tab)}
          >
            {tab === 'cell' ? 'Selected cell' : 'Graph'}
          </button>
        ))}
      </div>
      {!notebook || !notebook.link.live ? (
        <p className="provcrt-Empty">
          {notebook
            ? `Nothing to show: ${notebook.link.why}.`
            : 'Open a notebook with the kernel PROV-CRT Python to see where its results come from.'}
        </p>
      ) : props.tab === 'cell' ? (
        <CellProvenance {...props} notebook={notebook} />
      ) : (
        <NotebookGraph {...props} notebook={notebook} />
      )}
    </>
  );
}

interface IPart extends IProvenanceContext {
  notebook: INotebook;
}

function CellProvenance({ notebook, notebooks, server, openFile }: IPart): JSX.Element {
  const { state } = notebook.link;
  const cell = notebooks.cell;
  const path = notebook.panel.context.path;
  const report = cell ? state.cells[cell.model.id] : undefined;
  const id = report?.record ?? null;
  const found = useAnswer<IRecord>(id && `${path} ${id}`, () => server.record(id ?? '', path));
  const past = useAnswer<IPastRecord[]>(id && `${path} ${id} ${report?.execution_count}`, () =>
    server.history(id ?? '', path)
  );
  if (!cell) {
    return <p className="provcrt-Empty">Select a code cell.</p>;
  }
  if (!report) {
    return <p className="provcrt-Empty">This cell has not run in this session.</p>;
  }
  const said = badge(report, {
    stale: state.stale[cell.model.id],
    edited: notebook.edits.cells.has(cell.model.id),
    cwd: state.info?.cwd
  });
  const error = found.error ?? past.error;
  return (
    <div className="provcrt-Scroll">
      <p className={`provcrt-Headline provcrt-mod-${said.kind}`}>
        {report.execution_count !== null && <b>[{report.execution_count}] </b>}
        {said.line}
      </p>
      {said.details.slice(1, 1 + said.marks.length).map(detail => (
        <p key={detail} className="provcrt-Headline provcrt-mod-stale">
          {detail}
        </p>
      ))}
      {error && <p className="provcrt-Error">{error}</p>}
      {id === null && <p className="provcrt-Empty">It left no record.</p>}
      {id !== null && found.value?.record === id && (
        <RecordView
          record={found.value}
          past={past.value?.some(entry => entry.record === id) ? past.value : []}
          diff={(before, after) => server.diff(before, after, path)}
          cwd={state.info?.cwd ?? '/'}
          openFile={openFile}
          cellLabel={other => labelOf(notebook, other)}
          openCell={other => reveal(notebook, other)}
        />
      )}
    </div>
  );
}

function NotebookGraph({ notebook, notebooks, server, openFile }: IPart): JSX.Element {
  const { state } = notebook.link;
  const path = notebook.panel.context.path;
  const records: Record<string, string> = {};
  for (const [id, report] of Object.entries(state.cells)) {
    if (report.record !== null) {
      records[id] = report.record;
    }
  }
  const question = Object.keys(records).length ? `${path} ${JSON.stringify(records)}` : null;
  const graph = useAnswer(question, () => server.graph(path, records));
  const [chosen, choose] = useState<string | null>(null);
  const active = notebooks.cell ? `cell:${notebooks.cell.model.id}` : null;
  if (graph.error) {
    return <p className="provcrt-Error">{graph.error}</p>;
  }
  if (!graph.value) {
    return (
      <p className="provcrt-Empty">
        {question ? 'Drawing…' : 'No cell of this notebook has run in this session.'}
      </p>
    );
  }
  return (
    <GraphView
      graph={graph.value}
      chosen={chosen ?? active}
      onChoose={choose}
      onOpen={id => {
        if (id.startsWith('cell:')) {
          reveal(notebook, id.slice(5));
        }
        const file = graph.value?.files.find(candidate => candidate.id === id);
        if (file?.path.contents) {
          openFile(file.path.contents);
        }
      }}
    />
  );
}

/** What a cell is called: its number in this session, else its place. */
function labelOf(notebook: INotebook, id: string): string {
  const count = notebook.link.state.cells[id]?.execution_count;
  if (typeof count === 'number') {
    return `[${count}]`;
  }
  const place = notebook.panel.content.widgets.findIndex(widget => widget.model.id === id);
  return place < 0 ? 'another notebook’s cell' : `cell ${place + 1}`;
}

function reveal(notebook: INotebook, id: string): void {
  const { content } = notebook.panel;
  const index = content.widgets.findIndex(widget => widget.model.id === id);
  if (index >= 0) {
    content.deselectAll();
    content.activeCellIndex = index;
    void NotebookActions.focusActiveCell(content, { waitUntilReady: true, preventScroll: false });
  }
}
