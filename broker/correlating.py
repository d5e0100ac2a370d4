"""By what a later answer finds what it answers, and what an answer says. Pure; for couriers and the pipeline.

In HL7v2 an answer names the message it answers by its control id (MSA-2; OBX-4 of the first OBX in the French ZAM) and
comes from the application and facility that message was for, to those it came from. All of it is the key: a number
alone is anybody's.
Source: HL7 v2.5.1 §2.9.3 (enhanced mode: deferred application acknowledgement), §2.15.8 (MSA), table 0008; ANS,
CI-SIS "Transmission de document(s) CDA en HL7v2", business acknowledgements ZAM^Z01 to Z03.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import msgspec

from broker.errors import ParseError
from broker.parsing import hl7v2
from broker.parsing.hl7v2_separators import Separators

AnswerKind = Literal["accept", "application", "reception", "reading"]
Key = tuple[str, str]
"""(kind, value): one way to name what was sent."""

BY_SENDER, BY_DESTINATION, UNADDRESSED = "msh10+sender", "msh10+destination", "msh10+unaddressed"
KINDS = (
    BY_SENDER, BY_DESTINATION, UNADDRESSED, "smtp_envid", "smtp_message_id", "document_uid", "submission_uid",
    "fhir_location",
)  # fmt: skip
"""Kinds of keys that are kept; an adapter gives its own in `Receipt.keys`."""

_RECEIPT_KEYS = {kind: kind for kind in KINDS} | {"location": "fhir_location"}
_LONGEST = 300
_NOBODY = "|"

ANSWERS = frozenset(
    {
        "ACK", "MCF", "MFK", "ORR", "ORL", "ORG", "ORI", "ORD", "ORS", "ORN", "ORB", "ORP", "ORA", "RRE", "RRD", "RRG",
        "RRA", "RRI", "SRR", "ZAM",
    }
)  # fmt: skip
"""MSH-9.1 of messages that answer one that was sent: acknowledgements, and answers to orders, appointments, referrals."""

_REFUSED = ("E", "R", "N")
_ZAM_KINDS: dict[str, AnswerKind] = {"Z01": "reception", "Z02": "reception", "Z03": "reading"}
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
_NUMBER = re.compile(r"[0-9]{1,4}")


class Expects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers that come later, as messages of their own on a source.

    Fields:
        answers: kinds of answers that are awaited: application (HL7v2 enhanced mode: after the CA), reception and reading (ZAM^Z01 and Z02, ZAM^Z03)
        answer_within: how long after sending; a later one is still credited, and counts as overdue until it comes
        sources: sources the answers come on; none given takes them from any, by the names in their header alone
    """

    answers: tuple[AnswerKind, ...] = ("application",)
    answer_within: timedelta = timedelta(hours=1)
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.answers:
            raise ValueError("answers must name one kind at least")
        if self.answer_within <= timedelta(0):
            raise ValueError("answer_within must be more than nothing")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says: of which message it speaks, and whether that one was taken.

    code: the answerer's own (`AA`, `AE`; of a ZAM `Y`, `N`, or the error code behind it); place: where it sees the error
    is_nameless: it does not say who answers
    is_alone: it names no patient, so there is nothing else to do with it
    """

    kind: AnswerKind
    code: str
    is_positive: bool
    control_id: str
    key: Key = field(repr=False)
    place: str = ""
    is_nameless: bool = False
    is_alone: bool = True


def sent_keys(body: bytes, destination: str) -> tuple[Key, ...]:
    """What answers to these bytes will name; nothing for anything but HL7v2 with a control id."""
    if body.lstrip()[:3] != b"MSH":
        return ()
    try:
        header = hl7v2.header(body)
    except ParseError:
        return ()
    if not header.control_id:
        return ()
    who, whom = _who(header)
    keys = (
        _by_sender(header.control_id, answerer=whom, asker=who),
        (BY_DESTINATION, _of(header.control_id, destination)),
    )
    return keys if whom != _NOBODY else (*keys, (UNADDRESSED, _of(header.control_id, destination)))


def receipt_keys(keys: Mapping[str, str]) -> tuple[Key, ...]:
    """Those of the partner's ids by which it may speak of a delivery later."""
    known = ((_RECEIPT_KEYS.get(name), value) for name, value in sorted(keys.items()))
    return tuple((kind, value) for kind, value in known if kind and 0 < len(value) <= _LONGEST)


