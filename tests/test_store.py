"""The store against plain Python: hashes, a dictionary, and what eviction and leases promise."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule

from provcrt_kernel.store import Store, StoreError, digest, digest_file, find_store, place
from provcrt_kernel.store import blobs as blobs_module
from provcrt_kernel.store.batch import PER_KEY
from provcrt_kernel.store.lease import leased
from provcrt_kernel.store.seal import Seal

KEY = bytes(range(32))
LARGE = blobs_module.INLINE * 3


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store", key=KEY) as opened:
        yield opened


def settle(store, monkeypatch):
    """Let every blob in the store be old enough to be judged."""
    monkeypatch.setattr("provcrt_kernel.store.collect.GRACE", -1.0)


# Digests


@given(st.binary(max_size=5000))
def test_a_digest_is_xxh3_128_of_the_bytes_whatever_holds_them(data):
    expected = xxhash.xxh3_128_hexdigest(data)
    assert digest(data) == digest(bytearray(data)) == digest(memoryview(data)) == expected
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        assert digest_file(file.name) == expected


def test_arrays_are_hashed_as_they_lie_in_memory():
    array = np.arange(12.0).reshape(3, 4)
    assert digest(array) == digest(array.tobytes())
    assert digest(np.asfortranarray(array)) == digest(array.tobytes("F"))
    assert digest(np.empty((0, 3))) == digest(b"")
    with pytest.raises(BufferError):
        digest(array[:, ::2])


def test_a_file_larger_than_a_chunk_has_the_digest_of_its_bytes(tmp_path):
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "f").write_bytes(data)
    assert digest_file(tmp_path / "f") == digest(data)


# Blobs


@pytest.mark.parametrize("size", [0, 1, LARGE // 3 - 1, LARGE // 3, LARGE])
def test_a_blob_comes_back_from_memory_or_file_in_another_session(tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    with Store.open(tmp_path / "s", key=KEY) as first:
        name = first.put(data)
        assert name == digest(data) == first.put_file(tmp_path / "source")
        assert first.stats().blobs == 1
    with Store.open(tmp_path / "s", key=KEY) as second:
        assert second.has(name)
        assert second.get(name) == data
        assert second.restore(name, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data
        assert not second.damaged


def test_a_blob_that_is_there_is_not_written_again(store):
    data = os.urandom(LARGE)
    store.put(data)
    before = sorted(path.stat().st_ino for path in store.folder.rglob("*.val"))
    store.put(np.frombuffer(data, dtype=np.uint8))
    assert sorted(path.stat().st_ino for path in store.folder.rglob("*.val")) == before


def test_what_is_absent_is_none_and_no_damage(store, tmp_path):
    assert store.get("0" * 32) is None
    assert store.record("nobody") is None
    assert store.noted("nothing") is None
    assert store.candidates("k") == []
    assert not store.restore("0" * 32, tmp_path / "f")
    assert not (tmp_path / "f").exists()
    assert store.damaged == []


# Batches


def test_a_batch_is_seen_by_others_whole_and_only_at_its_end(store):
    with Store.open(store.folder, key=KEY) as other:
        with store.batch():
            small, large = store.put(b"small"), store.put(bytes(LARGE))
            store.add("k", "r", b"record", worth=1, blobs=[small])
            store.note("n", b"note")
            assert [store.get(small), store.get(large)] == [b"small", bytes(LARGE)]
            assert (store.candidates("k"), store.noted("n")) == ([("r", b"record")], b"note")
            assert (other.has(small), other.has(large), other.candidates("k"), other.noted("n")) == (
                False,
                False,
                [],
                None,
            )
            assert other.put(b"nothing is locked meanwhile")
        assert other.candidates("k") == [("r", b"record")]
        assert other.get(large) == bytes(LARGE)


def test_a_batch_that_raises_leaves_nothing(store):
    def interrupted():
        with store.batch():
            store.put(os.urandom(LARGE))
            store.add("k", "r", b"record", worth=1, blobs=[])
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert store.candidates("k") == []
    assert store.stats().blobs == 0
    assert not list(store.folder.rglob("*.val"))


def test_only_the_newest_records_of_a_key_are_kept(store):
    for number in range(PER_KEY + 3):
        store.add("k", f"r{number}", b"", worth=1, blobs=[])
    assert [id for id, _ in store.candidates("k")] == [f"r{n}" for n in range(PER_KEY + 2, 2, -1)]
    assert store.record("r0") is None


def test_a_record_under_another_key_is_no_candidate_of_the_first(store):
    store.add("k", "r", b"first", worth=1, blobs=[])
    store.add("l", "r", b"second", worth=1, blobs=[])
    assert store.candidates("k") == []
    assert store.candidates("l") == [("r", b"second")]


# Seals


def test_a_seal_binds_name_and_value():
    seal = Seal(KEY)
    sealed = seal.close("a", b"value")
    assert seal.open("a", sealed) == b"value"
    assert seal.open("b", sealed) is None
    assert seal.open("a", sealed[:-1] + b"X") is None
    assert seal.open("a", b"") is None
    assert Seal(bytes(32)).open("a", sealed) is None


def test_what_another_user_recorded_is_a_miss_said_once(tmp_path):
    with Store.open(tmp_path, key=KEY) as theirs:
        theirs.add("k", "r", b"evil", worth=1, blobs=[])
        theirs.note("n", b"evil")
    with Store.open(tmp_path, key=bytes(32)) as ours:
        assert ours.candidates("k") == []
        assert ours.record("r") is None
        assert ours.noted("n") is None
        assert len(ours.damaged) == 1
        ours.add("k", "r", b"good", worth=1, blobs=[])
        assert ours.candidates("k") == [("r", b"good")]


def test_the_users_key_is_private_and_lasts(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Store.open(tmp_path / "s") as first:
        first.add("k", "r", b"record", worth=1, blobs=[])
    key = tmp_path / "data" / "provcrt" / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    with Store.open(tmp_path / "s") as second:
        assert second.record("r") == b"record"
    key.chmod(0o644)
    with Store.open(tmp_path / "s") as third:
        assert third.record("r") is None
        assert "chmod 600" in third.damaged[0]


# Eviction


def test_eviction_takes_the_least_seconds_per_byte_then_the_least_recently_used(store, monkeypatch):
    settle(store, monkeypatch)
    sizes = {"cheap": 1, "old": 64, "used": 64, "dear": 4096}  # seconds saved, for the same number of bytes
    for id, worth in sizes.items():
        store.add(f"key of {id}", id, b"", worth=worth, blobs=[store.put(os.urandom(LARGE))])
        time.sleep(0.01)
    store.touch(["old"])
    store.note("a commit", b"to write down the touch")
    assert store.collect(limit=0, dry=True).records == ["cheap", "used", "old", "dear"]
    assert store.stats().records == 4

    done = store.collect(limit=int(LARGE * 2.5))
    assert done.records == ["cheap", "used"]
    assert done.blobs == 2
    assert store.candidates("key of cheap") == []
    assert [store.record(id) for id in sizes] == [None, b"", None, b""]
    assert done.kept == store.stats().bytes <= LARGE * 2.5
    assert len(list(store.folder.rglob("*.val"))) == 2


def test_a_shared_blob_stays_with_its_last_record(store, monkeypatch):
    settle(store, monkeypatch)
    shared = store.put(os.urandom(LARGE))
    store.add("a", "a", b"", worth=1, blobs=[shared])
    store.add("b", "b", b"", worth=9, blobs=[shared])
    store.collect(limit=store.stats().bytes - 1)
    assert (store.record("a"), store.record("b"), store.has(shared)) == (None, b"", True)


def test_blobs_without_a_record_go_once_they_are_old(store, monkeypatch):
    name = store.put(os.urandom(LARGE))
    assert store.collect().blobs == 0
    settle(store, monkeypatch)
    assert store.collect().blobs == 1
    assert not store.has(name)


def test_young_blobs_do_not_drive_records_out(store):
    store.add("k", "r", b"record", worth=1, blobs=[])
    store.put(os.urandom(LARGE))
    assert store.collect(limit=LARGE // 2).records == []


def test_a_store_keeps_to_its_limit_by_itself(tmp_path):
    with Store.open(tmp_path, key=KEY, size_limit=LARGE * 10) as store:
        for number in range(40):
            with store.batch():
                store.add("k" + str(number), str(number), b"", worth=1, blobs=[store.put(os.urandom(LARGE))])
        assert store.stats().bytes <= LARGE * 11
        assert store.record("39") == b""


# Leases


def test_a_lease_holds_while_its_process_lives_and_not_after(tmp_path, monkeypatch):
    code = """
