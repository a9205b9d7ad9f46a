"""A plain kernel in a private copy of a folder: what it writes there, nobody else sees.

The folder is copied, and a mount namespace (bubblewrap) puts the copy in its place for the kernel and its children, so
paths are what they are outside. Everything else is the machine as it is.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from queue import Empty
from typing import Any, Self

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from provcrt_kernel.kernel.capture import OUTPUT
from provcrt_kernel.replay.record import Shown

#: Bytes that a folder may have.
LIMIT = 4 << 30
_LEFT_OUT = frozenset({".provcrt", ".git", ".ipynb_checkpoints", "__pycache__"})


class CannotAudit(Exception):
    """There can be no private copy, or no plain kernel in it."""

    @classmethod
    def no_bubblewrap(cls) -> Self:
        """``bwrap`` is missing, or may not make namespaces."""
        return cls(
            "an audit needs bubblewrap, which cannot be used here: install it, or allow user namespaces"
        )

    @classmethod
    def too_large(cls, folder: Path, size: int) -> Self:
        """The folder cannot be copied for this."""
        return cls(
            f"{folder} has {size / 1e9:.1f} GB, and an audit copies it (up to {LIMIT / 1e9:.0f} GB): "
            "keep large data in another folder"
        )

    @classmethod
    def dead(cls) -> Self:
        """The plain kernel ended by itself."""
        return cls("the plain kernel that ran it ended")

    @classmethod
    def failed(cls, said: str) -> Self:
        """The process that audits ended without an answer."""
        line = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        return cls(f"the audit's own process failed ({line.strip()[:100]}): try it once more")

    @classmethod
    def blind(cls, why: str) -> Self:
        """The plain kernel does not tell what its variables hold."""
        return cls(f"the plain kernel cannot be asked what its variables hold: {why}")


class Scratch:
    """A plain kernel working in a private copy; a context manager.

    Attributes
    ----------
    copy
        Where the private copy is, seen from outside.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self._environ = dict(environ)
        self._open = ExitStack()
        self._client: Any = None
        self._manager: Any = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="provcrt-audit-")))
            self.copy = home / "copy"
            self._copy_folder()
            bind = ["bwrap", "--dev-bind", "/", "/", "--bind", str(self.copy), str(self.folder)]
            self._home, self._wrap = home, [*bind, "--die-with-parent", "--chdir", str(self.folder)]
            try:
                subprocess.run([*self._wrap, "true"], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                raise CannotAudit.no_bubblewrap() from None
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._client is not None:
            self._client.stop_channels()
        if self._manager is not None:
            self._manager.shutdown_kernel(now=True)
        self._open.close()

    def _copy_folder(self) -> None:
        size = 0

        def left_out(folder: str, names: list[str]) -> set[str]:
            nonlocal size
            with os.scandir(folder) as entries:
                found = {e.name: e for e in entries}
            skip = {n for n in names if n in _LEFT_OUT}
            for name in names:
                entry = found.get(name)
                if entry is None or not (entry.is_dir() or entry.is_file() or entry.is_symlink()):
                    skip.add(name)  # sockets and pipes
                elif entry.is_file(follow_symlinks=False):
                    size += entry.stat(follow_symlinks=False).st_size
            if size > LIMIT:
                raise CannotAudit.too_large(self.folder, size)
            return skip

        shutil.copytree(self.folder, self.copy, symlinks=True, ignore=left_out)

    def place(self, path: str) -> Path | None:
        """Where a path of the folder is in the copy; None for one outside."""
        return (
            self.copy / os.path.relpath(path, self.folder) if Path(path).is_relative_to(self.folder) else None
        )

    def start(self) -> None:
        """Start the kernel; files of the copy may be changed before."""
        spec = KernelSpec(
            argv=[*self._wrap, sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="plain",
            language="python",
        )
        kind = type("Manager", (KernelManager,), {"kernel_spec": property(lambda _: spec)})
        self._manager = kind(connection_file=str(self._home / "connection.json"))
        try:
            self._manager.start_kernel(env=self._environ)
            self._client = self._manager.blocking_client()
            self._client.start_channels()
            self._client.wait_for_ready(timeout=120)
        except RuntimeError:
            raise CannotAudit.dead() from None

    def run(self, text: str, *, history: bool = True) -> tuple[Shown, ...]:
        """Run one cell; returns what it showed."""
        identity = self._client.execute(text, allow_stdin=False, stop_on_error=False, store_history=history)
        shown = []
        for message in self._published(identity):
            if message["msg_type"] in OUTPUT:
                buffers = tuple(bytes(b) for b in message["buffers"])
                shown.append(Shown(message["msg_type"], message["content"], message["metadata"], buffers))
        return tuple(shown)

    def versions(
        self, names: Iterable[str], groups: Iterable[tuple[str, ...]]
    ) -> tuple[dict[str, str | None], dict[str, str]]:
        """What the kernel's namespace holds, as `provcrt_kernel.session.witness` says."""
        witness = "__import__('provcrt_kernel.session.witness', fromlist=['versions'])"
        expression = f"{witness}.versions(get_ipython().user_ns, {list(names)!r}, {list(groups)!r})"
        identity = self._client.execute("", silent=True, user_expressions={"it": expression})
        for _ in self._published(identity):
            pass
        reply: dict[str, Any] = {"parent_header": {}}
        while reply["parent_header"].get("msg_id") != identity:
            try:
                reply = self._client.get_shell_msg(timeout=60)
            except Empty:
                raise CannotAudit.dead() from None
        found = reply["content"]["user_expressions"]["it"]
        if found["status"] != "ok":
            raise CannotAudit.blind(f"{found['ename']}: {found['evalue']}")
        alone, joint = json.loads(ast.literal_eval(found["data"]["text/plain"]))
        return alone, joint

    def _published(self, identity: str) -> Iterable[dict[str, Any]]:
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=1)
            except Empty:
                if not self._manager.is_alive():
                    raise CannotAudit.dead() from None
                time.sleep(0)
                continue
            if message["parent_header"].get("msg_id") != identity:
                continue
            yield message
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
