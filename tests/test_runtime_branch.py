"""Branches: what a copy shares with its past, that this replays, and that the tree knows where it came from."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nbformat
import pytest
from test_runtime import CELLS, notebook, shown, statuses

from provcrt_kernel.runtime import Project, ProjectError
from provcrt_kernel.runtime.archive import Archive


@pytest.fixture(autouse=True)
def own_data(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    monkeypatch.delenv("PROVCRT_STORE", raising=False)


def provcrt(*arguments, cwd):
    command = [sys.executable, "-m", "provcrt_kernel.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def edit(path, cell, source):
    book = nbformat.read(path, as_version=4)
    next(each for each in book.cells if each["id"] == cell).source = source
    path.write_text(nbformat.writes(book))


def test_a_branch_shares_the_past_and_is_known_as_a_child(tmp_path):
    (tmp_path / "data.txt").write_text("one\n")
    notebook(tmp_path / "study.ipynb")
    project = Project.open(tmp_path)
    project.execute(tmp_path / "study.ipynb")

    made = project.branch("e1", "c3")
    copy = tmp_path / made.notebook
    assert (made.id, made.parent, made.number) == ("b1", "e1", 3)
    assert copy.name == "study-branch1.ipynb"
    assert shown(copy) == [*shown(project.executed("e1")[0])[:3], "", ""]
    assert [cell.source for cell in nbformat.read(copy, 4).cells if cell.cell_type == "code"] == CELLS

    listed = provcrt("list", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["e1", "b1"]
    assert listed[2].startswith("  ")

    edit(copy, "c5", "x * 4")
    renamed = copy.rename(tmp_path / "a new idea.ipynb")
    execution = project.execute(renamed)
    assert statuses(execution) == ["replayed"] * 4 + ["executed"]
    assert (execution.parent, execution.relation, execution.branch) == ("e1", "branch", "b1")
    assert [change.splitlines()[0] for change in execution.changes] == ["cell c5 was changed"]
    assert "+x * 4" in execution.changes[0]

    listed = provcrt("list", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["e1", "e2"]
    assert listed[2].startswith("  ")
    assert (
        project.branch("e1", "c1").notebook == "study-branch1.ipynb"
    )  # its name is free again, its id is not
    assert [each.id for each in project.branches()] == ["b1", "b2"]


def test_a_notebook_file_branches_from_its_latest_execution_or_from_none(tmp_path):
    path = notebook(tmp_path / "below" / "study.ipynb", ["a = 1", "b = a", "b"])
    project, _ = Project.create(tmp_path, "p")
    first = project.branch(path, "2")
    assert (first.parent, first.cell, first.source) == (None, "c2", "below/study.ipynb")
    again = project.branch(tmp_path / first.notebook, "c1")
    assert (again.parent, again.notebook) == ("b1", "below/study-branch2.ipynb")

    for _ in range(2):
        project.execute(path, output=tmp_path / "out.ipynb")
    project.execute(notebook(tmp_path / "other.ipynb", ["1"]))
    assert project.branch(path, "c3").parent == "e2"
    execution = project.execute(tmp_path / again.notebook)  # b2, of b1, of what had not been executed
    assert (execution.parent, execution.branch, execution.changes) == (None, "b2", ())


def test_a_branch_elsewhere_knows_nothing_of_this_project(tmp_path):
    path = notebook(tmp_path / "one" / "study.ipynb", ["1"])
    project, _ = Project.create(path.parent, "p")
    project.execute(path)
    made = project.branch("e1", "c1")
    other = tmp_path / "two"
    other.mkdir()
    execution = Project.create(other, "q")[0].execute((path.parent / made.notebook).rename(other / "x.ipynb"))
    assert (execution.parent, execution.branch) == (None, "")


def test_what_cannot_branch_is_one_line(tmp_path):
    path = notebook(tmp_path / "study.ipynb", ["a = 1"])
    assert "no project" in provcrt("branch", "e1", "--cell", "c1", cwd=tmp_path).stderr
    project, _ = Project.create(tmp_path, "p")
    (tmp_path / "there.ipynb").write_text("")
    for arguments, says in (
        (("e1", "--cell", "c1"), "no execution e1"),
        ((path, "--cell", "c9"), "there is no cell 'c9' (its code cells are c1)"),
        ((path, "--cell", "2"), "there is no cell '2'"),
        ((path, "--cell", "c1", "-o", "there.ipynb"), "is there already"),
        ((path, "--cell", "c1", "-o", "../away.ipynb"), "cannot be a branch in this project"),
        ((path, "--cell", "c1", "-o", "name.txt"), "cannot be a branch in this project"),
        ((path, "--cell", "c1", "-o", "none/x.ipynb"), "does not exist"),
        (("nothing.ipynb", "--cell", "c1"), "does not exist"),
        (("what", "--cell", "c1"), "does not exist"),
    ):
        done = provcrt("branch", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert says in done.stderr
    assert provcrt("branch", path, cwd=tmp_path).returncode == 2
    assert project.branches() == []

    told = json.loads(provcrt("branch", path, "--cell", "1", "--json", cwd=tmp_path).stdout)
    assert told["notebook"] == "study-branch1.ipynb"
    assert "forgot b1" in provcrt("rm", "b1", cwd=tmp_path).stdout
    assert (tmp_path / "study-branch1.ipynb").exists()
    assert provcrt("rm", "b1", cwd=tmp_path).returncode == 1
    assert project.branch(path, "c1").id == "b2"


def test_of_another_version_is_said(tmp_path):
    project, _ = Project.create(tmp_path, "")
    project.branch(notebook(tmp_path / "study.ipynb", ["a = 1"]), "c1")
    record = Archive(tmp_path).folder / "branches" / "b1.json"
    record.write_text(
        record.read_text().replace('"created":', '"made":').replace('"format": 3', '"format": 99')
    )
    with pytest.raises(ProjectError, match="newer version"):
        project.branches()


def test_two_at_once_are_two(tmp_path):
    path = notebook(tmp_path / "study.ipynb", ["a = 1"])
    Project.create(tmp_path, "p")
    command = [sys.executable, "-m", "provcrt_kernel.cli", "branch", str(path), "--cell", "c1"]
    both = [subprocess.Popen([*command, "-o", f"{n}.ipynb"], cwd=tmp_path, env=os.environ) for n in "xy"]
    assert [each.wait() for each in both] == [0, 0]
    assert {each.notebook for each in Project.open(tmp_path).branches()} == {"x.ipynb", "y.ipynb"}
