"""An execution as a W3C PROV document (https://www.w3.org/TR/prov-dm/).

A file version is an entity, a cell's execution an activity, the user an agent. ::

    entity file version ──used── activity cell ──wasAssociatedWith── agent user
    entity file version ──wasGeneratedBy── activity cell ──wasStartedBy── activity execution

A cell that was replayed is the activity that its record tells of; its attribute ``provcrt:status`` says so.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.provenance.words import one_line

if TYPE_CHECKING:
    from prov.model import ProvDocument, ProvEntity

NAMESPACE = "urn:provcrt:"


@dataclass(frozen=True)
class Activity:
    """One cell's execution, or one process, as the document tells it.

    Attributes
    ----------
    number : int
        The cell's number among the code cells, from 1.
    cell : str
        Its id in the notebook; empty for a process.
    started, ended : float
        Seconds since the epoch.
    used, generated : sequence of FileVersion
        What it read and wrote.
    attributes : mapping of str to str
        Further facts: status, reason, …
    label : str
        What it is called, where it is not a cell.
    starter : int
        The number of the activity that started it; 0 for the execution as a whole.
    """

    number: int
    cell: str
    started: float
    ended: float
    used: Sequence[FileVersion] = ()
    generated: Sequence[FileVersion] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    starter: int = 0

    @property
    def name(self) -> str:
        """Its name within the execution."""
        return f"cell-{self.number}" if self.cell else f"process-{self.number}"


def execution_document(
    execution: str,
    *,
    notebook: FileVersion | None,
    user: str,
    activities: Sequence[Activity],
    environment: Mapping[str, str],
    root: Path,
) -> ProvDocument:
    """Return a PROV document for one execution.

    Parameters
    ----------
    execution : str
        Its id, such as ``e1``.
    notebook : FileVersion or None
        The notebook that was run: the plan that the user followed; a command has none.
    user : str
        Who ran it.
    activities : sequence of Activity
        Its cells or processes, in the order in which they ran; at least one.
    environment : mapping of str to str
        Facts about where it ran: Python's version, the platform.
    root : Path
        The project's folder: paths within it are told relative to it.

    Returns
    -------
    prov.model.ProvDocument
        Which serialises itself as JSON, PROV-N or XML.
    """
    from prov.model import PROV, PROV_TYPE, ProvDocument  # a tenth of a second that only this needs

    document = ProvDocument()
    document.add_namespace("provcrt", NAMESPACE)
    document.add_namespace("run", f"urn:provcrt:execution:{execution}:")
    document.add_namespace("content", "urn:provcrt:content:")
    document.add_namespace("user", "urn:provcrt:user:")

    agent = document.agent(f"user:{_name(user)}", {PROV_TYPE: PROV["Person"], "prov:label": one_line(user)})
    plan = _entity(document, notebook, root, {PROV_TYPE: PROV["Plan"]}) if notebook is not None else None
    whole = document.activity(
        f"run:{execution}",
        _time(min((cell.started for cell in activities), default=0.0)),
        _time(max((cell.ended for cell in activities), default=0.0)),
        {
            "prov:label": execution,
            **{f"provcrt:{_name(key)}": one_line(value) for key, value in environment.items()},
        },
    )
    document.wasAssociatedWith(whole, agent, plan)

    told = {0: whole}
    for cell in activities:
        activity = told[cell.number] = document.activity(
            f"run:{cell.name}",
            _time(cell.started),
            _time(cell.ended),
            {
                "prov:label": one_line(cell.label) or f"cell {cell.number}",
                **({"provcrt:cell": one_line(cell.cell)} if cell.cell else {}),
                **{f"provcrt:{key}": one_line(value) for key, value in cell.attributes.items() if value},
            },
        )
        document.wasAssociatedWith(activity, agent, plan)
        starter = told.get(cell.starter, whole)
        document.wasStartedBy(activity, starter=starter, time=_time(cell.started))
        for file in cell.used:
            document.used(activity, _entity(document, file, root))
        for file in cell.generated:
            document.wasGeneratedBy(_entity(document, file, root), activity, _time(cell.ended))
    return document.unified()


def _entity(
    document: ProvDocument, file: FileVersion, root: Path, further: Mapping[object, object] | None = None
) -> ProvEntity:
    """Return the entity of a file version; equal ones become one when the document is unified."""
    path = Path(file.path)
    shown = str(path.relative_to(root)) if path.is_relative_to(root) else file.path
    told = one_line(shown)  # names of files may be of any bytes, and not all of them can be in XML
    facts: dict[object, object] = {"prov:label": told, "provcrt:path": told, **(further or {})}
    if file.digest:
        facts["provcrt:xxh3_128"] = file.digest
    return document.entity(f"content:{file.digest or 'unknown'}/{_name(shown)}", facts)


def _time(seconds: float) -> datetime.datetime | None:
    """Return a time as the document has it; None of one that no calendar has."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _name(text: str) -> str:
    """Return text as part of a qualified name, the same text always as the same one, and no two as one."""
    return "".join(
        character
        if character.isascii() and (character.isalnum() or character in "-_./")
        else f"%{ord(character):02X}"
        for character in text
    )
