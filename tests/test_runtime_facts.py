"""What a run read, told by digest: never the digest of what was there before."""

from __future__ import annotations

import os
import time

from provcrt_kernel.runtime.facts import Facts
from provcrt_kernel.store import Store, digest_file
from provcrt_kernel.trace import Access, Stat


def test_a_large_file_of_a_package_is_hashed_again_when_it_was_written_to(tmp_path):
    """Even where its size and its time are what they were, and its name is no text."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/lib\xff.so")
    with Store.open(tmp_path / "store") as store:
        for content in (b"a", b"a", b"b"):
            with open(path, "wb") as file:
                file.write(content * (1 << 21))
            os.utime(path, (1, 1))
            time.sleep(0.05)  # stamps that are younger prove nothing
            for _ in range(2):
                access = Access(path, Stat.of(os.stat(path)), read=True)
                fact = Facts(store, owned={path}).of(access)
                assert fact is not None
                assert fact.before == digest_file(path)
