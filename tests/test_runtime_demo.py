"""The paper's demonstration, as its users type it: both use cases, and again after sharing, with the originals gone."""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import provcrt_kernel
from provcrt_kernel.runtime.sandbox import problem

pytestmark = pytest.mark.skipif(problem() is not None, reason=f"no sandbox here: {problem()}")

MAIN = """#!/bin/sh
python kmeans.py "$1" data.csv > result.txt
cat result.txt
"""
KMEANS = """import ssl
import sys

import numpy as np

k, points = int(sys.argv[1]), np.loadtxt(sys.argv[2], delimiter=",")
if k > 100:
    import urllib.request  # another branch
centres = points[np.random.default_rng(0).choice(len(points), k, replace=False)]
for _ in range(10):
    nearest = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
    centres = np.array([points[nearest == i].mean(0) for i in range(k)])
print(np.round(centres, 3).tolist())
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Return what runs provcrt as one user or another."""
    monkeypatch.delenv("PROVCRT_STORE", raising=False)

    def provcrt(*arguments, cwd, name="first"):
        command = [sys.executable, "-m", "provcrt_kernel.cli", *map(str, arguments)]
        environ = {
            **os.environ,
            "XDG_DATA_HOME": str(tmp_path / f"data of {name}"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=120,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    return provcrt


def packages(told):
    return {(each["manager"], each["name"]): each["version"] for each in told["packages"]}


def test_the_demonstration(user, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "main.sh").write_text(MAIN)
    (work / "main.sh").chmod(0o755)
    (work / "kmeans.py").write_text(KMEANS)
    random.seed(1)
    (work / "data.csv").write_text("".join(f"{random.random()},{random.random()}\n" for _ in range(300)))

    assert "created PWDemo" in user("open", "PWDemo", cwd=work).stdout
    first = user("exec", "main.sh", "4", cwd=work)
    assert first.stdout.count("[") == 5
    again = user("repeat", "e1", "--strict", cwd=work)
    assert again.stdout == first.stdout
    assert "reproduced: every output is the same" in again.stderr

    given = user("given", "3", "repeat", "e1", "%1", cwd=work)
    assert given.stdout.count("[") == 4
    assert given.stdout == user("exec", "./main.sh", "3", cwd=work).stdout  # e3: what it says run as usual
    branch = user("given", "101", "repeat", "e1", "%1", cwd=work)  # e4: modules that e1 never loaded
    assert branch.stdout.count("[") == 102

    (work / "kmeans.py").write_text(KMEANS.replace("np.round(centres, 3)", "np.round(centres, 1)"))
    committed = user("commit", "e1", cwd=work)
    assert committed.stdout != first.stdout

    tree = user("list", cwd=work).stdout.splitlines()[1:]
    assert [(line.startswith("  "), line.split()[0]) for line in tree] == [
        (False, "e1"), (True, "e2"), (True, "e4"), (True, "e5"), (False, "e3"),
    ]  # fmt: skip
    assert "argument 1: '4' became '3'" in user("show", "e2", cwd=work).stdout
    told = json.loads(user("show", "--detail", "--json", "e2", cwd=work).stdout)
    kinds = {Path(each["path"]).name: each["kind"] for each in told["files"]}
    assert kinds["main.sh"] == kinds["kmeans.py"] == "user program"
    assert (kinds["data.csv"], kinds["result.txt"]) == ("input", "output")
    assert packages(told)["pip", "numpy"] == np.__version__
    if shutil.which("dpkg-query"):
        query = ["dpkg-query", "-W", "-f", "${Version}", "libc6"]
        version = subprocess.run(query, capture_output=True, text=True, check=False).stdout
        assert packages(told)["dpkg", "libc6"] == version
        import ssl  # which the demonstration's program loads, too

        assert ssl.OPENSSL_VERSION
        maps = Path("/proc/self/maps").read_text()
        library = next((line.split()[-1] for line in maps.splitlines() if "/libssl" in line), "")
        owner = subprocess.run(
            ["dpkg-query", "-S", library], capture_output=True, text=True, check=False
        ).stdout
        if owner:
            name = owner.partition(":")[0]
            query = ["dpkg-query", "-W", "-f", "${Version}", name]
            version = subprocess.run(query, capture_output=True, text=True, check=False).stdout
            rows = [line.split() for line in user("show", "--detail", "e2", cwd=work).stdout.splitlines()]
            assert [name, version, "dpkg"] in [row[:3] for row in rows]
            assert ["numpy", np.__version__, "pip"] in [row[:3] for row in rows]
    assert "wasStartedBy" in user("prov", "e1", cwd=work).stdout

    shared = tmp_path / "shared.provcrt"
    user("export", "e5", shared, cwd=work)
    shutil.rmtree(work)
    other = tmp_path / "somewhere else"
    other.mkdir()
    assert "e1, e5" in user("open", shared, cwd=other, name="second").stdout
    assert user("repeat", "e1", "--strict", cwd=other, name="second").stdout == first.stdout
    assert user("repeat", "e5", "--strict", cwd=other, name="second").stdout == committed.stdout
    assert user("given", "3", "repeat", "e1", "%1", cwd=other, name="second").stdout == given.stdout
    theirs = json.loads(user("show", "--detail", "--json", "e6", cwd=other, name="second").stdout)
    assert packages(theirs) == packages(told)


def test_another_user_repeats_it_where_nothing_of_it_is(user, tmp_path):
    """Really another one, by another interpreter, who cannot read what it was made of."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if os.geteuid() != 0 or python is None:
        pytest.skip("only root can be another user")
    nobody = pwd.getpwnam("nobody")
    theirs = Path(tempfile.mkdtemp(prefix="provcrt-other-", dir="/tmp"))
    try:
        os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
        paths = [Path(provcrt_kernel.__file__).parent.parent, Path(np.__file__).parent.parent]
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(theirs), "PYTHONPATH": ":".join(map(str, paths))}

        def other(*words):
            return subprocess.run(
                [python, "-m", "provcrt_kernel.cli", *map(str, words)], cwd=theirs, env=environ, user=nobody.pw_uid,
                group=nobody.pw_gid, extra_groups=[], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            )  # fmt: skip

        if other("--version").returncode or other("doctor").returncode:
            pytest.skip("what is installed here cannot be used by other users")
        work = tmp_path / "work"
        work.mkdir()
        (work / "data").write_text("1\n2\n3\n")
        (work / "main.py").write_text("import sys\nprint(sum(map(int, open('data'))) * int(sys.argv[1]))\n")
        user("exec", sys.executable, "main.py", "2", cwd=work)
        user("export", "e1", theirs / "x.provcrt", cwd=work)
        shutil.rmtree(work)
        for words, shown in (
            (["open", "x.provcrt", "--name", "p"], "e1"),
            (["repeat", "e1", "--strict"], "12"),
            (["given", "3", "repeat", "e1", "%2"], "18"),
            (["show", "--detail", "e2"], "main.py"),
        ):
            said = other(*words)
            assert said.returncode == 0, said.stderr
            assert shown in said.stdout
    finally:
        shutil.rmtree(theirs)


def test_the_demonstration_of_a_notebook(user, tmp_path):
    sources = ["n = int(open('n').read())\nprint(n)", "m = 7", "print(m * 6)"]
    book = new_notebook(cells=[new_code_cell(source, id=f"c{n}") for n, source in enumerate(sources)])
    nbformat.write(book, tmp_path / "study.ipynb")
    (tmp_path / "n").write_text("1")
    user("exec", "study.ipynb", cwd=tmp_path)
    (tmp_path / "n").write_text("2")
    told = json.loads(user("repeat", "e1", "--json", cwd=tmp_path).stdout)
    assert [cell["status"] for cell in told["cells"]] == ["replayed"] * 3
    assert told["verdict"]["word"] == "reproduced"  # on what was kept
    told = json.loads(user("repeat", "e1", "--no-isolation", "--json", cwd=tmp_path).stdout)
    assert [cell["status"] for cell in told["cells"]] == ["executed", "replayed", "replayed"]
    assert told["verdict"]["word"] == "diverged"  # on what is here now

    user("exec", "study.ipynb", "-p", "m=5", "-o", "executed.ipynb", cwd=tmp_path)
    shown = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    assert shown.cells[0].source == "# Parameters\nm = 5"
    again = json.loads(user("repeat", "e2", "--json", cwd=tmp_path).stdout)
    assert again["verdict"]["word"] == "reproduced"
