"""What tracing costs, beside others that trace: workloads in one process and what it starts, interleaved.

    python benchmarks/tracing.py [--rounds 5] [--json FILE] [--only NAME ...] [--tracers NAME ...]

Each round runs every workload once under every tracer, in an order that turns, so that a machine that grows slower hits
all alike. Tracers: ``none``; ``seccomp`` and ``ptrace`` (ours, to the span that was read back); ``strace``
(``strace -f --seccomp-bpf -e trace=%file,%process``, to a file) and ``reprozip`` (``reprozip trace``, to its database)
where they are installed. Reported: the median CPU seconds of everything that ran, tracers included, over the median
without a tracer; then the same for the time on the clock; then the CPU time that each call of three workloads cost more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

IMPORTS = "import pandas, matplotlib.pyplot, sklearn.ensemble"
SMALL_FILES, WALKED_FILES, PROCESSES, UNITS, THREADS = 20_000, 50_000, 500, 20, 8
KMEANS = """
import numpy as np
from sklearn.cluster import KMeans
data = np.random.default_rng(0).normal(size=(20_000, 8))
print(KMeans(8, n_init=4, random_state=0).fit(data).inertia_)
"""


def tree(folder: Path, files: int) -> None:
    """Make a tree of empty files, 200 to a directory."""
    for index in range(files):
        place = folder / str(index // 200)
        if index % 200 == 0:
            place.mkdir(parents=True)
        os.close(os.open(f"{place}/{index}", os.O_CREAT | os.O_WRONLY))


def sources(folder: Path) -> None:
    """Make C programs, and a Makefile that builds them."""
    folder.mkdir()
    names = [f"unit{index}" for index in range(UNITS)]
    for name in names:
        (folder / f"{name}.c").write_text('#include <stdio.h>\nint main(void) { return puts("x") < 0; }\n')
    (folder / "Makefile").write_text(f"all: {' '.join(names)}\n%: %.c\n\tgcc -o $@ $<\n")


def imports(folder: Path) -> None:
    """A child process that imports the usual packages."""
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


def kmeans(folder: Path) -> None:
    """A child process that clusters 20,000 points."""
    subprocess.run([sys.executable, "-c", KMEANS], check=True, stdout=subprocess.DEVNULL)


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
    """500 short processes, one after the other."""
    for _ in range(PROCESSES):
        subprocess.run(["true"], check=True)


def gcc(folder: Path) -> None:
    """20 small C programs, one after the other."""
    subprocess.run(["make", "-s", "-B", "-C", f"{folder}/c"], check=True)


def make(folder: Path) -> None:
    """The same, two at a time."""
    subprocess.run(["make", "-s", "-B", "-j2", "-C", f"{folder}/c"], check=True)


def threads(folder: Path) -> None:
    """8 threads that open 20,000 files together."""

    def some(first: int) -> None:
        for index in range(first, SMALL_FILES, THREADS):
            os.close(os.open(f"{folder}/{index // 200}/{index}", os.O_RDONLY))

    crew = [threading.Thread(target=some, args=(first,)) for first in range(THREADS)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()


def arithmetic(folder: Path) -> None:
    """No system calls to speak of."""
    sum(index * index for index in range(5_000_000))


WORKLOADS = {
    work.__name__: work
    for work in (imports, kmeans, opens, storm, walk, processes, gcc, make, threads, arithmetic)
}
CALLS = {"opens": SMALL_FILES, "storm": WALKED_FILES, "walk": WALKED_FILES}
OURS = ("seccomp", "ptrace")
TRACERS = ("none", *OURS, *(name for name in ("strace", "reprozip") if shutil.which(name)))


class Cost(NamedTuple):
    """CPU seconds of all processes, and seconds on the clock."""

    cpu: float
    wall: float


def run(name: str, folder: Path, traced: bool) -> None:
    """Be the process that is measured."""
    tracer = None
    if traced:
        from provcrt_kernel.trace import attach

        tracer = attach(ignore=[])
        if tracer.mechanism == "none":
            sys.exit(f"cannot trace: {tracer.reason}")
        tracer.begin(name)
    WORKLOADS[name](folder)
    if tracer is not None:
        span = tracer.end()
        assert span.complete, span.problems
        tracer.close()


def measure(name: str, folder: Path, tracer: str) -> Cost:
    """Return what a workload costs in a fresh process."""
    command = [sys.executable, __file__, "--run", name, "--folder", str(folder)]
    environ = {**os.environ, "PROVCRT_TRACER": tracer}
    with tempfile.TemporaryDirectory() as logs:
        if tracer in OURS:
            command += ["--traced"]
        elif tracer == "strace":
            peer = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=%file,%process", "-o", f"{logs}/log"]
            command = [*peer, *command]
        elif tracer == "reprozip":
            environ["REPROZIP_USAGE_STATS"] = "off"
            command = ["reprozip", "trace", "--dont-identify-packages", "-d", f"{logs}/trace", *command]
        before, start = used(), time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=None if tracer in OURS else subprocess.DEVNULL,
        )
        if process.wait() != 0:
            sys.exit(f"{name} failed under {tracer}")
        wall = time.perf_counter() - start
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()  # who was left behind, such as a supervisor: its time counts as well
        return Cost(used() - before, wall)


def used() -> float:
    """Return the CPU seconds of all children so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def table(title: str, costs: dict[str, dict[str, list[Cost]]], field: str, tracers: list[str]) -> None:
    """Print medians: seconds without a tracer, and factors of that with one."""
    print(f"\n{title:20}{'none':>10}" + "".join(f"{name:>10}" for name in tracers if name != "none"))
    for work, by_tracer in costs.items():
        medians = {name: statistics.median(getattr(c, field) for c in by_tracer[name]) for name in tracers}
        factors = (f"{medians[name] / medians['none']:10.2f}" for name in tracers if name != "none")
        print(f"{work:20}{medians['none']:9.2f}s" + "".join(factors))


