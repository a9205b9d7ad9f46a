"""``%provcrt plan`` and ``strict``, on real kernels: what is said is what happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernels import OURS, Kernel, install_kernelspecs, running

CELLS = (
    "import numpy as np\nbig = np.arange(50_000.0)",
    "import time\ntime.sleep(0.3)\nslow = sum(range(10))",
    "numbers = (i for i in range(slow))",
)
NOW = "import time\nt = time.time_ns()\nprint(t)"


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_kernelspecs(tmp_path_factory.mktemp("prefix"))


def status(kernel: Kernel, code: str, *tags: str) -> tuple[str, str]:
    exchange = kernel.request(
        "execute_request", Kernel.cell(code), metadata={"tags": list(tags)} if tags else {}
    )
    assert exchange.report is not None
    return exchange.report["status"], exchange.text()


def test_plan_says_what_happens(specs: Path, tmp_path: Path) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        for cell in CELLS:
            status(kernel, cell)
        assert kernel.execute("%provcrt plan").text() == "everything is live\n"
        kernel.restart()
        assert [status(kernel, cell)[0] for cell in CELLS] == ["replayed"] * 3
        said = kernel.execute("%provcrt plan").text()
        assert [" ".join(line.split()[:3]) for line in said.splitlines()[:-1]] == [
            "load big 0.4",
            "load np 0.0",
            "load slow 0.0",
            "load time 0.0",
            "run [3] again",
        ]
        assert said.endswith(" s in all\n")
        assert kernel.execute("%provcrt plan big").text().splitlines()[0].startswith("load  big  0.4 MB")
        wrong = kernel.execute("%provcrt plan nothing")
        assert "there is no variable nothing" in wrong.text("stderr")
        exchange = kernel.execute("next(numbers), slow")
        assert (exchange.result, exchange.report and exchange.report["recomputed"]) == ("(0, 45)", [3])
        left = kernel.execute("%provcrt plan").text().splitlines()[:-1]
        assert [line.split()[1] for line in left] == ["big", "np", "time"]


def test_strict_cells_run_whenever_they_cannot_be_repeated(specs: Path, tmp_path: Path) -> None:
    with running(OURS, specs, tmp_path) as kernel:
        first = status(kernel, NOW)[1]
        assert status(kernel, "x = 1")[0] == "executed"
        kernel.restart()
        assert status(kernel, NOW, "provcrt-strict")[0] == "executed"
        assert status(kernel, "x = 1", "provcrt-strict")[0] == "replayed"
        kernel.restart()
        kernel.execute("%provcrt strict on")
        assert status(kernel, NOW)[0] == "executed"
        kernel.restart()
        report = kernel.execute("y = 2").report
        assert report is not None
        assert report["times"].keys() == {"look", "record"}
        again, shown = status(kernel, NOW)
        assert again == "replayed"
        assert shown != first
        assert status(kernel, NOW)[0] == "executed", "its reader runs it again, and wants it afresh"
    with running(OURS, specs, tmp_path, environment={"PROVCRT_STRICT": "1"}) as kernel:
        assert status(kernel, NOW)[0] == "executed"
        kernel.execute("%provcrt strict off")
