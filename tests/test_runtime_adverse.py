"""What happens to a project in a bad hour: no rights, no room, another clock, odd names, commands that do odd things."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from test_runtime_commands import done, needs_sandbox, own_data, provcrt, repetition, script, work

from provcrt_kernel.runtime import Project
from provcrt_kernel.runtime.archive import Archive

__all__ = ["own_data", "work"]  # fixtures
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


def one_line(said, code=1):
    assert (said.returncode, said.stderr.count(b"\n")) == (code, 1), said.stderr
    assert said.stderr.startswith(b"provcrt: ")


@pytest.fixture
def mounted(work):
    """Return what mounts a file system at a folder for the length of a test."""
    done_ = []

    def mount(place: Path, *options: str) -> None:
        made = subprocess.run(["mount", *options, str(place)], capture_output=True, check=False)
        if made.returncode:
            pytest.skip(f"nothing can be mounted here: {made.stderr!r}")
        done_.append(place)

    yield mount
    for place in reversed(done_):
        subprocess.run(["umount", "-l", str(place)], check=False)


@needs_root
def test_a_project_that_nobody_may_write_to_can_be_read(work, mounted, tmp_path):
    (work / "data").write_text("x\n")
    done("exec", "cat", "data", cwd=work)
    mounted(work, "--bind", str(work))
    mounted(work, "-o", "remount,ro,bind")
    for words in (
        ["list"], ["show", "e1"], ["show", "--detail", "e1"], ["prov", "e1"], ["requirements", "e1"], ["diff", "e1", "e1"],
        ["why", "e1", "data"], ["used-by", "e1", "data"], ["checkout", "e1", tmp_path / "copy"],
    ):  # fmt: skip
        if words[0] == "checkout":
            one_line(provcrt(*words, cwd=work))  # which notes what is checked out
            assert (tmp_path / "copy" / "data").read_text() == "x\n"
            continue
        done(*words, cwd=work)
    for words in (
        ["exec", "true"], ["repeat", "e1"], ["given", "x", "repeat", "e1", "%1"], ["rm", "e1"], ["tag", "e1", "x"],
        ["open", "other"], ["export", "e1", tmp_path / "x.provcrt"], ["gc"],
    ):  # fmt: skip
        one_line(provcrt(*words, cwd=work))


@needs_root
def test_a_full_disk_leaves_a_whole_execution_or_none(tmp_path, mounted):
    small = tmp_path / "small"
    small.mkdir()
    mounted(small, "-t", "tmpfs", "-o", "size=40m", "none")
    fits = provcrt("exec", "echo", "fits", cwd=small)
    for text in (
        "head -c 100M /dev/urandom",
        "head -c 100M /dev/urandom > big",
        "head -c 20M /dev/urandom > big; cat big big",
    ):
        said = provcrt("exec", "sh", "-c", text, cwd=small)
        assert said.returncode == 1, said.stderr
        assert said.stderr.splitlines()[-1].startswith(b"provcrt: ")
        assert b"Traceback" not in said.stderr
        (small / "big").unlink(missing_ok=True)
    names = sorted(each.name for each in (small / ".provcrt" / "executions").iterdir())
    assert not [name for name in names if name.startswith(".draft")]
    kept = [each.id for each in Project.find(small).list()]
    assert kept == (["e1"] if fits.returncode == 0 else [])


def test_a_project_of_a_newer_version_says_so(work):
    done("exec", "true", cwd=work)
    path = Project.find(work).archive.folder / "e1" / "execution.json"
    path.write_bytes(
        msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), "format": 99, "further": {}})
    )
    for words in (["show", "e1"], ["list"], ["repeat", "e1"], ["prov", "e1"], ["rm", "e1"]):
        said = provcrt(*words, cwd=work)
        one_line(said)
        assert b"newer version" in said.stderr


def test_another_clock_changes_nothing(work):
    """Drafts of those at work stay when the clock jumps, and those of the dead go when it has jumped back."""
    archive = Archive(work)
    archive.prepare()
    with archive.draft() as draft:
        for when in (0, time.time() + 10 * 365 * 86400):
            os.utime(draft, (when, when))
            archive.prepare()
            assert draft.is_dir()
    dead = archive.folder / ".draft-dead"
    dead.mkdir()
    archive.prepare()
    assert dead.is_dir()  # it may be about to be filled
    os.utime(dead, (time.time() + 86400, time.time() + 86400))
    archive.prepare()
    assert not dead.exists()
    done("exec", "true", cwd=work)
    path = archive.folder / "e1" / "execution.json"
    for started in (-1e12, 1e300, 0.0):
        path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), "started": started}))
        for words in (["list"], ["show", "e1"], ["prov", "e1", "--format", "xml"]):
            done(*words, cwd=work)


@pytest.mark.parametrize(
    "name", [b"a b", b"a\nb", b"'\"$(x)", b"\xff\xfe", b"-rf", b"\x1b[2J", "é \u202e".encode()]
)
def test_names_of_any_bytes(work, name, tmp_path):
    text = os.fsdecode(name)
    (work / text).write_text("content\n")
    provcrt("exec", "cat", "--", text, "", cwd=work)
    found = Project.find(work).show("e1").command
    assert found.argv == ("cat", "--", text, "")  # an empty argument is one, too
    for words in (
        ["list"], ["show", "e1"], ["show", "--detail", "e1"], ["show", "--json", "e1"], ["why", "e1", "--", f"./{text}"],
        *(["prov", "e1", "--format", each] for each in ("json", "n", "xml", "turtle", "mermaid", "svg")),
    ):  # fmt: skip
        shown = done(*words, cwd=work, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
        assert b"\x1b" not in shown.stdout
    lines = done("list", cwd=work).stdout.splitlines()
    assert len(lines) == 2
    done("export", "e1", tmp_path / f"{text.replace('/', '')}.provcrt", cwd=work)
    one_line(provcrt("show", "--", text, cwd=work))
    one_line(provcrt("exec", f"./{text}", cwd=work))
    one_line(provcrt("exec", f"./{text}.ipynb", cwd=work))


#: Runs a command and says what the largest process of it held, in kB. It stands between because a process that was forked
#: and has not yet called exec counts what its parent held, here pytest.
_SHIM = """
import os, subprocess, sys
pid = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid
_, status, used = os.wait4(pid, 0)
print(used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def largest_memory(*words, cwd) -> int:
    """Run `provcrt`; returns the resident memory of the largest process that it and its children were, in kB."""
    said = subprocess.run(
        [sys.executable, "-c", _SHIM, sys.executable, "-m", "provcrt_kernel.cli", *words],
        cwd=cwd, capture_output=True, timeout=500, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    return int(said.stdout)


@needs_sandbox
def test_gigabytes_go_through_in_constant_memory(work):
    """Read, written and printed: two sparse ones, and half a one that is printed."""
    script(work, "truncate -s 2G big; cat in > /dev/null; head -c 500M /dev/zero")
    subprocess.run(["truncate", "-s", "2G", "in"], cwd=work, check=True)
    for words in (["exec", "./main.sh"], ["repeat", "e1", "--strict"]):
        assert largest_memory(*words, cwd=work) < 400_000
    kept = sum(each.stat().st_blocks * 512 for each in (work / ".provcrt").rglob("*") if each.is_file())
    assert kept < 300 << 20


def test_a_daemon_does_not_keep_exec_waiting_and_is_named(work):
    script(work, "(trap '' HUP; sleep 100) >/dev/null 2>&1 </dev/null & echo $! > pid; echo started")
    began = time.monotonic()
    said = done("exec", "./main.sh", cwd=work)
    assert said.stdout == b"started\n"
    assert time.monotonic() - began < 60
    assert b"outlived the command" in said.stderr
    os.kill(int((work / "pid").read_text()), signal.SIGKILL)


def test_a_setuid_program_is_named(work):
    shutil.copy(shutil.which("cat"), work / "cat")
    (work / "cat").chmod(0o4755)
    (work / "data").write_text("x\n")
    said = done("exec", "./cat", "data", cwd=work)
    assert said.stdout == b"x\n"
    assert b"./cat" in said.stderr or b"setuid" in said.stderr or b"another user" in said.stderr
    entry = next(each for each in Project.find(work).detail("e1").files if each.path.endswith("work/cat"))
    assert entry.kind == "user program"
    done("checkout", "e1", work / "copy", cwd=work)
    assert (
        not stat.S_IMODE((work / "copy" / "cat").stat().st_mode) & stat.S_ISUID
    )  # nobody gains rights by a repetition


@pytest.mark.parametrize("words", [["-c", "import sys; sys.stdout.write(str(len(sys.stdin.buffer.read())))"]])
def test_standard_input_of_any_kind(work, words, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    with open(tmp_path / "file", "rb") as file:
        assert done("exec", sys.executable, *words, cwd=work, stdin=file).stdout == b"100000"
    fed = {"stdin": None, "input": b"y" * 200_000}
    assert done("exec", sys.executable, *words, cwd=work, **fed).stdout == b"200000"
    assert done("exec", sys.executable, *words, cwd=work, stdin=subprocess.DEVNULL).stdout == b"0"
    kinds = [each.command.stdin for each in Project.find(work).list()]
    assert kinds == ["file", "pipe", "null"]
    done("repeat", "e2", "--no-isolation", "--strict", cwd=work)
    assert repetition(work, "e2").verdict.word == "reproduced"


def test_given_and_commit_end_as_what_they_ran_ended(work):
    script(work, 'exit "$1"')
    assert provcrt("exec", "./main.sh", "0", cwd=work).returncode == 0
    said = provcrt("given", "7", "repeat", "e1", "%1", cwd=work)
    if b"nothing can be isolated" not in said.stderr:
        assert said.returncode == 7
        told = json.loads(done("list", "--json", cwd=work).stdout)
        assert [each["command"]["status"] for each in told] == [0, 7]
