"""What intake learns of a message without reading it whole: format, type, control id, sender, and its lane."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from broker.envelope import Envelope
from broker.errors import ParseError
from broker.parsing import cda, fhir, hl7v2, media
from broker.values import Lane, digest64

NO_LANE = Lane(0)

_LONGEST = 200
_TYPE = re.compile(r"[A-Z][A-Z0-9]{2}(\^[A-Z][A-Z0-9]{2})?")
_VERSION = re.compile(r"2(\.\d){0,3}")
_CHARSET = re.compile(
    r"8859/\d{1,2}|(us-)?ascii|unicode( utf-(8|16|32))?|utf-?(8|16|32)|iso[ _-]?ir[ -]?\d{1,3}|iso[ _-]?8859-\d{1,2}"
    r"|gb 18030-2000|ks x 1001|cns 11643-1992|big-5|jas2020|jis x 02\d\d|(windows|cp)-?125\d|latin-?\d",
    re.IGNORECASE,
)
"""HL7 table 0211 and the names that senders use instead."""


class Glance(msgspec.Struct, frozen=True, gc=False):
    """The first look. `control_id` is None when the sender gave none: then the bytes decide on duplicates."""

    format: str
    type: str = ""
    version: str = ""
    charset: str = ""
    control_id: str | None = None
    sender: str = ""
    lane: Lane = NO_LANE


def glance(envelope: Envelope, key: bytes) -> Glance:
    """Look at an envelope once.

    `key` is the installation's digest key: a lane tells nothing of the patient to who does not have it.
    Raises: ParseError("media.unknown") or ParseError("hl7v2.no_msh") when it is no message at all.
    """
    kind = media.recognise(envelope.body, envelope.media)
    if kind == "hl7v2":
        return _hl7v2(envelope, key)
    if kind == "cda":
        keys = cda.patient_keys(envelope.body)
    elif kind == "fhir-r4":
        keys = fhir.patient_keys(envelope.body)
    elif kind == "xdm":
        keys = ()
    else:
        raise ParseError("media.unknown", where="message", reason="no known format")
    return Glance(
        format=kind,
        type=kind,
        charset=envelope.charset,
        control_id=_bounded(envelope.keys.get("idempotency_key", "")) or None,
        lane=lane_of(keys, key),
    )


def lane_of(keys: Sequence[tuple[str, str]], key: bytes) -> Lane:
    """The lane of a patient: a keyed digest of the first (authority, value), the INS before local numbers."""
    if not keys:
        return NO_LANE
    authority, value = keys[0]
    return Lane(digest64(f"{authority}|{value}".encode(), key))


def _hl7v2(envelope: Envelope, key: bytes) -> Glance:
    header = hl7v2.header(envelope.body)
    return Glance(
        format="hl7v2",
        type=_coded(_TYPE, header.message_type),
        version=_coded(_VERSION, header.version),
        charset=_coded(_CHARSET, header.charset or envelope.charset),
        control_id=_bounded(header.control_id) or None,
        sender=_sender(header.sending_application, header.sending_facility),
        lane=lane_of(hl7v2.patient_keys(envelope.body), key),
    )


@lru_cache(maxsize=1024)
def _sender(application: str, facility: str) -> str:
    return _bounded(f"{application}|{facility}")


@lru_cache(maxsize=1024)
def _coded(shape: re.Pattern[str], text: str) -> str:
    """A header field that is shown in lists, where it has the shape of its kind; `?` for anything else.

    A sender whose fields are shifted puts a name where the type should be: what is listed must not show it.
    """
    return text if not text or shape.fullmatch(text) else "?"


def _bounded(text: str) -> str:
    """Text of a sender as a column and an index take it: no NUL, no lone surrogate, at most 200 characters.

    A longer one keeps its beginning and a digest of the whole, so two that differ late still differ.
    """
    if len(text) <= _LONGEST and text.isprintable():
        return text
    clean = text.replace("\0", "").encode("utf-8", "replace").decode()
    return (
        clean
        if len(clean) <= _LONGEST
        else f"{clean[: _LONGEST - 17]}#{digest64(clean.encode()):x}"[:_LONGEST]
    )
