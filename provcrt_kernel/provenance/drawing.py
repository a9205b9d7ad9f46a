"""A PROV document as a graph to be drawn: what flowed from where to where, from the left to the right.

Files that were read and written by the same activities are drawn as one, where they are many. The layers follow
K. Sugiyama, S. Tagawa, M. Toda, Methods for Visual Understanding of Hierarchical System Structures (IEEE Trans. SMC 11, 1981).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from prov.model import ProvDocument

Kind = Literal["entity", "activity", "agent"]
_FEW = 8  # files with the same readers and writers that are drawn one by one
_SWEEPS = 12
_GAP, _LANE, _HEIGHT, _LONGEST = 14.0, 90.0, 30.0, 44
_FILL = {"entity": "#fffcd6", "activity": "#dfe6ff", "agent": "#fde8c8"}
_LINE = {"entity": "#a8924a", "activity": "#5468b0", "agent": "#b87b2e"}
_KEY = (("entity", "file"), ("activity", "process or cell"), ("agent", "user"))


@dataclass(frozen=True)
class Node:
    """Something that is drawn: what it is, and what it is called."""

    kind: Kind
    label: str


@dataclass(frozen=True)
class Edge:
    """An arrow between two nodes, by their places; `started` where it is no flow but one started the other."""

    tail: int
    head: int
    started: bool = False


@dataclass(frozen=True)
class Graph:
    """What is drawn."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @classmethod
    def of(cls, document: ProvDocument) -> Graph:
        """Return the graph of a document."""
        from prov.model import (
            ProvActivity,
            ProvAgent,
            ProvAssociation,
            ProvEntity,
            ProvGeneration,
            ProvStart,
            ProvUsage,
        )

        labels: dict[str, Node] = {}
        kinds: tuple[tuple[type, Kind], ...] = (
            (ProvEntity, "entity"),
            (ProvActivity, "activity"),
            (ProvAgent, "agent"),
        )
        for type_, kind in kinds:
            for record in document.get_records(type_):
                labels[str(record.identifier)] = Node(kind, str(record.label))
        whole = next((name for name, node in labels.items() if node.kind == "activity"), "")
        arrows: dict[tuple[str, str, bool], None] = {}
        for record in document.get_records(ProvUsage):
            arrows[str(record.args[1]), str(record.args[0]), False] = None
        for record in document.get_records(ProvGeneration):
            arrows[str(record.args[1]), str(record.args[0]), False] = None
        for record in document.get_records(ProvStart):
            arrows[str(record.args[2]), str(record.args[0]), True] = None
        for record in document.get_records(ProvAssociation):
            if str(record.args[0]) == whole:  # the others are the same user's
                arrows[str(record.args[1]), whole, True] = None
        known = [arrow for arrow in arrows if arrow[0] in labels and arrow[1] in labels]
        return cls.of_arrows(labels, known)

    @classmethod
    def of_arrows(cls, labels: Mapping[str, Node], arrows: Sequence[tuple[str, str, bool]]) -> Graph:
        """Return the graph of named nodes and the arrows between them, as `Edge` has them; files of the same fate are one."""
        around: dict[str, list[tuple[str, bool]]] = defaultdict(list)
        for tail, head, _ in arrows:
            around[tail].append((head, True))
            around[head].append((tail, False))
        alike: dict[object, list[str]] = defaultdict(list)
        for name, node in labels.items():
            alike[frozenset(around[name]) if node.kind == "entity" else name].append(name)
        places: dict[str, int] = {}
        nodes: list[Node] = []
        for names in alike.values():
            if len(names) <= _FEW:
                for name in names:
                    places[name] = len(nodes)
                    nodes.append(labels[name])
                continue
            first = min(names, key=lambda name: labels[name].label)
            places |= dict.fromkeys(names, len(nodes))
            nodes.append(Node("entity", f"{labels[first].label} and {len(names) - 1} more files"))
        edges = dict.fromkeys(Edge(places[tail], places[head], started) for tail, head, started in arrows)
        return cls(tuple(nodes), tuple(edges))


