"""Names and tags of executions, from the command line; their execution stays signed and as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from provcrt_kernel.runtime import Project, ProjectError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / ".provcrt").mkdir()
    monkeypatch.chdir(tmp_path)
    project = Project.open(tmp_path)
    project.run(["true"], show=False)
    return project


def provcrt(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "provcrt_kernel.cli", *words], capture_output=True, text=True, check=False
    )


def test_names_and_tags_by_command(project: Project) -> None:
    kept = (project.archive.folder / "e1" / "execution.json").read_bytes()
    assert provcrt("rename", "e1", "the baseline").stdout == "e1 is the baseline\n"
    assert provcrt("tag", "e1", "paper", "good").stdout == "good\npaper\n"
    assert provcrt("tag", "e1", "-d", "good").stdout == "paper\n"
    assert json.loads(provcrt("tag", "e1", "--json").stdout) == {"name": "the baseline", "tags": ["paper"]}
    assert "the baseline; paper" in provcrt("list").stdout
    assert provcrt("rename", "e1", "").stdout == "e1 has no name now\n"
    for words, said in (
        (("rename", "e1", "a\nb"), "cannot be a name"),
        (("tag", "e1", "a,b"), "cannot be a tag"),
    ):
        done = provcrt(*words)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert provcrt("tag", "e7", "x").returncode == 1
    assert (project.archive.folder / "e1" / "execution.json").read_bytes() == kept
    assert project.archive.is_ours("e1")


def test_a_label_that_is_damaged_is_none(project: Project) -> None:
    project.relabel("e1", "x", ["y"])
    (project.archive.folder / "e1" / "label.json").write_text("{")
    assert project.label("e1").name == ""
    assert project.relabel("e1", tags=["z"]).tags == ("z",)
    with pytest.raises(ProjectError, match="too many"):
        project.relabel("e1", tags=map(str, range(51)))
