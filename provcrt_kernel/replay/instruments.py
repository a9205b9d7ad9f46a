"""What a session is observed and kept with: one of each, shared by all that observe, record and rebuild."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provcrt_kernel.replay.files import Files
from provcrt_kernel.replay.pace import Pace
from provcrt_kernel.session.ambience import Ambience
from provcrt_kernel.session.audit import Audit
from provcrt_kernel.session.draws import Draws
from provcrt_kernel.session.environ import EnvironReads
from provcrt_kernel.session.importing import Imports
from provcrt_kernel.session.machine import MachineReads
from provcrt_kernel.session.modules import Modules
from provcrt_kernel.session.slots import Slots
from provcrt_kernel.session.texts import TextReads
from provcrt_kernel.store import Store
from provcrt_kernel.trace import Tracer


@dataclass(frozen=True, slots=True)
class Instruments:
    """The session's namespace, and what looks at it.

    Attributes
    ----------
    hidden
        Names that IPython put into the namespace, with their values.
    thrifty
        Whether only values that are cheaper to load than to make again are kept.
    """

    store: Store
    tracer: Tracer
    namespace: dict[str, object]
    hidden: Mapping[str, object]
    slots: Slots
    files: Files
    audit: Audit
    draws: Draws
    texts: TextReads
    environ: EnvironReads
    machine: MachineReads
    imports: Imports
    modules: Modules
    ambience: Ambience
    pace: Pace
    thrifty: bool

    def rest(self) -> None:
        """The cell has ended: what Python is asked for now, the kernel asks."""
        self.audit.rest()
        self.machine.rest()
