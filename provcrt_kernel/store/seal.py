"""Authorship: what this user's own sessions wrote, and what someone else put into the store.

A sealed value carries a MAC (keyed BLAKE2b, RFC 7693) over its name and its bytes, with a key that only this
user can read. A value whose seal does not hold was altered, or made by another user, and is treated as if it
were not there.
"""

from __future__ import annotations

import hmac
import os
import stat
from hashlib import blake2b
from pathlib import Path

SIZE = 32  # bytes of the key and of a MAC


class Seal:
    """Seals values with one key.

    Parameters
    ----------
    key : bytes
        32 secret bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def close(self, name: str, value: bytes) -> bytes:
        """Return `value` with the MAC for it under `name` in front."""
        return self._mac(name, value) + value

    def open(self, name: str, sealed: bytes) -> bytes | None:
        """Return the value that `close` sealed under `name`, or None where the seal does not hold."""
        mac, value = sealed[:SIZE], sealed[SIZE:]
        return value if hmac.compare_digest(mac, self._mac(name, value)) else None

    def _mac(self, name: str, value: bytes) -> bytes:
        label = name.encode()
        state = blake2b(key=self._key, digest_size=SIZE)
        state.update(
            len(label).to_bytes(8, "big") + label
        )  # with its length, so that no two pairs look the same
        state.update(value)
        return state.digest()


class Trusted(Seal):
    """Takes whatever was sealed, by whomever: for a store whose writers are trusted as a whole, and that is only read."""

    def __init__(self) -> None:
        super().__init__(os.urandom(SIZE))

    def open(self, name: str, sealed: bytes) -> bytes | None:
        """Return the value that somebody sealed."""
        return sealed[SIZE:]


def user_seal(folder: Path) -> tuple[Seal, str | None]:
    """Return the seal of the user whose data folder is `folder`, making its key if there is none.

    Returns
    -------
    Seal
        With the key in ``folder/key``, or, where that cannot be used, with a key of this process alone: what
        others recorded is then a miss, and so will be, for others, what this process records.
    str or None
        One line that says why the key could not be used.
    """
    path = folder / "key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
        state = path.stat()
        if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o077:
            raise PermissionError(f"others can read it, or own it; delete it, or `chmod 600 {path}`")
        key = path.read_bytes()
        if len(key) != SIZE:
            raise ValueError("it is not 32 bytes long; delete it")
        return Seal(key), None
    except (OSError, ValueError) as cause:
        return Seal(
            os.urandom(SIZE)
        ), f"the key {path} cannot be used ({cause}): records last for this session only"


def _make_key(path: Path) -> None:
    draft = path.with_name(f"key.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(SIZE))
        os.fsync(descriptor)
        os.link(draft, path)  # atomic, and fails where another process was first
    except FileExistsError:
        pass
    finally:
        os.close(descriptor)
        os.unlink(draft)
