/** The project's executions as a tree of branches, flattened to the rows that are shown. */
import type { IExecution } from '../contract';

export interface ITreeRow {
  execution: IExecution;
  /** 0 for an execution without a parent. */
  depth: number;
  children: number;
  open: boolean;
  /** Its place among its siblings, from 1, and how many they are. */
  place: number;
  siblings: number;
}

/**
 * Rows in the order in which they are shown: newest first among siblings, children below their parent.
 *
 * An execution whose parent is not there (removed, or left out by the filter) is a root; a cycle, which only a damaged
 * project can have, is broken at its oldest execution.
 */
export function treeRows(
  executions: readonly IExecution[],
  closed: ReadonlySet<string> = new Set(),
  filter = ''
): ITreeRow[] {
  const wanted = executions.filter(execution => matches(execution, filter));
  const known = new Set(wanted.map(execution => execution.id));
  const children = new Map<string | null, IExecution[]>();
  for (const execution of wanted) {
    const parent =
      execution.parent !== null && known.has(execution.parent) ? execution.parent : null;
    children.set(parent, [...(children.get(parent) ?? []), execution]);
  }
  const rows: ITreeRow[] = [];
  const seen = new Set<string>();
  const place = (siblings: readonly IExecution[], depth: number) => {
    const newest = [...siblings].sort((a, b) => b.when - a.when);
    newest.forEach((execution, index) => {
      if (seen.has(execution.id)) {
        return;
      }
      seen.add(execution.id);
      const below = children.get(execution.id) ?? [];
      const open = below.length > 0 && !closed.has(execution.id);
      rows.push({
        execution,
        depth,
        children: below.length,
        open,
        place: index + 1,
        siblings: newest.length
      });
      if (open) {
        place(below, depth + 1);
      } else {
        hide(below);
      }
    });
  };
  const hide = (hidden: readonly IExecution[]) => {
    for (const execution of hidden) {
      if (!seen.has(execution.id)) {
        seen.add(execution.id);
        hide(children.get(execution.id) ?? []);
      }
    }
  };
  place(children.get(null) ?? [], 0);
  for (const execution of wanted) {
    if (!seen.has(execution.id)) {
      place([execution], 0);
    }
  }
  return rows;
}

/** Whether all words of a filter occur in what is known of an execution. */
function matches(execution: IExecution, filter: string): boolean {
  const text = [
    execution.id,
    execution.name,
    execution.command,
    execution.verdict ?? '',
    ...execution.tags
  ]
    .join('\n')
    .toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every(word => text.includes(word));
}

/** The rows of a list that are in view, when only those are drawn. */
export function rowsInView(
  count: number,
  rowHeight: number,
  top: number,
  height: number
): { first: number; end: number } {
  const spare = 8;
  const first = Math.max(0, Math.floor(top / rowHeight) - spare);
  const end = Math.min(count, Math.ceil((top + height) / rowHeight) + spare);
  return { first: Math.min(first, Math.max(0, end - 1)), end };
}
