"""The tracer under a real kernel: what is kept, by which mechanism, and kernels inside of kernels."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernels import OURS, install_kernelspecs, running

from provcrt_kernel.store import Store
from provcrt_kernel.store.digest import digest

REPLACES = """
text = open("data.txt").read()
with open("data.txt", "w") as file:
    file.write(text.upper())
"""


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_kernelspecs(tmp_path_factory.mktemp("prefix"))


def store_of(folder: Path) -> Path:
    (found,) = {path.parent.parent for path in folder.rglob("cache.db")}
    return found


def test_the_store_has_what_a_cell_read_and_replaced(specs: Path, tmp_path: Path, mechanism: str) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        (kernel.folder / "data.txt").write_text("as it was")
        assert kernel.execute(REPLACES).report["status"] == "executed"
        assert kernel.execute("%provcrt").text().count(f"tracing by {mechanism}") == 1
        assert kernel.execute("1").report["status"] == "executed"
        place = store_of(tmp_path)
        with Store.open(place, readonly=True) as store:
            assert store.get(digest(b"as it was")) == b"as it was"
    assert not list(place.glob("before-*"))


NOTEBOOK = """
import json, os, subprocess, sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="provcrt", cwd="inner")
reports = []
for code in ("open('in.txt').read()", "open('out.txt', 'w').write('x')", "import os; os.path.exists('/nowhere')"):
    reply = client.execute_interactive(code, timeout=60, output_hook=lambda message: None)
    reports.append(reply["metadata"]["provcrt"])
client.stop_channels(); manager.shutdown_kernel()
print([(r["status"], r.get("not_recorded") or []) for r in reports])
"""


def test_a_kernel_inside_a_cell_records_its_cells(specs: Path, tmp_path: Path, mechanism: str) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        kernel.timeout = 180  # a whole kernel starts in the cell, and each of its calls is watched
        inner = kernel.folder / "inner"
        inner.mkdir()
        (inner / "in.txt").write_text("inside")
        said = kernel.execute(NOTEBOOK)
        assert said.text() == str([("executed", [])] * 3) + "\n", said.text("stderr")
        assert kernel.execute("1 + 1").report["status"] == "executed"
