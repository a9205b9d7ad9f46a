"""The command line where a user is mistaken: one line, the right exit code, never a traceback."""

from __future__ import annotations

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import provcrt_kernel
from provcrt_kernel.cli import changing, labels, main, projects, running, telling
from provcrt_kernel.provenance.compare import Verdict
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.runtime.archive import Archive
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Environment, Execution, Repetition
from provcrt_kernel.runtime.notebook import parse, title

THEMES = (changing, labels, projects, running, telling)
HERE = Environment(python="3.11.2 CPython", platform="Linux", packages={"numpy": "2.0"})
CELL = CellRun(
    number=1,
    cell="c1",
    title="x = [1]  # [red]not markup[/red]",
    status="executed",
    started=1.0,
    seconds=0.5,
    reason="never run here",
    files_read=(FileVersion("/data/in.csv", "0" * 32),),
    files_written=(FileVersion("/data/out put.csv", "1" * 32),),
    volatile=("time.time",),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with one execution, made without a kernel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROVCRT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    archive = Archive(tmp_path)
    archive.prepare()
    with archive.draft() as draft:
        archive.keep(
            draft,
            lambda id: Execution(
                id, 1.0, 0.5, "me", HERE, notebook=FileVersion("a.ipynb", "2" * 32), cells=(CELL,)
            ),
        )
    with archive.draft() as draft:
        archive.keep_repetition(
            draft, "e1", lambda number: Repetition("e1", number, 1.0, 0.5, HERE, Verdict.of([]), (CELL,))
        )
    return tmp_path


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["exec", "none.ipynb"], "does not exist"),
        (["exec", "."], "it is a folder"),
        (["exec", "script.py"], "it is not executable"),
        (["exec", "no-such-program"], "there is no such program"),
        (["exec", ""], "its name is empty"),
        (["exec", "text.ipynb"], "is not a notebook"),
        (["exec", "list.ipynb"], "is not a notebook"),
        (["exec", "binary.ipynb"], "is not a notebook"),
        (["exec", "julia.ipynb"], "its language is julia"),
        (["exec", "good.ipynb", "-o", "no/such/folder/out.ipynb"], "does not exist"),
        (["repeat", "one"], "'one' is not the id of an execution"),
        (["repeat", "e0"], "'e0' is not the id"),
        (["repeat", "../e1"], "is not the id"),
        (["show", "e7"], "no execution e7 in this project (there are e1)"),
        (["prov", "e7"], "no execution e7"),
        (["repeat", "e1"], "is damaged"),  # it has no notebook
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(folder, capsys, arguments, says):
    (folder / "script.py").write_text("x = 1")
    (folder / "text.ipynb").write_text("not json")
    (folder / "list.ipynb").write_text("[1, 2]")
    (folder / "binary.ipynb").write_bytes(bytes(range(256)))
    julia = new_notebook(metadata={"kernelspec": {"name": "j", "display_name": "j", "language": "julia"}})
    (folder / "julia.ipynb").write_text(nbformat.writes(julia))
    (folder / "good.ipynb").write_text(nbformat.writes(new_notebook(cells=[new_code_cell("1")])))
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("provcrt: ")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["repeat", "e1"], ["show", "e1"], ["list"], ["prov", "e1"]])
def test_without_a_project_every_command_says_how_to_start_one(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "start one with `provcrt open" in err


@pytest.mark.parametrize(
    "arguments", [["exec"], ["repeat"], ["dance"], ["show", "e1", "--loud"], ["prov", "e1", "--format", "x"]]
)
def test_wrong_usage_is_exit_code_2(folder, capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


COMMANDS = [
    command.name or command.callback.__name__ for each in THEMES for command in each.app.registered_commands
]
#: What prints no data: it lays files out, or prints a format that is asked for.
PLAIN = {"checkout", "prov", "requirements"}


@pytest.mark.parametrize("command", [name.replace("_", "-") for name in COMMANDS])
def test_every_command_has_help(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert "Usage" in out
    assert command in PLAIN or "--json" in out or command == "given"  # it takes it at the end


def test_the_version_is_told(capsys):
    assert run(capsys, "--version") == (0, f"{provcrt_kernel.__version__}\n", "")


def test_what_is_kept_is_shown_as_text_and_as_json(folder, capsys):
    code, out, _ = run(capsys, "show", "e1")
    assert code == 0
    for said in ("x = [1]  # [red]not markup[/red]", "never run here", "cannot be repeated: time.time"):
        assert said in out
    for said in ("/data/in.csv", "numpy 2.0", "3.11.2", "repetition 1", "reproduced"):
        assert said in out
    code, out, _ = run(capsys, "show", "e1", "--json")
    assert json.loads(out)["cells"][0]["files_read"] == [{"path": "/data/in.csv", "digest": "0" * 32}]
    code, out, _ = run(capsys, "list")
    assert "a.ipynb" in out
    code, out, _ = run(capsys, "list", "--json")
    assert [each["id"] for each in json.loads(out)] == ["e1"]
    code, out, _ = run(capsys, "prov", "e1")
    assert "urn:provcrt:" in json.loads(out)["prefix"]["provcrt"]
    code, out, _ = run(capsys, "prov", "e1", "--format", "n")
    assert out.startswith("document")
    code, out, _ = run(capsys, "gc", "--dry-run", "--json")
    assert json.loads(out)["records"] == []


def test_a_damaged_execution_says_so(folder, capsys):
    (folder / ".provcrt" / "executions" / "e1" / "execution.json").write_text('{"id": "e1"')
    for command in (["show", "e1"], ["list"]):
        code, _, err = run(capsys, *command)
        assert (code, err.count("\n")) == (1, 1)
        assert "is damaged" in err


def test_a_draft_that_is_not_kept_leaves_nothing(folder):
    archive = Archive(folder)

    def fill():
        with archive.draft() as draft:
            (draft / "half").write_text("")
            raise KeyError

    with pytest.raises(KeyError):
        fill()
    assert not list(archive.folder.glob(".draft-*"))
    assert archive.ids() == ["e1"]


def test_cells_without_ids_get_the_same_ones_whenever_a_notebook_is_read(tmp_path):
    old = new_notebook(cells=[new_code_cell("1"), new_code_cell("2")])
    for cell in old.cells:
        del cell["id"]
    old.nbformat_minor = 4
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(old))
    first, second = parse(path)[1], parse(path)[1]
    assert [cell.id for cell in first.cells] == [cell.id for cell in second.cells] == ["cell-0", "cell-1"]
    nbformat.validate(first)
    with pytest.raises(ProjectError, match="does not exist"):
        parse(tmp_path / "none.ipynb")


def test_a_title_is_the_first_line_that_says_something():
    assert title("\n\n  x = 1\ny = 2") == "x = 1"
    assert title("") == ""
    assert len(title("x" * 100)) == 60
