"""The documentation: it builds without a warning, and what it tells to run does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT, Reader, blocks, compare, pages
from kernels import install_kernelspecs

from provcrt_kernel.runtime.sandbox import problem


def slow(page: Path) -> bool:
    """Tell whether a page is left to the sweep."""
    return page.is_relative_to(ROOT / "docs") and str(page.relative_to(ROOT / "docs")) in SLOW


#: A quarter of a minute or more each; what they walk through is tested elsewhere, too.
SLOW = {"examples/lesson.md", "examples/study.md", "howto/ci.md", "howto/share.md", "runtime.md"}
PAGES = [pytest.param(page, marks=pytest.mark.sweep if slow(page) else ()) for page in pages()]


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    return install_kernelspecs(tmp_path_factory.mktemp("prefix"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_tells_to_run_does_what_it_says(page, tmp_path, specs):
    found = blocks(page)
    if problem() is not None and any("repeat" in block.text for block in found if not block.not_run):
        pytest.skip(f"no sandbox here: {problem()}")
    with Reader(tmp_path, specs) as reader:
        for block in found:
            try:
                reader.do(block)
            except AssertionError as wrong:
                pytest.fail(f"{page.relative_to(ROOT)}:{block.line}: {wrong}", pytrace=False)


def test_the_documentation_builds_without_a_warning(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "-d",
        tmp_path / "trees",
    ]
    done = subprocess.run(
        [*command, ROOT / "docs", tmp_path / "html"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "index.html").exists()


def test_what_was_measured_is_what_the_results_say():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "report.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_picture_or_page_that_is_linked_is_missing():
    """Sphinx sees to the links within docs/; these are the pages that it does not build."""
    for page in pages():
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links {target}"


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("a\n…\n", "a\nb\nc\n", True),
        ("…\nc\n", "a\nb\nc\n", True),
        ("…\nb\n", "a\nb\nc\n", False),
        ("took … s\n", "took 3.1 s\n", True),
        ("took … s\n", "took 3.1 min\n", False),
        ("a.b\n", "axb\n", False),
        ("…\n", "", True),
        ("a  b\n\n", "a b\n", True),
    ],
)
def test_a_page_is_held_to_what_it_says_and_no_more(expected, printed, same):
    if same:
        compare(expected, printed)
    else:
        with pytest.raises(AssertionError):
            compare(expected, printed)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```\nls\n```\n", "no language"),
        ("text\n\n    ls\n", "indented"),
        ("<!-- not run: -->\n```console\n$ ls\n```\n", "without a reason"),
    ],
)
def test_a_block_that_cannot_be_run_is_refused(text, complaint, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        blocks(page)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("```console\n$ echo a\na\n```\n", True),
        ("```console\n$ echo a\nb\n```\n", False),
        ("```console\n$ false\n```\n", False),
        ("```console\n$ ls nowhere\nls: …\n[exit 2]\n```\n", True),
        ("```console\n$ cd /\n$ pwd\n/\n```\n", True),
        ("```console\n$ cat <<E\n> one\n>\n> E\none\n```\n", True),
        ("```python\nprint(6 * 7)\n```\n\n```text\n42\n```\n", True),
        ("```python\nprint(6 * 7)\n```\n\n```text\n43\n```\n", False),
        ("```toml\na = \n```\n", False),
        ("```cobol\nSTOP RUN.\n```\n", False),
        ("<!-- not run: nobody has it -->\n```cobol\nSTOP RUN.\n```\n", True),
    ],
)
def test_the_runner_notices_what_is_wrong(text, right, tmp_path):
    page = Path(tmp_path / "page.md")
    page.write_text(text)
    with Reader(tmp_path, tmp_path) as reader:
        if right:
            for block in blocks(page):
                reader.do(block)
        else:
            with pytest.raises((AssertionError, ValueError)):  # noqa: PT012
                for block in blocks(page):
                    reader.do(block)
