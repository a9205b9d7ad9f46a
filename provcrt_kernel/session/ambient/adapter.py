"""What an ambient slot is: a name, a way to read hidden state as plain data, and a way to put it back.

Plain data is what msgpack carries: None, booleans, integers of 64 bits, floats, text, bytes, lists, and
dicts whose keys are text. It holds lists and never tuples, so that a value which went through the store
still equals a new capture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from .plain import Inexpressible

Kind = Literal["rng", "setting", "identity"]


class Adapter(Protocol):
    """One ambient slot: hidden state outside of the namespace that cells change and later cells see.

    Attributes
    ----------
    name : str
        The slot's name, as users see it: ``"numpy.random"``, ``"cwd"``.
    kind : {"rng", "setting", "identity"}
        A *setting* is read by every cell that it is visible to. An *rng* is read only by a cell that moves
        it or asks for it. An *identity* is a fact of this process (its arguments, its session's sockets): it
        is read only by a cell that asks for it, and nobody can restore it.
    packages : frozenset of str
        Top-level modules of which one must be loaded for the slot to exist. Empty: it always exists.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def packages(self) -> frozenset[str]: ...

    def capture(self) -> object | None:
        """Return the slot's value as plain data, or None while its library is not loaded; import nothing."""

    def restore(self, value: object) -> None:
        """Make ``capture() == value`` again, changing only what differs; may import the slot's library.

        Parts of `value` that are inexpressible stay as they are now.
        """


@dataclass(frozen=True, slots=True)
class Builtin:
    """An adapter made of two functions, as all built-in ones are.

    Attributes
    ----------
    read : callable
        Returns plain data, or None while the library is not loaded.
    write : callable
        Takes what `read` returned, never None.
    asks : callable
        Returns the identifiers and string constants by which source asks for the slot's value.
    seeds : frozenset of str
        Identifiers by which source gives an RNG a known state; without one a moved RNG is entropy.
    begin : callable
        Told that the session begins: what was done to the slot before was no cell.
    """

    name: str
    read: Callable[[], object | None]
    write: Callable[[object], None]
    kind: Kind = "setting"
    packages: frozenset[str] = frozenset()
    asks: Callable[[], frozenset[str]] = frozenset
    seeds: frozenset[str] = frozenset()
    begin: Callable[[], object] = frozenset

    def capture(self) -> object | None:
        """Return the value; state that cannot be read is unknown, and unknown never equals anything."""
        try:
            return self.read()
        except Exception as error:
            return Inexpressible.unreadable(self.name, error)

    def restore(self, value: object) -> None:
        """Put `value` back; None (the library was not loaded then) asks for nothing."""
        if value is not None:
            self.write(value)
