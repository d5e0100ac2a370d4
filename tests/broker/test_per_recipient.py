"""A letter is owed once to each recipient it names: each with its own fate and its own order, and nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from broker import at_rest, operating
from broker.contracts import Work
from broker.database.engine import reading
from broker.records import outbox
from broker.values import Lane
from tests.adapters.certificates import Certificates
from tests.adapters.mail_server import MailServer
from tests.broker import mail_site
from tests.broker.mail_site import ANNE, INS, LUC, PAUL, MailSite, letter, rct

BUSY = "452 4.2.2 Mailbox full"
GONE = "550 5.1.1 No such mailbox"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MailSite]:
    """On each database in turn; on SQLite encrypted, as it is by itself."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'carnet.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    made = MailSite(tmp_path, url)
    if request.param == "sqlite":
        at_rest.attach(made.engine, made.settings, made.clock())
    yield made
    made.close()


@pytest.fixture
def mails(certificates: Certificates) -> Iterator[MailServer]:
    made = mail_site.server(certificates)
    yield made
    made.stop()


# --- who is owed --------------------------------------------------------------------------------------------------


def test_each_recipient_is_owed_one_delivery_of_the_same_bytes(site: MailSite) -> None:
    (one,) = site.file_letters(letter("1", "L1", "D1", ANNE, LUC))

    assert site.owed(one) == [(ANNE, "owed", "letters"), (LUC, "owed", "letters")]
    assert site.state(one).name == "FILED"
    bodies = site.rows(
        "SELECT p.body FROM prepared p JOIN delivery d ON d.id = p.delivery_id WHERE d.destination = 'mail'"
    )
    assert len(bodies) == 2


def test_a_letter_that_names_nobody_is_filtered_there_and_says_why(site: MailSite) -> None:
    (one,) = site.file_letters(letter("1", "L1", "D1"))

    assert site.owed(one) == []
    assert '["filtered for mail",0,"recipient.none"]' in site.told(one)
    assert site.state(one).name == "FILED"


def test_a_recipient_without_address_is_left_out_and_said_so(site: MailSite) -> None:
    (one,) = site.file_letters(letter("1", "L1", "D1", rct(""), ANNE))

    assert site.owed(one) == [(ANNE, "owed", "letters")]
    assert '["1 of the recipients left out for mail",0,"recipient.no_address"]' in site.told(one)


def test_a_mailbox_of_another_domain_is_never_written_to_by_itself(
    site: MailSite, mails: MailServer
) -> None:
    strange = ("anne@webmail.invalid", "luc@mssante.fr.evil.invalid", "paul@evilmssante.fr")

    ids = site.file_letters(*(letter("1", f"L{n}", f"D{n}", one) for n, one in enumerate(strange)))

    assert site.owed() == [(one, "parked", "recipient.domain") for one in strange]
    act = site.act()
    numbers = [
        int(row.id) for row in site.rows("SELECT id FROM delivery WHERE destination = 'mail'")
    ]
    done = operating.release_deliveries(site.engine, numbers, act)
    assert len(done.taken) == 3
    site.queue.put("outbound.mail", done.outbound["mail"])
    site.send(mails)
    assert [reason for _, _, reason in site.owed()] == ["smtp.recipient_domain"] * 3
    assert mails.mails == []
    assert {site.state(one).name for one in ids} == {"FILED"}


def test_a_domain_that_is_trusted_later_lets_the_parked_letter_go(
    site: MailSite, mails: MailServer
) -> None:
    site.file_letters(letter("1", "L1", "D1", "anne@chu.invalid", LUC))
    site.renew('["mssante.fr"]', '["mssante.fr", "chu.invalid"]')
    (number,) = [int(row.id) for row in site.rows("SELECT id FROM delivery WHERE state = 'parked'")]

    done = operating.release_deliveries(site.engine, [number], site.act())
    site.queue.put("outbound.mail", done.outbound["mail"])
    site.send(mails)

    assert sorted(mails.recipients) == ["anne@chu.invalid", LUC]


def test_what_is_no_address_is_parked_and_the_others_are_owed(site: MailSite) -> None:
    (one,) = site.file_letters(letter("1", "L1", "D1", "anne ville.mssante.fr", ANNE))

    assert site.owed(one) == [(ANNE, "owed", "letters"), ("", "parked", "recipient.malformed")]
    assert site.prove().findings == []


def test_the_patient_is_never_written_to_and_the_ins_is_kept_nowhere(site: MailSite) -> None:
    (one,) = site.file_letters(letter("1", "L1", "D1", f"{INS}@patient.mssante.fr", LUC))

    assert site.owed(one) == [(LUC, "owed", "letters")]
    assert "recipient.patient" in site.told(one)
    assert INS not in site.told(one)


def test_more_recipients_than_allowed_are_a_person_s_business_and_nobody_is_written_to(
    site: MailSite,
) -> None:
    (one,) = site.file_letters(
        letter("1", "L1", "D1", *(f"n{n}@ville.mssante.fr" for n in range(4)))
    )

    assert site.owed(one) == [("", "parked", "recipient.too_many")]
    assert site.state(one).name == "FILED"


# --- each recipient's own lane ------------------------------------------------------------------------------------


