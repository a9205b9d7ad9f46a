"""The system calls that a span must know of, on each architecture, and where their arguments name paths.

Promise: a table and nothing else. Whatever can touch a file system by name, start a process, reach another
machine or ask for random bytes is here; so is what would let a process escape from being watched.
"""

from __future__ import annotations

import platform
from typing import NamedTuple

CLONE_THREAD, CLONE_NEWNS, CLONE_FS = 0x10000, 0x20000, 0x200
AT_FDCWD = 0xFFFFFF9C  # the low 32 bits of -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_SYMLINK_FOLLOW = 0x400
AT_REMOVEDIR = 0x200
MSG_NOSIGNAL = 0x4000  # what libc's resolver sends with
QUESTION = 512  # bytes of the longest message that is read for a question to a name server
MAP_ANONYMOUS = 0x20
MAP_DENYWRITE = 0x800


class Call(NamedTuple):
    """One system call.

    Attributes
    ----------
    name : str
    x86_64, aarch64 : int or None
        Its number; None where the architecture does not have it.
    op : str
        What it does, as the decoder names it.
    path, dir, flags : int or None
        Which argument is the path, the directory descriptor, the flags.
    quiet : str or None
        When the filter lets it pass unseen: ``plain``, ``empty_path``, ``connected``, ``malloc``,
        ``program`` (each is explained in `bpf`).
    fixed : int
        The flags of a call that has no argument for them.
    """

    name: str
    x86_64: int | None
    aarch64: int | None
    op: str
    path: int | None = None
    dir: int | None = None
    flags: int | None = None
    quiet: str | None = None
    fixed: int = 0


_CREAT = 0o1 | 0o100 | 0o1000  # O_WRONLY | O_CREAT | O_TRUNC

