"""What several test modules share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["seccomp", "ptrace"])
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have kernel processes that this test starts traced by each mechanism in turn."""
    monkeypatch.setenv("PROVCRT_TRACER", request.param)
    return str(request.param)
