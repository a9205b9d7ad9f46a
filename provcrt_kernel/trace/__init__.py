"""What processes did: filter, supervisor, decode, spans of accesses; knows Linux, not Python sessions."""

from provcrt_kernel.trace.command import run_traced
from provcrt_kernel.trace.network import spelled
from provcrt_kernel.trace.paths import UNSEEN
from provcrt_kernel.trace.process import supervise
from provcrt_kernel.trace.span import Access, Endpoint, Process, Span, Stat, decode, encode
from provcrt_kernel.trace.tracer import Tracer, Untraced, attach

__all__ = [
    "UNSEEN",
    "Access",
    "Endpoint",
    "Process",
    "Span",
    "Stat",
    "Tracer",
    "Untraced",
    "attach",
    "decode",
    "encode",
    "run_traced",
    "spelled",
    "supervise",
]
