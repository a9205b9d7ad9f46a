"""The directive ``{commands}``: every command of ``provcrt``, as ``--help`` shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from provcrt_kernel.cli.app import app

WIDTH = 86  # columns


def described(path: str, command: Any) -> Iterator[str]:
    """Yield the section of a command in Markdown, line by line, and those of its subcommands."""
    for name, each in sorted(getattr(command, "commands", {}).items()):
        if not each.hidden:
            yield from described(f"{path} {name}", each)
    if not hasattr(command, "commands"):
        command.rich_markup_mode = None  # no boxes
        context = typer.Context(command, info_name=path, terminal_width=WIDTH)
        yield from (f"## {path}", "", "```text", command.get_help(context), "```", "")


class Commands(SphinxDirective):
    """Insert the reference of all commands."""

    def run(self) -> list[nodes.Node]:
        """Return its sections."""
        text = "\n".join(described("provcrt", typer.main.get_command(app)))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
