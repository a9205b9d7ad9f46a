/** One record, in sections that say nothing when they are empty. */
import React, { useState } from 'react';
import type { IAccess, IPastRecord, IRecord, IRecordDiff } from '../contract';
import { duration, moment, within } from '../model/format';
import { Diff } from './diff';
import { useAnswer } from './useSignal';

export interface IRecordProps {
  record: IRecord;
  past: IPastRecord[];
  diff: (before: string, after: string) => Promise<IRecordDiff>;
  cwd: string;
  openFile: (contents: string) => void;
  cellLabel: (id: string) => string;
  openCell: (id: string) => void;
}

/** A section of more items than this is closed until it is opened. */
const MANY = 12;
const FILES = new Set(['file', 'folder', 'absent']);

export function RecordView(props: IRecordProps): JSX.Element {
  const { record, past } = props;
  const files = (accesses: IAccess[]) => accesses.filter(access => FILES.has(access.kind));
  const others = (accesses: IAccess[]) => accesses.filter(access => !FILES.has(access.kind));
  const variables = (accesses: IAccess[]) => accesses.filter(access => access.kind === 'variable');
  const settings = others(record.reads).filter(
    access => access.kind !== 'variable' && access.kind !== 'package' && access.kind !== 'module'
  );
  return (
    <>
      <Section
        title="Files read"
        items={files(record.reads)}
        draw={access => <FileItem {...props} access={access} />}
      />
      <Section
        title="Files written"
        items={files(record.writes)}
        draw={access => <FileItem {...props} access={access} />}
      />
      <Section
        title="Variables read"
        items={variables(record.reads)}
        draw={access => <Variable {...props} access={access} />}
      />
      <Section
        title="Variables bound"
        items={variables(record.writes)}
        draw={access => <code>{access.name}</code>}
      />
      <Section
        title="Environment and settings"
        items={settings}
        draw={access => (
          <>
            <code>{access.name}</code> <small>{access.kind}</small>
          </>
        )}
      />
      <Section
        title="Packages"
        items={record.packages}
        draw={item => (
          <>
            {item.name} <small>{item.version}</small>
          </>
        )}
      />
      <Section
        title="Processes"
        items={record.processes}
        draw={item => <code className="provcrt-Argv">{item.argv.join(' ')}</code>}
      />
      <Section title="Network" items={record.endpoints} draw={item => <code>{item}</code>} />
      {past.length > 0 && (
        <details open>
          <summary>
            History <small>{past.length}</small>
          </summary>
          <ol className="provcrt-History">
            {past.map((entry, index) => (
              <Past
                key={entry.record}
                entry={entry}
                current={entry.record === record.record}
                before={past[index + 1]?.record ?? null}
                diff={props.diff}
              />
            ))}
          </ol>
        </details>
      )}
    </>
  );
}

interface ISectionProps<T> {
  title: string;
  items: T[];
  draw: (item: T) => JSX.Element;
}

function Section<T>({ title, items, draw }: ISectionProps<T>): JSX.Element | null {
  const [all, showAll] = useState(false);
  if (items.length === 0) {
    return null;
  }
  const shown = all ? items : items.slice(0, 30);
  return (
    <details open={items.length <= MANY}>
      <summary>
        {title} <small>{items.length}</small>
      </summary>
      <ul>
        {shown.map((item, index) => (
          <li key={index}>{draw(item)}</li>
        ))}
      </ul>
      {shown.length < items.length && (
        <button type="button" className="provcrt-Link" onClick={() => showAll(true)}>
          {items.length - shown.length} more…
        </button>
      )}
    </details>
  );
}

function FileItem({ access, cwd, openFile }: IRecordProps & { access: IAccess }): JSX.Element {
  const name = within(access.path?.path ?? access.name, cwd);
  const contents = access.path?.contents;
  const note =
    access.kind === 'file' ? null : (
      <small> {access.kind === 'absent' ? 'not there' : access.kind}</small>
    );
  if (typeof contents === 'string' && access.kind === 'file') {
    return (
      <button
        type="button"
        className="provcrt-Link"
        title={`Open ${access.path?.path}`}
        onClick={() => openFile(contents)}
      >
        {name}
      </button>
    );
  }
  return (
    <span title={access.path?.path}>
      {name}
      {note}
    </span>
  );
}

function Variable(props: IRecordProps & { access: IAccess }): JSX.Element {
  const { access, cellLabel, openCell } = props;
  const { cell } = access;
  return (
    <>
      <code>{access.name}</code>
      {cell !== null && (
        <>
          {' from '}
          <button type="button" className="provcrt-Link" onClick={() => openCell(cell)}>
            {cellLabel(cell)}
          </button>
        </>
      )}
    </>
  );
}

interface IPastProps {
  entry: IPastRecord;
  current: boolean;
  before: string | null;
  diff: IRecordProps['diff'];
}

function Past({ entry, current, before, diff }: IPastProps): JSX.Element {
  const [open, setOpen] = useState(false);
  const answer = useAnswer(open && before ? `${before} ${entry.record}` : null, () =>
    diff(before ?? '', entry.record)
  );
  const found = answer.value;
  return (
    <li aria-current={current || undefined}>
      <div className="provcrt-Past">
        <span>
          {moment(entry.when)} <small>{duration(entry.seconds)}</small>
          {current && <small> · this one</small>}
        </span>
        {before && (
          <button
            type="button"
            className="provcrt-Link"
            aria-expanded={open}
            onClick={() => setOpen(!open)}
          >
            {open ? 'Hide' : 'Diff'}
          </button>
        )}
      </div>
      <small>{entry.reason}</small>
      {answer.error && <p className="provcrt-Error">{answer.error}</p>}
      {found && (
        <div className="provcrt-PastDiff">
          {found.source ? <Diff unified={found.source} /> : <small>The source is the same.</small>}
          {[...found.files, ...found.reads].map((change, index) => (
            <div key={index}>
              <small>{change.kind}</small> {change.name}: <code>{change.before ?? 'absent'}</code> →{' '}
              <code>{change.after ?? 'absent'}</code>
            </div>
          ))}
        </div>
      )}
    </li>
  );
}
