"""What can be told of executions of commands: differences, lineage, provenance, what has to be installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import hypothesis.strategies as st
import pytest
from hypothesis import given
from nbformat.v4 import new_code_cell, new_notebook
from prov.model import ProvDocument

from provcrt_kernel.cli import main
from provcrt_kernel.provenance.drawing import Edge, Graph, Node, svg
from provcrt_kernel.provenance.explain import explained
from provcrt_kernel.provenance.lineage import Step, sources, uses
from provcrt_kernel.provenance.owners import Package
from provcrt_kernel.provenance.requirements import requirements
from provcrt_kernel.runtime import Project, ProjectError
from provcrt_kernel.runtime.notebook import with_parameters
from provcrt_kernel.runtime.secrets import without_secrets
from provcrt_kernel.store.evict import Held, choose


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with two executions of a script, made once."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.chdir(folder)
        (folder / "data").write_text("1\n2\n")
        (folder / "main.sh").write_text('#!/bin/sh\nhead -n "$1" data > out\necho done "$1"\n')
        (folder / "main.sh").chmod(0o755)
        project = Project.open(folder)
        for count in ("1", "2"):
            project.run(["./main.sh", count], show=False)
        yield project


def told(capsys, *arguments, code=0):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert caught.value.code == code, err
    return out if code == 0 else err


def test_two_executions_are_compared(project, capsys):
    found = json.loads(told(capsys, "diff", "e1", "e2", "--json"))
    parts = {(each["part"], Path(each["name"]).name): each for each in found}
    assert parts["command", "arguments"]["after"] == "('./main.sh', '2')"
    assert "+2" in parts["file written", "out"]["diff"]
    assert parts["output", "stdout"]["diff"].endswith("-done 1\n+done 2")
    assert told(capsys, "diff", "e1", "e1") == "e1 and e1 are the same\n"


def test_lineage_goes_both_ways(project, capsys):
    back = json.loads(told(capsys, "why", "e1", "out", "--json"))
    assert back["what"] == str(project.root / "out")
    assert {Path(each["what"]).name for each in back["then"]} >= {"data", "main.sh"}
    assert str(project.root / "out") in told(capsys, "used-by", "e1", "data")
    assert "neither read nor wrote" in told(capsys, "why", "e1", "nothing", code=1)


@pytest.mark.parametrize("format", ["json", "xml", "turtle"])
def test_provenance_is_read_back_by_another_reader(project, capsys, format):
    text = told(capsys, "prov", "e1", "--format", format)
    options = {"rdf_format": "turtle"} if format == "turtle" else {}
    name = {"turtle": "rdf"}.get(format, format)
    document = ProvDocument.deserialize(content=text, format=name, **options)
    shown = document.get_provn()
    assert "main.sh 1" in shown
    assert f'label="{"out"}"' in shown.replace("rdfs:label", "label").replace("prov:label", "label")
    assert "wasStartedBy" in shown


def test_provenance_can_be_drawn(project, capsys):
    text = told(capsys, "prov", "e1", "--format", "mermaid")
    assert text.startswith("flowchart LR")
    names = {line.split('"')[1]: line.split("[")[0].strip("( ") for line in text.splitlines() if '"' in line}
    assert f"  {names['data']} --> {names['head -n 1 data']}" in text  # whoever read it
    assert f"  {names['head -n 1 data']} --> {names['out']}" in text
    assert "libc" not in text  # what belongs to packages is left out of pictures


def boxes(text):
    """Return the place of each label of a picture: left, top, width, height."""
    found = {}
    for group in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}g"):
        shape = group.find("{http://www.w3.org/2000/svg}rect")
        title = group.find("{http://www.w3.org/2000/svg}title")
        if title is not None and shape is not None:
            found[title.text] = [float(shape.get(name)) for name in ("x", "y", "width", "height")]
    return found


def test_provenance_is_a_picture(project, capsys):
    found = boxes(told(capsys, "prov", "e1", "--format", "svg"))
    assert {"data", "out", "main.sh", "main.sh 1", "head -n 1 data"} <= found.keys()
    assert found["data"][0] < found["head -n 1 data"][0] < found["out"][0]  # it flows from left to right


@given(
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14), st.booleans()), max_size=40),
    st.lists(st.text(max_size=60)),
)
def test_in_a_picture_nothing_lies_on_another_thing(edges, names):
    kinds = ("entity", "activity")
    nodes = tuple(Node(kinds[n % 2], f"{n} {names[n] if n < len(names) else ''}") for n in range(15))
    text = svg(Graph(nodes, tuple(dict.fromkeys(Edge(*edge) for edge in edges))), "a title")
    found = list(boxes(text).values())
    assert len(found) == 15
    for number, (x, y, width, height) in enumerate(found):
        for left, top, wide, high in found[number + 1 :]:
            assert x + width <= left or left + wide <= x or y + height <= top or top + high <= y


def test_many_files_of_the_same_fate_are_drawn_as_one():
    nodes = {f"f{n}": Node("entity", f"d/f{n}") for n in range(10_000)} | {"p": Node("activity", "p")}
    graph = Graph.of_arrows(nodes, [(f"f{n}", "p", False) for n in range(10_000)])
    assert sorted(node.label for node in graph.nodes) == ["d/f0 and 9999 more files", "p"]


def test_what_has_to_be_installed(project, capsys):
    if Path("/var/lib/dpkg/status").exists():
        version = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", "coreutils"], capture_output=True, text=True, check=False
        ).stdout
        assert f"coreutils={version}" in told(capsys, "requirements", "e1", "--format", "apt").splitlines()
    packages = [
        Package("pip", "scikit_learn", "1.0"),
        Package("dpkg", "libc6", "2"),
        Package("conda", "r", "4"),
    ]
    assert requirements(packages, "3.11.2", "pip", "x") == "scikit-learn==1.0\n"
    assert "  - python=3.11.2\n  - r=4\n  - pip\n  - pip:\n      - scikit-learn==1.0\n" in requirements(
        packages, "3.11.2", "conda", "x"
    )
    script = requirements(packages, "3.11.2", "binder", "x")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["sh", "-e"], input=script, cwd=folder, text=True, check=True)
        written = {path.name: path.read_text() for path in Path(folder, "binder").iterdir()}
    assert written == {
        "apt.txt": "libc6\n",
        "requirements.txt": "scikit-learn==1.0\n",
        "runtime.txt": "python-3.11\n",
    }
    docker = requirements(packages, "3.11.2", "dockerfile", "x")
    assert docker.startswith("FROM python:3.11.2-slim\n")
    assert docker.endswith("    scikit-learn==1.0\n")


def test_a_strangers_package_is_no_command():
    packages = [
        Package("pip", "good", "1"),
        Package("pip", "bad\n--index-url http://x", "1"),
        Package("dpkg", "a; curl x | sh", "1"),
        Package("dpkg", "b", "1 && evil"),
    ]
    for format in ("pip", "apt", "conda", "dockerfile", "binder", "readme"):
        text = requirements(packages, "3.11\nRUN evil", format, "run\n\x1b[2J")
        assert not {"evil", "curl", "index-url"} & set(re.split(r"[\s;|&]+|--", text)), text
        assert "\x1b" not in text
    assert requirements(packages, "", "pip", "") == "good==1\n"


def test_parameters_follow_papermills_rule():
    tagged = new_code_cell("k = 1", metadata={"tags": ["parameters"]})
    book = new_notebook(cells=[new_code_cell("import os"), tagged, new_code_cell("k")])
    assert with_parameters(book, {"k": "8", "name": "a b", "f": "[1, None]"}) == {
        "k": "8",
        "name": "'a b'",
        "f": "[1, None]",
    }
    assert [cell.source for cell in book.cells][2] == "# Parameters\nk = 8\nname = 'a b'\nf = [1, None]"
    with_parameters(book, {"k": "9"})  # again: in place of those before
    assert [cell.source for cell in book.cells] == ["import os", "k = 1", "# Parameters\nk = 9", "k"]
    for name in ("a b", "import", "x; import os", ""):
        with pytest.raises(ProjectError, match="cannot be the name"):
            with_parameters(book, {name: "1"})
    plain = new_notebook(cells=[new_code_cell("k")])
    with_parameters(plain, {"k": "__import__('os')"})
    assert plain.cells[0].source == """# Parameters\nk = "__import__('os')\""""


