"""A user's day on JupyterHub, by REST and websockets through its proxy. What a browser does there is in test_lab.py."""

from __future__ import annotations

import json
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
from hub import Hub, User, missing, serving

CELLS = {
    "load": "import time\ntime.sleep(0.5)\nrows = open('data.txt').read().split()",
    "count": "print(len(rows), 'rows')",
    "shell": "!wc -w < data.txt",
}

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"JupyterHub is not tested, it lacks {missing()}")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with serving(tmp_path_factory.mktemp("hub")) as found:
        yield found


class Page:
    """A notebook's kernel, through the proxy's websocket."""

    def __init__(self, user: User, session: dict[str, Any]) -> None:
        self.user, self.kernel = user, session["kernel"]["id"]
        self.connect()

    def connect(self) -> None:
        url = self.user.hub.url.replace("http:", "ws:")
        self.socket = websocket.create_connection(
            f"{url}/user/{self.user.name}/api/kernels/{self.kernel}/channels?session_id={uuid.uuid4().hex}",
            header=[f"Authorization: token {self.user.token}"],
            timeout=60,
        )

    def ask(
        self, kind: str, content: dict[str, Any], metadata: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Send a request; everything that came for it until the kernel was idle, and the reply, if there is one."""
        identity = uuid.uuid4().hex
        header = {
            "msg_id": identity,
            "msg_type": kind,
            "username": "",
            "session": "s",
            "version": "5.3",
            "date": "",
        }
        message = {"header": header, "parent_header": {}, "metadata": metadata or {}, "content": content}
        self.socket.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        came: list[dict[str, Any]] = []
        while True:
            message = json.loads(self.socket.recv())
            if message["parent_header"].get("msg_id") != identity:
                continue
            came.append(message)
            idle = any(m["content"].get("execution_state") == "idle" for m in came)
            if idle and (kind == "comm_open" or any(m["msg_type"].endswith("_reply") for m in came)):
                return came

    def run(self, cell: str, code: str) -> tuple[dict[str, Any], str]:
        """Run a cell as JupyterLab does; what is said of it, and what it showed."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
        }
        came = self.ask("execute_request", content, {"cellId": cell})
        [reply] = [m for m in came if m["msg_type"] == "execute_reply"]
        text = "".join(m["content"]["text"] for m in came if m["msg_type"] == "stream")
        return reply["metadata"]["provcrt"], text

    def restart(self) -> None:
        self.socket.close()
        assert self.user.call("POST", f"api/kernels/{self.kernel}/restart").status_code == 200
        self.connect()


def notebook_of(user: User) -> Page:
    """Open the notebook, with our kernel."""
    body = {"path": "nb.ipynb", "name": "nb.ipynb", "type": "notebook", "kernel": {"name": "provcrt"}}
    answer = user.call("POST", "api/sessions", body)
    assert answer.status_code == 201, answer.text
    return Page(user, answer.json())


def test_a_day_of_a_user(hub: Hub) -> None:
    alice = User(hub, "alice")
    assert alice.sign_in("wrong password") == 403
    assert alice.sign_in() == 302
    alice.take_token()
    alice.start_server()
    specs = alice.call("GET", "api/kernelspecs").json()["kernelspecs"]
    assert specs["provcrt"]["spec"]["display_name"] == "PROV-CRT Python"
    cells = [
        {
            "cell_type": "code",
            "id": id,
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for id, source in CELLS.items()
    ]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    for path, body in (
        ("nb.ipynb", {"type": "notebook", "content": book}),
        ("data.txt", {"type": "file", "format": "text", "content": "a b c"}),
    ):
        assert alice.call("PUT", f"api/contents/{path}", body).status_code == 201

    page = notebook_of(alice)
    first = {cell: page.run(cell, code) for cell, code in CELLS.items()}
    assert {said["status"] for said, _ in first.values()} == {"executed"}
    assert [said["not_recorded"] for said, _ in first.values()] == [[], [], []]
    assert (first["count"][1], first["shell"][1].split()) == ("3 rows\n", ["3"])

    page.restart()
    again = {cell: page.run(cell, code) for cell, code in CELLS.items()}
    assert {cell: said["status"] for cell, (said, _) in again.items()} == dict.fromkeys(CELLS, "replayed")
    assert {cell: text for cell, (_, text) in again.items()} == {
        cell: text for cell, (_, text) in first.items()
    }

    # the page's comm and the server's extension, through the proxy
    came = page.ask("comm_open", {"comm_id": uuid.uuid4().hex, "target_name": "provcrt", "data": {}})
    told = {m["content"]["data"]["type"]: m["content"]["data"] for m in came if m["msg_type"] == "comm_msg"}
    assert told["session"]["replayed"] == 3
    assert told["session"]["saved_seconds"] > 0.5
    assert told["cells"]["cells"].keys() == CELLS.keys()
    record = again["load"][0]["record"]
    answer = alice.call("GET", f"provcrt/api/records/{record}?path=nb.ipynb")
    assert answer.status_code == 200, answer.text
    assert [each["path"]["contents"] for each in answer.json()["reads"] if each["name"] == "data.txt"] == [
        "data.txt"
    ]
    status = alice.call("GET", "provcrt/api/status").json()
    store = Path(status["store"])
    assert store.is_relative_to(hub.homes / "alice")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (store, store / "v1")} == {0o700}

    # her server is stopped in the evening; the next day what did not change is replayed
    page.socket.close()
    alice.stop_server()
    (hub.homes / "alice" / "data.txt").write_text("a b c d")
    alice.start_server()
    page = notebook_of(alice)
    said, _ = page.run("load", CELLS["load"])
    assert (said["status"], said["reason"]) == ("executed", "data.txt changed")
    assert page.run("count", CELLS["count"])[1] == "4 rows\n"
    page.socket.close()

    # another user sees nothing of it
    bob = User(hub, "bob")
    assert bob.sign_in() == 302
    bob.take_token()
    assert bob.call("GET", "provcrt/api/status", whose="alice").status_code == 403
    nobody = requests.get(f"{hub.url}/user/alice/provcrt/api/status", timeout=30, allow_redirects=False)
    assert nobody.status_code in (302, 403)
    alice.stop_server()
