"""Arguments that several commands share, as typer is told of them."""

from __future__ import annotations

from typing import Annotated

import typer

Id = Annotated[str, typer.Argument(metavar="ID", help="An execution, such as e1.")]
What = Annotated[str, typer.Argument(metavar="PATH", help="A file, or a variable.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Network = Annotated[
    bool, typer.Option("--network", help="Let what others made reach the network, where it says that it did.")
]
