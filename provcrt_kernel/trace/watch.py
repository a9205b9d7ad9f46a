"""What one notice means: from a trapped call's number and arguments to events in the span's ledger.

Promise: it looks, it never acts, except that `Pause` keeps a caller waiting until old content is hashed. Every
handler takes a notice and returns True where its answer is to be sent later by somebody else.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING, Any

from provcrt_kernel.trace import calls as c
from provcrt_kernel.trace import network
from provcrt_kernel.trace.ledger import KERNEL, Entry, Ledger
from provcrt_kernel.trace.paths import Quiet, Resolver
from provcrt_kernel.trace.tasks import Image, Task, image_now, process_of, readlink, unborn

if TYPE_CHECKING:
    from collections.abc import Callable

    from provcrt_kernel.trace.span import Endpoint

Notice = tuple[int, ...]  # as `notify.NOTICE` unpacks it
ARGS = 6  # where the arguments start in a notice

_WRITE = os.O_WRONLY | os.O_RDWR
_TMPFILE = 0o20000000
_NOREPLACE, _EXCHANGE = 1, 2
_CLONE_NEWNS, _CLONE_FS = 0x20000, 0x200


class Open:
    """A span that is going on: its ledger and what else it saw."""

    def __init__(self, serial: int, name: str, quiet: Quiet) -> None:
        self.serial = serial
        self.name = name
        self.ledger = Ledger(quiet)
        self.entropy = 0
        self.endpoints: dict[Endpoint, None] = {}
        self.buried: list[Task] = []
        self.problems: list[str] = []

    def problem(self, line: str) -> None:
        """Note why the span is incomplete."""
        if line not in self.problems:
            self.problems.append(line)


class Watch:
    """Decodes notices for the spans that are open.

    Parameters
    ----------
    machine : Machine
    kernel : int
        The pid of the kernel process.
    quiet : Quiet
    pause : callable
        Called with (notice id, entries) when the old content of entries must be hashed before the call goes on.
    adopt : callable
        Called with each new task.
    """

    def __init__(
        self,
        machine: c.Machine,
        kernel: int,
        quiet: Quiet,
        pause: Callable[[int, list[Entry]], bool],
        adopt: Callable[[Task], None],
    ) -> None:
        self.kernel = kernel
        self.quiet = quiet
        self.span: Open | None = None
        self.tasks: dict[int, Task] = {}
        self._threads: dict[int, Task] = {}
        self._pause = pause
        self._adopt = adopt
        self._machine = machine
        self._serial = 0
        self._forks = 0
        self._by = 0
        self._resolver = Resolver(self._on_link, lambda path: None)
        self._seen: set[object] = set()
        self.table: dict[int, Callable[[Notice], bool]] = {
            number: self._handler(call) for number, call in machine.calls.items()
        }

    # -- spans

    def open(self, name: str) -> Open:
        """Open a span; one that is still open is spoilt and replaced."""
        self._find_children()
        self._serial += 1
        span = Open(self._serial, name, self.quiet)
        if self.span is not None:
            span.problem(f"span {self.span.name!r} was still open when this one began")
        self.span = span
        self._resolver = Resolver(self._on_link, span.ledger.known)
        self._seen = set()
        return span

    def close(self) -> Open | None:
        """Close the span that is open, and return it."""
        self._find_children()
        span, self.span = self.span, None
        self._seen = set()
        return span

    def problem(self, line: str) -> None:
        """Note that something was missed now."""
        if self.span is not None:
            self.span.problem(line)

    # -- tasks

    def task(self, tid: int) -> Task:
        """Return the process of a thread, making its acquaintance if need be."""
        task = self._threads.get(tid)
        if task is None:
            pid, parent = process_of(tid)
            task = self.tasks.get(pid) or self._meet(pid or tid, parent)
            self._threads[tid] = task
        return task

    def _meet(self, pid: int, parent: int) -> Task:
        by = KERNEL if pid == self.kernel else 1
        born = self.span.serial if self.span is not None and pid != self.kernel else 0
        known = parent if parent in self.tasks else 0
        task = Task(pid, known, by, born)
        task.images.append((born, image_now(pid)))
        self.tasks[pid] = task
        self._forks -= pid != self.kernel
        self._adopt(task)
        return task

    def _find_children(self) -> None:
        if self._forks > 0:  # some child has made no call yet, or never will
            for pid, parent in unborn(set(self.tasks)):
                self._meet(pid, parent)
            self._forks = 0

    def bury(self, task: Task, when: float) -> None:
        """Forget a process that has ended."""
        task.ended = task.ended or when
        task.close()
        if task.pid in self.tasks and self.tasks[task.pid] is task:
            del self.tasks[task.pid]
        for tid in [tid for tid, other in self._threads.items() if other is task]:
            del self._threads[tid]

    # -- names

    def _on_link(self, path: bytes, seen: os.stat_result, target: bytes) -> None:
        if self.span is not None:
            self.span.ledger.link(path, seen, target, self._by)

    def _full(self, task: Task, notice: Notice, path: int, directory: int | None) -> bytes | None:
        """Return the absolute name that two arguments make; None where there is none."""
        address = notice[ARGS + path]
        if not address:
            return None
        text = task.text(address)
        if text is None:
            return None
        if text.startswith(b"/"):
            return text
        base = task.base(c.AT_FDCWD if directory is None else notice[ARGS + directory], notice[1])
        if not base.startswith(b"/"):
            return None
        return base + b"/" + text if text else base

    def _handler(self, call: c.Call) -> Callable[[Notice], bool]:
        act: Any = getattr(self, f"_do_{call.op}")
        if call.op in ("open", "stat", "access"):
            return self._cached(call, act)
        if call.path is None:
            return lambda notice: bool(act(notice))

        def handle(notice: Notice) -> bool:
            if self.span is None and call.op not in ("exec", "chdir"):
                return False
            task = self.task(notice[1])
            self._by = task.by
            return bool(act(notice, task, call))

        return handle

    def _cached(self, call: c.Call, act: Any) -> Callable[[Notice], bool]:
        """Return the handler of a call that tells nothing new when it is repeated in a span."""
        assert call.path is not None
        path, directory, fixed = ARGS + call.path, call.dir, call.fixed
        where = None if directory is None else ARGS + directory
        detail = None if call.flags is None else ARGS + call.flags
        opens = call.op == "open"
        mask = 0xFFFFFFFF if opens else c.AT_SYMLINK_NOFOLLOW
        threads = self._threads

        def handle(notice: Notice) -> bool:
            if self.span is None:
                return False
            task = threads.get(notice[1]) or self.task(notice[1])
            address = notice[path]
            text = task.text(address) if address else None
            if text is None:
                return False
            if not text.startswith(b"/"):
                base = task.base(c.AT_FDCWD if where is None else notice[where], notice[1])
                if not base.startswith(b"/"):
                    return False
                text = base + b"/" + text if text else base
            flags = fixed if detail is None else notice[detail] & mask
            key = (opens, flags, task.by, text)
            if key in self._seen:
                return False
            self._by = task.by
            return bool(act(notice, task, text, flags, key))

        return handle

    # -- reading and stating

    def _do_stat(self, notice: Notice, task: Task, text: bytes, flags: int, key: object) -> bool:
        assert self.span is not None
        place, steady = self._resolver.resolve(text, not flags & c.AT_SYMLINK_NOFOLLOW, notice[1])
        self.span.ledger.state(place.path, place.stat, task.by)
        if steady:
            self._seen.add(key)
        return False

    _do_access = _do_stat

    def _do_openat2(self, notice: Notice, task: Task, call: c.Call) -> bool:
        text = self._full(task, notice, 1, 0)
        how = task.peek(notice[ARGS + 2], 8)
        if text is None or len(how) < 8:
            return False
        return self._do_open(notice, task, text, struct.unpack("=Q", how)[0], None)

    def _do_open(self, notice: Notice, task: Task, text: bytes, flags: int, key: object) -> bool:
        span = self.span
        assert span is not None
        ledger = span.ledger
        if flags & _TMPFILE:
            return False  # a nameless file; a name comes with link
        exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        (path, seen), steady = self._resolver.resolve(
            text, not (flags & os.O_NOFOLLOW or exclusive), notice[1]
        )
        by = task.by
        if path.startswith(b"/dev/") and path in (b"/dev/urandom", b"/dev/random"):
            span.entropy += 1
            return False
        if flags & (os.O_PATH | os.O_DIRECTORY) or (seen is None and not flags & os.O_CREAT):
            ledger.state(path, seen, by)
        elif seen is None:
            if os.path.isdir(path.rpartition(b"/")[0] or b"/"):
                fresh = not flags & os.O_TRUNC
                ledger.change(path, None, by, states=bool(exclusive or fresh))
            else:
                ledger.state(path, None, by)
        elif exclusive or not stat.S_ISREG(seen.st_mode):
            if stat.S_ISDIR(seen.st_mode) or exclusive or stat.S_ISLNK(seen.st_mode):
                ledger.state(path, seen, by)
            else:
                ledger.read(path, seen, by)  # a fifo, a device: who reads the span decides
        elif not flags & (_WRITE | os.O_TRUNC):
            if _readable(path, seen):
                ledger.read(path, seen, by)
            else:
                ledger.state(path, seen, by)
        else:
            cut = bool(flags & os.O_TRUNC)
            entry = ledger.change(path, seen, by, reads=not cut, states=not flags & os.O_CREAT, maybe=not cut)
            if entry is not None:
                return self._pause(notice[0], [entry])
        if steady and key is not None and seen is not None:
            self._seen.add(key)
        return False

    def _do_list(self, notice: Notice) -> bool:
        if self.span is None:
            return False
        task = self.task(notice[1])
        path = readlink(b"/proc/%d/fd/%d" % (notice[1], notice[ARGS] & 0xFFFFFFFF))
        key = ("list", task.by, path)
        if key in self._seen or not path.startswith(b"/"):
            return False
        self._seen.add(key)
        if self.quiet(path) and path != b"/":
            return False
        try:
            seen, names = os.lstat(path), os.listdir(path)
        except OSError:
            return False  # deleted meanwhile: its own work
        self.span.ledger.list(path, seen, names, task.by)
        return False

    # -- changing

    def _do_meta(self, notice: Notice, task: Task, call: c.Call) -> bool:
        return self._change_one(notice, task, call, reads=False)

    def _do_truncate(self, notice: Notice, task: Task, call: c.Call) -> bool:
        return self._change_one(notice, task, call, reads=notice[ARGS + 1] != 0)

    def _change_one(self, notice: Notice, task: Task, call: c.Call, *, reads: bool) -> bool:
        assert self.span is not None and call.path is not None
        text = self._full(task, notice, call.path, call.dir)
        if text is None:
            return False
        flags = call.fixed if call.flags is None else notice[ARGS + call.flags]
        follow = call.op == "truncate" or not flags & c.AT_SYMLINK_NOFOLLOW
        place, _ = self._resolver.resolve(text, follow, notice[1])
        if place.stat is None or stat.S_ISDIR(place.stat.st_mode):
            self.span.ledger.state(place.path, place.stat, task.by)
            return False
        entry = self.span.ledger.change(place.path, place.stat, task.by, reads=reads, states=True)
        return entry is not None and self._pause(notice[0], [entry])

    def _do_mkdir(self, notice: Notice, task: Task, call: c.Call) -> bool:
        return self._make(notice, task, call)

    _do_mknod = _do_mkdir

    def _make(self, notice: Notice, task: Task, call: c.Call) -> bool:
        assert self.span is not None and call.path is not None
        text = self._full(task, notice, call.path, call.dir)
        if text is None:
            return False
        (path, seen), _ = self._resolver.resolve(text.rstrip(b"/") or b"/", False, notice[1])
        ledger = self.span.ledger
        if seen is None and os.path.isdir(path.rpartition(b"/")[0] or b"/"):
            ledger.change(path, None, task.by, states=True)
        else:
            ledger.state(path, seen, task.by)
        entry = ledger.entries.get(path)
        if entry is not None and call.op == "mkdir" and _makes_parents(task):
            entry.tolerant = True
        return False

    def _do_symlink(self, notice: Notice, task: Task, call: c.Call) -> bool:
        self._make(notice, task, call)
        self._forget()
        return False

    def _do_unlink(self, notice: Notice, task: Task, call: c.Call) -> bool:
        assert self.span is not None and call.path is not None
        text = self._full(task, notice, call.path, call.dir)
        if text is None:
            return False
        (path, seen), _ = self._resolver.resolve(text.rstrip(b"/"), False, notice[1])
        if seen is None:
            self.span.ledger.state(path, None, task.by)
            return False
        flags = call.fixed if call.flags is None else notice[ARGS + call.flags]
        if stat.S_ISDIR(seen.st_mode) != bool(flags & c.AT_REMOVEDIR):
            self.span.ledger.state(path, seen, task.by)
            return False
        if not stat.S_ISREG(seen.st_mode):
            self._forget()
        entry = self.span.ledger.change(path, seen, task.by, states=True)
        return entry is not None and self._pause(notice[0], [entry])

    def _do_rename(self, notice: Notice, task: Task, call: c.Call) -> bool:
        assert self.span is not None
        source, target = self._pair(notice, task, call)
        if source is None or target is None:
            return False
        ledger, by = self.span.ledger, task.by
        flags = 0 if call.flags is None else notice[ARGS + call.flags]
        (old, seen), _ = self._resolver.resolve(source.rstrip(b"/"), False, notice[1])
        (new, there), _ = self._resolver.resolve(target.rstrip(b"/"), False, notice[1])
        if (
            seen is None
            or (there is not None and flags & _NOREPLACE)
            or (there is None and flags & _EXCHANGE)
        ):
            ledger.state(old, seen, by)
            ledger.state(new, there, by)
            return False
        if old == new:
            ledger.state(old, seen, by)
            return False
        waiting: list[Entry | None] = []
        for one, at, other in (
            (old, seen, new),
            *(((new, there, old),) if flags & _EXCHANGE and there else ()),
        ):
            for path, moved in _tree(one, at):
                waiting.append(ledger.change(path, moved, by, reads=True, states=True))
                goal = other + path[len(one) :]
                if not flags & _EXCHANGE:
                    replaced = there if goal == new else _look(goal)
                    waiting.append(ledger.change(goal, replaced, by, states=bool(flags & _NOREPLACE)))
                else:
                    ledger.change(goal, _look(goal), by, reads=True)
        if not stat.S_ISREG(seen.st_mode) or (there is not None and not stat.S_ISREG(there.st_mode)):
            self._forget()
        entries = [entry for entry in waiting if entry is not None]
        return bool(entries) and self._pause(notice[0], entries)

    def _do_link(self, notice: Notice, task: Task, call: c.Call) -> bool:
        assert self.span is not None
        source, target = self._pair(notice, task, call)
        if target is None:
            return False
        flags = 0 if call.flags is None else notice[ARGS + call.flags]
        if source is not None:
            (old, seen), _ = self._resolver.resolve(source, bool(flags & c.AT_SYMLINK_FOLLOW), notice[1])
            self.span.ledger.read(old, seen, task.by)
        (new, there), _ = self._resolver.resolve(target, False, notice[1])
        if there is None:
            self.span.ledger.change(new, None, task.by, states=True)
        else:
            self.span.ledger.state(new, there, task.by)
        return False

    def _pair(self, notice: Notice, task: Task, call: c.Call) -> tuple[bytes | None, bytes | None]:
        if call.dir is None:
            return self._full(task, notice, 0, None), self._full(task, notice, 1, None)
        return self._full(task, notice, 1, 0), self._full(task, notice, 3, 2)

    def _forget(self) -> None:
        self._resolver.forget()
        self._seen = set()

    # -- processes

    def _do_chdir(self, notice: Notice, task: Task, call: c.Call) -> bool:
        if self.span is not None:
            text = self._full(task, notice, 0, None)
            if text is not None:
                place, _ = self._resolver.resolve(text, True, notice[1])
                self.span.ledger.state(place.path, place.stat, task.by)
        task.moving(notice[1])
        return False

    def _do_fchdir(self, notice: Notice) -> bool:
        self.task(notice[1]).moving(notice[1])
        return False

    def _do_exec(self, notice: Notice, task: Task, call: c.Call) -> bool:
        assert call.path is not None
        text = self._full(task, notice, call.path, call.dir)
        if text is None:
            return False
        first = ARGS + (1 if call.dir is None else 2)
        by = task.by
        resolver = self._resolver
        (path, seen), _ = resolver.resolve(text, True, notice[1])
        ledger = self.span.ledger if self.span is not None else None
        if seen is None or not stat.S_ISREG(seen.st_mode) or not seen.st_mode & 0o111:
            if ledger is not None:
                ledger.state(path, seen, by)
            return False
        if ledger is not None:
            ledger.execute(path, seen, by)
            if seen.st_mode & (stat.S_ISUID | stat.S_ISGID):
                self.problem(f"{os.fsdecode(path)} changes its user, so what it does may be unreadable")
            for interpreter in _interpreters(path):
                (loader, found), _ = resolver.resolve(interpreter, True, notice[1])
                ledger.execute(loader, found, by)
        argv = task.strings(notice[first])
        serial = self.span.serial if self.span is not None else 0
        image = Image(argv, task.cwd(notice[1]), path, image_now(task.pid).started)
        if (
            task.images
            and task.born == task.images[-1][0] == serial
            and len(task.images) == 1
            and task.by != KERNEL
        ):
            image = image._replace(started=task.images[0][1].started)
            task.images.clear()  # fork and exec are one process, not two
        task.images.append((serial, image))
        task.forget_memory()
        for tid in [tid for tid, other in self._threads.items() if other is task and tid != task.pid]:
            del self._threads[tid]
        return False

    def _do_fork(self, notice: Notice) -> bool:
        self._forked(notice, notice[ARGS] if self._machine.calls[notice[3]].quiet else 0)
        return False

    def _do_clone3(self, notice: Notice) -> bool:
        flags = self.task(notice[1]).peek(notice[ARGS], 8)
        if len(flags) == 8:
            self._forked(notice, struct.unpack("=Q", flags)[0])
        return False

    def _forked(self, notice: Notice, flags: int) -> None:
        task = self.task(notice[1])
        if flags & _CLONE_FS and not flags & c.CLONE_THREAD:
            task.unsettled = -1
        if flags & _CLONE_NEWNS:
            self._escaped(task)
        if not flags & c.CLONE_THREAD:
            self._forks += 1

    def _do_exit(self, notice: Notice) -> bool:
        task = self.task(notice[1])
        if notice[1] != task.pid:
            self._threads.pop(notice[1], None)
        return False

    def _do_exit_group(self, notice: Notice) -> bool:
        self.task(notice[1])
        return False

    def _do_unshare(self, notice: Notice) -> bool:
        task = self.task(notice[1])
        if notice[ARGS] & _CLONE_NEWNS:
            self._escaped(task)
        if notice[ARGS] & _CLONE_FS:
            task.unsettled = -1
        return False

    def _do_escape(self, notice: Notice) -> bool:
        self._escaped(self.task(notice[1]))
        return False

    def _escaped(self, task: Task) -> None:
        self.problem(f"process {task.name()} changes what names mean for it (mounts, root, handles)")

    # -- the world outside

    def _do_getrandom(self, notice: Notice) -> bool:
        if self.span is not None:
            self.span.entropy += 1
        return False

    def _do_connect(self, notice: Notice) -> bool:
        return self._address(notice, 1, 2, bound=False)

    def _do_bind(self, notice: Notice) -> bool:
        return self._address(notice, 1, 2, bound=True)

    def _do_sendto(self, notice: Notice) -> bool:
        return self._address(notice, 4, 5, bound=False)

    def _address(self, notice: Notice, pointer: int, length: int, *, bound: bool) -> bool:
        if self.span is None:
            return False
        task = self.task(notice[1])
        raw = task.peek(notice[ARGS + pointer], min(notice[ARGS + length] & 0xFFFFFFFF, 128))
        self._reach(raw, task, notice[1], bound=bound)
        return False

    def _do_sendmsg(self, notice: Notice) -> bool:
        if self.span is None:
            return False
        task = self.task(notice[1])
        header = task.peek(notice[ARGS + 1], 12)
        if len(header) == 12:
            address, size = struct.unpack("=QI", header)
            if address:
                self._reach(task.peek(address, min(size, 128)), task, notice[1], bound=False)
        return False

    def _reach(self, raw: bytes, task: Task, tid: int, *, bound: bool) -> None:
        assert self.span is not None
        peer = network.parse(raw)
        if peer is None:
            return
        self._by = task.by
        if peer.family == "unix" and not peer.address.startswith("@"):
            text = os.fsencode(peer.address)
            if not text.startswith(b"/"):
                text = task.cwd(tid) + b"/" + text
            (path, seen), _ = self._resolver.resolve(text, True, tid)
            if bound and seen is None:
                self.span.ledger.change(path, None, task.by, states=True)
                return
            self.span.ledger.state(path, seen, task.by)
            if seen is None or not stat.S_ISSOCK(seen.st_mode) or bound:
                return
        self.span.endpoints[network.owned(peer, self.tasks, bound=bound)] = None


def _look(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _readable(path: bytes, seen: os.stat_result) -> bool:
    return bool(seen.st_mode & 0o004) or os.access(path, os.R_OK)


def _makes_parents(task: Task) -> bool:
    argv = task.images[-1][1].argv if task.images else ()
    return (
        bool(argv)
        and argv[0].rpartition(b"/")[2] == b"mkdir"
        and any(
            word == b"--parents" or (word[:1] == b"-" and word[1:2] != b"-" and b"p" in word) for word in argv
        )
    )


def _tree(path: bytes, seen: os.stat_result) -> list[tuple[bytes, os.stat_result]]:
    """Return a path and, where it is a directory, all below it."""
    found = [(path, seen)]
    if stat.S_ISDIR(seen.st_mode):
        for entry in os.scandir(path):
            found += _tree(entry.path, entry.stat(follow_symlinks=False))
    return found


def _interpreters(path: bytes) -> list[bytes]:
    """Return who loads a program: the ``#!`` line's, and the ELF header's (execve(2), elf(5))."""
    try:
        with open(path, "rb") as file:
            head = file.read(PAGE)
    except OSError:
        return []
    if head[:2] == b"#!":
        words = head[2:].split(b"\n", 1)[0].split()
        return [words[0], *_interpreters(words[0])] if words and words[0].startswith(b"/") else []
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] != 2:
        return []
    (offset,) = struct.unpack_from("=Q", head, 32)
    size, count = struct.unpack_from("=HH", head, 54)
    for index in range(count):
        at = offset + index * size
        if at + 56 > len(head):
            break
        kind, _, where, _, _, length = struct.unpack_from("=IIQQQQ", head, at)
        if kind == 3 and where + length <= len(head):  # PT_INTERP
            return [head[where : where + length].rstrip(b"\0")]
    return []


PAGE = 4096