def own_source_keys(answer: Answer, destination: str) -> tuple[Key, ...]:
    """What an answer also names on a source that is a destination's own: there the source says who answers.

    Only where the names say nothing: the answer's own, or those of what was sent. A name that is another's stays so.
    """
    unaddressed = (UNADDRESSED, _of(answer.control_id, destination))
    if not answer.is_nameless:
        return (unaddressed,)
    return (BY_DESTINATION, _of(answer.control_id, destination)), unaddressed


def read_answer(kind: str, body: bytes) -> Answer | None:
    """What a message of the type `kind` (`ACK^R01`) answers; None where it is none, or does not say to what."""
    if kind[:3] not in ANSWERS:
        return None
    try:
        header, message = hl7v2.header(body), hl7v2.parse(body)
    except ParseError:
        return None
    found: dict[str, list[str]] = {}
    for segment in message.segments:
        found.setdefault(segment.name, segment.fields)
    marks = message.separators
    read = _zam(kind, found, marks) if kind[:3] == "ZAM" else _msa(found, marks)
    if read is None:
        return None
    answer_kind, code, is_positive, control_id, place = read
    who, whom = _who(header)
    return Answer(
        answer_kind,
        code,
        is_positive,
        control_id,
        _by_sender(control_id, answerer=who, asker=whom),
        place,
        is_nameless=who == _NOBODY,
        is_alone="PID" not in found,
    )


_Read = tuple[AnswerKind, str, bool, str, str]


def _msa(found: Mapping[str, list[str]], marks: Separators) -> _Read | None:
    code, control_id = _field(found, "MSA", 1).upper(), _field(found, "MSA", 2)
    if code not in ("AA", "AE", "AR", "CA", "CE", "CR") or not control_id:
        return None
    is_positive = code[1] not in _REFUSED
    place = "" if is_positive else _place(_field(found, "ERR", 2), marks)
    return ("application" if code[0] == "A" else "accept"), code, is_positive, control_id, place


def _zam(kind: str, found: Mapping[str, list[str]], marks: Separators) -> _Read | None:
    """OBX-4 of the first OBX is the control id of what it answers, OBX-5 says Y or N, ERR-5 why not."""
    control_id = _field(found, "OBX", 4)
    said = _component(_field(found, "OBX", 5), marks).upper()
    about = _ZAM_KINDS.get(kind[4:7])
    if about is None or said not in ("Y", "N") or not control_id:
        return None
    why = _component(_field(found, "ERR", 5), marks)
    code = why if said == "N" and _CODE.fullmatch(why) else said
    return about, code, said == "Y", control_id, "" if said == "Y" else "OBX-5"


def _field(found: Mapping[str, list[str]], name: str, number: int) -> str:
    fields = found.get(name, [])
    return fields[number].strip() if number < len(fields) else ""


def _component(text: str, marks: Separators, number: int = 1) -> str:
    parts = text.split(marks.repetition, maxsplit=1)[0].split(marks.component)
    return parts[number - 1].strip() if number <= len(parts) else ""


def _place(location: str, marks: Separators) -> str:
    """ERR-2 as `PID-3.1`, where it has the form of a place: an answerer may write anything there."""
    name, field_, part = (_component(location, marks, n) for n in (1, 3, 5))
    if not _NAME.fullmatch(name):
        return "MSA-1"
    if not _NUMBER.fullmatch(field_):
        return name
    return f"{name}-{field_}.{part}" if _NUMBER.fullmatch(part) else f"{name}-{field_}"


def _who(header: hl7v2.Header) -> tuple[str, str]:
    """Who sent it, and for whom it is: application and facility, each by its name alone."""
    marks = header.separators
    sender = (
        f"{_called(header.sending_application, marks)}|{_called(header.sending_facility, marks)}"
    )
    receiver = f"{_called(header.receiving_application, marks)}|{_called(header.receiving_facility, marks)}"
    return sender, receiver


def _called(text: str, marks: Separators) -> str:
    """HD: its namespace id, or its universal id where it has no other (HL7 v2.5.1 chapter 2A, HD). Case says nothing."""
    name = _component(text, marks) or _component(text, marks, 2)
    return name.casefold()[:60]


def _of(control_id: str, destination: str) -> str:
    return f"{control_id[:_LONGEST]}|{destination}"


def _by_sender(control_id: str, *, answerer: str, asker: str) -> Key:
    return BY_SENDER, f"{control_id[:_LONGEST]}|{answerer}|{asker}"
