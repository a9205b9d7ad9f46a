"""Edits of a notebook or of its data, made up from a number; the same number makes the same edit."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from . import Cell

Cells = tuple[Cell, ...]
_NUMBER = re.compile(r"(?<![\w.'\"#])\d+(?:\.\d+)?(?![\w.])")
_SEED = re.compile(r"(seed\w*\(|seed *= *|random_state *= *|RandomState\(|default_rng\()\d+")
_STYLE = re.compile(
    r"(?<=alpha=)0\.\d+|(?<=color=)['\"]\w+['\"]|(?<=title\()(?=['\"])|(?<=label=['\"])|(?<=figsize=\()\d+"
)
_BOUND = re.compile(r"^(\w{2,}) = ", re.MULTILINE)


@dataclass(frozen=True)
class Edited:
    """A notebook after an edit.

    Attributes
    ----------
    names
        Cells whose text is another now, or that are new.
    data
        A data file that changes, and the text it gets; None: none does.
    """

    what: str
    cells: Cells
    names: frozenset[str] = frozenset()
    data: tuple[str, str] | None = None

    def apply(self, folder: Path) -> None:
        """Change the data file."""
        if self.data is not None:
            path = folder / self.data[0]
            path.write_text(self.data[1])
            os.utime(path, (1_710_000_000, 1_710_000_000))


def edits(cells: Cells, folder: Path, seed: str, count: int) -> list[Edited]:
    """`count` different edits, one of each kind that the notebook allows, then more of them."""
    draw = random.Random(seed)
    found: list[Edited] = []
    if len(cells) < 4:
        return found
    for attempt in range(8 * count):
        made = _KINDS[attempt % len(_KINDS)](cells, folder, draw)
        if made is not None and made.what not in {e.what for e in found}:
            found.append(made)
        if len(found) == count:
            break
    return found


def _changed(what: str, cells: Cells, name: str, text: str) -> Edited:
    return Edited(
        f"{what} in {name}",
        tuple(replace(c, text=text) if c.name == name else c for c in cells),
        frozenset({name}),
    )


def _substituted(
    what: str,
    pattern: re.Pattern[str],
    new: Callable[[re.Match[str]], str],
    cells: Cells,
    draw: random.Random,
) -> Edited | None:
    places = [(c, m) for c in cells for m in pattern.finditer(c.text)]
    if not places:
        return None
    cell, match = draw.choice(places)
    text = cell.text[: match.start()] + new(match) + cell.text[match.end() :]
    return _changed(f"{what} ({match.group()} → {new(match)})", cells, cell.name, text)


def _next(match: re.Match[str]) -> str:
    return str(int(match.group()) + 1) if match.group().isdigit() else f"{float(match.group()) * 1.25:g}"


def _early(cells: Cells, _: Path, draw: random.Random) -> Edited | None:
    return _restricted("early constant", cells, cells[: len(cells) // 3], draw)


def _late(cells: Cells, _: Path, draw: random.Random) -> Edited | None:
    return _restricted("late constant", cells, cells[2 * len(cells) // 3 :], draw)


def _restricted(what: str, cells: Cells, among: Cells, draw: random.Random) -> Edited | None:
    made = _substituted(what, _NUMBER, _next, among, draw)
    if made is None:
        return None
    new = {c.name: c for c in made.cells}
    return replace(made, cells=tuple(new.get(c.name, c) for c in cells))


def _function(cells: Cells, _: Path, draw: random.Random) -> Edited | None:
    places = [(c, m) for c in cells for m in re.finditer(r"^( +)return (.+)$", c.text, re.MULTILINE)]
    if not places:
        return None
    cell, match = draw.choice(places)
    new = f"{match[1]}edited = True\n{match[0]}"
    return _changed("function", cells, cell.name, cell.text[: match.start()] + new + cell.text[match.end() :])


def _insert(cells: Cells, _: Path, draw: random.Random) -> Edited:
    at = draw.randrange(1, len(cells))
    text = draw.choice(
        ["inserted = 1\ninserted + 1", "print('checked so far')", "import textwrap, math\nmath.sqrt(2)"]
    )
    return Edited(
        f"inserted before {cells[at].name}",
        (*cells[:at], Cell("inserted", text), *cells[at:]),
        frozenset({"inserted"}),
    )


def _delete(cells: Cells, _: Path, draw: random.Random) -> Edited:
    gone = draw.choice(cells[len(cells) // 2 :])
    return Edited(f"deleted {gone.name}", tuple(c for c in cells if c is not gone))


def _swap(cells: Cells, _: Path, draw: random.Random) -> Edited:
    at = draw.randrange(2, len(cells) - 1)
    return Edited(
        f"swapped {cells[at].name} and {cells[at + 1].name}",
        (*cells[:at], cells[at + 1], cells[at], *cells[at + 2 :]),
    )


def _rename(cells: Cells, _: Path, draw: random.Random) -> Edited | None:
    names = sorted({m[1] for c in cells for m in _BOUND.finditer(c.text)})
    if not names:
        return None
    old = draw.choice(names)
    new = tuple(
        replace(c, text=re.sub(rf"(?<![.\w'\"]){old}(?![\w'\"])(?! *=[^=].*[,)])", f"{old}_2", c.text))
        for c in cells
    )
    return Edited(f"renamed {old}", new, frozenset(n.name for n, c in zip(new, cells, strict=True) if n != c))


def _style(cells: Cells, _: Path, draw: random.Random) -> Edited | None:
    def new(match: re.Match[str]) -> str:
        text = match.group()
        if not text:
            return "'new '" if match.string[match.end() :][:1] in "'\"" else "new "
        return "'teal'" if text[0] in "'\"" else _next(match)

    return _substituted("style", _STYLE, new, cells, draw)


def _seed(cells: Cells, _: Path, draw: random.Random) -> Edited | None:
    return _substituted("seed", _SEED, lambda m: m[1] + "77", cells, draw)


def _comment(cells: Cells, _: Path, draw: random.Random) -> Edited:
    cell = draw.choice([c for c in cells if not c.text.startswith("%%")])
    return replace(_changed("comment", cells, cell.name, "# a note\n" + cell.text), names=frozenset())


def _data(cells: Cells, folder: Path, draw: random.Random) -> Edited | None:
    text = "\n".join(c.text for c in cells)
    used = [
        p
        for p in sorted(folder.rglob("*"))
        if p.suffix in (".csv", ".tsv", ".txt") and p.name in text and p.stat().st_size > 40
    ]
    if not used:
        return None
    path = draw.choice(used)
    lines = path.read_text().splitlines()
    at = draw.randrange(1, len(lines))
    match = list(re.finditer(r"(?<=,)\d+", lines[at]))
    if path.suffix == ".csv" and match:
        number = match[-1]
        lines[at] = lines[at][: number.start()] + str(int(number.group()) + 3) + lines[at][number.end() :]
    else:
        lines[at] = "River " + lines[at]
    name = str(path.relative_to(folder))
    return Edited(f"line {at} of {path.name}", cells, data=(name, "\n".join([*lines, ""])))


def _helper(cells: Cells, folder: Path, draw: random.Random) -> Edited | None:
    """A number in a function of a local module."""
    text = "\n".join(c.text for c in cells)
    used = [p for p in sorted(folder.glob("*.py")) if re.search(rf"\b{p.stem}\b", text)]
    places = [(p, m) for p in used for m in _NUMBER.finditer(p.read_text())]
    if not places:
        return None
    path, match = draw.choice(places)
    source = path.read_text()
    source = source[: match.start()] + _next(match) + source[match.end() :]
    return Edited(f"helper {path.name} ({match.group()})", cells, data=(path.name, source))


def _duplicate(cells: Cells, _: Path, draw: random.Random) -> Edited:
    at = draw.randrange(len(cells))
    copy = replace(cells[at], name=f"{cells[at].name}-copy")
    return Edited(
        f"duplicated {cells[at].name}", (*cells[: at + 1], copy, *cells[at + 1 :]), frozenset({copy.name})
    )


def _move(cells: Cells, _: Path, draw: random.Random) -> Edited:
    at, to = draw.randrange(len(cells)), draw.randrange(len(cells))
    others = [*cells[:at], *cells[at + 1 :]]
    others.insert(to, cells[at])
    return Edited(f"moved {cells[at].name} to {to}", tuple(others))


def _lines(cells: Cells, _: Path, draw: random.Random) -> Edited | None:
    """Two lines of a cell change places."""
    flat = re.compile(r"^[^\s%!#)\]}].*$")
    places = []
    for cell in cells:
        lines = cell.text.split("\n")
        places += [
            (cell, n)
            for n in range(len(lines) - 1)
            if flat.match(lines[n]) and flat.match(lines[n + 1]) and not cell.text.startswith("%%")
        ]
    if not places:
        return None
    cell, n = draw.choice(places)
    lines = cell.text.split("\n")
    lines[n], lines[n + 1] = lines[n + 1], lines[n]
    return _changed("swapped lines", cells, cell.name, "\n".join(lines))


_KINDS = (
    *(_late, _early, _data, _helper, _lines, _function, _insert, _delete, _duplicate, _move),
    *(_swap, _rename, _style, _seed, _comment),
)