def mermaid(graph: Graph) -> str:
    """Return a graph as Mermaid draws it (https://mermaid.js.org/syntax/flowchart.html)."""
    shapes = {"entity": '["{}"]', "activity": '(["{}"])', "agent": '{{{{"{}"}}}}'}
    lines = ["flowchart LR"]
    for place, node in enumerate(graph.nodes):
        label = (
            node.label.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace("\n", " ")
        )
        lines.append(f"  n{place}{shapes[node.kind].format(label)}")
    for edge in graph.edges:
        lines.append(f"  n{edge.tail} {'-.->' if edge.started else '-->'} n{edge.head}")
    return "\n".join(lines)


def svg(graph: Graph, title: str) -> str:
    """Return a graph as a picture (https://www.w3.org/TR/SVG2/)."""
    return _Picture(graph, title).text()


class _Picture:
    """A drawing of a graph: layers, an order in each, places, and then lines of text."""

    def __init__(self, graph: Graph, title: str) -> None:
        self._graph = graph
        self._title = title
        self._labels = [_short(node.label) for node in graph.nodes]
        self._widths = [_text_width(label) + 26 for label in self._labels]
        self._flow = _without_circles(len(graph.nodes), graph.edges)
        self._layer = _layers(len(graph.nodes), self._flow)
        self._paths = self._with_bends()
        self._columns = self._ordered()
        self._y = self._aligned()
        self._x = self._across()

    def _with_bends(self) -> list[list[int]]:
        """Return each edge as places from layer to layer: where it passes a layer it gets a place there."""
        paths = []
        for tail, head in self._flow:
            path = [tail]
            for layer in range(self._layer[tail] + 1, self._layer[head]):
                path.append(len(self._layer))
                self._layer.append(layer)
                self._widths.append(0.0)
            paths.append([*path, head])
        return paths

    def _neighbours(self) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        before: dict[int, list[int]] = defaultdict(list)
        behind: dict[int, list[int]] = defaultdict(list)
        for path in self._paths:
            for one, other in pairwise(path):
                behind[one].append(other)
                before[other].append(one)
        return before, behind

    def _ordered(self) -> list[list[int]]:
        """Return the places of each layer in an order that lets few edges cross."""
        columns: list[list[int]] = [[] for _ in range(max(self._layer, default=-1) + 1)]
        for place, layer in enumerate(self._layer):
            columns[layer].append(place)
        before, behind = self._neighbours()
        for sweep in range(_SWEEPS):
            near, turns = (before, columns) if sweep % 2 == 0 else (behind, columns[::-1])
            rank = {place: number for column in columns for number, place in enumerate(column)}
            for column in turns:
                means = {
                    place: sum(rank[each] for each in near[place]) / len(near[place])
                    if near[place]
                    else rank[place]
                    for place in column
                }
                column.sort(key=lambda place: (means[place], rank[place]))
                rank |= {place: number for number, place in enumerate(column)}
        return columns

    def _room(self, place: int) -> float:
        return _HEIGHT if place < len(self._graph.nodes) else 6.0

    def _aligned(self) -> dict[int, float]:
        """Return how far down the middle of each place is: near its neighbours, and clear of those of its layer."""
        y: dict[int, float] = {}
        for column in self._columns:
            at = 0.0
            for place in column:
                at += self._room(place) / 2
                y[place] = at
                at += self._room(place) / 2 + _GAP
        before, behind = self._neighbours()
        for sweep in range(_SWEEPS):
            near, turns = (before, self._columns) if sweep % 2 == 0 else (behind, self._columns[::-1])
            for column in turns:
                wanted = [
                    sum(y[each] for each in near[place]) / len(near[place]) if near[place] else y[place]
                    for place in column
                ]
                for place, at in zip(column, self._apart(column, wanted), strict=True):
                    y[place] = at
        top = min((at - self._room(place) / 2 for place, at in y.items()), default=0.0)
        return {place: at - top for place, at in y.items()}

    def _apart(self, column: Sequence[int], wanted: Sequence[float]) -> list[float]:
        """Return places as near to the wanted ones as can be without that they overlap (isotonic regression)."""
        least = [0.0]  # how far behind the first each is at least
        for one, other in pairwise(column):
            least.append(least[-1] + (self._room(one) + self._room(other)) / 2 + _GAP)
        blocks: list[tuple[float, int]] = []
        for want, offset in zip(wanted, least, strict=True):
            total, count = want - offset, 1
            while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
                total, count = total + blocks[-1][0], count + blocks[-1][1]
                blocks.pop()
            blocks.append((total, count))
        found = [total / count for total, count in blocks for _ in range(count)]
        return [start + offset for start, offset in zip(found, least, strict=True)]

    def _across(self) -> list[float]:
        """Return how far to the right each layer begins."""
        found, at = [], 0.0
        for column in self._columns:
            found.append(at)
            at += max((self._widths[place] for place in column), default=0.0) + _LANE
        self._width = max(at - _LANE, 0.0)
        return found

    def _left(self, place: int) -> float:
        return self._x[self._layer[place]]

    def _right(self, place: int) -> float:
        column = self._columns[self._layer[place]]
        if place >= len(self._graph.nodes):  # it passes by the widest
            return self._left(place) + max(self._widths[each] for each in column)
        return self._left(place) + self._widths[place]

    def text(self) -> str:
        """Return the picture."""
        height = max((at + self._room(place) / 2 for place, at in self._y.items()), default=0.0)
        width = max(self._width, 420.0, _text_width(self._title) * 1.3)
        margin, head, foot = 20.0, 44.0, 40.0
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 2 * margin:.0f}"'
            f' height="{height + head + foot + margin:.0f}"'
            f' viewBox="0 0 {width + 2 * margin:.0f} {height + head + foot + margin:.0f}"'
            ' font-family="DejaVu Sans, Verdana, sans-serif" font-size="12">',
            f"<title>{escape(self._title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0.8 8 4 0 7.2z" fill="#666"/></marker></defs>',
            '<rect width="100%" height="100%" fill="#fff"/>',
            f'<text x="{margin:.0f}" y="26" font-size="15" font-weight="bold">{escape(_short(self._title, 110))}</text>',
            f'<g transform="translate({margin:.0f} {head:.0f})">',
        ]
        back = {(edge.head, edge.tail) for edge in self._graph.edges}
        kinds = {(edge.tail, edge.head): edge.started for edge in reversed(self._graph.edges)}
        for (tail, head_), path in zip(self._flow, self._paths, strict=True):
            turned = (tail, head_) not in kinds and (tail, head_) in back
            started = kinds.get((tail, head_), kinds.get((head_, tail), False))
            lines.append(self._line(path, started=started, turned=turned))
        lines += [self._node(place, node) for place, node in enumerate(self._graph.nodes)]
        lines.append("</g>")
        lines.append(self._legend(margin, height + head + 28))
        return "\n".join([*lines, "</svg>"])

    def _line(self, path: Sequence[int], *, started: bool, turned: bool) -> str:
        points = [(self._right(path[0]), self._y[path[0]])]
        for place in path[1:-1]:
            points += [(self._left(place), self._y[place]), (self._right(place), self._y[place])]
        points.append((self._left(path[-1]), self._y[path[-1]]))
        drawn = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for number, ((ax, ay), (bx, by)) in enumerate(pairwise(points)):
            if number % 2:
                drawn += f"L{bx:.1f} {by:.1f}"
            else:
                middle = (ax + bx) / 2
                drawn += f"C{middle:.1f} {ay:.1f} {middle:.1f} {by:.1f} {bx:.1f} {by:.1f}"
        dash = ' stroke-dasharray="4 4"' if started else ""
        tip = 'marker-start="url(#tip)"' if turned else 'marker-end="url(#tip)"'
        return f'<path d="{drawn}" fill="none" stroke="#888"{dash} {tip}/>'

    def _node(self, place: int, node: Node) -> str:
        x, y, width = self._left(place), self._y[place] - _HEIGHT / 2, self._widths[place]
        style = f'fill="{_FILL[node.kind]}" stroke="{_LINE[node.kind]}"'
        shape = _shape(node.kind, x, y, width, style)
        words = f'<text x="{x + width / 2:.1f}" y="{y + 19.5:.1f}" text-anchor="middle">{escape(self._labels[place])}</text>'
        return f"<g><title>{escape(_clean(node.label))}</title>{shape}{words}</g>"

    def _legend(self, x: float, y: float) -> str:
        parts = [f'<g transform="translate({x:.0f} {y:.0f})" fill="#444" font-size="11">']
        at = 0.0
        for kind, name in _KEY:
            style = f'fill="{_FILL[kind]}" stroke="{_LINE[kind]}"'
            parts.append(_shape(kind, at, -11, 24, style, 14))
            parts.append(f'<text x="{at + 30:.0f}" y="0">{name}</text>')
            at += 44 + _text_width(name)
        for name, dash in (("flow", ""), ("started", ' stroke-dasharray="4 4"')):
            parts.append(f'<path d="M{at:.0f} -4h28" stroke="#888"{dash} marker-end="url(#tip)"/>')
            parts.append(f'<text x="{at + 34:.0f}" y="0">{name}</text>')
            at += 48 + _text_width(name)
        return "".join([*parts, "</g>"])


