"""Runs what the documentation tells its readers to run, and compares what it says they will see.

A page's fenced blocks are run from top to bottom in a scratch folder:

``console``
    Lines that begin with ``$ `` are typed into one bash; ``> `` continues a line. What follows is what is printed: if anything
    follows, all of it, where ``…`` stands for any text and a line of ``…`` alone for any lines. A command ends with 0 unless
    the last of these lines is ``[exit 1]``.
``ipython``
    A cell, run in one PROV-CRT kernel for the page.
``python``
    A script.
``text``
    Compared with what the block before it printed, if that was run; else it is something to look at.
``toml``, ``json``, ``yaml``, ``dockerfile``
    Must be well-formed (a Dockerfile: known instructions).

Comments in the page direct it; no reader sees them::

    <!-- scratch: notebooks/study -->   go on in a fresh copy of that folder (without a name: in an empty one)
    <!-- restart -->                    restart the kernel
    <!-- restart: run all -->           restart it and run all cells of the page so far, in order
    <!-- edit: N -->                    the next block takes the place of the N-th cell; restart, run all
    <!-- hidden: COMMAND -->            type something that readers need not see
    <!-- not run: REASON -->            the next block cannot be run here
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from kernels import OURS, Exchange, Kernel, running
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
#: Languages that name what is shown and not what is run.
SHOWN = {"text", "mermaid"}
_COMMENT = re.compile(r"<!--\s*(scratch|restart|edit|hidden|not run)\s*(?::\s*(.*?))?\s*-->", re.DOTALL)
_INSTRUCTIONS = set("ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM LABEL RUN SHELL USER VOLUME WORKDIR".split())
_END = "the end of a command of the documentation:"
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Block:
    """One fenced block, or one direction (its language is then ``scratch``, ``restart``, ``hidden``).

    Attributes
    ----------
    line
        Where it begins in its page, from 1.
    not_run
        Why it is not run; empty where it is.
    """

    line: int
    language: str
    text: str
    not_run: str = ""


def pages() -> list[Path]:
    """Everything that a reader may take for documentation."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")]
    return [path for path in found if path.exists()] + sorted((ROOT / "docs").rglob("*.md"))


def blocks(page: Path) -> list[Block]:
    """The blocks and directions of a page, in order.

    Raises
    ------
    ValueError
        A block says no language, is indented instead of fenced, or is left out without a reason.
    """
    found, reason = [], ""
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block":
            for what, how in _COMMENT.findall(token.content):
                if what == "not run":
                    reason = how
                    if not reason:
                        raise ValueError(f"{page.name}:{line}: a block is left out without a reason")
                else:
                    found.append(Block(line, what, how))
        elif token.type == "code_block":
            raise ValueError(f"{page.name}:{line}: indented code says no language: fence it")
        elif token.type == "fence":
            language = token.info.split()[0] if token.info.strip() else ""
            if not language:
                raise ValueError(f"{page.name}:{line}: a block says no language")
            if language[0] != "{":  # a directive of MyST is Sphinx's to check
                found.append(Block(line, language, token.content, reason))
            reason = ""
    return found


