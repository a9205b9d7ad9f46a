"""Outputs that are large, that change one another across cells, or that must come in order, recorded and replayed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kernels import OURS, PLAIN, Exchange, Kernel, install_kernelspecs, running, transcript

RUN = {"tags": ["provcrt-run"]}
LINES = "for i in range(100):\n    print(chr(97 + i % 26) * 1_000_000)"


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_kernelspecs(tmp_path_factory.mktemp("prefix"))


def memory(kernel: Kernel) -> int:
    """Most bytes that the kernel's process has held so far."""
    text = kernel.execute(
        "", silent=True, user_expressions={"m": "open('/proc/self/status').read()"}
    ).content["user_expressions"]["m"]["data"]["text/plain"]
    found = re.search(r"VmHWM:\\t\s*(\d+) kB", text)
    assert found
    return int(found.group(1)) * 1024


def test_a_hundred_megabytes_are_never_held_as_a_whole(specs: Path, tmp_path: Path) -> None:
    expected = "".join(chr(97 + i % 26) * 1_000_000 + "\n" for i in range(100))
    grown = {}
    for way in (PLAIN, OURS, "replayed"):
        with running(PLAIN if way == PLAIN else OURS, specs, tmp_path) as kernel:
            kernel.execute("1")
            before = memory(kernel)
            exchange = kernel.execute(LINES)
            assert exchange.text() == expected
            assert (exchange.report or {}).get("status") == {OURS: "executed", "replayed": "replayed"}.get(
                way
            )
            grown[way] = memory(kernel) - before
    # what waits for the client is held by the kernel, plain or not; the record may add some pieces of four megabytes
    assert grown[OURS] < grown[PLAIN] + 100e6, grown
    assert grown["replayed"] < max(grown[PLAIN], 100e6) + 50e6, grown


def test_a_large_picture_comes_back_byte_for_byte(specs: Path, tmp_path: Path) -> None:
    code = (
        "from IPython.display import Image, display\nimport random\nrandom.seed(1)\n"
        "display(Image(data=bytes([137, 80, 78, 71]) + random.randbytes(6_000_000), format='png'))"
    )
    seen: list[Exchange] = []
    for _ in range(2):
        with running(OURS, specs, tmp_path) as kernel:
            seen.append(kernel.execute(code))
    assert [e.report and e.report["status"] for e in seen] == ["executed", "replayed"]
    assert seen[0].of("display_data") == seen[1].of("display_data")
    assert len(seen[0].of("display_data")[0]["data"]["image/png"]) == 8_000_008


CELLS = {
    "show": "from IPython.display import display, update_display, clear_output\nh = display('first', display_id='one')",
    "update": "update_display('second', display_id='one')",
    "by handle": "h.update('third')",
    "more": "other = display('another', display_id=True); other.update('changed')",
    "clear": "print('gone'); clear_output(wait=True); print('stays')",
}


@pytest.mark.parametrize(
    "executed", [(), ("show",), ("update", "by handle"), ("show", "by handle"), tuple(CELLS)]
)
def test_displays_and_their_updates_agree_whoever_is_replayed(
    executed: tuple[str, ...], specs: Path, tmp_path: Path
) -> None:
    def session(kind: str, runs: tuple[str, ...]) -> tuple[list[object], list[object]]:
        with running(kind, specs, tmp_path, store=tmp_path / "store") as kernel:
            exchanges = [
                kernel.request("execute_request", Kernel.cell(code), metadata=RUN if name in runs else {})
                for name, code in CELLS.items()
            ]
            ids = [
                [m["content"]["transient"]["display_id"] for m in e.published if "transient" in m["content"]]
                for e in exchanges
            ]
            for known in ids[3:4]:
                assert len(set(known)) == 1, "the update is not of the display that it follows"
            texts = [transcript(e, kernel.folder) for e in exchanges]
            for steps in texts:
                for step in steps:
                    if isinstance(step[1], dict) and "transient" in step[1]:
                        step[1].pop("transient")
            return texts, ids[:3]

    plain = session(PLAIN, ())
    session(OURS, ())
    assert session(OURS, executed) == plain
