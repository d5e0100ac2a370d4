"""Stored words on who may see a record: they take effect at the next look, and what is hidden never shows."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from broker.access import Viewer
from broker.database.engine import reading as snapshot_of
from broker.database.engine import writing
from broker.document import Author, Document, Identifier, Patient, Person, When
from broker.errors import SetupError
from broker.records import accounts, care_team, consents, document_rows, patients, reading, sight
from broker.records.consents import Said
from broker.rules import disclosure
from tests.broker.records import record

NOW = record.NOW
PHYSICIAN = Viewer(
    kind="professional", id="899900000029", profession="G15_10", structure="990000001"
)
STRANGER = Viewer(kind="professional", id="899900000037", profession="G15_10")
BY = Said("counter-1", "counter", NOW)
VISIT = "structure:990000001#V1"
LETTER = "34112-3"


def titles(engine: Engine, viewer: Viewer, patient: int, now: datetime = NOW) -> list[str]:
    page = reading.listing(
        engine, viewer, patient, decide=record.RULES.reading, trail=record.WRITE, now=now
    )
    return [item.title for item in page.items]


def rule(engine: Engine, viewer: Viewer, document: str, now: datetime = NOW) -> str:
    made = reading.hypothetical(engine, viewer, document, decide=record.RULES.reading, now=now)
    assert made is not None
    return made.rule


def enter(engine: Engine, patient: int, act: care_team.Act = "enter", at: datetime = NOW) -> None:
    event = care_team.TeamEvent(
        patient, "structure:990000001", act, at, care_team.STRUCTURE, "adt", "message", "V1"
    )
    with writing(engine) as connection:
        care_team.note(connection, [event, event], at)


def told(engine: Engine, patient: int, to: str, word: consents.Word, said: Said = BY) -> None:
    with writing(engine) as connection:
        consents.consent(connection, patient, to, word, said)


def by(number: str) -> tuple[Author, ...]:
    return (Author(person=Person(identifiers=(Identifier(value=number, system="rpps"),))),)


def one(engine: Engine, **fields: object) -> tuple[int, Document]:
    paper = record.paper("Lettre", type_code=LETTER, **fields)  # type: ignore[arg-type]
    patient = record.person(engine)
    record.put(engine, patient, paper)
    return patient, paper


def test_a_team_reads_from_its_consent_on_and_as_long_as_the_visit_lasts(
    empty_ledger: Engine,
) -> None:
    patient, paper = one(empty_ledger)
    assert rule(empty_ledger, PHYSICIAN, paper.id) == "CON-04"

    enter(empty_ledger, patient)
    assert rule(empty_ledger, PHYSICIAN, paper.id) == "CON-03"
    assert titles(empty_ledger, PHYSICIAN, patient) == []

    told(empty_ledger, patient, VISIT, "IC")
    assert titles(empty_ledger, PHYSICIAN, patient) == ["Lettre"]
    assert rule(empty_ledger, STRANGER, paper.id) == "CON-04"

    later = NOW + timedelta(days=3)
    enter(empty_ledger, patient, "leave", later)
    assert rule(empty_ledger, PHYSICIAN, paper.id, later + timedelta(hours=1)) == "CON-04"
    assert rule(empty_ledger, PHYSICIAN, paper.id, later - timedelta(hours=1)) == "MAT-03"
    enter(empty_ledger, patient, "enter", later + timedelta(days=1))
    assert rule(empty_ledger, PHYSICIAN, paper.id, later + timedelta(days=2)) == "MAT-03"
    assert [event.act for event in care_team.history(empty_ledger, patient)] == [
        "enter",
        "leave",
        "enter",
    ]


def test_con_05_consent_is_collected_on_behalf_of_another(empty_ledger: Engine) -> None:
    patient, paper = one(empty_ledger)

    told(
        empty_ledger,
        patient,
        "899900000029",
        "IC",
        Said("secretary-1", "counter", NOW, on_behalf_of="899900000029"),
    )

    assert rule(empty_ledger, PHYSICIAN, paper.id) == "MAT-03"
    with snapshot_of(empty_ledger) as connection:
        row = connection.execute(
            text("SELECT by, on_behalf_of, channel FROM consent_event WHERE patient = :id"),
            {"id": patient},
        ).one()
    assert tuple(row) == ("secretary-1", "899900000029", "counter")


def test_con_04_the_same_consent_at_the_next_consultation_is_news(sqlite_ledger: Engine) -> None:
    patient, paper = one(sqlite_ledger)
    told(sqlite_ledger, patient, "899900000037", "IC")
    tomorrow = NOW + timedelta(days=1)
    assert rule(sqlite_ledger, STRANGER, paper.id, tomorrow) == "CON-04"

    told(sqlite_ledger, patient, "899900000037", "IC", Said("c", "counter", tomorrow))

    assert rule(sqlite_ledger, STRANGER, paper.id, tomorrow) == "MAT-03"
    assert len(accounts.history(sqlite_ledger, patient)) == 2


def test_acc_05_a_block_is_stored_by_national_id_and_taken_back(empty_ledger: Engine) -> None:
    patient, paper = one(empty_ledger)
    enter(empty_ledger, patient)
    told(empty_ledger, patient, VISIT, "IC")

    with writing(empty_ledger) as connection:
        consents.block(connection, patient, "99900000029", True, BY)
    assert rule(empty_ledger, PHYSICIAN, paper.id) == "ACC-05"
    assert titles(empty_ledger, PHYSICIAN, patient) == []

    with writing(empty_ledger) as connection:
        consents.block(connection, patient, "899900000029", False, BY)
    assert titles(empty_ledger, PHYSICIAN, patient) == ["Lettre"]


def test_acc_06_an_author_outside_the_team_lists_their_own_and_nothing_else(
    empty_ledger: Engine,
) -> None:
    patient = record.person(empty_ledger)
    mine = record.paper("Mine", authors=by("99900000037"), codes=("N", "MASQUE_PS"))
    record.put(empty_ledger, patient, mine, record.paper("Other", type_code="11488-4"))

    assert titles(empty_ledger, STRANGER, patient) == ["Mine"]
    assert [made.rule for made in reading.decisions(empty_ledger, patient=patient)] == []
    assert titles(empty_ledger, PHYSICIAN, patient) == []


def test_acc_07_the_declared_medecin_traitant_reads_what_is_masked(sqlite_ledger: Engine) -> None:
    patient, paper = one(sqlite_ledger, codes=("N", "MASQUE_PS"))

    with writing(sqlite_ledger) as connection:
        consents.traitant(connection, patient, "899900000029", BY)
    assert rule(sqlite_ledger, PHYSICIAN, paper.id) == "ACC-07"

    with writing(sqlite_ledger) as connection:
        consents.traitant(connection, patient, consents.NOBODY, BY)
    assert rule(sqlite_ledger, PHYSICIAN, paper.id) == "CON-04"


def test_acc_08_reading_copies_nothing_of_what_was_read(sqlite_ledger: Engine) -> None:
    patient, paper = one(sqlite_ledger)
    told(sqlite_ledger, patient, "899900000029", "IC")

    assert reading.read(
        sqlite_ledger,
        PHYSICIAN,
        paper.id,
        decide=record.RULES.reading,
        trail=record.WRITE,
        now=NOW,
    )

    with snapshot_of(sqlite_ledger) as connection:
        assert connection.execute(text("SELECT count(*) FROM document")).scalar_one() == 1
        kept = [
            str(tuple(row))
            for table in ("decision", "visit", "access_line", "audit_entry")
            for row in connection.execute(text(f"SELECT * FROM {table}"))
        ]
    assert kept
    assert not any("Lettre" in row for row in kept)


def test_a_mandate_ends_with_the_birthday(sqlite_ledger: Engine) -> None:
    patient, paper = one(sqlite_ledger)
    born = Patient(birth_date=When(value="2008-11-11"))
    with writing(sqlite_ledger) as connection:
        patients.update_traits(connection, {patient: born}, NOW)
        consents.mandate(connection, patient, "p-1", "parent/all//", BY)
    parent = Viewer(kind="representative", id="p-1")

    assert rule(sqlite_ledger, parent, paper.id) == "MIN-01"
    assert rule(sqlite_ledger, parent, paper.id, NOW + timedelta(days=1)) == "VIS-08"
    assert titles(sqlite_ledger, Viewer(kind="representative", id="p-2"), patient) == []


def test_aud_02_the_trail_is_for_the_holder_the_traitant_the_author_and_auditors() -> None:
    line = {
        "is_own_action": False,
        "is_denied": False,
        "is_secret": False,
        "may_see_document": True,
    }

    assert all(
        disclosure.shows(who, **line)  # type: ignore[arg-type]
        for who in ("holder", "medecin_traitant", "auditor", "representatives")
    )
    for who in ("author", "professional"):
        assert not disclosure.shows(who, **line)  # type: ignore[arg-type]
        assert disclosure.shows(who, **(line | {"is_own_action": True}))  # type: ignore[arg-type]


def test_aud_04_denied_attempts_are_traced_and_shown_to_auditors_alone(
    sqlite_ledger: Engine,
) -> None:
    patient, _ = one(sqlite_ledger)

    assert titles(sqlite_ledger, STRANGER, patient) == []

    assert reading.visits(sqlite_ledger, patient) == []
    assert [made.rule for made in reading.decisions(sqlite_ledger, patient=patient)] == ["CON-04"]
    line = {
        "is_own_action": True,
        "is_denied": True,
        "is_secret": False,
        "may_see_document": True,
    }
    readers = ("holder", "representatives", "medecin_traitant", "author", "professional")
    assert not any(disclosure.shows(who, **line) for who in readers)  # type: ignore[arg-type]
    assert disclosure.shows("auditor", **line)


def test_aud_05_a_list_is_an_access_and_reading_is_another(sqlite_ledger: Engine) -> None:
    patient, paper = one(sqlite_ledger)
    told(sqlite_ledger, patient, "899900000029", "IC")

    titles(sqlite_ledger, PHYSICIAN, patient)
    reading.read(
        sqlite_ledger,
        PHYSICIAN,
        paper.id,
        decide=record.RULES.reading,
        trail=record.WRITE,
        now=NOW,
    )

    with snapshot_of(sqlite_ledger) as connection:
        acts = connection.execute(text("SELECT act FROM access_line ORDER BY n")).scalars().all()
        traced = connection.execute(text("SELECT act FROM audit_entry ORDER BY n")).scalars().all()
    assert acts == ["list", "read"]
    assert traced[-2:] == ["document_listed", "document_read"]


def test_aud_07_a_hidden_document_and_none_at_all_leave_the_same_steps(
    empty_ledger: Engine,
) -> None:
    _, paper = one(empty_ledger, codes=("N", "MASQUE_PS"))
    told_stranger = msgspec.structs.replace(STRANGER, consent="explicit")
    nowhere = "0192f0c4-0000-7000-8000-00000000dead"

    answers = [
        reading.read(
            empty_ledger,
            told_stranger,
            number,
            decide=record.RULES.reading,
            trail=record.WRITE,
            now=NOW,
        )
        for number in (paper.id, nowhere)
    ]

    assert answers == [reading.NOTHING, reading.NOTHING]
    with snapshot_of(empty_ledger) as connection:
        rules = connection.execute(text("SELECT rule FROM decision ORDER BY rule")).scalars().all()
        acts = connection.execute(text("SELECT act FROM audit_entry ORDER BY n")).scalars().all()
    assert rules == ["AUD-07", "VIS-01"]
    assert acts == ["refused", "refused"]
    line = {"is_own_action": True, "is_denied": False, "is_secret": False}
    assert not disclosure.shows("medecin_traitant", may_see_document=False, **line)
    assert not disclosure.shows("author", may_see_document=False, **line)


def test_vis_01_a_mask_is_set_and_lifted_and_both_are_kept(empty_ledger: Engine) -> None:
    patient, paper = one(empty_ledger)
    told(empty_ledger, patient, "899900000029", "IC")

    for change, expected in (("mask", []), ("unmask", ["Lettre"])):
        with writing(empty_ledger) as connection:
            made = sight.SightChange(paper.id, change, f"patient:{patient}", "online", "VIS-01")
            sight.change(connection, [made], NOW)
        assert titles(empty_ledger, PHYSICIAN, patient) == expected

    assert [kept.change for _, kept in sight.history(empty_ledger, paper.id)] == ["mask", "unmask"]
    with writing(empty_ledger) as connection:
        again = sight.SightChange(paper.id, "hide_patient", "x", "online", "VIS-03")
        with pytest.raises(KeyError):
            sight.change(connection, [again], NOW)
        row = document_rows.load(connection, paper.id)
    assert row is not None
    assert not row.masked_ps


def test_a_consent_names_whom_it_is_for(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)

    with writing(sqlite_ledger) as connection:
        with pytest.raises(SetupError, match=r"consent\.unknown"):
            consents.consent(connection, patient, "", "IC", BY)
        with pytest.raises(SetupError, match=r"consent\.unknown"):
            consents.oppose_emergency(connection, patient, "soon", True, BY)
        with pytest.raises(SetupError, match=r"consent\.unknown"):
            consents.block(connection, 404, "899900000029", True, BY)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.sampled_from(["seen", "masked", "closed_type", "deleted"]), max_size=12),
    st.integers(1, 4),
    st.sampled_from(["team", "explicit", "author", "blocked"]),
)
def test_hidden_documents_never_influence_any_output(
    sqlite_ledger: Engine, kinds: list[str], limit: int, how: str
) -> None:
    """The pages of a record are those of the record that holds only what the viewer may see."""
    viewer = Viewer(
        kind="professional", id="899900000011", profession="G15_80", structure="990000001"
    )
    papers = {
        n: record.paper(
            f"{n}",
            type_code=LETTER if kind == "closed_type" else "11488-4",
            codes=("N", "MASQUE_PS") if kind == "masked" else ("N",),
            at=NOW + timedelta(milliseconds=n),
            authors=by("99900000011") if how == "author" and n % 3 == 0 else (),
        )
        for n, kind in enumerate(kinds)
    }

    def seen(tag: str, chosen: list[int]) -> list[list[str]]:
        patient = record.person(sqlite_ledger, f"{tag}{msgspec.json.encode((kinds, limit, how))!r}")
        copies = [
            msgspec.structs.replace(papers[n], id=f"{papers[n].id[:-4]}{patient % 65536:04x}")
            for n in chosen
        ]
        record.put(sqlite_ledger, patient, *copies)
        with writing(sqlite_ledger) as connection:
            gone = [
                sight.SightChange(copy.id, "delete", "x", "online", "RET-07")
                for n, copy in zip(chosen, copies, strict=True)
                if kinds[n] == "deleted"
            ]
            sight.change(connection, gone, NOW)
            if how == "explicit":
                consents.consent(connection, patient, viewer.id, "IC", BY)
            elif how in ("team", "blocked"):
                consents.consent(connection, patient, VISIT, "IC", BY)
            if how == "blocked":
                consents.block(connection, patient, viewer.id, True, BY)
        enter(sqlite_ledger, patient)
        pages, before = [], ""
        while True:
            page = reading.listing(
                sqlite_ledger,
                viewer,
                patient,
                decide=record.RULES.reading,
                trail=record.WRITE,
                now=NOW,
                limit=limit,
                before=before,
            )
            pages.append([item.title for item in page.items])
            if not page.next:
                return pages
            before = page.next

    def may(n: int) -> bool:
        if kinds[n] == "deleted" or how == "blocked":
            return False
        is_own = how == "author" and n % 3 == 0
        return is_own or (how != "author" and kinds[n] == "seen")

    assert seen("all", sorted(papers)) == seen("some", [n for n in sorted(papers) if may(n)])


def test_births_that_are_not_whole_are_unknown(sqlite_ledger: Engine) -> None:
    patient = record.person(sqlite_ledger)
    for value, expected in (("2010-05-01", date(2010, 5, 1)), ("2010", None), ("", None)):
        with writing(sqlite_ledger) as connection:
            known = Patient(birth_date=When(value=value))
            patients.update_traits(connection, {patient: known}, NOW)
            row = patients.load(connection, [patient])[patient]
            assert care_team.for_viewer(connection, row, PHYSICIAN, NOW).born == expected
