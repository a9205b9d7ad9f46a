"""Notebooks as containers: repeated from what was kept, changed, explained and shared, with the originals gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from test_runtime import notebook, provcrt, shown, statuses

from provcrt_kernel.runtime import Project
from provcrt_kernel.runtime.sandbox import problem

pytestmark = pytest.mark.skipif(problem() is not None, reason=f"no sandbox here: {problem()}")

CELLS = [
    "n = 3",
    "import helper\nrows = open('data/rows.txt').read().split()",
    "total = helper.total(rows) * n\nprint(total)",
    "count = int(open('counter').read()) + 1\nprint(count)\n_ = open('counter', 'w').write(str(count))",
]
HELPER = "def total(rows):\n    return sum(map(int, rows))\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project in which a notebook was executed; its folder is copied by nobody, and changed by each test in turn."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "user"))
        patch.delenv("PROVCRT_STORE", raising=False)
        work = folder / "work"
        (work / "data").mkdir(parents=True)
        (work / "helper.py").write_text(HELPER)
        (work / "data" / "rows.txt").write_text("1 2 3\n")
        (work / "counter").write_text("0")
        path = notebook(work / "study.ipynb", CELLS)
        book = nbformat.read(path, as_version=4)
        book.cells[1].metadata["tags"] = ["parameters"]
        path.write_text(nbformat.writes(book))
        project = Project.create(work, "p")[0]
        project.execute(path)
        yield project


def outputs(project, id):
    return shown(project._archive.folder / id / "executed.ipynb")


def test_a_repetition_runs_on_what_was_kept_not_on_what_is_here(made):
    work = made.root
    assert outputs(made, "e1")[2:] == ["18\n", "1\n"]
    (work / "data" / "rows.txt").write_text("100\n")
    (work / "helper.py").write_text("broken = ")
    before = (work / "counter").read_text()
    again = made.repeat("e1", output=work / "again.ipynb")
    assert again.verdict.word == "reproduced"
    assert statuses(again) == ["replayed"] * 4
    assert shown(work / "again.ipynb") == outputs(made, "e1")
    afresh = made.repeat("e1", memo=False)
    assert (afresh.verdict.word, statuses(afresh)) == ("reproduced", ["executed"] * 4)
    assert (work / "counter").read_text() == before == "1"  # nothing of it reaches the folder

    (work / "helper.py").write_text(HELPER)
    here = made.repeat("e1", isolation=False)  # on the files as they are: two are not what they were
    assert here.verdict.word == "diverged"
    causes = {each.number: each.cause for each in here.verdict.differences}
    assert "rows of cell 2" in causes[3] or "rows.txt" in causes[3]
    assert "counter" in causes[4]
    done = provcrt("repeat", "e1", "--no-isolation", "--strict", cwd=work)
    assert (done.returncode, "diverged at cell 3" in done.stderr) == (1, True)


def test_parameters_and_data_are_replaced(made, tmp_path):
    (tmp_path / "other.txt").write_text("5 5\n")
    given = made.given("e1", ["n=10", f"data/rows.txt={tmp_path / 'other.txt'}"])
    assert (given.parent, given.relation, given.parameters) == ("e1", "given", {"n": "10"})
    assert outputs(made, given.id)[-2:] == ["100\n", "1\n"]
    assert statuses(given)[-1] == "replayed"  # the counter's cell reads nothing that was changed
    assert made.repeat(given.id).verdict.word == "reproduced"
    again = made.given(given.id, ["n='a'"])
    assert outputs(made, again.id)[-2] == "aaaaaaaaaa\n"
    for values, places, says in (
        (["8"], ["%1"], "a notebook has no arguments"),
        (["8"], [], "neither a parameter nor a file"),
        (["data/rows.txt=missing.txt"], [], "does not exist"),
    ):
        done = provcrt("given", *values, "repeat", "e1", *places, cwd=made.root)
        assert (done.returncode, says in done.stderr) == (1, True), done.stderr


def test_an_edit_is_committed_by_running_it(made, tmp_path):
    work = made.root
    (work / "data" / "rows.txt").write_text("1 2 3\n")
    (work / "helper.py").write_text(HELPER)
    out = tmp_path / "out"
    assert made.checkout("e1", out) == (out, 4)
    (out / "helper.py").write_text(HELPER.replace("sum(", "2 * sum("))
    book = nbformat.read(out / "study.ipynb", as_version=4)
    book.cells[3].source += "\nprint('edited')"
    (out / "study.ipynb").write_text(nbformat.writes(book))
    committed = made.commit()
    assert (committed.parent, committed.relation) == ("e1", "commit")
    assert outputs(made, committed.id)[2] == "36\nedited\n"
    heads = [change.splitlines()[0] for change in committed.changes]
    assert heads == ["cell c3 was changed", f"{work}/helper.py was changed"]
    assert made.repeat(committed.id).verdict.word == "reproduced"
    (made._archive.folder / "checkout").unlink()
    (work / "counter").write_text("1")  # as the run left it
    done = provcrt("commit", "e1", cwd=work)
    assert (done.returncode, "nothing to commit" in done.stderr) == (1, True), done.stderr


def test_what_it_needed_is_told(made):
    told = made.detail("e1")
    kinds = {Path(each.path).name: each.kind for each in told.files}
    assert kinds["rows.txt"] == "input"
    assert kinds["helper.py"] in ("input", "user program")
    packages = {(each.manager, each.name) for each in told.packages}
    assert ("pip", "ipykernel") in packages
    assert not {name for _, name in packages} & {"mypy", "sphinx", "ruff"}  # installed, and not used


def test_shared_it_runs_elsewhere_with_the_originals_gone(made, tmp_path, monkeypatch):
    parent = made.given("e1", ["n=7"])
    shared = tmp_path / "x.provcrt"
    made.export(parent.id, shared)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another user"))
    hidden = made.root.rename(made.root.with_name("hidden"))
    try:
        theirs, ids = Project.load(elsewhere, shared)
        assert ids == ["e1", parent.id]
        first = theirs.repeat(parent.id)
        assert (first.verdict.word, statuses(first)) == ("reproduced", ["executed"] * len(first.cells))
        again = theirs.repeat(parent.id)
        assert set(statuses(again)) == {"replayed"}
        further = theirs.given(parent.id, ["n=1"])
        assert outputs(theirs, further.id)[-2] == "6\n"
        done = provcrt("repeat", "e1", "--no-isolation", cwd=elsewhere, env=os.environ)
        assert (done.returncode, "not made by you" in done.stderr) == (1, True)
    finally:
        hidden.rename(made.root)
        shutil.rmtree(elsewhere, ignore_errors=True)