def test_completion_is_there_for_shells():
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run(
            [sys.executable, "-m", "provcrt_kernel.cli", "--show-completion", shell],
            capture_output=True, text=True, check=False, env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("took 0.5 s", "took 0.7 s", "timestamps"),
        ("at 2024-01-02T03:04:05", "at 2025-01-02T03:04:05.5", "timestamps"),
        ("<A at 0x7f3a12345678>", "<A at 0x7f3a87654321>", "addresses"),
        ("pid 12", "pid 345", "process ids"),
        ("b\na\n", "a\nb\n", "order of lines"),
        ("0.1234567890", "0.1234567891", "floating point"),
        ("wrote /tmp/tmpab12cd34/x", "wrote /tmp/tmpzz99yy88/x", "random names"),
        ("the sum is 4", "the sum is 5", None),
        ("accuracy 0.91", "accuracy 0.92", None),
        ("day 2024-01-02", "day 2024-01-03", None),
        ("a\nb", "a\nb\nb", None),
    ],
)
def test_what_says_nothing_about_a_result_is_overlooked(before, after, what):
    assert explained(before.encode(), after.encode()) == what


@given(st.text(max_size=40), st.text(max_size=40))
def test_an_explanation_works_both_ways(before, after):
    if before != after:
        assert explained(before.encode(), after.encode()) == explained(after.encode(), before.encode())


