"""What goes wrong in the systems that users would pick instead, and must not here: nine points, a test for each.

What other modules test already is named there; what stands here is what they leave out.

1. Repeat reaches the host: `test_runtime_isolation`, `test_runtime_commands.test_nothing_of_the_host_is_seen_or_changed`.
2. /tmp is skipped silently.
3. Only touched files are captured: also in `test_runtime_demo.test_the_demonstration` (`urllib.request`).
4. Files are stored as they were afterwards: also the counter in
   `test_runtime_commands.test_what_a_command_does_is_what_it_does_without_us`.
5. exec swallows the exit code, mangles output, arguments and umask: the same test, and
   `test_runtime_errors.test_a_mistake_is_one_line_and_exit_code_1` for what does not exist.
6. Ctrl-C leaves half a container, two at once lose one: `test_runtime_commands.test_an_interrupted_exec_leaves_nothing`,
   `test_two_at_once_are_two`.
7. commit does not run, ids are used again, removal frees nothing, diff leaves copies: also
   `test_runtime_commands.test_commit_runs_what_was_edited`.
8. Secrets go into the container, /etc/passwd is readable: also `test_runtime_commands.test_secrets_are_left_out_and_named`,
   `test_runtime_isolation.test_nothing_that_was_not_asked_for_is_in_there`.
9. Cells are told apart by a hash that takes A, B for B, A, ignores data files and prints nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from test_runtime import notebook, shown, statuses
from test_runtime_commands import done, needs_sandbox, own_data, provcrt, repetition, script, work

from provcrt_kernel.runtime import Project

__all__ = ["own_data", "work"]  # fixtures


@needs_sandbox
def test_1_a_repetition_writes_nothing_of_the_host(work):
    """renameat2 and an overwritten file in /tmp are what was changed there."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        script(work, f"mv {folder}/a {folder}/b; echo x > {folder}/c; stat {folder}/b; cat {folder}/b")
        Path(folder, "a").write_text("original\n")
        done("exec", "./main.sh", cwd=work)
        for name in ("b", "c"):
            Path(folder, name).unlink()
        Path(folder, "a").write_text("the host's\n")
        again = done("repeat", "e1", cwd=work)
        assert b"original" in again.stdout
        assert b"the host's" not in again.stdout
        assert {each.name: each.read_text() for each in Path(folder).iterdir()} == {"a": "the host's\n"}


@needs_sandbox
def test_2_what_lies_in_tmp_is_contained(work):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        place = Path(folder, "tool")
        place.write_text("#!/bin/sh\ncat $(dirname $0)/data\n")
        place.chmod(0o755)
        Path(folder, "data").write_text("from /tmp\n")
        done("exec", str(place), cwd=work)
    assert done("repeat", "e1", "--strict", cwd=work).stdout == b"from /tmp\n"


@needs_sandbox
def test_3_another_branch_finds_its_modules(work):
    program = "import sys\nif sys.argv[1] == '2':\n    import urllib.error, xml.dom.minidom, msgspec.json\nprint(sys.argv[1])\n"
    (work / "main.py").write_text(program)
    done("exec", sys.executable, "main.py", "1", cwd=work)
    assert done("given", "2", "repeat", "e1", "%2", cwd=work).stdout == b"2\n"


@needs_sandbox
def test_4_what_is_replaced_is_kept_as_it_was(work):
    """In place, by rename, by truncation, by removal: each repetition starts from what the first run found."""
    script(
        work,
        "cat a b c d; echo new > a; echo new > t && mv t b; : > c; rm d; echo more >> e; cat e; sed -i s/f/g/ f; cat f",
    )
    for name in "abcdef":
        (work / name).write_text(f"{name}\n")
    first = done("exec", "./main.sh", cwd=work)
    assert first.stdout == b"a\nb\nc\nd\ne\nmore\ng\n"
    for _ in range(2):
        assert done("repeat", "e1", "--strict", cwd=work).stdout == first.stdout


def test_5_output_comes_as_it_is_written(work):
    """Not at the end: what is printed is there while the command still waits."""
    script(work, "echo first; cat go >/dev/null; echo second")
    os.mkfifo(work / "go")
    command = [sys.executable, "-m", "provcrt_kernel.cli", "exec", "./main.sh"]
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"first\n"
        (work / "go").write_text("")
        assert running.communicate(timeout=60)[0] == b"second\n"
        assert running.returncode == 0
    missing = provcrt("exec", "./no-such-program", cwd=work)
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert [each.id for each in Project.find(work).list()] == ["e1"]


