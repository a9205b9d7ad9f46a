"""What several test modules share."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow sweeps to those who ask for them by ``-m``."""
    if not config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("sweep")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(params=["seccomp", "ptrace"])
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have kernel processes that this test starts traced by each mechanism in turn."""
    monkeypatch.setenv("PROVCRT_TRACER", request.param)
    return str(request.param)