@dataclass
class Reader:
    """Somebody who types what a page says, in a folder of their own."""

    top: Path
    specs: Path
    folder: Path = field(init=False)
    printed: str | None = None
    _cells: list[str] = field(default_factory=list)
    _edited: int = 0
    _bash: subprocess.Popen[str] | None = None
    _kernel: Kernel | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _scratches: int = 0

    def __enter__(self) -> Reader:
        self.scratch("")
        return self

    def __exit__(self, *raised: object) -> None:
        self._leave()

    @property
    def environ(self) -> dict[str, str]:
        """A user's environment, with nothing of this machine's store and configuration."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PROVCRT_")}
        (self.top / "home").mkdir(exist_ok=True)
        return kept | {
            "HOME": str(self.top / "home"),
            "XDG_DATA_HOME": str(self.top / "home" / "data"),
            "JUPYTER_PATH": str(self.specs.parent),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }

    def scratch(self, name: str) -> None:
        """Go on in a fresh folder, with the files of a folder of the repository."""
        self._leave()
        self._scratches += 1
        self.folder = self.top / f"{self._scratches}" / "work"
        if name:
            ignored = shutil.ignore_patterns("out", "__pycache__", ".ipynb_checkpoints", ".provcrt")
            shutil.copytree(ROOT / name, self.folder, ignore=ignored)
        else:
            self.folder.mkdir(parents=True)

    def do(self, block: Block) -> None:
        """Do what one block says.

        Raises
        ------
        AssertionError
            It does not do what it says.
        """
        if block.not_run:
            self.printed = None
            return
        match block.language:
            case "scratch":
                self.scratch(block.text)
            case "hidden":
                self._type(block.text, None)
            case "restart":
                self._running().restart()
                if block.text:
                    assert block.text == "run all", block.text
                    self._run_all()
            case "edit":
                self._edited = int(block.text)
            case "console":
                for command, expected in commands(block.text):
                    self._type(command, expected)
            case "ipython":
                self._cell(block.text.rstrip("\n"))
            case "python":
                self._type(f"python - <<'END OF SCRIPT'\n{block.text}END OF SCRIPT", None)
            case "text":
                if self.printed is not None:
                    compare(block.text, self.printed)
                self.printed = None
            case "json":
                json.loads(block.text)
            case "toml":
                tomllib.loads(block.text)
            case "yaml":
                list(yaml.safe_load_all(block.text))
            case "dockerfile":
                joined = re.sub(r"\\\n|^\s*#.*\n", "", block.text, flags=re.MULTILINE)
                unknown = {row.split()[0] for row in joined.splitlines() if row.strip()} - _INSTRUCTIONS
                assert not unknown, f"not of a Dockerfile: {unknown}"
            case language if language not in SHOWN:
                raise AssertionError(f"nobody knows how to run {language!r}")

    def _cell(self, source: str) -> None:
        """Run a cell, or put it in the place of an earlier one and run all from a fresh kernel."""
        if self._edited:
            self._cells[self._edited - 1] = source
            self._running().restart()
            self.printed = self._run_all()[self._edited - 1]
            self._edited = 0
            return
        if not source.startswith("%provcrt"):  # questions are no part of the notebook
            self._cells.append(source)
        self.printed = shown(self._running().execute(source))

    def _run_all(self) -> list[str]:
        return [shown(self._running().execute(source)) for source in self._cells]

    def _type(self, command: str, expected: str | None) -> None:
        """Type a command; `expected` is what it prints, with ``[exit n]`` at its end if it fails, None for anything."""
        if self._bash is None:
            self._bash = subprocess.Popen(
                ["bash", "--norc", "--noprofile"], cwd=self.folder, env=self.environ, text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
            )  # fmt: skip
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s %d\\n' '{_END}' $?\n")
        self._bash.stdin.flush()
        lines = []
        for line in self._bash.stdout:
            if line.startswith(_END):
                break
            lines.append(line)
        else:
            raise AssertionError(f"bash ended at {command!r}: {''.join(lines)}")
        self.printed = "".join(lines)[:-1]
        status = int(line.split()[-1])
        wanted, said = re.subn(r"^\[exit (\d+)\]\n?\Z", "", expected or "", flags=re.MULTILINE)
        must = int(re.findall(r"\[exit (\d+)\]", expected)[-1]) if said and expected else 0
        assert status == must, f"$ {command}\nended with {status}, not {must}:\n{self.printed}"
        if wanted.strip():
            try:
                compare(wanted, self.printed)
            except AssertionError as wrong:
                raise AssertionError(f"$ {command}\n{wrong}") from None

    def _running(self) -> Kernel:
        if self._kernel is None:
            environment = {k: v for k, v in self.environ.items() if k not in os.environ or os.environ[k] != v}
            self._kernel = self._stack.enter_context(
                running(OURS, self.specs, self.folder.parent, environment=environment)
            )
            assert self._kernel.folder == self.folder
        return self._kernel

    def _leave(self) -> None:
        self._stack.close()
        self._kernel, self._cells = None, []
        if self._bash is not None:
            assert self._bash.stdin is not None
            self._bash.stdin.close()
            self._bash.wait(timeout=30)
            self._bash = None


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a ``console`` block, each with what is said to be printed."""
    command, expected = "", ""
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:].rstrip("\n"), ""
        elif line.startswith(("> ", ">\n")) and command and not expected:
            command += "\n" + line[2:].rstrip("\n")
        else:
            assert command, f"a block of the console begins with what is printed: {line!r}"
            expected += line
    if command:
        yield command, expected


def shown(exchange: Exchange) -> str:
    """What a reader sees below a cell, as text."""
    if exchange.content["status"] == "error":
        return f"{exchange.content['ename']}: {exchange.content['evalue']}\n"
    results = [each["data"].get("text/plain", "") for each in exchange.of("execute_result", "display_data")]
    return exchange.text() + "".join(f"{result}\n" for result in results)


def compare(expected: str, printed: str) -> None:
    """Compare what a page says with what was printed; ``…`` stands for any text, alone for any lines.

    Raises
    ------
    AssertionError
        They differ.
    """
    pattern = ""
    for line in tidy(expected):
        if line == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.split("…")) + r"\n"
    text = "".join(f"{line}\n" for line in tidy(printed))
    assert re.fullmatch(pattern, text), f"the page says\n{expected}\nwhat is printed is\n{text}"


def tidy(text: str) -> list[str]:
    """Lines without colours, empty ones, and the width of columns."""
    lines = (" ".join(line.split()) for line in _COLOURS.sub("", text).splitlines())
    return [line for line in lines if line]
