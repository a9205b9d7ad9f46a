"""What one notice means: from a trapped call's number and arguments to what it does to files, family and network.

Promise: it looks, it never acts. Every handler takes a notice and returns the entries whose old content must be
hashed before the call goes on (mostly none). While no span is open, only what later spans need is looked at.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from typing import TYPE_CHECKING

from provcrt_kernel.trace import calls as c
from provcrt_kernel.trace.barriers import CALL
from provcrt_kernel.trace.files import NOBODYS, Files, follows
from provcrt_kernel.trace.ledger import WHO
from provcrt_kernel.trace.network import Network, parse
from provcrt_kernel.trace.paths import look
from provcrt_kernel.trace.tasks import Task, no_new_privileges, readlink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provcrt_kernel.trace.family import Family
    from provcrt_kernel.trace.ledger import Entry
    from provcrt_kernel.trace.paths import Quiet

Notice = tuple[int, ...]  # as `notify.NOTICE` unpacks it
ARGS = 6  # where the arguments start in a notice
TID = 1

_ALWAYS = frozenset(("exec", "fork", "exit", "exit_group", "chdir", "fchdir", "unshare", "escape", "map"))
_IN_ROOT = 0x10
_INSECURE = (
    4  # GRND_INSECURE: what asks for it wants seeds of hash tables (Rust's standard library), not numbers
)
_RESEED = 2496  # bytes of a Mersenne twister, which Python draws for `random` in every child that it forks
_MESSAGE, _MESSAGES = 64, 16  # bytes of a struct mmsghdr, and how many of them are looked at
_NOTHING: tuple[Entry, ...] = ()


class Open:
    """A span that is going on: its files and what else was seen."""

    def __init__(self, serial: int, name: str, quiet: Quiet, keep: bytes = b"") -> None:
        self.serial = serial
        self.name = name
        self.started = time.time()
        self.files = Files(quiet, keep)
        self.entropy = 0
        self.network = Network()
        self.problems: list[str] = []

    def problem(self, line: str) -> None:
        """Note why the span is incomplete."""
        if line not in self.problems:
            self.problems.append(line)


class Watch:
    """Decodes notices for the span that is open.

    Parameters
    ----------
    machine : Machine
    family : Family
    barriers : bytes
        The directory whose names are barriers.
    barrier : callable
        Called with (notice, name) when the kernel process asks for such a name; returns what a handler returns.

    quiet : callable
        Says of a path whether it is nobody's input.

    Attributes
    ----------
    span : Open or None
    hailed : callable
        Called with (notice, name) when anybody asks for a name that begins with `barriers.CALL`.
    opened : bool
        Whether a file was opened while no span was; who reads it sets it back.
    blind : str
        Why nothing may be looked at any more; empty as long as everything may.
    """

    def __init__(
        self,
        machine: c.Machine,
        family: Family,
        barriers: bytes,
        barrier: Callable[[Notice, bytes], Sequence[Entry]],
        quiet: Callable[[bytes], bool],
    ) -> None:
        self.span: Open | None = None
        self.hailed: Callable[[Notice, bytes], None] = lambda notice, text: None
        self.blind = ""
        self.opened = False
        self._family = family
        self._barriers = barriers
        self._barrier = barrier
        self._quiet = quiet
        self.table: dict[int, Callable[[Notice], Sequence[Entry]]] = {
            number: self._handler(call) for number, call in machine.calls.items()
        }

    def problem(self, line: str) -> None:
        """Note that something was missed now."""
        if self.span is not None:
            self.span.problem(line)

    # -- from arguments to names

    def _handler(self, call: c.Call) -> Callable[[Notice], Sequence[Entry]]:
        if call.op in ("open", "stat", "access"):
            return self._repeated(call)
        act: Callable[[Notice, Task, c.Call], Sequence[Entry] | None] = getattr(self, f"_do_{call.op}")
        always, opens = call.op in _ALWAYS, call.op == "openat2"

        def handle(notice: Notice) -> Sequence[Entry]:
            if (self.span is None or self.blind) and not always:
                self.opened |= opens
                return _NOTHING
            return act(notice, self._family.task(notice[TID]), call) or _NOTHING

        return handle

    def _repeated(self, call: c.Call) -> Callable[[Notice], Sequence[Entry]]:
        """Return the handler of a call that tells nothing new when it is repeated in a span: the hot path."""
        assert call.path is not None
        path, fixed = ARGS + call.path, call.fixed
        where = 0 if call.dir is None else ARGS + call.dir
        detail = 0 if call.flags is None else ARGS + call.flags
        opens, begins = call.op == "open", call.op == "access"
        mask = 0xFFFFFFFF if opens else c.AT_SYMLINK_NOFOLLOW
        threads, acquaint, barriers = self._family.threads, self._family.task, self._barriers

        def handle(notice: Notice) -> Sequence[Entry]:
            span = self.span
            if span is None and not begins:
                return self._between(notice, path) if opens else _NOTHING
            tid = notice[TID]
            task = threads.get(tid) or acquaint(tid)
            text = task.text(notice[path])
            if text is None:
                return _NOTHING
            if not text.startswith(b"/"):
                base = task.base(notice[where] if where else c.AT_FDCWD, tid)
                if not base.startswith(b"/"):
                    return _NOTHING
                text = base + b"/" + text if text else base
            elif text.startswith(barriers) and task.pid == self._family.kernel:
                return self._barrier(notice, text)
            elif begins and text.startswith(CALL):
                self.hailed(notice, text)
                return _NOTHING
            if span is None or self.blind:
                return _NOTHING
            flags = notice[detail] & mask if detail else fixed
            files, by = span.files, task.by
            key = (flags << 3 | (by & WHO) << 1 | opens, text)
            known = files.seen.get(key)
            if known is not None:
                if opens and known is not NOBODYS:
                    known.readers |= by
                    if flags & os.O_ACCMODE:
                        known.writers |= by
                return _NOTHING
            if opens:
                return files.open(text, flags, by, tid, key)
            files.state(text, not flags, by, tid, key)
            return _NOTHING

        return handle

    def _between(self, notice: Notice, path: int) -> Sequence[Entry]:
        """A file is opened between spans; or one ends that nobody knows here: a predecessor died in it."""
        task = self._family.task(notice[TID])
        text = task.text(notice[path]) or b""
        if text.startswith(self._barriers) and task.pid == self._family.kernel:
            return self._barrier(notice, text)
        # the shell writes its history after each cell
        self.opened |= not (text.startswith(b"/") and (self._quiet(text) or os.path.isdir(text)))
        return _NOTHING

    def _name(self, notice: Notice, task: Task, path: int, directory: int | None) -> bytes | None:
        """Return the absolute name that two arguments make; None where there is none."""
        text = task.text(notice[ARGS + path])
        if text is None or text.startswith(b"/"):
            return text
        base = task.base(c.AT_FDCWD if directory is None else notice[ARGS + directory], notice[TID])
        if not base.startswith(b"/"):
            return None
        return base + b"/" + text if text else base

    def _asked(self, notice: Notice, task: Task, call: c.Call) -> tuple[Files, bytes | None, int]:
        assert self.span is not None
        assert call.path is not None
        flags = call.fixed if call.flags is None else notice[ARGS + call.flags]
        return self.span.files, self._name(notice, task, call.path, call.dir), flags

    # -- files

    def _do_openat2(self, notice: Notice, task: Task, call: c.Call) -> Sequence[Entry]:
        files, text, _ = self._asked(notice, task, call)
        how = task.peek(notice[ARGS + 2], 24)
        if text is None or len(how) < 24:
            return _NOTHING
        flags, _, resolve = struct.unpack("=QQQ", how)
        if resolve & _IN_ROOT:
            self.problem(f"process {task.name()} opens names under a root of its own (openat2)")
        return files.open(text, flags, task.by, notice[TID])

    def _do_list(self, notice: Notice, task: Task, call: c.Call) -> None:
        path = readlink(b"/proc/%d/fd/%d" % (notice[TID], notice[ARGS] & 0xFFFFFFFF))
        if path.startswith(b"/") and self.span is not None:
            self.span.files.names(path, task.by)

    def _do_meta(self, notice: Notice, task: Task, call: c.Call) -> Sequence[Entry]:
        files, text, flags = self._asked(notice, task, call)
        if text is None:  # futimens: utimensat(2) without a name
            return self._touched_open(notice, task) if call.dir is not None else _NOTHING
        return files.touch(text, follows(flags), task.by, notice[TID])

    def _do_held(self, notice: Notice, task: Task, call: c.Call) -> Sequence[Entry]:
        """fchmod and its like: an open file is named by its descriptor."""
        return self._touched_open(notice, task)

    def _touched_open(self, notice: Notice, task: Task) -> Sequence[Entry]:
        assert self.span is not None
        path = task.base(notice[ARGS], notice[TID])
        if not path.startswith(b"/") or look(path) is None:
            return _NOTHING  # no file, or one without a name
        return self.span.files.touch(path, False, task.by, notice[TID])

    def _do_truncate(self, notice: Notice, task: Task, call: c.Call) -> Sequence[Entry]:
        files, text, size = self._asked(notice, task, call)
        return [] if text is None else files.touch(text, True, task.by, notice[TID], reads=size != 0)

    def _do_mkdir(self, notice: Notice, task: Task, call: c.Call) -> None:
        files, text, _ = self._asked(notice, task, call)
        if text is not None:
            files.make(text, task.by, notice[TID], directory=True, tolerant=_makes_parents(task))

    def _do_mknod(self, notice: Notice, task: Task, call: c.Call) -> None:
        files, text, _ = self._asked(notice, task, call)
        if text is not None:
            files.make(text, task.by, notice[TID])

    def _do_symlink(self, notice: Notice, task: Task, call: c.Call) -> None:
        files, text, _ = self._asked(notice, task, call)
        if text is not None:
            files.symlink(text, task.by, notice[TID])

    def _do_unlink(self, notice: Notice, task: Task, call: c.Call) -> Sequence[Entry]:
        files, text, flags = self._asked(notice, task, call)
        if text is None or text.startswith(self._barriers):
            return _NOTHING
        return files.remove(text, bool(flags & c.AT_REMOVEDIR), task.by, notice[TID])

    def _do_rename(self, notice: Notice, task: Task, call: c.Call) -> Sequence[Entry]:
        files, source, flags = self._asked(notice, task, call)
        target = self._target(notice, task, call)
        if source is None or target is None:
            return _NOTHING
        return files.rename(source, target, 0 if call.flags is None else flags, task.by, notice[TID])

    def _do_link(self, notice: Notice, task: Task, call: c.Call) -> None:
        files, source, flags = self._asked(notice, task, call)
        target = self._target(notice, task, call)
        if target is not None:
            files.link(source, target, bool(flags & c.AT_SYMLINK_FOLLOW), task.by, notice[TID])

    def _target(self, notice: Notice, task: Task, call: c.Call) -> bytes | None:
        return self._name(notice, task, 1, None) if call.dir is None else self._name(notice, task, 3, 2)

    def _do_map(self, notice: Notice, task: Task, call: c.Call) -> None:
        task.maps = True

    # -- family

    def _do_chdir(self, notice: Notice, task: Task, call: c.Call) -> None:
        if self.span is not None and not self.blind:
            files, text, _ = self._asked(notice, task, call)
            if text is not None:
                files.state(text, True, task.by, notice[TID])
        task.moving(notice[TID])

    def _do_fchdir(self, notice: Notice, task: Task, call: c.Call) -> None:
        task.moving(notice[TID])

    def _do_exec(self, notice: Notice, task: Task, call: c.Call) -> None:
        assert call.path is not None
        text = self._name(notice, task, call.path, call.dir)
        if text is None or self.blind:
            task.close()
            return
        # between spans it counts for nobody, but whether it succeeds is known in the same way
        files = self.span.files if self.span is not None else Files(lambda path: False)
        path, possible = files.execute(text, task.by, notice[TID])
        if not possible:
            return
        found = look(path)
        if found is not None and found.st_mode & (stat.S_ISUID | stat.S_ISGID):
            self.problem(f"{os.fsdecode(path)} {_privileged(task.pid)}")
        if self.span is not None and task.born == self.span.serial:
            self.span.entropy -= task.reseeded  # of a generator that is gone with this image
        task.reseeded = 0
        argv = task.strings(notice[ARGS + (1 if call.dir is None else 2)])
        self._family.executes(task, argv, task.cwd(notice[TID]), path)
        files.hold(task.pid, task.by)

    def _do_fork(self, notice: Notice, task: Task, call: c.Call) -> None:
        self._do_unshare(
            notice, task, call
        )  # the filter lets other children pass; they are found at the barriers

    def _do_exit(self, notice: Notice, task: Task, call: c.Call) -> None:
        self._family.thread_ends(notice[TID])

    def _do_exit_group(self, notice: Notice, task: Task, call: c.Call) -> None:
        task.ended = time.time()

    def _do_unshare(self, notice: Notice, task: Task, call: c.Call) -> None:
        if notice[ARGS] & c.CLONE_NEWNS:
            self._escapes(task)
        if notice[ARGS] & c.CLONE_FS:
            task.unsettled = -1

    def _do_escape(self, notice: Notice, task: Task, call: c.Call) -> None:
        if call.name == "mount":
            kind = task.text(notice[ARGS + 2]) or b""
            if kind.startswith(
                b"fuse"
            ):  # a look at it would wait for its server, whose own calls wait for us
                self.blind = f"process {task.name()} mounts a file system of its own (FUSE)"
                self.problem(self.blind)
        self._escapes(task)

    def _do_seccomp(self, notice: Notice, task: Task, call: c.Call) -> None:
        if (
            notice[ARGS] == 1 and notice[ARGS + 1] & 8
        ):  # it gets EBUSY, unless we trace by ptrace: then calls go there
            task.foreign = True
            self.problem(f"process {task.name()} asks for a listener of its own, which may hide calls")

    def _escapes(self, task: Task) -> None:
        task.foreign = True
        self.problem(f"process {task.name()} changes what names mean for it (mounts, root, handles)")

    # -- the world outside

    def _do_getrandom(self, notice: Notice, task: Task, call: c.Call) -> None:
        assert self.span is not None
        if notice[ARGS + 2] & _INSECURE:
            return
        self.span.entropy += 1
        if notice[ARGS + 1] == _RESEED and task.born == self.span.serial:
            task.reseeded += 1

    def _do_keyed(self, notice: Notice, task: Task, call: c.Call) -> None:
        if notice[ARGS] & 0xFFFFFFFF:  # else IPC_PRIVATE: for its children
            self._do_queue(notice, task, call)

    def _do_queue(self, notice: Notice, task: Task, call: c.Call) -> None:
        self.problem(
            f"process {task.name()} shares memory or messages by a key ({call.name}), which nobody watches"
        )

    def _do_connect(self, notice: Notice, task: Task, call: c.Call) -> None:
        self._reaches(notice, task, notice[ARGS + 1], notice[ARGS + 2])

    def _do_bind(self, notice: Notice, task: Task, call: c.Call) -> None:
        self._reaches(notice, task, notice[ARGS + 1], notice[ARGS + 2], bound=True)

    def _do_sendto(self, notice: Notice, task: Task, call: c.Call) -> None:
        if notice[ARGS + 4]:
            self._reaches(notice, task, notice[ARGS + 4], notice[ARGS + 5])
        self._sends(task, notice[ARGS + 1], notice[ARGS + 2])

    def _do_sendmsg(self, notice: Notice, task: Task, call: c.Call) -> None:
        count = min(notice[ARGS + 2], _MESSAGES) if call.name == "sendmmsg" else 1
        headers = task.peek(notice[ARGS + 1], _MESSAGE * count - 8)
        for at in range(
            0, len(headers) - 55, _MESSAGE
        ):  # struct msghdr: name, its size, parts, their number, …
            address, size, parts = struct.unpack_from("=QI4xQ", headers, at)
            if address:
                self._reaches(notice, task, address, size)
            part = task.peek(parts, 16)
            if len(part) == 16:
                self._sends(task, *struct.unpack("=QQ", part))

    def _sends(self, task: Task, address: int, size: int) -> None:
        assert self.span is not None
        if size <= c.QUESTION and self.span.network.awaits(task.pid):
            self.span.network.asks(task.pid, task.peek(address, size))

    def _reaches(self, notice: Notice, task: Task, address: int, size: int, *, bound: bool = False) -> None:
        assert self.span is not None
        peer = parse(task.peek(address, min(size & 0xFFFFFFFF, 128)))
        if peer is None:
            return
        if peer.family == "unix" and not peer.address.startswith("@"):
            text = os.fsencode(peer.address)
            if not text.startswith(b"/"):
                text = task.cwd(notice[TID]) + b"/" + text
            if bound:
                self.span.files.make(text, task.by, notice[TID])
                return
            self.span.files.state(text, True, task.by, notice[TID])
            found = look(text)
            if found is None:
                return  # nobody there: that is all there is to know
        self.span.network.reach(peer, task.pid, self._family.tasks, bound=bound)


def _privileged(pid: int) -> str:
    """Say what becomes of a setuid or setgid program that a process executes (execve(2))."""
    if no_new_privileges(pid):
        return "is setuid, and does not get its privileges while it is watched"
    return "runs as another user: what it does may be hidden"


def _makes_parents(task: Task) -> bool:
    """Say whether a process is ``mkdir -p``."""
    argv = task.images[-1][1].argv if task.images else ()
    return (
        bool(argv)
        and argv[0].rpartition(b"/")[2] == b"mkdir"
        and any(
            word == b"--parents" or (word[:1] == b"-" and word[1:2] != b"-" and b"p" in word) for word in argv
        )
    )
