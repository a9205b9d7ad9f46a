"""Each room imports only from rooms above it: the contract in pyproject.toml, run and provoked."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lint_imports(folder):
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_room_imports_only_from_rooms_above_it():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_contract_is_not_empty(tmp_path):
    """A contract that nothing can break would pass as well: the store must not be able to know a cell."""
    config = (ROOT / "pyproject.toml").read_text()
    package = tmp_path / "provcrt_kernel"
    for room in ("server", "cli", "runtime", "kernel", "replay", "session", "provenance", "trace", "store"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "store" / "wrong.py").write_text("import provcrt_kernel.session\n")
    (tmp_path / "pyproject.toml").write_text(config)
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert "provcrt_kernel.store is not allowed to import provcrt_kernel.session" in result.stdout


def imported(path):
    """Top-level names of the packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def test_gpl_licensed_bindings_are_imported_by_the_fallback_tracer_alone():
    """python-ptrace is GPL-2.0-only: only the backend that needs it may load it, and only when it is used."""
    importers = {
        p.relative_to(ROOT / "provcrt_kernel")
        for p in ROOT.glob("provcrt_kernel/**/*.py")
        if "ptrace" in imported(p)
    }
    assert {path.parent for path in importers} <= {Path("trace")}
    assert len(importers) <= 1


def unpickles(path):
    """Names of what opens pickles in a module: ``pickle.loads`` and its kin, however it was imported."""
    opening, picklers = {"load", "loads", "Unpickler"}, {"pickle", "_pickle", "cloudpickle", "dill"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in picklers:
            yield from {node.attr} & opening
        elif isinstance(node, ast.ImportFrom) and node.module in picklers:
            yield from {alias.name for alias in node.names} & opening


@pytest.mark.parametrize("room", ["store", "trace", "provenance", "runtime"])
def test_nothing_is_unpickled_outside_of_a_kernel_process(room):
    found = {p.name: list(unpickles(p)) for p in (ROOT / "provcrt_kernel" / room).rglob("*.py")}
    assert {name: names for name, names in found.items() if names} == {}
