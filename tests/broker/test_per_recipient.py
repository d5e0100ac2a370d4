"""A letter is owed once to each recipient it names: each with its own fate and its own order, and nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from broker import at_rest, operating
from broker.contracts import Work
from broker.database.engine import reading
from broker.errors import SetupError
from broker.records import archiving, lane_names, lane_reading, outbox
from broker.values import Lane
from tests.adapters.certificates import Certificates
from tests.adapters.mail_server import MailServer
from tests.broker import mail_site
from tests.broker.cli.command import carnet
from tests.broker.mail_site import ANNE, INS, LUC, PAUL, MailSite, letter, rct
from tests.broker.replay_site import mappings

BUSY = "452 4.2.2 Mailbox full"
GONE = "550 5.1.1 No such mailbox"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def _site(folder: Path, url: str) -> Iterator[MailSite]:
    made = MailSite(folder, url)
    if url.startswith("sqlite"):
        at_rest.attach(made.engine, made.settings, made.clock())
    yield made
    made.close()


@pytest.fixture
def sqlite_site(tmp_path: Path) -> Iterator[MailSite]:
    """Encrypted, as it is by itself."""
    with _site(tmp_path, f"sqlite:///{tmp_path / 'carnet.db'}") as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MailSite]:
    """On each database in turn; on SQLite encrypted, as it is by itself."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_site")
        return
    with _site(tmp_path, request.getfixturevalue("postgres_url")) as made:
        yield made


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


def test_a_letter_that_names_nobody_is_filtered_there_and_says_why(sqlite_site: MailSite) -> None:
    (one,) = sqlite_site.file_letters(letter("1", "L1", "D1"))

    assert sqlite_site.owed(one) == []
    assert '["filtered for mail",0,"recipient.none"]' in sqlite_site.told(one)
    assert sqlite_site.state(one).name == "FILED"


def test_a_recipient_without_address_is_left_out_and_said_so(sqlite_site: MailSite) -> None:
    (one,) = sqlite_site.file_letters(letter("1", "L1", "D1", rct(""), ANNE))

    assert sqlite_site.owed(one) == [(ANNE, "owed", "letters")]
    assert '["1 of the recipients left out for mail",0,"recipient.no_address"]' in sqlite_site.told(
        one
    )


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
    sqlite_site: MailSite, mails: MailServer
) -> None:
    sqlite_site.file_letters(letter("1", "L1", "D1", "anne@chu.invalid", LUC))
    sqlite_site.renew('["mssante.fr"]', '["mssante.fr", "chu.invalid"]')
    (number,) = [
        int(row.id) for row in sqlite_site.rows("SELECT id FROM delivery WHERE state = 'parked'")
    ]

    done = operating.release_deliveries(sqlite_site.engine, [number], sqlite_site.act())
    sqlite_site.queue.put("outbound.mail", done.outbound["mail"])
    sqlite_site.send(mails)

    assert sorted(mails.recipients) == ["anne@chu.invalid", LUC]


def test_what_is_no_address_is_parked_and_the_others_are_owed(site: MailSite) -> None:
    (one,) = site.file_letters(letter("1", "L1", "D1", "anne ville.mssante.fr", ANNE))

    assert site.owed(one) == [(ANNE, "owed", "letters"), ("", "parked", "recipient.malformed")]
    assert site.prove().findings == []


def test_the_patient_is_never_written_to_and_the_ins_is_kept_nowhere(sqlite_site: MailSite) -> None:
    (one,) = sqlite_site.file_letters(letter("1", "L1", "D1", f"{INS}@patient.mssante.fr", LUC))

    assert sqlite_site.owed(one) == [(LUC, "owed", "letters")]
    assert "recipient.patient" in sqlite_site.told(one)
    assert INS not in sqlite_site.told(one)


