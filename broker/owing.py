"""What is owed to destinations because of a message, and to whom: routes asked, forms rendered, deliveries written.

For the pipeline, in its transaction. Whoever sends what is owed is `delivery`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from broker.batch import InHand
from broker.contracts import Work
from broker.document import Document
from broker.errors import PermanentError
from broker.mapping.catalogue import MappingSet
from broker.records import account_waits, outbox
from broker.rules.routing import Routing
from broker.telemetry import Telemetry
from broker.values import Lane

Render = Callable[[MappingSet, str, Document, Mapping[str, bytes]], tuple[str, bytes] | None]
"""Renders a document for a destination with the set in use: (media, bytes), or None where the message's own bytes are
sent."""

_INTENTS = {"replace": "replace", "delete": "delete", "cancel": "delete"}


@dataclass(frozen=True, slots=True)
class Owing:
    """One mapping set and its routing rules; another is made when another set is taken up.

    `for_record` names the destinations that are patients' records, where a patient's refusal counts.
    """

    mapping_set: MappingSet
    routing: Routing
    for_record: frozenset[str]
    render: Render
    telemetry: Telemetry

    def owe(
        self, connection: Connection, hands: Sequence[InHand], now: datetime
    ) -> dict[str, list[Work]]:
        """Write what is owed to destinations; returns it by topic. A message that may not be filed is still delivered.

        Of a replay nothing is, or where its run asks for it, what changed.
        """
        for hand in hands:
            if hand.is_open:
                hand.owed = self._deliveries(hand, now)
        rows = [row for hand in hands for row in hand.owed]
        owed: dict[str, list[Work]] = defaultdict(list)
        for row, number in zip(rows, outbox.owe(connection, rows, now), strict=True):
            if row.refused:
                continue
            owed[f"outbound.{row.destination}"].append(Work(number, row.lane))
        for destination, n in Counter(row.destination for row in rows if not row.refused).items():
            self.telemetry.emit_many("owed", n, destination=destination)
        return owed

    def _deliveries(self, hand: InHand, now: datetime) -> list[outbox.Owed]:
        """The deliveries of one message: once a destination for its own bytes, once a document for rendered ones."""
        owed: list[outbox.Owed] = []
        sent: set[str] = set()
        for document in hand.to_deliver:
            routed = self.routing.route(
                document,
                hand.message.source,
                hand.message.media,
                format=hand.reading.format,
                patient=hand.patient,
                now=now,
            )
            hand.route(routed)
            for destination, route in routed.sent:
                if _was_sent(hand) and destination not in self.for_record:
                    continue
                if hand.not_filed and destination in self.for_record:
                    hand.step(f"withheld from {destination}", 0, hand.not_filed)
                    continue
                made = self._delivery(hand, document, destination, route)
                is_own = made.document_id is None
                if is_own and destination in sent:
                    continue
                sent.add(destination)
                owed.append(made)
        return owed

    def _delivery(
        self, hand: InHand, document: Document, destination: str, route: str
    ) -> outbox.Owed:
        """One delivery; parked where the document has no form this destination takes, which stops nothing else."""
        owed = outbox.Owed(
            message_seq=hand.message.seq,
            document_id=None,
            destination=destination,
            lane=Lane(hand.person or 0),
            intent=_intent(document),
            media="",
            reason=route,
            signs=hand.signs,
        )
        try:
            rendered = self.render(
                self.mapping_set, destination, document, hand.reading.attachments
            )
        except PermanentError as error:
            self.telemetry.emit(
                "parked",
                source=hand.message.source,
                destination=destination,
                reason=error.code,
                message_id=hand.message.id,
                where=error.where,
            )
            return replace(
                owed, document_id=document.id, refused=error.code, refused_at=error.where
            )
        if rendered is None:
            return owed
        media, body = rendered
        return replace(owed, document_id=document.id, media=media, body=body)


def _was_sent(hand: InHand) -> bool:
    """Whether a message is received again because it waited: all but records were sent it when it came."""
    return hand.origin is not None and hand.origin.reason in account_waits.REASONS


def _intent(document: Document) -> str:
    """What a delivery asks of its receiver."""
    operation = document.event.operation if document.event is not None else None
    return _INTENTS.get(operation or "", "new")
