/** Two executions side by side: what differs, then each cell's source and outputs. */
import { MainAreaWidget } from '@jupyterlab/apputils';
import type { IOutput } from '@jupyterlab/nbformat';
import { OutputAreaModel, SimplifiedOutputArea } from '@jupyterlab/outputarea';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ReactWidget } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import React, { useEffect, useRef, useState } from 'react';
import type { IComparedCell, IComparison, IExecution } from '../contract';
import { differing, duration, moment } from '../model/format';
import { Diff } from './diff';
import { experimentsIcon } from './icons';

/** A tab of the main area with two executions compared. */
export function comparisonTab(
  comparison: IComparison,
  rendermime: IRenderMimeRegistry
): MainAreaWidget<Widget> {
  const content = ReactWidget.create(
    <Comparison comparison={comparison} rendermime={rendermime} />
  );
  content.addClass('provcrt-Compare');
  const tab = new MainAreaWidget<Widget>({ content });
  tab.id = `provcrt-compare-${comparison.a.id}-${comparison.b.id}`;
  tab.title.label = `${comparison.a.id} ↔ ${comparison.b.id}`;
  tab.title.icon = experimentsIcon;
  tab.title.closable = true;
  return tab;
}

interface IComparisonProps {
  comparison: IComparison;
  rendermime: IRenderMimeRegistry;
}

function Comparison({ comparison, rendermime }: IComparisonProps): JSX.Element {
  const [all, showAll] = useState(false);
  const { a, b } = comparison;
  const different = comparison.cells.filter(cell => cell.differs.length > 0);
  const cells = all ? comparison.cells : different;
  return (
    <div className="provcrt-Compare-body">
      <div className="provcrt-Compare-row provcrt-Compare-heads">
        <Head execution={a} />
        <Head execution={b} />
      </div>
      <Differences title="Parameters" rows={comparison.parameters} />
      <Differences
        title="Files"
        rows={comparison.files.map(file => ({ ...file, name: `${file.path} (${file.role})` }))}
      />
      <Differences title="Environment" rows={comparison.environment} />
      {comparison.changes.map(change => (
        <section key={`${change.part} ${change.name}`}>
          <h3>
            {change.part}: {change.name}
          </h3>
          {change.diff ? (
            <Diff unified={change.diff} />
          ) : (
            <p>
              <code>{change.before}</code> → <code>{change.after}</code>
            </p>
          )}
        </section>
      ))}
      <div className="provcrt-Toolbar">
        <span>
          {different.length} of {comparison.cells.length} cells differ
        </span>
        <label>
          <input type="checkbox" checked={all} onChange={event => showAll(event.target.checked)} />{' '}
          Show all
        </label>
      </div>
      {cells.map(cell => (
        <section key={cell.id} className="provcrt-Compare-cell">
          <h3>
            {cell.number === null ? 'Cell' : `Cell ${cell.number}`}
            <small> {differing(cell.differs)}</small>
          </h3>
          <div className="provcrt-Compare-row">
            <Side cell={cell.a} other={cell.b} rendermime={rendermime} />
            <Side cell={cell.b} other={cell.a} rendermime={rendermime} />
          </div>
        </section>
      ))}
    </div>
  );
}

function Head({ execution }: { execution: IExecution }): JSX.Element {
  return (
    <div>
      <h2>
        {execution.id} {execution.name || execution.command}
      </h2>
      <small>
        {moment(execution.when)} · {duration(execution.seconds)}
        {execution.verdict && ` · ${execution.verdict}`}
      </small>
    </div>
  );
}

interface IDifference {
  name: string;
  a: string | null;
  b: string | null;
}

function Differences({ title, rows }: { title: string; rows: IDifference[] }): JSX.Element | null {
  if (rows.length === 0) {
    return null;
  }
  return (
    <section>
      <h3>{title}</h3>
      <table className="provcrt-Table">
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              <th scope="row">{row.name}</th>
              <td>{row.a ?? '—'}</td>
              <td>{row.b ?? '—'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface ISideProps {
  cell: IComparedCell | null;
  other: IComparedCell | null;
  rendermime: IRenderMimeRegistry;
}

function Side({ cell, other, rendermime }: ISideProps): JSX.Element {
  if (!cell) {
    return <div className="provcrt-Empty">not there</div>;
  }
  const theirs = new Set(other?.source.split('\n'));
  return (
    <div>
      <pre className="provcrt-Compare-source">
        {cell.source.split('\n').map((line, index) => (
          <div
            key={index}
            className={other && !theirs.has(line) ? 'provcrt-mod-changed' : undefined}
          >
            {line || ' '}
          </div>
        ))}
      </pre>
      <Outputs outputs={cell.outputs} rendermime={rendermime} />
    </div>
  );
}

/** Outputs as the notebook shows them, images included; they are not trusted, so no script of theirs runs. */
function Outputs({
  outputs,
  rendermime
}: {
  outputs: unknown[];
  rendermime: IRenderMimeRegistry;
}): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!place.current || outputs.length === 0) {
      return;
    }
    const model = new OutputAreaModel({ values: outputs as IOutput[], trusted: false });
    const area = new SimplifiedOutputArea({ model, rendermime });
    Widget.attach(area, place.current);
    return () => {
      area.dispose();
      model.dispose();
    };
  }, [outputs, rendermime]);
  return <div ref={place} className="provcrt-Compare-outputs" />;
}
