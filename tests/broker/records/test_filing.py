"""Documents filed once, replaced and deleted by rule, never overwritten."""

from __future__ import annotations

import hashlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from broker import header
from broker.database.engine import reading
from broker.document import Attachment, Delivery, Document, Event, Identifier, Relation
from broker.records import filing
from tests.broker.records import record

A = "1.2.250.1.999.7"


def rows(engine: Engine) -> list[tuple[str, str]]:
    with reading(engine) as connection:
        found = connection.execute(text("SELECT id, availability FROM document ORDER BY id")).all()
    return [(str(row.id), row.availability) for row in found]


def replaces(value: str, **fields: object) -> dict[str, object]:
    target = Identifier(value=value, oid=A, system=A)
    return {"relations": (Relation(kind="replaces", target=target),), **fields}


def deletion(unique_id: str) -> Document:
    return record.paper("Retrait", unique_id=unique_id, event=Event(operation="delete"))


def test_the_same_document_twice_is_filed_once(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)
    first, again = record.paper(unique_id="d1"), record.paper(unique_id="d1")

    plans = record.put(empty_ledger, patient, first, again) + record.put(
        empty_ledger, patient, again
    )

    assert [plan.action for plan in plans] == ["file", "duplicate", "duplicate"]
    assert rows(empty_ledger) == [(first.id, "current")]


