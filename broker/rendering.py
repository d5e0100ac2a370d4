"""A document as the bytes a destination takes: one table of the forms Carnet writes. For the pipeline and the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from broker.document import Document, Issue
from broker.mapping.catalogue import MappingSet
from broker.writing import cda, fhir, hl7v2, xdm, xds

Content = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""

Write = Callable[[MappingSet, Document, Content, str], tuple[bytes, Sequence[Issue]]]
"""(mapping set, document, content, name of the outbound mapping or empty) -> what is sent, and what it could not say.

Raises: MappingError `mapping.none` when no outbound mapping is meant for the document, PermanentError `writing.*`."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a document: its media type, how it is written, and what it is, for people.

    is_sent: whether it is complete by itself, so that a destination may be sent it
    mappings: the format that outbound mappings of this form write; empty where none does
    """

    media: str
    write: Write
    what: str
    is_sent: bool = True
    mappings: str = ""


class Rendered(NamedTuple):
    """A document in one form, and what could not be said in it as it was."""

    media: str
    body: bytes
    issues: Sequence[Issue]


def _hl7v2(
    mappings: MappingSet, document: Document, content: Content, name: str
) -> tuple[bytes, Sequence[Issue]]:
    written = mappings.writers.write(document, "hl7v2", content, mapping=name)
    return hl7v2.to_bytes(written.segments, document.id), written.issues


def _fhir(bundle: Literal["transaction", "document"]) -> Write:
    """The writer of one kind of Bundle, adjusted by a mapping."""

    def write(
        mappings: MappingSet, document: Document, content: Content, name: str
    ) -> tuple[bytes, Sequence[Issue]]:
        changes = mappings.writers.adjust(document, "fhir-r4", content, mapping=name)
        return fhir.to_bytes(document, content, bundle, changes), ()

    return write


def _alone(write: Callable[[Document, Content], bytes]) -> Write:
    """A writer that no mapping adjusts."""
    return lambda _mappings, document, content, _name: (write(document, content), ())


FORMS = MappingProxyType(
    {
        "fhir": Form(
            "application/fhir+json",
            _fhir("transaction"),
            "a FHIR R4 transaction Bundle",
            mappings="fhir-r4",
        ),
        "fhir-document": Form(
            "application/fhir+json",
            _fhir("document"),
            "a FHIR R4 document Bundle",
            mappings="fhir-r4",
        ),
        "hl7v2": Form(
            "x-application/hl7-v2+er7",
            _hl7v2,
            "an HL7v2 message, by an outbound mapping",
            mappings="hl7v2",
        ),
        "cda": Form(cda.MEDIA, _alone(cda.to_bytes), "CDA R2; what came as a CDA stays as it is"),
        "xdm": Form(
            xdm.MEDIA, _alone(xdm.to_bytes), "an IHE XDM archive of the CDA and its metadata"
        ),
        "xds": Form(xds.MEDIA, _alone(xds.to_bytes), "the XDS metadata of the CDA", is_sent=False),
    }
)
"""What `sends` and `carnet map --to` know, by name."""


def render(
    mappings: MappingSet, document: Document, form: str, content: Content, *, mapping: str = ""
) -> Rendered:
    """The document in one form.

    Raises: MappingError `mapping.none` when no outbound mapping is meant for it, and those of the mapping and writer.
    """
    chosen = FORMS[form]
    return Rendered(chosen.media, *chosen.write(mappings, document, content, mapping))