def test_what_is_not_to_be_mailed_to_professionals_is_not(sqlite_site: MailSite) -> None:
    (one,) = sqlite_site.file_letters(letter("1", "L1", "D1", ANNE, mail_site.NOT_TO_PROFESSIONALS))

    assert sqlite_site.owed(one) == []
    assert '["filtered for mail",0,"recipient.not_asked"]' in sqlite_site.told(one)


def test_more_recipients_than_allowed_are_a_person_s_business_and_nobody_is_written_to(
    sqlite_site: MailSite,
) -> None:
    (one,) = sqlite_site.file_letters(
        letter("1", "L1", "D1", *(f"n{n}@ville.mssante.fr" for n in range(4)))
    )

    assert sqlite_site.owed(one) == [("", "parked", "recipient.too_many")]
    assert sqlite_site.state(one).name == "FILED"


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


@pytest.fixture
def stuck(site: MailSite, certificates: Certificates) -> Iterator[MailServer]:
    """Two mailboxes of one patient's correspondents are full; the third, and another patient, got theirs."""
    server = mail_site.server(certificates, [(LUC, BUSY), (PAUL, BUSY)])
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC, PAUL), letter("1", "L2", "D2", LUC, ANNE))
    site.send(server)
    yield server
    server.stop()


def test_each_recipient_s_lane_is_listed_and_shown_by_a_name_without_the_address(
    site: MailSite, stuck: MailServer
) -> None:
    with reading(site.engine) as connection:
        lines = lane_reading.listing(connection, kind="outbound", destination="mail").lines
        behind = [len(lane_reading.behind(connection, line.name)) for line in lines]
        shown = [lane_reading.one(connection, line.name) for line in lines]
        paged = [
            lane_reading.listing(connection, destination="mail", limit=1, after=after).lines
            for after in (None, lines[0].name)
        ]

    lane = site.rows("SELECT lane FROM delivery WHERE destination = 'mail'")[0].lane
    names = [lane_names.outbound("mail", lane, one) for one in (LUC, PAUL)]
    assert [line.name for line in lines] == sorted(names)
    assert {line.state for line in lines} == {"retrying"}
    assert sorted(behind) == [1, 2]
    assert [one and one.head for one in shown] == [line.head for line in lines]
    assert [[line.name for line in page] for page in paged] == [[one] for one in sorted(names)]
    with pytest.raises(SetupError, match="usage.lane"):
        lane_names.parse(f"filing:{lane:016x}:{lane_names.mark(LUC)}")
    for name in names:
        assert lane_names.parse(str(name)) == name
        assert not any(one in str(name) for one in (LUC, PAUL))


def test_one_recipient_s_head_is_skipped_and_theirs_go_on(
    site: MailSite, stuck: MailServer
) -> None:
    lane = site.rows("SELECT lane FROM delivery WHERE destination = 'mail'")[0].lane
    luc, paul = (lane_names.outbound("mail", lane, one) for one in (LUC, PAUL))
    with reading(site.engine) as connection:
        head = lane_reading.head_number(connection, luc)
    assert head is not None

    done = operating.skip(site.engine, luc, head, site.act())
    tried = operating.release(site.engine, paul, site.act())

    assert (done.outcome, tried.outcome) == ("skipped", "tried_now")
    assert [(to, state) for to, state, _ in site.owed()] == [
        (ANNE, "sent"), (LUC, "skipped"), (PAUL, "owed"), (LUC, "owed"), (ANNE, "sent"),
    ]  # fmt: skip
    stuck.answers.clear()
    site.queue.put("outbound.mail", [*done.outbound["mail"], *tried.outbound["mail"]])
    site.send(stuck)
    assert sorted(stuck.recipients) == sorted([ANNE, ANNE, LUC, PAUL])
    assert site.prove().findings == []


