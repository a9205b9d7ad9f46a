"""What containing and repeating a command costs, beside the plain command and, where they run, sciunit and reprozip.

Interleaved, so that a noisy machine is noisy for all; CPU seconds are those of all processes, by wait4(2). And what is kept, and
how long it takes to be told of an execution of 10,000 files, and to open a project of 1,000 executions::

    python benchmarks/runtime.py [ROUNDS]
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from provcrt_kernel.runtime import Project
from provcrt_kernel.store import Store

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from notebooks import machine  # noqa: E402

KMEANS = """import sys
import numpy as np
k, points = int(sys.argv[1]), np.loadtxt("data.csv", delimiter=",")
centres = points[np.random.default_rng(0).choice(len(points), k, replace=False)]
for _ in range(50):
    nearest = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
    centres = np.array([points[nearest == i].mean(0) for i in range(k)])
print(np.round(centres, 3).tolist())
"""
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
PROVCRT = [sys.executable, "-m", "provcrt_kernel.cli"]
PEERS = {
    "reprozip trace": ("reprozip", "trace", "--overwrite", "./main.sh", "4"),
    "sciunit exec": ("sciunit", "exec", "./main.sh", "4"),
}


def timed(argv: list[str], folder: Path, environ: dict[str, str]) -> tuple[float, float]:
    """Return wall and CPU seconds of a command."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    with contextlib.suppress(ChildProcessError):
        while True:  # what is left behind, a supervisor say, is ours to wait for: its time counts
            os.waitpid(-1, 0)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, used


def cannot_run(argv: Sequence[str], work: Path, environ: dict[str, str]) -> str:
    """Return why a peer does not run here; empty if it does."""
    if not shutil.which(argv[0], path=environ["PATH"]):
        return "it is not installed"
    if argv[0] == "sciunit":
        subprocess.run(
            ["sciunit", "create", "-f", "bench"], cwd=work, env=environ, check=True, capture_output=True
        )
    done = subprocess.run(
        argv, cwd=work, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    said = done.stderr.strip().splitlines() or [f"it ends with {done.returncode}"]
    return re.sub(r"\S*/", "", said[0]) if done.returncode else ""  # without folders of this machine


def size(folder: Path) -> float:
    """Return the megabytes in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def touched(work: Path, scratch: Path) -> float:
    """Return the megabytes of the files that the first execution read, each once, compressed as the store does."""
    with Store.open(scratch) as store:
        for each in Project.find(work).detail("e1").files:
            if each.kind != "output" and os.path.isfile(each.path):
                store.put_file(each.path, compress=True)
    return size(scratch)


def told(scratch: Path, environ: dict[str, str], rounds: int) -> dict[str, dict[str, float]]:
    """Return wall and CPU seconds of what tells of many files, and of many executions."""
    work = scratch / "many"
    work.mkdir()
    for number in range(10_000):
        (work / f"f{number}").write_text(str(number))
    (work / "read.py").write_text("import glob\nprint(sum(len(open(f).read()) for f in glob.glob('f*')))\n")
    timed([*PROVCRT, "open", "many"], work, environ)
    timed([*PROVCRT, "exec", "python", "read.py"], work, environ)
    found = {
        "show --detail, 10,000 files": _median([*PROVCRT, "show", "--detail", "e1"], work, environ, rounds),
        "prov (JSON), 10,000 files": _median([*PROVCRT, "prov", "e1"], work, environ, rounds),
    }
    archive = Project.find(work).archive
    execution = archive.execution("e1")
    for _ in range(999):
        with archive.draft() as draft:
            archive.keep(draft, lambda id: msgspec.structs.replace(execution, id=id))
    found["open, 1,000 executions"] = _median([*PROVCRT, "open", "many"], work, environ, rounds)
    found["list, 1,000 executions"] = _median([*PROVCRT, "list"], work, environ, rounds)
    return found


def _median(argv: list[str], work: Path, environ: dict[str, str], rounds: int) -> dict[str, float]:
    times = [timed(argv, work, environ) for _ in range(rounds)]
    wall, cpu = (statistics.median(each) for each in zip(*times, strict=True))
    return {"wall": wall, "cpu": cpu}


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    begun = machine()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "work"
        work.mkdir()
        os.environ["XDG_DATA_HOME"] = f"{scratch}/data"
        environ = dict(os.environ)
        environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
        random.seed(1)
        (work / "data.csv").write_text(
            "".join(f"{random.random()},{random.random()}\n" for _ in range(90_000))
        )
        (work / "kmeans.py").write_text(KMEANS)
        (work / "main.sh").write_text('#!/bin/sh\npython kmeans.py "$1"\n')
        (work / "main.sh").chmod(0o755)
        timed([*PROVCRT, "exec", "./main.sh", "4"], work, environ)
        first = size(work / ".provcrt" / "store")
        alone = touched(work, Path(scratch) / "touched")
        for k in "567":
            timed([*PROVCRT, "exec", "./main.sh", k], work, environ)
        further = size(work / ".provcrt" / "store") - first
        timed([*PROVCRT, "repeat", "e1"], work, environ)  # the first one lays out the root that all share
        runs: dict[str, Callable[[], list[str]]] = {
            "plain": lambda: ["./main.sh", "4"],
            "provcrt exec": lambda: [*PROVCRT, "exec", "./main.sh", "4"],
            "provcrt repeat": lambda: [*PROVCRT, "repeat", "e1"],
        }
        absent: dict[str, str] = {}
        for name, argv in PEERS.items():
            why = cannot_run(argv, work, environ)
            if why:
                absent[name] = why
            else:
                runs[name] = lambda argv=argv: list(argv)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, argv in runs.items():
                found[name].append(timed(argv(), work, environ))
        medians = {
            name: [statistics.median(each) for each in zip(*times, strict=True)]
            for name, times in found.items()
        }
        plain = medians["plain"]
        report = {
            name: {"wall": wall, "cpu": cpu, "wall x": wall / plain[0], "cpu x": cpu / plain[1]}
            for name, (wall, cpu) in medians.items()
        }
        result = {
            "machine": begun,
            "load_after": os.getloadavg(),
            "touched files MB": alone,
            "store MB": first,
            "three more MB": further,
            "runs": report,
            "absent": absent,
            "told": told(Path(scratch), environ, rounds),
        }
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
