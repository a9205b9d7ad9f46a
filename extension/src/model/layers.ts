/** Layers of a graph, and a drawing of many of them: one pass, without the bends by which dagre leads long edges round. */

export interface IBox {
  id: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface IFlow {
  from: string;
  to: string;
}

const GAP = 14;
const ROW = 58;
const MARGIN = 16;

/** The layer of each node: below all that it depends on; what depends on nothing lies just above who asks for it first. */
export function ranks(ids: Iterable<string>, flows: readonly IFlow[]): Map<string, number> {
  const waits = new Map<string, number>();
  for (const id of ids) {
    waits.set(id, 0);
  }
  const next = new Map<string, string[]>();
  for (const { from, to } of flows) {
    waits.set(to, (waits.get(to) ?? 0) + 1);
    const targets = next.get(from);
    if (targets) {
      targets.push(to);
    } else {
      next.set(from, [to]);
    }
  }
  const sources = [...waits.keys()].filter(id => waits.get(id) === 0);
  const found = new Map<string, number>();
  const left = new Set(waits.keys());
  const ready = [...sources];
  while (left.size > 0) {
    // in a circle everybody waits: who came first begins
    const id = ready.pop() ?? (left.values().next().value as string);
    if (!left.delete(id)) {
      continue;
    }
    const rank = found.get(id) ?? 0;
    found.set(id, rank);
    for (const target of next.get(id) ?? []) {
      if (left.has(target)) {
        found.set(target, Math.max(found.get(target) ?? 0, rank + 1));
        waits.set(target, waits.get(target)! - 1);
        if (waits.get(target) === 0) {
          ready.push(target);
        }
      }
    }
  }
  for (const id of sources) {
    const below = (next.get(id) ?? []).map(target => found.get(target)!);
    if (below.length > 0) {
      found.set(id, Math.max(0, Math.min(...below) - 1));
    }
  }
  return found;
}

/** How many layers edges cross on their way: dagre bends each of them there, which takes its time. */
export function crossings(rank: ReadonlyMap<string, number>, flows: readonly IFlow[]): number {
  return flows.reduce(
    (sum, { from, to }) => sum + Math.max(0, rank.get(to)! - rank.get(from)! - 1),
    0
  );
}

/** Give each box its place, below what it depends on as far as there is room; returns the drawing's size. */
export function stack(
  boxes: ReadonlyMap<string, IBox>,
  flows: readonly IFlow[],
  rank: ReadonlyMap<string, number>
): { width: number; height: number } {
  const above = new Map<string, IBox[]>();
  for (const { from, to } of flows) {
    const box = boxes.get(from)!;
    const known = above.get(to);
    if (known) {
      known.push(box);
    } else {
      above.set(to, [box]);
    }
  }
  const rows: IBox[][] = [];
  for (const box of boxes.values()) {
    (rows[rank.get(box.id)!] ??= []).push(box);
  }
  let width = 0;
  rows.forEach((row, layer) => {
    for (const box of row) {
      const over = (above.get(box.id) ?? []).filter(other => rank.get(other.id)! < layer);
      box.x = over.reduce((sum, other) => sum + other.x, 0) / (over.length || 1);
    }
    row.sort((a, b) => a.x - b.x);
    let edge = MARGIN;
    for (const box of row) {
      box.x = Math.max(box.x, edge + box.width / 2);
      box.y = MARGIN + box.height / 2 + layer * ROW;
      edge = box.x + box.width / 2 + GAP;
    }
    width = Math.max(width, edge - GAP + MARGIN);
  });
  return { width, height: 2 * MARGIN + (rows.length - 1) * ROW + 24 };
}

/** An SVG path from the foot of one box to the head of another. */
export function arc(from: IBox, to: IBox): string {
  const [start, end] = [from.y + from.height / 2, to.y - to.height / 2].map(Math.round);
  const [left, right] = [from.x, to.x].map(Math.round);
  const bend = Math.min(40, Math.abs(end - start) / 2);
  return `M${left} ${start}C${left} ${Math.round(start + bend)} ${right} ${Math.round(end - bend)} ${right} ${end}`;
}
