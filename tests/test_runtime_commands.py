"""Commands in projects: what exec contains, and that a repetition needs nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provcrt_kernel.runtime import Project
from provcrt_kernel.runtime.sandbox import problem
from provcrt_kernel.store import digest

needs_sandbox = pytest.mark.skipif(problem() is not None, reason=f"no sandbox here: {problem()}")


@pytest.fixture(autouse=True)
def own_data(tmp_path_factory, monkeypatch):
    """Keep the user's own key and store out of it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    monkeypatch.delenv("PROVCRT_STORE", raising=False)


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def script(folder: Path, text: str, name: str = "main.sh") -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def provcrt(*arguments, cwd, **options):
    command = [sys.executable, "-m", "provcrt_kernel.cli", *map(str, arguments)]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": 60, **options}
    return subprocess.run(command, cwd=cwd, check=False, **options)


def done(*arguments, cwd, **options):
    found = provcrt(*arguments, cwd=cwd, **options)
    assert found.returncode == 0, found.stderr.decode(errors="replace")
    return found


def repetition(cwd, id="e1"):
    return Project.find(cwd).repetitions(id)[-1]


@needs_sandbox
def test_a_container_needs_nothing_of_what_it_was_made_of(work, tmp_path):
    script(work, 'read line < data.txt\necho "$1: $line" | tee out/result.txt\n. ./lib/more.sh\n')
    (work / "data.txt").write_text("forty-two\n")
    (work / "lib").mkdir()
    (work / "out").mkdir()
    (work / "lib" / "more.sh").write_text("echo more\n")
    ran = done("exec", "./main.sh", "a b", cwd=work)
    assert ran.stdout == b"a b: forty-two\nmore\n"
    for path in work.iterdir():
        if path.name != ".provcrt":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = done("repeat", "e1", "--strict", "-o", tmp_path / "files", cwd=work)
    assert again.stdout == ran.stdout
    assert repetition(work).verdict.word == "reproduced"
    assert (tmp_path / "files" / "out" / "result.txt").read_text() == "a b: forty-two\n"
    assert sorted(path.name for path in work.iterdir()) == [".provcrt"]


def test_what_our_caller_printed_before_is_not_the_commands(work):
    """A program that uses the project from Python, with its standard output in a file: Python keeps lines back then."""
    (work / "main.py").write_text(
        "from provcrt_kernel.runtime import Project\n"
        "project, _ = Project.create('.', 'two')\n"
        "for word in ('one', 'two'):\n"
        "    print('before', word)\n"
        "    project.run(['echo', word], show=False)\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ran = subprocess.run([sys.executable, "main.py"], cwd=work, env=environ, capture_output=True, check=True)
    assert ran.stdout == b"before one\nbefore two\n"
    streams = [Project.find(work).show(id).command.streams["stdout"] for id in ("e1", "e2")]
    assert streams == [digest(b"one\n"), digest(b"two\n")]


@needs_sandbox
def test_what_a_run_leaves_in_a_cache_is_no_result(work):
    script(work, 'mkdir -p "$1"; head -c 20 /dev/urandom | od >"$1/x"; echo done\n')
    for folder in (".cache", "kept"):
        done("exec", "./main.sh", folder, cwd=work)
    assert b"reproduced except" in done("repeat", "e1", "--strict", cwd=work).stderr
    assert b".cache/x (a cache)" in done("repeat", "e1", cwd=work).stderr
    assert provcrt("repeat", "e2", "--strict", cwd=work).returncode == 1


@needs_sandbox
def test_who_looks_for_plugins_uses_no_package_by_that(work):
    (work / "main.py").write_text(
        "import msgspec\nfrom importlib.metadata import entry_points\nprint(len(entry_points()), msgspec.json.encode(1))\n"
    )
    done("exec", sys.executable, "main.py", cwd=work)
    names = {line.partition("==")[0] for line in done("requirements", "e1", cwd=work).stdout.decode().split()}
    assert "msgspec" in names
    assert "pytest" not in names
    assert b"reproduced" in done("repeat", "e1", "--strict", cwd=work).stderr


@needs_sandbox
def test_a_module_that_was_imported_from_its_compiled_copy_is_contained(work):
    """An import looks at the source and reads `__pycache__`: what is kept is the source."""
    (work / "helper.py").write_text("answer = 42\n")
    (work / "main.py").write_text("import helper\nprint(helper.answer)\n")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "main.py"]
    subprocess.run(command, cwd=work, env=environ, check=True, capture_output=True)
    assert list((work / "__pycache__").glob("helper.*.pyc"))
    done("exec", *command, cwd=work, env=environ)
    (work / "helper.py").unlink()
    assert done("repeat", "e1", "--strict", cwd=work, env=environ).stdout == b"42\n"


