"""What somebody needs to install to run the same, in files that pip, apt, conda, Docker and repo2docker take as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from provcrt_kernel.provenance.owners import Package
from provcrt_kernel.provenance.words import one_line

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~:!-]*")
Format = Literal["pip", "apt", "conda", "dockerfile", "binder", "readme"]


def requirements(packages: Sequence[Package], python: str, format: Format, command: str) -> str:
    """Return a file that asks for packages in their versions.

    Parameters
    ----------
    packages : sequence of Package
    python : str
        Its version; empty where none is needed.
    format : {"pip", "apt", "conda", "dockerfile", "binder", "readme"}
        ``requirements.txt``, ``apt.txt``, ``environment.yml``, ``Dockerfile``, the three files that repo2docker reads, as a shell
        script that writes them, or a text for people.
    command : str
        What is to be run, for a person's eye.

    Packages whose names or versions are none are left out.

    Returns
    -------
    str
        With a newline at the end, or empty.
    """
    # what a stranger calls a package must not become an option or a command of whoever reads the file
    packages = [each for each in packages if _NAME.fullmatch(each.name) and _VERSION.fullmatch(each.version)]
    python = python if _VERSION.fullmatch(python) else ""
    by = {
        name: [each for each in packages if each.manager == name] for name in ("pip", "dpkg", "rpm", "conda")
    }
    match format:
        case "pip":
            lines = [f"{each.name.replace('_', '-')}=={each.version}" for each in by["pip"]]
        case "apt":
            lines = [f"{each.name}={each.version}" for each in by["dpkg"]]
        case "conda":
            lines = _conda(by["conda"], by["pip"], python)
        case "dockerfile":
            lines = _dockerfile(by["dpkg"], by["pip"], python)
        case "binder":
            lines = _binder(by["dpkg"], by["pip"], python)
        case "readme":
            lines = _readme(by, python, command)
    return "".join(f"{line}\n" for line in lines)


def _conda(conda: Sequence[Package], pip: Sequence[Package], python: str) -> list[str]:
    lines = ["channels:", "  - conda-forge", "dependencies:"]
    named = {each.name for each in conda}
    if python and "python" not in named:
        lines.append(f"  - python={python}")
    lines += [f"  - {each.name}={each.version}" for each in conda]
    if pip:
        lines += ["  - pip", "  - pip:"]
        lines += [f"      - {each.name.replace('_', '-')}=={each.version}" for each in pip]
    return lines


def _dockerfile(apt: Sequence[Package], pip: Sequence[Package], python: str) -> list[str]:
    lines = [f"FROM python:{python}-slim" if python else "FROM debian:stable-slim"]
    if (
        apt
    ):  # versions of Debian's packages come and go in its archive: which one it was is told, not asked for
        lines += [f"# {each.name} was {each.version}" for each in apt]
        lines.append("RUN apt-get update && apt-get install -y --no-install-recommends \\")
        lines += [f"    {each.name} \\" for each in apt]
        lines.append("    && rm -rf /var/lib/apt/lists/*")
    if pip:
        lines.append("RUN pip install --no-cache-dir \\")
        names = [f"    {each.name.replace('_', '-')}=={each.version}" for each in pip]
        lines += [f"{name} \\" for name in names[:-1]] + names[-1:]
    return lines


def _binder(apt: Sequence[Package], pip: Sequence[Package], python: str) -> list[str]:
    """Return what writes ``binder/`` (https://repo2docker.readthedocs.io/en/latest/configuration/): apt.txt takes names alone."""
    files = {
        "apt.txt": [each.name for each in apt],
        "requirements.txt": [f"{each.name.replace('_', '-')}=={each.version}" for each in pip],
        "runtime.txt": [f"python-{'.'.join(python.split('.')[:2])}"] if python else [],
    }
    lines = ["mkdir -p binder"]
    for name, content in files.items():
        if content:
            lines += [f"cat > binder/{name} <<'END'", *content, "END"]
    return lines


def _readme(by: dict[str, list[Package]], python: str, command: str) -> list[str]:
    lines = ["# What is needed", "", f"    {one_line(command)}", ""]
    if python:
        lines += [f"Python {python}", ""]
    titles = {
        "pip": "Python packages",
        "conda": "conda packages",
        "dpkg": "Debian packages",
        "rpm": "rpm packages",
    }
    for manager, title in titles.items():
        if by[manager]:
            lines += [f"## {title}", "", *(f"- {each.name} {each.version}" for each in by[manager]), ""]
    return lines
