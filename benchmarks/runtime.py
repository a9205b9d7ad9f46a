"""What containing and repeating a command costs, beside the plain command and, where they run, sciunit and reprozip.

Interleaved, so that a noisy machine is noisy for all; CPU seconds are those of all processes, by wait4(2)::

    python benchmarks/runtime.py [ROUNDS]
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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


def size(folder: Path) -> float:
    """Return the megabytes in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "work"
        work.mkdir()
        environ = {**os.environ, "XDG_DATA_HOME": f"{scratch}/data"}
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
        for k in "567":
            timed([*PROVCRT, "exec", "./main.sh", k], work, environ)
        further = size(work / ".provcrt" / "store") - first
        timed([*PROVCRT, "repeat", "e1"], work, environ)  # the first one lays out the root that all share
        runs: dict[str, Callable[[], list[str]]] = {
            "plain": lambda: ["./main.sh", "4"],
            "provcrt exec": lambda: [*PROVCRT, "exec", "./main.sh", "4"],
            "provcrt repeat": lambda: [*PROVCRT, "repeat", "e1"],
        }
        if shutil.which("reprozip"):
            runs["reprozip trace"] = lambda: ["reprozip", "trace", "--overwrite", "./main.sh", "4"]
        if shutil.which("sciunit"):
            subprocess.run(["sciunit", "create", "-f", "bench"], cwd=work, env=environ, check=True)
            runs["sciunit exec"] = lambda: ["sciunit", "exec", "./main.sh", "4"]
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
        print(json.dumps({"store MB": first, "three more MB": further, "runs": report}, indent=1))


if __name__ == "__main__":
    main()
