"""Notebooks that are edited between two sessions: what is replayed must be what a run from scratch would have shown.

Plain ipykernel is asked live, in the same edited notebook and folder. By default those cases run that have caught a
mistake, or stand for their family; all of them with ``-m "sweep or not sweep"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from cases import CASES, Case
from cases.judge import Verdict, judge
from kernels import install_kernelspecs


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        everything = "sweep" in metafunc.config.option.markexpr
        metafunc.parametrize("case", [_parameter(c) for c in CASES.values() if c.telling or everything])


def _parameter(case: Case) -> object:
    marks = [] if case.telling else [pytest.mark.sweep]
    if case.known:
        marks.append(pytest.mark.xfail(reason=case.known))
    return pytest.param(case, id=case.name.replace(" ", "-"), marks=marks)


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Verdict]]]:
    """The selected cases, judged two at a time while the first tests already wait for theirs."""
    specs = install_kernelspecs(tmp_path_factory.mktemp("prefix"))
    chosen = [
        item.callspec.params["case"]  # type: ignore[attr-defined]
        for item in request.session.items
        if getattr(item, "originalname", "") == "test_replayed_as_if_run_from_scratch"
    ]
    with ThreadPoolExecutor(2) as pool:
        yield {case.name: pool.submit(judge, case, specs, tmp_path_factory.mktemp("case")) for case in chosen}
        pool.shutdown(wait=True, cancel_futures=True)


def test_replayed_as_if_run_from_scratch(case: Case, verdicts: dict[str, Future[Verdict]]) -> None:
    verdict = verdicts[case.name].result()
    assert not verdict.wrong
    assert not verdict.unsaid, "cells that had to run were reported as replayed"
    assert not verdict.missed, verdict.why
