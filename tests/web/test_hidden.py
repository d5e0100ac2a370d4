"""What is hidden leaves no sign: not in an answer, not in a page, not in what the API asks of the database."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import text

from broker.database.engine import writing
from broker.records import consents, patients, reading
from broker.records.patients import NewConsent
from broker.web.resources import RESOURCES
from tests.broker.records import record
from tests.web import papers
from tests.web.site import CONSULTATION, DISCHARGE, INS, OTHER_INS, PODIATRIST, Site

ABSENT = "0192f0c4-0000-7000-8000-00000000dead"


def plain(answer: Any, **names: str) -> str:
    """An answer without what differs from call to call: links are sealed anew each time."""
    told = re.sub(r"_page=[\w-]+", "_page=…", answer.text)
    for name, word in names.items():
        told = told.replace(word, name)
    return told


def records(site: Site, visible: int, hidden: int) -> tuple[int, int, list[Any]]:
    """Two patients with the same visible documents; the second one's record holds hidden ones between them."""
    shown = [papers.structured(2 * n, CONSULTATION, id=f"019ca8d7-2d00-7000-8000-{n:012d}", unique_id="") for n in range(visible)]  # fmt: skip
    twice = [papers.structured(2 * n, CONSULTATION, id=f"019ca8d7-2d00-7000-9000-{n:012d}", unique_id="") for n in range(visible)]  # fmt: skip
    between = [papers.structured(2 * n + 1, DISCHARGE, unique_id=f"1.9.{n}") for n in range(hidden)]
    one, other = site.person(), site.person(OTHER_INS)
    site.put(one, *shown)
    site.put(other, *twice, *between)
    return one, other, between


@pytest.mark.parametrize("kind", ["DocumentReference", "Observation", "List", "Encounter"])
def test_whole_answers_and_statements_are_the_same_with_and_without(site: Site, kind: str) -> None:
    one, other, _ = records(site, visible=5, hidden=7)
    who = site.podiatrist()
    # A first look begins a visit and opens the connection: what is compared is the second one.
    for number in (one, other):
        site.search(kind, who, patient=site.reference(number))
    answers, statements = [], []
    for number, ins in ((one, INS), (other, OTHER_INS)):
        asked = {"patient": site.reference(number), "_count": "2"}
        told: list[str] = []
        with site.statements() as made:
            page = site.http.post(f"{kind}/_search", headers=who, data=asked)
            while True:
                names = {"Patient/id": site.reference(number), "INS": ins, "-8000-": "-9000-"}
                told.append(plain(page, **names))
                following = [x["url"] for x in page.json()["link"] if x["relation"] == "next"]
                if not following:
                    break
                page = site.http.get(following[0], headers=who)
        answers.append([re.sub(r'"lastUpdated":"[^"]+"', "", x) for x in told])
        statements.append(made)

    assert any("audit_entry" in one for one in statements[0]), "the trail is seen being written"
    assert [len(x) for x in answers[0]] == [len(x) for x in answers[1]]
    # Ids of resources inside a document are digests of its id: the two records have the same shape, not the same ids.
    blank = r"[0-9a-f]{8}-[0-9a-f-]{27}(\.[0-9a-f]{16})?|urn:uuid:[0-9a-f-]+"
    assert [re.sub(blank, "id", x) for x in answers[0]] == [re.sub(blank, "id", x) for x in answers[1]]  # fmt: skip
    assert [re.sub(r"\s+", " ", x)[:60] for x in statements[0]] == [
        re.sub(r"\s+", " ", x)[:60] for x in statements[1]
    ]


def test_a_hidden_document_is_answered_like_one_that_is_not_there(site: Site) -> None:
    patient = site.person()
    held = site.store(patient=patient)
    letter = papers.structured(0, DISCHARGE, attachments=(held,))
    site.put(patient, letter)
    with writing(site.engine) as connection:
        said = consents.Said("jd", "counter", record.NOW)
        consents.block(connection, patient, "899900000045", True, said)
    known = {
        one["resource"]["resourceType"]: one["resource"]["id"]
        for one in site.get(f"{site.reference(patient)}/$everything", site.patient()).json()[
            "entry"
        ]
    }
    url = site.get(f"DocumentReference/{letter.id}", site.physician()).json()
    known["Binary"] = url["content"][0]["attachment"]["url"].rpartition("/")[2]
    assert set(known) == set(RESOURCES)

    for kind, number in known.items():
        if kind in ("Patient", "Consent", "AuditEvent"):
            continue
        absent = number.replace(letter.id, ABSENT)
        with site.statements() as of_hidden:
            hidden = site.get(f"{kind}/{number}", site.podiatrist())
        with site.statements() as of_absent:
            nothing = site.get(f"{kind}/{absent}", site.podiatrist())
        assert hidden.status_code == nothing.status_code == 404
        assert hidden.content == nothing.content
        assert dict(hidden.headers) == dict(nothing.headers)
        assert len(of_hidden) == len(of_absent)
        assert site.get(f"{kind}/{number}", site.physician()).status_code == 200


