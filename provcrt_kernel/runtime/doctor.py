"""What works here: how cells would be traced, and whether the store can be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from provcrt_kernel.runtime import sandbox
from provcrt_kernel.store import Collected, Store, StoreError, find_store, stores_below

# In a process of its own: a filter can never be removed again.
_PROBE = """
import json
from provcrt_kernel.trace import attach, supervise
def main():
    tracer = attach()
    tracer.begin("probe")
    open("/etc/hostname", "rb").close() if __import__("os").path.exists("/etc/hostname") else None
    span = tracer.end()
    print(json.dumps([tracer.mechanism, tracer.reason, span.complete, list(span.problems)]), flush=True)
    tracer.close()
supervise(main)
"""

_LOST = "cells record and replay, but calls cost more, no debugger works in a cell, and a kernel dies with its supervisor"


class Diagnosis(msgspec.Struct, frozen=True):
    """What works here.

    Attributes
    ----------
    tracer : str
        The mechanism, as `Tracer.mechanism` names it.
    tracer_problem : str or None
        Why it is not better.
    isolation_problem : str or None
        Why commands cannot be repeated in a sandbox.
    store : str
        The store's folder.
    store_problem : str or None
        Why it cannot be written, or what was found damaged in it.
    store_bytes, store_limit : int
        How full it is.
    store_records : int
        How many records it holds.
    layers : tuple of str
        Shared stores below it, which are only read.
    """

    tracer: str
    tracer_problem: str | None
    store: str
    store_problem: str | None
    store_bytes: int = 0
    store_limit: int = 0
    store_records: int = 0
    isolation_problem: str | None = None
    layers: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Whether cells are recorded and replayed here."""
        traced = self.tracer == "ptrace" or (self.tracer != "none" and self.tracer_problem is None)
        return traced and self.store_problem is None


def examine(folder: Path) -> Diagnosis:
    """Return what works for a notebook in `folder`."""
    tracer, problem = _tracer()
    place = find_store(folder, os.environ)
    try:
        with Store.open(place, below=stores_below(place, os.environ)) as store:
            store.note("doctor", b"")
            stats = store.stats()
            layers = tuple(str(each.folder) for each in store.below)
            damage = "; ".join(store.damaged) or None
    except StoreError as cause:
        return Diagnosis(tracer, problem, str(place), str(cause), isolation_problem=sandbox.problem())
    return Diagnosis(
        tracer,
        problem,
        str(place),
        damage,
        stats.bytes,
        stats.limit,
        stats.records,
        sandbox.problem(),
        layers,
    )


def _tracer() -> tuple[str, str | None]:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=30, check=False
        )
        mechanism, reason, complete, problems = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as cause:
        return "none", f"the probe did not run: {cause}"
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return "none", f"the probe failed: {last[0]}"
    if not complete:
        return "none", reason or "; ".join(problems)
    if mechanism == "ptrace":
        return mechanism, f"{reason or 'PROVCRT_TRACER asks for it'}; {_LOST}"
    return mechanism, reason


def collect(folder: Path, limit: int | None, *, dry: bool) -> Collected:
    """Free space in the store of a notebook in `folder`; see `Store.collect`. Raises StoreError."""
    with Store.open(find_store(folder, os.environ)) as store:
        return store.collect(limit, dry)
