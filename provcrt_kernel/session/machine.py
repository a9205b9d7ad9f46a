"""What a cell asked about the machine: its name, the release of its system, its cores, its memory.

These are inputs of the cells that ask and of no others, so that a store which is carried to another machine, or shared by
several, recalls there what does not depend on the machine. Who asks is seen by wrapping the few functions of the standard library
through which Python libraries ask, at run time and not while they are imported; programs that are for asking are known by name. A
fact is as it was when this module was imported: a cell that changes one (`os.sched_setaffinity`) changes a slot.
"""

from __future__ import annotations

import functools
import os
import platform
import posix
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from provcrt_kernel.session.audit import imports_library
from provcrt_kernel.store.digest import digest

_NAME, _SYSTEM, _COUNT, _CORES = "machine's name", "system's release", "number of cores", "cores allowed"
_MEMORY = "size of memory"
#: By where a function is looked up: what it tells. What a record is for already (system, kind of processor) is nothing new.
_FUNCTIONS: tuple[tuple[tuple[Any, ...], dict[str, tuple[str, ...]]], ...] = (
    (
        (os, posix),
        {
            "uname": (_NAME, _SYSTEM),
            "cpu_count": (_COUNT,),
            "process_cpu_count": (_CORES,),
            "sched_getaffinity": (_CORES,),
            "sysconf": (_COUNT, _MEMORY),
        },
    ),
    ((socket, sys.modules["_socket"]), {"gethostname": (_NAME,)}),
    (
        (platform,),
        {
            "uname": (_NAME, _SYSTEM),
            "node": (_NAME,),
            "release": (_SYSTEM,),
            "version": (_SYSTEM,),
            "platform": (_SYSTEM,),
            "system": (),
            "machine": (),
        },
    ),
)
#: Of what `os.sysconf` is asked for, the rest is the same on every machine of a kind.
_COUNTED = frozenset({"SC_NPROCESSORS_ONLN", "SC_NPROCESSORS_CONF", "SC_PHYS_PAGES", "SC_AVPHYS_PAGES"})
_COUNTED_NUMBERS = frozenset(os.sysconf_names[name] for name in _COUNTED if name in os.sysconf_names)
_PROGRAMS = {
    "hostname": (_NAME,),
    "hostnamectl": (_NAME, _SYSTEM),
    "uname": (_NAME, _SYSTEM),
    "nproc": (_COUNT, _CORES),
    "lscpu": (_COUNT, _CORES),
    "getconf": (_COUNT, _MEMORY),
    "lsmem": (_MEMORY,),
}
_told = os.uname()
_FACTS: dict[str, str] = {
    fact: digest(repr(value).encode())
    for fact, value in {
        _NAME: _told.nodename,
        _SYSTEM: (_told.sysname, _told.release, _told.version),
        _COUNT: os.cpu_count(),
        _CORES: sorted(os.sched_getaffinity(0)),
        _MEMORY: os.sysconf("SC_PHYS_PAGES"),
    }.items()
}


def version(fact: str) -> str:
    """Version of a fact on this machine; empty for one that is not known here."""
    return _FACTS.get(fact, "")


def told(argvs: Iterable[tuple[str, ...]]) -> set[str]:
    """Facts that programs with these arguments tell."""
    return {fact for argv in argvs if argv for fact in _PROGRAMS.get(os.path.basename(argv[0]), ())}


class MachineReads:
    """Facts asked for between `clear` and `rest`. `install` once per process."""

    def __init__(self) -> None:
        self.facts: set[str] = set()
        self._resting = True
        # threads that are inside of a wrapped function: who asks that one asked for no more than it tells
        self._inside: set[int] = set()

    def clear(self) -> None:
        """A new span begins."""
        self.facts.clear()
        self._resting = False

    def rest(self) -> None:
        """The span has ended: who asks now is the kernel."""
        self._resting = True

    def install(self) -> None:
        """Begin to listen."""
        for places, functions in _FUNCTIONS:
            for name, facts in functions.items():
                if function := getattr(places[0], name, None):
                    heard = self._heard(function, facts)
                    for place in places:
                        if hasattr(place, name):
                            setattr(place, name, heard)

    def _heard(self, function: Callable[..., Any], facts: tuple[str, ...]) -> Callable[..., Any]:
        everything = function is not os.sysconf

        @functools.wraps(function)
        def asked(*args: Any, **options: Any) -> Any:
            thread = threading.get_ident()
            if self._resting or thread in self._inside:
                return function(*args, **options)
            if (everything or not _COUNTED_NUMBERS.isdisjoint(args) or not _COUNTED.isdisjoint(args)) and (
                not imports_library(sys._getframe(1))
            ):
                self.facts.update(facts)
            self._inside.add(thread)
            try:
                return function(*args, **options)
            finally:
                self._inside.discard(thread)

        return asked
