"""Documents inside documents: a CDA in OBX-5 is a document of its own, checked against its envelope. For `catalogue`.

The envelope's patient is compared with the document's own and never laid over it: a difference of INS, birth date or
sex refuses the message (wrong-patient protection).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from broker.document import Patient
from broker.errors import MappingError
from broker.mapping.shapes_hl7v2 import ed_content

_INS = ("INS-NIR", "INS-NIA")
_OID = re.compile(r"[0-2](?:\.\d+)+")


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
    """Raises MappingError `embedded.patient_mismatch` where the two contradict each other.

    Source: CI-SIS "Transmission d'un document CDA-R2 en HL7v2" 2.1 (PID-3, PID-5, PID-7 and PID-8 are those of the
    recordTarget). An authority that both name must have given them a number in common; a birth name that both give
    must be the same but for accents, case and marks.
    """
    if envelope is None or own is None:
        return
    theirs, ours = _numbers(envelope), _numbers(own)
    for system in theirs.keys() & ours.keys():
        if theirs[system].isdisjoint(ours[system]):
            is_ins = system.startswith("ins_")
            what = "the INS" if is_ins else "a number"
            _refuse("PID-3", f"{what} of the message is not that of the document in it")
    named, also_named = _birth_names(envelope), _birth_names(own)
    if named and also_named and named.isdisjoint(also_named):
        _refuse("PID-5", "the birth name of the message is not that of the document in it")
    if envelope.birth_date and own.birth_date:
        a, b = envelope.birth_date.value[:10], own.birth_date.value[:10]
        length = min(len(a), len(b))
        if length and a[:length] != b[:length]:
            _refuse("PID-7", "the birth date of the message is not that of the document in it")
    known = {"male", "female"}
    if envelope.sex in known and own.sex in known and envelope.sex != own.sex:
        _refuse("PID-8", "the sex of the message is not that of the document in it")


def _numbers(patient: Patient) -> dict[str, set[str]]:
    """What each authority that has an OID, or is known by name here, calls the patient; the INS without its key."""
    found: dict[str, set[str]] = {}
    for one in patient.identifiers:
        is_ins = one.kind in _INS
        if is_ins or _OID.fullmatch(one.system):
            value = one.value[:13] if is_ins else one.value.strip().upper()
            found.setdefault(one.system, set()).add(value)
    return found


def _birth_names(patient: Patient) -> set[str]:
    """The letters of each birth name."""
    return {_letters(name.family) for name in patient.names if name.use == "birth" and name.family}


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.upper().replace("Œ", "OE").replace("Æ", "AE"))
    return "".join(character for character in plain if character.isalpha())


def _refuse(where: str, reason: str) -> None:
    raise MappingError("embedded.patient_mismatch", where=where, reason=reason)
