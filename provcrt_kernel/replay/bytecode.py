"""Byte code that other Pythons left of sources which have changed since.

A child process that is Python takes it for that of the source if this has the size and the time that it had: an edit may
leave both as they were. What a record knows of the content tells, before its cell runs again.
"""

from __future__ import annotations

import contextlib
import glob
import os
import struct

from provcrt_kernel.replay.files import Files
from provcrt_kernel.replay.record import Record

#: After the magic number: flags, then the source's time and size in seconds and bytes.
_HEADER = struct.Struct("<4xIII")


def forget_stale(files: Files, record: Record) -> None:
    """Remove byte code of sources that were an input of a record and have another content now."""
    for known in record.inputs:
        if known.content is None or not known.path.endswith(".py"):
            continue
        with contextlib.suppress(OSError):
            if files.content(known.path) != known.content:
                _forget(known.path)


def _forget(source: str) -> None:
    status = os.stat(source)
    now = int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF
    folder, name = os.path.split(source)
    for path in glob.glob(f"{glob.escape(folder)}/__pycache__/{glob.escape(name[:-3])}.*.pyc"):
        with open(path, "rb") as file:
            header = file.read(_HEADER.size)
        if len(header) == _HEADER.size and _HEADER.unpack(header) == (0, *now):
            os.unlink(path)
