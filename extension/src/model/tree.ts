/** The project's executions and branches as a tree, flattened to the rows that are shown. */
import type { IBranch, IExecution, IProject } from '../contract';
import { basename } from './format';

export type Item = { execution: IExecution; branch: null } | { execution: null; branch: IBranch };

export interface ITreeRow {
  id: string;
  item: Item;
  /** 0 for a root. */
  depth: number;
  children: number;
  open: boolean;
  /** Its place among its siblings, from 1, and how many they are. */
  place: number;
  siblings: number;
}

interface ILeaf {
  id: string;
  parent: string | null;
  when: number;
  item: Item;
  text: string;
}

/**
 * Rows in the order in which they are shown: newest first among siblings, children below their parent.
 *
 * What has a parent that is not there (removed, or left out by the filter) is a root; a cycle, which only a damaged
 * project can have, is broken at its oldest member.
 */
export function treeRows(
  project: Pick<IProject, 'executions' | 'branches'>,
  closed: ReadonlySet<string> = new Set(),
  filter = ''
): ITreeRow[] {
  const words = filter.toLowerCase().split(/\s+/);
  const wanted = leaves(project).filter(leaf => words.every(word => leaf.text.includes(word)));
  const known = new Set(wanted.map(leaf => leaf.id));
  const children = new Map<string | null, ILeaf[]>();
  for (const leaf of wanted) {
    const parent = leaf.parent !== null && known.has(leaf.parent) ? leaf.parent : null;
    const siblings = children.get(parent);
    if (siblings) {
      siblings.push(leaf);
    } else {
      children.set(parent, [leaf]);
    }
  }
  const rows: ITreeRow[] = [];
  const seen = new Set<string>();
  const place = (siblings: readonly ILeaf[], depth: number, shown: boolean) => {
    const newest = [...siblings].sort((a, b) => b.when - a.when);
    newest.forEach((leaf, index) => {
      if (seen.has(leaf.id)) {
        return;
      }
      seen.add(leaf.id);
      const below = children.get(leaf.id) ?? [];
      const open = below.length > 0 && !closed.has(leaf.id);
      if (shown) {
        rows.push({
          id: leaf.id,
          item: leaf.item,
          depth,
          children: below.length,
          open,
          place: index + 1,
          siblings: newest.length
        });
      }
      place(below, depth + 1, shown && open);
    });
  };
  place(children.get(null) ?? [], 0, true);
  for (const leaf of wanted) {
    if (!seen.has(leaf.id)) {
      place([leaf], 0, true);
    }
  }
  return rows;
}

function leaves({ executions, branches }: Pick<IProject, 'executions' | 'branches'>): ILeaf[] {
  return [
    ...executions.map(execution => ({
      id: execution.id,
      parent: execution.parent,
      when: execution.when,
      item: { execution, branch: null } as Item,
      text: [
        execution.id,
        execution.name,
        execution.command,
        execution.verdict ?? '',
        ...execution.tags
      ]
        .join('\n')
        .toLowerCase()
    })),
    ...branches.map(branch => ({
      id: branch.id,
      parent: branch.parent,
      when: branch.when,
      item: { execution: null, branch } as Item,
      text: `${branch.id}\n${basename(branch.notebook)}`.toLowerCase()
    }))
  ];
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