def _shape(kind: str, x: float, y: float, width: float, style: str, height: float = _HEIGHT) -> str:
    """Return the shape that PROV's own pictures give a kind: an oval, a box, a house."""
    if kind == "entity":
        rx = min(height / 2, width / 2)
        return (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{rx:.1f}" {style}/>'
        )
    if kind == "activity":
        return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {style}/>'
    points = [
        (x, y + height),
        (x, y + height * 0.3),
        (x + width / 2, y - height * 0.1),
        (x + width, y + height * 0.3),
    ]
    points.append((x + width, y + height))
    return f"<polygon points={quoteattr(' '.join(f'{a:.1f},{b:.1f}' for a, b in points))} {style}/>"


def _without_circles(count: int, edges: Iterable[Edge]) -> list[tuple[int, int]]:
    """Return the edges, those that would close a circle turned round, and each pair once."""
    behind: dict[int, list[int]] = defaultdict(list)
    for edge in edges:
        if edge.tail != edge.head:
            behind[edge.tail].append(edge.head)
    state = [0] * count  # 1 where it is on the way that is being followed, 2 where it is done
    found: dict[tuple[int, int], None] = {}
    incoming = {edge.head for edge in edges}
    for root in sorted(range(count), key=lambda place: place in incoming):
        if state[root]:
            continue
        state[root] = 1
        way = [(root, iter(behind[root]))]
        while way:
            place, rest = way[-1]
            head = next(rest, None)
            if head is None:
                state[place] = 2
                way.pop()
            elif state[head] == 1:
                found.setdefault((head, place))
            else:
                found.setdefault((place, head))
                if not state[head]:
                    state[head] = 1
                    way.append((head, iter(behind[head])))
    return list(found)


