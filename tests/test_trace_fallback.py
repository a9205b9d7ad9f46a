"""Which mechanism is taken where one is forbidden, as containers do: by a filter that answers EPERM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tracing import by_path, flags, script, spans_of

from provcrt_kernel.trace.calls import PIDFD_GETFD

# Installs a filter that forbids some calls, or one whose calls go to a listener of its own, and executes a command.
LAUNCHER = """
import ctypes, errno, os, struct, sys, threading
numbers, listens, command = eval(sys.argv[1]), sys.argv[2] == "listens", sys.argv[3:]
libc = ctypes.CDLL(None, use_errno=True)
action = 0x7FC00000 if listens else 0x00050000 | errno.EPERM
lines = [(0x20, 0, 0, 0)]
for number in numbers:
    lines += [(0x15, 0, 1, number), (0x06, 0, 0, action)]
lines += [(0x06, 0, 0, 0x7FFF0000)]
code = b"".join(struct.pack("=HBBI", *line) for line in lines)
memory = ctypes.create_string_buffer(code, len(code))
class Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))
libc.prctl(38, 1, 0, 0, 0)
seccomp = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
listener = libc.syscall(seccomp, 1, 8 if listens else 0, ctypes.byref(Program(len(lines), ctypes.addressof(memory))))
assert listener >= 0, ctypes.get_errno()
if listens:
    os.set_inheritable(listener, True)
os.execv(command[0], command)
"""
SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
PTRACE = {"x86_64": 101, "aarch64": 117}[os.uname().machine]
SWAPON = {"x86_64": 167, "aarch64": 224}[os.uname().machine]


@pytest.mark.parametrize(
    ("forbidden", "mechanism", "why"),
    [
        ([], "seccomp", ""),
        ([PIDFD_GETFD], "ptrace", "the supervisor cannot read this process"),  # Docker's default profile
        ([PIDFD_GETFD, PTRACE], "none", "cannot be traced by ptrace"),
        ([SECCOMP], "none", "the kernel has no user notification for us"),
    ],
)
def test_what_is_forbidden(forbidden: list[int], mechanism: str, why: str, tmp_path: Path) -> None:
    body = """
    with span("x"):
        open("/etc/hostname").close()
        subprocess.run(["cat", "/etc/passwd"], stdout=subprocess.DEVNULL)
    print(tracer.reason)
    """
    path = script(body, tmp_path, mechanism=mechanism)
    command = [sys.executable, "-c", LAUNCHER, repr(forbidden), "forbids", sys.executable, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert why in done.stdout, done.stdout
    (span,) = spans_of(tmp_path)
    assert span.complete == (mechanism != "none")
    wanted = {"/etc/hostname": "r", "/etc/passwd": "r"} if span.complete else {}
    assert {name: flags(by_path(span).get(name)) for name in wanted} == wanted


def test_somebody_elses_listener(tmp_path: Path) -> None:
    """Containers may have a listener for a few calls (LXD for mount): a second one is EBUSY, and ptrace works."""
    path = script(
        "with span('x'):\n    open('/etc/hostname').close()\nprint(tracer.reason)",
        tmp_path,
        mechanism="ptrace",
    )
    command = [sys.executable, "-c", LAUNCHER, repr([SWAPON]), "listens", sys.executable, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert "EBUSY" in done.stdout
    (span,) = spans_of(tmp_path)
    assert span.complete
    assert flags(by_path(span)["/etc/hostname"]) == "r"


@pytest.mark.parametrize(("wanted", "why"), [("none", "asks for that"), ("dtrace", "is not known")])
def test_what_the_environment_asks_for(
    wanted: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVCRT_TRACER", wanted)
    path = script("print(tracer.reason)", tmp_path, mechanism="none")
    done = subprocess.run(
        [sys.executable, str(path)], stdout=subprocess.PIPE, text=True, timeout=60, check=True
    )
    assert why in done.stdout


def test_doctor_says_what_is_lost(tmp_path: Path) -> None:
    code = f"""
import json, sys
from pathlib import Path
from provcrt_kernel.runtime.doctor import examine
found = examine(Path({str(tmp_path)!r}))
print(json.dumps([found.tracer, found.tracer_problem, found.well]))
"""
    command = [sys.executable, "-c", LAUNCHER, repr([PIDFD_GETFD]), "forbids", sys.executable, "-c", code]
    environ = {**os.environ, "PROVCRT_STORE": str(tmp_path / "store")}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True, env=environ)
    tracer, problem, well = json.loads(done.stdout)
    assert (tracer, well) == ("ptrace", True)
    assert "no debugger works in a cell" in problem


OLD = """
from provcrt_kernel.trace import stops
stops.Stops._by_info = stops.Stops._by_registers
supervise(main)
"""


def test_stops_of_an_old_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.3 a stop's call is read from the registers, and a 32-bit one is known by the filter's answer."""
    monkeypatch.setenv("PROVCRT_TRACER", "ptrace")
    path = script("with span('x'):\n    subprocess.run(['cat', '/etc/passwd'], stdout=-3)", tmp_path)
    path.write_text(path.read_text().replace("\nsupervise(main)", OLD))
    subprocess.run([sys.executable, str(path)], timeout=60, check=True)
    (span,) = spans_of(tmp_path)
    assert span.complete
    assert flags(by_path(span)["/etc/passwd"]) == "r"
