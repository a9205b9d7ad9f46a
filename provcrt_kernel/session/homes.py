"""Where a module, a function or a class comes from, and so whether a name is enough to identify it.

Four homes: the *notebook* (known by value alone), the *stdlib*, an installed *package* (known by name; its
version is an input elsewhere), and *local* modules (files of the project, known by name and by the content of
their files).
"""

from __future__ import annotations

import os
import sys
from types import FunctionType, ModuleType
from typing import Any, Literal, TypeGuard, TypeVar

from provcrt_kernel.provenance.packages import library_folders

_T = TypeVar("_T")

Home = Literal["notebook", "stdlib", "package", "local", "unknown"]

# Read through the type's own descriptors: a metaclass of the notebook must not be asked anything.
module_of = type.__dict__["__module__"].__get__
qualname_of = type.__dict__["__qualname__"].__get__
mro_of = type.__dict__["__mro__"].__get__
bases_of = type.__dict__["__bases__"].__get__
dict_of = type.__dict__["__dict__"].__get__

_NOTEBOOK = frozenset({"__main__", "__mp_main__"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})


#: Of another version's libraries below this interpreter's, too.
_ROOTS = (*library_folders(), os.path.join(sys.prefix, "lib", ""))
_known: dict[str, tuple[int, Home]] = {}


def is_local(module: ModuleType) -> bool:
    """Whether a module's file belongs to the user's project rather than to Python or an installed package.

    Parameters
    ----------
    module : ModuleType
        Any module object.

    Returns
    -------
    bool
        True for a ``__file__`` (or a namespace package's first directory) outside of every ``site-packages``,
        ``dist-packages`` and library directory; editable installs are local.
    """
    attributes = module.__dict__
    path = attributes.get("__file__")
    if not isinstance(path, str):
        try:
            path = next(iter(attributes.get("__path__", ())), None)
        except Exception:
            return False
        if not isinstance(path, str):
            return False
    path = os.path.abspath(path)
    return not (path.startswith(_ROOTS) or _INSTALLED.intersection(path.split(os.sep)))


def home_of(name: object) -> Home:
    """The home of the module called `name` (dotted, as in ``__module__``)."""
    if type(name) is not str:
        return "unknown"
    if name in _NOTEBOOK:
        return "notebook"
    module = sys.modules.get(name)
    cached = _known.get(name)
    if cached is not None and cached[0] == id(module):
        return cached[1]
    home = _classify(name, module)
    _known[name] = (id(module), home)
    return home


def _classify(name: str, module: object) -> Home:
    if isinstance(module, ModuleType) and is_local(module):
        return "local"
    if name.partition(".")[0] in sys.stdlib_module_names:
        return "stdlib"
    return "package" if isinstance(module, ModuleType) else "unknown"


def is_a(value: object, kind: type[_T] | tuple[type[_T], ...]) -> TypeGuard[_T]:
    """As ``isinstance``, by the type that a value has: what it says of its class may be code of the notebook."""
    return issubclass(type(value), kind)


def resolves(module: object, qualname: object, value: object) -> bool:
    """Whether importing `module` and following `qualname` gives `value`; no descriptor is run."""
    if type(module) is not str or type(qualname) is not str:
        return False
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        if isinstance(found, ModuleType):
            found = found.__dict__.get(part, _MISSING)
        elif isinstance(found, type):
            found = next((dict_of(base)[part] for base in mro_of(found) if part in dict_of(base)), _MISSING)
            found = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
        else:
            return False
    return found is value


def function_home(function: FunctionType, namespace: object) -> Home:
    """The home of a function: by name if importing finds it, ``notebook`` if it reads the notebook's globals.

    ``unknown`` is a function that only its value identifies although a library's code made it (a closure, a
    decorator's wrapper, what ``exec`` defined in a dict of its own).
    """
    scope = function.__globals__
    if scope is namespace or scope is sys.modules["__main__"].__dict__:
        return "notebook"
    home = home_of(function.__module__)
    named = home not in ("notebook", "unknown")
    return home if named and resolves(function.__module__, function.__qualname__, function) else "unknown"


def class_home(cls: type) -> Home:
    """The home of a class: ``notebook`` if its value alone identifies it."""
    home = home_of(module_of(cls))
    if not cls.__flags__ & _HEAP_TYPE:  # written in C: there is one per process
        return home if home != "unknown" else "package"
    if home == "notebook":
        return "notebook"
    if resolves(module_of(cls), qualname_of(cls), cls):
        return home
    if not _has_python_code(cls):
        return home if home != "unknown" else "package"
    return "notebook"


def _has_python_code(cls: type) -> bool:
    # Types made in C without a name to import (iterators, views) have neither; classes from a class statement
    # do.
    attributes = dict_of(cls)
    return "__weakref__" in attributes or any(isinstance(item, FunctionType) for item in attributes.values())


_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
_MISSING = object()
