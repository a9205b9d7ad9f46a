"""The audit: records that tell what their cells do are right, and each that does not is named, with why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import nbformat
import pytest
from cases import CASES
from kernels import OURS, install_kernelspecs, running
from test_notebooks import NAMES, Desk

from provcrt_kernel.kernel.rerun import AuditCell, Finding, Job, rerun
from provcrt_kernel.replay.record import FileInput, FileOutput, Record, Shown
from provcrt_kernel.session.fingerprint import fingerprint
from provcrt_kernel.session.slots import State
from provcrt_kernel.store import Store


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_kernelspecs(tmp_path_factory.mktemp("prefix"))


# -- records that are wrong ---------------------------------------------------------------------------------------------


def printed(text: str) -> tuple[Shown, ...]:
    return (Shown("stream", {"name": "stdout", "text": text}),)


def cell(count: int, text: str, shown: tuple[Shown, ...] | None = (), **record: Any) -> AuditCell:
    """A cell, and what its record says: variables by their values, everything else as in `Record`."""
    record["writes"] = {
        n: State(fingerprint(v, {}).digest or "") for n, v in record.pop("writes", {}).items()
    }
    record.setdefault("reads", {})
    return AuditCell(count, text, Record(str(count), "", "", text, 0.0, 0.1, **record), shown)


def audited(folder: Path, *cells: AuditCell) -> list[tuple[str, tuple[str, ...]]]:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    Store.open(folder / "store").close()
    found = rerun(Job(str(work), dict(os.environ), cells, (), str(folder / "store")))
    assert [f.count for f in found] == [c.count for c in cells if c.judged]
    return [(f.verdict, f.why) for f in found]


def test_a_right_record_is_right_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    out = str(tmp_path / "work" / "out.txt")
    blob = Store.open(tmp_path / "store")
    content = blob.put(b"right")
    blob.close()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "gone.txt").write_text("here")
    found = audited(
        tmp_path,
        cell(1, "x = [1]; print(x)", printed("[1]\n"), writes={"x": [1]}),
        cell(2, "print('a'); 5", printed("b\n")),
        cell(3, "y = 2; z = 3", writes={"y": 2, "z": 4}),
        cell(4, "w = 1", writes={"w": 1, "v": 2}),
        cell(5, "open('out.txt', 'w').write('wrong');", outputs=(FileOutput(out, "file", content),)),
        cell(6, "open('out.txt', 'w').write('right');", outputs=(FileOutput(out, "file", content),)),
        cell(7, "pass", outputs=(FileOutput(str(tmp_path / "work" / "gone.txt"), "absent"),)),
        cell(8, "del x", deletes=("x",)),
        cell(9, "pass", deletes=("y",)),
        cell(10, "print(1)", None),
    )
    assert [verdict for verdict, _ in found] == [
        "right",
        *["wrong"] * 4,
        "right",
        "wrong",
        "right",
        *["wrong"] * 2,
    ]
    assert found[1][1] == ("output differs: 'b\\n' recorded, 'a\\n' now",)
    assert found[2][1] == ("variable z differs",)
    assert found[3][1] == ("variable v does not exist",)
    assert found[4][1] == ("file out.txt differs",)
    assert found[6][1] == ("file gone.txt is still there",)
    assert found[8][1] == ("variable y still exists",)
    assert found[9][1] == ("its output is lost",)
    assert not (tmp_path / "work" / "out.txt").exists(), "it wrote into the notebook's own folder"


def test_what_depends_on_the_unrepeatable_or_the_wrong_is_left_out(tmp_path: Path) -> None:
    out = str(tmp_path / "work" / "t.txt")
    found = audited(
        tmp_path,
        cell(
            1, "import time; t = time.time(); same = 1", writes={"t": 1.0, "same": 1}, volatile=("time.time",)
        ),
        cell(2, "u = t + 1", reads={"t": "then"}, writes={"u": 2.0}),
        cell(3, "s = same + 1", reads={"same": "then"}, writes={"s": 2}),
        cell(
            4,
            "open('t.txt', 'w').write(str(t));",
            reads={"t": "then"},
            outputs=(FileOutput(out, "file", "x"),),
        ),
        cell(5, "r = open('t.txt').read()", inputs=(FileInput(out, "file", "x"),), writes={"r": "1"}),
        cell(6, "w = 1", writes={"w": 2}),
        cell(7, "v = w", reads={"w": "then"}, writes={"v": 2}),
        cell(8, "w = 5", writes={"w": 5}),
        cell(9, "v = w", reads={"w": "then"}, writes={"v": 5}),
    )
    assert found == [
        ("left out", ("it uses time.time",)),
        ("left out", ("it depends on cell [1]",)),
        ("right", ()),
        ("left out", ("it depends on cell [1]",)),
        ("left out", ("it depends on cell [1]",)),
        ("wrong", ("variable w differs",)),
        ("left out", ("it depends on cell [6], which is wrong",)),
        ("right", ()),
        ("right", ()),
    ]


def test_a_kernel_that_ends_leaves_the_rest_out(tmp_path: Path) -> None:
    found = audited(
        tmp_path,
        cell(1, "x = 1", writes={"x": 1}),
        cell(2, "import os; os._exit(3)"),
        cell(3, "y = 1", writes={"y": 1}),
    )
    assert [verdict for verdict, _ in found] == ["right", "left out", "left out"]


# -- records as they are ------------------------------------------------------------------------------------------------


#: What makes the long examples short.
_PARTS = {"RESAMPLES = 10_000": "RESAMPLES = 200", 'PROFILE = "full"': 'PROFILE = "quick"'}


@pytest.mark.timeout(1800)  # each runs twice
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.sweep] if n == "model" else []) for n in NAMES]
)
def test_examples_are_clean(name: str, specs: Path, tmp_path: Path) -> None:
    """`provcrt audit` of each example, after a first run: everything is replayed, and every record is right."""
    desk = Desk.of(name, tmp_path)
    path = desk.folder / f"{name}.ipynb"
    for each in desk.notebook.cells:
        for whole, part in _PARTS.items():
            each.source = each.source.replace(whole, part)
    nbformat.write(desk.notebook, path)
    for command in (["exec", str(path)], ["audit", "--json", str(path)]):
        done = subprocess.run(
            [sys.executable, "-m", "provcrt_kernel.cli", *command],
            capture_output=True, text=True, check=False, env=desk.env, cwd=desk.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    found = msgspec.json.decode(done.stdout, type=tuple[Finding, ...])
    assert not [f for f in found if f.verdict == "wrong"]
    # the study trains in processes that draw randomness, and reads the clock
    others = [f for f in found if f.verdict != "right"]
    assert len(others) <= 3, others
    assert all(f.why[0].startswith("it uses ") for f in others), others


#: Audited by default; with ``-m "sweep or not sweep"`` all cases are.
_SAMPLE = sorted(name for name, case in CASES.items() if case.telling)[::18]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case_name" in metafunc.fixturenames:
        everything = "sweep" in metafunc.config.option.markexpr
        names = sorted(CASES) if everything else _SAMPLE
        metafunc.parametrize("case_name", names)


def test_records_of_cases_are_right(case_name: str, specs: Path, tmp_path: Path) -> None:
    """A session of a case's notebook, audited: what its records say is what a plain kernel does."""
    case = CASES[case_name]
    (tmp_path / "work").mkdir()
    case.prepare(tmp_path / "work")
    with running(OURS, specs, tmp_path, environment=dict(case.env_before)) as kernel:
        answers = iter(case.answers_before)
        for name in case.order or case.cells:
            kernel.execute(case.cells[name], answers=answers, stop_on_error=False)
        exchange = kernel.execute("%provcrt audit --all --json")
        assert exchange.content["status"] == "ok", exchange.text("stderr")
        found = msgspec.json.decode(exchange.text(), type=tuple[Finding, ...])
    assert not [(f.count, f.why) for f in found if f.verdict == "wrong"]


def test_a_session_that_has_run_nothing_has_nothing_to_audit(specs: Path, tmp_path: Path) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        assert kernel.execute("%provcrt audit").text().startswith("no cell was replayed yet")
        kernel.execute("x = 1")
        assert kernel.execute("%provcrt audit --all").text() == "1 cell audited from scratch: 1 right\n"
