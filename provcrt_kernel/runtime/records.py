"""Where a notebook's kernel keeps its records: this user's own, or such as never mix with them.

Of the project's store a sandboxed kernel sees the one folder, and the key that seals records. Whoever runs what somebody
else made has its records apart: what is in them comes back in that sandbox alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from provcrt_kernel.runtime.sandbox import Bind
from provcrt_kernel.store import Store, find_store, stores_below
from provcrt_kernel.store.place import user_folder
from provcrt_kernel.store.seal import user_seal

VARIABLE = "PROVCRT_STORE"


@dataclass(frozen=True)
class Records:
    """A store of records, the folder with the key that seals them, and stores to read what it does not have."""

    place: Path
    home: Path
    below: tuple[Path, ...] = ()

    @classmethod
    def own(cls, folder: Path) -> Self:
        """Return this user's, for notebooks in a folder."""
        place = find_store(folder, os.environ)
        return cls(place, user_folder(), tuple(stores_below(place, os.environ)))

    @classmethod
    def apart(cls, folder: Path) -> Self:
        """Return some that never mix with this user's, in a folder that need not be there yet."""
        return cls(folder / "store", folder)

    def open(self) -> Store:
        """Open the store; StoreError where it cannot be."""
        user_seal(self.home)  # makes the key
        return Store.open(self.place, key=_key(self.home), below=self.below)

    def shared(self, folder: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], list[Bind]]:
        """Return what a sandboxed kernel needs to find them.

        Parameters
        ----------
        folder : Path
            One that the sandbox sees.
        environ : mapping of str to str
            The kernel's environment.

        Returns
        -------
        dict of str to str
            What to add to the environment.
        list of Bind
            What to bind, the folder itself apart.
        """
        self.open().close()
        (folder / "store").mkdir()
        data = environ.get("XDG_DATA_HOME") or f"{environ.get('HOME', '/')}/.local/share"
        binds = [Bind(str(self.place), f"{folder}/store", writable=True)]
        if _key(self.home) is not None:
            binds.append(Bind(str(self.home / "key"), f"{data}/provcrt/key"))
        return {VARIABLE: f"{folder}/store"}, binds


def _key(home: Path) -> bytes | None:
    try:
        return (home / "key").read_bytes() or None
    except OSError:
        return None
