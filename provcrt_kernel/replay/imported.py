"""Imports of replayed cells: done when a cell runs that may see what they left, where the modules were found then."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.replay.recompute import Recompute
from provcrt_kernel.replay.record import Record
from provcrt_kernel.replay.world import Unlike
from provcrt_kernel.session.ambience import Ambience
from provcrt_kernel.session.ambient.ipython import note_sources
from provcrt_kernel.session.collector import resting
from provcrt_kernel.session.modules import MODULE, import_again
from provcrt_kernel.session.slots import Slots

#: What imports change beside the settings of libraries.
_QUIET = ("~package:", MODULE, "~effects")


@dataclass(slots=True)
class Imported:
    """Modules that replayed cells of a session imported."""

    slots: Slots
    ambience: Ambience
    recompute: Recompute
    #: Dotted name → folder, and the execution that imported it.
    _deferred: dict[str, tuple[str, int]] = field(default_factory=dict)

    def defer(self, record: Record, index: int) -> None:
        """A replayed execution imported modules, and found them where the record says."""
        for name in record.imports:
            self._deferred.setdefault(name, (record.resolved.get(name.partition(".")[0], ""), index))

    @property
    def pending(self) -> bool:
        """Whether any are still to be imported."""
        return bool(self._deferred)

    def seconds(self) -> float:
        """What `bring` is expected to take: as long as the cells took that imported what is missing."""
        history = self.recompute.history
        cells = {index for name, (_, index) in self._deferred.items() if name not in sys.modules}
        return sum(record.seconds for index in cells if (record := history[index].record) is not None)

    def bring(self) -> None:
        """Import them, in their order."""
        missing = {name: how for name, how in self._deferred.items() if name not in sys.modules}
        before = self.ambience.capture() if missing else {}
        with self.recompute.quiet() if missing else contextlib.nullcontext():
            for name, (folder, index) in missing.items():
                library = not folder or is_library(f"{folder}/")
                with resting if library else self._as_imported(index):
                    import_again({name: folder})
                    note_sources()
        # what the modules set when they are imported was set earlier, and later cells may have set something else
        after = self.ambience.capture() if missing else before
        for name in after:
            if after[name] != before[name] and (slot := self.slots.get(name)) is not None:
                slot.live = False
        self._deferred.clear()
        for name in self.slots.deferred(n for n in self.slots.ambient_names() if n.startswith(_QUIET)):
            self.slots.load(name)

    @contextlib.contextmanager
    def _as_imported(self, index: int) -> Iterator[None]:
        """A local module is what it was when it was imported; later cells may have changed its file."""
        with contextlib.ExitStack() as around:
            with contextlib.suppress(Unlike, OSError):
                around.enter_context(self.recompute.world.then(index))
            yield
