"""What goes wrong around the kernel never goes wrong in it: cells run, one line says what is off, nothing shown is wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernels import Kernel, install_kernelspecs, running

CELLS = [
    "x = [1, 2]",
    "x.append(len(x)); print(x)",
    "open('made.txt', 'w').write(str(sum(x)));",
    "print(open('made.txt').read())",
]
SHOWN = ["", "[1, 2, 2]\n", "", "5\n"]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_kernelspecs(tmp_path_factory.mktemp("prefix"))


def session(specs: Path, folder: Path, store: Path, **environment: str) -> list[tuple[str, str, str]]:
    """Run `CELLS` in a new kernel: status, stdout and stderr of each."""
    with running(
        "provcrt", specs, folder, store=store, environment={"PROVCRT_COST_POLICY": "off", **environment}
    ) as kernel:
        return [ran(kernel, code) for code in CELLS]


def ran(kernel: Kernel, code: str) -> tuple[str, str, str]:
    exchange = kernel.execute(code)
    assert exchange.content["status"] == "ok", exchange.content
    texts = {"stdout": "", "stderr": ""}
    for content in exchange.of("stream"):
        texts[content["name"]] += content["text"]
    return (exchange.report or {}).get("status", ""), texts["stdout"], texts["stderr"]


def check(rows: list[tuple[str, str, str]]) -> str:
    """Outputs must be right; returns what was said on stderr."""
    assert [stdout for _, stdout, _ in rows] == SHOWN
    return "".join(stderr for _, _, stderr in rows)


def lines_of_ours(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("provcrt: ")]


def test_all_is_replayed_where_nothing_is_wrong(specs: Path, tmp_path: Path) -> None:
    check(session(specs, tmp_path, tmp_path / "store"))
    rows = session(specs, tmp_path, tmp_path / "store")
    assert not lines_of_ours(check(rows))
    assert [status for status, _, _ in rows] == ["replayed"] * len(CELLS)


def test_store_that_cannot_be_opened(specs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = lines_of_ours(check(session(specs, tmp_path, tmp_path / "file")))
    assert len(said) == 1
    assert "not recorded" in said[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk(specs: Path, tmp_path: Path, small_disk: Path) -> None:
    check(session(specs, tmp_path, small_disk / "store"))
    fill = small_disk / "fill"
    left = os.statvfs(small_disk)
    with contextlib.suppress(OSError):
        fill.write_bytes(b"x" * left.f_bavail * left.f_frsize)
    changed = ["x = [1, 2, 3]", *CELLS[1:]]
    with running("provcrt", specs, tmp_path, store=small_disk / "store") as kernel:
        rows = [ran(kernel, code) for code in changed]
    assert [stdout for _, stdout, _ in rows] == ["", "[1, 2, 3, 3]\n", "", "9\n"]
    assert len(lines_of_ours("".join(stderr for _, _, stderr in rows))) >= 1


def blobs(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file()]


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damaged_store(specs: Path, tmp_path: Path, damage: str) -> None:
    store = tmp_path / "store"
    check(session(specs, tmp_path, store))
    for path in blobs(store):
        data = path.read_bytes()
        if damage == "truncate":
            path.write_bytes(data[: len(data) // 2])
        elif damage == "flip":
            path.write_bytes(
                bytes(byte ^ 0xFF if number % 97 == 50 else byte for number, byte in enumerate(data))
            )
        else:
            path.unlink()
    check(session(specs, tmp_path, store))
    rows = session(specs, tmp_path, store)
    check(rows)


def test_lost_snapshots_are_recomputed(specs: Path, tmp_path: Path) -> None:
    """Records hold, but what they kept is gone: state comes back by running cells again, never wrong."""
    big = [
        "import os\nx = os.urandom(8)\ny = [bytes(100_000), 1]",
        "print(len(y[0]))",
        "print(len(y[0]) + 1)",
    ]
    store = tmp_path / "store"
    with running(
        "provcrt", specs, tmp_path, store=store, environment={"PROVCRT_COST_POLICY": "off"}
    ) as kernel:
        for code in big:
            kernel.execute(code)
    for path in blobs(store):
        if path.stat().st_size > 90_000 and "db" not in path.name:
            path.unlink()
    with running("provcrt", specs, tmp_path, store=store) as kernel:
        texts = [kernel.execute(code).text() for code in [*big[:2], "print(len(y[0]) + 2)"]]
    assert texts == ["", "100000\n", "100002\n"]


def test_where_processes_cannot_be_traced(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no mechanism works, only cells that touch no file are recorded, and the kernel says so once."""
    monkeypatch.setenv("PROVCRT_TRACER", "none")
    for statuses in (["executed"] * 4, ["replayed", "replayed", "executed", "executed"]):
        rows = session(specs, tmp_path, tmp_path / "store")
        assert len(lines_of_ours(check(rows))) == 1
        assert [status for status, _, _ in rows] == statuses


def test_store_that_vanishes_in_the_middle(specs: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with running("provcrt", specs, tmp_path, store=store) as kernel:
        rows = [ran(kernel, CELLS[0])]
        shutil.rmtree(store)
        rows += [ran(kernel, code) for code in CELLS[1:]]
    check(rows)
