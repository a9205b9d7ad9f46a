"""A scenario on both kinds of kernel: each of our sessions beside a plain one that starts in the same world."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernels import OURS, PLAIN

#: ("run", cell's name, source) or ("write", path, content); a content of None removes the file.
Step = tuple[str, str, str | None]
LOCAL = ("helper",)
_TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Scenario:
    """A notebook's life: files at first, and sessions, each of steps that follow another; between two the kernel restarts."""

    sessions: tuple[tuple[Step, ...], ...]
    files: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        lines = [f"# {name}:\n{_indented(content)}" for name, content in self.files]
        for number, steps in enumerate(self.sessions, 1):
            lines.append(f"# -- session {number}")
            known = {s[1]: s[2] for earlier in self.sessions[: number - 1] for s in earlier if s[0] == "run"}
            for kind, name, text in steps:
                if kind == "run" and known.get(name) == text:
                    lines.append(f"# %% {name} (as before)")
                elif kind == "run":
                    lines.append(f"# %% {name}\n{text}")
                else:
                    lines.append(f"# {name} becomes:\n{_indented(text or '(nothing)')}")
                if kind == "run":
                    known[name] = text
        return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"#     {line}" for line in text.splitlines())


@dataclass
class Finding:
    """What came of a scenario.

    Attributes
    ----------
    wrong
        Differences from a plain kernel, in words.
    needless
        Cells that ran though nothing had changed since the session before, with the reason.
    same
        Cells that ran in sessions in which nothing had changed.
    noise
        Two plain runs differ, so nothing can be said.
    ran, replayed
        How many cells of our sessions did.
    """

    wrong: list[str] = field(default_factory=list)
    needless: list[str] = field(default_factory=list)
    same: int = 0
    noise: bool = False
    ran: int = 0
    replayed: int = 0


class Shells:
    """The two warm processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._processes = {kind: self._start(kind) for kind in (OURS, PLAIN)}

    def _start(self, kind: str) -> subprocess.Popen[str]:
        environ = {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PROVCRT_COST_POLICY": "off",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "IPYTHONDIR": str(self._folder / f"ipython-{kind}"),
            "TMPDIR": str(self._folder),
            "PYTHONPATH": os.pathsep.join([str(_TESTS), str(_TESTS.parent)]),
        }
        environ.pop("PYTEST_CURRENT_TEST", None)
        return subprocess.Popen(
            [sys.executable, "-Xfrozen_modules=off", "-m", "differential.shell", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
            cwd=_TESTS,
        )

    def session(
        self, kind: str, folder: Path, steps: tuple[Step, ...], store: Path, seed: int = 0
    ) -> list[Any]:
        """Run one session in a folder; what each cell showed and what was there at the end."""
        # not beside the folder, which a cell may list
        answer = store.parent / f"answer-{next(self._numbers)}"
        request = {
            "folder": str(folder),
            "steps": steps,
            "store": str(store),
            "answer": str(answer),
            "log": str(store.parent / f"log-{kind}"),
            "local": LOCAL,
            "entropy": seed,
            "environ": {},
        }
        process = self._processes[kind]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        status = json.loads(process.stdout.readline())["status"]
        if status or not answer.exists():
            raise AssertionError(f"{kind} ended with {status}: {Path(request['log']).read_text()}")
        text = answer.read_text()
        answer.unlink()
        return list(json.loads(normal(text, folder)))

    def close(self) -> None:
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=30)


@contextmanager
def shells(folder: Path) -> Iterator[Shells]:
    """Both warm processes, for as long as the block runs."""
    both = Shells(folder)
    try:
        yield both
    finally:
        both.close()


_NOISE = [
    (re.compile(r"\\u001b\[[0-9;]*m"), ""),
    (re.compile(r"0[xX][0-9a-fA-F]{6,}"), "0x…"),
    (re.compile(r"/[\w/.-]*/ipykernel_\d+/\d+\.py"), "<cell>"),
    # numbers that the system gives: of a thread, and of a pipe's end
    (re.compile(r"(Thread-\d+ \(\w+\), (?:started|stopped)(?: daemon)?) \d+"), r"\1 …"),
    (re.compile(r"(<_io\.\w+ name=)\d+"), r"\1…"),
    # and that Python gives to pools of threads
    (re.compile(r"\bThreadPoolExecutor-\d+"), "ThreadPoolExecutor-…"),
]


def normal(text: str, folder: Path) -> str:
    """Text without colours, addresses, numbers that the system gives, and the folder's name."""
    return _without_noise(text.replace(str(folder), "<folder>"))


