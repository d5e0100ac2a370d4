"""AUD-06: each entry as FHIR R4 AuditEvent and as DICOM audit message, valid by what others wrote."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from lxml import etree
from sqlalchemy import Engine

from broker.audit import chain, export, forms
from broker.database import migrate
from broker.database.engine import open_engine
from tests.broker.audit import signed_trail
from tests.broker.audit.signed_trail import NOW, PHYSICIAN, fill

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path]]:
    folder = tmp_path_factory.mktemp("site")
    opened = open_engine(f"sqlite:///{folder / 'carnet.db'}")
    migrate.upgrade(opened, NOW)
    fill(opened, signed_trail.folder(folder))
    yield opened, folder
    opened.dispose()


def lines(site: tuple[Engine, Path], name: forms.FormName) -> list[bytes]:
    engine, folder = site
    path = folder / f"audit.{name}"
    signer = signed_trail.folder(folder).existing()
    export.export(engine, path, form=forms.form(name, "Hôpital d'essai"), signer=signer)
    return path.read_bytes().splitlines()


def test_aud_06_every_line_in_fhir_is_a_valid_audit_event(site: tuple[Engine, Path]) -> None:
    found = [AuditEvent.model_validate_json(line) for line in lines(site, "fhir")]

    assert len(found) == 17
    read, refused, filed, delivered = found[1:5]
    assert (read.type.code, read.action, read.outcome) == ("110110", "R", "0")
    assert read.agent[0].who.identifier.value == PHYSICIAN.id
    assert read.agent[0].name == PHYSICIAN.name
    assert read.agent[0].purposeOfUse[0].coding[0].code == "BTG"
    assert read.entity[0].what.identifier.value == "1000"
    assert (refused.outcome, refused.outcomeDesc) == ("4", "access.absent")
    assert (filed.subtype[0].code, filed.action) == ("filed", "C")
    assert delivered.type.code == "110106"
    assert found[0].type.code == found[5].type.code == found[-1].type.code == "110101"


def test_both_forms_carry_the_entry_itself(site: tuple[Engine, Path]) -> None:
    plain = [line[9:-1] for line in lines(site, "jsonl") if line.startswith(b'{"entry"')]
    in_fhir = [
        base64.b64decode(detail["valueBase64Binary"])
        for line in lines(site, "fhir")
        for detail in json.loads(line)["entity"][-1]["detail"]
        if detail["type"] == "carnet:entry"
    ]
    in_atna = [
        base64.b64decode(detail.get("value"))
        for line in lines(site, "atna")
        for detail in etree.fromstring(line).iter("ParticipantObjectDetail")
        if detail.get("type") == "carnet:entry"
    ]

    assert len(plain) == 12
    assert plain == in_fhir == in_atna


def test_aud_06_every_line_in_atna_is_valid_by_the_schema_of_the_standard(
    site: tuple[Engine, Path],
) -> None:
    # Written after DICOM PS3.15 A.5.1 (RELAX NG compact) for what Carnet uses of it.
    schema = etree.RelaxNG(etree.parse(HERE / "audit_message.rng"))
    found = [etree.fromstring(line) for line in lines(site, "atna")]

    for message in found:
        assert schema.validate(message), schema.error_log
    read, refused = found[1:3]
    assert read.find("EventIdentification/EventID").get("csd-code") == "110110"
    assert read.find("EventIdentification").get("EventDateTime") == "2026-11-10T09:00:00.000000Z"
    assert read.find("ActiveParticipant").get("UserName") == PHYSICIAN.name
    assert read.find("ParticipantObjectIdentification").get("ParticipantObjectID") == "1000"
    assert refused.find("EventIdentification").get("EventOutcomeIndicator") == "4"


def test_what_a_person_typed_breaks_neither_form() -> None:
    typed = "a\x00\x0b\"b<c>&\n'é\ud800".encode("utf-8", "replace").decode()
    row: list[Any] = [1, 0, "read", "operator", typed, typed, None, None, typed, None, None, typed]
    row += [None, None, None]

    message = etree.fromstring(forms.form("atna", typed).entry(row))
    event = AuditEvent.model_validate_json(forms.form("fhir", "site").entry(row))

    clean = typed.replace("\x00", "\ufffd").replace("\x0b", "\ufffd")
    assert message.find("ActiveParticipant").get("UserID") == clean
    assert event.agent[0].who.identifier.value == typed
    assert forms.form("jsonl", "").entry(row) == b'{"entry":' + chain.canonical(row) + b"}\n"
