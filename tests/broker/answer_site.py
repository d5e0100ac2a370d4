"""Answers to what a `LaneSite` has sent, and what stands of them in its ledger: for the tests of answers."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

from broker.contracts import Destination
from broker.correlating import Expects
from broker.envelope import Envelope, Receipt
from broker.errors import AmbiguousError
from broker.records import expectations
from tests.broker.lane_site import LaneSite, Partner

WITHIN = timedelta(minutes=15)
EXPECTS = Expects(answer_within=WITHIN)


class Committing(Partner):
    """A partner in enhanced mode: CA at once, the application's answer later, if at all."""

    def deliver(self, envelope: Envelope) -> Receipt:
        receipt = super().deliver(envelope)
        return Receipt(outcome=receipt.outcome, code="CA")


def silent(_: bytes) -> Exception | None:
    """Takes a message and never answers."""
    return AmbiguousError("mllp.sent_unanswered")


def acknowledgement(
    control_id: str,
    code: str = "AA",
    *,
    of: str = "A1",
    who: str = "CARNET|CHU",
    to: str = "GAM|CHU",
) -> bytes:
    """The answer to `lane_site.adt`'s message with that control id, as the application it was for gives it."""
    error = "ERR||PID^1^3^1^1|101^Required field missing^HL70357|E\r" if code[1] in "ER" else ""
    return (
        f"MSH|^~\\&|{who}|{to}|20261123100500||ACK^A04^ACK|{of}{control_id}|P|2.5\r"
        f"MSA|{code}|{control_id}\r{error}"
    ).encode()


def zam(control_id: str, event: str = "Z02", said: str = "Y", error: str = "") -> bytes:
    """A French business acknowledgement, in the form of the published samples (CI-SIS, ZAM^Z01 to Z03)."""
    code = {"Z01": "ACK_RECEPTION_DMP", "Z02": "ACK_RECEPTION_MSS", "Z03": "ACK_LECTURE_MSS"}[event]
    err = f"ERR|||207^Application internal error^messageErrorCondition|E|{error}^^DMPERRORCODE\r"
    return (
        f"MSH|^~\\&|CARNET|CHU|GAM|CHU|20261123100500||ZAM^{event}^ZAM_Z01|{event}{control_id}|P|2.6|||||FRA|UNICODE UTF-8\r"
        "EVN||20261123100500\r"
        f"OBX|1|CWE|{code}^^AckMetierZAM|{control_id}|{said}^^expandedYes-NoIndicator||||||F\r"
        f"{err if error else ''}"
    ).encode()


def send(
    site: LaneSite,
    *bodies: bytes,
    partner: Destination | None = None,
    expects: Expects | None = EXPECTS,
) -> list[str]:
    """Receive, file and send messages; their ids."""
    ids = site.receive(*bodies)
    site.work()
    made = site.courier(partner or Committing(), expects=expects)
    while (lease := site.queue.take("outbound.dmp", 50, timedelta())) is not None:
        made.serve(lease, threading.Event())
    return [str(one) for one in ids]


def answered(site: LaneSite, *bodies: bytes) -> list[str]:
    """Receive answers as messages of their own and let a worker read them; their ids."""
    ids = site.receive(*bodies)
    site.work()
    return [str(one) for one in ids]


def delivery(site: LaneSite, message_id: str) -> Any:
    """The delivery of a message, with what is awaited of it by kind."""
    (row,) = site.rows(
        "SELECT d.id, d.state, d.reason, d.reason_place, d.answer_code, d.settled_at FROM delivery d "
        "WHERE d.message_seq = :seq",
        seq=site.detail(message_id).line.seq,
    )
    return row


def awaited(site: LaneSite, message_id: str) -> dict[str, str]:
    """Kind of answer -> how its expectation stands."""
    number = delivery(site, message_id).id
    rows = site.rows("SELECT kind, state FROM expectation WHERE delivery_id = :id", id=number)
    return {row.kind: row.state for row in rows}


def late(site: LaneSite) -> dict[str, int]:
    with site.engine.begin() as connection:
        return {name: one.count for name, one in expectations.late(connection).items()}