def test_6_nothing_of_an_interrupted_run_is_in_the_next_one(work):
    script(work, "echo half > half; cat half; sleep 60")
    (work / "other").write_text("other\n")
    command = [sys.executable, "-m", "provcrt_kernel.cli", "exec", "./main.sh"]
    running = subprocess.Popen(
        command, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    for _ in range(400):
        if (work / "half").exists():
            break
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(30) == 130
    done("exec", "cat", "other", cwd=work)
    told = Project.find(work).detail("e1")
    assert {Path(each.path).name for each in told.files} & {"half", "main.sh", "other"} == {"other"}


def test_7_removal_frees_ids_are_not_used_again_and_diff_leaves_nothing(work):
    def size() -> int:
        return sum(each.stat().st_size for each in (work / ".provcrt").rglob("*") if each.is_file())

    done("exec", "true", cwd=work)
    base = size()
    (work / "data").write_bytes(os.urandom(5 << 20))
    done("exec", "wc", "-c", "data", cwd=work)
    (work / "data").write_bytes(os.urandom(5 << 20))
    done("exec", "wc", "-c", "data", cwd=work)
    full = size()
    assert full - base > 9 << 20
    done("diff", "e2", "e3", cwd=work)
    assert size() - full < 1 << 20
    for id in ("e2", "e3"):
        done("rm", id, cwd=work)
    assert size() - base < 3 << 20  # of wc's own package nothing is young enough to go at once
    done("exec", "true", cwd=work)
    assert [each.id for each in Project.find(work).list()] == ["e1", "e4"]


@needs_sandbox
def test_8_neither_secrets_nor_the_hosts_users_are_in_a_container(work, tmp_path):
    script(work, 'cat /etc/passwd /etc/group > users; test -n "$MY_PASSWORD" && echo set || echo none')
    done("exec", "./main.sh", cwd=work, env={**os.environ, "MY_PASSWORD": "s3cr3t-word"})
    hosts = (work / "users").read_text()
    again = done("repeat", "e1", "-o", tmp_path / "out", cwd=work)
    assert again.stdout == b"none\n"
    names = {line.partition(":")[0] for line in (tmp_path / "out" / "users").read_text().splitlines()}
    assert "daemon" in hosts
    assert "daemon" not in names
    done("export", "e1", tmp_path / "x.provcrt", cwd=work)
    shutil.unpack_archive(tmp_path / "x.provcrt", tmp_path / "parts", "zip")
    kept = b"".join(each.read_bytes() for each in (tmp_path / "parts").rglob("*") if each.is_file())
    assert b"s3cr3t-word" not in kept


def test_9_cells_are_known_by_what_they_read_not_by_their_text_alone(tmp_path):
    """A, B and B, A are two notebooks; a data file counts; and what is replayed shows what it showed."""
    (tmp_path / "data").write_text("1")
    one = notebook(tmp_path / "one.ipynb", ["x = 1", "x = 2", "print(x)", "print(open('data').read())"])
    other = notebook(tmp_path / "other.ipynb", ["x = 2", "x = 1", "print(x)", "print(open('data').read())"])
    project = Project.open(tmp_path)
    for path, answer in ((one, "2\n"), (other, "1\n"), (one, "2\n")):
        execution = project.execute(path)
        assert shown(project.executed(execution.id)[0])[2:] == [answer, "1\n"]
    assert statuses(execution) == ["replayed"] * 4  # and it has shown what it showed
    (tmp_path / "data").write_text("2")
    changed = project.execute(one)
    assert statuses(changed) == ["replayed", "replayed", "replayed", "executed"]
    assert shown(project.executed(changed.id)[0])[2:] == ["2\n", "2\n"]


def test_a_repetition_is_a_record_of_its_own(work):
    """What users ask those projects for: that something was reproduced is kept beside it, and never replaces it."""
    script(work, "echo hi")
    done("exec", "./main.sh", cwd=work)
    before = Project.find(work).show("e1")
    done("repeat", "e1", "--no-isolation", cwd=work)
    assert Project.find(work).show("e1") == before
    assert repetition(work).verdict.word == "reproduced"
    assert b"reproduced" in done("list", cwd=work).stdout
