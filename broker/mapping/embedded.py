"""Documents inside documents: a CDA in OBX-5 is a document of its own, checked against its envelope. For `catalogue`.

The envelope's patient is compared with the document's own and never laid over it: a difference of INS, birth date or
sex refuses the message (wrong-patient protection).
"""

from __future__ import annotations

from typing import Any

from broker.document import Patient
from broker.errors import MappingError
from broker.mapping.shapes_hl7v2 import ed_content

_INS = ("INS-NIR", "INS-NIA")


def content_of(run: Any, raw: Any, level: int) -> tuple[bytes | None, str]:
    """(bytes, media type) of an embedding value: an ED of HL7v2."""
    data, media, _ = ed_content(run, raw, level)
    return data, media


def looks_like_cda(data: bytes) -> bool:
    """Whether the bytes can be a CDA at all; senders also put plain words where XML is announced."""
    head = data[:4096]
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return True
    return b"<" in head and (b"ClinicalDocument" in data or b"stylesheet" in head)


def compare_patients(envelope: Patient | None, own: Patient | None) -> None:
    """Raises MappingError `embedded.patient_mismatch` where the two contradict each other."""
    if envelope is None or own is None:
        return
    theirs = {(i.system, i.value[:13]) for i in envelope.identifiers if i.kind in _INS}
    ours = {(i.system, i.value[:13]) for i in own.identifiers if i.kind in _INS}
    shared = {system for system, _ in theirs} & {system for system, _ in ours}
    if any(
        {v for s, v in theirs if s == system}.isdisjoint({v for s, v in ours if s == system})
        for system in shared
    ):
        _refuse("PID-3", "the INS of the message is not that of the document in it")
    if envelope.birth_date and own.birth_date:
        a, b = envelope.birth_date.value[:10], own.birth_date.value[:10]
        length = min(len(a), len(b))
        if length and a[:length] != b[:length]:
            _refuse("PID-7", "the birth date of the message is not that of the document in it")
    known = {"male", "female"}
    if envelope.sex in known and own.sex in known and envelope.sex != own.sex:
        _refuse("PID-8", "the sex of the message is not that of the document in it")


def _refuse(where: str, reason: str) -> None:
    raise MappingError("embedded.patient_mismatch", where=where, reason=reason)
