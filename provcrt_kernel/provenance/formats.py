"""A PROV document in the formats that others read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from prov.model import ProvDocument

Format = Literal["json", "n", "xml", "turtle", "mermaid"]


def written(document: ProvDocument, format: Format) -> str:
    """Return a document as text.

    Parameters
    ----------
    document : prov.model.ProvDocument
    format : {"json", "n", "xml", "turtle", "mermaid"}
        PROV-JSON, PROV-N, PROV-XML, PROV-O as Turtle, or a flow chart that Mermaid draws.
    """
    match format:
        case "json":
            return str(document.serialize(format="json", indent=1))
        case "n":
            return str(document.get_provn())
        case "xml":
            return str(document.serialize(format="xml"))
        case "turtle":
            return str(document.serialize(format="rdf", rdf_format="turtle"))
        case "mermaid":
            return _mermaid(document)


def _mermaid(document: ProvDocument) -> str:
    """Return the flow of a document: files into activities into files (https://mermaid.js.org/syntax/flowchart.html)."""
    from prov.model import ProvActivity, ProvEntity, ProvGeneration, ProvStart, ProvUsage

    names: dict[str, str] = {}
    lines = ["flowchart LR"]
    for kind, shape in ((ProvEntity, '["{}"]'), (ProvActivity, '(["{}"])')):
        for record in document.get_records(kind):
            names[str(record.identifier)] = name = f"n{len(names)}"
            label = str(record.label).replace('"', "#quot;").replace("\\n", " ")
            lines.append(f"  {name}{shape.format(label)}")
    arrows = ((ProvUsage, "{1} --> {0}"), (ProvGeneration, "{1} --> {0}"), (ProvStart, "{1} -.-> {0}"))
    for kind, arrow in arrows:
        for record in document.get_records(kind):
            ends = [
                names.get(str(each)) for each in (record.args[0], record.args[2 if kind is ProvStart else 1])
            ]
            if all(ends):
                lines.append("  " + arrow.format(*ends))
    return "\n".join(lines)
