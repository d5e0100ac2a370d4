"""The MLLP client against partners that answer well, badly, late or not at all (F12)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.mllp import MllpSource, MllpSourceSettings
from adapters.mllp_client import MllpDestination, MllpDestinationSettings
from broker.envelope import Envelope
from broker.errors import (
    ANSWER_BYTES,
    AmbiguousError,
    CarnetError,
    PermanentError,
    SetupError,
    TransientError,
)
from tests.adapters.certificates import Certificates
from tests.adapters.gateway import DEADLINE, Gateway
from tests.adapters.mllp_client import framed, message

SECOND = timedelta(seconds=1)


def envelope(control_id: str = "1", more: str = "") -> Envelope:
    return Envelope(
        source="out", body=message(control_id, more=more), received_at=datetime.now(UTC)
    )


def ack(code: str, control_id: str, err: str = "") -> bytes:
    return framed(
        f"MSH|^~\\&|R|F|S|F|20260301||ACK^A01^ACK|R{control_id}|P|2.5\rMSA|{code}|{control_id}\r{err}".encode()
    )


class Partner:
    """A receiver that plays one script per connection: bytes to answer each frame with, None to hang up."""

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self.received: list[bytes] = []
        self._scripts = list(scripts)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(DEADLINE)
        self.port: int = self._listening.getsockname()[1]
        self.finish = threading.Event()
        self._connection = self._listening
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._connection = connection
            with connection, suppress(OSError):
                connection.settimeout(DEADLINE)
                self._play(connection, script)
        self.finish.wait(DEADLINE)

    def _play(self, connection: socket.socket, script: list[bytes | None]) -> None:
        for answer in script:
            data = b""
            while not data.endswith(b"\x1c\r"):
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            self.received.append(data)
            if answer is None:
                return
            connection.sendall(answer)
        connection.recv(1)

    def close(self) -> None:
        self.finish.set()
        for end in (self._listening, self._connection):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)
        self._listening.close()


@pytest.fixture
def dial() -> Iterator[Callable[..., MllpDestination]]:
    """Destinations on a port, closed after the test."""
    opened: list[MllpDestination] = []

    def make(port: int, **settings: Any) -> MllpDestination:
        made = MllpDestination(
            "out", MllpDestinationSettings(host="127.0.0.1", port=port, **settings)
        )
        opened.append(made)
        return made

    yield make
    for made in opened:
        made.close()


@pytest.fixture
def partner() -> Iterator[Callable[..., Partner]]:
    made: list[Partner] = []

    def make(*scripts: list[bytes | None]) -> Partner:
        made.append(Partner(*scripts))
        return made[-1]

    yield make
    for one in made:
        one.close()


Dial = Callable[..., MllpDestination]
MakePartner = Callable[..., Partner]


@pytest.mark.parametrize("code", ["AA", "CA"])
def test_an_acceptance_is_a_receipt_with_the_answer(
    dial: Dial, partner: MakePartner, code: str
) -> None:
    there = partner([ack(code, "1")])

    receipt = dial(there.port).deliver(envelope("1"))

    assert (receipt.outcome, receipt.code) == ("accepted", code)
    assert framed(receipt.answer) == ack(code, "1")
    assert receipt.keys == {"control_id": "R1"}
    assert there.received == [framed(message("1"))]


def test_one_connection_serves_many_messages(dial: Dial, partner: MakePartner) -> None:
    there = partner([ack("AA", str(n)) for n in range(5)])
    destination = dial(there.port)

    outcomes = [destination.deliver(envelope(str(n))).outcome for n in range(5)]

    assert outcomes == ["accepted"] * 5


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
def test_a_refusal_is_permanent_and_says_only_the_place(
    dial: Dial, partner: MakePartner, code: str
) -> None:
    err = "ERR||PID^1^3^1^4|101^Required field missing^HL70357|E||||try again DUPONT\r"
    there = partner([ack(code, "1", err)])

    with pytest.raises(PermanentError) as caught:
        dial(there.port).deliver(envelope("1"))

    assert (caught.value.code, caught.value.where) == (f"mllp.{code}", "PID-3.4")
    assert "101" in caught.value.reason
    assert "DUPONT" not in str(caught.value)
    assert framed(caught.value.answer) == ack(code, "1", err)
    assert caught.value.answer_matched is True
    assert caught.value.peer == f"127.0.0.1:{there.port}"


def test_an_answer_to_another_message_is_kept_as_such(dial: Dial, partner: MakePartner) -> None:
    there = partner([ack("AA", "2")])

    with pytest.raises(AmbiguousError) as caught:
        dial(there.port).deliver(envelope("1"))

    assert framed(caught.value.answer) == ack("AA", "2")
    assert caught.value.answer_matched is False


def test_of_a_long_refusal_the_beginning_is_kept(dial: Dial, partner: MakePartner) -> None:
    there = partner([ack("AE", "1", f"ERR||PID^1^3|101|E||||{'x' * 100_000}\r")])

    with pytest.raises(PermanentError) as caught:
        dial(there.port).deliver(envelope("1"))

    assert len(caught.value.answer) == ANSWER_BYTES
    assert b"MSA|AE|1" in caught.value.answer


def test_f12_a_place_that_is_no_place_is_not_repeated(dial: Dial, partner: MakePartner) -> None:
    there = partner([ack("AE", "1", "ERR||DUPONT JEAN^1|JEAN\r")])

    with pytest.raises(PermanentError) as caught:
        dial(there.port).deliver(envelope("1"))

    assert caught.value.where == "MSA-1"
    assert "JEAN" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        ack("AA", "2"),
        ack("AA", ""),
        framed(b"hello"),
        framed(b"MSH|^~\\&|\r"),
        ack("XX", "1"),
        None,
    ],
)
def test_f12_an_answer_that_is_not_to_this_message_leaves_the_outcome_unknown(
    dial: Dial, partner: MakePartner, answer: bytes | None
) -> None:
    there = partner([answer])

    with pytest.raises(AmbiguousError):
        dial(there.port).deliver(envelope("1"))


def test_f12_a_late_answer_is_never_credited_to_the_next_message(
    dial: Dial, partner: MakePartner
) -> None:
    there = partner([b""], [ack("AA", "2")])
    destination = dial(there.port, answer_timeout=SECOND / 5)

    with pytest.raises(AmbiguousError):
        destination.deliver(envelope("1"))

    assert destination.deliver(envelope("2")).keys == {"control_id": "R2"}


def test_f12_an_answer_too_many_costs_the_connection_not_the_truth(
    dial: Dial, partner: MakePartner
) -> None:
    there = partner([ack("AA", "1") + ack("AA", "2")], [ack("AE", "2")])
    destination = dial(there.port)

    assert destination.deliver(envelope("1")).outcome == "accepted"
    with pytest.raises(PermanentError):
        destination.deliver(envelope("2"))


def test_the_application_answer_after_a_commit_is_passed_over(
    dial: Dial, partner: MakePartner
) -> None:
    there = partner([ack("CA", "1"), ack("AA", "1") + ack("CA", "2")])
    destination = dial(there.port)

    outcomes = [destination.deliver(envelope(n, "|||AL|AL")).code for n in ("1", "2")]

    assert outcomes == ["CA", "CA"]


def test_a_connection_the_partner_closed_meanwhile_is_opened_anew(
    dial: Dial, partner: MakePartner
) -> None:
    there = partner([ack("AA", "1")], [ack("AA", "2")])
    destination = dial(there.port)
    destination.deliver(envelope("1"))
    assert destination._socket is not None
    destination._socket.shutdown(socket.SHUT_WR)
    destination._socket.settimeout(DEADLINE)
    assert destination._socket.recv(1, socket.MSG_PEEK) == b""

    assert destination.deliver(envelope("2")).outcome == "accepted"


def test_nobody_there_is_for_later(dial: Dial) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    with pytest.raises(TransientError):
        dial(port).deliver(envelope())


def test_a_message_that_asks_for_no_answer_waits_for_none(dial: Dial, partner: MakePartner) -> None:
    there = partner([b""])

    receipt = dial(there.port).deliver(envelope("1", "|||NE|NE"))

    assert (receipt.outcome, receipt.code) == ("accepted", "mllp.no_answer_asked")


@pytest.mark.parametrize(
    ("body", "where"),
    [(b"<xml/>", "MSH"), (message(""), "MSH-10"), (message("1") + b"\x1c\rMSH|", "message")],
)
def test_what_cannot_be_sent_by_mllp_is_not_sent(dial: Dial, body: bytes, where: str) -> None:
    with pytest.raises(PermanentError) as caught:
        dial(1).deliver(Envelope(source="out", body=body, received_at=datetime.now(UTC)))

    assert caught.value.where == where


def test_our_own_listener_is_a_partner_with_tls_both_ways(
    gateway: Gateway, dial: Dial, certificates: Certificates
) -> None:
    settings = MllpSourceSettings(
        port=0, tls_certificate=certificates.server, tls_client_ca=certificates.ca
    )
    gateway.start(MllpSource("lab", settings, gateway.notice))
    destination = dial(
        gateway.port, tls=True, tls_ca=certificates.ca, tls_certificate=certificates.lab_a
    )

    codes = [destination.deliver(envelope(str(n))).code for n in range(3)]

    assert codes == ["AA"] * 3
    assert len({id(e.peer) for e in gateway.envelopes}) == 1, "one connection"


@pytest.mark.parametrize("server", ["other_name", "expired", "stranger"])
def test_a_partner_whose_certificate_does_not_hold_gets_nothing(
    gateway: Gateway, dial: Dial, certificates: Certificates, server: str
) -> None:
    settings = MllpSourceSettings(port=0, tls_certificate=getattr(certificates, server))
    gateway.start(MllpSource("lab", settings, gateway.notice))

    with pytest.raises(TransientError, match="certificate does not verify"):
        dial(gateway.port, tls=True, tls_ca=certificates.ca).deliver(envelope())

    assert not gateway.envelopes


def test_plaintext_beyond_loopback_needs_to_be_allowed() -> None:
    with pytest.raises(SetupError, match="allow_plaintext"):
        MllpDestination("out", MllpDestinationSettings(host="partner.example"))


def test_f12_a_partner_that_stops_reading_got_no_whole_message(dial: Dial) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        destination = dial(listening.getsockname()[1], send_timeout=SECOND / 5)
        large = Envelope(
            source="out",
            body=message() + b"OBX|" + b"x" * 30_000_000,
            received_at=datetime.now(UTC),
        )

        with pytest.raises(TransientError) as caught:
            destination.deliver(large)

    assert isinstance(caught.value, CarnetError)
