"""The audit, in a process of its own: run a session's cells from scratch, and see whether its records tell what they do.

All cells run in order in a plain kernel, in a private copy of the notebook's folder (`scratch`), with the files there as
the session found them. After each cell, what it showed, the variables it made and the files it left are compared with its
record. A cell that used what nobody can repeat is left out, and so is what depends on it; what depends on a cell that was
wrong follows from that.

``python -m provcrt_kernel.kernel.rerun JOB ANSWER`` does it in a process of its own: two files in msgpack, a `Job` and what
is found.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from provcrt_kernel.kernel.scratch import CannotAudit, Scratch
from provcrt_kernel.replay.record import FileOutput, Record, Shown
from provcrt_kernel.session.slots import ambient
from provcrt_kernel.store import Store
from provcrt_kernel.store.digest import digest_file

#: What differs between two runs of a cell on any kernel: addresses, and the name that a cell's code is compiled under.
_NOISE = re.compile(r"\b0x[0-9a-f]{6,16}\b|/tmp/ipykernel_\d+/\d+\.py|/[^\s\"']*/ipykernel_\d+/\d+\.py")


class AuditCell(msgspec.Struct, frozen=True):
    """One cell of the session.

    Attributes
    ----------
    record
        None: it was not recorded, `why` says why not.
    shown
        The messages of its record; None: the store lost them.
    judged
        Whether the report shall name it.
    wrote
        Slots that it changed.
    history
        Whether it counts.
    """

    count: int
    text: str
    record: Record | None = None
    shown: tuple[Shown, ...] | None = None
    judged: bool = True
    wrote: tuple[str, ...] = ()
    why: str = ""
    history: bool = True


class Job(msgspec.Struct, frozen=True):
    """What is audited.

    Attributes
    ----------
    before
        Files as the session found them, of those that it changed.
    store
        Folder of the store that has their content.
    """

    folder: str
    environ: dict[str, str]
    cells: tuple[AuditCell, ...]
    before: tuple[FileOutput, ...]
    store: str


class Finding(msgspec.Struct, frozen=True):
    """What became of one cell: ``right``, ``wrong`` or ``left out``; and what differs, or why it is left out."""

    count: int
    verdict: str
    why: tuple[str, ...] = ()


def rerun(job: Job) -> list[Finding]:
    """Run the session from scratch; returns what is found of each cell that is to be judged.

    Raises
    ------
    CannotAudit
        There can be no private copy of the folder, or no kernel in it.
    """
    with Scratch(Path(job.folder), job.environ) as scratch:
        with Store.open(Path(job.store)) as store:
            for file in job.before:
                _put(scratch, store, file)
        scratch.start()
        found: list[Finding] = []
        taint: dict[str, str] = {}
        for cell in job.cells:
            try:
                finding = _judge(scratch, cell, taint)
            except CannotAudit as error:
                found += [
                    Finding(c.count, "left out", (str(error),))
                    for c in job.cells
                    if c.count >= cell.count and c.judged
                ]
                break
            if cell.judged:
                found.append(finding)
        return found


def _judge(scratch: Scratch, cell: AuditCell, taint: dict[str, str]) -> Finding:
    """Run one cell and compare; `taint` tells of slots and files that are not the session's, and why."""
    shown, record = scratch.run(cell.text, history=cell.history), cell.record
    if record is None:
        taint |= dict.fromkeys(cell.wrote, f"it depends on cell [{cell.count}], which was not recorded")
        return Finding(cell.count, "left out", (cell.why or "it was not recorded",))
    inputs = [n for n, version in record.reads.items() if version] + [i.path for i in record.inputs]
    outputs = [*record.writes, *record.deletes, *(o.path for o in record.outputs)]
    why = (
        f"it uses {record.volatile[0]}"
        if record.volatile
        else next((taint[n] for n in inputs if n in taint), None)
    )
    for name in outputs:
        taint.pop(name, None)
    differs = dict((*_variables_differ(scratch, record), *_files_differ(scratch, record)))
    if why is not None:
        # what came out the same is the session's all the same; of streams and settings nothing is known here
        because = f"it depends on cell [{cell.count}]" if record.volatile else why
        taint |= dict.fromkeys([*differs, *(n for n in record.writes if ambient(n))], because)
        return Finding(cell.count, "left out", (why,))
    taint |= dict.fromkeys(differs, f"it depends on cell [{cell.count}], which is wrong")
    wrong = (*_outputs_differ(cell.shown, shown), *differs.values())
    return Finding(cell.count, "wrong" if wrong else "right", wrong)


