"""A document as the bytes a destination takes: one table of the forms Carnet writes. For the pipeline and the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from broker.document import Document, Issue
from broker.mapping.catalogue import MappingSet
from broker.writing import fhir, hl7v2

Content = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a document: its media type, the format its outbound mappings write, and how it is written.

    write: (mapping set, document, content, name of the outbound mapping or empty)
    """

    media: str
    mappings: str
    write: Callable[[MappingSet, Document, Content, str], tuple[bytes, Sequence[Issue]]]


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


def _fhir(
    mappings: MappingSet, document: Document, content: Content, name: str
) -> tuple[bytes, Sequence[Issue]]:
    changes = mappings.writers.adjust(document, "fhir-r4", content, mapping=name)
    return fhir.to_bytes(document, content, "transaction", changes), ()


def _fhir_document(
    mappings: MappingSet, document: Document, content: Content, name: str
) -> tuple[bytes, Sequence[Issue]]:
    changes = mappings.writers.adjust(document, "fhir-r4", content, mapping=name)
    return fhir.to_bytes(document, content, "document", changes), ()


FORMS = MappingProxyType(
    {
        "fhir": Form("application/fhir+json", "fhir-r4", _fhir),
        "fhir-document": Form("application/fhir+json", "fhir-r4", _fhir_document),
        "hl7v2": Form("x-application/hl7-v2+er7", "hl7v2", _hl7v2),
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