def per_call(costs: dict[str, dict[str, list[Cost]]], tracers: list[str]) -> None:
    """Print the CPU time that each call cost more, without what it costs to start a tracer."""
    begin = {name: [c.cpu for c in costs.get("arithmetic", {}).get(name, [])] for name in tracers}
    start = {name: statistics.median(begin[name]) if begin[name] else 0.0 for name in tracers}
    print(
        f"\n{'µs of CPU per call':20}{'':10}" + "".join(f"{name:>10}" for name in tracers if name != "none")
    )
    for work in CALLS.keys() & costs.keys():
        medians = {
            name: statistics.median(c.cpu for c in costs[work][name]) - start[name] for name in tracers
        }
        more = (1e6 * (medians[name] - medians["none"]) / CALLS[work] for name in tracers if name != "none")
        print(f"{work:20}{'':10}" + "".join(f"{value:10.1f}" for value in more))


def main() -> None:
    """Measure everything, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--tracers", nargs="+", choices=TRACERS, default=list(TRACERS))
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
    from provcrt_kernel.trace.notify import become_subreaper

    become_subreaper()
    tracers = list(dict.fromkeys(["none", *options.tracers]))
    costs: dict[str, dict[str, list[Cost]]] = {work: {name: [] for name in tracers} for work in options.only}
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tree(folder, WALKED_FILES)
        sources(folder / "c")
        for number in range(options.rounds):
            for work in options.only:
                turn = number % len(tracers)
                for name in tracers[turn:] + tracers[:turn]:
                    costs[work][name].append(measure(work, folder, name))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    table("CPU", costs, "cpu", tracers)
    table("clock", costs, "wall", tracers)
    per_call(costs, tracers)
    if options.json:
        about = {
            "machine": os.uname().machine, "linux": os.uname().release, "cpus": os.cpu_count(),
            "python": sys.version.split()[0], "load before": load, "load after": os.getloadavg(),
        }  # fmt: skip
        seconds = {
            work: {name: [c._asdict() for c in of] for name, of in by.items()} for work, by in costs.items()
        }
        options.json.write_text(json.dumps({"about": about, "seconds": seconds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
