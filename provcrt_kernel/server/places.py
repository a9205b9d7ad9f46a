"""Where things are: contents paths of Jupyter, and what they may lead to.

No path that somebody sends leads out of the server's root, through ``..`` or a symbolic link; of what lies outside only the
stores that a notebook's kernel uses are read, and those nobody can name.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from provcrt_kernel.replay.recall import Place
from provcrt_kernel.runtime import Project
from provcrt_kernel.runtime.archive import EXECUTED, FOLDER, SOURCE, nearest
from provcrt_kernel.store import find_store


class Refused(Exception):
    """What was asked for cannot be done; `status` is that of HTTP, and the message one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @classmethod
    def outside(cls, path: str) -> Refused:
        """A path leads out of the root."""
        return cls(403, f"{path!r} is not within the folder that this server shows")

    @classmethod
    def not_there(cls, path: str) -> Refused:
        """There is nothing at a path."""
        return cls(404, f"{path!r} does not exist")

    @classmethod
    def no_record(cls, id: str) -> Refused:
        """A store has no such record."""
        return cls(
            404, f"there is no record {id[:100]!r} in this notebook's store: it was evicted, or never made"
        )

    @classmethod
    def no_project(cls, path: str) -> Refused:
        """There is no project at or above a path, within the root."""
        return cls(404, f"there is no project at {path or 'the root'!r}: execute a notebook there first")


class Places:
    """The paths within a server's root.

    Parameters
    ----------
    root : Path
        The folder that the server shows.
    """

    def __init__(self, root: Path) -> None:
        self.given = root.absolute()
        self.root = Path(os.path.realpath(root))

    def resolve(self, path: str, *, new: bool = False) -> Path:
        """Return the file or folder at a contents path.

        Parameters
        ----------
        new
            Whether it need not be there; its folder must.

        Raises
        ------
        Refused
            It leads out of the root, or is not there.
        """
        parts = PurePosixPath(path.strip("/")).parts
        if "\0" in path or ".." in parts or path.startswith("//"):
            raise Refused.outside(path)
        try:
            found = Path(os.path.realpath(self.root.joinpath(*parts)))
            there = found.parent.is_dir() if new else found.exists()
        except (OSError, ValueError):
            raise Refused.not_there(path) from None
        if not self.within(found):
            raise Refused.outside(path)
        if not there:
            raise Refused.not_there(path)
        return found

    def within(self, path: Path) -> bool:
        """Whether a path, all links followed, is in the root."""
        return Path(os.path.realpath(path)).is_relative_to(self.root)

    def contents(self, path: str | Path) -> str | None:
        """Return the contents path of a file, or None where it has none."""
        real = Path(os.path.realpath(path))
        return real.relative_to(self.root).as_posix() if real.is_relative_to(self.root) else None

    def placed(self, path: str) -> Place:
        """Tell where a file is."""
        return Place(path, self.contents(path))

    def spellings(self, notebook: Path) -> list[str]:
        """Return the ways in which a kernel may have been told where its notebook is."""
        inside = notebook.relative_to(self.root)
        return list(dict.fromkeys((str(self.given / inside), str(notebook))))

    def store(self, path: str) -> Path:
        """Return the folder of the store that a notebook, or notebooks in a folder, use."""
        found = self.resolve(path)
        return find_store(found if found.is_dir() else found.parent, os.environ)

    def project(self, path: str) -> Project:
        """Return the project that a notebook or folder is in.

        Raises
        ------
        Refused
            There is none, or some of it lies outside of the root.
        """
        found = self.resolve(path)
        root = nearest(found if found.is_dir() else found.parent)
        if root is None or not self.within(root / FOLDER):
            raise Refused.no_project(path)
        project = Project(root)
        if not self.within(project.archive.folder):
            raise Refused.outside(path)
        return project

    def execution(self, project: Project, id: str) -> str:
        """Return an execution's id if all that is kept of it lies within the root."""
        folder = project.archive.folder / id
        if project.archive.is_id(id) and not all(
            self.within(folder / name) for name in ("", "execution.json", SOURCE, EXECUTED, "repetitions")
        ):
            raise Refused.outside(id)
        return id

    def linked(self, folder: Path) -> bool:
        """Whether an execution's folder, or what it says in it, is a link: then it is none that we made."""
        return os.path.islink(folder) or os.path.islink(folder / "execution.json")

    def free(self, wanted: Path) -> Path:
        """Return a path like this one at which there is nothing."""
        number, found = 1, wanted
        while found.exists() or found.is_symlink():
            number += 1
            found = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        return found