def _outputs_differ(recorded: Sequence[Shown] | None, shown: Sequence[Shown]) -> Iterable[str]:
    if recorded is None:
        yield "its output is lost"
        return
    then, now = _seen(recorded), _seen(shown)
    for old, new in zip(then, now, strict=False):
        if old != new:
            yield f"output differs: {_short(old)} recorded, {_short(new)} now"
            return
    if len(then) != len(now):
        more, word = (then, "recorded") if len(then) > len(now) else (now, "now")
        yield f"output differs: {_short(more[min(len(then), len(now))])} {word} only"


def _seen(messages: Sequence[Shown]) -> list[Any]:
    """Messages as a reader sees them: chunks of a stream joined, up to the next other message; no addresses, no counts."""
    steps: list[Any] = []
    streams: dict[str, str] = {}
    for message in [*messages, None]:
        if message is not None and message.type == "stream":
            name = str(message.content["name"])
            streams[name] = streams.get(name, "") + str(message.content["text"])
            continue
        steps += [["stream", name, _plain(text)] for name, text in sorted(streams.items()) if text]
        streams = {}
        if message is not None:
            content = {k: v for k, v in message.content.items() if k not in ("execution_count", "transient")}
            steps.append([message.type, _plain(content), list(message.buffers)])
    return steps


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _NOISE.sub("…", value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _short(step: Any) -> str:
    what = step[2] if step[0] == "stream" else step[1]
    if isinstance(what, dict):
        what = what.get("data", {}).get("text/plain") or what.get("evalue") or what
    text = repr(what)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _variables_differ(scratch: Scratch, record: Record) -> Iterable[tuple[str, str]]:
    states = {n: s for n, s in record.writes.items() if not ambient(n)}
    groups = {s.group: s.joint for s in states.values() if s.joint and not s.joint.startswith("x:")}
    alone, joint = scratch.versions([*states, *record.deletes], groups)
    for name, state in states.items():
        if name not in alone:
            yield name, f"variable {name} does not exist"
        elif alone[name] != state.version and not state.version.startswith("x:"):
            yield name, f"variable {name} differs"
    for group, version in groups.items():
        equal = all(n in alone and alone[n] == states[n].version for n in group if n in states)
        if equal and joint.get(",".join(group)) != version:
            yield group[0], f"variables {', '.join(group)} share other objects"
    yield from ((n, f"variable {n} still exists") for n in record.deletes if n in alone)


def _files_differ(scratch: Scratch, record: Record) -> Iterable[tuple[str, str]]:
    for output in record.outputs:
        place = scratch.place(output.path)
        if place is None:
            continue
        short = str(place.relative_to(scratch.copy))
        if output.kind == "absent":
            if place.is_symlink() or place.exists():
                yield output.path, f"file {short} is still there"
        elif not (place.is_symlink() or place.exists()):
            yield output.path, f"file {short} is not there"
        elif output.kind == "file" and (not place.is_file() or digest_file(place) != output.content):
            yield output.path, f"file {short} differs"


def _put(scratch: Scratch, store: Store, file: FileOutput) -> None:
    """Make a path of the copy what the session found there."""
    place = scratch.place(file.path)
    if place is None:
        return
    if file.kind == "absent":
        place.unlink(missing_ok=True)
    elif file.content is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        if store.restore(file.content, place):
            place.chmod(file.mode or 0o644)


class Answer(msgspec.Struct, frozen=True):
    """What the audit's process says: findings, or why there are none."""

    findings: tuple[Finding, ...] = ()
    error: str = ""


def main(job: str, answer: str) -> None:
    """Audit the job in one file; put the answer into another."""
    try:
        said = Answer(tuple(rerun(msgspec.msgpack.decode(Path(job).read_bytes(), type=Job))))
    except CannotAudit as error:
        said = Answer(error=str(error))
    Path(answer).write_bytes(msgspec.msgpack.encode(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
