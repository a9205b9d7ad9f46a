"""What tracing costs: workloads in a kernel process, traced and untraced, interleaved.

    python benchmarks/tracing.py [--rounds 5] [--json FILE]

Each round runs every workload in two fresh processes, one of them under the supervisor, in alternating order, so
that a machine that grows slower hits both alike. Reported: the median of each, in seconds, and their ratio. The
time to close a span and read it is counted on the traced side.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = "import pandas, matplotlib.pyplot, sklearn.ensemble"
SMALL_FILES, WALKED_FILES, PROCESSES = 20_000, 50_000, 100


def tree(folder: Path, files: int) -> list[str]:
    """Make a tree of empty files, 200 to a directory."""
    paths = []
    for index in range(files):
        place = folder / str(index // 200)
        if index % 200 == 0:
            place.mkdir(parents=True)
        paths.append(f"{place}/{index}")
        os.close(os.open(paths[-1], os.O_CREAT | os.O_WRONLY))
    return paths


def imports(folder: Path) -> None:
    """A child process that imports the usual packages."""
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


def opens(folder: Path) -> None:
    """20,000 files opened once."""
    for index in range(SMALL_FILES):
        os.close(os.open(f"{folder}/{index // 200}/{index}", os.O_RDONLY))


def storm(folder: Path) -> None:
    """One path asked for 50,000 times."""
    for _ in range(WALKED_FILES):
        os.stat(folder)


def walk(folder: Path) -> None:
    """A tree of 50,000 files walked, each asked for."""
    for place, _, files in os.walk(folder):
        for name in files:
            os.stat(f"{place}/{name}")


def processes(folder: Path) -> None:
    """100 short processes."""
    for _ in range(PROCESSES):
        subprocess.run(["true"], check=True)


def arithmetic(folder: Path) -> None:
    """No system calls to speak of."""
    sum(index * index for index in range(5_000_000))


WORKLOADS = {work.__name__: work for work in (imports, opens, storm, walk, processes, arithmetic)}


def run(name: str, folder: Path, traced: bool) -> None:
    """Be the process that is measured; print seconds."""
    tracer = None
    if traced:
        from provcrt_kernel.trace import attach

        tracer = attach(ignore=[])
        if tracer.mechanism == "none":
            sys.exit(f"cannot trace: {tracer.reason}")
    start = time.perf_counter()
    if tracer is not None:
        tracer.begin(name)
    WORKLOADS[name](folder)
    if tracer is not None:
        assert tracer.end().complete
    print(time.perf_counter() - start, flush=True)


def measure(name: str, folder: Path, traced: bool) -> float:
    """Return the seconds that a workload takes in a fresh process."""
    command = [sys.executable, __file__, "--run", name, "--folder", str(folder)]
    done = subprocess.run([*command, *(["--traced"] if traced else [])], stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def main() -> None:
    """Measure everything, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run and options.traced:
        from provcrt_kernel.trace import supervise

        supervise(lambda: run(options.run, options.folder, True))
    if options.run:
        run(options.run, options.folder, False)
        return
    seconds: dict[str, dict[str, list[float]]] = {name: {"untraced": [], "traced": []} for name in WORKLOADS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tree(folder, WALKED_FILES)
        for name in WORKLOADS:
            for number in range(options.rounds):
                for traced in (False, True) if number % 2 else (True, False):
                    kind = "traced" if traced else "untraced"
                    seconds[name][kind].append(measure(name, folder, traced))
    print(f"{'':12}{'untraced':>10}{'traced':>10}{'ratio':>8}")
    for name, both in seconds.items():
        plain, traced_ = statistics.median(both["untraced"]), statistics.median(both["traced"])
        print(f"{name:12}{plain:10.3f}{traced_:10.3f}{traced_ / plain:8.2f}")
    if options.json:
        machine = {"machine": os.uname().machine, "linux": os.uname().release, "cpus": os.cpu_count()}
        options.json.write_text(json.dumps({"about": machine, "seconds": seconds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
