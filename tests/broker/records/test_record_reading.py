"""Reading the record: what is hidden leaves no sign, and every look leaves its trace."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from broker.access import Viewer
from broker.database.engine import reading as snapshot_of
from broker.database.engine import writing
from broker.document import Attachment, Author, Document, Event, Identifier, Person
from broker.records import accounts, content, reading
from broker.records.reading import NOTHING, Listing, ReadResult
from tests.broker.records import record

NOW = record.NOW
PHYSICIAN = Viewer(
    kind="professional",
    id="899900000029",
    name="Dr Essai",
    profession="G15_10",
    structure="CHU-X",
    consent="explicit",
)
PODIATRIST = Viewer(
    kind="professional",
    id="899900000011",
    name="Pied Exemple",
    profession="G15_80",
    consent="explicit",
)
OPERATOR = Viewer(kind="operator", id="ops")


def listing(
    engine: Engine, viewer: Viewer, patient: int, now: datetime = NOW, **fields: object
) -> Listing:
    return reading.listing(
        engine, viewer, patient, decide=record.RULES.reading, trail=record.WRITE, now=now, **fields
    )  # type: ignore[arg-type]


def read(engine: Engine, viewer: Viewer, document: str, now: datetime = NOW) -> ReadResult:
    return reading.read(
        engine, viewer, document, decide=record.RULES.reading, trail=record.WRITE, now=now
    )


def filed(engine: Engine, *papers: Document) -> int:
    patient = record.person(engine)
    record.put(engine, patient, *papers)
    return patient


def entries(engine: Engine) -> list[tuple[str, str]]:
    with snapshot_of(engine) as connection:
        rows = connection.execute(text("SELECT act, outcome FROM audit_entry ORDER BY n")).all()
    return [(row.act, row.outcome) for row in rows]


def test_a_physician_sees_the_discharge_report_and_a_podiatrist_no_sign_of_it(
    empty_ledger: Engine,
) -> None:
    report = record.paper("Compte rendu d'hospitalisation")
    note = record.paper("Consultation", type_code="11488-4", at=NOW + timedelta(seconds=1))
    patient = filed(empty_ledger, report, note)

    physician = listing(empty_ledger, PHYSICIAN, patient)
    podiatrist = listing(empty_ledger, PODIATRIST, patient)
    refused = read(empty_ledger, PODIATRIST, report.id)
    absent = read(empty_ledger, PODIATRIST, "0192f0c4-0000-7000-8000-00000000dead")

    assert {item.title for item in physician.items} == {
        "Compte rendu d'hospitalisation",
        "Consultation",
    }
    assert [item.title for item in podiatrist.items] == ["Consultation"]
    assert podiatrist.next == ""
    assert refused == absent == NOTHING
    assert read(empty_ledger, PHYSICIAN, report.id).document == report


def test_the_operator_is_told_which_rule_refused(empty_ledger: Engine) -> None:
    report = record.paper()
    patient = filed(empty_ledger, report)

    listing(empty_ledger, PODIATRIST, patient)
    read(empty_ledger, PODIATRIST, report.id)

    found = reading.decisions(empty_ledger, subject=report.id)
    assert sorted((one.action, one.rule, one.allowed) for one in found) == [
        ("list", "MAT-08", False),
        ("read", "MAT-08", False),
    ]
    again = reading.decision_of(empty_ledger, found[0].reference.lower())
    assert again == found[0]
    assert found[0].actor.name == "Pied Exemple"
    assert record.RULES.replay(found[0].inputs).rule == "MAT-08"
    assert reading.decisions(empty_ledger, patient=patient)


def test_a_refusal_is_in_the_trail_and_not_among_the_visits(empty_ledger: Engine) -> None:
    report = record.paper()
    patient = filed(empty_ledger, report)

    read(empty_ledger, PODIATRIST, report.id)

    assert entries(empty_ledger) == [("refused", "access.matrix_closed")]
    assert reading.visits(empty_ledger, patient) == []


def test_looks_of_one_session_are_one_visit_with_the_names_of_that_day(
    empty_ledger: Engine,
) -> None:
    report = record.paper()
    patient = filed(empty_ledger, report)

    listing(empty_ledger, PHYSICIAN, patient, NOW)
    read(empty_ledger, PHYSICIAN, report.id, NOW + timedelta(minutes=5))
    renamed = msgspec.structs.replace(PHYSICIAN, name="Dr Nouveau Nom")
    read(empty_ledger, renamed, report.id, NOW + timedelta(days=1))

    newer, older = reading.visits(empty_ledger, patient)
    assert (older.listed, older.read, older.first_of_actor, older.actor.name) == (
        1,
        1,
        True,
        "Dr Essai",
    )
    assert (newer.listed, newer.read, newer.first_of_actor, newer.actor.name) == (
        0,
        1,
        False,
        "Dr Nouveau Nom",
    )
    with snapshot_of(empty_ledger) as connection:
        lines = connection.execute(text("SELECT act, n FROM access_line ORDER BY visit, n")).all()
    assert [tuple(line) for line in lines] == [("list", 1), ("read", 2), ("read", 1)]


def test_an_emergency_is_a_visit_of_its_own_with_its_reason(sqlite_ledger: Engine) -> None:
    report = record.paper()
    patient = filed(sqlite_ledger, report)
    urgent = msgspec.structs.replace(PHYSICIAN, mode="bris_de_glace", motive="coma")

    read(sqlite_ledger, PHYSICIAN, report.id)
    read(sqlite_ledger, urgent, report.id, NOW + timedelta(minutes=1))

    assert [(one.mode, one.motive) for one in reading.visits(sqlite_ledger, patient)] == [
        ("bris_de_glace", "coma"),
        ("normal", None),
    ]


def test_reading_and_its_trace_are_one_transaction(empty_ledger: Engine) -> None:
    report = record.paper()
    patient = filed(empty_ledger, report)

    def broken(*_: object) -> None:
        raise RuntimeError("the trail is full")

    with pytest.raises(RuntimeError, match="full"):
        reading.read(
            empty_ledger, PHYSICIAN, report.id, decide=record.RULES.reading, trail=broken, now=NOW
        )

    assert reading.visits(empty_ledger, patient) == []
    assert reading.decisions(empty_ledger, patient=patient) == []


def test_a_masked_document_is_listed_for_its_author_and_the_patient_only(
    sqlite_ledger: Engine,
) -> None:
    author = Author(
        person=Person(identifiers=(Identifier(value="99900000029", system="rpps", kind="RPPS"),))
    )
    masked = record.paper("Masqué", codes=("N", "MASQUE_PS"), authors=(author,))
    patient = filed(sqlite_ledger, masked)
    colleague = msgspec.structs.replace(PHYSICIAN, id="899900000037")
    holder = Viewer(kind="patient", id=str(patient))

    titles = [
        [item.title for item in listing(sqlite_ledger, v, patient).items]
        for v in (PHYSICIAN, colleague, holder)
    ]

    assert titles == [["Masqué"], [], ["Masqué"]]


def test_an_announcement_document_reaches_the_patient_after_a_month(sqlite_ledger: Engine) -> None:
    paper = record.paper(codes=("N", "INVISIBLE_PATIENT"))
    patient = filed(sqlite_ledger, paper)
    holder = Viewer(kind="patient", id=str(patient))

    assert read(sqlite_ledger, holder, paper.id, NOW + timedelta(days=29)) == NOTHING
    assert read(sqlite_ledger, holder, paper.id, NOW + timedelta(days=30)).document == paper


def test_a_closed_space_is_an_empty_one(sqlite_ledger: Engine) -> None:
    paper = record.paper()
    patient = filed(sqlite_ledger, paper)
    with writing(sqlite_ledger) as connection:
        accounts.move(connection, patient, "closed", by="holder", channel="command", now=NOW)

    assert listing(sqlite_ledger, PHYSICIAN, patient) == Listing()
    assert listing(sqlite_ledger, PHYSICIAN, 999) == Listing()
    assert read(sqlite_ledger, PHYSICIAN, paper.id) == NOTHING
    assert reading.visits(sqlite_ledger, patient) == []


def test_deleted_and_replaced_documents_are_for_operators(sqlite_ledger: Engine) -> None:
    paper = record.paper(unique_id="d1")
    patient = filed(
        sqlite_ledger, paper, record.paper(unique_id="d1", event=Event(operation="delete"))
    )

    assert listing(sqlite_ledger, PHYSICIAN, patient).items == ()
    assert read(sqlite_ledger, PHYSICIAN, paper.id) == NOTHING
    (item,) = listing(sqlite_ledger, OPERATOR, patient).items
    assert (item.row.availability, item.title) == ("deleted", "")


def test_an_operator_opens_content_with_a_reason_and_the_patient_sees_it(
    sqlite_ledger: Engine,
) -> None:
    paper = record.paper()
    patient = filed(sqlite_ledger, paper)

    listing(sqlite_ledger, OPERATOR, patient)
    assert read(sqlite_ledger, OPERATOR, paper.id) == NOTHING
    assert reading.visits(sqlite_ledger, patient) == []
    assert read(sqlite_ledger, msgspec.structs.replace(OPERATOR, motive="incident 12"), paper.id)

    assert [act for act, _ in entries(sqlite_ledger)] == [
        "document_listed",
        "refused",
        "body_revealed",
    ]
    assert [one.motive for one in reading.visits(sqlite_ledger, patient)] == ["incident 12"]


def test_attachments_come_only_with_a_document_that_was_read(sqlite_ledger: Engine) -> None:
    body, other = b"%PDF invented", b"somebody else's"
    names = [hashlib.sha256(one).hexdigest() for one in (body, other)]
    paper = record.paper(attachments=(Attachment(role="main", sha256=names[0], size=len(body)),))
    patient = filed(sqlite_ledger, paper)
    with writing(sqlite_ledger) as connection:
        keys = [(patient, name) for name in names]
        content.store(connection, dict(zip(keys, (body, other), strict=True)))

    result = read(sqlite_ledger, PHYSICIAN, paper.id)

    assert reading.attachment(sqlite_ledger, result, names[0]) == body
    for unread, name in ((result, names[1]), (NOTHING, names[0])):
        with pytest.raises(KeyError):
            reading.attachment(sqlite_ledger, unread, name)


def test_a_hypothetical_decision_leaves_no_trace(sqlite_ledger: Engine) -> None:
    paper = record.paper()
    patient = filed(sqlite_ledger, paper)

    made = reading.hypothetical(
        sqlite_ledger, PODIATRIST, paper.id, decide=record.RULES.reading, now=NOW
    )

    assert made is not None
    assert made.rule == "MAT-08"
    assert entries(sqlite_ledger) == []
    assert reading.decisions(sqlite_ledger, patient=patient) == []


@pytest.mark.parametrize(
    "text_", ["", "1", "%", "' OR 1=1 --", "0192f0c4-0000-7000-8000-00000000000g"]
)
def test_what_is_no_id_is_answered_like_an_absent_document(
    sqlite_ledger: Engine, text_: str
) -> None:
    assert read(sqlite_ledger, PHYSICIAN, text_) == NOTHING


def test_a_patient_is_found_by_number_and_by_ins(empty_ledger: Engine) -> None:
    patient = record.person(empty_ledger)

    assert reading.find_patient(empty_ledger, "1.2.250.1.999.2", " 77001 ") == patient
    assert reading.find_patient(empty_ledger, "urn:oid:1.2.250.1.999.2", "77001") == patient
    assert reading.find_patient(empty_ledger, "ins", "184126322000143") is None


def all_pages(engine: Engine, viewer: Viewer, patient: int, limit: int) -> list[list[str]]:
    pages, before = [], ""
    while True:
        page = listing(engine, viewer, patient, limit=limit, before=before)
        pages.append([item.row.id for item in page.items])
        if not page.next:
            return pages
        before = page.next


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.booleans(), max_size=14), st.integers(1, 4))
def test_pages_look_the_same_with_and_without_what_is_hidden(
    sqlite_ledger: Engine, hidden: list[bool], limit: int
) -> None:
    value = str(msgspec.json.encode((hidden, limit)))
    patient = record.person(sqlite_ledger, value)
    papers = [
        record.paper(
            f"{n}",
            type_code="34112-3" if is_hidden else "11488-4",
            at=NOW + timedelta(milliseconds=n),
        )
        for n, is_hidden in enumerate(hidden)
    ]
    record.put(sqlite_ledger, patient, *papers)
    visible = [paper for paper, is_hidden in zip(papers, hidden, strict=True) if not is_hidden]

    pages = all_pages(sqlite_ledger, PODIATRIST, patient, limit)

    seen = [number for page in pages for number in page]
    assert sorted(seen) == sorted(paper.id for paper in visible)
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages) == max(1, -(-len(visible) // limit))
