"""The promise of a span, as a property: whatever it does not name as an input can change without a trace.

Random sequences of file operations run for real under the tracer. Then the world before them is altered where the
span says that it does not matter (a file not read gets other content, an absent name not asked for appears), and
the same operations run again: each must have the same outcome. And what the span says of its outputs must be what
a comparison of the world before and after shows.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tracing import by_path, dump, script

from provcrt_kernel.store.digest import digest
from provcrt_kernel.trace import Span, decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ["a", "b", "d", "d/x", "d/y", "d/e", "d/e/z", "l", "l/x", "n", "n/x"]
ONE = [
    "read",
    "stat",
    "list",
    "readlink",
    "write",
    "append",
    "update",
    "create",
    "unlink",
    "mkdir",
    "rmdir",
    "cut",
]
TWO = ["rename", "link", "symlink"]

OPERATIONS = """
def perform(operations):
    outcomes = []
    for name, *paths in operations:
        try:
            outcomes.append(str(ACTIONS[name](*paths)))
        except OSError as error:
            outcomes.append(error.strerror)
    return outcomes

def put(path, mode):
    with open(path, mode) as file:
        file.write(mode)

def get(path):
    with open(path) as file:
        return file.read()

def kind(path):
    found = os.stat(path)
    return (found.st_mode >> 12, found.st_size if found.st_mode >> 12 == 8 else 0)

ACTIONS = dict(
    read=get, stat=kind, list=lambda path: sorted(os.listdir(path)), readlink=os.readlink,
    write=lambda path: put(path, "w"), append=lambda path: put(path, "a"), update=lambda path: put(path, "r+"),
    create=lambda path: put(path, "x"), unlink=os.unlink, mkdir=os.mkdir, rmdir=os.rmdir,
    cut=lambda path: os.truncate(path, 1), rename=os.rename, link=os.link,
    symlink=lambda target, path: os.symlink(os.path.basename(target), path),
)
"""

SERVER = (
    OPERATIONS
    + """
import base64
for line in sys.stdin:
    job = json.loads(line)
    os.chdir(job["folder"])
    tracer.begin("x")
    outcomes = perform(job["operations"])
    data = encode(tracer.end())
    sys.stdout.write(json.dumps([outcomes, base64.b64encode(data).decode()]) + "\\n")
    sys.stdout.flush()
"""
)


class Kernel:
    """A traced kernel process that performs operations on demand."""

    def __init__(self, folder: Path, mechanism: str) -> None:
        self.root = folder.resolve()
        command = [sys.executable, str(script(SERVER, folder))]
        environ = {**os.environ, "PROVCRT_TRACER": mechanism}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )

    def perform(self, folder: Path, operations: list[list[str]]) -> tuple[list[str], Span]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"folder": str(folder), "operations": operations}) + "\n")
        self.process.stdin.flush()
        outcomes, data = json.loads(self.process.stdout.readline())
        return outcomes, decode(base64.b64decode(data))

    def world(self, name: str) -> Path:
        """Return a fresh folder: files a, b, d/x, d/e/z and a link l to d."""
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "d" / "e").mkdir(parents=True)
        for path in ("a", "b", "d/x", "d/e/z"):
            (folder / path).write_text(f"old {path:5}")
        (folder / "l").symlink_to("d")
        return folder


@pytest.fixture(scope="module", params=["seccomp", "ptrace"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("inputs"), request.param)
    yield kernel
    assert kernel.process.stdin is not None
    kernel.process.stdin.close()
    assert kernel.process.wait(20) == 0


def snapshot(folder: Path) -> dict[str, Any]:
    """Return what is where: content of files, targets of links, None for directories."""
    found: dict[str, Any] = {}
    for base, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(base, name)
            if os.path.islink(path):
                found[path] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[path] = None
            else:
                with open(path, "rb") as file:
                    found[path] = file.read()
    return found


operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(ONE), st.sampled_from(NAMES)),
        st.tuples(st.sampled_from(TWO), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    ).map(list),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=int(os.environ.get("PROVCRT_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(operations=operations, data=st.data())
def test_a_span_names_all_inputs_and_outputs(
    kernel: Kernel, operations: list[list[str]], data: st.DataObject
) -> None:
    folder = kernel.world("w")
    before = snapshot(folder)
    outcomes, span = kernel.perform(folder, operations)
    after = snapshot(folder)
    found = by_path(span)
    assert span.complete, span.problems

    for path in before.keys() | after.keys():
        access = found.get(path)
        if before.get(path, 0) != after.get(path, 0):
            assert access is not None, (path, dump(span))
            assert (access.written, access.removed) == (path in after, path not in after), (path, dump(span))
    for path, access in found.items():
        if not path.startswith(f"{folder}/"):
            continue
        assert (access.first is not None) == (path in before), (path, dump(span))
        if access.before_digest is not None:
            assert access.before_digest == digest(before[path])
        if access.listed:
            names = sorted(os.path.basename(name) for name in before if os.path.dirname(name) == path)
            assert access.listing == digest("\0".join(names).encode()), (path, names, dump(span))

    altered = kernel.world("w")  # at the same place: names and outcomes can be compared
    listed = {path for path, access in found.items() if access.listed}
    for path, old in before.items():
        access = found.get(path)
        if isinstance(old, bytes) and not (access and access.read) and data.draw(st.booleans()):
            with open(path, "w") as file:
                file.write("new content"[: len(old)])
    # a temporary file's name is no input by design: whoever makes one takes another name if it is there
    taken = {os.path.basename(op[-1]) for op in operations if op[0] in ("create", "mkdir", *TWO)}
    for name in NAMES:
        path = str(altered / name)
        if path not in found and os.path.basename(path) in taken:
            continue
        free = (
            path not in before and os.path.dirname(path) in before and before[os.path.dirname(path)] is None
        )
        asked = path in found and (found[path].stated or found[path].listed)
        if free and not asked and os.path.dirname(path) not in listed and data.draw(st.booleans()):
            with open(path, "w") as file:
                file.write("appeared")
    again, _ = kernel.perform(altered, operations)
    assert again == outcomes, dump(span)
