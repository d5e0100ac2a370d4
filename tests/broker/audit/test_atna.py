"""The trail at a receiver of audit messages: a real rsyslog with TLS, that may be away, die, or be a stranger."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from lxml import etree
from sqlalchemy import Engine

from broker.audit import trail, verify
from broker.audit.atna import Forward, Receiver, position, tls_context
from broker.contracts import QueueOptions
from broker.database.engine import reading, writing
from broker.errors import SetupError, TransientError
from broker.schedule import Schedule
from broker.telemetry import Telemetry
from queues.embedded import QUEUE
from tests.broker.audit import signed_trail
from tests.broker.audit.rsyslog import Rsyslog
from tests.broker.audit.signed_trail import NOW, PER_SEGMENT, SEGMENTS, fill

HEADER = re.compile(r"<85>1 \S+Z \S+ carnet \d+ DICOM\+RFC3881 - \ufeff(<AuditMessage>.*)")
MESSAGES = (PER_SEGMENT + 1) * SEGMENTS


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[Rsyslog]:
    folder = tmp_path / "rsyslog"
    folder.mkdir()
    made = Rsyslog(folder)
    yield made
    made.stop()


def receiver(rsyslog: Rsyslog, *, ca: Path | None = None, own: Path | None = None) -> Receiver:
    certificates = rsyslog.certificates
    context = tls_context(ca or certificates.ca, own or certificates.lab_a, None)
    return Receiver("127.0.0.1", rsyslog.port, context)


def kept(engine: Engine, to: Receiver) -> int:
    with reading(engine) as connection:
        return position(connection, to.name)


def subjects(messages: list[str]) -> list[str]:
    """The subjects of the entries among them, in their order."""
    found = []
    for message in messages:
        matched = HEADER.fullmatch(message)
        assert matched is not None, message[:200]
        audit = etree.fromstring(matched[1].encode())
        detail = audit.findall(".//ParticipantObjectDetail")[-1]
        if detail.get("type") == "carnet:entry":
            row = base64.b64decode(detail.get("value"))
            assert b'"document:' in row
            found.append(
                audit.findall(".//ParticipantObjectIdentification")[-1].get("ParticipantObjectID")
            )
    return found


def test_the_receiver_gets_every_entry_in_order_and_once(
    empty_ledger: Engine, rsyslog: Rsyslog, tmp_path: Path
) -> None:
    fill(empty_ledger, signed_trail.folder(tmp_path))
    rsyslog.start()
    to = receiver(rsyslog)
    forward = Forward(empty_ledger, to, "site", lambda: NOW, per_connection=5)

    assert forward.run() == PER_SEGMENT * SEGMENTS
    assert forward.run() == 0

    messages = rsyslog.messages(MESSAGES)
    assert subjects(messages) == [f"document:{n}" for n in range(PER_SEGMENT * SEGMENTS)]
    assert len(messages) == MESSAGES
    assert kept(empty_ledger, to) == SEGMENTS
    assert sum('signature"' in str(base64.b64decode(v)) for v in re.findall(r'carnet:seal" value="([^"]*)', " ".join(messages))) == SEGMENTS  # fmt: skip


def test_nothing_is_lost_while_the_receiver_is_away_or_dies(
    empty_ledger: Engine, rsyslog: Rsyslog, tmp_path: Path
) -> None:
    keys = signed_trail.folder(tmp_path)
    fill(empty_ledger, keys, 1)
    to = receiver(rsyslog)
    forward = Forward(empty_ledger, to, "site", lambda: NOW)
    with pytest.raises(TransientError, match=r"audit\.receiver_unreachable"):
        forward.run()
    assert kept(empty_ledger, to) == 0

    rsyslog.start()
    assert forward.run() == PER_SEGMENT
    rsyslog.messages(PER_SEGMENT + 1)
    rsyslog.stop(kill=True)
    fill(empty_ledger, keys, 1, start=1)
    with pytest.raises(TransientError):
        forward.run()
    assert kept(empty_ledger, to) == 1
    rsyslog.start()

    assert forward.run() == PER_SEGMENT
    found = subjects(rsyslog.messages(2 * (PER_SEGMENT + 1)))
    assert found == [f"document:{n}" for n in range(2 * PER_SEGMENT)]


def test_a_position_that_was_not_kept_is_sent_again(
    empty_ledger: Engine, rsyslog: Rsyslog, tmp_path: Path
) -> None:
    fill(empty_ledger, signed_trail.folder(tmp_path), 1)
    rsyslog.start()

    class Died(Forward):
        def _keep(self, segment: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Died(empty_ledger, receiver(rsyslog), "site", lambda: NOW).run()
    assert Forward(empty_ledger, receiver(rsyslog), "site", lambda: NOW).run() == PER_SEGMENT

    found = subjects(rsyslog.messages(2 * (PER_SEGMENT + 1)))
    assert found == [f"document:{n}" for n in range(PER_SEGMENT)] * 2


def test_a_stranger_in_its_place_gets_nothing(
    empty_ledger: Engine, rsyslog: Rsyslog, tmp_path: Path
) -> None:
    fill(empty_ledger, signed_trail.folder(tmp_path), 1)
    rsyslog.start()
    to = receiver(rsyslog, ca=rsyslog.certificates.other_ca)

    with pytest.raises(TransientError, match="certificate was not accepted"):
        Forward(empty_ledger, to, "site", lambda: NOW).run()

    assert kept(empty_ledger, to) == 0


def test_a_receiver_that_does_not_take_our_certificate_keeps_no_position(
    empty_ledger: Engine, rsyslog: Rsyslog, tmp_path: Path
) -> None:
    fill(empty_ledger, signed_trail.folder(tmp_path), 1)
    rsyslog.start()
    to = receiver(rsyslog, own=rsyslog.certificates.stranger)

    with pytest.raises(TransientError):
        Forward(empty_ledger, to, "site", lambda: NOW).run()

    assert kept(empty_ledger, to) == 0


def test_certificates_that_cannot_be_used_are_a_fault_of_the_set_up(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")

    with pytest.raises(SetupError, match=r"audit\.receiver_tls"):
        tls_context(tmp_path / "ca.pem", None, None)
    with pytest.raises(SetupError, match=r"audit\.receiver_tls"):
        tls_context(tmp_path / "absent.pem", None, None)


def test_the_scheduler_seals_signs_and_sends_by_itself(
    empty_ledger: Engine, rsyslog: Rsyslog, tmp_path: Path
) -> None:
    with writing(empty_ledger) as connection:
        trail.write(connection, signed_trail.entries(0, PER_SEGMENT), datetime.now(UTC))
    keys = signed_trail.folder(tmp_path)
    rsyslog.start()
    telemetry = Telemetry("scheduler", stream=StringIO())
    url = empty_ledger.url.render_as_string(hide_password=False)
    queue = QUEUE.open(f"embedded+{url}", QueueOptions())
    to = receiver(rsyslog)
    schedule = Schedule(
        empty_ledger, queue, telemetry, lambda: datetime.now(UTC),
        sweep_every=timedelta(hours=1), sweep_grace=timedelta(hours=1), seal_every=timedelta(seconds=0.2),
        signer=keys.signer, forward=Forward(empty_ledger, to, "site", lambda: NOW).run,
    )  # fmt: skip
    stop = threading.Event()
    running = threading.Thread(target=schedule.run, args=(stop,))
    running.start()
    try:
        rsyslog.messages(PER_SEGMENT + 1)
    finally:
        stop.set()
        running.join(60)
        queue.close()
    found = verify.verify(empty_ledger, "", keys.public())
    assert (found.bad, found.entries, found.signed) == (None, PER_SEGMENT, found.segments)
    assert kept(empty_ledger, to) == found.segments
