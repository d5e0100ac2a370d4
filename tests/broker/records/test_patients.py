"""Patients found, created once by whoever is first, and what they consented to."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from broker.database.engine import reading, writing
from broker.document import Consent, When
from broker.errors import PermanentError, TransientError
from broker.identity.matching import Key
from broker.records import accounts, patients
from broker.records.patients import ConsentSaid, NewKey, NewPatient
from tests.broker.records import record

NOW = record.NOW
IPP = Key("1.2.250.1.999.2", "77001", "PI", "local")
INS = Key("1.2.250.1.213.1.4.8", "184126322000143", "INS-NIR", "ins")
OTHER_INS = Key("1.2.250.1.213.1.4.8", "279035121518989", "INS-NIR", "ins")


def said(number: int, value: str, day: str = "", scope: str = "filing") -> ConsentSaid:
    consent = Consent(scope=scope, value=value, at=When(value=day) if day else None)  # type: ignore[arg-type]
    return ConsentSaid(number, consent, "ward", 7)


def row_of(engine: Engine, number: int) -> patients.PatientRow:
    with reading(engine) as connection:
        return patients.load(connection, [number])[number]


def test_a_patient_is_found_by_each_of_its_numbers(empty_ledger: Engine) -> None:
    number = record.person(empty_ledger)
    with writing(empty_ledger) as connection:
        patients.add_keys(connection, [NewKey(number, INS)], NOW)

    with reading(empty_ledger) as connection:
        found = patients.find(connection, {IPP.pair, INS.pair, ("1.2.250.1.999.2", "other")})

    assert found == {IPP.pair: number, INS.pair: number}


def test_values_with_quotes_and_bars_are_found_as_they_are(empty_ledger: Engine) -> None:
    strange = Key("source:ward", """a'b"c|d\\e;--é""", "PI", "local")
    number = record.person(empty_ledger)
    with writing(empty_ledger) as connection:
        patients.add_keys(connection, [NewKey(number, strange)], NOW)

    with reading(empty_ledger) as connection:
        assert patients.find(connection, {strange.pair}) == {strange.pair: number}


def test_the_second_creator_of_a_patient_tries_again(empty_ledger: Engine) -> None:
    record.person(empty_ledger)
    second = NewPatient(900_000_001, (IPP,))

    with (
        pytest.raises(TransientError, match=r"identity\.race"),
        writing(empty_ledger) as connection,
    ):
        patients.create(connection, [second], NOW)

    with reading(empty_ledger) as connection:
        assert connection.execute(text("SELECT count(*) FROM patient")).scalar_one() == 1


def test_two_workers_that_meet_the_same_new_patient_at_once_make_one(empty_ledger: Engine) -> None:
    numbers = [900_000_001, 900_000_002]
    start = threading.Barrier(2, timeout=30)
    outcomes: list[str] = []

    def create(number: int) -> None:
        start.wait()
        try:
            with writing(empty_ledger) as connection:
                patients.create(connection, [NewPatient(number, (INS, IPP))], NOW)
            outcomes.append("created")
        except TransientError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=create, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(outcomes) == ["created", "identity.race"]


def test_a_second_ins_is_never_added_to_a_person(empty_ledger: Engine) -> None:
    number = record.person(empty_ledger)
    with writing(empty_ledger) as connection:
        patients.add_keys(connection, [NewKey(number, INS)], NOW)

    with (
        pytest.raises(PermanentError, match=r"identity\.ins_differs"),
        writing(empty_ledger) as connection,
    ):
        patients.add_keys(connection, [NewKey(number, OTHER_INS)], NOW)

    with reading(empty_ledger) as connection:
        assert patients.ins_of(connection, [number]) == {number: [INS.pair]}


def test_an_account_nobody_spoke_of_is_open_and_not_activated(empty_ledger: Engine) -> None:
    row = row_of(empty_ledger, record.person(empty_ledger))

    assert (row.account, row.consent_version, row.filing_opposed) == ("open_unactivated", 0, False)


def test_opposition_to_filing_is_heard_and_taken_back(empty_ledger: Engine) -> None:
    number = record.person(empty_ledger)

    for value, day, opposed in (("IO", "2026-11-01", True), ("INO", "2026-11-02", False)):
        with writing(empty_ledger) as connection:
            patients.add_consents(connection, [said(number, value, day)], NOW)
        assert row_of(empty_ledger, number).filing_opposed is opposed

    assert [one.value for one in accounts.history(empty_ledger, number)] == ["IO", "INO"]
    assert row_of(empty_ledger, number).consent_version == 2


def test_repeated_uncollected_and_older_words_change_nothing(empty_ledger: Engine) -> None:
    number = record.person(empty_ledger)
    words = [
        said(number, "IO", "2026-11-02"),
        said(number, "IO", "2026-11-03"),
        said(number, "NA", "2026-11-04"),
        said(number, "INO", "2026-11-01"),
    ]

    with writing(empty_ledger) as connection:
        patients.add_consents(connection, words, NOW)

    assert [(one.n, one.value) for one in accounts.history(empty_ledger, number)] == [(1, "IO")]


def test_a_closed_dmp_closes_the_space_and_active_reopens_only_that(empty_ledger: Engine) -> None:
    number = record.person(empty_ledger)
    with writing(empty_ledger) as connection:
        patients.add_consents(connection, [said(number, "FERME", "2026-11-01", "account")], NOW)
    assert row_of(empty_ledger, number).account == "closed"

    with writing(empty_ledger) as connection:
        patients.add_consents(connection, [said(number, "ACTIF", "2026-11-02", "account")], NOW)
    assert row_of(empty_ledger, number).account == "open_unactivated"

    with writing(empty_ledger) as connection:
        accounts.move(connection, number, "closed", by="holder", channel="command", now=NOW)
    with writing(empty_ledger) as connection:
        later = NOW + timedelta(days=1)
        patients.add_consents(connection, [said(number, "ACTIF", "2026-11-11", "account")], later)
    assert row_of(empty_ledger, number).account == "closed"


def test_an_emergency_mode_is_opposed_by_scope(empty_ledger: Engine) -> None:
    number = record.person(empty_ledger)

    with writing(empty_ledger) as connection:
        accounts.oppose_emergency(
            connection, number, "centre_15", True, by="holder", channel="command", now=NOW
        )

    assert row_of(empty_ledger, number).consents["emergency", "centre_15"][0] == "opposed"


def test_the_newest_traits_are_kept(empty_ledger: Engine) -> None:
    number = record.person(empty_ledger)
    newer = patients.traits_of(empty_ledger, number)
    assert newer is not None

    with writing(empty_ledger) as connection:
        patients.update_traits(connection, {number: type(newer)(sex="F")}, NOW)

    assert patients.traits_of(empty_ledger, number) == type(newer)(sex="F")
