"""Results of cells under the names that IPython gives them: ``Out``, ``_``, ``__``, ``___`` and ``_n``.

A replayed cell has displayed its result, but nothing has loaded it. Its place among the latest is noted at once; the value comes
when a cell asks for one of these names.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from provcrt_kernel.replay.engine import Engine

_LATEST = ("_", "__", "___")
#: The dictionary of all results.
_WHOLE = frozenset({"Out", "_oh"})


class Results:
    """Results of one shell, in the order in which they were displayed."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        # the latest first-hand values, or the place in the history of a replayed cell
        self._latest: deque[tuple[int, tuple[Any, ...]]] = deque(maxlen=3)
        self._counts: dict[int, int] = {}
        self._loaded: dict[int, Any] = {}

    def replayed(self, index: int, count: int) -> None:
        """A replayed cell, at `index` in the history, displayed one as ``Out[count]``; it is the latest, though not loaded."""
        self._latest.append((index, ()))
        self._counts[index] = count

    def executed(self, count: int) -> None:
        """A cell has run, and may have displayed one."""
        last = self._shell.last_execution_result
        if last is not None and last.result is not None:
            self._latest.append((-1, (last.result,)))
            self._counts = {index: other for index, other in self._counts.items() if other != count}

    def numbered(self, count: int) -> str:
        """Which inputs and results there are as cell `count` starts: IPython has names for each of them."""
        shown = {*self._shell.user_ns.get("_oh", ()), *self._counts.values()}
        return " ".join(map(str, (count, *sorted(shown))))

    def bring(self, engine: Engine, names: frozenset[str]) -> list[int]:
        """Results of replayed cells come to ``Out``, ``_n`` and ``_``, in the order of their cells.

        Parameters
        ----------
        names
            Those that the code mentions which asks for them.

        Returns
        -------
        list of int
            Execution counts of the results that it may ask for and that cannot be had: nothing stands in their places.

        Raises
        ------
        CannotRebuild
            A variable that was a result cannot be had.
        """
        given = engine.results()
        self._loaded |= given.results
        namespace, hook = self._shell.user_ns, self._shell.displayhook
        for old, new in given.parted:
            self._become(old, new)
        for index, count in sorted(self._counts.items()):
            if index in self._loaded:
                namespace["_oh"][count] = namespace[f"_{count}"] = self._loaded[index]
                del self._counts[index]
        out = dict(namespace["_oh"])
        if all(type(count) is int for count in out) and list(out) != sorted(out):
            namespace["_oh"].clear()  # what came late was displayed earlier
            namespace["_oh"].update(sorted(out.items(), key=lambda item: item[0]))
        whole = not _WHOLE.isdisjoint(names)
        lost = {count for count in self._counts.values() if whole or f"_{count}" in names}
        for name, (index, value) in zip(_LATEST, reversed(self._latest), strict=False):
            if value or index in self._loaded:
                setattr(hook, name, value[0] if value else self._loaded[index])
                # as IPython itself binds them: it leaves names alone that somebody else has bound
                self._shell.push({name: getattr(hook, name)}, interactive=False)
                continue
            if namespace.get(name, self) is getattr(hook, name):
                del namespace[name]
            if name in names and index in self._counts:
                lost.add(self._counts[index])
        among = {index for index, _ in self._latest}
        self._loaded = {index: value for index, value in self._loaded.items() if index in among}
        return sorted(lost)

    def _become(self, old: object, new: tuple[Any, ...]) -> None:
        """What was displayed is another object by now; or none that could be had, then it is as one that was never loaded."""
        namespace = self._shell.user_ns
        for count in [n for n, value in namespace["_oh"].items() if value is old]:
            if new:
                namespace["_oh"][count] = namespace[f"_{count}"] = new[0]
                continue
            del namespace["_oh"][count]
            namespace.pop(f"_{count}", None)
            self._counts[-count] = count
        same = [index for index, value in self._loaded.items() if value is old]
        for index in same:
            if new:
                self._loaded[index] = new[0]
            else:
                del self._loaded[index]
        latest = [(index, new if value and value[0] is old else value) for index, value in self._latest]
        self._latest.clear()
        self._latest.extend(latest)
