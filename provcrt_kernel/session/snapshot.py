"""How a value is kept and brought back: one stream per co-variable, its arrays' memory beside it.

Pickle protocol 5 with out-of-band buffers, so that a store can keep memory that two versions share once.
Functions and classes of the notebook go by value and come back on the live namespace. What would come back as
something else than it was is refused with `Unstorable`: its cell is run again when the value is needed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .classes import loading_into
from .fingerprint import fingerprint_group
from .memory import Places, Tangled
from .pickler import Account, SessionPickler, SessionUnpickler
from .refusals import Unloadable, Unstorable
from .walk import ATOMS

__all__ = ["LIMIT", "Snapshot", "Unloadable", "Unstorable", "dump", "faithful", "load", "needs_check"]

LIMIT = 1 << 34
"""Bytes that a snapshot may have, buffers included, unless the caller says otherwise."""
_MAGIC = b"provcrt snapshot 1\n"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A co-variable's values as bytes."""

    stream: bytes
    """Header and pickle stream."""
    buffers: tuple[memoryview, ...]
    """Memory that the stream refers to, in order; live: store it before the next cell runs."""
    suspects: frozenset[str] = frozenset()
    """Classes of the notebook or of local modules that customise pickling: `faithful` must decide."""


def dump(values: Mapping[str, object], namespace: dict[str, object], *, limit: int = LIMIT) -> Snapshot:
    """Keep the values of a co-variable together, so that aliases and views stay what they are.

    Parameters
    ----------
    values : Mapping[str, object]
        Names and values.
    namespace : dict[str, object]
        The notebook's globals.
    limit : int, optional
        Bytes that stream and buffers together may have.

    Returns
    -------
    Snapshot

    Raises
    ------
    Unstorable
        With one line that says why; whatever a reducer raises becomes this.
    """
    places = Places()
    pickler, stream = _dump(values, namespace, limit, places, second=False)
    try:
        shared = places.settle()
    except Tangled:
        raise Unstorable.kind("memory shared between arrays of different owners") from None
    if shared:
        pickler, stream = _dump(values, namespace, limit, places, second=True)
    # A copy of the namespace is not the namespace; the memo knows whether it was met.
    if b"__builtins__" in stream and id(namespace) in pickler.memo.copy():
        raise Unstorable.kind("the notebook's namespace")
    if b"\x90" in stream or b"\x91" in stream:  # ADDITEMS, FROZENSET
        met = (item for _, item in pickler.memo.copy().values())
        if any(_comes_back_otherwise(item) for item in met if type(item) in (set, frozenset)):
            pickler.suspects.add("set in an order of its own")
    header = json.dumps({"own": pickler.own, "names": list(values)}).encode()
    return Snapshot(
        stream=b"".join((_MAGIC, len(header).to_bytes(4, "little"), header, stream)),
        buffers=tuple(pickler.buffers),
        suspects=frozenset(pickler.suspects),
    )


def load(
    stream: bytes,
    buffers: Sequence[bytes | memoryview],
    namespace: dict[str, object],
    former: Collection[str] = (),
) -> dict[str, object]:
    """Bring a snapshot's values back.

    Parameters
    ----------
    stream : bytes
        As `dump` made it.
    buffers : sequence of bytes or memoryview
        In `dump`'s order; they are copied, never adopted.
    namespace : dict[str, object]
        The live globals: loaded functions read them. Nothing is bound in it.
    former : collection of str, optional
        Variables that are bound to other classes by now than those that the values are made of.

    Returns
    -------
    dict[str, object]
        Names and values.

    Raises
    ------
    Unloadable
        If the stream cannot be read, or names what does not exist here.
    """
    header, at = _header(stream)
    own = frozenset(header["own"])
    given = [data if at in own else bytearray(data) for at, data in enumerate(buffers)]
    try:
        with loading_into(namespace, former):
            values: dict[str, object] = SessionUnpickler(
                io.BytesIO(memoryview(stream)[at:]), buffers=given
            ).load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # code of the notebook may raise anything
        raise Unloadable.failed(error) from error
    return values


def faithful(values: Mapping[str, object], snapshot: Snapshot, namespace: dict[str, object]) -> bool:
    """Whether a snapshot comes back as what it was: load it and compare fingerprints, aliasing included.

    Parameters
    ----------
    values : Mapping[str, object]
        What was dumped, still live.
    snapshot : Snapshot
        Its snapshot.
    namespace : dict[str, object]
        The notebook's globals.

    Returns
    -------
    bool
        False also for what cannot be loaded, or has no fingerprint.
    """
    try:
        back = load(snapshot.stream, snapshot.buffers, namespace)
    except Unloadable:
        return False
    before = fingerprint_group(values, namespace)
    return None not in before and before == fingerprint_group(back, namespace)


def needs_check(snapshot: Snapshot) -> bool:
    """Whether only `faithful` can tell that a snapshot is one."""
    return bool(snapshot.suspects)


def _comes_back_otherwise(value: set[object] | frozenset[object]) -> bool:
    """Whether a set of atoms, put together in the order in which it is read, is read in another: collisions remember history."""
    items = list(value)
    return ATOMS.issuperset(map(type, items)) and list(type(value)(items)) != items


def _header(stream: bytes) -> tuple[dict[str, Any], int]:
    start = len(_MAGIC) + 4
    if stream[: len(_MAGIC)] != _MAGIC or len(stream) < start:
        raise Unloadable.damaged()
    end = start + int.from_bytes(stream[len(_MAGIC) : start], "little")
    try:
        header: dict[str, Any] = json.loads(stream[start:end])
    except ValueError as error:
        raise Unloadable.damaged() from error
    return header, end


def _dump(
    values: Mapping[str, object], namespace: dict[str, object], limit: int, places: Places, *, second: bool
) -> tuple[SessionPickler, bytes]:
    file = Account(limit)
    pickler = SessionPickler(file, namespace, places, second=second)
    try:
        pickler.dump(dict(values))
    except (Unstorable, KeyboardInterrupt):
        raise
    except BaseException as error:  # code of the notebook may raise anything
        # no local name for what is raised: its traceback leads back here, and in a cycle the values would live on
        if isinstance(error.__cause__, Unstorable):
            raise error.__cause__ from None
        raise Unstorable.refused(error) from error
    return pickler, file.getvalue()
