"""Values of libraries, from one process to another: the same by structure and by what they do.

Two processes that make the same value give it the same fingerprint, a value that is brought back has it too and behaves alike,
and one changed element changes it. Libraries that are not installed are skipped by name.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from session_libraries import VALUES

HERE = Path(__file__).parent


def _missing(name: str) -> list[str]:
    return [package for package in VALUES[name].needs if importlib.util.find_spec(package) is None]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one process says of the values that it made, and another of those it made and of the first one's."""
    folder = tmp_path_factory.mktemp("values")
    names = [name for name in VALUES if not _missing(name)]
    path = os.pathsep.join([str(HERE.parent), str(HERE)])
    for what in ("make", "check"):
        subprocess.run(
            [sys.executable, HERE / "session_libraries.py", what, folder, *names],
            check=True,
            cwd=folder,
            env={"PYTHONHASHSEED": "0", "PATH": os.environ["PATH"], "PYTHONPATH": path, "MPLBACKEND": "agg"},
        )
    return {what: json.loads((folder / f"{what}.json").read_text()) for what in ("make", "check")}


@pytest.mark.parametrize("name", VALUES)
def test_from_one_process_to_another(name: str, answers: dict[str, dict[str, Any]]) -> None:
    if missing := _missing(name):
        pytest.skip(f"{missing[0]} is not installed")
    made, checked = answers["make"][name], answers["check"][name]
    assert "failed" not in made, made["failed"]
    assert "failed" not in checked, checked["failed"]
    assert None not in made
    assert made == checked["here"], "two processes disagree on the same value"
    assert made == checked["brought"] or not VALUES[name].same, "what came back is not what was stored"
    for expression, (here, brought) in checked["behaviour"].items():
        assert here == brought, expression
    if checked["changed"] is not None:
        assert checked["changed"] != checked["here"], "a change was not seen"
