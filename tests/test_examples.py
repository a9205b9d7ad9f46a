"""The lesson and the study: as notebook and as command, beside plain ipykernel, and after edits.

What the documentation tells of them is run by `test_documents`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))

import running  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def kernelspec(tmp_path_factory):
    """Install the kernel where Jupyter of this process looks, and nowhere else."""
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run([sys.executable, "-m", "provcrt_kernel", "install", "--prefix", prefix], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(prefix / "share" / "jupyter"))
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        yield


@dataclass
class Desk:
    """A copy of an example, and its notebook."""

    folder: Path
    notebook: nbformat.NotebookNode
    env: dict[str, str]

    @classmethod
    def of(cls, name, top, profile=None):
        folder = top / name
        ignored = shutil.ignore_patterns("out", "__pycache__", ".ipynb_checkpoints")
        shutil.copytree(NOTEBOOKS / name, folder, ignore=ignored)
        env = {**os.environ, "PROVCRT_STORE": str(top / "store"), "IPYTHONDIR": str(top / "ipython")}
        (path,) = folder.glob("*.ipynb")
        desk = cls(folder, running.read(path), env)
        if profile is not None:
            running.edit(desk.notebook, "parameters", 'PROFILE = "full"', f'PROFILE = "{profile}"')
        return desk

    def run(self, kernel="provcrt"):
        return running.run(self.notebook, self.folder, kernel=kernel, env=self.env, timeout=1200)

    def shown(self, *, without=("latency",)):
        return {c.id: c.outputs for c in self.notebook.cells if c.cell_type == "code" and c.id not in without}

    def files(self):
        out = self.folder / "out"
        # an .npz is a zip file, and those have times in them
        kept = (p for p in out.rglob("*.*") if p.suffix in (".csv", ".json", ".md"))
        return {str(p.relative_to(out)): p.read_bytes() for p in kept}


def by_command(folder: Path, top: Path, *arguments: str) -> str:
    """Run an example's `main.sh` in a copy of its folder; what it prints."""
    ignored = shutil.ignore_patterns("out", "__pycache__")
    shutil.copytree(folder, top, ignore=ignored)
    done = subprocess.run(["./main.sh", *arguments], cwd=top, check=True, capture_output=True, text=True)
    return done.stdout


class TestLesson:
    def test_it_shows_what_is_committed_and_a_restart_runs_nothing(self, tmp_path):
        desk = Desk.of("lesson", tmp_path)
        committed = desk.shown()
        desk.run()
        assert desk.shown() == committed
        assert desk.run().executed == ()
        assert desk.shown() == committed

    def test_each_question_is_answered_by_running_what_it_concerns(self, tmp_path):
        desk = Desk.of("lesson", tmp_path)
        desk.run()
        running.edit(desk.notebook, "parameters", "SEED = 0", "SEED = 1")
        assert set(desk.run().executed) == {"parameters", "steps", "figure"}
        running.edit(desk.notebook, "parameters", "K = 4", "K = 5")
        assert set(desk.run().executed) == {"parameters", "steps", "figure", "command"}
        points = desk.folder / "points.csv"
        points.write_text("".join(points.read_text().splitlines(keepends=True)[1:]))
        assert set(desk.run().executed) == {"points", "steps", "figure", "many", "command"}

    def test_the_notebook_and_the_command_say_the_same(self, tmp_path):
        desk = Desk.of("lesson", tmp_path)
        desk.run()
        told = desk.shown()["command"][0].text.replace("\r\n", "\n")  # of a terminal
        assert by_command(NOTEBOOKS / "lesson", tmp_path / "command", "4") == told


def test_the_study_is_that_of_plain_ipykernel_and_of_the_command(tmp_path):
    desk, plain = Desk.of("study", tmp_path / "ours", "quick"), Desk.of("study", tmp_path / "plain", "quick")
    desk.run()
    plain.run("python3")
    assert desk.shown() == plain.shown()
    assert desk.files() == plain.files()
    by_command(NOTEBOOKS / "study", tmp_path / "command", "quick")
    out = tmp_path / "command" / "out"
    same = [name for name in desk.files() if name != "claims.csv"]  # the command's claims are Markdown
    assert {name: (out / name).read_bytes() for name in same} == {name: desk.files()[name] for name in same}

    assert desk.run().executed == ()
    shutil.rmtree(desk.folder / "out")
    assert desk.run().executed == ()
    assert desk.files() == plain.files()

    running.edit(desk.notebook, "parameters", "POINTS = 1.0", "POINTS = 0.1")
    assert set(desk.run().executed) <= {"parameters", "claims", "write"}
    running.edit(desk.notebook, "bits", 'BITS = list(told["bits"])', "BITS = [7, 5]")
    assert set(desk.run().executed) == {"bits", "bits-figure"}
    energy = desk.folder / "data" / "energy.csv"
    energy.write_text(energy.read_text().replace("fetch,32,5.0", "fetch,32,50"))
    executed = set(desk.run().executed)
    assert {"measured", "energy", "write"} <= executed
    assert not executed & {"networks", "forests", "trained", "bits", "dropped"}


@pytest.mark.sweep
@pytest.mark.timeout(3600)
def test_the_whole_study(tmp_path):
    desk = Desk.of("study", tmp_path, "full")
    desk.run()
    claims = (desk.folder / "out" / "claims.csv").read_text().splitlines()[1:]
    assert len(claims) == 5
    assert all(line.endswith("True") for line in claims)
    assert desk.run().executed == ()
