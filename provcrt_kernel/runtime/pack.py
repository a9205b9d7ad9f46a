"""A package's files as one blob, so that the same package in many containers is kept once and laid down quickly.

::

    zstd frame of   8 bytes, little-endian: length of the header
                    header: msgpack of `Header`, its entries sorted by path
                    the contents of the files, one after the other

Packing is deterministic: the same files give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import msgspec
import zstandard

from provcrt_kernel.provenance.audit import pack as encode
from provcrt_kernel.provenance.audit import unpack as decode
from provcrt_kernel.provenance.owners import Package, contents
from provcrt_kernel.runtime.content import Entry, Packed, lay
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.store import Store, digest_file

_CHUNK = 1 << 20
_LIMIT = 1 << 28  # bytes of a header: no package has that many files


class Header(msgspec.Struct, frozen=True):
    """What a pack holds."""

    entries: tuple[Entry, ...]


def packed(package: Package, store: Store, scratch: Path) -> Packed:
    """Keep an installed package in the store, unless it is there already as it is now.

    Parameters
    ----------
    package : Package
    store : Store
    scratch : Path
        A folder for a file that may become as large as the package.

    Raises
    ------
    StoreError, OSError
        Where it cannot be kept.
    """
    files = contents(package)
    size = sum(each.st_size for _, each in files if stat.S_ISREG(each.st_mode))
    lines = [
        f"{path}\0{each.st_size} {each.st_mtime_ns} {each.st_ctime_ns} {each.st_mode}\n"
        for path, each in files
    ]
    signature = hashlib.blake2b(os.fsencode("".join(lines)), digest_size=16).hexdigest()
    note = f"pack2:{package.manager}:{package.name}:{signature}"
    known = store.noted(note)
    if known is not None and store.has(known.decode()):
        return Packed(package, known.decode(), size)
    with tempfile.NamedTemporaryFile(dir=scratch) as file:
        _write([_entry(path, each) for path, each in files], file)
        file.flush()
        name = store.put_file(file.name)
    store.note(note, name.encode())
    return Packed(package, name, size)


def header(pack: Packed, store: Store, scratch: Path) -> tuple[Entry, ...]:
    """Return the entries of a pack; ProjectError where it is not there or damaged."""
    with _opened(pack, store, scratch) as file:
        return _header(pack, _reader(file))


def lay_pack(pack: Packed, store: Store, root: Path, scratch: Path) -> None:
    """Make the files of a pack under `root`.

    Raises
    ------
    ProjectError
        Where the pack is not there, damaged or hostile.
    OSError
        Where something cannot be written.
    """
    with _opened(pack, store, scratch) as file:
        reader = _reader(file)
        entries = _header(pack, reader)
        files = [entry for entry in entries if entry.kind == "file"]
        if files != sorted(files, key=lambda entry: entry.path):
            raise ProjectError.hostile("a package's files are not in order")
        if sum(entry.size for entry in files) != pack.size or any(entry.size < 0 for entry in files):
            raise ProjectError.hostile(f"the package {pack.package.name} is not of the size that it says")
        if pack.size > shutil.disk_usage(root).free:
            raise ProjectError.cannot_write(root, OSError(28, "No space left on device"))

        def fill(entry: Entry, place: str) -> bool:
            with open(place, "xb") as target:
                for piece in _exactly(reader, entry.size):
                    target.write(piece)
            return True

        try:
            lay(entries, root, fill)
        except (zstandard.ZstdError, EOFError) as cause:
            raise ProjectError.content_lost([pack.package.name]) from cause


def _entry(path: str, found: os.stat_result) -> Entry:
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        return Entry(path, "link", target=os.readlink(path), mtime_ns=found.st_mtime_ns)
    return Entry(path, "file", digest_file(path), size=found.st_size, mode=mode, mtime_ns=found.st_mtime_ns)


def _write(entries: list[Entry], file: IO[bytes]) -> None:
    head = encode(Header(tuple(entries)))
    with zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for entry in entries:
            if entry.kind == "file":
                with open(entry.path, "rb", buffering=0) as source:
                    left = entry.size
                    while left and (piece := source.read(min(left, _CHUNK))):
                        out.write(piece)
                        left -= len(piece)
                if left:
                    raise OSError(f"{entry.path} changes while it is read")


def _opened(pack: Packed, store: Store, scratch: Path) -> BinaryIO:
    """Return a pack as it is kept, whose digest was checked, in a file that is gone when it is closed."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        place = f"{folder}/pack"
        if not store.restore(pack.digest, place):
            raise ProjectError.content_lost([pack.package.name])
        return open(place, "rb")


def _reader(file: BinaryIO) -> zstandard.ZstdDecompressionReader:
    return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file)


def _header(pack: Packed, reader: zstandard.ZstdDecompressionReader) -> tuple[Entry, ...]:
    try:
        size = int.from_bytes(b"".join(_exactly(reader, 8)), "little")
        if size > _LIMIT:
            raise EOFError
        return decode(b"".join(_exactly(reader, size)), Header).entries
    except (zstandard.ZstdError, EOFError, msgspec.MsgspecError, UnicodeError) as cause:
        raise ProjectError.content_lost([pack.package.name]) from cause


def _exactly(reader: zstandard.ZstdDecompressionReader, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = reader.read(min(size, _CHUNK))
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece
