/** What the gutter says of a cell: one badge for what happened last, and marks for what else holds. */
import type { ICellReport } from '../contract';
import { briefDuration, duration, within } from './format';

export type BadgeKind =
  'replayed' | 'executed' | 'unrecorded' | 'stale' | 'volatile' | 'recomputed';

export interface IBadge {
  /** What happened last. */
  kind: 'replayed' | 'executed' | 'unrecorded';
  /** What holds besides, most urgent first. */
  marks: ('stale' | 'volatile' | 'recomputed')[];
  /** A few characters for the gutter; none for what took no time worth telling. */
  brief: string;
  /** One line: what happened and why. */
  line: string;
  /** All there is to say, a line each; also what screen readers say. */
  details: string[];
}

export interface ICellCircumstances {
  /** Why the cell is stale, if it is. */
  stale?: string;
  /** Whether its source was edited since it ran. */
  edited?: boolean;
  /** Execution counts of cells that it ran again for. */
  recomputedFor?: readonly number[];
  /** The folder that paths are told from. */
  cwd?: string;
}

/** The badge of a cell that ran in this session. */
export function badge(report: ICellReport, around: ICellCircumstances = {}): IBadge {
  const cwd = around.cwd ?? '/';
  const stale = around.edited ? 'its source was edited' : around.stale;
  const again = around.recomputedFor ?? [];
  const kind =
    report.status === 'replayed'
      ? 'replayed'
      : report.not_recorded.length
        ? 'unrecorded'
        : 'executed';
  const line = headline(kind, report, cwd);
  const details = [line];
  const marks: IBadge['marks'] = [];
  if (stale !== undefined) {
    marks.push('stale');
    details.push(`stale: ${stale}`);
  }
  if (report.volatile.length) {
    marks.push('volatile');
    details.push(`volatile: ${report.volatile.join(', ')}`);
  }
  if (again.length) {
    marks.push('recomputed');
    details.push(`recomputed for ${again.map(count => `[${count}]`).join(', ')}`);
  }
  const list = (word: string, names: readonly string[]) => {
    if (names.length) {
      const more = names.length > 6 ? `, and ${names.length - 6} more` : '';
      details.push(`${word} ${names.slice(0, 6).join(', ')}${more}`);
    }
  };
  list('read', [...report.reads, ...report.files_read.map(path => within(path, cwd))]);
  list('wrote', [...report.writes, ...report.files_written.map(path => within(path, cwd))]);
  if (report.recomputed.length) {
    list(
      'recomputed first:',
      report.recomputed.map(count => `[${count}]`)
    );
  }
  details.push(...report.remarks);
  const figure = kind === 'replayed' ? report.saved_seconds : report.seconds;
  const brief = figure < 0.0995 ? '' : briefDuration(figure);
  return { kind, marks, brief, line, details };
}

function headline(kind: IBadge['kind'], report: ICellReport, cwd: string): string {
  const reason = report.reason.split(cwd.endsWith('/') ? cwd : `${cwd}/`).join('');
  switch (kind) {
    case 'replayed':
      return `replayed, ${duration(report.saved_seconds)} saved`;
    case 'unrecorded':
      return `executed in ${duration(report.seconds)}, not memoizable: ${report.not_recorded.join(', ')}`;
    case 'executed':
      return `executed in ${duration(report.seconds)}${reason ? `: ${reason}` : ''}`;
  }
}

/** Whether a cell's line is worth showing unasked: it says something that its shape and a first run do not. */
export function worthALine(found: IBadge, report: ICellReport): boolean {
  const news = !/^(first run|never ran|no record)/.test(report.reason);
  return (
    found.marks.length > 0 || found.kind === 'unrecorded' || (found.kind === 'executed' && news)
  );
}