def _layers(count: int, flow: Sequence[tuple[int, int]]) -> list[int]:
    """Return the layer of each place: behind all that it comes from, and as near to what comes of it as can be."""
    behind: dict[int, list[int]] = defaultdict(list)
    waiting = [0] * count
    for tail, head in flow:
        behind[tail].append(head)
        waiting[head] += 1
    layer = [0] * count
    ready = [place for place in range(count) if not waiting[place]]
    order = []
    while ready:
        place = ready.pop()
        order.append(place)
        for head in behind[place]:
            layer[head] = max(layer[head], layer[place] + 1)
            waiting[head] -= 1
            if not waiting[head]:
                ready.append(head)
    tails = {head for _, head in flow}
    for place in reversed(order):
        if place not in tails and behind[place]:
            layer[place] = min(layer[head] for head in behind[place]) - 1
    return layer


def _clean(text: str) -> str:
    """Return a text as XML may have it: without control characters and halves of surrogate pairs."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _short(text: str, most: int = _LONGEST) -> str:
    text = _clean(text)
    if len(text) <= most:
        return text
    return f"{text[: most // 3]}…{text[-(most - most // 3 - 1) :]}"


def _text_width(text: str) -> float:
    """Return how wide a text is in DejaVu Sans of 12 pixels, or rather wider."""
    return sum(4.0 if each in "iljI.,:;'|!/()[]ft " else 10.4 if each in "mwMW@%—…" else 7.6 for each in text)
