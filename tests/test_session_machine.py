"""A store that another machine goes on with: cells that ask about the machine run there, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kernels import OURS, install_kernelspecs, running

from provcrt_kernel.session import machine

CELLS = {
    "asks": "import os\nn = len(os.sched_getaffinity(0))\nprint(n)",
    "reads": "print(n * 10)",
    "calls": "def cores(): return len(os.sched_getaffinity(0))\nprint(cores())",
    "calls again": "print(cores() + 1)",
    "keeps": "ask = os.sched_getaffinity",
    "kept": "print(len(ask(0)))",
    "child": "!nproc",
    "kind": "import platform\nprint(platform.system(), platform.machine())",
    "other child": "!echo none",
    "other": "import json\nprint(sum(range(100)))",
}
BOUND = {"asks", "reads", "calls again", "kept", "child"}


@contextmanager
def cores(number: int) -> Iterator[None]:
    """Whatever is started in the block may use so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:number])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _session(specs: Path, folder: Path, number: int) -> tuple[dict[str, str], dict[str, str]]:
    with cores(number), running(OURS, specs, folder, environment={"PROVCRT_COST_POLICY": "off"}) as kernel:
        exchanges = {name: kernel.execute(code) for name, code in CELLS.items()}
    shown = {name: each.text() for name, each in exchanges.items()}
    status = {name: (each.report or {})["status"] for name, each in exchanges.items()}
    return shown, status


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core only")
def test_another_number_of_cores(tmp_path: Path) -> None:
    specs = install_kernelspecs(tmp_path / "prefix")
    two, _ = _session(specs, tmp_path / "kernel", 2)
    _, same = _session(specs, tmp_path / "kernel", 2)
    assert set(same.values()) == {"replayed"}
    one, moved = _session(specs, tmp_path / "kernel", 1)
    assert {name for name, status in moved.items() if status != "replayed"} - {"calls"} == BOUND
    assert (two["asks"], one["asks"]) == ("2\n", "1\n")
    assert one["reads"] == "10\n"
    assert one["calls"] == "1\n"
    assert one["calls again"] == "2\n"
    assert one["child"].strip() == "1"


def test_who_asks() -> None:
    import platform
    import socket

    reads = machine.MachineReads()
    before = {
        (place, n): getattr(place, n, None) for places, f in machine._FUNCTIONS for place in places for n in f
    }
    reads.install()
    try:
        for ask, facts in (
            (platform.node, {"machine's name"}),
            (platform.system, set()),
            (platform.release, {"system's release"}),
            (socket.gethostname, {"machine's name"}),
            (socket.getfqdn, {"machine's name"}),
            (os.cpu_count, {"number of cores"}),
            (os.uname, {"machine's name", "system's release"}),
            (lambda: os.sysconf("SC_PAGE_SIZE"), set()),
            (lambda: os.sysconf("SC_NPROCESSORS_ONLN"), {"number of cores", "size of memory"}),
        ):
            reads.clear()
            ask()
            assert reads.facts == facts, ask
    finally:
        for (place, name), function in before.items():
            if function is not None:
                setattr(place, name, function)
