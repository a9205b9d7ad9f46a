"""Files that have been closed: nothing is open any more, so a file is what it tells of itself.

``with open(path) as file`` leaves one in nearly every notebook.
"""

from __future__ import annotations

import io
import os
from typing import Any

#: What makes such a file again: mode and the arguments of `open`, attributes, line ends that it met.
Description = tuple[str, str, dict[str, Any], dict[str, Any], str]

_RAW = frozenset({"name", "__IOBase_closed"})
_BINARY = frozenset({io.BufferedReader, io.BufferedWriter, io.BufferedRandom})


def described(file: Any) -> Description | None:
    """What makes an equal file, if this is a closed one that `open` has made; else None."""
    kind = type(file)
    if (kind is not io.TextIOWrapper and kind not in _BINARY) or not file.closed:
        return None
    try:
        return _text(file) if kind is io.TextIOWrapper else _binary(file)
    except (ValueError, AttributeError):  # it was taken apart
        return None


def _binary(file: Any) -> Description | None:
    raw, own = file.raw, vars(file)
    if type(raw) is not io.FileIO or type(raw.name) is not str or own or vars(raw).keys() - _RAW:
        return None
    return raw.name, raw.mode, {}, {}, ""


def _text(file: Any) -> Description | None:
    own = dict(vars(file))
    mode = own.pop("mode", None)
    if type(file.buffer) not in _BINARY or type(mode) is not str or own:
        return None
    inner = _binary(file.buffer)
    if inner is None:
        return None
    met = file.newlines or ()
    arguments = {"encoding": file.encoding, "errors": file.errors}
    settings = {"line_buffering": file.line_buffering, "write_through": file.write_through}
    return inner[0], mode, arguments, settings, " ".join([met] if isinstance(met, str) else met)


def closed(
    name: str, mode: str, arguments: dict[str, Any], settings: dict[str, Any], met: str
) -> io.IOBase | Any:
    """Make a closed file; the file of this name is not touched."""

    def empty(path: str, flags: int) -> int:
        descriptor = os.memfd_create("closed")
        os.write(descriptor, met.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    with open(name, mode, opener=empty, **arguments) as file:
        if met and isinstance(file, io.TextIOWrapper):
            file.read()
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(**settings)
    return file
