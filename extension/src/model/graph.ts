/** The graph of cells, files and variables: laid out once, asked what a change would re-run. */
import { graphlib, layout } from '@dagrejs/dagre';
import type { IGraph } from '../contract';
import { duration } from './format';
import { arc, crossings, type IFlow, ranks, stack } from './layers';

export type NodeKind = 'cell' | 'file' | 'variable';

export interface INode {
  id: string;
  kind: NodeKind;
  /** What is written in it, cut to fit. */
  label: string;
  /** All of it, for hover and screen readers. */
  title: string;
  /** Centre, width and height, in pixels of the unzoomed drawing. */
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface IEdge {
  from: string;
  to: string;
  /** An SVG path. */
  path: string;
  /** Where it runs. */
  area: IArea;
}

/** A part of the drawing. */
export interface IArea {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface ILayout {
  nodes: INode[];
  edges: IEdge[];
  width: number;
  height: number;
}

const HEIGHT = 24;
const LETTER = 7;
const LONGEST = 22;
/** Nodes and bends that dagre lays out in half a second. */
const BEARABLE = 1200;

/**
 * What of a graph is worth drawing: no names of modules, and no files that the server does not serve unless they are asked for.
 *
 * Files elsewhere are mostly the system's, which every process looks at.
 */
export function worthDrawing(graph: IGraph, elsewhere: boolean): IGraph {
  return {
    ...graph,
    variables: graph.variables.filter(variable => !variable.module),
    files: graph.files.filter(file => elsewhere || file.path.contents !== null)
  };
}

/** Where the nodes of a graph lie, from top to bottom; by dagre, or where that would take long, in plain layers. */
export function place(graph: IGraph): ILayout {
  const boxes = nodes(graph);
  const flows = graph.edges.filter(edge => boxes.has(edge.from) && boxes.has(edge.to));
  const rank = ranks(boxes.keys(), flows);
  if (boxes.size + crossings(rank, flows) <= BEARABLE) {
    return byDagre(boxes, flows);
  }
  const { width, height } = stack(boxes, flows, rank);
  const edges = flows.map(({ from, to }) => ({
    from,
    to,
    path: arc(boxes.get(from)!, boxes.get(to)!),
    area: around([boxes.get(from)!, boxes.get(to)!])
  }));
  return { nodes: [...boxes.values()], edges, width, height };
}

function byDagre(boxes: Map<string, INode>, flows: readonly IFlow[]): ILayout {
  const drawing = new graphlib.Graph();
  drawing.setGraph({
    rankdir: 'TB',
    // the simplex ranker takes seconds where there are thousands of nodes, and gains little in a notebook's order
    ranker: 'longest-path',
    nodesep: 14,
    ranksep: 34,
    marginx: 16,
    marginy: 16
  });
  drawing.setDefaultEdgeLabel(() => ({}));
  for (const box of boxes.values()) {
    drawing.setNode(box.id, { width: box.width, height: box.height });
  }
  for (const edge of flows) {
    drawing.setEdge(edge.from, edge.to);
  }
  layout(drawing);
  for (const box of boxes.values()) {
    const { x, y } = drawing.node(box.id);
    box.x = x;
    box.y = y;
  }
  const edges = flows.map(({ from, to }) => {
    const { points } = drawing.edge(from, to);
    return { from, to, path: curve(points), area: around(points) };
  });
  const { width = 0, height = 0 } = drawing.graph();
  return { nodes: [...boxes.values()], edges, width, height };
}

function around(points: readonly { x: number; y: number }[]): IArea {
  const xs = points.map(point => point.x);
  const ys = points.map(point => point.y);
  return {
    left: Math.min(...xs),
    top: Math.min(...ys),
    right: Math.max(...xs),
    bottom: Math.max(...ys)
  };
}

/** What of a drawing lies in a part of it, at least partly. */
export function inside(drawing: ILayout, area: IArea): Pick<ILayout, 'nodes' | 'edges'> {
  return {
    nodes: drawing.nodes.filter(
      ({ x, y, width, height }) =>
        x + width / 2 >= area.left &&
        x - width / 2 <= area.right &&
        y + height / 2 >= area.top &&
        y - height / 2 <= area.bottom
    ),
    edges: drawing.edges.filter(
      edge =>
        edge.area.right >= area.left &&
        edge.area.left <= area.right &&
        edge.area.bottom >= area.top &&
        edge.area.top <= area.bottom
    )
  };
}

/** Whether a part of a drawing holds all of another. */
export function holds(outer: IArea, inner: IArea): boolean {
  return (
    outer.left <= inner.left &&
    outer.top <= inner.top &&
    outer.right >= inner.right &&
    outer.bottom >= inner.bottom
  );
}

function nodes(graph: IGraph): Map<string, INode> {
  const found = new Map<string, INode>();
  const add = (kind: NodeKind, id: string, text: string, title: string) => {
    const label = text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
    const width = Math.max(36, label.length * LETTER + 16);
    found.set(id, { id, kind, label, title, x: 0, y: 0, width, height: HEIGHT });
  };
  for (const cell of graph.cells) {
    const took = cell.seconds === null ? '' : `, ${duration(cell.seconds)}`;
    add('cell', cell.id, cell.title, `cell ${cell.title}${took}`);
  }
  for (const file of graph.files) {
    add('file', file.id, file.name, `file ${file.path.path}`);
  }
  for (const variable of graph.variables) {
    add('variable', variable.id, variable.name, `variable ${variable.name}`);
  }
  return found;
}

function curve(points: readonly { x: number; y: number }[]): string {
  const [first, ...rest] = points.map(point => `${Math.round(point.x)} ${Math.round(point.y)}`);
  if (rest.length < 2) {
    return `M${first}L${rest.join('L')}`;
  }
  const middle = rest.slice(0, -2).map((point, index) => {
    const from = points[index + 1];
    const to = points[index + 2];
    return `Q${point} ${Math.round((from.x + to.x) / 2)} ${Math.round((from.y + to.y) / 2)}`;
  });
  return `M${first}${middle.join('')}Q${rest[rest.length - 2]} ${rest[rest.length - 1]}`;
}

/**
 * What a change of a node may change: everything downstream of it. Its cells are those that would run again.
 *
 * The node itself is among it.
 */
export function downstream(graph: Pick<IGraph, 'edges'>, from: string): Set<string> {
  const next = new Map<string, string[]>();
  for (const edge of graph.edges) {
    const targets = next.get(edge.from);
    if (targets) {
      targets.push(edge.to);
    } else {
      next.set(edge.from, [edge.to]);
    }
  }
  const reached = new Set([from]);
  for (const id of reached) {
    for (const target of next.get(id) ?? []) {
      reached.add(target);
    }
  }
  return reached;
}

export type Direction = 'ArrowUp' | 'ArrowDown' | 'ArrowLeft' | 'ArrowRight';

/** The node that an arrow key goes to: the nearest one in that direction, those straight ahead preferred. */
export function neighbour(
  all: readonly INode[],
  from: INode,
  direction: Direction
): INode | undefined {
  const vertical = direction === 'ArrowUp' || direction === 'ArrowDown';
  const sign = direction === 'ArrowDown' || direction === 'ArrowRight' ? 1 : -1;
  let best: INode | undefined;
  let least = Infinity;
  for (const node of all) {
    const ahead = sign * (vertical ? node.y - from.y : node.x - from.x);
    const aside = Math.abs(vertical ? node.x - from.x : node.y - from.y);
    if (ahead > 1 && ahead + 2 * aside < least) {
      best = node;
      least = ahead + 2 * aside;
    }
  }
  return best;
}