def test_one_refuses_and_the_others_get_theirs_in_order(
    site: MailSite, certificates: Certificates
) -> None:
    server = mail_site.server(certificates, [(LUC, GONE)])
    try:
        site.file_letters(
            letter("1", "L1", "D1", ANNE, LUC, text="first"),
            letter("1", "L2", "D2", ANNE, LUC, text="second"),
        )
        site.send(server)
    finally:
        server.stop()

    assert site.owed() == [
        (ANNE, "sent", None),
        (LUC, "parked", "smtp.550"),
        (ANNE, "sent", None),
        (LUC, "parked", "smtp.550"),
    ]
    assert server.recipients == [ANNE, ANNE]
    assert [_text(body) for body in server.mails] == ["first", "second"]
    assert site.prove().findings == []


def test_a_full_mailbox_keeps_its_own_letters_waiting_and_nobody_else_s(
    site: MailSite, certificates: Certificates
) -> None:
    server = mail_site.server(certificates, [(LUC, BUSY)])
    try:
        site.file_letters(
            *(letter("1", f"L{n}", f"D{n}", LUC, ANNE, text=f"letter {n}") for n in (1, 2, 3))
        )
        site.send(server, failures=1)
        assert server.recipients == [ANNE, ANNE, ANNE]
        assert [(to, state) for to, state, _ in site.owed() if to == LUC] == [(LUC, "owed")] * 3

        server.answers.clear()
        site.now += timedelta(hours=2)
        numbers = site.rows(
            "SELECT id, lane FROM delivery WHERE state = 'owed' AND destination = 'mail'"
        )
        site.queue.put("outbound.mail", [Work(int(row.id), Lane(row.lane)) for row in numbers])
        site.send(server)
    finally:
        server.stop()

    assert server.recipients == [ANNE] * 3 + [LUC] * 3
    assert [_text(body) for body in server.mails[3:]] == ["letter 1", "letter 2", "letter 3"]


# --- again, and in place of ---------------------------------------------------------------------------------------


def test_a_message_received_again_owes_nobody_anything_again(site: MailSite) -> None:
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC))
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC))
    site.file_letters(letter("1", "L9", "D1", ANNE, LUC))

    assert [to for to, _, _ in site.owed()] == [ANNE, LUC]


def test_a_new_version_goes_to_those_it_names(site: MailSite) -> None:
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC))

    (again,) = site.file_letters(letter("1", "L2", "D2", ANNE, PAUL, replaces="D1"))

    assert [to for to, _, _ in site.owed(again)] == [ANNE, PAUL]


def test_a_new_version_that_names_nobody_goes_to_whom_the_ones_before_went(site: MailSite) -> None:
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC))

    ids = site.file_letters(letter("1", "L2", "D2", replaces="D1"))
    ids += site.file_letters(letter("1", "L3", "D3", replaces="D2"))

    assert [[to for to, _, _ in site.owed(one)] for one in ids] == [[ANNE, LUC], [ANNE, LUC]]


def test_who_is_not_trusted_any_more_does_not_get_the_new_version_by_itself(site: MailSite) -> None:
    site.file_letters(letter("1", "L1", "D1", ANNE, PAUL))
    site.renew('["mssante.fr"]', '["ville.mssante.fr"]')

    (again,) = site.file_letters(letter("1", "L2", "D2", replaces="D1"))

    assert site.owed(again) == [(ANNE, "owed", "letters"), (PAUL, "parked", "recipient.domain")]


# --- what is kept -------------------------------------------------------------------------------------------------


def test_the_ins_that_left_is_kept_with_each_delivery(site: MailSite) -> None:
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC, ins=True), letter("2", "L2", "D2", ANNE))

    numbers = [
        int(row.id)
        for row in site.rows("SELECT id FROM delivery WHERE destination = 'mail' ORDER BY id")
    ]
    with reading(site.engine) as connection:
        found = outbox.ins_used(connection, numbers)

    assert found == dict.fromkeys(numbers[:2], ("1.2.250.1.213.1.4.10", INS))
    kept = [
        row.ins_used
        for row in site.rows("SELECT ins_used FROM delivery WHERE ins_used IS NOT NULL")
    ]
    is_encrypted = site.url.startswith("sqlite")
    assert all((INS in one) != is_encrypted for one in kept)


def test_no_address_stands_in_the_log_or_the_trail(
    site: MailSite, certificates: Certificates
) -> None:
    server = mail_site.server(certificates, [(LUC, GONE)])
    try:
        ids = site.file_letters(letter("1", "L1", "D1", ANNE, LUC, "anne@webmail.invalid"))
        site.send(server)
    finally:
        server.stop()

    entries = site.rows("SELECT subject, outcome, details, decision FROM audit_entry")
    said = [
        site.log.getvalue(),
        site.told(ids[0]),
        *map(str, entries),
        generate_latest(site.telemetry.registry).decode(),
    ]
    for address in (ANNE, LUC, "anne@webmail.invalid"):
        assert not [one for one in said if address in one]
    assert '"recipient.domain"' in site.log.getvalue()


def _text(mail: bytes) -> str:
    """Which letter a mail carries."""
    (attached,) = [
        part for part in message_from_bytes(mail).walk() if part.get_filename() is not None
    ]
    body = attached.get_payload(decode=True)
    assert isinstance(body, bytes)
    found = re.search(rb"first|second|letter \d", body)
    assert found is not None
    return found[0].decode()
