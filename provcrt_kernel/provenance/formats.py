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
            return str(_for_xml(document).serialize(format="xml"))
        case "turtle":
            return str(document.serialize(format="rdf", rdf_format="turtle"))
        case "mermaid":
            return mermaid(Graph.of(document))
        case "svg":
            return svg(Graph.of(document), title)


def _for_xml(document: ProvDocument) -> ProvDocument:
    """Return a document in which every text is one that XML can have: names of files may be of any bytes."""
    from prov.model import ProvDocument

    told = ProvDocument(namespaces=document.namespaces)
    for record in document.get_records():
        facts = [
            (name, "".join(map(_letter, value)) if isinstance(value, str) else value)
            for name, value in record.attributes
        ]
        told.new_record(record.get_type(), record.identifier, facts)
    return told


def _letter(each: str) -> str:
    """Return a character, or its number where XML 1.0 has none such (https://www.w3.org/TR/xml/#charsets)."""
    if each in "\t\n\r" or " " <= each <= "\ud7ff" or "\ue000" <= each <= "\ufffd" or each >= "\U00010000":
        return each
    byte = "\udc80" <= each <= "\udcff"  # of a name that is not UTF-8
    return f"\\x{ord(each) - 0xDC00 if byte else ord(each):02x}"
