"""Projects with real kernels: what exec keeps, what repeat replays and finds, and what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from prov.model import ProvActivity, ProvAgent, ProvDocument, ProvEntity, ProvGeneration, ProvUsage

from provcrt_kernel.runtime import Project, ProjectError
from provcrt_kernel.store import digest

PLAIN = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")
CELLS = [
    "x = 2",
    "text = open('data.txt').read()\nprint(text, end='')",
    "open('out.txt', 'w').write(text * x)\nprint('written')",
    "open('out.txt').read()",
    "x * 21",
]


@pytest.fixture(autouse=True)
def own_data(tmp_path_factory, monkeypatch):
    """Keep the user's own key and store out of it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    monkeypatch.delenv("PROVCRT_STORE", raising=False)


def notebook(path: Path, cells=CELLS) -> Path:
    book = new_notebook(cells=[new_markdown_cell("# A study", id="title")])
    book.cells += [new_code_cell(source, id=f"c{number}") for number, source in enumerate(cells, 1)]
    book.metadata["kernelspec"] = {"name": "provcrt", "display_name": "PROV-CRT Python", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(book))
    return path


def shown(path: Path) -> list[str]:
    """What each code cell of an executed notebook shows, as text."""
    book = nbformat.read(path, as_version=4)
    return [
        "".join(
            out.get("text") or out.get("data", {}).get("text/plain") or out["ename"] for out in cell.outputs
        )
        for cell in book.cells
        if cell.cell_type == "code"
    ]


def provcrt(*arguments, cwd, **options):
    command = [sys.executable, "-m", "provcrt_kernel.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)


def statuses(run):
    return [cell.status for cell in run.cells]


def leftovers(folder: Path) -> list[str]:
    return sorted(
        path.name for path in (folder / ".provcrt" / "executions").glob("*") if path.name != ".lock"
    )


def test_an_execution_is_kept_and_its_repetition_replays_what_did_not_change(tmp_path):
    (tmp_path / "data.txt").write_text("one\n")
    path = notebook(tmp_path / "study.ipynb")
    before = path.read_bytes()
    told = []
    project = Project.open(tmp_path)
    execution = project.execute(path, on_cell=told.append)

    # What is shown is what plain Python computes, and the notebook itself is left alone.
    assert (execution.id, execution.error) == ("e1", None)
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        ".provcrt", "data.txt", "out.txt", "study.ipynb"
    ]  # fmt: skip
    assert shown(project.executed("e1")[0]) == ["", "one\n", "written\n", r"'one\none\n'", "42"]
    assert [cell.number for cell in told] == [1, 2, 3, 4, 5]
    assert statuses(execution) == ["executed"] * 5

    # Files are known by their contents.
    read, write, again = execution.cells[1:4]
    data = str(tmp_path / "data.txt")
    out = str(tmp_path / "out.txt")
    assert (data, digest(b"one\n")) in [(file.path, file.digest) for file in read.files_read]
    assert [(file.path, file.digest) for file in write.files_written] == [(out, digest(b"one\none\n"))]
    assert (out, digest(b"one\none\n")) in [(file.path, file.digest) for file in again.files_read]
    assert execution.notebook.digest == digest(before)
    assert execution.environment.packages["diskcache"]

    # Another session, nothing changed.
    first = Project.find(tmp_path).repeat("e1")
    assert statuses(first) == ["replayed"] * 5
    assert (first.verdict.word, first.number) == ("reproduced", 1)

    # A data file changed: its reader and what follows from it run.
    (tmp_path / "data.txt").write_text("two\n")
    second = project.repeat("e1", isolation=False)
    assert statuses(second) == ["replayed", "executed", "executed", "executed", "replayed"]
    assert second.verdict.word == "diverged"
    assert [difference.number for difference in second.verdict.differences] == [2, 3, 4]
    assert second.verdict.line == "diverged at cell 2: stdout differs in line 1: 'one' became 'two'"
    assert "another content" in second.verdict.differences[1].what
    assert [each.number for each in project.repetitions("e1")] == [1, 2]

    # The notebook was edited since: a repetition is of what was recorded.
    notebook(path, ["1 / 0"])
    (tmp_path / "data.txt").write_text("one\n")
    assert project.repeat("e1").verdict.word == "reproduced"

    # It all comes back from disk as it was.
    assert project.show("e1") == execution
    assert project.list() == [execution]
    assert leftovers(tmp_path) == ["e1", "last"]

    # W3C PROV, read back by another reader.
    document = ProvDocument.deserialize(
        content=project.document("e1").serialize(format="json"), format="json"
    )
    labels = {
        str(element.identifier): str(element.label)
        for element in document.get_records()
        if element.identifier
    }
    links = {
        (kind.__name__, labels[str(link.args[0])], labels[str(link.args[1])])
        for kind in (ProvUsage, ProvGeneration)
        for link in document.get_records(kind)
    }
    assert ("ProvUsage", "cell 2", "data.txt") in links
    assert ("ProvGeneration", "out.txt", "cell 3") in links
    assert ("ProvUsage", "cell 4", "out.txt") in links
    assert len(list(document.get_records(ProvActivity))) == 6
    assert len(list(document.get_records(ProvAgent))) == 1
    contents = {str(value) for each in document.get_records(ProvEntity) for _, value in each.extra_attributes}
    assert digest(b"one\none\n") in contents
    assert "used(" in project.document("e1").get_provn()


