"""Tell Jupyter about the kernel: write its kernelspec."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NAME = "provcrt"

#: Fingerprints of sets and strings must be the same in every process.
SPEC: dict[str, Any] = {
    "argv": [sys.executable, "-m", "provcrt_kernel", "-f", "{connection_file}"],
    "display_name": "PROV-CRT Python",
    "language": "python",
    "metadata": {"debugger": True, "supported_features": ["kernel subshells"]},
    "env": {"PYTHONHASHSEED": "0"},
}


def install(*, user: bool = False, prefix: str | None = None) -> str:
    """Write the kernelspec; returns the folder it is in.

    Parameters
    ----------
    user
        For this user only; otherwise below `prefix`, by default where Jupyter's system-wide data is.
    """
    import ipykernel
    from jupyter_client.kernelspec import KernelSpecManager

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kernel.json").write_text(json.dumps(SPEC, indent=1) + "\n")
        for logo in (Path(ipykernel.__file__).parent / "resources").glob("logo-*"):
            shutil.copy(logo, folder)
        where: str = KernelSpecManager().install_kernel_spec(folder, NAME, user=user, prefix=prefix)
    return where


def main(argv: list[str]) -> int:
    """``python -m provcrt_kernel install``."""
    parser = argparse.ArgumentParser(
        prog="python -m provcrt_kernel install", description="Install the PROV-CRT Python kernelspec."
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--user", action="store_true", help="for this user only")
    place.add_argument("--sys-prefix", action="store_true", help="for this Python environment")
    place.add_argument("--prefix", help="below this folder, in share/jupyter/kernels")
    options = parser.parse_args(argv)
    prefix = sys.prefix if options.sys_prefix else options.prefix
    try:
        where = install(user=options.user, prefix=prefix)
    except OSError as error:
        print(
            f"provcrt: cannot write the kernelspec to {error.filename}: {error.strerror}; choose --user or --prefix DIR",
            file=sys.stderr,
        )
        return 1
    print(f"PROV-CRT Python is installed in {where}")
    if find_spec("jupyterlab") and not _in_lab():
        print(
            "JupyterLab has no PROV-CRT extension, it was not built: install Node.js 20, then provcrt-kernel again"
        )
    return 0


def _in_lab() -> bool:
    """Whether JupyterLab's extension is where JupyterLab looks."""
    from jupyter_core.paths import jupyter_path

    return any(
        Path(folder, "provcrt-jupyterlab", "package.json").exists()
        for folder in jupyter_path("labextensions")
    )
