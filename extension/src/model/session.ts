/** What the page knows of one kernel session: the kernel's messages, folded one after the other. */
import type { ICellReport, ISessionInfo, KernelMessage } from '../contract';

export interface ISessionState {
  readonly info: ISessionInfo | null;
  readonly cells: Readonly<Record<string, ICellReport>>;
  readonly stale: Readonly<Record<string, string>>;
}

export const NO_SESSION: ISessionState = { info: null, cells: {}, stale: {} };

/** The state after a message; the same object if the message is none of the state. */
export function fold(state: ISessionState, message: KernelMessage): ISessionState {
  switch (message.type) {
    case 'session': {
      const { type: _, ...info } = message;
      return { ...state, info };
    }
    case 'cells':
      return { ...state, cells: { ...state.cells, ...message.cells } };
    case 'stale':
      return { ...state, stale: message.cells };
    default:
      return state;
  }
}

/** Cells that ran again for the state of others: their ids, and the execution counts of those others. */
export function recomputedFor(state: ISessionState): Map<string, number[]> {
  const byCount = new Map<number, string>();
  for (const [id, report] of Object.entries(state.cells)) {
    if (report.execution_count !== null) {
      byCount.set(report.execution_count, id);
    }
  }
  const found = new Map<string, number[]>();
  for (const report of Object.values(state.cells)) {
    for (const count of report.recomputed) {
      const id = byCount.get(count);
      if (id !== undefined && report.execution_count !== null) {
        found.set(id, [...(found.get(id) ?? []), report.execution_count]);
      }
    }
  }
  return found;
}

/** The next cell that "Run what changed" runs: the first changed one, in the notebook's order, that it has not run yet. */
export function nextChanged(
  order: readonly string[],
  state: ISessionState,
  edited: ReadonlySet<string>,
  done: ReadonlySet<string>
): string | undefined {
  return order.find(id => !done.has(id) && (id in state.stale || edited.has(id)));
}