def test_the_same_id_with_other_content_is_filed_beside_and_flagged(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    one, two = record.paper("Niveau 1", unique_id="d1"), record.paper("Niveau 3", unique_id="d1")

    plans = record.put(sqlite_ledger, patient, one, two)

    assert plans[1].issues == ("shared-unique-id",)
    assert plans[0].series is None
    assert [availability for _, availability in rows(sqlite_ledger)] == ["current", "current"]


def test_the_same_content_for_another_patient_is_not_a_duplicate(sqlite_ledger: Engine) -> None:
    one, other = record.person(sqlite_ledger, "77001"), record.person(sqlite_ledger, "77002")
    record.put(sqlite_ledger, one, record.paper(unique_id="d1"))

    plans = record.put(sqlite_ledger, other, record.paper(unique_id="d1"))

    assert (plans[0].action, plans[0].issues) == ("file", ("shared-unique-id",))


def test_a_replacement_supersedes_its_target_in_the_same_series(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)
    old = record.paper(unique_id="d1")
    record.put(empty_ledger, patient, old)
    new = record.paper("Corrigé", unique_id="d2", **replaces("d1"))

    plans = record.put(empty_ledger, patient, new)

    assert plans[0].action == "replace"
    assert dict(rows(empty_ledger)) == {old.id: "superseded", new.id: "current"}
    with reading(empty_ledger) as connection:
        series = connection.execute(
            text("SELECT count(DISTINCT series) FROM document")
        ).scalar_one()
    assert series == 1


def test_a_document_and_its_replacement_in_one_batch_end_as_they_would_in_two(
    empty_ledger: Engine,
) -> None:
    patient = record.person(empty_ledger)
    old = record.paper(unique_id="d1")
    new = record.paper("Corrigé", unique_id="d2", **replaces("d1"))

    record.put(empty_ledger, patient, old, new, deletion("d2"))

    assert dict(rows(empty_ledger)) == {old.id: "superseded", new.id: "deleted"}


def test_a_replacement_under_the_same_id_replaces(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    old = record.paper(unique_id="d1")
    record.put(sqlite_ledger, patient, old)

    plans = record.put(
        sqlite_ledger,
        patient,
        record.paper("Corrigé", unique_id="d1", event=Event(operation="replace")),
    )

    assert (plans[0].action, plans[0].target and plans[0].target.id) == ("replace", old.id)


def test_a_replacement_before_its_original_waits(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)

    plan = record.put(sqlite_ledger, patient, record.paper(unique_id="d2", **replaces("d1")))[0]

    assert (plan.action, plan.refusal, plan.place) == (
        "missing_target",
        "file.target_missing",
        "relations",
    )
    assert rows(sqlite_ledger) == []


def test_a_target_id_with_a_lost_dot_waits_and_makes_no_orphan(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    record.put(sqlite_ledger, patient, record.paper(unique_id="1.2.120456789.A710"))

    plan = record.put(
        sqlite_ledger, patient, record.paper(unique_id="x", **replaces("1.2.120456789A710"))
    )[0]

    assert plan.refusal == "file.target_missing"


def test_a_document_that_names_itself_as_its_target(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    asked = replaces("d1", event=Event(operation="replace"))

    orphan = record.put(sqlite_ledger, patient, record.paper(unique_id="d1", **asked))[0]
    first = record.put(sqlite_ledger, patient, record.paper(unique_id="d1", **replaces("d1")))[0]
    second = record.put(sqlite_ledger, patient, record.paper("Corrigé", unique_id="d1", **asked))[0]

    assert orphan.refusal == "file.target_missing"
    assert (first.action, first.issues) == ("file", ("relation-to-itself",))
    assert second.action == "replace"


def test_only_the_latest_version_is_replaced(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    record.put(sqlite_ledger, patient, record.paper(unique_id="d1"))
    record.put(
        sqlite_ledger, patient, record.paper("B", unique_id="d2", **replaces("d1")), message_seq=2
    )

    plan = record.put(
        sqlite_ledger, patient, record.paper("C", unique_id="d3", **replaces("d1")), message_seq=3
    )[0]

    assert plan.refusal == "file.not_latest"


def test_another_patients_document_is_never_replaced_or_deleted(sqlite_ledger: Engine) -> None:
    one, other = record.person(sqlite_ledger, "77001"), record.person(sqlite_ledger, "77002")
    record.put(sqlite_ledger, one, record.paper(unique_id="d1"))

    replaced = record.put(sqlite_ledger, other, record.paper(unique_id="d2", **replaces("d1")))[0]
    deleted = record.put(sqlite_ledger, other, deletion("d1"))[0]

    assert replaced.refusal == "file.target_other_patient"
    assert deleted.refusal == "file.target_missing"
    assert [availability for _, availability in rows(sqlite_ledger)] == ["current"]


def test_a_deletion_is_logical_and_answers_a_repetition(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)
    paper = record.paper(unique_id="d1")
    record.put(empty_ledger, patient, paper)

    first = record.put(empty_ledger, patient, deletion("d1"))[0]
    again = record.put(empty_ledger, patient, deletion("d1"))[0]
    back = record.put(empty_ledger, patient, record.paper(unique_id="d1"))[0]

    assert (first.action, again.reason, back.reason) == (
        "delete",
        "document.deleted",
        "document.deleted",
    )
    assert rows(empty_ledger) == [(paper.id, "deleted")]


def test_two_current_documents_under_the_target_id_need_a_person(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    record.put(sqlite_ledger, patient, record.paper("A", unique_id="d1"), message_seq=1)
    record.put(sqlite_ledger, patient, record.paper("B", unique_id="d1"), message_seq=2)

    plan = record.put(
        sqlite_ledger, patient, record.paper("C", unique_id="d2", **replaces("d1")), message_seq=3
    )[0]

    assert plan.refusal == "file.target_ambiguous"


def test_both_levels_of_a_report_are_replaced_by_both_levels(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    levels = [record.paper(level, unique_id="d1") for level in ("Niveau 1", "Niveau 3")]
    record.put(sqlite_ledger, patient, *levels, message_seq=1)
    asked = replaces("d1", event=Event(operation="replace"))
    newer = [
        record.paper(level, unique_id="d2", **asked) for level in ("Niveau 1 v2", "Niveau 3 v2")
    ]

    plans = record.put(sqlite_ledger, patient, *newer, message_seq=2)

    assert [plan.action for plan in plans] == ["replace", "file"]
    assert [dict(rows(sqlite_ledger))[one.id] for one in (*levels, *newer)] == [
        "superseded", "superseded", "current", "current",
    ]  # fmt: skip


def test_a_final_result_replaces_the_preliminary_one_of_its_order(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    kind = {"kind": "result_report"}
    first = record.paper("P", unique_id="o1", status="preliminary", **kind)
    final = record.paper("F", unique_id="o1", status="final", **kind)
    corrected = record.paper("C", unique_id="o1", status="corrected", **kind)

    plans = record.put(sqlite_ledger, patient, first, final, corrected)

    assert [plan.action for plan in plans] == ["file", "replace", "replace"]


def test_the_same_bytes_by_another_way_are_the_same_document(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    body = Attachment(
        role="main", sha256=hashlib.sha256(b"<ClinicalDocument/>").hexdigest(), size=19
    )
    by_mdm = record.paper("Titre MDM", unique_id="d1", attachments=(body,))
    by_http = record.paper("Titre HTTP", unique_id="d1", attachments=(body,))

    assert [plan.action for plan in record.put(sqlite_ledger, patient, by_mdm, by_http)] == [
        "file",
        "duplicate",
    ]


def test_a_change_of_visibility_of_the_same_bytes_is_a_new_revision(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    record.put(sqlite_ledger, patient, record.paper(unique_id="d1"))
    masked = record.paper(
        unique_id="d1", delivery=Delivery(change_confidentiality=True), codes=("N", "MASQUE_PS")
    )

    assert record.put(sqlite_ledger, patient, masked)[0].action == "replace"


def test_events_without_an_id_are_always_filed(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    admission = record.paper("A01", kind="encounter_event")
    cancelled = record.paper("A11", kind="encounter_event", event=Event(operation="cancel"))

    plans = record.put(sqlite_ledger, patient, admission, cancelled)

    assert [plan.action for plan in plans] == ["file", "file"]


def test_masks_become_columns_and_a_date(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)
    record.put(
        empty_ledger,
        patient,
        record.paper(codes=("N", "MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REP_LEGAUX")),
    )

    with reading(empty_ledger) as connection:
        row = connection.execute(
            text(
                "SELECT masked_ps, hidden_from_reps, visible_from - filed_at AS wait FROM document"
            )
        ).one()
    assert (bool(row.masked_ps), bool(row.hidden_from_reps)) == (True, True)
    assert row.wait == 30 * 24 * 3600 * 1_000_000


@given(st.sets(st.sampled_from(["N", "R", "V", "MASQUE_PS", "INVISIBLE_PATIENT", "17621005"])))
def test_more_codes_never_show_more(codes: set[str]) -> None:
    every = header.visibility(record.paper(codes=tuple(codes)), record.NOW)
    for code in codes:
        fewer = header.visibility(record.paper(codes=tuple(codes - {code})), record.NOW)
        assert every.masked_ps >= fewer.masked_ps
        assert every.visible_from >= fewer.visible_from


@given(st.lists(st.sampled_from(["d1", "d2", "d3"]), min_size=1, max_size=6))
def test_the_same_message_planned_again_never_files_again(names: list[str]) -> None:
    record_ = filing.Existing()
    actions = []
    for name in [*names, *names]:
        document = record.paper(unique_id=name)
        plan = filing.plan(document, record_, patient=1)
        actions.append(plan.action)
        if plan.action == "file":
            record_.add(
                filing.Filing.of(document, b"", plan, patient=1, message_seq=1, now=record.NOW)
            )

    assert actions.count("file") == len(set(names))


def test_the_content_hash_ignores_how_and_when_it_came() -> None:
    one = record.paper(unique_id="d1")
    other = msgspec.structs.replace(one, id="0192f0c4-0000-7000-8000-000000000009", issues=())

    assert filing.content_hash(one) == filing.content_hash(other)
    assert filing.content_hash(one) != filing.content_hash(msgspec.structs.replace(one, title="x"))
