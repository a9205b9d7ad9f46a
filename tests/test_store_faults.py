"""The store when things go wrong for real: kills, torn and altered files, full and read-only disks, locks."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from provcrt_kernel.store import Store, StoreError, digest

KEY = bytes(range(32))
SIZES = [10, 1000, 40_000, 300_000]

WRITER = """
import random, sys
from pathlib import Path
from provcrt_kernel.store import Store
folder, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
store = Store.open(folder, key=bytes(range(32)))
for number in range(rounds):
    with store.batch():
        names = [store.put(chance.randbytes(chance.choice([10, 1000, 40_000, 300_000]))) for _ in range(3)]
        store.note("shared", str(seed).encode())
        store.add(f"key{seed}", f"{seed}-{number}", " ".join(names).encode(), worth=1, blobs=names)
    print(number, flush=True)
store.close()
"""


def writer(folder, seed, rounds):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(seed), str(rounds)], stdout=subprocess.PIPE, text=True
    )


def verify(store, seed):
    """Return how many records a writer left under its key, each with all of its blobs."""
    found = store.candidates(f"key{seed}")
    for id, record in found:
        for name in record.decode().split():
            assert store.get(name) is not None, (id, name)
    return len(found)


def test_two_processes_write_at_once_and_lose_nothing(tmp_path):
    Store.open(tmp_path, key=KEY).close()
    pair = [writer(tmp_path, 1, 60), writer(tmp_path, 2, 60)]
    assert [process.communicate()[0].split()[-1] for process in pair] == ["59", "59"]
    assert [process.returncode for process in pair] == [0, 0]
    with Store.open(tmp_path, key=KEY) as store:
        assert [verify(store, seed) for seed in (1, 2)] == [16, 16]
        assert store.candidates("key1")[0][0] == "1-59"
        assert store.noted("shared") in (b"1", b"2")
        assert store.damaged == []


def test_processes_that_open_a_new_store_at_once_share_it(tmp_path):
    several = [writer(tmp_path, seed, 3) for seed in range(4)]
    for process in several:
        process.communicate()
        assert process.returncode == 0
    with Store.open(tmp_path, key=KEY) as store:
        assert [verify(store, seed) for seed in range(4)] == [3] * 4


def test_a_kill_at_any_moment_loses_at_most_the_batch_in_flight(tmp_path, monkeypatch):
    chance = random.Random(5)
    for seed in range(8):
        process = writer(tmp_path, seed, 100_000)
        process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        process.kill()
        committed = [0, *map(int, process.communicate()[0].split())][-1]
        with Store.open(tmp_path, key=KEY) as store:
            verify(store, seed)
            newest = int(store.candidates(f"key{seed}")[0][0].partition("-")[2])
            assert committed <= newest <= committed + 1
            assert store.damaged == []
    monkeypatch.setattr("provcrt_kernel.store.collect.GRACE", -1.0)
    with Store.open(tmp_path, key=KEY) as store:
        store.collect()  # the files of batches that never came to their commit
        named = {row.file for row in store._guard.table.rows() if row.file}
        assert {str(path.relative_to(tmp_path / "v1")) for path in tmp_path.rglob("*.val")} == named
        assert all(verify(store, seed) for seed in range(8))


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_a_damaged_blob_is_absent_and_can_be_put_again(tmp_path, size, harm):
    data = random.Random(size).randbytes(size)
    with Store.open(tmp_path, key=KEY) as store:
        name = store.put(data)
    files = list(tmp_path.rglob("*.val"))
    altered = {
        "flip": data[:50] + bytes([data[50] ^ 1]) + data[51:],
        "truncate": data[: size // 2],
        "remove": None,
    }[harm]
    if files and altered is None:
        files[0].unlink()
    elif files:
        files[0].write_bytes(altered)
    else:
        with contextlib.closing(sqlite3.connect(tmp_path / "v1" / "cache.db")) as database, database:
            database.execute("UPDATE Cache SET value = ?", (altered,))
    with Store.open(tmp_path, key=KEY) as store:
        assert not store.restore(name, tmp_path / "out")
        assert os.listdir(tmp_path) == ["v1"]
        assert store.get(name) is None
        assert len(store.damaged) == 1
        assert name in store.damaged[0]
        assert not store.has(name)
        assert store.put(data) == name
        assert store.get(name) == data


def test_a_torn_file_is_written_anew_even_before_anyone_reads_it(tmp_path):
    data = bytes(100_000)
    with Store.open(tmp_path, key=KEY) as store:
        name = store.put(data)
        os.truncate(next(tmp_path.rglob("*.val")), 5)
        assert not store.has(name)
        store.put(data)
        assert store.get(name) == data
        assert store.damaged == []


def test_a_forged_record_is_a_miss(tmp_path):
    with Store.open(tmp_path, key=KEY) as store:
        store.add("k", "good", b"first", worth=1, blobs=[])
        store.add("k", "evil", b"second", worth=1, blobs=[])
        store.add("other", "moved", b"third", worth=1, blobs=[])
    with contextlib.closing(sqlite3.connect(tmp_path / "v1" / "cache.db")) as database, database:
        sealed = dict(database.execute("SELECT key, value FROM Cache"))
        forged = sealed["record:evil"][:-1] + b"!"
        database.execute("UPDATE Cache SET value = ? WHERE key = 'record:evil'", (forged,))
        listed = sealed["key:k"].replace(b"good", b"bood")
        database.execute("UPDATE Cache SET value = ? WHERE key = 'key:other'", (sealed["key:k"],))
        assert listed != sealed["key:k"]
    with Store.open(tmp_path, key=KEY) as store:
        assert store.candidates("k") == [("good", b"first")]
        assert store.candidates("other") == []
        assert store.record("evil") is None
        assert store.record("moved") == b"third"


def test_nothing_found_in_a_database_is_unpickled_or_leads_out_of_the_folder(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    pickled = b"cos\nsystem\n(S'touch %s'\ntR." % str(tmp_path / "owned").encode()
    with Store.open(tmp_path / "s", key=KEY) as store:
        names = [store.put(bytes([n]) * 40_000) for n in range(2)]
    with contextlib.closing(sqlite3.connect(tmp_path / "s" / "v1" / "cache.db")) as database, database:
        put = "UPDATE Cache SET mode = ?, filename = ?, value = ? WHERE key = ?"
        database.execute(put, (4, None, pickled, f"blob:{names[0]}"))
        database.execute(put, (2, "../../victim", None, f"blob:{names[1]}"))
    monkeypatch.setattr("provcrt_kernel.store.collect.GRACE", -1.0)
    with Store.open(tmp_path / "s", key=KEY) as store:
        assert [store.get(name) for name in names] == [None, None]
        store.collect(limit=0)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("harm", ["truncate", "overwrite"])
def test_a_damaged_database_is_moved_aside_and_a_new_one_begun(tmp_path, harm):
    with Store.open(tmp_path, key=KEY) as store:
        for number in range(200):
            store.put(bytes([number]) * 3000)
    database = tmp_path / "v1" / "cache.db"
    if harm == "truncate":
        os.truncate(database, 40_000)
    else:
        database.write_bytes(b"no database at all " * 1000)
    with Store.open(tmp_path, key=KEY) as store:
        assert "moved to damaged-" in store.damaged[0]
        assert store.get(digest(bytes(3000))) is None
        assert store.get(store.put(b"new")) == b"new"
    assert len(list(tmp_path.glob("damaged-*/cache.db"))) == 1


def test_damage_met_in_the_middle_is_a_miss_and_is_moved_aside_at_the_next_opening(tmp_path):
    with Store.open(tmp_path, key=KEY) as store:
        names = [store.put(bytes([number]) * 3000) for number in range(200)]
    database = tmp_path / "v1" / "cache.db"
    size = database.stat().st_size
    with database.open("r+b") as file:  # every page but the first few
        file.seek(16 * 4096)
        file.write(b"\xff" * (size - 16 * 4096))
    with Store.open(tmp_path, key=KEY) as store:
        for number, name in enumerate(names):
            assert store.get(name) in (None, bytes([number]) * 3000)
        assert any("malformed" in line for line in store.damaged)
    with Store.open(tmp_path, key=KEY) as store:
        assert any("moved to damaged-" in line for line in store.damaged)
        assert store.put(b"x")


def test_a_lock_that_someone_holds_is_one_line_within_five_seconds(tmp_path):
    with Store.open(tmp_path, key=KEY) as store:
        name = store.put(b"before")
        hog = sqlite3.connect(tmp_path / "v1" / "cache.db", isolation_level=None)
        hog.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        with pytest.raises(StoreError, match="locked") as caught:
            store.put(b"after")
        assert time.monotonic() - start < 5
        assert "\n" not in str(caught.value)
        assert store.get(name) == b"before"  # readers do not wait for writers
        start = time.monotonic()
        with pytest.raises(StoreError, match="cannot be opened"):
            Store.open(tmp_path, key=KEY)
        assert time.monotonic() - start < 5
        hog.execute("ROLLBACK")
        hog.close()
        assert store.put(b"after")
        assert store.damaged == []


@pytest.fixture
def tiny(tmp_path):
    """A file system of 4 MB of its own."""
    target = tmp_path / "tiny"
    target.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(target)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(
            f"mounting is not allowed here, so no full disk was tried: {done.stderr.decode().strip()}"
        )
    yield target
    subprocess.run(["umount", "-l", str(target)], check=True)


@pytest.mark.parametrize("size", [20_000, 300_000])
def test_a_full_disk_is_one_line_and_what_was_there_stays(tiny, size):
    chance = random.Random(1)
    kept = {}
    with Store.open(tiny / "store", key=KEY) as store:

        def fill():
            while True:
                data = chance.randbytes(size)
                kept[store.put(data)] = data

        with pytest.raises(StoreError, match=r"full|no space") as caught:
            fill()
        assert "provcrt gc" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert kept
        assert all(store.get(name) == data for name, data in kept.items())
        assert store.damaged == []
    with Store.open(tiny / "store", key=KEY, readonly=True) as reader:
        assert all(reader.get(name) == data for name, data in kept.items())


def test_a_full_disk_in_the_middle_of_a_batch_leaves_none_of_it(tiny):
    with Store.open(tiny / "store", key=KEY) as store:
        filling = os.statvfs(tiny).f_bavail * 4096 - 200_000

        def too_much():
            with store.batch():
                store.add("k", "r", b"record", worth=1, blobs=[store.put(b"small")])
                store.put(bytes(filling))
                store.put(os.urandom(400_000))

        with pytest.raises(StoreError, match="no space"):
            too_much()
        assert store.candidates("k") == []
        assert not list(tiny.rglob("*.val"))
        store.add("k", "r", b"record", worth=1, blobs=[])
        assert store.candidates("k") == [("r", b"record")]


def test_a_read_only_mount_is_read_and_says_that_it_cannot_be_written(tiny):
    with Store.open(tiny / "store", key=KEY) as store:
        names = [store.put(b"inline"), store.put(bytes(100_000))]
        store.add("k", "r", b"record", worth=1, blobs=names)
    subprocess.run(["mount", "-o", "remount,ro", str(tiny)], check=True)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tiny / "store", key=KEY)
    with Store.open(tiny / "store", key=KEY, readonly=True) as reader:
        assert [reader.get(name) for name in names] == [b"inline", bytes(100_000)]
        assert reader.candidates("k") == [("r", b"record")]
        assert reader.stats().records == 1
        assert reader.damaged == []


def test_a_reader_sees_what_a_killed_writer_left_in_its_log(tmp_path):
    process = writer(tmp_path / "a", 1, 100_000)
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "a" / "v1" / "cache.db-wal").stat().st_size
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with Store.open(tmp_path / "b", key=KEY, readonly=True) as reader:
        assert verify(reader, 1) >= 5


def test_places_that_cannot_be_a_store_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for folder, readonly in (
        (tmp_path / "file", False),
        (tmp_path / "none", True),
        (tmp_path / "file", True),
    ):
        with pytest.raises(StoreError, match="PROVCRT_STORE") as caught:
            Store.open(folder, key=KEY, readonly=readonly)
        assert "\n" not in str(caught.value)


def test_a_forked_child_leaves_its_parents_store_alone(tmp_path):
    with Store.open(tmp_path, key=KEY) as store:
        name = store.put(b"x")
        store.lease([name])
        child = os.fork()
        if not child:
            store.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert list((tmp_path / "v1" / "leases").iterdir())
        assert store.get(store.put(b"y")) == b"y"
