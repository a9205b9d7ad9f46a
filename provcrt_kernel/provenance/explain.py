"""Differences between two contents that say nothing about a result: clocks, addresses, process ids, order, rounding.

`explained` is shown two contents that differ, and says what one has to overlook to see no difference, or that one
cannot.
"""

from __future__ import annotations

import itertools
import math
import re
import struct
import zlib
from collections.abc import Callable, Sequence

_LARGEST = 1 << 24  # bytes: what is larger is compared by its digest alone
_TOLERANCE = 1e-6  # relative
_NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?")
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_TIMES = [
    r"\d{4}-\d\d-\d\d[T _]\d\d[:-]\d\d(?:[:-]\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?",
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?(?:\d{1,2} )?"
    rf"{_MONTH} +(?:\d{{1,2}},? )?(?:\d{{4}} )?\d\d:\d\d:\d\d(?: \w+)?(?: \d{{4}})?",
    r"\b\d{1,2}:\d\d:\d\d(?:\.\d+)?\b",
    r"\b1[5-9]\d{8}(?:\.\d+|\d{3}|\d{6}|\d{9})?\b",
    r"\b\d+(?:\.\d+)?(?:e-\d+)? ?(?:s|sec|secs|seconds?|ms|milliseconds?|us|µs|ns|min|minutes?)\b",
    r"\b\d+m\d+(?:\.\d+)?s\b",
]
_PLAIN = [
    ("timestamps", re.compile("|".join(_TIMES))),
    ("addresses", re.compile(r"0x[0-9a-fA-F]{6,16}\b")),
    ("process ids", re.compile(r"(?i)(?<=pid[ =:])\s*\d+|(?<=process )\d+|\[\d{2,7}\]")),
    (
        "random names",
        re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|/tmp/[\w./-]+|\btmp[\w]{6,10}\b"),
    ),
]


def explained(before: bytes, after: bytes) -> str | None:
    """Tell what has to be overlooked for two contents to be the same.

    Parameters
    ----------
    before, after : bytes
        They differ.

    Returns
    -------
    str or None
        Such as ``timestamps``, or ``order of lines, floating point``; None where they differ in substance.
    """
    if max(len(before), len(after)) > _LARGEST:
        return None
    for same, what in ((_same_image, "image metadata"), (_same_gzip, "timestamps")):
        if same(before, after):
            return what
    try:
        return _texts(before.decode(), after.decode())
    except UnicodeDecodeError:
        return None


def explained_text(before: str, after: str) -> str | None:
    """Tell what has to be overlooked for two texts to be the same; as `explained`."""
    return _texts(before, after)


def _texts(before: str, after: str) -> str | None:
    steps: list[tuple[str, Callable[[str], str]]] = [
        *((name, lambda text, pattern=pattern: pattern.sub("…", text)) for name, pattern in _PLAIN),
        ("order of lines", lambda text: "\n".join(sorted(text.splitlines()))),
    ]
    for count in range(1, len(steps) + 1):
        for chosen in itertools.combinations(steps, count):
            pair = [before, after]
            for _, step in chosen:
                pair = [step(text) for text in pair]
            names = [name for name, _ in chosen]
            if pair[0] == pair[1]:
                return ", ".join(names)
            if count == 1 and close(before, after):
                return "floating point"
            if close(pair[0], pair[1]):
                return ", ".join([*names, "floating point"])
    return None


def close(before: str, after: str) -> bool:
    """Tell whether two texts differ in nothing but numbers that are equal within a millionth."""
    old, new = _NUMBER.findall(before), _NUMBER.findall(after)
    if len(old) != len(new) or _NUMBER.sub("#", before) != _NUMBER.sub("#", after):
        return False
    return all(
        a == b or math.isclose(float(a), float(b), rel_tol=_TOLERANCE, abs_tol=1e-12)
        for a, b in zip(old, new, strict=True)
    )


def _same_image(before: bytes, after: bytes) -> bool:
    """Tell whether two PNG files hold the same pixels (https://www.w3.org/TR/png-3/#5DataRep)."""
    old, new = _pixels(before), _pixels(after)
    return old is not None and old == new


def _pixels(data: bytes) -> tuple[Sequence[bytes], bytes] | None:
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    place, head, body = 8, [], b""
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place + 8 : place + 8 + size]
        if kind in (b"IHDR", b"PLTE", b"tRNS"):
            head.append(chunk)
        elif kind == b"IDAT":
            body += chunk
        place += size + 12
    try:
        return head, zlib.decompressobj().decompress(body, 1 << 28)
    except zlib.error:
        return None


def _same_gzip(before: bytes, after: bytes) -> bool:
    """Tell whether two gzip files differ in their time and name alone (RFC 1952)."""
    if not (before.startswith(b"\x1f\x8b") and after.startswith(b"\x1f\x8b")):
        return False
    try:
        return _unzipped(before) == _unzipped(after)
    except zlib.error:
        return False


def _unzipped(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data, 1 << 28)