@needs_sandbox
@pytest.mark.parametrize(
    ("text", "status", "shown"),
    [
        ("exit 3", 3, b""),
        ("kill -SEGV $$", 128 + 11, b""),
        ("printf 'a\\0\\377\\n'; printf 'e\\377' >&2", 0, b"a\0\xff\n"),
        ('printf "%s|" "$#" "$@"', 0, b"4||a b|x\ny|\xff|"),
        ("umask", 0, b"0027\n"),
        ("cat", 0, b"from a pipe\n"),
        ("cd / && pwd && cd /tmp && echo there > t && cat t && rm t", 0, b"/\nthere\n"),
        ('rm -- "$0" && echo gone', 0, b"gone\n"),
        ("read n < counter; echo $((n + 1)) > counter; cat counter", 0, b"3\n"),
    ],
)
def test_what_a_command_does_is_what_it_does_without_us(work, text, status, shown):
    script(work, text)
    (work / "counter").write_text("2\n")
    arguments = ["", "a b", "x\ny", os.fsdecode(b"\xff")] if '"$@"' in text else []
    given = {"stdin": None, "input": b"from a pipe\n"} if text == "cat" else {}
    ran = provcrt("exec", "./main.sh", *arguments, cwd=work, umask=0o027, **given)
    assert (ran.returncode, ran.stdout) == (status, shown)
    again = provcrt("repeat", "e1", "--strict", cwd=work)
    assert (again.returncode, again.stdout) == (0, shown), again.stderr
    command = repetition(work).command
    assert (command.status if command.status >= 0 else 128 - command.status) == status


def test_a_file_name_of_any_bytes_is_kept(work):
    name = os.fsdecode(b"d\xff\n'\"ta")
    (work / name).write_bytes(b"content")
    done("exec", "cat", name, cwd=work)
    execution = Project.find(work).show("e1")
    assert execution.command.argv == ("cat", name)
    shutil.rmtree(work / name, ignore_errors=True)
    (work / name).unlink()
    if problem() is None:
        assert done("repeat", "e1", "--strict", cwd=work).stdout == b"content"


