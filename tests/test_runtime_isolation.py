"""Isolation: every call that the tracer knows is tried against the machine, from inside of a repetition.

The reference runs while there is nothing to be found. Then there is; the same program in the sandbox must find nothing still,
and what it is tried against must be as it was. That the program would find it is shown by running it outside.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from test_runtime_commands import done, needs_sandbox, own_data, provcrt, repetition, script, work

from provcrt_kernel.trace.calls import CALLS

__all__ = ["own_data", "work"]  # fixtures

PROGRAM = """
import ctypes, json, os, socket, struct, sys
host, calls, key, port = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)
AT, NAME, VALUE = -100, b"user.x", b"value"
buffer = ctypes.create_string_buffer(65536)
how = ctypes.create_string_buffer(struct.pack("QQQ", os.O_RDWR, 0, 0))
own = os.path.join(os.getcwd(), "own")
found = {}

def path(name):
    return os.fsencode(os.path.join(host, name))

def call(name, number, *arguments):
    ctypes.set_errno(0)
    plain = [each if isinstance(each, (bytes, ctypes.Array)) else ctypes.c_long(each) for each in arguments]
    result = libc.syscall(ctypes.c_long(number), *plain)
    found[name] = os.strerror(ctypes.get_errno()) if result < 0 else "it could"

for name, number, op, at, directory, flags in calls:
    arguments = [0] * 6
    if directory is not None:
        arguments[directory] = AT
    if at is not None:
        arguments[at] = path("secret")
    if op == "open":
        if flags is not None:
            arguments[flags] = os.O_RDWR
    elif op == "openat2":
        arguments[2:4] = [how, 24]
    elif op in ("stat", "access"):
        behind = at + 1
        if "xattr" in name:
            if "list" not in name:
                arguments[behind:behind + 3] = [NAME, buffer, 65536]
            else:
                arguments[behind:behind + 2] = [buffer, 65536]
        elif name == "statx":
            arguments[2:5] = [0, 0x7ff, buffer]
        elif "readlink" in name:
            arguments[at] = path("link")
            arguments[behind:behind + 2] = [buffer, 4096]
        elif "access" in name:
            arguments[behind] = os.R_OK
        elif name == "inotify_add_watch":
            arguments = [libc.inotify_init(), path("secret"), 1]
        elif name == "name_to_handle_at":
            handle = ctypes.create_string_buffer(struct.pack("II", 128, 0) + bytes(128))
            arguments[2:5] = [handle, buffer, 0]
        else:
            arguments[behind] = buffer
    elif op == "meta":
        if "chmod" in name:
            arguments[at + 1] = 0o777
        elif "setxattr" in name and "at" not in name[-2:]:
            arguments[at + 1:at + 5] = [NAME, VALUE, 5, 0]
        elif "removexattr" in name and "at" not in name[-2:]:
            arguments[at + 1] = NAME
        elif "chown" in name:
            arguments[at + 1:at + 3] = [os.getuid(), os.getgid()]
    elif op == "truncate":
        arguments[1] = 0
    elif op == "mkdir":
        arguments[at] = path("folder-" + name)
        arguments[at + 1] = 0o777
    elif op == "mknod":
        arguments[at] = path("node-" + name)
        arguments[at + 1] = 0o10666
    elif op == "unlink":
        arguments[at] = path("empty-" + name if name == "rmdir" else "gone-" + name)
    elif op in ("rename", "link"):
        both = [AT, path("from-" + name), AT, path("to-" + name)]
        arguments = [*both, 0, 0] if directory is not None else [both[1], both[3]]
    elif op == "symlink":
        arguments[0] = b"target"
        arguments[at] = path("symlink-" + name)
    elif op == "chdir":
        arguments[0] = path("inner")
    elif op == "exec":
        continue  # below
    elif op == "escape" and name in ("chroot", "umount2"):
        arguments[0] = path("inner")
    elif op == "escape" and name == "mount":
        arguments[:4] = [path("inner"), os.fsencode(os.getcwd()), b"none", 4096]
    elif op == "escape" and name in ("open_tree", "move_mount"):
        arguments[:3] = [AT, path("inner"), 0]
    elif op == "keyed":
        arguments[:3] = [key, 1 if name != "msgget" else 0, 0]
    elif op == "queue":
        arguments[0] = b"provcrt-%d" % key
    else:
        continue
    child = os.fork()
    if child == 0:  # a call may move it, or lock it in
        call(name, number, *arguments)
        os._exit(0 if found[name] == "it could" else 1)
    found[name] = "it could" if os.waitpid(child, 0)[1] == 0 else "it could not"

for name, family, address in (
    ("unix", socket.AF_UNIX, os.path.join(host, "socket")),
    ("abstract", socket.AF_UNIX, "\\0provcrt-%d" % key),
    ("tcp", socket.AF_INET, ("127.0.0.1", port)),
):
    with socket.socket(family) as s:
        found[name] = "it could" if s.connect_ex(address) == 0 else "it could not"
