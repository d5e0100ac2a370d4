"""How a line of an export is written: JSON lines, FHIR R4 AuditEvent, or DICOM audit messages (ATNA). Pure.

Each line carries what proves it: an entry its canonical bytes, and the header, the seals and the end stand as events
of their own ("Audit Log Used"). AUD-06. Sources: FHIR R4 AuditEvent; DICOM PS3.15 A.5.1 (the audit message schema,
after RFC 3881), A.5.3.2 (Audit Log Used), PS3.16 CID 400 (event ids); v3 ActReason for the purpose of use.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol
from xml.sax.saxutils import escape

import msgspec

from broker.audit import chain
from broker.audit.trail import COLUMNS
from broker.audit.verify_standalone import compact, marked
from broker.database.types import from_micros

FormName = Literal["jsonl", "fhir", "atna"]

DCM = "http://dicom.nema.org/resources/ontology/DCM"
ACTS = "urn:carnet:audit-act"
"""Carnet's own acts, as subtype beside DICOM's event."""

_IMPORT = ("110107", "Import")
_EXPORT = ("110106", "Export")
_RECORD = ("110110", "Patient Record")
_QUERY = ("110112", "Query")
_LOG = ("110101", "Audit Log Used")
_ALERT = ("110113", "Security Alert")
_ACTIVITY = ("110100", "Application Activity")

EVENTS: Mapping[str, tuple[tuple[str, str], str]] = {
    "received": (_IMPORT, "C"),
    "filed": (_RECORD, "C"),
    "replaced": (_RECORD, "U"),
    "deleted": (_RECORD, "D"),
    "consent_changed": (_RECORD, "U"),
    "document_listed": (_QUERY, "E"),
    "document_read": (_RECORD, "R"),
    "body_revealed": (_RECORD, "R"),
    "refused": (_RECORD, "R"),
    "audit_read": (_LOG, "R"),
    "exported": (_LOG, "R"),
    "audit_key": (_ALERT, "U"),
    "encryption_key": (_ALERT, "U"),
}
"""The event of PS3.16 CID 400 and the action (C, R, U, D, E) of each act that has its own; see `event_of`."""

_MINOR = frozenset({"refused", "held"})
_SERIOUS = frozenset({"parked", "delivery_failed", "delivery_parked", "delivery_unknown"})
_PURPOSES = {
    "normal": ("TREAT", "treatment"),
    "bris_de_glace": ("BTG", "break the glass"),
    "centre_15": ("ETREAT", "Emergency Treatment"),
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTED = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


class Form(Protocol):
    """One way to write a line."""

    name: FormName
    suffix: str

    def entry(self, row: Sequence[Any]) -> bytes:
        """The line of an entry, whose values stand in the order of `trail.COLUMNS`."""

    def other(self, kind: str, value: dict[str, Any], at: int) -> bytes:
        """The line of a `header`, `seal` or `end`; `at` is its instant in microseconds."""


def event_of(act: str) -> tuple[tuple[str, str], str]:
    """Event and action of an act: of a delivery Export, of one without its own Application Activity."""
    if act.startswith("delivery_"):
        return _EXPORT, "R"
    return EVENTS.get(act, (_ACTIVITY, "E"))


def outcome_of(act: str) -> str:
    """0 success, 4 minor failure (refused), 8 serious failure; as EventOutcomeIndicator counts them."""
    if act in _MINOR:
        return "4"
    return "8" if act in _SERIOUS else "0"


class JsonLines:
    """The canonical bytes themselves, one a line."""

    name: FormName = "jsonl"
    suffix = "jsonl"

    def entry(self, row: Sequence[Any]) -> bytes:
        """The line of an entry."""
        return b'{"entry":' + chain.canonical(row) + b"}\n"

    def other(self, kind: str, value: dict[str, Any], at: int) -> bytes:  # noqa: ARG002 - the signature is Form's
        """The line of a header, a seal or the end."""
        value = marked(value, b"")
        return compact({"seal": value} if kind == "seal" else value)


class _Carried(msgspec.Struct, frozen=True):
    """What a line is about: the columns of an entry by name, or those of an event about the export itself."""

    columns: Mapping[str, Any]
    kind: str
    data: bytes


class _Rendered:
    """What FHIR and ATNA have in common."""

    def __init__(self, site: str) -> None:
        self._site = site

    def entry(self, row: Sequence[Any]) -> bytes:
        """The line of an entry."""
        columns = dict(zip(COLUMNS, row, strict=True))
        return self._line(_Carried(columns, "entry", chain.canonical(row)))

    def other(self, kind: str, value: dict[str, Any], at: int) -> bytes:
        """The line of a header, a seal or the end."""
        columns = {
            "n": None,
            "at": at,
            "act": kind,
            "actor_kind": "machine",
            "actor": "carnet",
            "subject": "audit",
        }
        around = self._line(_Carried(columns, kind, b""))
        return self._line(_Carried(columns, kind, compact(marked(value, around))[:-1]))

    def _line(self, carried: _Carried) -> bytes:
        raise NotImplementedError


class Fhir(_Rendered):
    """FHIR R4 AuditEvent, one resource a line (application/fhir+ndjson)."""

    name: FormName = "fhir"
    suffix = "ndjson"

    def _line(self, carried: _Carried) -> bytes:
        c = carried.columns
        (code, display), action = _event(carried)
        person = _person(c)
        agent: dict[str, Any] = {
            "who": {"identifier": {"value": c["actor"]}},
            "requestor": True,
            "role": [{"text": person.get("profession") or c["actor_kind"]}],
        }
        if person.get("name"):
            agent["name"] = person["name"]
        purpose = _PURPOSES.get(c.get("mode") or "")
        if purpose:
            system = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
            coding = {"system": system, "code": purpose[0], "display": purpose[1]}
            agent["purposeOfUse"] = [{"coding": [coding]}]
        event: dict[str, Any] = {
            "resourceType": "AuditEvent",
            **({"id": str(c["n"])} if c["n"] else {}),
            "type": {"system": DCM, "code": code, "display": display},
            "subtype": [{"system": ACTS, "code": c["act"]}],
            "action": action,
            "recorded": _instant(c["at"]),
            "outcome": outcome_of(c["act"]),
            **({"outcomeDesc": c["outcome"]} if c.get("outcome") else {}),
            "agent": [agent],
            "source": {
                "site": self._site,
                "observer": {"display": c.get("software") or "carnet"},
                "type": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/security-source-type",
                        "code": "4",
                    }
                ],
            },
            "entity": self._entities(carried),
        }
        return compact(event)

    def _entities(self, carried: _Carried) -> list[dict[str, Any]]:
        c = carried.columns
        details: list[dict[str, str]] = [
            {"type": name, "valueString": str(c[name])} for name in _DETAILS if c.get(name)
        ]
        proof = {
            "type": f"carnet:{carried.kind}",
            "valueBase64Binary": base64.b64encode(carried.data).decode("ascii"),
        }
        subject = _entity("2", "20", c["subject"])
        entities = [{**subject, "detail": [*details, proof]}]
        if c.get("patient") is not None:
            entities.insert(0, _entity("1", "1", str(c["patient"])))
        return entities


class Atna(_Rendered):
    """DICOM audit messages (PS3.15 A.5.1), one document a line and no XML declaration."""

    name: FormName = "atna"
    suffix = "xml"

    def _line(self, carried: _Carried) -> bytes:
        c = carried.columns
        (code, display), action = _event(carried)
        person = _person(c)
        attributes = {
            "EventActionCode": action,
            "EventDateTime": _instant(c["at"]),
            "EventOutcomeIndicator": outcome_of(c["act"]),
        }
        event = _coded("EventID", code, "DCM", display) + _coded(
            "EventTypeCode", c["act"], "Carnet", c["act"]
        )
        if c.get("outcome"):
            event += (
                f"<EventOutcomeDescription>{escape(_clean(c['outcome']))}</EventOutcomeDescription>"
            )
        role = person.get("profession") or c["actor_kind"]
        actor = {
            "UserID": c["actor"],
            "UserName": person.get("name") or None,
            "UserIsRequestor": "true",
        }
        source = {
            "AuditEnterpriseSiteID": self._site or None,
            "AuditSourceID": c.get("software") or "carnet",
        }
        text = _element(
            "AuditMessage",
            {},
            _element("EventIdentification", attributes, event)
            + _element("ActiveParticipant", actor, _coded("RoleIDCode", role, "Carnet", role))
            + _element(
                "AuditSourceIdentification",
                source,
                _element("AuditSourceTypeCode", {"csd-code": "4"}),
            )
            + self._objects(carried),
        )
        return text.encode() + b"\n"

    def _objects(self, carried: _Carried) -> str:
        c = carried.columns
        values = [(name, str(c[name]).encode()) for name in _DETAILS if c.get(name)]
        values.append((f"carnet:{carried.kind}", carried.data))
        details = "".join(
            _element(
                "ParticipantObjectDetail",
                {"type": name, "value": base64.b64encode(value).decode("ascii")},
            )
            for name, value in values
        )
        objects = _object("2", "20", ("subject", "Carnet", "Subject"), c["subject"], details)
        if c.get("patient") is not None:
            patient = ("2", "RFC-3881", "Patient Number")
            objects = _object("1", "1", patient, str(c["patient"]), "") + objects
        return objects


_DETAILS = ("mode", "motive", "decision", "control_id", "actor_snapshot", "details")
"""Columns that stand as details of the subject."""


def form(name: FormName, site: str) -> Form:
    """The form of that name; `site` says which installation reports."""
    if name == "jsonl":
        return JsonLines()
    return Fhir(site) if name == "fhir" else Atna(site)


def _event(carried: _Carried) -> tuple[tuple[str, str], str]:
    return event_of(carried.columns["act"]) if carried.kind == "entry" else (_LOG, "R")


def _person(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """The actor as they were that day (`access.snapshot`); empty for machines."""
    if not columns.get("actor_snapshot"):
        return {}
    try:
        found = msgspec.json.decode(columns["actor_snapshot"])
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _instant(micros: int) -> str:
    return from_micros(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _entity(kind: str, role: str, value: str) -> dict[str, Any]:
    return {
        "what": {"identifier": {"value": value}},
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": kind},
        "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": role},
    }


def _object(kind: str, role: str, id_type: tuple[str, str, str], value: str, details: str) -> str:
    attributes = {
        "ParticipantObjectID": value,
        "ParticipantObjectTypeCode": kind,
        "ParticipantObjectTypeCodeRole": role,
    }
    code, system, meaning = id_type
    inside = _coded("ParticipantObjectIDTypeCode", code, system, meaning)
    inside += f"<ParticipantObjectName>{escape(_clean(value))}</ParticipantObjectName>{details}"
    return _element("ParticipantObjectIdentification", attributes, inside)


def _coded(name: str, code: str, system: str, meaning: str) -> str:
    return _element(name, {"csd-code": code, "codeSystemName": system, "originalText": meaning})


def _element(name: str, attributes: Mapping[str, str | None], inside: str = "") -> str:
    given = "".join(
        f' {key}="{escape(_clean(value), _QUOTED)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{inside}</{name}>" if inside else f"<{name}{given}/>"


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