import sys
from pathlib import Path
from provcrt_kernel.store import Store
store = Store.open(Path(sys.argv[1]), key=bytes(range(32)))
name = store.put(bytes(range(256)) * 512)
store.add("k", "r", b"record", worth=1, blobs=[name])
store.lease([name])
print(name, flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    name = child.stdout.readline().strip()
    with Store.open(tmp_path, key=KEY) as store:
        settle(store, monkeypatch)
        assert store.collect(limit=0).records == []
        assert store.get(name) is not None
        child.kill()
        child.wait()
        assert store.collect(limit=0).records == ["r"]
        assert not store.has(name)
        assert list((tmp_path / "v1" / "leases").iterdir()) == []


def test_closing_and_leasing_anew_let_go(store, monkeypatch):
    settle(store, monkeypatch)
    first, second = store.put(b"first"), store.put(b"second")
    store.lease([first])
    store.lease([second])
    store.collect()
    assert (store.has(first), store.has(second)) == (False, True)
    store.close()
    with Store.open(store.folder, key=KEY) as again:
        assert again.collect().blobs == 1


def test_a_lease_from_another_machine_is_honoured_for_a_day(tmp_path):
    path = tmp_path / "abc"
    path.write_text("another-boot pid:[1] 1 1\n" + "d" * 32)
    assert leased(tmp_path) == {"d" * 32}
    os.utime(path, (time.time() - 2 * 86400,) * 2)
    assert leased(tmp_path) == set()
    assert not path.exists()


# Places


def test_a_store_is_found_by_variable_then_project_then_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    assert find_store(deep, {}) == tmp_path / "data" / "provcrt" / "store"
    (tmp_path / "project" / ".provcrt").mkdir()
    assert find_store(deep, {}) == tmp_path / "project" / ".provcrt" / "store"
    assert find_store(deep, {"PROVCRT_STORE": str(tmp_path / "x")}) == tmp_path / "x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_project_folder_of_another_user_is_passed_over(tmp_path):
    (tmp_path / ".provcrt").mkdir()
    os.chown(tmp_path / ".provcrt", 12345, -1)
    assert tmp_path not in find_store(tmp_path, {}).parents


def test_the_write_ahead_log_is_for_local_file_systems_only(tmp_path, monkeypatch):
    assert place.file_system(Path("/proc")) == "proc"
    modes = {"ext4": "wal", "nfs4": "delete", "fuse.sshfs": "delete", "unknown": "delete"}
    for kind, mode in modes.items():
        monkeypatch.setattr(place, "file_system", lambda path, kind=kind: kind)
        with Store.open(tmp_path / kind, key=KEY) as store:
            name = store.put(b"x")
            assert (tmp_path / kind / "v1" / "cache.db-wal").exists() == (mode == "wal")
            assert store.get(name) == b"x"


def test_the_folder_is_for_its_owner_alone(store):
    assert (store.folder / "v1").stat().st_mode & 0o777 == 0o700


# Everything at once


class AgainstADictionary(RuleBasedStateMachine):
    """Any sequence of operations, in batches or not, in one session or the next, acts like dictionaries."""

    names = Bundle("names")

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store.open(Path(self.folder.name), key=KEY)
        self.blobs, self.keys, self.notes = {}, {}, {}
        self.open = []

    @rule(target=names, data=st.binary(max_size=40), times=st.sampled_from([1, 2000]))
    def put(self, data, times):
        name = self.store.put(data * times)
        self.blobs[name] = data * times
        return name

    @rule(name=names)
    def get(self, name):
        assert self.store.has(name) == (name in self.blobs)
        assert self.store.get(name) == self.blobs.get(name)

    @rule(key=st.sampled_from("abc"), number=st.integers(0, 30), record=st.binary(max_size=20))
    def add(self, key, number, record):
        id = f"{key}{number}"
        self.store.add(key, id, record, worth=1, blobs=list(self.blobs)[:2])
        rest = [item for item in self.keys.get(key, []) if item[0] != id]
        self.keys[key] = [(id, record), *rest][:PER_KEY]

    @rule(key=st.sampled_from("abcd"))
    def candidates(self, key):
        expected = self.keys.get(key, [])
        assert self.store.candidates(key) == expected
        assert all(self.store.record(id) == record for id, record in expected)

    @rule(name=st.text(max_size=3), value=st.binary(max_size=9))
    def note(self, name, value):
        self.store.note(name, value)
        self.notes[name] = value

    @rule(name=st.text(max_size=3))
    def noted(self, name):
        assert self.store.noted(name) == self.notes.get(name)

    @rule()
    def enter(self):
        batch = self.store.batch()
        batch.__enter__()
        self.open.append((batch, dict(self.blobs), dict(self.keys), dict(self.notes)))

    @precondition(lambda self: self.open)
    @rule()
    def leave(self):
        self.open.pop()[0].__exit__(None, None, None)

    @precondition(lambda self: self.open)
    @rule()
    def abandon(self):
        _, self.blobs, self.keys, self.notes = self.open[0]
        while self.open:
            with contextlib.suppress(KeyError):
                self.open.pop()[0].__exit__(KeyError, KeyError(), None)

    @precondition(lambda self: not self.open)
    @rule()
    def reopen(self):
        self.store.close()
        self.store = Store.open(Path(self.folder.name), key=KEY)

    @precondition(lambda self: not self.open)
    @rule()
    def collect_what_is_young(self):
        assert self.store.collect(limit=1 << 40).records == []

    def teardown(self):
        if hasattr(self, "store"):
            while self.open:
                self.leave()
            assert self.store.damaged == []
            self.store.close()
            self.folder.cleanup()


AgainstADictionary.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAgainstADictionary = AgainstADictionary.TestCase


def test_a_store_opened_for_reading_refuses_to_write(tmp_path):
    with Store.open(tmp_path, key=KEY) as store:
        name = store.put(b"x")
    with Store.open(tmp_path, key=KEY, readonly=True) as reader:
        assert reader.get(name) == b"x"
        writes = (lambda: reader.put(b"y"), lambda: reader.note("n", b""), lambda: reader.lease([name]))
        for write in writes:
            with pytest.raises(StoreError, match="read-only"):
                write()
