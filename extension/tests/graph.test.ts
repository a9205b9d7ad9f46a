import { expect, it } from 'vitest';
import type { IGraph } from '../src/contract';
import { downstream, holds, inside, neighbour, place, worthDrawing } from '../src/model/graph';

const file = (name: string) => ({
  id: `file:${name}`,
  name,
  path: { path: `/${name}`, contents: name }
});
const cell = (id: string) => ({ id: `cell:${id}`, title: id, record: id, seconds: 1 });
const variable = (name: string, by: string, module = false) => ({
  id: `variable:${name}@${by}`,
  name,
  cell: by,
  module
});

const graph: IGraph = {
  cells: [cell('load'), cell('fit'), cell('plot')],
  files: [file('data.csv')],
  variables: [variable('df', 'load'), variable('model', 'fit'), variable('np', 'load', true)],
  edges: [
    { from: 'file:data.csv', to: 'cell:load', kind: 'reads' },
    { from: 'cell:load', to: 'variable:df@load', kind: 'writes' },
    { from: 'cell:load', to: 'variable:np@load', kind: 'writes' },
    { from: 'variable:df@load', to: 'cell:fit', kind: 'reads' },
    { from: 'cell:fit', to: 'variable:model@fit', kind: 'writes' },
    { from: 'variable:df@load', to: 'cell:plot', kind: 'reads' }
  ]
};

it('leaves out modules, and files elsewhere unless they are asked for', () => {
  const lib = { id: 'file:/lib', name: 'lib', path: { path: '/lib', contents: null } };
  const more = { ...graph, files: [...graph.files, lib] };
  expect(worthDrawing(more, false).files).toEqual(graph.files);
  expect(worthDrawing(more, true).files).toContain(lib);
  expect(worthDrawing(more, false).variables.map(found => found.name)).toEqual(['df', 'model']);
});

it('lays inputs above what reads them, without overlaps', () => {
  const { nodes, edges, width, height } = place(worthDrawing(graph, false));
  const at = new Map(nodes.map(node => [node.id, node]));
  for (const edge of edges) {
    expect(at.get(edge.from)!.y).toBeLessThan(at.get(edge.to)!.y);
    expect(edge.path).toMatch(/^M[-\d ]+/);
  }
  for (const a of nodes) {
    expect(a.x + a.width / 2).toBeLessThanOrEqual(width);
    expect(a.y + a.height / 2).toBeLessThanOrEqual(height);
    for (const b of nodes) {
      const apart =
        Math.abs(a.x - b.x) >= (a.width + b.width) / 2 ||
        Math.abs(a.y - b.y) >= (a.height + b.height) / 2;
      expect(a === b || apart).toBe(true);
    }
  }
});

it('knows what a change may re-run', () => {
  expect([...downstream(graph, 'file:data.csv')].filter(id => id.startsWith('cell:'))).toEqual([
    'cell:load',
    'cell:fit',
    'cell:plot'
  ]);
  expect([...downstream(graph, 'variable:model@fit')]).toEqual(['variable:model@fit']);
});

it('goes by arrow keys to what lies there', () => {
  const { nodes } = place(graph);
  const from = nodes.find(node => node.id === 'file:data.csv')!;
  expect(neighbour(nodes, from, 'ArrowDown')?.id).toBe('cell:load');
  expect(neighbour(nodes, from, 'ArrowUp')).toBeUndefined();
});

it('lays out a graph with cycles and edges to nowhere', () => {
  const odd = {
    ...graph,
    edges: [...graph.edges, { from: 'cell:fit', to: 'file:data.csv', kind: 'writes' as const }]
  };
  odd.edges.push({ from: 'cell:fit', to: 'file:gone', kind: 'writes' });
  expect(place(odd).edges).toHaveLength(7);
  expect(place({ cells: [], files: [], variables: [], edges: [] }).nodes).toEqual([]);
});

/** A long notebook: most cells read what was bound a little above, and something from far above. */
function long(cells: number): IGraph {
  const names = Array.from({ length: cells }, (_, index) => `${index}`);
  const read = (from: number, to: string) => ({
    from: `variable:v${from}@${from}`,
    to: `cell:${to}`,
    kind: 'reads' as const
  });
  return {
    cells: names.map(cell),
    files: names.filter((_, index) => index % 4 === 0).map(file),
    variables: names.map(name => variable(`v${name}`, name)),
    edges: names.flatMap((name, index) => [
      ...(index % 4 === 0
        ? [{ from: `file:${name}`, to: `cell:${name}`, kind: 'reads' as const }]
        : []),
      { from: `cell:${name}`, to: `variable:v${name}@${name}`, kind: 'writes' as const },
      ...(index > 0 ? [read(index - 1, name)] : []),
      ...(index > 8 ? [read(Math.floor((index * 7) / 8) - 1, name)] : [])
    ])
  };
}

it('lays out what is too much for dagre in plain layers, without overlaps', () => {
  const { nodes, edges, width } = place(long(900));
  expect(nodes.length).toBe(2025);
  const at = new Map(nodes.map(node => [node.id, node]));
  expect(edges.every(edge => at.get(edge.from)!.y < at.get(edge.to)!.y)).toBe(true);
  const rows = new Map<number, typeof nodes>();
  for (const node of nodes) {
    rows.set(node.y, [...(rows.get(node.y) ?? []), node]);
  }
  for (const row of rows.values()) {
    row.sort((a, b) => a.x - b.x);
    row.forEach((node, index) => {
      const end = index + 1 < row.length ? row[index + 1].x - row[index + 1].width / 2 : width;
      expect(node.x + node.width / 2).toBeLessThanOrEqual(end);
    });
  }
  // a file lies just above who reads it first
  expect(at.get('cell:400')!.y - at.get('file:400')!.y).toBeLessThan(100);
});

it('lays out circles of many in plain layers', () => {
  const odd = long(900);
  odd.edges.push({ from: 'variable:v899@899', to: 'file:0', kind: 'writes' });
  expect(place(odd).nodes.every(node => Number.isFinite(node.x) && Number.isFinite(node.y))).toBe(
    true
  );
});

it('knows what of a drawing is in view', () => {
  const drawing = place(long(900));
  const { x, y } = drawing.nodes.find(node => node.id === 'cell:450')!;
  const area = { left: x - 100, top: y - 100, right: x + 100, bottom: y + 100 };
  const found = inside(drawing, area);
  expect(found.nodes.map(node => node.id)).toContain('cell:450');
  expect(found.nodes.length).toBeLessThan(30);
  expect(found.edges.length).toBeLessThan(400);
  expect(found.edges.some(edge => edge.from === 'cell:450')).toBe(true);
  expect(holds(area, { ...area, left: x })).toBe(true);
  expect(holds(area, { ...area, left: x - 101 })).toBe(false);
});
