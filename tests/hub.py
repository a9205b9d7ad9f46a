"""JupyterHub on loopback, with the configuration that we ship, its default proxy, and users who sign in."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

CONFIG = Path(__file__).parent.parent / "extension" / "hub" / "jupyterhub_config.py"
NPM = Path(sys.prefix) / "node" / "node_modules" / ".bin"
PROXY = shutil.which("configurable-http-proxy", path=f"{NPM}{os.pathsep}{os.environ['PATH']}")
PASSWORD = secrets.token_hex(8)


def missing() -> str:
    """What a hub lacks here; empty if nothing."""
    return (
        "" if PROXY else "configurable-http-proxy (npm install --prefix .venv/node configurable-http-proxy)"
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


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """A hub with its users' homes below a folder."""
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
