"""The server's extension: every verb on a real notebook, its schema, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import nbformat
import pytest
from jupyter_server.serverapp import ServerApp
from nbformat.v4 import new_code_cell, new_notebook
from tornado.httpclient import HTTPClientError

from provcrt_kernel.provenance.compare import Verdict
from provcrt_kernel.runtime import Project
from provcrt_kernel.server import messages
from provcrt_kernel.server.handlers import EVENT, ROUTES

pytest_plugins = ["pytest_jupyter.jupyter_server"]

Answer = Any
Ask = Callable[..., Awaitable[Answer]]

CELLS = {
    "load": "import csv\nrows = list(csv.DictReader(open('data.csv')))",
    "mean": "values = [float(r['x']) for r in rows]\nmean = sum(values) / len(values)",
    "show": "print(mean)",
    "save": "open('out.txt', 'w').write(str(mean))",
    "shell": "!echo from a process",
}


def notebook_of(cells: dict[str, str]) -> nbformat.NotebookNode:
    made = new_notebook(cells=[new_code_cell(source, id=name) for name, source in cells.items()])
    made.metadata["kernelspec"] = {"name": "provcrt", "display_name": "PROV-CRT Python", "language": "python"}
    return made


@pytest.fixture(scope="session")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a notebook that was executed twice, with an edit in between, and repeated once."""
    root = tmp_path_factory.mktemp("served")
    folder = root / "study"
    (folder / ".provcrt").mkdir(parents=True)
    (folder / "data.csv").write_text("x\n1\n2\n")
    path = folder / "nb.ipynb"
    nbformat.write(notebook_of(CELLS), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PROVCRT_STORE", raising=False)
        patch.setenv("XDG_DATA_HOME", str(root.parent / "data"))  # where the key is that seals records
        project = Project.open(folder)
        project.execute(path)
        project.repeat("e1")
        (folder / "data.csv").write_text("x\n1\n3\n")
        nbformat.write(notebook_of({**CELLS, "show": "print('the mean', mean)"}), path)
        project.execute(path)
    return root


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {"ServerApp": {"jpserver_extensions": {"provcrt_kernel.server": True}}}


@pytest.fixture
def root(executed: Path, tmp_path: Path) -> Path:
    """A copy of what was executed, with whatever is outside of it beside it; what nobody may reach is a secret."""
    (tmp_path / "secret.ipynb").write_text(nbformat.writes(notebook_of({"s": "secret = 'hidden'"})))
    (tmp_path / "outside").mkdir()
    unneeded = shutil.ignore_patterns(
        "roots"
    )  # what a repetition unpacks, 300 MB; the next one does it again
    shutil.copytree(executed, tmp_path / "root", symlinks=True, ignore=unneeded)
    return tmp_path / "root"


@pytest.fixture
def jp_root_dir(root: Path) -> Path:
    return root


@pytest.fixture
def ask(jp_fetch: Any, monkeypatch: pytest.MonkeyPatch, executed: Path) -> Ask:
    """Send a request; returns what was answered, checked against the published schema."""
    monkeypatch.delenv("PROVCRT_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(executed.parent / "data"))
    schema = messages.schema()

    async def send(
        method: str, *parts: str, kind: str | None = None, body: Any = None, status: int = 200, **params: str
    ) -> Answer:
        sent = body if isinstance(body, str | None) else json.dumps(body)
        if method in ("POST", "PATCH") and sent is None:
            sent = "{}"
        try:
            response = await jp_fetch(
                "provcrt", "api", *parts, method=method, body=sent, params=params, request_timeout=60
            )
        except HTTPClientError as error:
            response = error.response
        answer = json.loads(response.body)
        assert response.code == status, answer
        kind = "Failure" if status >= 400 else kind
        if kind is not None:
            jsonschema.validate(answer, {"$ref": f"#/$defs/{kind}", **schema})
        if status >= 400:
            assert answer["message"]
            assert "\n" not in answer["message"]
            assert "Traceback" not in answer["message"]
        return answer

    return send


NB = "study/nb.ipynb"


async def records_of(ask: Ask) -> dict[str, str]:
    """The record of each cell, as the notebook's graph has them."""
    told = await ask("GET", "graph", kind="Graph", path=NB)
    return {cell["cell"]: cell["record"] for cell in told["cells"]}


async def test_status_tells_what_works_and_where_records_are(ask: Ask, root: Path) -> None:
    told = await ask("GET", "status", kind="StatusAnswer", path=NB)
    assert told["store"] == str(root / "study" / ".provcrt" / "store")
    assert told["records"] > 5
    assert told["mechanism"] in ("seccomp", "ptrace", "joined", "none")
    assert told["project"] == {"root": "study", "name": ""}
    assert (await ask("GET", "status", kind="StatusAnswer"))["project"] is None


async def test_a_schema_of_everything(ask: Ask) -> None:
    told = await ask("GET", "schema")
    jsonschema.Draft202012Validator.check_schema(told)
    assert {"BranchBody", "Told", "Node", "Job", "Failure"} <= told["$defs"].keys()


async def test_a_record_is_told_whole(ask: Ask, root: Path) -> None:
    records = await records_of(ask)
    told = await ask("GET", "records", records["load"], kind="Told", path=NB)
    assert told["cell"] == "load"
    assert told["source"] == CELLS["load"]
    # the records were made where the fixture ran; a file outside of this root has no contents path
    [data] = [each for each in told["reads"] if each["kind"] == "file"]
    assert data["name"] == "data.csv"
    assert data["path"]["contents"] is None
    told = await ask("GET", "records", records["mean"], kind="Told", path=NB)
    [rows] = [each for each in told["reads"] if each["name"] == "rows"]
    assert (rows["kind"], rows["cell"], rows["record"]) == ("variable", "load", records["load"])
    assert {each["name"] for each in told["writes"]} == {"values", "mean"}
    shell = await ask("GET", "records", records["shell"], kind="Told", path=NB)
    assert any("echo" in " ".join(each["argv"]) for each in shell["processes"])
    assert shell["outputs"] == {"stream": 1}


async def test_history_says_what_was_different(ask: Ask) -> None:
    records = await records_of(ask)
    [new, old] = (await ask("GET", "records", records["load"], "history", kind="HistoryAnswer", path=NB))[
        "records"
    ]
    assert new["record"] == records["load"]
    assert (new["reason"], old["reason"]) == ("data.csv changed", "the first that is kept")
    [new, old] = (await ask("GET", "records", records["show"], "history", path=NB))["records"]
    assert new["reason"] == "source changed"
    told = await ask("GET", "records", old["record"], "diff", new["record"], kind="Difference", path=NB)
    assert "+print('the mean', mean)" in told["source"]
    assert [each["name"] for each in told["reads"]] == ["mean"]
    [new, old] = (await ask("GET", "records", records["mean"], "history", path=NB))["records"]
    assert new["reason"] == "variable rows changed"


async def test_a_graph_joins_cells_files_and_variables(ask: Ask) -> None:
    told = await ask("GET", "graph", kind="Graph", path=NB)
    assert [cell["cell"] for cell in told["cells"]] == list(CELLS)
    edges = {(edge["from"], edge["to"], edge["kind"]) for edge in told["edges"]}
    assert ("variable:rows@load", "cell:mean", "reads") in edges
    assert ("cell:mean", "variable:mean@mean", "writes") in edges
    [data] = [each for each in told["files"] if each["name"] == "data.csv"]
    [out] = [each for each in told["files"] if each["name"] == "out.txt"]
    assert (data["id"], "cell:load", "reads") in edges
    assert ("cell:save", out["id"], "writes") in edges
    assert {v["name"]: v["module"] for v in told["variables"]} == {
        "csv": True, "rows": False, "values": False, "mean": False, "_exit_code": False,
    }  # fmt: skip
    ids = {each["id"] for kind in ("cells", "files", "variables") for each in told[kind]}
    assert {end for edge in edges for end in edge[:2]} <= ids
    chosen = {"load": (await records_of(ask))["load"], "gone": "nosuchrecord"}
    told = await ask("POST", "graph", kind="Graph", body={"path": NB, "records": chosen})
    assert {c["cell"] for c in told["cells"] if c["record"]} == {"load"}


async def test_executions_are_a_tree_with_names_and_tags(ask: Ask) -> None:
    told = await ask("GET", "executions", kind="TreeAnswer", path="study")
    first, second = told["executions"]
    assert (first["id"], first["status"], first["notebook"], first["cells"]) == ("e1", "ok", "nb.ipynb", 5)
    assert (first["repetitions"], first["verdict"]) == (1, "reproduced")
    assert second["id"] == "e2"
    body = {"name": " the first ", "tags": ["good", "paper 1", "good"]}
    told = await ask("PATCH", "executions", "e1", kind="ExecutionAnswer", body=body, path="study")
    assert (told["name"], told["tags"]) == ("the first", ["good", "paper 1"])
    told = await ask("GET", "executions", "e1", kind="ExecutionAnswer", path=NB)
    assert (told["name"], told["tags"]) == ("the first", ["good", "paper 1"])
    assert [cell["cell"] for cell in told["ran"]] == list(CELLS)
    told = await ask("PATCH", "executions", "e1", body={"name": ""}, path="study")
    assert (told["name"], told["tags"]) == ("", ["good", "paper 1"])
    for wrong in (
        {"name": "two\nlines"},
        {"tags": ["a,b"]},
        {"tags": [""]},
        {"tags": "good"},
        {"nome": "x"},
        [],
        "{",
    ):
        await ask("PATCH", "executions", "e1", body=wrong, path="study", status=400)
    assert (await ask("GET", "executions", kind="TreeAnswer"))["project"] is None  # none at the root
    freed = await ask("DELETE", "executions", "e1", kind="FreedAnswer", path="study")
    assert freed["freed"] >= 0
    assert [each["id"] for each in (await ask("GET", "executions", path="study"))["executions"]] == ["e2"]
    await ask("GET", "executions", "e1", path="study", status=404)


async def test_two_executions_side_by_side(ask: Ask) -> None:
    told = await ask("GET", "compare", kind="CompareAnswer", path="study", a="e1", b="e2")
    assert (told["a"]["id"], told["b"]["id"]) == ("e1", "e2")
    differs = {pair["id"]: pair["differs"] for pair in told["cells"]}
    assert differs == {
        "load": [],
        "mean": [],
        "show": ["source", "outputs"],
        "save": [],
        "shell": [],
    }
    [show] = [pair for pair in told["cells"] if pair["id"] == "show"]
    assert (show["a"]["outputs"][0]["text"], show["b"]["outputs"][0]["text"]) == ("1.5\n", "the mean 2.0\n")
    assert {Path(file["path"]).name for file in told["files"]} == {"data.csv", "out.txt"}
    await ask("GET", "compare", path="study", a="e1", b="e9", status=404)
    await ask("GET", "compare", path="study", a="e1", b="../e2", status=404)


async def test_an_executed_notebook_is_laid_beside_the_original(ask: Ask, root: Path) -> None:
    kept = await ask("GET", "executions", "e1", "notebook", path="study")
    assert kept["cells"][2]["outputs"][0]["text"] in ("1.5\n", ["1.5\n"])
    opened = await ask("POST", "executions", "e1", "open", kind="PathAnswer", path="study", status=201)
    assert opened["path"] == "study/nb.e1.ipynb"
    (root / opened["path"]).write_text("mine")
    opened = await ask("POST", "executions", "e1", "open", path="study", status=201)
    assert (root / opened["path"]).name == "nb.e1-2.ipynb"
    assert (root / "study/nb.e1.ipynb").read_text() == "mine"
    for wrong in ("../x.ipynb", "study/x.py", "nowhere/x.ipynb"):
        body = {"file": wrong}
        status = {"../x.ipynb": 403, "study/x.py": 400, "nowhere/x.ipynb": 404}[wrong]
        await ask("POST", "executions", "e1", "open", path="study", body=body, status=status)


async def test_a_branch_is_a_notebook_of_its_own(ask: Ask, root: Path) -> None:
    body = {"path": NB, "cell": "mean"}
    made = await ask("POST", "branch", kind="BranchAnswer", body=body, status=201)
    copy = nbformat.read(root / made["path"], as_version=4)
    assert [cell["id"] for cell in copy.cells] == list(CELLS)
    assert made["parent"] == "e2"
    told = await ask("GET", "executions", kind="TreeAnswer", path="study")
    assert [(b["id"], b["parent"], b["cell"]) for b in told["branches"]] == [(made["branch"], "e2", "mean")]
    await ask("POST", "branch", body={**body, "cell": "nosuch"}, status=400)
    await ask("POST", "branch", body={**body, "file": "../copy.ipynb"}, status=403)
    await ask("POST", "branch", body={**body, "path": "study/data.csv"}, status=400)


async def test_executing_repeating_and_exporting_go_on_by_themselves(
    ask: Ask, root: Path, jp_serverapp: ServerApp
) -> None:
    heard: list[dict[str, Any]] = []

    async def listen(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        heard.append(data)

    jp_serverapp.event_logger.add_listener(schema_id=EVENT, listener=listen)

    async def ended(job: Answer) -> Answer:
        assert job["state"] == "running"
        end = time.monotonic() + 60
        while (told := await ask("GET", "jobs", job["job"], kind="Job"))["state"] == "running":
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        return told

    job = await ask("POST", "executions", kind="Job", body={"notebook": NB}, status=202)
    told = await ended(job)
    assert (told["state"], told["execution"], told["message"]) == ("done", "e3", "e3 is kept")
    told = await ended(await ask("POST", "executions", "e3", "repeat", kind="Job", path="study", status=202))
    assert (told["state"], told["execution"]) == ("done", "e3")
    assert told["message"] == "e3 reproduced", (await ask("GET", "executions", "e3", path="study"))[
        "verdict_line"
    ]
    body = {"file": "study/shared.provcrt"}
    told = await ended(await ask("POST", "executions", "e3", "export", path="study", body=body, status=202))
    assert told["state"] == "done", told
    assert (root / "study" / "shared.provcrt").stat().st_size > 100
    for wrong, status in (("study/shared.provcrt", 400), ("study/x.zip", 400), ("../x.provcrt", 403)):
        await ask("POST", "executions", "e3", "export", path="study", body={"file": wrong}, status=status)
    jobs = (await ask("GET", "jobs", kind="JobsAnswer"))["jobs"]
    assert [each["kind"] for each in jobs] == ["exec", "repeat", "export"]
    assert [(each["job"], each["state"]) for each in heard] == [
        (each["job"], state) for each in jobs for state in ("running", "done")
    ]
    broken = {**CELLS, "show": "1 / 0"}
    nbformat.write(notebook_of(broken), root / "study" / "broken.ipynb")
    body = {"notebook": "study/broken.ipynb"}
    told = await ended(await ask("POST", "executions", body=body, status=202))
    assert told["state"] == "failed"
    assert "ZeroDivisionError" in told["message"]
    assert told["execution"] == "e4"


async def test_a_job_can_be_cancelled(ask: Ask, root: Path) -> None:
    nbformat.write(notebook_of({"s": "import time\ntime.sleep(600)"}), root / "study" / "slow.ipynb")
    job = await ask("POST", "executions", body={"notebook": "study/slow.ipynb"}, status=202)
    await asyncio.sleep(2)
    told = await ask("DELETE", "jobs", job["job"], kind="Job")
    assert told["state"] == "cancelled"
    assert (await ask("GET", "jobs", job["job"]))["state"] == "cancelled"
    assert [e["id"] for e in (await ask("GET", "executions", path="study"))["executions"]] == ["e1", "e2"]
    await ask("DELETE", "jobs", "nosuch", status=404)


async def test_no_path_leads_out(ask: Ask, root: Path) -> None:
    (root / "link").symlink_to(root.parent)
    (root / "secret.ipynb").symlink_to(root.parent / "secret.ipynb")
    for path in (
        "..",
        "../secret.ipynb",
        "study/../../secret.ipynb",
        "link/secret.ipynb",
        "secret.ipynb",
        "//etc",
    ):
        for verb in ("graph", "executions", "status"):
            await ask("GET", verb, path=path, status=403)
        await ask("POST", "executions", body={"notebook": path}, status=403)
        await ask("POST", "branch", body={"path": path, "cell": "s"}, status=403)
    await ask("GET", "graph", path="/etc/passwd", status=404)  # as contents paths go, it is below the root
    await ask("GET", "graph", path="study/nosuch.ipynb", status=404)
    await ask("GET", "graph", path="study", status=400)
    await ask("GET", "graph", path="study/data.csv", status=400)
    # a project that is, or whose executions are, elsewhere
    shutil.copytree(root / "study" / ".provcrt", root.parent / "outside" / ".provcrt")
    (root / "inner").mkdir()
    (root / "inner" / ".provcrt").symlink_to(root.parent / "outside" / ".provcrt")
    assert (await ask("GET", "executions", path="inner"))["project"] is None
    await ask("GET", "executions", "e1", path="inner", status=404)
    away = root / "study" / ".provcrt" / "executions" / "e1"
    (away / "executed.ipynb").unlink()
    (away / "executed.ipynb").symlink_to(root.parent / "secret.ipynb")
    await ask("GET", "executions", "e1", "notebook", path="study", status=403)
    await ask("GET", "compare", path="study", a="e1", b="e2", status=403)
    shutil.rmtree(away)
    away.symlink_to(root.parent / "outside" / ".provcrt" / "executions" / "e1")
    assert [each["id"] for each in (await ask("GET", "executions", path="study"))["executions"]] == ["e2"]
    await ask("GET", "executions", "e1", path="study", status=403)
    # the project of a folder above is none of this server's
    (root.parent / ".provcrt").mkdir()
    assert (await ask("GET", "executions"))["project"] is None
    await ask("GET", "executions", "e1", status=404)


async def test_unknown_records_and_bodies_are_refused_in_a_sentence(ask: Ask) -> None:
    await ask("GET", "records", "nosuch", path=NB, status=404)
    await ask("GET", "records", "nosuch", "history", path=NB, status=404)
    await ask("GET", "records", "nosuch", "diff", "nosuch", path=NB, status=404)
    await ask("GET", "executions", "x1", path="study", status=404)
    await ask("GET", "executions", "e99", path="study", status=404)
    for parts in (("executions",), ("branch",), ("graph",), ("executions", "e1", "export")):
        for body in ("{", "[]", '{"path": 1}', "null", '"x"', "\x00"):
            await ask("POST", *parts, body=body, path="study", status=400)
    await ask("POST", "executions", "e1", "repeat", body={"more": 1}, path="study", status=400)


async def test_an_executable_notebook_is_not_run_as_a_program(ask: Ask, root: Path) -> None:
    path = root / "study" / "tool.ipynb"
    path.write_text("#!/bin/sh\ntouch ran\n")
    path.chmod(0o755)
    await ask("POST", "executions", body={"notebook": "study/tool.ipynb"}, status=400)
    assert not (root / "study" / "ran").exists()


@pytest.mark.parametrize("route", [route for route, _ in ROUTES])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_nobody_without_a_token_is_answered(route: str, method: str, jp_fetch: Any) -> None:
    parts = route.replace(r"([\w.-]+)", "e1").split("/")
    body = "{}" if method in ("POST", "PATCH") else None
    with pytest.raises(HTTPClientError) as error:
        await jp_fetch(
            "provcrt", "api", *parts, method=method, body=body, headers={"Authorization": "token wrong"}
        )
    assert error.value.code in (403, 405)


async def test_who_may_only_read_cannot_write_or_run(
    ask: Ask, jp_serverapp: ServerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def is_authorized(self: Any, handler: Any, user: Any, action: str, resource: str) -> bool:
        asked.append((action, resource))
        return action == "read"

    monkeypatch.setattr(type(jp_serverapp.authorizer), "is_authorized", is_authorized)
    await ask("GET", "executions", path="study")
    await ask("POST", "graph", body={"path": NB, "records": {}})
    await ask("PATCH", "executions", "e1", body={"name": "x"}, path="study", status=403)
    await ask("DELETE", "executions", "e1", path="study", status=403)
    await ask("POST", "executions", body={"notebook": NB}, status=403)
    await ask("POST", "executions", "e1", "repeat", path="study", status=403)
    await ask("POST", "branch", body={"path": NB, "cell": "mean"}, status=403)
    assert {action for action, _ in asked} == {"read", "write", "execute"}
    assert {resource for _, resource in asked} == {"provcrt"}


async def test_a_thousand_executions_are_listed_from_what_is_kept(ask: Ask, root: Path) -> None:
    folder = root / "study" / ".provcrt" / "executions"
    kept = json.loads((folder / "e1" / "execution.json").read_bytes())
    for number in range(3, 1003):
        place = folder / f"e{number}"
        place.mkdir()
        told = {**kept, "id": f"e{number}", "parent": f"e{number // 2}", "relation": "commit"}
        (place / "execution.json").write_text(json.dumps(told))
    told = await ask("GET", "executions", kind="TreeAnswer", path="study")
    assert [each["id"] for each in told["executions"]] == [f"e{n}" for n in range(1, 1003)]
    (folder / "e500" / "execution.json").write_text("{")
    (folder / "e501" / "label.json").write_text('{"name": "mine", "tags": []}')
    told = {each["id"]: each for each in (await ask("GET", "executions", path="study"))["executions"]}
    assert "damaged" in told["e500"]["error"]
    assert told["e501"]["name"] == "mine"
    assert told["e502"]["status"] == "ok"


def test_the_words_of_a_verdict_are_those_of_the_schema() -> None:
    told = messages.schema()["$defs"]["Node"]["properties"]["verdict"]
    words = {word for option in told["anyOf"] for word in option.get("enum", ())}
    assert words >= {Verdict.of([]).word}
    assert msgspec.json.encode(Verdict.of([]))
