"""An access to a record as a FHIR AuditEvent: who, when, by which mode and reason, and which document. Pure.

Source: FHIR R4 (4.0.1) AuditEvent; event and action as in the exported trail (DICOM PS3.16 CID 400).
"""

from __future__ import annotations

from typing import Any

from broker.access import NATIONAL, Viewer, viewer_keys
from broker.audit.forms import DCM, event_of
from broker.records.accesses import Access

Json = dict[str, Any]

_ACTS = {"list": "document_listed", "read": "document_read"}
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_PURPOSES = {
    "normal": ("TREAT", "treatment"),
    "bris_de_glace": ("BTG", "break the glass"),
    "centre_15": ("ETREAT", "Emergency Treatment"),
}
_NATIONAL_OID = "urn:oid:1.2.250.1.71.4.2.1"
_TYPES = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLES = "http://terminology.hl7.org/CodeSystem/object-role"


def audit_event(access: Access, resource_id: str, patient: str) -> Json:
    """The resource; `patient` is the reference of the record's patient. No name of a document stands in it."""
    (code, display), action = event_of(_ACTS.get(access.act, "document_read"))
    made: Json = {
        "resourceType": "AuditEvent",
        "id": resource_id,
        "meta": {"lastUpdated": access.at.isoformat(timespec="milliseconds")},
        "type": {"system": DCM, "code": code, "display": display},
        "action": action,
        "recorded": access.at.isoformat(timespec="milliseconds"),
        "outcome": "0",
    }
    if access.actor.kind == "professional":
        made["purposeOfEvent"] = [_purpose(access.actor)]
    made["agent"] = [_agent(access.actor, patient)]
    made["source"] = {"observer": {"display": "Carnet"}}
    made["entity"] = [_entity(patient, "1", "1")]
    if access.document:
        made["entity"].append(_entity(f"DocumentReference/{access.document}", "2", "3"))
    return made


def _purpose(actor: Viewer) -> Json:
    code, display = _PURPOSES.get(actor.mode, _PURPOSES["normal"])
    made: Json = {"coding": [{"system": _REASON, "code": code, "display": display}]}
    return made | ({"text": actor.motive} if actor.motive else {})


def _agent(actor: Viewer, patient: str) -> Json:
    """Who: the patient by reference, a professional by national id with name and profession, anybody else by kind."""
    if actor.kind == "patient":
        return {"who": {"reference": patient}, "requestor": True}
    who: Json = {"display": actor.kind}
    if actor.kind == "professional":
        (key,) = viewer_keys(actor)
        system, _, value = key.partition("|")
        where = {"system": _NATIONAL_OID} if system == NATIONAL else {}
        who = {"identifier": {**where, "value": value}}
    made: Json = {"who": who, "requestor": True}
    if actor.name:
        made["name"] = actor.name
    if actor.profession:
        made["role"] = [{"text": actor.profession}]
    return made


def _entity(reference: str, kind: str, role: str) -> Json:
    return {
        "what": {"reference": reference},
        "type": {"system": _TYPES, "code": kind},
        "role": {"system": _ROLES, "code": role},
    }
