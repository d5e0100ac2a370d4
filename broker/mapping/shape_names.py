"""The names that `as` forces a shape by, and what the ids of records begin with. For `compile` and the schema."""

from __future__ import annotations

from typing import Any

from broker import document as model

SHAPE_NAMES: dict[str, Any] = {
    "identifier": model.Identifier,
    "coded": model.Coded,
    "person_name": model.PersonName,
    "person": model.Person,
    "organization": model.Organization,
    "address": model.Address,
    "telecom": model.Telecom,
    "when": model.When,
    "period": model.Period,
    "quantity": model.Quantity,
    "ratio": model.Ratio,
    "result_value": model.ResultValue,
    "range": model.Range,
    "attachment": model.Attachment,
    "author": model.Author,
    "participant": model.Participant,
    "recipient": model.Recipient,
    "contact": model.Contact,
    "device": model.Device,
    "location": model.Location,
    "text": str,
    "code": str,
    "decimal": str,
    "integer": int,
    "boolean": bool,
}
"""Section 7 of the language: the shape's name, and the model type it makes."""

RECORD_PREFIX: dict[type, str] = {
    model.Encounter: "enc-",
    model.Specimen: "spm-",
    model.Observation: "obs-",
    model.Report: "rep-",
    model.Medication: "med-",
    model.Immunization: "imm-",
    model.Allergy: "all-",
    model.Problem: "prb-",
    model.Procedure: "prc-",
    model.Appointment: "app-",
    model.Order: "ord-",
    model.Plan: "pln-",
    model.Directive: "dir-",
    model.Section: "sec-",
}
"""`obs-3`: stable inside the document."""
