"""The example notebooks: fit to be committed, and true under edits.

Each edit that a notebook suggests is made here. What is shown afterwards must be what plain ipykernel shows
for the same edit in a fresh folder, and the cells that the text says are replayed must be.
"""

import os
import re
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

NAMES = ("quickstart", "pipeline", "model", "lesson/kmeans", "study/study")


@pytest.mark.parametrize("name", NAMES)
class TestCommitted:
    """What stands in the repository, without running it."""

    @pytest.fixture
    def notebook(self, name):
        return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)

    def test_it_is_valid_and_names_the_kernel(self, notebook):
        nbformat.validate(notebook)
        assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
        spec = notebook.metadata.kernelspec
        assert (spec.name, spec.display_name, spec.language) == ("provcrt", "PROV-CRT Python", "python")

    def test_its_cells_have_short_ids_that_say_what_they_are(self, notebook):
        for cell in notebook.cells:
            assert re.fullmatch(r"[a-z]+(-[a-z]+)?", cell.id), cell.id

    def test_it_was_run_once_from_top_to_bottom_and_nothing_failed(self, notebook):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert not [cell.id for cell in code for output in cell.outputs if output.output_type == "error"]

    def test_nothing_that_it_shows_depends_on_the_machine(self, notebook):
        """No addresses, no absolute paths, no warnings with the place of a library."""
        unstable = re.compile(r"0x[0-9a-f]{6,}|/(?:home|root|tmp|usr|Users)/|site-packages|Warning:")
        for cell in notebook.cells:
            for output in cell.get("outputs", ()):
                texts = [
                    output.get("text", ""),
                    *(v for k, v in output.get("data", {}).items() if k[:4] == "text"),
                ]
                assert not [found for text in texts for found in unstable.findall(text)], cell.id


def test_the_data_are_small():
    assert all(path.stat().st_size < 50_000 for path in (NOTEBOOKS / "data").iterdir())


@dataclass
class Desk:
    """A copy of the examples in a folder of its own, and the notebook that is being worked on."""

    folder: Path
    notebook: nbformat.NotebookNode
    env: dict

    @classmethod
    def of(cls, name, top):
        folder = top / "examples"
        shutil.copytree(
            NOTEBOOKS, folder, ignore=shutil.ignore_patterns("out", "__pycache__", ".ipynb_checkpoints")
        )
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # shell cells run `python`
        own = {"PROVCRT_STORE": str(top / "store"), "IPYTHONDIR": str(top / "ipython"), "PATH": programs}
        env = {**os.environ, **own}
        return cls(folder, running.read(folder / f"{name}.ipynb"), env)

    def run(self, kernel="provcrt"):
        return running.run(self.notebook, self.folder, kernel=kernel, env=self.env)

    def shown(self, *, without=("clock",)):
        return {c.id: c.outputs for c in self.notebook.cells if c.cell_type == "code" and c.id not in without}

    def files(self):
        return {
            p.relative_to(self.folder): p.read_bytes()
            for p in (self.folder / "out").rglob("*.*")
            if p.is_file()
        }

    def replace(self, path, old, new):
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def kernelspec(tmp_path_factory):
    """Install the kernel where Jupyter of this process looks, and nowhere else."""
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run([sys.executable, "-m", "provcrt_kernel", "install", "--prefix", prefix], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(prefix / "share" / "jupyter"))
        yield


def why(run):
    """Tell which cells were executed, and why each."""
    return {cell.id: cell.reason for cell in run.cells if cell.status != "replayed"}


def small(desk):
    """Make the slow cell of the quickstart quick."""
    running.edit(desk.notebook, "constants", "RESAMPLES = 10_000", "RESAMPLES = 200")
    return desk


@pytest.fixture
def quickstart(tmp_path, kernelspec):
    desk = small(Desk.of("quickstart", tmp_path))
    desk.run()
    return desk


@pytest.fixture
def pipeline(tmp_path, kernelspec):
    desk = Desk.of("pipeline", tmp_path)
    desk.run()
    return desk


