"""The comm ``provcrt``, on real kernels: what a page is told while cells run, are replayed, change and are asked about."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from kernels import OURS, PLAIN, Exchange, Kernel, install_kernelspecs, is_idle, running

Data = dict[str, Any]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_kernelspecs(tmp_path_factory.mktemp("prefix"))


class Page:
    """A page that shows a notebook: cells with ids, and a comm."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.comm = uuid.uuid4().hex
        self.header: Data = {}

    def told(self, published: list[Data]) -> dict[str, Data]:
        """What came on the comm, by type."""
        mine = [m for m in published if m["msg_type"] == "comm_msg" and m["content"]["comm_id"] == self.comm]
        return {m["content"]["data"]["type"]: m["content"]["data"] for m in mine}

    def message(self, kind: str, data: Data) -> dict[str, Data]:
        """Send a comm message; what was answered by the time that the kernel is idle again."""
        content = {"comm_id": self.comm, "data": data, "target_name": "provcrt"}
        identity = self.kernel.send(kind, content, **self.header)
        published: list[Data] = []
        deadline = time.monotonic() + 30
        while not is_idle(published):
            assert time.monotonic() < deadline
            published += self.kernel.published(identity, wait=0.2)
        published += self.kernel.published(identity, wait=0.2 if self.header else 0.02)
        return self.told(published)

    def open(self) -> dict[str, Data]:
        return self.message("comm_open", {})

    def ask(self, kind: str, **data: Any) -> dict[str, Data]:
        return self.message("comm_msg", {"type": kind, **data})

    def run(self, cell: str, code: str, *tags: str) -> Exchange:
        metadata = {"cellId": cell, "tags": list(tags)}
        return self.kernel.request("execute_request", Kernel.cell(code), metadata=metadata)

    def preview(self, cells: dict[str, str]) -> dict[str, tuple[str, str, float | None]]:
        asked = [{"id": cell, "source": source, "tags": []} for cell, source in cells.items()]
        answer = self.ask("preview", request=7, cells=asked)["preview"]
        assert answer["request"] == 7
        assert [each["id"] for each in answer["cells"]] == list(cells)
        return {each["id"]: (each["verdict"], each["reason"], each["seconds"]) for each in answer["cells"]}


NOTEBOOK = {
    "a": "import time\nx = 2",
    "b": "time.sleep(0.3)\ny = x * 10",
    "c": "numbers = (i for i in range(y))",
    "d": "print(y)",
    "e": "x = 5",
    "f": "print(x)",
}


def test_a_page_is_told_of_every_cell(specs: Path, tmp_path: Path) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        page = Page(kernel)
        assert page.told(page.run("a", NOTEBOOK["a"]).published) == {}  # nobody asked yet
        told = page.open()
        assert told["session"]["recording"] is True
        assert (told["session"]["executed"], told["session"]["replayed"]) == (1, 0)
        assert told["session"]["cwd"] == str(kernel.folder)
        assert told["session"]["why"] is None
        assert told["cells"]["cells"].keys() == {"a"}
        assert told["stale"]["cells"] == {}
        exchange = page.run("b", NOTEBOOK["b"])
        told = page.told(exchange.published)
        assert told["cells"]["cells"]["b"] == {**exchange.report, "execution_count": 2}  # type: ignore[dict-item]
        assert told["session"]["executed"] == 2

        kernel.restart()
        page = Page(kernel)
        assert page.open()["cells"]["cells"] == {}
        for cell in "ab":
            told = page.told(page.run(cell, NOTEBOOK[cell]).published)
            assert told["cells"]["cells"][cell]["status"] == "replayed"
        assert told["session"]["saved_seconds"] > 0.25
        second = Page(kernel)  # the page is loaded again, and the old one never said so
        assert second.open()["cells"]["cells"].keys() == {"a", "b"}
        exchange = page.run("d", NOTEBOOK["d"])
        assert page.told(exchange.published) == second.told(exchange.published)
        second.message("comm_close", {})
        exchange = page.run("d", NOTEBOOK["d"])
        assert page.told(exchange.published)
        assert second.told(exchange.published) == {}


