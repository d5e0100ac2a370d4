"""Lays an archive's metadata under a document that was read from it: only where the document says nothing itself.

Source: IHE ITI TF-3 4.1 (document entry metadata describe the document; the document's own header is the author's).
"""

from __future__ import annotations

from typing import Any

import msgspec

from broker.document import Coded, Document

_FIELDS = (
    "unique_id",
    "title",
    "type_code",
    "class_code",
    "format_code",
    "facility_type",
    "practice_setting",
    "event_codes",
    "language",
    "created_at",
    "service_start",
    "service_end",
    "patient",
    "authors",
    "legal_authenticator",
    "custodian",
    "relations",
    "reference_ids",
    "comments",
)


def lay_under(document: Document, header: Document) -> Document:
    """`document`, with what only `header` (its metadata, mapped) knows.

    Confidentiality is the exception: every code of either holds, since losing one would show what was masked.
    A patient of the document is never changed by metadata.
    """
    changes: dict[str, Any] = {
        name: getattr(header, name)
        for name in _FIELDS
        if not getattr(document, name) and getattr(header, name)
    }
    codes = _united(document.confidentiality, header.confidentiality)
    if codes != document.confidentiality:
        changes["confidentiality"] = codes
    return msgspec.structs.replace(document, **changes) if changes else document


def _united(own: tuple[Coded, ...], other: tuple[Coded, ...]) -> tuple[Coded, ...]:
    known = {coding.code for coded in own for coding in coded.codings}
    added = tuple(
        coded for coded in other if not known.intersection(coding.code for coding in coded.codings)
    )
    return (*own, *added)