@pytest.fixture
def plain(tmp_path):
    """Run a fresh copy on plain ipykernel after the same change; what it shows and the files it leaves."""

    def from_scratch(name, change):
        top = tmp_path / "plain"
        desk = Desk.of(name, top)
        if name == "quickstart":
            small(desk)
        change(desk)
        desk.run("python3")
        return desk

    return from_scratch


@pytest.mark.parametrize("name", ["quickstart", "pipeline"])
def test_a_fresh_run_shows_what_is_committed_and_a_restart_runs_nothing(name, tmp_path, kernelspec):
    desk = Desk.of(name, tmp_path)
    committed = desk.shown()
    assert desk.run().executed == tuple(committed) + ("clock",) * (name == "quickstart")
    assert desk.shown() == committed
    everything = desk.shown(without=())
    assert why(desk.run()) == {}
    assert desk.shown(without=()) == everything


def level(desk):
    running.edit(desk.notebook, "interval", "LEVEL = 0.95", "LEVEL = 0.99")


def tallest(value):
    return lambda desk: running.edit(desk.notebook, "constants", "TALLEST_MM = 250", f"TALLEST_MM = {value}")


def comment(desk):
    running.edit(desk.notebook, "clean", "seedlings = raw", "# one row per seedling\nseedlings = raw")


def measurement(desk):
    desk.replace("data/seedlings.csv", "s001,A,14,40,122.3", "s001,A,14,40,112.3")


def touch(desk):
    os.utime(desk.folder / "data" / "seedlings.csv")


@pytest.mark.parametrize(
    ("change", "runs", "replayed"),
    [
        (level, {"interval"}, {"imports", "load", "clean", "slope", "bootstrap"}),
        (comment, set(), {"imports", "load", "clean", "slope", "bootstrap", "interval", "figure", "answer"}),
        (
            tallest(251),
            {"constants", "clean"},
            {"imports", "load", "means", "bootstrap", "interval", "answer"},
        ),
        (tallest(120), {"constants", "clean", "bootstrap", "answer"}, {"imports", "load"}),
        (measurement, {"load", "clean", "slope", "bootstrap"}, {"imports", "constants"}),
        (touch, set(), {"imports", "load", "clean", "slope", "bootstrap", "interval", "figure", "answer"}),
    ],
    ids=["level", "comment", "tallest-same", "tallest-differs", "data", "touch"],
)
def test_edits_of_the_quickstart(quickstart, plain, change, runs, replayed):
    change(quickstart)
    executed = set(quickstart.run().executed)
    assert runs <= executed
    assert not replayed & executed
    assert quickstart.shown() == plain("quickstart", change).shown()


def flood(desk):
    desk.replace("data/pipeline.toml", "upper = 2.0", "upper = 2.2")


def reading(desk):
    path = desk.folder / "data" / "gauges.log"
    path.write_text(path.read_text().replace(" --\n", " 1.23 m\n", 1))


def helper(desk):
    desk.replace("cleaning.py", 'f"{level:.2f}"', 'f"{level:.1f}"')


@pytest.mark.parametrize(
    ("change", "runs", "replayed"),
    [
        (lambda _: None, set(), {"settings", "split", "daily", "merge", "report", "sums"}),
        (flood, {"settings", "floods", "report", "show"}, {"split", "peek", "failed", "merge"}),
        (reading, {"split", "failed", "clean"}, {"settings", "module"}),
        (helper, {"module", "daily", "merge", "levels"}, {"settings", "split", "failed"}),
    ],
    ids=["nothing", "settings", "log", "helper"],
)
def test_edits_around_the_pipeline(pipeline, plain, change, runs, replayed):
    change(pipeline)
    executed = set(pipeline.run().executed)
    assert runs <= executed
    assert not replayed & executed
    reference = plain("pipeline", change)
    assert pipeline.shown() == reference.shown()
    assert pipeline.files() == reference.files()


def test_deleted_files_are_put_back_without_running(pipeline):
    files = pipeline.files()
    shutil.rmtree(pipeline.folder / "out")
    assert why(pipeline.run()) == {}
    assert pipeline.files() == files