def test_cells_are_stale_when_a_cell_above_changed_what_they_read(specs: Path, tmp_path: Path) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        page = Page(kernel)
        page.open()
        page.ask("order", cells=list(NOTEBOOK))

        def run(cell: str, code: str = "") -> Data:
            return dict(page.told(page.run(cell, code or NOTEBOOK[cell]).published)["stale"]["cells"])

        assert [run(cell) for cell in NOTEBOOK] == [{}] * 6  # e binds x anew below its readers
        assert run("f") == {}
        assert run("a", "import time\nx = 3") == {"b": "variable x changed (cell 8)"}
        assert run("b") == {"c": "variable y changed (cell 9)", "d": "variable y changed (cell 9)"}
        assert run("d") == {"c": "variable y changed (cell 9)"}
        assert run("c") == {}
        assert run("a", "import time\nx = 1 + 2") == {}  # the same value
        # a cell below is moved above its readers
        order = ["a", "e", "b", "c", "d", "f"]
        assert page.ask("order", cells=order)["stale"]["cells"] == {}  # e ran before; x is 3 in this session
        assert run("e") == {"b": "variable x changed (cell 13)"}
        # a cell that is gone makes nothing stale
        assert page.ask("order", cells=["a", "b", "c", "d"])["stale"]["cells"] == {}


def test_preview_says_what_happens(specs: Path, tmp_path: Path) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        page = Page(kernel)
        page.open()
        new = page.preview(NOTEBOOK)
        assert {verdict for verdict, _, _ in new.values()} == {"run"}
        assert new["b"] == ("run", "never run here", None)
        for cell, code in NOTEBOOK.items():
            page.run(cell, code)
        kernel.restart()
        page = Page(kernel)
        page.open()
        assert {p[0] for p in page.preview(NOTEBOOK).values()} == {"replay"}

        # whatever needs the generator runs its cell again, and what that needs
        more = {**NOTEBOOK, "g": "print(next(numbers))"}
        expected = page.preview(more)
        assert expected["c"][:2] == ("recompute", "cell 7 needs its values")
        assert expected["g"] == ("run", "never run here", None)
        for cell, code in more.items():
            report = page.run(cell, code).report
            assert report is not None
            assert report["status"] == ("executed" if expected[cell][0] == "run" else "replayed"), cell
        assert report["recomputed"] == [3]

        kernel.restart()
        page = Page(kernel)
        page.open()
        edited = {**NOTEBOOK, "a": "import time\nx = 1 + 1"}
        expected = page.preview(edited)
        assert expected["a"][:2] == ("run", "source changed")
        assert expected["b"][:2] == ("unknown", "variable x is computed anew (cell 1)")
        assert expected["b"][2] == pytest.approx(0.3, abs=0.15)
        assert expected["d"][:2] == ("unknown", "variable y is computed anew (cell 2)")
        assert expected["f"][0] == "replay"  # e binds x whatever it was
        got = {cell: page.run(cell, code).report["status"] for cell, code in edited.items()}  # type: ignore[index]
        assert got == {cell: "executed" if cell == "a" else "replayed" for cell in edited}


def test_preview_knows_what_cells_write(specs: Path, tmp_path: Path) -> None:
    cells = {
        "w": "open('made.txt', 'w').write('12')",
        "r": "n = int(open('made.txt').read())",
        "l": "import os\nnames = sorted(os.listdir('.'))",
        "q": "open('plain.txt').read()",
    }
    with running(OURS, specs, tmp_path) as kernel:
        page = Page(kernel)
        (kernel.folder / "plain.txt").write_text("1")
        for cell, code in cells.items():
            page.run(cell, code)
        kernel.restart()
        (kernel.folder / "made.txt").unlink()
        page.open()
        assert {p[0] for p in page.preview(cells).values()} == {"replay"}
        assert not (kernel.folder / "made.txt").exists()
        (kernel.folder / "plain.txt").write_text("2")
        assert page.preview(cells)["q"][:2] == ("run", "plain.txt changed")
        edited = page.preview({**cells, "w": "open('made.txt', 'w').write('13')"})
        assert edited["r"][:2] == ("unknown", "made.txt is written anew (cell 1)")
        reports = [page.run(cell, code).report for cell, code in cells.items()]
        assert [r and r["status"] for r in reports] == ["replayed", "replayed", "replayed", "executed"]


def test_afresh_runs_a_cell_once_whatever_is_recorded(specs: Path, tmp_path: Path) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        page = Page(kernel)
        page.open()
        page.run("a", "x = 1")
        page.ask("afresh", cells=["a"])
        assert page.preview({"a": "x = 1"})["a"][:2] == ("run", "asked to run")
        reports = [page.run("a", "x = 1").report for _ in range(2)]
        assert [(r["status"], r["reason"]) for r in reports if r] == [
            ("executed", "asked to run"),
            ("replayed", "unchanged"),
        ]