def test_lineage_over_cells():
    steps = [
        Step("1", (), ("x",)),
        Step("2", ("x",), ("y", "f")),
        Step("3", (), ("x",)),
        Step("4", ("x", "f"), ("z",)),
    ]
    back = sources(steps, "z")
    assert back is not None
    assert [(each.what, each.step) for each in back.then] == [("f", "2"), ("x", "3")]
    assert [each.what for each in back.then[0].then] == ["x"]
    forth = uses(steps, "x")
    assert forth is not None
    assert [(each.what, each.step) for each in forth.then] == [("f", "2"), ("y", "2")]
    assert [each.what for each in forth.then[0].then] == ["z"]
    assert sources(steps, "nothing") is None
    circle = [Step("1", ("a",), ("a", "b")), Step("2", ("a", "b"), ("a", "b"))]
    assert sources(circle, "a") is not None
    assert uses(circle, "a") is not None


def test_secrets_by_name_and_by_shape():
    kept, left_out = without_secrets(
        {
            "PATH": "/bin",
            "GITHUB_TOKEN": "x",
            "X": "AKIA" + "A" * 16,
            "EMPTY_TOKEN": "",
            "KEYBOARD": "us",
            "PWD": "/",
        }
    )
    assert left_out == ("GITHUB_TOKEN", "X")
    assert set(kept) == {"PATH", "EMPTY_TOKEN", "KEYBOARD", "PWD"}


def test_what_must_stay_is_not_evicted_and_does_not_crowd_out_the_rest():
    big = Held("container", float("inf"), 0.0, 10, frozenset({"a"}))
    small = Held("record", 1.0, 0.0, 10, frozenset({"b"}))
    evicted, loose = choose([big, small], {"a": 1000, "b": 5}, leased=(), young=(), excess=900)
    assert (evicted, loose) == ([], set())
    evicted, _ = choose([big, small], {"a": 1000, "b": 5}, leased=(), young=(), excess=1020)
    assert evicted == [small]