def test_a_closed_record_is_answered_like_one_that_is_not_there(site: Site) -> None:
    patient = site.person()
    site.put(patient, papers.letter())
    with writing(site.engine) as connection:
        closing = NewConsent(patient, "account", "closed", "holder", "test", record.NOW, account="closed")  # fmt: skip
        patients.add_consents(connection, [closing], record.NOW)
    who = site.physician()
    gone = site.seals.id_of(999_999)

    site.ids("DocumentReference", who, patient=f"Patient/{gone}")
    site.ids("DocumentReference", who, patient=site.reference(patient))
    with site.statements() as of_closed:
        closed = site.http.post("DocumentReference/_search", headers=who, data={"patient": site.reference(patient)})  # fmt: skip
    with site.statements() as of_absent:
        absent = site.http.post("DocumentReference/_search", headers=who, data={"patient": f"Patient/{gone}"})  # fmt: skip

    assert plain(closed) == plain(absent)
    assert len(of_closed) == len(of_absent)
    assert (
        site.get(site.reference(patient), who).content == site.get(f"Patient/{gone}", who).content
    )


def test_every_look_leaves_its_trace_in_the_reading_itself(site: Site) -> None:
    patient = site.person()
    shown, hidden = papers.structured(0), papers.structured(1, DISCHARGE)
    site.put(patient, shown, hidden)
    who = site.podiatrist()

    site.ids("DocumentReference", who, patient=site.reference(patient))
    site.ids("Observation", who, patient=site.reference(patient))
    site.get(f"DocumentReference/{shown.id}", who)
    site.get(f"DocumentReference/{hidden.id}", who)

    with site.engine.connect() as connection:
        acts = connection.execute(
            text("SELECT act, subject, actor, software, outcome FROM audit_entry ORDER BY n")
        ).all()
        lines = connection.execute(
            text("SELECT act, document_id FROM access_line ORDER BY n")
        ).all()
        (visit,) = connection.execute(text('SELECT listed, "read", structure FROM visit')).all()
    assert [(one.act, one.subject) for one in acts] == [
        ("document_listed", f"patient:{patient}"),
        ("document_listed", f"patient:{patient}"),
        ("document_read", shown.id),
        ("document_read", shown.id),
        ("refused", hidden.id),
    ]
    assert {(one.actor, one.software) for one in acts} == {(PODIATRIST[0], "clinic-software")}
    assert acts[-1].outcome == "access.matrix_closed"
    assert [(one.act, one.document_id and str(one.document_id)) for one in lines] == [
        ("list", None), ("list", None), ("read", shown.id), ("read", shown.id),
    ]  # fmt: skip
    assert tuple(visit) == (2, 2, "750000001")


def test_the_operator_is_told_why_a_search_did_not_show_a_document(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    hidden = papers.letter(1, DISCHARGE)
    site.put(patient, papers.letter(0), hidden)

    site.ids("DocumentReference", site.podiatrist(), patient=site.reference(patient))

    (one,) = reading.decisions(site.engine, subject=hidden.id)
    assert (one.rule, one.allowed, one.action) == ("MAT-08", False, "list")


def test_a_look_that_cannot_be_traced_shows_nothing(sqlite_site: Site) -> None:
    site = sqlite_site
    patient = site.person()
    letter = papers.letter()
    site.put(patient, letter)
    with site.engine.begin() as connection:
        connection.execute(text("CREATE TRIGGER full BEFORE INSERT ON audit_entry BEGIN SELECT RAISE(ABORT, 'full'); END"))  # fmt: skip

    searched = site.http.post("DocumentReference/_search", headers=site.physician(), data={"patient": site.reference(patient)})  # fmt: skip
    read = site.get(f"DocumentReference/{letter.id}", site.physician())

    for answer in (searched, read):
        assert answer.status_code in (500, 503)
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert letter.id not in answer.text
    assert site.count("visit") == site.count("decision") == 0