def test_a_cell_that_lists_its_folder_is_replayed(tmp_path):
    """What is executed leaves nothing in the folder that the cells would find there the next time."""
    (tmp_path / "data.txt").write_text("one\n")
    path = notebook(tmp_path / "study.ipynb", ["import os", "print(sorted(os.listdir()))", "!ls"])
    Project.open(tmp_path).execute(path)
    again = Project.open(tmp_path).execute(path)
    assert statuses(again) == ["replayed"] * 3, [cell.reason for cell in again.cells]


def test_a_cell_that_keeps_executions_shows_all_its_lines(tmp_path, monkeypatch):
    """Nested: the cell's own process forks what traces the command, while what it printed waits to be sent."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # ipykernel would not look at descriptors 1 and 2
    cells = [
        "from provcrt_kernel.runtime import Project\np, _ = Project.create('.', 'inner')",
        "import os\nfor n in range(3):\n    print('before', n); os.write(1, b'low\\n')\n"
        "    print(p.run(['echo', f'inner {n}']).id); print(p.run(['echo', 'x'], show=False).id)",
    ]
    path = notebook(tmp_path / "study.ipynb", cells)
    (tmp_path / "inner").mkdir()
    project = Project.create(tmp_path, "outer")[0]
    execution = project.execute(path)
    assert execution.error is None
    lines = sorted(shown(project.executed("e1")[0])[1].split())
    wanted = "before before before low low low inner inner inner 0 0 1 1 2 2 e1 e2 e3 e4 e5 e6"
    assert lines == sorted(wanted.split())


def test_a_cell_that_raises_ends_the_run_and_the_execution_is_kept(tmp_path):
    path = notebook(tmp_path / "a.ipynb", ["print('a')", "raise ValueError('no\\nway')", "print('never')"])
    book = nbformat.read(path, as_version=4)
    book.cells[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text="stale")]
    path.write_text(nbformat.writes(book))
    done = provcrt("exec", path, "-o", tmp_path / "out.ipynb", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "provcrt: cell 2 raised ValueError: no (kept as e1): `provcrt show e1` shows what ran\n"
    )
    assert shown(tmp_path / "out.ipynb") == ["a\n", "ValueError", ""]
    execution = Project.find(tmp_path).show("e1")
    assert statuses(execution) == ["executed", "failed"]
    again = Project.find(tmp_path).repeat("e1")
    assert (again.verdict.word, again.error) == ("reproduced", execution.error)


def test_an_error_that_is_expected_does_not_end_the_run(tmp_path):
    path = notebook(tmp_path / "a.ipynb", ["1 / 0", "print('on')"])
    book = nbformat.read(path, as_version=4)
    book.cells[1].metadata["tags"] = ["raises-exception"]
    path.write_text(nbformat.writes(book))
    execution = Project.open(tmp_path, kernel=PLAIN).execute(path)
    assert (statuses(execution), execution.error) == (["failed", "executed"], None)


def test_a_kernel_that_keeps_no_records_runs_all_and_the_verdict_still_holds(tmp_path):
    cells = ["n = int(open('n').read())\n", "print(n)", "object()"]
    path = notebook(tmp_path / "a.ipynb", cells)
    (tmp_path / "n").write_text("1")
    project = Project.open(tmp_path, kernel=PLAIN)
    assert project.execute(path).cells[0].reason == "this kernel keeps no records"
    assert project.repeat("e1").verdict.word == "reproduced"
    (tmp_path / "n").write_text("2")
    here = project.repeat("e1", isolation=False)
    assert here.verdict.line == "diverged at cell 2: stdout differs in line 1: '1' became '2'"


def test_a_kernel_that_dies_is_one_line_and_leaves_nothing(tmp_path):
    path = notebook(
        tmp_path / "a.ipynb", ["x = 1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    )
    with pytest.raises(ProjectError, match="the kernel died in cell 2"):
        Project.open(tmp_path).execute(path)
    assert leftovers(tmp_path) == []


def test_a_kernel_that_does_not_start_is_one_line_and_leaves_nothing(tmp_path):
    path = notebook(tmp_path / "a.ipynb", ["x = 1"])
    broken = (sys.executable, "-c", "raise SystemExit('no such luck')", "{connection_file}")
    with pytest.raises(ProjectError, match=r"did not start \(no such luck\)"):
        Project.open(tmp_path, kernel=broken).execute(path)
    with pytest.raises(ProjectError, match="did not start"):
        Project.open(tmp_path, kernel=("/nonexistent/python", "{connection_file}")).execute(path)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_exec_that_is_interrupted_or_killed_leaves_no_half_of_an_execution(tmp_path, number):
    path = notebook(
        tmp_path / "a.ipynb",
        ["import os; open('pid', 'w').write(str(os.getpid()))", "import time; time.sleep(600)"],
    )
    command = [sys.executable, "-m", "provcrt_kernel.cli", "exec", str(path)]
    running = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    mark = tmp_path / "pid"
    for _ in range(300):
        if mark.exists() and mark.read_text():
            break
        time.sleep(0.1)
    kernel = int(mark.read_text())
    time.sleep(0.5)
    running.send_signal(number)
    _, said = running.communicate(timeout=30)
    assert running.returncode
    assert "Traceback" not in said
    for _ in range(100):  # the kernel notices that its parent is gone
        if not Path(f"/proc/{kernel}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{kernel}").exists()
    assert Project.find(tmp_path).list() == []
    mark.unlink()
    quick = notebook(tmp_path / "b.ipynb", ["1"])
    assert Project.open(tmp_path).execute(quick).id == "e1"


def test_ids_are_never_given_twice_not_even_to_two_at_once(tmp_path):
    path = notebook(tmp_path / "a.ipynb", ["1"])
    commands = [[sys.executable, "-m", "provcrt_kernel.cli", "exec", str(path)] for _ in range(2)]
    pair = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for command in commands
    ]
    assert sorted(process.communicate()[0].split()[0] for process in pair) == ["e1", "e2"]
    shutil.rmtree(tmp_path / ".provcrt" / "executions" / "e2")
    done = provcrt("exec", path, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["id"] == "e3"
    assert [each["id"] for each in json.loads(provcrt("list", "--json", cwd=tmp_path).stdout)] == ["e1", "e3"]


def test_a_project_is_found_from_below_and_paths_are_told_within_it(tmp_path):
    notebook(tmp_path / "a.ipynb", ["1"])
    Project.open(tmp_path, kernel=PLAIN).execute(tmp_path / "a.ipynb")
    inner = notebook(tmp_path / "deep" / "er" / "b.ipynb", ["open('here', 'w').close()"])
    execution = Project.open(inner.parent, kernel=PLAIN).execute(inner)
    assert (execution.id, execution.notebook.path) == ("e2", "deep/er/b.ipynb")
    assert (inner.parent / "here").exists()
    shutil.rmtree(inner.parent)
    with pytest.raises(ProjectError, match=r"its folder .* is gone"):
        Project.find(tmp_path, kernel=PLAIN).repeat("e2", isolation=False)


def test_the_doctor_says_what_works_here(tmp_path):
    done = provcrt("doctor", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["tracer"] in ("seccomp", "ptrace", "joined", "none")
    assert (done.returncode == 0) == (found["tracer"] != "none" and not found["tracer_problem"])
    (tmp_path / "file").write_text("")
    done = provcrt("doctor", cwd=tmp_path, env={**os.environ, "PROVCRT_STORE": str(tmp_path / "file")})
    assert done.returncode == 1
    assert "cannot be opened" in done.stdout
    assert done.stderr.count("\n") == 1