def test_secrets_are_left_out_and_named(work):
    secrets = {
        "MY_API_KEY": "s3cr3t-one",
        "THING": "ghp_" + "a" * 36,
        "DB": "postgres://me:s3cr3t-two@host/x",
    }
    done("exec", "true", cwd=work, env={**os.environ, **secrets, "HARMLESS": "yes"})
    command = Project.find(work).show("e1").command
    assert set(command.left_out) >= set(secrets)
    assert command.environ["HARMLESS"] == "yes"
    kept = b"".join(path.read_bytes() for path in (work / ".provcrt").rglob("*") if path.is_file())
    assert not any(value.encode() in kept for value in secrets.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_exec_leaves_nothing(work, number):
    script(work, "echo $$ > pid; sleep 600")
    command = [sys.executable, "-m", "provcrt_kernel.cli", "exec", "./main.sh"]
    running = subprocess.Popen(command, cwd=work, stderr=subprocess.PIPE, start_new_session=True)
    mark = work / "pid"
    for _ in range(300):
        if mark.exists() and mark.read_text():
            break
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(running.pid, number)  # as a terminal does
    else:
        running.send_signal(number)
    _, said = running.communicate(timeout=30)
    assert b"Traceback" not in said
    assert running.returncode == (130 if number == signal.SIGINT else -9)
    inner = int(mark.read_text())
    for _ in range(200):
        if not Path(f"/proc/{inner}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{inner}").exists()
    assert Project.find(work).list() == []
    done("exec", "true", cwd=work)
    assert [each.id for each in Project.find(work).list()] == ["e1"]


def test_two_at_once_are_two(work):
    script(work, "sleep 0.3; echo $1")
    command = [sys.executable, "-m", "provcrt_kernel.cli", "exec", "./main.sh"]
    pair = [subprocess.Popen([*command, each], cwd=work, stdout=subprocess.DEVNULL) for each in "ab"]
    assert [each.wait(60) for each in pair] == [0, 0]
    found = Project.find(work).list()
    assert sorted(each.id for each in found) == ["e1", "e2"]
    assert sorted(each.command.argv[1] for each in found) == ["a", "b"]


@needs_sandbox
def test_a_repetition_that_differs_says_where_and_why(work):
    script(work, "od -An -N4 -tx4 /dev/urandom > noise; echo steady; cat noise")
    done("exec", "./main.sh", cwd=work)
    said = provcrt("repeat", "e1", "--strict", cwd=work)
    assert said.returncode == 1
    verdict = repetition(work).verdict
    assert verdict.word == "diverged"
    assert [each.where for each in verdict.differences] == [str(work / "noise"), "stdout"]
    assert verdict.differences[1].what.startswith("differs in line 2: ")
    assert "random numbers" in verdict.differences[0].cause


@needs_sandbox
def test_clocks_and_process_ids_are_overlooked_and_said(work):
    script(work, "echo at $(date '+%Y-%m-%d %H:%M:%S.%N') pid $$")
    done("exec", "./main.sh", cwd=work)
    done("repeat", "e1", "--strict", cwd=work)
    verdict = repetition(work).verdict
    assert verdict.word == "volatile"
    assert verdict.line == "reproduced except stdout (timestamps, process ids)"


@needs_sandbox
def test_nothing_of_the_host_is_seen_or_changed(work, tmp_path):
    """The container is made where there is nothing to find; then there is, and the same program looks for it."""
    host = tmp_path / "host"
    text = f"""
        ls {host} {tmp_path} / ; cat {host}/secret; cat {host}/secret/../secret; stat {host}/secret
        for n in $(ls /proc | grep '^[0-9]'); do
            cat /proc/$n/root{host}/secret /proc/$n/cwd{host}/secret; ls -l /proc/$n/exe /proc/$n/fd; cat /proc/$n/exe | head -c 4
        done
        echo changed > {host}/secret; echo new > {host}/new; mkdir {host}/folder; mv {host}/secret {host}/moved
        ln -s {host} {tmp_path}/work/link && cat {tmp_path}/work/link/secret; rm -rf {host}
        chmod 777 {host}; chroot {host} /bin/sh; mount --bind / /mnt; kill -9 $PPID
        cat /etc/passwd; id -u; hostname
    """
    script(work, text)
    provcrt("exec", "./main.sh", cwd=work)
    (tmp_path / "host").mkdir()
    (host / "secret").write_text("the-secret")
    before = sorted((path, path.lstat().st_mtime_ns) for path in tmp_path.glob("host/**/*"))
    said = provcrt("repeat", "e1", cwd=work)
    assert b"the-secret" not in said.stdout + said.stderr
    assert sys.executable.encode() not in said.stdout + said.stderr
    assert sorted((path, path.lstat().st_mtime_ns) for path in tmp_path.glob("host/**/*")) == before
    assert (host / "secret").read_text() == "the-secret"
    assert not (work / "link").is_symlink() or os.readlink(work / "link") == str(host)


def test_what_stands_behind_the_command_is_the_commands(work):
    ran = done("exec", "printf", "%s,", "--json", "-o", "x", "--help", cwd=work)
    assert ran.stdout == b"--json,-o,x,--help,"
    told = json.loads(done("show", "--json", "e1", cwd=work).stdout)
    assert told["command"]["argv"] == ["printf", "%s,", "--json", "-o", "x", "--help"]


def test_content_is_kept_once(work):
    data = os.urandom(1 << 20)
    (work / "a").write_bytes(data)
    (work / "b").write_bytes(data)
    done("exec", "cat", "a", "b", cwd=work, stdout=subprocess.DEVNULL, stderr=None, capture_output=False)
    store = Project.find(work)._archive.store()
    with store:
        size = store.stats().bytes
        assert store.get(digest(data)) == data
    done("exec", "cat", "b", "a", cwd=work, stdout=subprocess.DEVNULL, stderr=None, capture_output=False)
    with Project.find(work)._archive.store() as store:
        assert store.stats().bytes - size < 2.2 * (1 << 20)  # what it printed


@needs_sandbox
def test_given_replaces_arguments_and_data_and_keeps_the_reference(work, tmp_path):
    script(work, 'echo "$1 $2"; cat "$2" more.txt')
    (work / "a.txt").write_text("A\n")
    (work / "more.txt").write_text("more\n")
    done("exec", "./main.sh", "1", "a.txt", cwd=work)
    (work / "b.txt").write_text("B\n")
    (tmp_path / "other").write_text("other\n")
    said = done("given", "2", "b.txt", f"more.txt={tmp_path / 'other'}", "repeat", "e1", "%1", "%2", cwd=work)
    assert said.stdout == b"2 b.txt\nB\nother\n"
    project = Project.find(work)
    second = project.show("e2")
    assert (second.parent, second.relation) == ("e1", "given")
    assert len(second.changes) == 3
    assert project.show("e1").command.argv == ("./main.sh", "1", "a.txt")
    (work / "b.txt").unlink()
    assert done("repeat", "e2", "--strict", cwd=work).stdout == said.stdout
    for words in (["1", "repeat", "e1"], ["1", "repeat", "e1", "%9"], ["1", "repeat", "e1", "x"]):
        failed = provcrt("given", *words, cwd=work)
        assert (failed.returncode, failed.stderr.count(b"\n")) == (1, 1)
    assert provcrt("given", "1", cwd=work).returncode == 2


@needs_sandbox
def test_commit_runs_what_was_edited(work, tmp_path):
    script(work, "cat data.txt; echo more >> data.txt; cp data.txt out.txt")
    (work / "data.txt").write_text("one\n")
    (work / "out.txt").write_text("old")
    script(work, "cat data.txt; cp data.txt out.txt")
    done("exec", "./main.sh", cwd=work)
    nothing = provcrt("commit", cwd=work)  # what the run itself left is no edit
    assert (nothing.returncode, nothing.stderr.count(b"\n")) == (1, 1)
    assert b"nothing to commit" in nothing.stderr
    script(work, "echo edited; cat data.txt; . ./helper.sh")
    script(work, "echo helped", "helper.sh")
    assert done("commit", cwd=work).stdout == b"edited\none\nhelped\n"
    second = Project.find(work).show("e2")
    assert (second.parent, second.relation) == ("e1", "commit")
    assert any("+echo edited" in change for change in second.changes)
    for name in ("main.sh", "helper.sh", "data.txt"):
        (work / name).unlink()
    assert done("repeat", "e2", "--strict", cwd=work).stdout == b"edited\none\nhelped\n"

    done("checkout", "e1", tmp_path / "copy", cwd=work)
    assert (tmp_path / "copy" / "data.txt").read_text() == "one\n"
    assert os.access(tmp_path / "copy" / "main.sh", os.X_OK)
    (tmp_path / "copy" / "data.txt").write_text("two\n")
    assert done("commit", cwd=work).stdout == b"two\n"
    assert Project.find(work).show("e3").parent == "e1"
    tree = done("list", cwd=work).stdout.decode().splitlines()
    assert [line.split()[0] for line in tree[1:]] == ["e1", "e2", "e3"]
    assert [line.startswith("  e") for line in tree[1:]] == [False, True, True]


def test_every_file_is_classified_and_removal_frees(work):
    script(work, ". ./settings.cfg; cat data.txt > result.txt; rm old.txt")
    (work / "settings.cfg").write_text("A=1\n")
    (work / "data.txt").write_bytes(os.urandom(1 << 20))
    (work / "old.txt").write_text("")
    done("exec", "./main.sh", cwd=work)
    told = json.loads(done("show", "--detail", "--json", "e1", cwd=work).stdout)
    kinds = {Path(each["path"]).name: each["kind"] for each in told["files"]}
    assert {
        name: kinds[name] for name in ("main.sh", "settings.cfg", "data.txt", "result.txt", "old.txt")
    } == {
        "main.sh": "user program",
        "settings.cfg": "configuration",
        "data.txt": "input",
        "result.txt": "output",
        "old.txt": "transient",
    }
    cat = next(each for each in told["files"] if each["path"] == os.path.realpath(shutil.which("cat")))
    assert cat["kind"] == "system dependency"
    assert "detail" not in done("show", "e1", cwd=work).stdout.decode()
    assert b"data.txt" in done("show", "--detail", "e1", cwd=work).stdout
    with Project.find(work)._archive.store() as store:
        assert store.has(digest((work / "data.txt").read_bytes()))
    done("rm", "e1", cwd=work)
    assert provcrt("show", "e1", cwd=work).returncode == 1
    done("exec", "true", cwd=work)
    assert [each.id for each in Project.find(work).list()] == ["e2"]
