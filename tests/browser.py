"""A JupyterLab of our own, with the built extension, and Chromium in front of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "provcrt_kernel" / "labextension"
TOKEN = "t"


@dataclass(frozen=True)
class Lab:
    """A running server: its address, the folder it serves, the log to look into, and how a page is let in."""

    url: str
    root: Path
    log: Path
    token: str = TOKEN
    sign_in: Callable[[Any], None] | None = None


def chromium() -> str | None:
    """Debian's Chromium, or what is called so elsewhere."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def missing() -> str:
    """What a browser test lacks here; empty if nothing."""
    lacks = []
    if chromium() is None:
        lacks.append("chromium (apt install chromium)")
    if not (BUILT / "package.json").exists():
        lacks.append("the built extension (cd extension && npm ci && npm run build:prod)")
    for module in ("playwright", "jupyterlab"):
        try:
            __import__(module)
        except ImportError:
            lacks.append(f"{module} (pip install {module})")
    return ", ".join(lacks)


def quieten(config: Path) -> None:
    """Have JupyterLab not ask whether its news are wanted, in front of what a test clicks on."""
    off = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (config / "labconfig").mkdir(parents=True, exist_ok=True)
    (config / "labconfig" / "page_config.json").write_text(json.dumps(off))


@contextlib.contextmanager
def lab(folder: Path, *, extension: bool = True) -> Iterator[Lab]:
    """A JupyterLab server with settings, store and files below a folder."""
    root, config, labs = folder / "root", folder / "config", folder / "labextensions"
    for path in (root, config, labs):
        path.mkdir(parents=True, exist_ok=True)
    quieten(config)
    on = {"ServerApp": {"jpserver_extensions": {"provcrt_kernel.server": True}}}
    (config / "jupyter_server_config.json").write_text(json.dumps(on))
    if extension:
        (labs / "provcrt-jupyterlab").symlink_to(BUILT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
        ),
        *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}", "--ServerApp.port_retries=0"),
        f"--LabApp.extra_labextensions_path={labs}",
        f"--LabApp.user_settings_dir={folder / 'settings'}",
        f"--LabApp.workspaces_dir={folder / 'workspaces'}",
    ]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PROVCRT_STORE": str(folder / "store"),
    }
    log = folder / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        found = Lab(f"http://127.0.0.1:{port}", root, log)
        _await(found, server)
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _await(found: Lab, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{found.url}/api?token={TOKEN}", timeout=5)
            return
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab does not start:\n{found.log.read_text()[-3000:]}")


def write_notebook(path: Path, sources: list[str], kernel: str = "provcrt") -> None:
    """A notebook of code cells with the ids c0, c1, …"""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    notebook.cells = [
        nbformat.v4.new_code_cell(source, id=f"c{index}") for index, source in enumerate(sources)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


class Page:
    """A page of JupyterLab, used as a user does."""

    def __init__(self, page: Any, lab: Lab) -> None:
        self.page = page
        self.lab = lab

    def open(self, notebook: str) -> None:
        """Go to a notebook and wait until its kernel answers."""
        token = f"token={self.lab.token}&" if self.lab.token else ""
        self.page.goto(f"{self.lab.url}/lab/tree/{notebook}?{token}reset")
        self.settled()

    def settled(self) -> None:
        """Wait until the visible notebook is drawn and its kernel is idle."""
        self.page.wait_for_selector(".jp-NotebookPanel:visible .jp-Cell")
        # what is run before the page has a line to the kernel is dropped
        self.page.wait_for_function(
            "() => /\\| Idle/.test(document.querySelector('#jp-main-statusbar')?.innerText)"
        )

    def command(self, name: str) -> None:
        """Choose a command in the palette by its label."""
        self.find(name).click()

    def find(self, name: str) -> Any:
        """The palette's first item for some words."""
        self.menu("View", "Activate Command Palette")
        self.page.locator("input.lm-CommandPalette-input:visible").fill(name)
        return self.page.locator(".lm-CommandPalette-item:visible", has_text=name).first

    def menu(self, *labels: str) -> None:
        """Choose an item of the menu bar."""
        self.page.click(f"li.lm-MenuBar-item:has-text('{labels[0]}')")
        for label in labels[1:]:
            self.page.click(f"li.lm-Menu-item:has-text('{label}') >> nth=0")

    def run_all(self) -> None:
        """Run all cells and wait for the last."""
        self.menu("Run", "Run All Cells")
        self.done()

    def restart_only(self) -> None:
        """Restart the kernel and wait until it is idle."""
        self.menu("Kernel", "Restart Kernel…")
        self.page.click("button.jp-mod-accept")
        self.page.wait_for_timeout(2000)
        self.settled()

    def restart(self) -> None:
        """Restart the kernel and run all cells."""
        self.menu("Kernel", "Restart Kernel and Run All Cells…")
        self.page.click("button.jp-mod-accept")
        self.page.wait_for_timeout(500)
        self.done()

    def done(self) -> None:
        """Wait until no cell waits or runs and the kernel is idle."""
        self.page.wait_for_function(
            """() => { const x = [...document.querySelectorAll(
                    '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .jp-InputPrompt')];
                    return x.length && x.every(e => /\\[\\d+\\]/.test(e.textContent)) }"""
        )
        self.settled()

    def cell(self, index: int) -> Any:
        """The code cell at a place of the visible notebook."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell").nth(index)

    @staticmethod
    def redrawn(part: Any, style: str) -> None:
        """Wait until a part has another style than before."""
        from playwright.sync_api import expect

        expect(part).not_to_have_attribute("style", style)

    def badges(self) -> list[str | None]:
        """What each cell's badge says: the state, then marks."""
        return list(
            self.page.eval_on_selector_all(
                ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell",
                "cells => cells.map(c => c.querySelector('.provcrt-Badge')?.dataset.provcrt ?? null)",
            )
        )

    def await_badges(self, wanted: list[str | None]) -> None:
        """Wait until the badges are these; else fail with what they are."""
        until = time.monotonic() + 20
        while (found := self.badges()) != wanted and time.monotonic() < until:
            self.page.wait_for_timeout(100)
        assert found == wanted

    def hint(self, index: int) -> str:
        """What hovering over a cell's badge shows."""
        return str(self.cell(index).locator(".provcrt-Badge").get_attribute("title"))

    def edit(self, index: int, source: str) -> None:
        """Replace a cell's source by typing."""
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(source)
        self.page.keyboard.press("Escape")

    def select(self, index: int) -> None:
        """Select a cell by clicking at its prompt."""
        self.cell(index).locator(".jp-InputPrompt").click()

    @property
    def dirty(self) -> bool:
        """Whether the visible notebook has unsaved changes."""
        return bool(self.page.locator(".lm-DockPanel-tabBar .lm-mod-current.jp-mod-dirty").count())
