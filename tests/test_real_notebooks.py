"""Whole notebooks in the manner of public ones, from scratch, after restarts and after edits, against plain ipykernel.

What a reader sees must be what plain ipykernel shows from scratch in the same world. Cells that ran without need are told in
the report, and bounded after a mere restart. By default a few notebooks with a few edits; all with ``-m sweep``.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from kernels import install_kernelspecs
from real_notebooks import Desk

from notebooks import NAMES, data, read

#: Cells that run in each session, and why that is right.
ALWAYS = {
    # the database is deleted, made and kept open: only running gives the connection, and whoever uses it has another one
    "sql_basics": "connect schema insert select sql-helper join threshold window update tosql fromsql error close",
    "objects": "interact widget",  # a widget needs a live model
    "simulation": "many count",  # progress bars are widgets
    "boosting": "progress progress-nb",
}
DEFAULT = {"text_processing": 1, "sql_basics": 0}


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_kernelspecs(tmp_path_factory.mktemp("prefix"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "count" in metafunc.fixturenames:
        everything = "sweep" in metafunc.config.option.markexpr
        slow = [pytest.mark.sweep, pytest.mark.timeout(1800)]
        parameters = [pytest.param(n, c, id=f"{n}-{c}") for n, c in DEFAULT.items()]
        parameters += [pytest.param(n, 11, id=f"{n}-11", marks=slow) for n in NAMES if everything]
        metafunc.parametrize(("name", "count"), parameters)


def _needs(name: str) -> set[str]:
    text = "\n".join(cell.text for cell in read(name))
    return set(re.findall(r"^\s*(?:import|from)\s+(\w+)", text, re.MULTILINE)) - {"helper_text"}


def test_shown_as_from_scratch(name: str, count: int, specs: Path, tmp_path: Path) -> None:
    for package in sorted(_needs(name)):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    desk = Desk(read(name), data.write, specs, tmp_path, values=False)
    always = set(ALWAYS.get(name, "").split())
    for outcome in desk.outcomes(count):
        assert not outcome.wrong, outcome.what
        settled = outcome.what == "restart again" or (
            outcome.what.startswith("comment") and not outcome.what.endswith("same kernel")
        )
        if settled:
            ran = {n: why for n, why in outcome.ran.items() if n not in always | desk.volatile}
            assert not ran, outcome.what
        print(f"{outcome.what}: {len(outcome.ran)} of {outcome.cells} ran, without need {outcome.needless}")