CALLS = (
    # name                x86_64 aarch64 op       path dir flags
    Call("open", 2, None, "open", 0, None, 1),
    Call("creat", 85, None, "open", 0, None, None, fixed=_CREAT),
    Call("openat", 257, 56, "open", 1, 0, 2),
    Call("openat2", 437, 437, "openat2", 1, 0, 2),
    Call("stat", 4, None, "stat", 0),
    Call("lstat", 6, None, "stat", 0, fixed=AT_SYMLINK_NOFOLLOW),
    Call("newfstatat", 262, 79, "stat", 1, 0, 3, quiet="empty_path"),
    Call("statx", 332, 291, "stat", 1, 0, 2, quiet="empty_path"),
    Call("access", 21, None, "access", 0),
    Call("faccessat", 269, 48, "access", 1, 0),
    Call("faccessat2", 439, 439, "access", 1, 0, 3),
    Call("readlink", 89, None, "stat", 0, fixed=AT_SYMLINK_NOFOLLOW),
    Call("readlinkat", 267, 78, "stat", 1, 0, fixed=AT_SYMLINK_NOFOLLOW),
    Call("statfs", 137, 43, "stat", 0),
    Call("inotify_add_watch", 254, 27, "stat", 1),
    Call("getxattr", 191, 8, "stat", 0),
    Call("lgetxattr", 192, 9, "stat", 0, fixed=AT_SYMLINK_NOFOLLOW),
    Call("listxattr", 194, 11, "stat", 0),
    Call("llistxattr", 195, 12, "stat", 0, fixed=AT_SYMLINK_NOFOLLOW),
    Call("getxattrat", 464, 464, "stat", 1, 0, 2),
    Call("listxattrat", 465, 465, "stat", 1, 0, 2),
    Call("file_getattr", 468, 468, "stat", 1, 0, 4),
    Call("name_to_handle_at", 303, 264, "stat", 1, 0),
    Call("chmod", 90, None, "meta", 0),
    Call("fchmodat", 268, 53, "meta", 1, 0),
    Call("fchmodat2", 452, 452, "meta", 1, 0, 3),
    Call("chown", 92, None, "meta", 0),
    Call("lchown", 94, None, "meta", 0, fixed=AT_SYMLINK_NOFOLLOW),
    Call("fchownat", 260, 54, "meta", 1, 0, 4),
    Call("utime", 132, None, "meta", 0),
    Call("utimes", 235, None, "meta", 0),
    Call("futimesat", 261, None, "meta", 1, 0),
    Call("utimensat", 280, 88, "meta", 1, 0, 3),
    Call("setxattr", 188, 5, "meta", 0),
    Call("lsetxattr", 189, 6, "meta", 0, fixed=AT_SYMLINK_NOFOLLOW),
    Call("removexattr", 197, 14, "meta", 0),
    Call("lremovexattr", 198, 15, "meta", 0, fixed=AT_SYMLINK_NOFOLLOW),
    Call("setxattrat", 463, 463, "meta", 1, 0, 2),
    Call("removexattrat", 466, 466, "meta", 1, 0, 2),
    Call("file_setattr", 469, 469, "meta", 1, 0, 4),
    Call("fchmod", 91, 52, "held"),
    Call("fchown", 93, 55, "held"),
    Call("fsetxattr", 190, 7, "held"),
    Call("fremovexattr", 199, 16, "held"),
    Call("truncate", 76, 45, "truncate", 0, None, 1),
    Call("mkdir", 83, None, "mkdir", 0),
    Call("mkdirat", 258, 34, "mkdir", 1, 0),
    Call("mknod", 133, None, "mknod", 0),
    Call("mknodat", 259, 33, "mknod", 1, 0),
    Call("rmdir", 84, None, "unlink", 0, fixed=AT_REMOVEDIR),
    Call("unlink", 87, None, "unlink", 0),
    Call("unlinkat", 263, 35, "unlink", 1, 0, 2),
    Call("rename", 82, None, "rename", 0),
    Call("renameat", 264, 38, "rename", 1, 0),
    Call("renameat2", 316, 276, "rename", 1, 0, 4),
    Call("link", 86, None, "link", 0),
    Call("linkat", 265, 37, "link", 1, 0, 4),
    Call("symlink", 88, None, "symlink", 1),
    Call("symlinkat", 266, 36, "symlink", 2, 1),
    Call("mmap", 9, 222, "map", flags=3, quiet="program"),
    Call("getdents", 78, None, "list"),
    Call("getdents64", 217, 61, "list"),
    Call("chdir", 80, 49, "chdir", 0),
    Call("fchdir", 81, 50, "fchdir"),
    Call("execve", 59, 221, "exec", 0),
    Call("execveat", 322, 281, "exec", 1, 0, 4),
    Call("clone", 56, 220, "fork", quiet="plain"),
    Call("exit", 60, 93, "exit"),
    Call("exit_group", 231, 94, "exit_group"),
    Call("connect", 42, 203, "connect"),
    Call("bind", 49, 200, "bind"),
    Call("sendto", 44, 206, "sendto", quiet="connected"),
    Call("sendmsg", 46, 211, "sendmsg"),
    Call("sendmmsg", 307, 269, "sendmsg"),
    Call("getrandom", 318, 278, "getrandom", quiet="malloc"),
    Call("shmget", 29, 194, "keyed"),
    Call("semget", 64, 190, "keyed"),
    Call("msgget", 68, 186, "keyed"),
    Call("mq_open", 240, 180, "queue"),
    Call("chroot", 161, 51, "escape"),
    Call("pivot_root", 155, 41, "escape"),
    Call("mount", 165, 40, "escape"),
    Call("umount2", 166, 39, "escape"),
    Call("move_mount", 429, 429, "escape"),
    Call("open_tree", 428, 428, "escape"),
    Call("open_by_handle_at", 304, 265, "escape"),
    Call("setns", 308, 268, "escape"),
    Call("unshare", 272, 97, "unshare"),
    Call("seccomp", 317, 277, "seccomp"),
)

_REFUSED = {"io_uring_setup": 425, "clone3": 435}
REFUSED = {"x86_64": _REFUSED, "aarch64": _REFUSED}
"""Calls answered ENOSYS, so that programs fall back: io_uring bypasses a filter, and clone3 hides its flags from it."""

FOREIGN = {
    "x86_64": (0x40000003, (2, 5, 11, 120, 190, 252, 295)),
    "aarch64": (0x40000028, (2, 5, 11, 120, 190, 248, 322)),
}
"""The 32-bit sibling: its audit number, and calls (fork, open, exec, exit, …) that show that it is in use."""

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SECCOMP = {"x86_64": 317, "aarch64": 277}
PIDFD_GETFD = 438


class Machine(NamedTuple):
    """The tables of one architecture: `calls` by number, and what `AUDIT`, `SECCOMP`, … say of it."""

    name: str
    audit: int
    seccomp: int
    calls: dict[int, Call]
    refused: tuple[int, ...]
    foreign: tuple[int, tuple[int, ...]]


def machine(name: str | None = None) -> Machine | None:
    """Return the tables of an architecture, this machine's by default; None where there are none."""
    name = name or platform.machine()
    if name not in AUDIT:
        return None
    numbers = {number: call for call in CALLS if (number := getattr(call, name)) is not None}
    refused = tuple(REFUSED[name].values())
    return Machine(name, AUDIT[name], SECCOMP[name], numbers, refused, FOREIGN[name])
