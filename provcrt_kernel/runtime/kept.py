"""What is kept of an execution: its command line, what it did, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from provcrt_kernel.provenance.audit import Audit, pack, unpack
from provcrt_kernel.runtime.content import Content
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Commanded, Execution
from provcrt_kernel.runtime.facts import network
from provcrt_kernel.store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """An execution with what the store holds of it; `command` is the one that ran, of a notebook that of its kernel."""

    execution: Execution
    command: Commanded
    audit: Audit
    content: Content

    @classmethod
    def load(cls, execution: Execution, store: Store) -> Kept:
        """Return what is kept of an execution; ProjectError where that cannot be had."""
        command = execution.container
        if command is None:
            raise ProjectError.not_contained(execution.id)
        return cls(
            execution, command, _load(store, command.audit, Audit), _load(store, command.content, Content)
        )

    def again(
        self, audit: Audit, store: Store, *, changed: bool = False, **how: Any
    ) -> tuple[Commanded, set[str]]:
        """Return what is kept of another run of it, and the digests that only that needs.

        Parameters
        ----------
        audit : Audit
            What that run did.
        store : Store
        changed : bool
            Whether `content` is another one than the execution's, and to be kept.
        how
            Attributes of `Commanded` that tell how it ran.
        """
        digests = {store.put(pack(audit))}
        command = msgspec.structs.replace(
            self.command, audit=min(digests), network=network(audit), problems=audit.problems, **how
        )
        if changed:
            content = store.put(pack(self.content))
            digests |= {content, *self.content.blobs}
            command = msgspec.structs.replace(command, content=content, size=self.content.size)
        return command, digests | set(how.get("streams", {}).values())


def _load(store: Store, digest: str, kind: type[T]) -> T:
    data = store.get(digest)
    if data is None:
        raise ProjectError.content_lost([f"its {kind.__name__.lower()}"])
    try:
        return unpack(data, kind)
    except (msgspec.MsgspecError, UnicodeError, ValueError) as cause:
        raise ProjectError.hostile(f"its {kind.__name__.lower()} cannot be read") from cause
