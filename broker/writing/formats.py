"""The formats a document can be written in, by the name settings and commands give them. For assembly and the command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.document import Document
from broker.writing import cda, fhir, xdm, xds

Content = Callable[[str], bytes]
"""The bytes of an attachment by the SHA-256 the document gives for it."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a document is written.

    media: media type of what is written
    to_bytes: the writer; raises PermanentError `writing.*`
    what: for people
    is_sent: whether it is complete by itself, so that a destination may be sent it
    """

    media: str
    to_bytes: Callable[[Document, Content], bytes]
    what: str
    is_sent: bool = True


FORMATS: Mapping[str, Format] = {
    "fhir": Format("application/fhir+json", fhir.to_bytes, "a FHIR R4 transaction Bundle"),
    "cda": Format(cda.MEDIA, cda.to_bytes, "CDA R2; what came as a CDA stays as it is"),
    "xdm": Format(xdm.MEDIA, xdm.to_bytes, "an IHE XDM archive of the CDA and its metadata"),
    "xds": Format(xds.MEDIA, xds.to_bytes, "the XDS metadata of the CDA", is_sent=False),
}
