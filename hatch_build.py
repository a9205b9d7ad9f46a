"""Puts the JupyterLab extension into the wheel, so that who installs it needs no node.

It is built where it is not there yet and npm is; where npm is missing the kernel and the command line are installed
without it, and one line says so. An editable install takes what is built and builds nothing: `make extension` does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = "provcrt_kernel/labextension"
_PATIENCE = 600  # seconds
SHARED = "share/jupyter/labextensions/provcrt-jupyterlab"


class LabExtensionHook(BuildHookInterface):
    """Builds `extension/` before the wheel, and shares it where JupyterLab looks."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing, and add it to the wheel's data.

        Parameters
        ----------
        version
            ``standard`` or ``editable``.
        build_data
            What hatchling goes on with; `shared_data` gets the extension's folder.
        """
        root = Path(self.root)
        if not (root / BUILT / "package.json").exists() and version != "editable":
            why = self._build(root / "extension")
            if why:
                self.app.display_warning(f"the JupyterLab extension was not built: {why}")
        if (root / BUILT / "package.json").exists():
            build_data.setdefault("shared_data", {})[BUILT] = SHARED
            build_data["shared_data"]["extension/install.json"] = f"{SHARED}/install.json"

    def _build(self, folder: Path) -> str:
        """Build it; why it could not be built, or nothing."""
        if os.environ.get("PROVCRT_LABEXTENSION") == "0":
            return "PROVCRT_LABEXTENSION is 0"
        npm = shutil.which("npm")
        if npm is None:
            return "npm is missing (install Node.js 20 or newer and install again)"
        fetch = (
            "ci",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
            "--fetch-timeout=20000",
            "--fetch-retries=1",
        )
        for arguments in (fetch, ("run", "build:prod")):
            try:
                done = subprocess.run(
                    (npm, *arguments),
                    check=False,
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    timeout=_PATIENCE,
                )
            except subprocess.TimeoutExpired:
                return f"npm {arguments[0]} took longer than {_PATIENCE} seconds"
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
                return f"npm {arguments[0]} failed ({''.join(last)})"
        return ""
