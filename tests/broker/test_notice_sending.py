"""Notices on their way: real mails, letters as files, a webhook; refused, tried again, never lost, nothing told twice."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import Engine

from adapters.file_writer import FileDestination, FileDestinationSettings
from adapters.http_client import HttpDestination, HttpDestinationSettings
from adapters.smtp_client import SmtpDestination, SmtpDestinationSettings
from broker import retry
from broker.access import Viewer
from broker.accounts import codes
from broker.contracts import Destination
from broker.database.engine import writing
from broker.notice_sending import GONE, Notifier, Ways
from broker.notice_texts import Templates
from broker.records import consents, filing, notices
from broker.records.traces import keep_visit
from broker.telemetry import Telemetry
from tests.broker import ledger
from tests.broker.accounts_site import BY, KEY, Spaces
from tests.broker.records import record

TEMPLATES = Path(__file__).parents[2] / "mappings" / "notices"
OPENED: list[SmtpDestination] = []
TITLE = "Sérologie VIH de contrôle"


@dataclass
class Box:
    """A mail server that keeps what it was given; `says` replaces its answer to the data."""

    mails: list[tuple[str, str]] = field(default_factory=list)
    says: str = "250 taken"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.says.startswith("250"):
            self.mails.append((envelope.rcpt_tos[0], envelope.content.decode()))
        return self.says


@pytest.fixture
def box() -> Iterator[tuple[Box, int]]:
    kept = Box()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    controller = Controller(kept, hostname="127.0.0.1", port=port, ready_timeout=60)
    controller.start()
    yield kept, port
    while OPENED:
        OPENED.pop().close()
    controller.stop()


@pytest.fixture
def spaces(tmp_path: Path) -> Iterator[Spaces]:
    engine = ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}")
    yield Spaces(engine, datetime(2026, 11, 10, 9, 0, tzinfo=UTC))
    engine.dispose()


def notifier(spaces: Spaces, **destinations: Destination) -> Notifier:
    policy = retry.Policy(max_attempts=3, base=timedelta(minutes=1), jitter=0)
    ways = Ways(
        destinations, dict.fromkeys(destinations, policy), "fr", "https://space.example", "Carnet", KEY
    )  # fmt: skip
    telemetry = Telemetry("scheduler", writer="0", stream=io.StringIO())
    return Notifier(
        spaces.engine, ways, Templates(TEMPLATES), telemetry, lambda: spaces.now, Random(1)
    )


def smtp(port: int) -> SmtpDestination:
    made = SmtpDestination(
        "mail",
        SmtpDestinationSettings(
            host="127.0.0.1", port=port, tls="none", sender="space@example.org", to="nobody@example.org"
        ),
    )  # fmt: skip
    OPENED.append(made)
    return made


def letters(folder: Path) -> FileDestination:
    (folder / "letters").mkdir(exist_ok=True)
    return FileDestination("letters", FileDestinationSettings(folder=folder / "letters"))


def test_t1_the_letter_carries_the_code_and_the_address_and_the_file_name_nothing(
    spaces: Spaces, tmp_path: Path
) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number)

    ends = notifier(spaces, letter=letters(tmp_path)).send()

    (file,) = (tmp_path / "letters").iterdir()
    text = file.read_text()
    assert dict(ends) == {"sent": 1}
    assert codes.code_of(KEY, number, spaces.space(number).code.number) in text  # type: ignore[union-attr]
    assert "22 décembre 2026" in text
    assert "Jeanne EXEMPLE\n1 rue des Essais\n31000 Toulouse" in text
    assert file.name.startswith("notice-")
    assert file.suffix == ".html"


def test_not_03_pat_10_the_mail_of_a_new_document_says_nothing_of_it(
    spaces: Spaces, box: tuple[Box, int]
) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number, mail="jeanne@example.org", language="en")
    spaces.accounts.activate(number, "", "", BY, spaces.now, is_identified=True)
    with_notices(spaces, number, TITLE)
    sender = notifier(spaces, mail=smtp(box[1]))

    sender.send()
    first = len(box[0].mails)
    spaces.skip(minutes=11)
    sender.send()
    sender.send()

    told = box[0].mails[first:]
    assert [to for to, _ in told] == ["jeanne@example.org"]
    mail = told[0][1]
    assert "Subject: There is something new in your record" in mail
    assert "Hello," in mail
    for word in ("rologie", "VIH", "EXEMPLE", "Jeanne"):
        assert word not in mail


def test_not_04_vis_02_a_hidden_document_is_told_neutrally_after_two_weeks_and_after_a_month_as_new(
    spaces: Spaces, box: tuple[Box, int]
) -> None:
    (number,) = spaces.people(1)
    spaces.accounts.bring([number], "activate", BY, spaces.now, change={number: {"mail": "j@example.org"}})  # fmt: skip
    with_notices(spaces, number, TITLE, codes=("N", "INVISIBLE_PATIENT"))
    sender = notifier(spaces, mail=smtp(box[1]))
    sender.send()
    subjects = []
    for days in (13, 2, 20):
        before = len(box[0].mails)
        spaces.skip(days=days)
        sender.send()
        subjects.append([_subject(mail) for _, mail in box[0].mails[before:]])

    assert subjects[0] == []
    assert [len(some) for some in subjects[1:]] == [1, 1]
    assert subjects[1] != subjects[2]


def test_mail_refused_for_good_becomes_a_letter(
    spaces: Spaces, box: tuple[Box, int], tmp_path: Path
) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number, mail="gone@example.org")
    box[0].says = "550 no such mailbox"

    ends = notifier(spaces, mail=smtp(box[1]), letter=letters(tmp_path)).send()

    assert ends["sent"] == 1
    assert len(list((tmp_path / "letters").iterdir())) == 1


def test_a_mail_server_that_is_away_is_tried_again_and_given_up_as_its_settings_say(
    spaces: Spaces, box: tuple[Box, int]
) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number, mail="jeanne@example.org")
    box[0].says = "451 later"
    sender = notifier(spaces, mail=smtp(box[1]))

    states = []
    for _ in range(4):
        sender.send()
        states.append(_one(spaces))
        spaces.skip(hours=1)

    assert states == [("due", 1), ("due", 2), ("failed", 3), ("failed", 3)]


def test_whoever_dies_while_sending_leaves_nothing_unsent(
    spaces: Spaces, box: tuple[Box, int]
) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number, mail="jeanne@example.org")

    class Killed(BaseException):
        """As SIGKILL."""

    class Dies:
        def deliver(self, _envelope: object) -> Any:
            raise Killed

        def close(self) -> None:
            return

    with pytest.raises(Killed):
        notifier(spaces, mail=Dies()).send()
    sender = notifier(spaces, mail=smtp(box[1]))
    sender.send()
    early = len(box[0].mails)
    spaces.skip(seconds=GONE.total_seconds() + 1)
    sender.send()

    assert (early, len(box[0].mails)) == (0, 1)


def test_an_activated_space_without_an_address_is_told_by_a_webhook(spaces: Spaces) -> None:
    got: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (number,) = spaces.people(1)
    spaces.bring(number, "activate")
    with_notices(spaces, number, TITLE)
    spaces.skip(minutes=11)
    hook = HttpDestination(
        "hook", HttpDestinationSettings(url=f"http://127.0.0.1:{server.server_port}/hook")
    )

    ends = notifier(spaces, webhook=hook).send()

    server.shutdown()
    thread.join()
    server.server_close()
    hook.close()
    assert ends["sent"] == 2
    assert [one["kind"] for one in got] == ["activated", "new_document"]
    assert TITLE not in str(got)


def test_not_05_without_any_way_the_notice_says_why_and_stays(spaces: Spaces) -> None:
    (number,) = spaces.people(1)
    with_notices(spaces, number, TITLE)
    spaces.skip(minutes=11)

    ends = notifier(spaces).send()

    assert dict(ends) == {"suppressed": 1}
    assert spaces.rows("SELECT suppressed FROM notice")[0].suppressed == "NOT-05"


def test_emg_04_an_emergency_is_told_to_the_holder_and_to_the_medecin_traitant(
    spaces: Spaces, box: tuple[Box, int]
) -> None:
    (number,) = spaces.people(1)
    spaces.inform(number, mail="jeanne@example.org")
    notifier(spaces, mail=smtp(box[1])).send()
    with writing(spaces.engine) as connection:
        consents.traitant(
            connection, number, "899900000037", consents.Said("jd", "counter", spaces.now),
            "anne@medecin.example",
        )  # fmt: skip
        for actor in ("899900000029", "899900000037"):
            urgent = Viewer(
                kind="professional", id=actor, profession="MEDECIN", mode="bris_de_glace", motive="coma"
            )  # fmt: skip
            keep_visit(connection, urgent, number, spaces.now, None, listed=1)
    before = len(box[0].mails)

    ends = notifier(spaces, mail=smtp(box[1]), mssante=smtp(box[1])).send()

    mails = dict(box[0].mails[before:])
    assert dict(ends) == {"sent": 3, "suppressed": 1}
    assert sorted(to for to, _ in box[0].mails[before:]) == [
        "anne@medecin.example", "jeanne@example.org", "jeanne@example.org",
    ]  # fmt: skip
    assert "Jeanne EXEMPLE" in mails["anne@medecin.example"]
    assert "EXEMPLE" not in mails["jeanne@example.org"]
    (own,) = spaces.rows("SELECT suppressed FROM notice WHERE state = 'suppressed'")
    assert own.suppressed == "own_access"


def with_notices(spaces: Spaces, number: int, title: str, **more: Any) -> None:
    """File a document with its notices, as the pipeline does."""

    engine: Engine = spaces.engine
    paper = record.paper(title, at=spaces.now, **more)
    with writing(engine) as connection:
        existing = filing.existing(connection, [paper])
        plan = filing.plan(paper, existing, patient=number, message_seq=1)
        made = filing.Filing.of(paper, b"{}", plan, patient=number, message_seq=1, now=spaces.now)
        filing.file(connection, [made], spaces.now)
        notices.of_filings(connection, [made], spaces.now)


def _one(spaces: Spaces) -> tuple[str, int]:
    row = spaces.rows("SELECT state, attempts FROM notice")[0]
    return row.state, row.attempts


def _subject(mail: str) -> str:
    return next(line for line in mail.splitlines() if line.startswith("Subject:"))
