"""How fast values are kept and loaded on this machine, as measured in this session.

The cost policy (`PROVCRT_COST_POLICY`, ``on`` unless it is ``off``) rests on it: a value is kept if storing and loading it
takes less than making it again, and a plan loads what loading gets faster.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Bytes per second until something was measured: through hash and disk of an ordinary machine.
_RATE = 600e6
#: Smaller values say more about fixed costs than about the rate.
_TELLING = 1 << 20
_SLOWEST, _FASTEST = 30e6, 10e9
#: Values below this many bytes are always kept: asking costs as much.
_SMALL = 1 << 16
#: Seconds that a load takes however small the value is.
_FIXED = 0.0005


@dataclass(slots=True)
class _Rate:
    """A running average of bytes per second."""

    value: float = _RATE

    def note(self, size: int, seconds: float) -> None:
        if size >= _TELLING and seconds > 0:
            seen = min(max(size / seconds, _SLOWEST), _FASTEST)
            self.value += (seen - self.value) / 4


@dataclass(slots=True)
class Pace:
    """Rates of one session."""

    keeping: _Rate = field(default_factory=_Rate)
    loading: _Rate = field(default_factory=_Rate)

    def load(self, size: int) -> float:
        """Seconds that loading so many bytes is expected to take."""
        return _FIXED + size / self.loading.value

    def worth_keeping(self, size: int, seconds: float) -> bool:
        """Whether storing and loading `size` bytes is cheaper than running `seconds` again."""
        return size < _SMALL or size / self.keeping.value + self.load(size) < seconds