def _without_noise(text: str) -> str:
    for pattern, replacement in _NOISE:
        text = pattern.sub(replacement, text)
    return text


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its content."""
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes().decode("latin-1") for p in sorted(files)}


def check(scenario: Scenario, both: Shells, folder: Path) -> Finding:
    """Run a scenario on both kinds of kernel and compare everything that a reader could see."""
    ours, plain, again = folder / "ours" / "work", folder / "plain" / "work", folder / "again" / "work"
    ours.mkdir(parents=True)
    for name, content in scenario.files:
        (ours / name).parent.mkdir(parents=True, exist_ok=True)
        (ours / name).write_text(content)
    finding = Finding()
    worlds: list[tuple[tuple[Step, ...], dict[str, str]]] = []
    unrecorded: dict[str, list[str]] = {}
    for number, steps in enumerate(scenario.sessions, 1):
        _copy(ours, plain)
        before = tree(ours)
        expected = both.session(PLAIN, plain, steps, folder / "store")
        got = both.session(OURS, ours, steps, folder / "store")
        wrong = _differences(got, expected) | _trees(tree(ours), tree(plain))
        if wrong:
            # what differs between two plain runs, too, is nobody's fault
            _lay_out(before, again)
            other = both.session(PLAIN, again, steps, folder / "store", seed=number)
            noise = _differences(other, expected) | _trees(tree(again), tree(plain))
            finding.wrong = [
                f"session {number}: {what} {how}" for what, how in wrong.items() if what not in noise
            ]
            finding.noise = not finding.wrong
            return finding
        reports = [(a["cell"], a["report"]) for a in got[:-1] if a["report"]]
        finding.replayed += sum(report["status"] == "replayed" for _, report in reports)
        finding.ran += sum(report["status"] != "replayed" for _, report in reports)
        if (steps, before) in worlds:
            finding.same += len(got) - 1
            finding.needless += [
                f"session {number}: {cell} {report['reason']} (earlier: {unrecorded.get(cell)})"
                for cell, report in reports
                if report["status"] != "replayed"
            ]
        worlds.append((steps, before))
        unrecorded |= {cell: report["not_recorded"] for cell, report in reports if report["not_recorded"]}
    return finding


def write(path: Path, content: str | None) -> None:
    """Write a file as an editor does; None removes it."""
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, symlinks=True)


def _lay_out(files: dict[str, str], folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode("latin-1"))


def _differences(got: list[Any], expected: list[Any]) -> dict[str, str]:
    found = {}
    for at, (one, other) in enumerate(zip(got, expected, strict=True), 1):
        report = one.get("report") or {}
        status = f"({report.get('status')}: {report.get('reason')})"
        if (left := shown(one["shown"])) != (right := shown(other["shown"])):
            found[f"step {at}, cell {one['cell']}, shows"] = (
                f"{status}\n    {left}\n  instead of\n    {right}"
            )
        if _endless(one["reply"]) != _endless(other["reply"]):
            how = f"{status}\n    {one['reply']}\n  instead of\n    {other['reply']}"
            found[f"step {at}, cell {one['cell']}, replies"] = how
    for part in ("variables", "surroundings"):
        left, right = got[-1][part], expected[-1][part]
        for name in sorted({*left, *right}):
            if left.get(name) != right.get(name):
                found[f"{part}, {name}"] = f"is\n    {left.get(name)}\n  instead of\n    {right.get(name)}"
    return found


#: When Python finds a file that nobody closed is nobody's promise.
_LET_GO = re.compile(
    r"Exception ignored in: <_io\.FileIO[^\n]*\n(?:[^\n]*\n)*?ResourceWarning: [^\n]*\n"
    r"|[^\n]*: ResourceWarning: unclosed file [^\n]*\n(?:  [^\n]*\n)?(?:ResourceWarning: Enable [^\n]*\n)?"
)


def shown(messages: list[Any]) -> list[Any]:
    """Messages with neighbouring chunks of a stream joined, and without what our kernel says of itself."""
    joined: list[Any] = []
    for kind, content in messages:
        if kind == "stream":
            text = re.sub(r"^provcrt: .*\n", "", content["text"], flags=re.MULTILINE)
            text = _LET_GO.sub("", text)
            if not text:
                continue
            if joined and joined[-1][0] == "stream" and joined[-1][1] == content["name"]:
                joined[-1][2] += text
            else:
                joined.append(["stream", content["name"], text])
        else:
            joined.append([kind, _endless(content)])
    return joined


def _endless(content: Any) -> Any:
    """Content without how often a function called itself until Python stopped it: in our kernel cells stand some calls deeper."""
    if content.get("ename") != "RecursionError":
        return content
    return content | {"traceback": [frame for frame, _ in itertools.groupby(content["traceback"])]}


def _trees(got: dict[str, str], expected: dict[str, str]) -> dict[str, str]:
    return {
        f"file {name}": f"holds {got.get(name)!r} instead of {expected.get(name)!r}"
        for name in sorted({*got, *expected})
        if (name in got) != (name in expected)
        or _without_noise(got.get(name, "")) != _without_noise(expected.get(name, ""))
    }
