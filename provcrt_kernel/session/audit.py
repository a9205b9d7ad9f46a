"""What Python itself tells of a cell, through audit events (PEP 578): it classifies, it never proves completeness.

=================  ===========================================================================================
event              what is made of it
=================  ===========================================================================================
import             top-level names that were looked for: where each was found is an input, not what lay around it
os.listdir         a directory that somebody other than the import system listed; for `importlib.metadata`, the names of
                   installed distributions in it
os.mkdir           a directory that may have been there already (``exist_ok=True``)
open               a picture that Pillow writes: it asked whether the file is there, and nothing follows from the answer
pickle.find_class  a pickle names a class or function of the notebook: it reads that name
sys._getframe      a library looks at its caller's frame, so it may read any name, or those in the text it evaluates; `logging`,
                   for the line
=================  ===========================================================================================
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.session.expressions import named

#: Packages that look at frames for names of modules, warnings and log lines, never for the values of a notebook.
_FRAME_USERS = sys.stdlib_module_names | frozenset(
    "numpy matplotlib IPython ipykernel traitlets sklearn scipy torch joblib pandas seaborn PIL typing_extensions ipywidgets "
    "comm tornado zmq jupyter_client debugpy pydevd _pydevd_bundle _pydev_bundle provcrt_kernel decorator networkx sympy xgboost "
    "lightgbm pydantic polars pyarrow plotly attr cloudpickle dateutil narwhals matplotlib_inline executing stack_data jedi "
    "parso".split()
)
#: Their modules that do read values.
_FRAME_READERS = ("pandas.core.computation", "sympy.parsing", "sympy.interactive", "polars.sql")

_METADATA = importlib.metadata.__file__


class Audit:
    """Events of the current span. `install` once per process; `clear` when a span begins."""

    def __init__(self) -> None:
        self.imported: dict[str, None] = {}
        self.listed: set[str] = set()
        self.distributions: set[str] = set()
        self.tolerated: set[str] = set()
        self.pictures: set[str] = set()
        self.frame_reader: str | None = None
        self.on_frame_read: Callable[[frozenset[str] | None], None] | None = None
        self.names_read: set[str] = set()
        self.lines = False
        self._listening = False
        self._inside = False
        self._handlers: dict[str, Callable[[tuple[Any, ...]], None]] = {
            "import": self._import,
            "os.listdir": self._listing,
            "os.scandir": self._listing,
            "os.mkdir": self._mkdir,
            "open": self._open,
            "pickle.find_class": self._find_class,
            "sys._getframe": self._frame,
        }

    def install(self) -> None:
        """Begin to listen; an audit hook cannot be removed."""
        handlers = self._handlers

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in handlers and self._listening and not self._inside:
                self._inside = True
                try:
                    handlers[event](arguments)
                except Exception:
                    pass
                finally:
                    self._inside = False

        sys.addaudithook(hook)

    def clear(self) -> None:
        """A span begins: forget what was heard, listen."""
        self.imported.clear()
        self.listed.clear()
        self.distributions.clear()
        self.tolerated.clear()
        self.pictures.clear()
        self.frame_reader = None
        self.names_read.clear()
        self.lines = False
        self._listening = True

    def rest(self) -> None:
        """A span is over."""
        self._listening = False

    def _import(self, arguments: tuple[Any, ...]) -> None:
        name = arguments[0]
        if isinstance(name, str):
            self.imported.setdefault(name.partition(".")[0])

    def _listing(self, arguments: tuple[Any, ...]) -> None:
        caller = sys._getframe(2)
        if caller.f_code.co_filename != "<frozen importlib._bootstrap_external>":
            path = arguments[0] if arguments and arguments[0] is not None else "."
            if isinstance(path, str | bytes | os.PathLike):
                ours = self.distributions if caller.f_code.co_filename == _METADATA else self.listed
                ours.add(os.path.realpath(os.fsdecode(path)))
            else:
                self.listed.add("*")

    def _mkdir(self, arguments: tuple[Any, ...]) -> None:
        frame = sys._getframe(2)
        for _ in range(3):
            if frame.f_code.co_name in ("makedirs", "mkdir") and frame.f_locals.get("exist_ok"):
                self.tolerated.add(os.path.realpath(os.fsdecode(arguments[0])))
                return
            if frame.f_back is None:
                return
            frame = frame.f_back

    def _open(self, arguments: tuple[Any, ...]) -> None:
        path, _, flags = arguments
        caller = sys._getframe(2)
        # Pillow removes a file that it made and could not finish, so it asks first; it empties what is there anyway
        if not flags & os.O_TRUNC or caller.f_code.co_name != "save" or "created" not in caller.f_locals:
            return
        if caller.f_globals.get("__name__") == "PIL.Image":
            folder, name = os.path.split(os.fsdecode(path))
            # to resolve all of it would be to ask again
            self.pictures.add(os.path.join(os.path.realpath(folder or "."), name))

    def _find_class(self, arguments: tuple[Any, ...]) -> None:
        module, name = arguments
        if module == "__main__":
            self._read(frozenset({name.partition(".")[0]}))

    def _frame(self, arguments: tuple[Any, ...]) -> None:
        frame: Any = sys._getframe(2)
        module = frame.f_globals.get("__name__", "")
        while module == "inspect" and frame.f_back is not None:
            frame = frame.f_back
            module = frame.f_globals.get("__name__", "")
        self.lines |= module == "logging"
        if module.partition(".")[0] in _FRAME_USERS and not module.startswith(_FRAME_READERS):
            return
        if imports_library(frame):
            return
        names = named(frame)
        if names is None:
            self.frame_reader = "the notebook" if module == "__main__" else module
        self._read(names)

    def _read(self, names: frozenset[str] | None) -> None:
        """Some names of the notebook are about to be read (None: any)."""
        self.names_read |= names or frozenset()
        if self.on_frame_read is not None:
            self.on_frame_read(names)


def imports_library(frame: FrameType | None) -> bool:
    """Whether the innermost module that is being run is an installed package's: no value of the notebook is looked for."""
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    # the program that all runs in is a module, too, and may be installed: nothing imports that one
    return frame is not None and is_library(frame.f_code.co_filename) and _imported(frame.f_back)


def _imported(frame: FrameType | None) -> bool:
    return frame is not None and "importlib" in frame.f_code.co_filename
