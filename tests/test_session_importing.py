"""Looks that the import system makes past the tracer: all of them are told, and nothing else goes past."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracing import by_path, traced

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.trace.calls import machine
from provcrt_kernel.trace.page import Page

IMPORT = """
from provcrt_kernel.provenance.packages import library_folders
from provcrt_kernel.session.importing import Imports
imports = Imports()
library_folders()
if {page}: imports.install(tracer.page)
with span("import"):
    import sqlite3, xml.dom.minidom, jupyter_client.manager, pandas.io.formats.style
    try: import no_such_module_anywhere
    except ImportError: pass
with open({out!r}, "w") as file:
    json.dump({{p: s and [s.st_size, s.st_mtime_ns, s.st_mode] for p, s in imports.looks.items()}}, file)
"""


@pytest.fixture(scope="module")
def page() -> Page:
    tables = machine()
    assert tables is not None
    found = Page.map(tables)
    assert found is not None
    return found


@given(st.sampled_from([os.__file__, "/", "/proc/self", "/dev/null", "/etc/hostname", "/bin/sh", "/tmp"]))
def test_a_look_past_the_tracer_says_what_lstat_says(page: Page, path: str) -> None:
    assert page.lstat(path) == os.lstat(path)
    assert page.lstat(path).st_mtime_ns == os.lstat(path).st_mtime_ns


def test_a_directory_listed_past_the_tracer_has_the_names_that_listdir_says(
    page: Page, tmp_path: Path
) -> None:
    for number in range(3000):
        (tmp_path / f"{number} ä").touch()
    for folder in (tmp_path, Path("/"), Path("/dev"), Path(os.__file__).parent):
        assert sorted(page.listdir(str(folder))) == sorted(os.listdir(folder))


@pytest.mark.parametrize("path", ["/no/such", "", "/etc/hostname/x", "/" + "x" * 300])
def test_what_cannot_be_looked_at_raises_as_lstat_does(page: Page, path: str) -> None:
    with pytest.raises(OSError, match=r".*") as plain:
        os.lstat(path)
    with pytest.raises(OSError, match=r".*") as ours:
        page.lstat(path)
    assert ours.value.errno == plain.value.errno


def test_every_look_is_traced_or_told(tmp_path: Path) -> None:
    known: list[dict[str, object]] = []
    for page in (False, True):
        folder = tmp_path / str(page)
        folder.mkdir()
        out = folder / "looks"
        (span,) = traced(IMPORT.format(page=page, out=str(out)), folder)
        assert span.complete, span.problems
        looks = {
            p: s and (s.size, s.mtime_ns, s.mode) if s and s.kind == "file" else s and s.kind
            for p, s in ((p, a.first) for p, a in by_path(span).items())
            if is_library(p) and "/__pycache__" not in p
        }
        told = {
            p: s and (tuple(s) if s[2] & 0o170000 == 0o100000 else "dir")
            for p, s in json.loads(out.read_text()).items()
        }
        assert bool(told) == page
        known.append(
            looks
            | {os.path.realpath(os.path.dirname(p)) + "/" + os.path.basename(p): s for p, s in told.items()}
        )
        if page:
            assert len(looks) < len(told) / 4, "most looks should have gone past the tracer"
    missed = known[0].keys() - known[1].keys()
    assert not missed
    assert all(known[1][path] == seen for path, seen in known[0].items())


def test_only_the_import_system_goes_past_and_no_forked_child(tmp_path: Path) -> None:
    body = """
    import multiprocessing
    from provcrt_kernel.session.importing import Imports
    imports = Imports()
    imports.install(tracer.page)
    def child():
        import wave
    with span("mine"):
        os.stat(os.__file__)
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start(); process.join()
    """
    (span,) = traced(body, tmp_path)
    seen = by_path(span)
    assert seen[os.path.realpath(os.__file__)].by_kernel
    (wave,) = (a for p, a in seen.items() if p.endswith("/wave.py"))
    assert wave.by_child
