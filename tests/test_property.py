"""Random notebooks, edited and run again: everything a reader sees, and every variable, is what a plain kernel has.

By default some notebooks, on forked shells; with ``-m sweep`` ten thousand (docs/property-sweep.md). A
notebook's seed tells all about it.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random

import pytest
from differential.compare import Finding, Scenario, Step, check, shells, write
from differential.found import FOUND
from differential.notebooks import scenario
from differential.shrink import shrink
from kernels import OURS, PLAIN, install_kernelspecs, running, transcript

Check = Callable[[Scenario], Finding]


@pytest.fixture(scope="module")
def checked() -> Iterator[Check]:
    """Runs a scenario in a folder of its own, in memory where that can be had."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(dir=memory) as folder, shells(Path(folder)) as both:

        def run(each: Scenario) -> Finding:
            place = Path(folder, str(next(numbers)))
            try:
                return check(each, both, place)
            finally:
                shutil.rmtree(place, ignore_errors=True)

        yield run


def told(each: Scenario, checked: Check) -> str:
    """Nothing if a scenario comes out right; else a small one that does not, and how."""
    if not checked(each).wrong:
        return ""
    small = shrink(each, lambda smaller: bool(checked(smaller).wrong))
    return "\n".join([str(small), "", *(checked(small).wrong or ["(not every time)"])])


@pytest.mark.parametrize("name", FOUND)
def test_found_before(name: str, checked: Check) -> None:
    finding = checked(FOUND[name])
    assert not finding.wrong, "\n".join(finding.wrong)
    assert not finding.needless


@pytest.mark.parametrize("first", range(0, 20, 10))
def test_random_notebooks(first: int, checked: Check) -> None:
    wrong = _wrong(range(first, first + 10), checked)
    assert not wrong, wrong


@pytest.mark.sweep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("first", range(0, 10_000, 500))
def test_ten_thousand_notebooks(first: int, checked: Check) -> None:
    wrong = _wrong(range(first, first + 500), checked)
    assert not wrong, wrong


@pytest.mark.sweep
@pytest.mark.parametrize("each", [*FOUND, *range(20)])
def test_a_sample_on_real_kernels(each: str | int, tmp_path: Path) -> None:
    specs = install_kernelspecs(tmp_path / "prefix")
    life = FOUND[each] if isinstance(each, str) else scenario(Random(each))
    ours, plain = tmp_path / "ours", tmp_path / "plain"
    (ours / "work").mkdir(parents=True)
    for name, content in life.files:
        write(ours / "work" / name, content)
    for steps in life.sessions:
        if plain.exists():
            shutil.rmtree(plain)
        shutil.copytree(ours / "work", plain / "work")
        expected = _session(PLAIN, specs, plain, steps)
        assert _session(OURS, specs, ours, steps) == expected


def _session(kind: str, specs: Path, folder: Path, steps: Iterable[Step]) -> list[object]:
    """What each cell of one session on a real kernel showed."""
    shown: list[object] = []
    with running(kind, specs, folder, environment={"PROVCRT_COST_POLICY": "off"}) as kernel:
        for what, name, text in steps:
            if what == "write":
                write(folder / "work" / name, text)
            else:
                exchange = kernel.execute(text, stop_on_error=False)
                shown.append(
                    [name, *(s for s in transcript(exchange, kernel.folder) if s[0] != "execute_reply")]
                )
    return shown


def _wrong(seeds: Iterable[int], checked: Check) -> str:
    return "\n\n".join(f"seed {n}:\n{how}" for n in seeds if (how := told(scenario(Random(n)), checked)))