def test_a_patient_s_lane_is_held_for_all_recipients_at_once(
    site: MailSite, stuck: MailServer
) -> None:
    lane = site.rows("SELECT lane FROM delivery WHERE destination = 'mail'")[0].lane
    whole, luc = lane_names.outbound("mail", lane), lane_names.outbound("mail", lane, LUC)

    alone = operating.hold(site.engine, luc, site.act())
    held = operating.hold(site.engine, whole, site.act())
    again = operating.release(site.engine, luc, site.act())
    with reading(site.engine) as connection:
        lines = lane_reading.listing(connection, destination="mail").lines
    lifted = operating.release(site.engine, whole, site.act())

    assert (alone.outcome, again.outcome) == ("whole", "whole")
    assert (held.outcome, lifted.outcome) == ("held", "lifted")
    assert [(line.name, line.state) for line in lines] == [(whole, "held")]
    assert len(lifted.outbound["mail"]) == 3


def test_commands_tell_of_each_recipient(sqlite_site: MailSite, certificates: Certificates) -> None:
    server = mail_site.server(certificates, [(LUC, GONE), (PAUL, BUSY)])
    try:
        (one,) = sqlite_site.file_letters(letter("1", "L1", "D1", ANNE, LUC, PAUL, rct("")))
        sqlite_site.send(server)
    finally:
        server.stop()
    config = ("--config", str(sqlite_site.file), "--json")

    steps = [line["step"] for line in carnet("messages", "timeline", one, *config).lines]
    parked = carnet("parked", "list", "--kind", "delivery", *config).lines
    lanes = carnet("lanes", "list", *config).lines

    for address in (ANNE, LUC, PAUL):
        assert f"owed to mail {address}" in steps
        assert f"attempt 1 to mail {address}" in steps
    assert "1 of the recipients left out for mail" in steps
    assert [(line["recipient"], line["reason"]) for line in parked] == [(LUC, "smtp.550")]
    assert [line["lane"].split(":")[-1] for line in lanes] == [lane_names.mark(PAUL)]


@pytest.mark.parametrize(
    ("recipients", "withheld"),
    [
        ((ANNE,), []),
        ((), ["recipient.none"]),
        (("anne@webmail.invalid",), ["recipient.domain"]),
        ((mail_site.NOT_TO_PROFESSIONALS, ANNE), ["recipient.not_asked"]),
        ((ANNE, LUC, PAUL, "a@mssante.fr"), ["recipient.too_many"]),
    ],
)
def test_a_decision_says_where_nobody_would_be_written_to(
    sqlite_site: MailSite, recipients: tuple[str, ...], withheld: list[str]
) -> None:
    (one,) = sqlite_site.file_letters(letter("1", "L1", "D1", *recipients))

    decided = carnet("decide", "--message", one, "--config", str(sqlite_site.file), "--json")

    (line,) = decided.lines
    assert [w["reason"] for w in line["withheld"]] == withheld
    assert {w["to"] for w in line["withheld"]} <= {"mail"}


def test_the_only_mailbox_of_a_destination_that_is_full_is_left_alone(
    sqlite_site: MailSite, certificates: Certificates
) -> None:
    """Where all goes to one address there are no others to go on with: the circuit opens as for any failure."""
    site = sqlite_site
    site.renew(
        'per_recipient = true\nrecipient_domains = ["mssante.fr"]\nmax_recipients = 3\n',
        f'to = "{LUC}"\n',
    )
    server = mail_site.server(certificates, [(LUC, BUSY)])
    try:
        site.file_letters(*(letter(str(n), f"L{n}", f"D{n}") for n in range(3)))
        site.send_once(server, failures=1)
    finally:
        server.stop()

    assert server.commands.count(f"RCPT TO:<{LUC}>".encode()) == 1


# --- again, and in place of ---------------------------------------------------------------------------------------


def test_a_message_received_again_owes_nobody_anything_again(site: MailSite) -> None:
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC))
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC))
    site.file_letters(letter("1", "L9", "D1", ANNE, LUC))

    assert [to for to, _, _ in site.owed()] == [ANNE, LUC]