def test_recording_can_be_switched_off_and_on(specs: Path, tmp_path: Path) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        page = Page(kernel)
        page.open()
        page.run("a", "x = 1")
        page.run("b", "print(x)")
        session = page.ask("recording", on=False)["session"]
        assert (session["recording"], session["why"]) == (False, "recording is off")
        assert page.preview({"a": "x = 1"})["a"] == ("run", "recording is off", None)
        told = page.told(page.run("a", "x = 2").published)
        assert told["cells"]["cells"]["a"]["not_recorded"] == ["recording is off"]
        assert told["cells"]["cells"]["a"]["execution_count"] == 3
        assert told["stale"]["cells"] == {"b": "variable x changed (cell 3)"}
        assert page.ask("recording", on=True)["session"]["recording"] is True
        assert page.run("b", "print(x)").text() == "2\n"


def test_what_makes_no_sense_is_answered_in_words(specs: Path, tmp_path: Path) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        page = Page(kernel)
        page.open()
        for data in (
            {"type": "nonsense"},
            {},
            {"type": "preview", "request": 3},
            {"type": "recording", "on": 1},
        ):
            error = page.message("comm_msg", data)["error"]
            assert error["request"] == data.get("request")
            assert "\n" not in error["message"]
        assert page.message("comm_msg", [1])["error"]["message"]  # type: ignore[arg-type]
        assert page.run("a", "1 + 1").result == "2"


def test_a_comm_over_a_subshell_waits_for_the_cell(specs: Path, tmp_path: Path) -> None:
    """JupyterLab's way: messages arrive while a cell runs, and are answered when it has ended; the cell is recorded."""
    with running(OURS, specs, tmp_path) as kernel:
        page = Page(kernel)
        reply = kernel.request("create_subshell_request", channel="control")
        page.header = {"subshell_id": reply.content["subshell_id"]}
        assert page.open()["session"]["executed"] == 0
        identity = kernel.send(
            "execute_request", Kernel.cell("import time\ntime.sleep(1.5)\nx = 1"), metadata={"cellId": "a"}
        )
        kernel.wait_for(identity, lambda m: m["content"].get("execution_state") == "busy")
        assert "preview" not in page.ask(
            "preview", request=1, cells=[]
        )  # idle in its subshell, and no answer yet
        exchange = kernel.finish(identity)
        assert exchange.report is not None
        assert exchange.report["record"]
        kernel.wait_for(None, lambda m: m["content"].get("data", {}).get("type") == "preview")
        # a subshell that is made while a cell runs is no reason not to record it
        identity = kernel.send(
            "execute_request", Kernel.cell("time.sleep(1)\ny = 2"), metadata={"cellId": "b"}
        )
        kernel.wait_for(identity, lambda m: m["content"].get("execution_state") == "busy")
        kernel.request("create_subshell_request", channel="control")
        exchange = kernel.finish(identity)
        assert exchange.report is not None
        assert exchange.report["record"], exchange.report["not_recorded"]


def test_comms_of_others_are_ipykernels(specs: Path, tmp_path: Path) -> None:
    """Beside ours, targets of the notebook work as under plain ipykernel."""
    code = (
        "from comm import get_comm_manager\nseen = []\n"
        "get_comm_manager().register_target('mine', lambda c, m: c.on_msg(lambda m: seen.append(m['content']['data'])))"
    )
    results = {}
    for kind in (PLAIN, OURS):
        with running(kind, specs, tmp_path / kind) as kernel:
            kernel.execute(code)
            kernel.send("comm_open", {"comm_id": "c", "target_name": "mine", "data": {}})
            kernel.send("comm_msg", {"comm_id": "c", "data": {"n": 1}})
            results[kind] = kernel.execute("seen").result
    assert results[PLAIN] == results[OURS] == "[{'n': 1}]"


def test_without_a_store_a_page_is_told_why(specs: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("no folder")
    with running(OURS, specs, tmp_path, store=blocked) as kernel:
        page = Page(kernel)
        session = page.open()["session"]
        assert session["recording"] is False
        assert "blocked" in session["why"]
        assert page.run("a", "1").result == "1"
        verdict, reason, _ = page.preview({"a": "1"})["a"]
        assert (verdict, reason) == ("run", session["why"])
