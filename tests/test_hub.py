"""JupyterHub on loopback, with the configuration that we ship: a user's day, by REST and websockets through the hub's proxy."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
from browser import Lab, chromium, missing, write_notebook
from browser import Page as Window

CONFIG = Path(__file__).parent.parent / "extension" / "hub" / "jupyterhub_config.py"
NPM = Path(sys.prefix) / "node" / "node_modules" / ".bin"
PROXY = shutil.which("configurable-http-proxy", path=f"{NPM}{os.pathsep}{os.environ['PATH']}")
PASSWORD = secrets.token_hex(8)
CELLS = {
    "load": "import time\ntime.sleep(0.5)\nrows = open('data.txt').read().split()",
    "count": "print(len(rows), 'rows')",
    "shell": "!wc -w < data.txt",
}

pytestmark = pytest.mark.skipif(
    PROXY is None, reason="JupyterHub is not tested: npm install --prefix .venv/node configurable-http-proxy"
)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass
class Hub:
    """A running hub."""

    url: str
    homes: Path
    log: Path


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    public, private, api = free_ports(3)
    url = f"http://127.0.0.1:{public}"
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PROVCRT_", "JUPYTER"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PROVCRT_HUB_PASSWORD": PASSWORD,
        "PROVCRT_HUB_STATE": str(folder / "state"),
        "PROVCRT_HUB_HOMES": str(folder / "homes"),
        "PROVCRT_HUB_URL": url,
        "PROVCRT_HUB_PORTS": f"{private},{api}",
        "PROVCRT_HUB_PROXY": str(PROXY),
    }
    log = folder / "hub.log"
    with open(log, "wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(CONFIG)],
            cwd=folder,
            env=environ,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 90
        while True:
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < end, log.read_text()[-4000:]
            try:
                if requests.get(f"{url}/hub/health", timeout=5).status_code == 200:
                    break
            except requests.RequestException:
                time.sleep(0.3)
        yield Hub(url, folder / "homes", log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@dataclass
class User:
    """Somebody with a browser, which keeps cookies, and then a token."""

    hub: Hub
    name: str
    browser: requests.Session = field(default_factory=requests.Session)

    def sign_in(self, password: str = PASSWORD) -> int:
        self.browser.get(f"{self.hub.url}/hub/login", timeout=30)
        data = {"username": self.name, "password": password, "_xsrf": self.browser.cookies.get("_xsrf")}
        answer = self.browser.post(f"{self.hub.url}/hub/login", data=data, timeout=60, allow_redirects=False)
        return answer.status_code

    def take_token(self) -> None:
        xsrf = next(c.value for c in self.browser.cookies if c.name == "_xsrf" and c.path == "/hub/")
        answer = self.browser.post(
            f"{self.hub.url}/hub/api/users/{self.name}/tokens",
            headers={"X-XSRFToken": str(xsrf), "Referer": f"{self.hub.url}/hub/token"},
            json={"note": "test"},
            timeout=30,
        )
        assert answer.status_code == 201, answer.text
        self.token = answer.json()["token"]

    def call(self, method: str, path: str, body: Any = None, *, whose: str = "") -> requests.Response:
        return requests.request(
            method,
            f"{self.hub.url}{path}"
            if path.startswith("/hub")
            else f"{self.hub.url}/user/{whose or self.name}/{path}",
            headers={"Authorization": f"token {self.token}"},
            json=body,
            timeout=60,
        )

    def start_server(self) -> None:
        answer = self.call("POST", f"/hub/api/users/{self.name}/server")
        assert answer.status_code in (201, 202), answer.text
        end = time.monotonic() + 90
        while not self.call("GET", f"/hub/api/users/{self.name}").json()["servers"].get("", {}).get("ready"):
            assert time.monotonic() < end, self.hub.log.read_text()[-4000:]
            time.sleep(0.3)

    def stop_server(self) -> None:
        assert self.call("DELETE", f"/hub/api/users/{self.name}/server").status_code in (202, 204)
        end = time.monotonic() + 60
        while self.call("GET", f"/hub/api/users/{self.name}").json()["servers"]:
            assert time.monotonic() < end
            time.sleep(0.3)


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


def test_a_day_in_a_browser(hub: Hub) -> None:
    """What a page shows and does, behind the hub's sign-in and its proxy, where addresses begin with the user's."""
    if lacks := missing():
        pytest.skip(f"LEFT OUT, the browser tests lack {lacks}")
    from playwright.sync_api import sync_playwright

    root = hub.homes / "carol"
    sources = [CELLS["load"], CELLS["count"], "print('the end')"]
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        window = browser.new_page(viewport={"width": 1400, "height": 900})
        window.set_default_timeout(60_000)
        window.goto(f"{hub.url}/hub/login")
        window.fill("#username_input", "carol")
        window.fill("#password_input", PASSWORD)
        window.click("#login_submit")
        window.wait_for_url("**/user/carol/lab**")
        write_notebook(root / "study.ipynb", sources)
        (root / "data.txt").write_text("a b c")
        page = Window(window, Lab(f"{hub.url}/user/carol", root, hub.log, token=""))
        page.open("study.ipynb")
        page.run_all()
        page.await_badges(["executed"] * 3)

        page.restart()
        page.await_badges(["replayed"] * 3)
        assert "3 replayed · 0 executed" in window.locator(".provcrt-Status").inner_text()
        assert "saved" in page.hint(0)

        (root / "data.txt").write_text("a b c d")
        page.command("Preview Run All")
        dialog = window.locator(".jp-Dialog .provcrt-Preview")
        dialog.wait_for()
        assert "data.txt changed" in dialog.locator("tbody tr").nth(0).inner_text()
        window.locator(".jp-Dialog button.jp-mod-accept").click()
        page.await_badges(["executed", "executed", "replayed"])
        page.done()

        page.cell(0).locator(".provcrt-Badge").click()
        panel = window.locator("#provcrt-provenance")
        panel.locator("summary", has_text="History").wait_for()
        panel.get_by_role("button", name="data.txt").click()
        window.wait_for_selector(".lm-DockPanel-tabBar .lm-TabBar-tab:has-text('data.txt')")
        window.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="study.ipynb").click()
        panel.get_by_role("tab", name="Graph").click()
        panel.locator(".provcrt-Node.provcrt-mod-file", has_text="data.txt").click()
        assert "may re-run 2 cells" in panel.locator(".provcrt-Graph-says").inner_text()

        page.command("Record an Execution of This Notebook")
        page.command("Show Experiments")
        experiments = window.locator("#provcrt-experiments")
        experiments.locator("[data-row='e1']").wait_for(timeout=120_000)
        page.select(2)
        page.command("Branch from This Cell")
        window.wait_for_selector(".lm-DockPanel-tabBar .lm-mod-current:has-text('study')")
        window.wait_for_function(
            "() => !document.querySelector('.lm-DockPanel-tabBar .lm-mod-current').innerText.includes('study.ipynb')"
        )
        page.settled()
        page.run_all()
        assert page.badges()[:2] == ["replayed"] * 2
        browser.close()
