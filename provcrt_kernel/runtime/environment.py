"""The environment of a run: Python, the platform, and every installed distribution with its version."""

from __future__ import annotations

import getpass
import os
import platform

from provcrt_kernel.runtime.content import Content
from provcrt_kernel.runtime.execution import Environment


def here() -> Environment:
    """Return the environment of this interpreter, which is the one that its kernels run in."""
    from importlib import metadata  # which a run of a command can do without

    # The first of two with one name is the one that an import finds.
    packages: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            packages.setdefault(name, distribution.version)
    return Environment(
        python=f"{platform.python_version()} {platform.python_implementation()}",
        platform=system(),
        packages=dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    )


def of(content: Content) -> Environment:
    """Return the environment that a container's packages make."""
    named = {f"{each.package.name}": each.package.version for each in content.packs}
    python = next((each.package.version for each in content.packs if each.package.manager == "python"), "")
    if not python:
        python = next((v for n, v in named.items() if n.startswith("python3.") or n == "python"), "")
    return Environment(
        python=python,
        platform=system(),
        packages=dict(sorted(named.items(), key=lambda item: item[0].lower())),
    )


def system() -> str:
    """Return what `platform.platform` does, which starts a program to ask for a processor that it then leaves out."""
    about = os.uname()
    return f"{about.sysname}-{about.release}-{about.machine}-with-{''.join(platform.libc_ver())}".rstrip("-")


def user() -> str:
    """Return the name of who runs this, or the number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.geteuid())
