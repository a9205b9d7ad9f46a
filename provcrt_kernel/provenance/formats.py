"""A PROV document in the formats that others read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from provcrt_kernel.provenance.drawing import Graph, mermaid, svg

if TYPE_CHECKING:
    from prov.model import ProvDocument

Format = Literal["json", "n", "xml", "turtle", "mermaid", "svg"]
#: Of these, the ones that are looked at: what belongs to packages is left out of them.
DRAWN = ("mermaid", "svg")


def written(document: ProvDocument, format: Format, title: str = "") -> str:
    """Return a document as text.

    Parameters
    ----------
    document : prov.model.ProvDocument
    format : {"json", "n", "xml", "turtle", "mermaid", "svg"}
        PROV-JSON, PROV-N, PROV-XML, PROV-O as Turtle, a flow chart that Mermaid draws, or a picture.
    title : str
        Of the picture.
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
            return mermaid(Graph.of(document))
        case "svg":
            return svg(Graph.of(document), title)
