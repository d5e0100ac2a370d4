"""The trail that a look over the API leaves: who, when, where, how, at what, by which rule, with which software."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import msgspec
from sqlalchemy import text

from broker.access import Viewer
from broker.audit import seal, verify
from broker.document import Identifier
from broker.records import reading
from tests.broker.records import record
from tests.web import papers
from tests.web.site import CONSULTATION, DISCHARGE, INS, PHYSICIAN, PODIATRIST, Site, bearer

STRUCTURE, SOFTWARE = "750000001", "clinic-software"
GLASS = {"X-Carnet-Mode": "bris_de_glace", "X-Carnet-Reason": "found%20unconscious"}
OTHER = ("899900000037", "10/SM26")


def entries(site: Site) -> list[dict[str, Any]]:
    """The trail as it is stored, its JSON read."""
    with site.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM audit_entry ORDER BY n")).mappings().all()
    return [
        dict(row)
        | {
            "snapshot": msgspec.json.decode(row["actor_snapshot"] or "{}"),
            "details": msgspec.json.decode(row["details"] or "{}"),
        }
        for row in rows
    ]


def test_aud_01_every_look_and_every_attempt_is_an_entry_with_who_when_and_where(
    site: Site,
) -> None:
    patient = site.person()
    letter, hidden = papers.letter(0, CONSULTATION), papers.letter(1, DISCHARGE)
    site.put(patient, letter, hidden)
    began = datetime.now(UTC)

    site.ids("DocumentReference", site.podiatrist(), patient=site.reference(patient))
    site.get(f"DocumentReference/{letter.id}", site.podiatrist())
    site.get(f"DocumentReference/{hidden.id}", site.podiatrist())
    site.ids("AuditEvent", site.podiatrist(), patient=site.reference(patient))
    site.get(f"DocumentReference/{hidden.id}", site.physician())
    site.ids("DocumentReference", site.patient(), patient=site.reference(patient))

    found = entries(site)
    assert [(one["act"], one["actor_kind"], one["actor"]) for one in found] == [
        ("document_listed", "professional", PODIATRIST[0]),
        ("document_read", "professional", PODIATRIST[0]),
        ("refused", "professional", PODIATRIST[0]),
        ("audit_read", "professional", PODIATRIST[0]),
        ("document_read", "professional", PHYSICIAN[0]),
        ("document_listed", "patient", str(patient)),
    ]
    ended = datetime.now(UTC) + timedelta(seconds=1)
    for one in found:
        at = datetime.fromtimestamp(one["at"] / 1_000_000, UTC)
        assert began - timedelta(seconds=1) <= at <= ended
        assert one["patient"] == patient
        assert one["software"] == SOFTWARE
        if one["actor_kind"] == "professional":
            assert one["snapshot"]["structure"] == STRUCTURE
    assert [one["n"] for one in found] == sorted({one["n"] for one in found})


def test_aud_03_a_document_that_is_read_leaves_every_field_that_is_known(site: Site) -> None:
    patient = site.person()
    letter = record.paper(
        type_code=DISCHARGE, unique_id="L-1", at=datetime.now(UTC),
        set_id=Identifier(value="1.2.250.1.999.8.1"),
    )  # fmt: skip
    site.put(patient, letter)
    who = site.physician(
        given_name="Anne", family_name="EXEMPLE", SubjectOrganization="Cabinet d'essai"
    )

    site.get(f"DocumentReference/{letter.id}", who)

    (one,) = entries(site)
    assert (one["act"], one["subject"], one["patient"]) == ("document_read", letter.id, patient)
    assert (one["mode"], one["motive"], one["outcome"]) == ("normal", None, "access.matrix_open")
    # Profession and speciality stand in one code, as the matrix wants it: G15_10 / SM26.
    assert one["snapshot"] == {
        "kind": "professional", "id": PHYSICIAN[0], "name": "Anne EXEMPLE", "profession": "G15_10/SM26",
        "structure": STRUCTURE, "structure_name": "Cabinet d'essai", "consent": "explicit",
    }  # fmt: skip
    assert one["details"] == {
        "rule": "MAT-03", "rules": record.RULES.version, "matrix": record.RULES.matrix.version,
        "type": DISCHARGE, "unique_id": "1.2.250.1.999.7^L-1", "set_id": "1.2.250.1.999.8.1",
    }  # fmt: skip
    decided = reading.decision_of(site.engine, one["decision"])
    assert decided is not None
    assert (decided.rule, decided.allowed) == (one["details"]["rule"], True)
    # The patient stands by the internal number, which leads to the INS.
    with site.engine.connect() as connection:
        of_patient = connection.execute(
            text("SELECT value FROM patient_identifier WHERE patient = :p"), {"p": one["patient"]}
        )
        assert of_patient.scalars().all() == [INS]
    # The number in the chain and the hash before it: what is stored so is proved so.
    now = datetime.now(UTC)
    assert seal.seal(site.engine, now).entries == 1
    assert verify.verify(site.engine).is_good


def test_aud_03_a_refusal_has_its_rule_and_an_emergency_its_mode_and_reason(site: Site) -> None:
    patient = site.person()
    hidden = papers.letter(1, DISCHARGE)
    site.put(patient, hidden)
    urgent = bearer(site.issuer.professional(*OTHER)) | GLASS

    site.get(f"DocumentReference/{hidden.id}", site.podiatrist())
    site.get(f"DocumentReference/{hidden.id}", urgent)
    site.get(f"DocumentReference/{hidden.id[:-12]}{'d' * 12}", site.podiatrist())

    refused, emergency, absent = entries(site)
    versions = {"rules": record.RULES.version, "matrix": record.RULES.matrix.version}
    assert (refused["act"], refused["outcome"]) == ("refused", "access.matrix_closed")
    told = {"type": DISCHARGE, "class": "10"}
    assert refused["details"] == {"rule": "MAT-08"} | versions | told
    assert reading.decision_of(site.engine, refused["decision"]) is not None
    assert (emergency["act"], emergency["mode"]) == ("document_read", "bris_de_glace")
    assert emergency["motive"] == "found unconscious"
    assert emergency["snapshot"]["mode"] == "bris_de_glace"
    assert emergency["details"].items() >= versions.items()
    assert (absent["act"], absent["outcome"], absent["details"]) == ("refused", "access.absent", {})


def test_aud_03_carnet_itself_stands_with_its_version(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    letter = papers.letter(0)
    site.put(patient, letter)
    operator = Viewer(kind="operator", id="jd", motive="support call")

    found = reading.read(
        site.engine, operator, letter.id,
        decide=record.RULES.reading, trail=record.WRITE, now=datetime.now(UTC),
    )  # fmt: skip

    assert found
    (one,) = entries(site)
    assert (one["act"], one["motive"]) == ("body_revealed", "support call")
    assert one["software"] == f"carnet/{version('carnet')}"
    assert one["details"]["type"] == CONSULTATION
