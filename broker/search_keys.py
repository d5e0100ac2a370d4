"""What people search a message by, taken from its documents and turned into keyed digests. Pure.

Of HL7v2 bytes that gave no document as much as can be seen in them, under the same digests: one search finds both.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from broker.document import Document, Identifier, Patient
from broker.parsing.hl7v2_landmarks import landmarks
from broker.records.messages import KEY_KINDS, Key
from broker.values import Seq, digest64

GROUPS: Mapping[str, tuple[str, ...]] = {
    "patient": ("ins", "local"),
    "order": ("placer", "filler", "accession"),
    **{kind: (kind,) for kind in KEY_KINDS},
}
"""What people ask for, and the kinds of keys that may hold it."""

COMMON = ("ward", "sender")
"""What very many messages have in common: beside something else, the one to look for last."""


def digests_of(asked: str, value: str, secret: bytes) -> list[int]:
    """The digests under which messages hold a value that was typed; `asked` is one of `GROUPS`."""
    return [key(kind, value, Seq(0), secret).digest for kind in GROUPS[asked]]


def keys_of(document: Document, seq: Seq, secret: bytes) -> list[Key]:
    """The business keys of one document: each a digest of its kind and normalised value under the site's secret."""
    return [key(kind, value, seq, secret) for kind, value in _values(document)]


def keys_of_bytes(body: bytes, charset: str, seq: Seq, secret: bytes) -> list[Key]:
    """The business keys of an HL7v2 message that gave no document: it was never read, or could not be. Never raises."""
    found = landmarks(body, charset)
    values = {
        "ins": found.ins,
        "local": found.local,
        "name_birth": (f"{normalised(family)}|{born}" for family, born in found.names),
        "stay": found.stays,
        "placer": found.placers,
        "filler": found.fillers,
        "accession": found.references,
        "document": found.documents,
        "ward": found.wards,
        "sender": found.senders,
    }
    return [key(kind, value, seq, secret) for kind, each in values.items() for value in each]


def key(kind: str, value: str, seq: Seq, secret: bytes) -> Key:
    """One business key; a search computes the same digest from what was typed."""
    named = f"{kind}|{normalised(value)}".encode("utf-8", "replace")
    return Key(digest64(named, secret), seq, KEY_KINDS[kind])


def normalised(value: str) -> str:
    """Upper case, no accents, no blanks or punctuation around: `Élodie ` and `ELODIE` are one key."""
    if value.isascii():
        return value.strip().upper()
    plain = unicodedata.normalize("NFKD", value)
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).strip().upper()


def _values(document: Document) -> Iterator[tuple[str, str]]:
    if document.patient is not None:
        yield from _patient(document.patient)
    for encounter in document.encounters:
        yield from _one("stay", encounter.identifier)
        if encounter.location is not None and encounter.location.point_of_care:
            yield "ward", encounter.location.point_of_care
    for report in document.reports:
        yield from _one("placer", report.placer_order)
        yield from _one("filler", report.filler_order)
    for order in document.orders:
        yield from _one("placer", order.placer)
        yield from _one("filler", order.filler)
    for reference in document.reference_ids:
        yield from _one("accession", reference)
    yield from _one("document", document.unique_id)
    yield from _one("sender", document.source.application or document.source.facility)


def _patient(patient: Patient) -> Iterator[tuple[str, str]]:
    yield from _one("stay", patient.account)
    for identifier in patient.identifiers:
        yield ("ins" if identifier.kind.startswith("INS") else "local"), identifier.value
    if patient.birth_date is not None:
        for name in patient.names:
            if name.family:
                yield "name_birth", f"{normalised(name.family)}|{patient.birth_date.value[:10]}"


def _one(kind: str, identifier: Identifier | None) -> Iterator[tuple[str, str]]:
    if identifier is not None and identifier.value:
        yield kind, identifier.value
