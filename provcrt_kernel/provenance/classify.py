"""What each file of a run is: input, transient, output, configuration, user program, or a dependency, and why."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

from provcrt_kernel.provenance.audit import Touched
from provcrt_kernel.provenance.owners import Package
from provcrt_kernel.provenance.packages import normal

Class = Literal[
    "input",
    "transient",
    "output",
    "configuration",
    "user program",
    "user-listed dependency",
    "system dependency",
]
CLASSES: tuple[Class, ...] = (
    "user program",
    "input",
    "configuration",
    "transient",
    "output",
    "user-listed dependency",
    "system dependency",
)
_SOURCES = re.compile(
    r"\.(py|pyx|sh|bash|zsh|r|jl|pl|pm|rb|js|mjs|ts|m|do|sas|c|cc|cpp|h|hpp|f|f90|java|class|jar|scala|go|rs|sql|awk|sed|mk|"
    r"ipynb|rmd|qmd|tex|so)$|/(Makefile|Snakefile|Rakefile|makefile)$",
    re.IGNORECASE,
)
_SETTINGS = re.compile(
    r"\.(ini|cfg|conf|config|toml|ya?ml|properties|env|rc)$|/\.[^/]*rc$|/\.(config|env|netrc|gitconfig|Rprofile|profile|condarc)\b|"
    r"^/etc/|/(environment|requirements[^/]*|apt|packages|settings|config)\.(txt|yml|yaml|json)$",
    re.IGNORECASE,
)
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib", "/opt/", "/var/lib/", "/nix/")


class Classified(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a run.

    Attributes
    ----------
    path : str
    kind : str
        One of `CLASSES`.
    why : str
        What speaks for that, in a few words.
    digest : str or None
        Of the content that the run read, or, of an output, left.
    size : int
        Bytes.
    package : Package or None
        What it belongs to.
    """

    path: str
    kind: Class
    why: str
    digest: str | None = None
    size: int = 0
    package: Package | None = None


def classify(
    files: Iterable[Touched],
    owner: Mapping[str, Package],
    listed: Mapping[str, str],
    system: Collection[str] = (),
) -> list[Classified]:
    """Tell what each file of a run is.

    Parameters
    ----------
    files : iterable of Touched
        What the run did.
    owner : mapping of str to Package
        The package of each file that belongs to one.
    listed : mapping of str to str
        Packages that the user asks for, by their name as PEP 503 compares it, and where.
    system : collection of str
        Files of environments and interpreters that belong to no package.
    """
    return [
        Classified(
            fact.path,
            kind,
            why,
            (fact.after if kind == "output" else fact.before) or fact.after,
            fact.size,
            owner.get(fact.path),
        )
        for fact in files
        if fact.kind == "file"
        for kind, why in [_class(fact, owner.get(fact.path), listed, system)]
    ]


def _class(
    fact: Touched, package: Package | None, listed: Mapping[str, str], system: Collection[str]
) -> tuple[Class, str]:
    changed = fact.written or fact.removed
    if fact.removed:
        return "transient", "removed by the run" if not fact.read else "read, and removed by the run"
    if fact.written:
        if fact.read or fact.was:
            return "output", "was there, and changed by the run"
        return "output", "left by the run"
    if package is not None:
        where = listed.get(normal(package.name))
        if where:
            return "user-listed dependency", f"named in {where}"
        return "system dependency", f"of the package {package.name}"
    if not changed and _SETTINGS.search(fact.path):
        return "configuration", "its name or place is one of settings"
    if fact.path in system or fact.path.startswith(_SYSTEM):
        return "system dependency", "in a folder of the system"
    if fact.executed:
        return "user program", "executed"
    if _SOURCES.search(fact.path):
        return "user program", "source that was read" if fact.read else "source that was looked for"
    return "input", "read" if fact.read else "looked at, not read"


def shown_path(path: str, root: str) -> str:
    """Return a path as it is told: relative to the project's folder where it is in there."""
    return os.path.relpath(path, root) if path.startswith(root.rstrip("/") + "/") else path
