/**
 * The graph as SVG: drag or scroll to move, Ctrl and wheel or + and − to zoom, arrow keys from node to node, Enter to open.
 *
 * Moving sets one transform. Of a large graph only what lies near the view is drawn, and drawn anew when the view leaves that.
 */
import React, { useEffect, useMemo, useRef, useState } from 'react';
import type { IGraph } from '../contract';
import {
  type Direction,
  downstream,
  holds,
  type IArea,
  type ILayout,
  type INode,
  inside,
  neighbour,
  place,
  worthDrawing
} from '../model/graph';
import { plural } from '../model/format';

interface IGraphProps {
  graph: IGraph;
  /** The node whose change is shown. */
  chosen: string | null;
  onChoose: (id: string) => void;
  onOpen: (id: string) => void;
}

const NOWHERE: IArea = { left: 0, top: 0, right: 0, bottom: 0 };

interface IView {
  x: number;
  y: number;
  scale: number;
}

/** Graphs of no more nodes are drawn whole. */
const FEW = 300;

export function GraphView({ graph: whole, chosen, onChoose, onOpen }: IGraphProps): JSX.Element {
  const [elsewhere, setElsewhere] = useState(false);
  const graph = useMemo(() => worthDrawing(whole, elsewhere), [whole, elsewhere]);
  const drawing = useMemo(() => place(graph), [graph]);
  const node = drawing.nodes.find(candidate => candidate.id === chosen) ?? null;
  const reached = useMemo(
    () => (node ? downstream(graph, node.id) : new Set<string>()),
    [graph, node]
  );
  const frame = useRef<SVGSVGElement>(null);
  const group = useRef<SVGGElement>(null);
  const view = useRef<IView>({ x: 0, y: 0, scale: 1 });

  const [near, setNear] = useState<IArea>(NOWHERE);
  const drawn = useRef<IArea>(NOWHERE);
  const shown: Pick<ILayout, 'nodes' | 'edges'> = useMemo(
    () => (drawing.nodes.length <= FEW ? drawing : inside(drawing, near)),
    [drawing, near]
  );

  const move = (to: Partial<IView>) => {
    Object.assign(view.current, to);
    const { x, y, scale } = view.current;
    if (group.current) {
      group.current.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    }
    follow();
  };
  /** Have drawn what is in view, and as much again on each side. */
  const follow = () => {
    const { clientWidth = 0, clientHeight = 0 } = frame.current ?? {};
    const { x, y, scale } = view.current;
    const [width, height] = [clientWidth / scale, clientHeight / scale];
    const seen = {
      left: -x / scale,
      top: -y / scale,
      right: -x / scale + width,
      bottom: -y / scale + height
    };
    if (drawing.nodes.length > FEW && !holds(drawn.current, seen)) {
      drawn.current = {
        left: seen.left - width,
        top: seen.top - height,
        right: seen.right + width,
        bottom: seen.bottom + height
      };
      setNear(drawn.current);
    }
  };
  const zoom = (factor: number, x?: number, y?: number) => {
    const box = frame.current?.getBoundingClientRect();
    const at = { x: x ?? (box?.width ?? 0) / 2, y: y ?? (box?.height ?? 0) / 2 };
    const { scale, x: left, y: top } = view.current;
    const next = Math.min(3, Math.max(0.05, scale * factor));
    move({
      scale: next,
      x: at.x - ((at.x - left) * next) / scale,
      y: at.y - ((at.y - top) * next) / scale
    });
  };
  /** Show all of it, but no smaller than this; what does not fit lies to the right and below. */
  const fit = (least = 0.05) => {
    const box = frame.current?.getBoundingClientRect();
    if (box && box.width > 0 && drawing.width > 0) {
      const whole = Math.min(1, box.width / drawing.width, box.height / drawing.height);
      const scale = Math.max(least, whole);
      move({ scale, x: Math.max(0, (box.width - drawing.width * scale) / 2), y: 4 });
    }
  };
  const show = (target: INode) => {
    const box = frame.current?.getBoundingClientRect();
    const { x, y, scale } = view.current;
    const at = { x: x + target.x * scale, y: y + target.y * scale };
    if (box && (at.x < 20 || at.y < 20 || at.x > box.width - 20 || at.y > box.height - 20)) {
      move({ x: box.width / 2 - target.x * scale, y: box.height / 2 - target.y * scale });
    }
  };
  // a new drawing is shown as large as can be read; React's wheel listener could not prevent the page's own scrolling
  useEffect(() => {
    drawn.current = NOWHERE;
    fit(0.7);
    const element = frame.current;
    const resized = new ResizeObserver(() => follow());
    if (element) {
      resized.observe(element);
    }
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      const box = element?.getBoundingClientRect();
      if (event.ctrlKey || event.metaKey) {
        zoom(
          Math.exp(-event.deltaY / 300),
          event.clientX - (box?.x ?? 0),
          event.clientY - (box?.y ?? 0)
        );
      } else {
        move({ x: view.current.x - event.deltaX, y: view.current.y - event.deltaY });
      }
    };
    element?.addEventListener('wheel', onWheel, { passive: false });
    return () => {
      resized.disconnect();
      element?.removeEventListener('wheel', onWheel);
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [drawing]);

  const drag = (event: React.PointerEvent<SVGSVGElement>) => {
    if (event.button !== 0) {
      return;
    }
    const start = { x: event.clientX - view.current.x, y: event.clientY - view.current.y };
    const onMove = (next: PointerEvent) =>
      move({ x: next.clientX - start.x, y: next.clientY - start.y });
    const onUp = () => {
      window.removeEventListener('pointermove', onMove);
      window.removeEventListener('pointerup', onUp);
      window.removeEventListener('pointercancel', onUp);
    };
    window.addEventListener('pointermove', onMove);
    window.addEventListener('pointerup', onUp);
    window.addEventListener('pointercancel', onUp);
  };

  const press = (event: React.KeyboardEvent) => {
    const from = node ?? drawing.nodes[0];
    if (event.key.startsWith('Arrow') && from) {
      const next = node ? neighbour(drawing.nodes, from, event.key as Direction) : from;
      if (next) {
        onChoose(next.id);
        show(next);
      }
    } else if (event.key === '+' || event.key === '=') {
      zoom(1.25);
    } else if (event.key === '-') {
      zoom(0.8);
    } else if (event.key === '0') {
      fit();
    } else if (event.key === 'Enter' && node) {
      onOpen(node.id);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const cells = [...reached].filter(id => id.startsWith('cell:') && id !== node?.id);
  const rerun = node
    ? `A change of ${node.kind} ${node.label} may re-run ${plural(cells.length, 'cell')}.`
    : 'Choose a node to see what a change of it would re-run.';
  return (
    <div className="provcrt-Graph">
      <div className="provcrt-Toolbar">
        <button type="button" onClick={() => zoom(1.25)} aria-label="Zoom in" title="Zoom in (+)">
          +
        </button>
        <button type="button" onClick={() => zoom(0.8)} aria-label="Zoom out" title="Zoom out (−)">
          −
        </button>
        <button type="button" onClick={() => fit()} title="Show all (0)">
          Show all
        </button>
        <label title="Files outside of the folder that Jupyter serves">
          <input
            type="checkbox"
            checked={elsewhere}
            onChange={event => setElsewhere(event.target.checked)}
          />{' '}
          files elsewhere
        </label>
        <span className="provcrt-Legend">
          <i className="provcrt-mod-cell" /> cell <i className="provcrt-mod-file" /> file{' '}
          <i className="provcrt-mod-variable" /> variable
        </span>
      </div>
      <svg
        ref={frame}
        className="provcrt-Graph-frame"
        tabIndex={0}
        role="application"
        aria-roledescription="graph"
        aria-label={`Provenance graph of ${plural(graph.cells.length, 'cell')}, ${plural(graph.files.length, 'file')} and ${plural(graph.variables.length, 'variable')}; arrow keys move from node to node`}
        onPointerDown={drag}
        onKeyDown={press}
      >
        <g ref={group}>
          <Drawing
            {...shown}
            chosen={node?.id ?? null}
            reached={reached}
            onChoose={onChoose}
            onOpen={onOpen}
          />
        </g>
      </svg>
      <p className="provcrt-Graph-says" role="status">
        {rerun}
      </p>
    </div>
  );
}

interface IDrawingProps {
  nodes: INode[];
  edges: { from: string; to: string; path: string }[];
  chosen: string | null;
  reached: ReadonlySet<string>;
  onChoose: (id: string) => void;
  onOpen: (id: string) => void;
}

const RADIUS = { cell: 3, file: 0, variable: 12 };

function Drawing({ nodes, edges, chosen, reached, onChoose, onOpen }: IDrawingProps): JSX.Element {
  const lit = (id: string) => (reached.has(id) ? ' provcrt-mod-lit' : '');
  const calm = edges.filter(edge => !(reached.has(edge.from) && reached.has(edge.to)));
  const bright = edges.filter(edge => reached.has(edge.from) && reached.has(edge.to));
  return (
    <>
      <path className="provcrt-Edge" d={calm.map(edge => edge.path).join('')} />
      <path className="provcrt-Edge provcrt-mod-lit" d={bright.map(edge => edge.path).join('')} />
      {nodes.map(node => (
        <g
          key={node.id}
          className={`provcrt-Node provcrt-mod-${node.kind}${lit(node.id)}${node.id === chosen ? ' provcrt-mod-chosen' : ''}`}
          transform={`translate(${node.x - node.width / 2} ${node.y - node.height / 2})`}
          role="button"
          aria-label={node.title}
          data-node={node.id}
          onClick={() => onChoose(node.id)}
          onDoubleClick={() => onOpen(node.id)}
        >
          <title>{node.title}</title>
          <rect width={node.width} height={node.height} rx={RADIUS[node.kind]} />
          <text x={node.width / 2} y={16}>
            {node.label}
          </text>
        </g>
      ))}
    </>
  );
}
