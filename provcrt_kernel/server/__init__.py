"""The extension of Jupyter's server: REST for pages that show what was replayed, and why; a thin face on runtime and replay.

``pip install provcrt-kernel[lab]`` switches it on: the wheel brings ``jupyter_server_config.d/provcrt_kernel.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "provcrt_kernel.server"}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    """Add our handlers and our event to the server."""
    from provcrt_kernel.server.handlers import load

    load(app)
