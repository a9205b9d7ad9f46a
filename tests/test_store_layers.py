"""Stores below a user's own: a hit from there is a hit, and whatever is wrong with one is as if it were not there."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels import OURS, install_kernelspecs, running

from provcrt_kernel.store import Store, digest, find_store, shared_stores, stores_below
from provcrt_kernel.store.place import own_store

LARGE = bytes(range(256)) * 400
MINE, THEIRS = bytes(32), bytes([1]) * 32


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A store that somebody else filled."""
    with Store.open(tmp_path / "shared", key=THEIRS) as store, store.batch():
        blobs = [store.put(b"small"), store.put(LARGE)]
        store.add("key", "theirs", b"their record", worth=1.0, blobs=blobs)
        store.add("both", "old", b"below", worth=1.0, blobs=[])
        store.note("cell:x", b"their note")
    return tmp_path / "shared"


def state(folder: Path) -> dict[str, bytes]:
    """Every file with its content, less what SQLite puts beside a database while it is read."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(("-wal", "-shm")))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_what_is_below_is_there_and_stays_as_it_is(shared: Path, tmp_path: Path) -> None:
    before = state(shared)
    with Store.open(tmp_path / "own", key=MINE, below=[shared]) as store:
        assert store.candidates("key") == [("theirs", b"their record")]
        assert store.record("theirs") == b"their record"
        assert store.get(digest(b"small")) == b"small"
        assert store.get(digest(LARGE)) == LARGE
        assert store.has(digest(LARGE))
        assert store.restore(digest(LARGE), tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == LARGE
        assert store.noted("cell:x") is None  # what stood where is each user's own
        store.add("both", "new", b"above", worth=1.0, blobs=[])
        store.add("key", "theirs", b"mine now", worth=1.0, blobs=[])
        assert store.candidates("both") == [("new", b"above"), ("old", b"below")]
        assert store.candidates("key") == [("theirs", b"mine now")]
        assert set(store.ids()) == {"theirs", "old", "new"}
        store.touch(["old"])
        store.lease([digest(LARGE)])
        store.drop(["old", "theirs"])
        store.collect(0)
        assert store.record("old") == b"below"
        assert store.damaged == []
    assert state(shared) == before


def test_a_store_on_a_read_only_mount_can_lie_below(shared: Path, tmp_path: Path) -> None:
    for folder, _, files in os.walk(shared):
        os.chmod(folder, 0o555)
        for file in files:
            os.chmod(Path(folder) / file, 0o444)
    with Store.open(tmp_path / "own", key=MINE, below=[shared]) as store:
        assert store.record("theirs") == b"their record"
    assert not (shared / "v1" / "damaged").exists()


def test_records_of_a_forger_are_not_believed_where_nobody_trusts_the_store(shared: Path) -> None:
    with Store.open(shared, key=MINE) as store:
        assert store.record("theirs") is None


@pytest.mark.parametrize("loose", ["", "v1", "v1/cache.db"])
def test_a_store_that_anybody_may_write_to_is_not_used(shared: Path, tmp_path: Path, loose: str) -> None:
    (shared / loose).chmod(0o777)
    with Store.open(tmp_path / "own", key=MINE, below=[shared]) as store:
        assert store.record("theirs") is None
        [line] = store.damaged
        assert "anybody may write" in line


def test_what_is_no_store_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    view = tmp_path / "view" / "v1"
    view.mkdir(parents=True)
    with sqlite3.connect(view / "cache.db") as connection:
        connection.execute(
            "CREATE VIEW Cache AS WITH RECURSIVE c(key) AS (SELECT 1 UNION ALL SELECT key + 1 FROM c) SELECT key FROM c"
        )
    below = [tmp_path / name for name in ("nowhere", "file", "empty", "view")]
    with Store.open(tmp_path / "own", key=MINE, below=below) as store:
        assert len(store.damaged) == 4
        assert store.candidates("key") == []
        store.add("key", "mine", b"1", worth=1.0, blobs=[])
        assert store.record("mine") == b"1"


def test_values_that_are_links_pipes_or_other_bytes_are_not_there(shared: Path, tmp_path: Path) -> None:
    [value] = (shared / "v1").rglob("*.val")
    for make in (
        lambda: value.symlink_to("/dev/zero"),
        lambda: os.mkfifo(value),
        lambda: value.write_bytes(LARGE[:-1] + b"!"),
        value.mkdir,
        lambda: None,
    ):
        if value.is_dir():
            value.rmdir()
        else:
            value.unlink(missing_ok=True)
        make()
        with Store.open(tmp_path / "own", key=MINE, below=[shared]) as store:
            assert store.get(digest(LARGE)) is None
            assert not store.restore(digest(LARGE), tmp_path / "copy")
            assert store.get(digest(b"small")) == b"small"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=64))
def test_a_damaged_database_below_is_a_miss_and_never_an_error(
    shared: Path, tmp_path: Path, place: int, what: bytes
) -> None:
    hurt = tmp_path / "hurt"
    shutil.rmtree(hurt, ignore_errors=True)
    shutil.copytree(shared, hurt)
    with open(hurt / "v1" / "cache.db", "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(place % size)
        file.write(what)
    with Store.open(tmp_path / "own", key=MINE, below=[hurt]) as store:
        assert store.get(digest(LARGE)) in (LARGE, None)
        assert store.get(digest(b"small")) in (b"small", None)
        for id, _ in store.candidates("key"):
            assert store.record(id) is not None
        store.has(digest(LARGE))
        store.ids()
        store.restore(digest(b"small"), tmp_path / "copy")
        store.add("own", "mine", b"1", worth=1.0, blobs=[])
        assert store.record("mine") == b"1"


def test_the_environment_names_them() -> None:
    assert shared_stores({}) == []
    assert shared_stores({"PROVCRT_SHARED": "/a:/b:"}) == [Path("/a"), Path("/b")]


def test_a_kernel_replays_what_another_user_recorded(tmp_path: Path) -> None:
    specs = install_kernelspecs(tmp_path / "prefix")
    cells = (
        "import time\ntime.sleep(0.3)\nbig = bytes(100_000)",
        "rows = open('/tmp/../etc/hostname').read()",
        "len(big)",
    )
    teacher = {"XDG_DATA_HOME": str(tmp_path / "teacher")}
    with running(OURS, specs, tmp_path / "t", store=tmp_path / "shared", environment=teacher) as kernel:
        reports = [kernel.execute(cell).report for cell in cells]
        assert [r and r["status"] for r in reports] == ["executed"] * 3
        assert all(r and r["record"] for r in reports)
    before = state(tmp_path / "shared")
    pupil = {"XDG_DATA_HOME": str(tmp_path / "pupil"), "PROVCRT_SHARED": str(tmp_path / "shared")}
    own = tmp_path / "own"
    with running(OURS, specs, tmp_path / "t", store=own, environment=pupil) as kernel:
        answers = [kernel.execute(cell) for cell in cells]
        assert [a.report and a.report["status"] for a in answers] == ["replayed"] * 3
        assert kernel.execute("sum(big), len(big)").result == "(0, 100000)"  # a value from below
        assert answers[0].text("stderr") == ""
    assert state(tmp_path / "shared") == before
    (tmp_path / "shared").chmod(0o777)
    with running(OURS, specs, tmp_path / "t", store=tmp_path / "another", environment=pupil) as kernel:
        answer = kernel.execute(cells[0])
        assert answer.report
        assert answer.report["status"] == "executed"
        assert "anybody may write" in answer.text("stderr")


def test_a_project_reads_what_its_user_recorded_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first branch makes a project of a folder: what was run there until then is replayed, and by its seal alone."""
    monkeypatch.delenv("PROVCRT_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    work = tmp_path / "work"
    work.mkdir()
    assert stores_below(find_store(work, os.environ), os.environ) == []
    with Store.open(find_store(work, os.environ)) as before:
        before.add("key", "known", b"1", worth=1.0, blobs=[])
    with Store.open(find_store(work, os.environ), key=b"x" * 32) as forger:
        forger.add("key", "forged", b"2", worth=1.0, blobs=[])
    (work / ".provcrt").mkdir()
    nobody = tmp_path / "nobody" / "provcrt" / "store"
    nobody.mkdir(parents=True)
    place = find_store(work, os.environ)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_DATA_HOME", str(tmp_path / "nobody"))
        with Store.open(place, below=stores_below(place, os.environ)) as store:
            assert (store.below, store.damaged) == ((), [])
    assert place == work / ".provcrt" / "store"
    below = stores_below(place, os.environ, [tmp_path / "shared"])
    assert below == [own_store(), tmp_path / "shared"]
    with Store.open(place, below=below[:1]) as store:
        assert (store.record("known"), store.record("forged")) == (b"1", None)
    monkeypatch.setenv("PROVCRT_STORE", str(tmp_path / "named"))
    assert stores_below(find_store(work, os.environ), os.environ) == []