for name in ("execve", "execveat"):
    child = os.fork()
    if child == 0:
        try:
            os.execv(os.path.join(host, "program"), ["program"])
        finally:
            os._exit(9)
    found[name] = "it could" if os.waitpid(child, 0)[1] == 0 else "it could not"
print(json.dumps(found, indent=0, sort_keys=True))
"""


def fill(host: Path) -> None:
    host.mkdir()
    (host / "secret").write_text("the secret")
    os.setxattr(host / "secret", "user.x", b"v")
    (host / "link").symlink_to("secret")
    (host / "inner").mkdir()
    (host / "empty-rmdir").mkdir()
    for call in CALLS:
        if call.op in ("rename", "link"):
            (host / f"from-{call.name}").write_text("x")
        if call.op == "unlink":
            (host / f"gone-{call.name}").write_text("x")
    (host / "program").write_text("#!/bin/sh\nexit 0\n")
    (host / "program").chmod(0o755)


def state(folder: Path) -> list[tuple[object, ...]]:
    found = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        told = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, data)
        found.append((str(path), *told))
    return found


@needs_sandbox
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of calls are those of x86-64")
def test_no_call_reaches_the_machine(work, tmp_path):
    host, key = tmp_path / "host", 0x70726F76 + os.getpid() % 1000
    calls = [
        (call.name, call.x86_64, call.op, call.path, call.dir, call.flags)
        for call in CALLS
        if call.x86_64 is not None
    ]
    (work / "program.py").write_text(PROGRAM)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        command = [sys.executable, "program.py", str(host), json.dumps(calls), str(key), str(port)]
        reference = done("exec", *command, cwd=work)
        tried = json.loads(reference.stdout)
        assert len(tried) > 60
        assert set(tried.values()) == {"it could not"}

        fill(host)
        listening.listen()
        libc = ctypes.CDLL(None, use_errno=True)
        shared = [libc.shmget(key, 1, 0o1666), libc.semget(key, 1, 0o1666), libc.msgget(key, 0o1666)]
        with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
            named.bind(str(host / "socket"))
            named.listen()
            abstract.bind(f"\0provcrt-{key}")
            abstract.listen()
            before = state(host)
            try:
                again = done("repeat", "e1", "--strict", cwd=work)
                assert json.loads(again.stdout) == tried  # it finds nothing in there
                assert state(host) == before
                harmless = [call for call in calls if call[2] != "escape"]  # a mount would stay
                command[3] = json.dumps(harmless)
                outside = subprocess.run(command, cwd=work, capture_output=True, text=True, check=True)
            finally:
                libc.shmctl(shared[0], 0, None)
                libc.semctl(shared[1], 0, 0)
                libc.msgctl(shared[2], 0, None)
    could = {name for name, told in json.loads(outside.stdout).items() if told == "it could"}
    must = {
        "open",
        "openat",
        "openat2",
        "stat",
        "statx",
        "faccessat2",
        "renameat2",
        "unlink",
        "linkat",
        "mkdir",
    }
    must |= {
        "chmod",
        "truncate",
        "readlink",
        "symlink",
        "chdir",
        "execve",
        "unix",
        "abstract",
        "tcp",
        "shmget",
    }
    assert must <= could, must - could  # so it was no wonder of the program
    assert len(could) > 40
    assert state(host) != before


@needs_sandbox
def test_nothing_that_was_not_asked_for_is_in_there(work):
    """Names of users of this machine, its processes and its network interfaces are not seen."""
    script(work, "cat /etc/passwd | wc -l; ls /proc | grep -c '^[0-9]'; cat /proc/net/dev | wc -l; id -un")
    done("exec", "./main.sh", cwd=work)
    users, processes, interfaces, name = done("repeat", "e1", cwd=work).stdout.split()
    assert int(users) <= 3
    assert int(processes) < 12
    assert int(interfaces) <= 3  # two lines of titles and the loopback
    assert (
        name.decode()
        == subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    )


def test_where_nothing_can_be_isolated_that_is_said_and_nothing_runs(work, tmp_path):
    script(work, "echo ran >> ran; echo hi")
    done("exec", "./main.sh", cwd=work)
    (work / "ran").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("no namespaces", "no bubblewrap"):
        shutil.rmtree(tools)
        tools.mkdir()
        path = str(tools)
        if name == "no namespaces":
            (tools / "bwrap").write_text(
                "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"
            )
            (tools / "bwrap").chmod(0o755)
            path += f":{os.environ['PATH']}"
        environ = {**os.environ, "PATH": path}
        said = provcrt("repeat", "e1", cwd=work, env=environ)
        assert (said.returncode, said.stderr.count(b"\n")) == (1, 1), said.stderr
        assert b"nothing can be isolated here" in said.stderr
        assert b"--no-isolation" in said.stderr
        assert not (work / "ran").exists()
    in_place = done("repeat", "e1", "--no-isolation", cwd=work, env=environ)
    assert in_place.stdout == b"hi\n"
    assert repetition(work).command.isolated is False
