"""Ambient slots: hidden state outside of the namespace that cells change and later cells see.

The random stream, the working folder, matplotlib's rcParams: nobody passes them, everybody reads them. Each
is a slot with an adapter that captures it as plain data and restores it. What plain data cannot express (a
lambda as a hook) is marked: then a change can only be recomputed. A library brings its own adapters through
the entry point group ``provcrt.ambient``.
"""

from .adapter import Adapter, Builtin, Kind
from .plain import inexpressible, modules_in
from .registry import adapters, asked, visible

__all__ = ["Adapter", "Builtin", "Kind", "adapters", "asked", "inexpressible", "modules_in", "visible"]