def test_a_replay_owes_each_recipient_what_changed_once_and_nothing_else(tmp_path: Path) -> None:
    site = MailSite(tmp_path, f"sqlite:///{tmp_path / 'carnet.db'}", mappings(tmp_path, "one"))
    try:
        (one,) = site.file_letters(letter("1", "L1", "D1", ANNE, LUC))
        site.replay([one], deliver=True)
        site.work()
        unchanged = site.owed()
        site.use(mappings(tmp_path, "two"))
        config = ("--config", str(site.file), "--json")
        dry = carnet("messages", "replay", one, "--dry-run", *config).lines
        for _ in range(2):
            site.replay([one], deliver=True)
            site.work()

        assert [line["would_owe"] for line in dry if "would_owe" in line] == [{"dmp": 1, "mail": 2}]
        assert [to for to, _, _ in unchanged] == [ANNE, LUC]
        assert [to for to, _, _ in site.owed()] == [ANNE, LUC, ANNE, LUC]
        assert site.prove().findings == []
    finally:
        site.close()


def test_a_new_version_goes_to_those_it_names(site: MailSite) -> None:
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC))

    (again,) = site.file_letters(letter("1", "L2", "D2", ANNE, PAUL, replaces="D1"))

    assert [to for to, _, _ in site.owed(again)] == [ANNE, PAUL]


def test_a_new_version_that_names_nobody_goes_to_whom_the_ones_before_went(site: MailSite) -> None:
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC))

    ids = site.file_letters(letter("1", "L2", "D2", replaces="D1"))
    ids += site.file_letters(letter("1", "L3", "D3", replaces="D2"))

    assert [[to for to, _, _ in site.owed(one)] for one in ids] == [[ANNE, LUC], [ANNE, LUC]]


def test_a_letter_that_was_taken_back_is_not_sent_again_but_a_person_s_business(
    site: MailSite,
) -> None:
    site.file_letters(letter("1", "L1", "D1", ANNE, LUC), letter("1", "L2", "D2"))

    back, unsent = site.file_letters(
        letter("1", "L3", "D1", deletes=True), letter("1", "L4", "D2", deletes=True)
    )

    assert site.owed(back) == [(one, "parked", "recipient.taken_back") for one in (ANNE, LUC)]
    assert site.owed(unsent) == []
    assert site.prove().findings == []


def test_who_is_not_trusted_any_more_does_not_get_the_new_version_by_itself(
    sqlite_site: MailSite,
) -> None:
    sqlite_site.file_letters(letter("1", "L1", "D1", ANNE, PAUL))
    sqlite_site.renew('["mssante.fr"]', '["ville.mssante.fr"]')

    (again,) = sqlite_site.file_letters(letter("1", "L2", "D2", replaces="D1"))

    assert sqlite_site.owed(again) == [
        (ANNE, "owed", "letters"),
        (PAUL, "parked", "recipient.domain"),
    ]


# --- what is kept -------------------------------------------------------------------------------------------------


def test_the_ins_that_left_is_kept_with_each_delivery(site: MailSite) -> None:
    one, _ = site.file_letters(
        letter("1", "L1", "D1", ANNE, LUC, ins=True), letter("2", "L2", "D2", ANNE)
    )

    numbers = [
        int(row.id)
        for row in site.rows("SELECT id FROM delivery WHERE destination = 'mail' ORDER BY id")
    ]
    with reading(site.engine) as connection:
        found = outbox.ins_used(connection, numbers)

        archived = archiving.gather(connection, [site.detail(one).line.seq])

    assert found == dict.fromkeys(numbers[:2], ("1.2.250.1.213.1.4.10", INS))
    gone = [d["ins_used"] for d in archived[0]["deliveries"] if d["destination"] == "mail"]
    assert gone == [f"1.2.250.1.213.1.4.10|{INS}"] * 2
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
