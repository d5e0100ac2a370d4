"""What is owed to destinations because of a message, and to whom: routes asked, forms rendered, deliveries written.

For the pipeline, in its transaction. Whoever sends what is owed is `delivery`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from broker import recipients
from broker.batch import InHand
from broker.contracts import PerRecipient, Work
from broker.document import Document
from broker.errors import PermanentError
from broker.mapping.catalogue import MappingSet
from broker.records import account_waits, outbox
from broker.records.filing import Filing
from broker.rules.routing import Routing
from broker.telemetry import Telemetry
from broker.values import Lane

Render = Callable[[MappingSet, str, Document, Mapping[str, bytes]], tuple[str, bytes] | None]
"""Renders a document for a destination with the set in use: (media, bytes), or None where the message's own bytes are
sent."""

Earlier = Mapping[tuple[str, str], Sequence[str]]
"""(document, destination) -> whom it was owed to there."""

_ZIP = "application/zip"
_NEVER_TAKEN_BACK = ("application/cda+xml", _ZIP)
"""Media of forms that cannot say of a document that it was taken back."""
_INTENTS = {"replace": "replace", "delete": "delete", "cancel": "delete"}


@dataclass(frozen=True, slots=True)
class Owing:
    """One mapping set and its routing rules; another is made when another set is taken up.

    `for_record` names the destinations that are patients' records, where a patient's refusal counts; `per_recipient`
    those that are owed a document once for each recipient it names.
    """

    mapping_set: MappingSet
    routing: Routing
    for_record: frozenset[str]
    per_recipient: Mapping[str, PerRecipient]
    render: Render
    telemetry: Telemetry

    def owe(
        self, connection: Connection, hands: Sequence[InHand], now: datetime
    ) -> dict[str, list[Work]]:
        """Write what is owed to destinations; returns it by topic. A message that may not be filed is still delivered.

        Of a replay nothing is, or where its run asks for it, what changed.
        """
        going = [hand for hand in hands if hand.is_open]
        earlier = self._earlier(connection, going)
        for hand in going:
            hand.owed = self._deliveries(hand, earlier, now)
        rows = [row for hand in hands for row in hand.owed]
        owed: dict[str, list[Work]] = defaultdict(list)
        for row, number in zip(rows, outbox.owe(connection, rows, now), strict=True):
            if row.refused:
                continue
            owed[f"outbound.{row.destination}"].append(Work(number, row.lane))
        for destination, n in Counter(row.destination for row in rows if not row.refused).items():
            self.telemetry.emit_many("owed", n, destination=destination)
        return owed

    def _earlier(self, connection: Connection, hands: Sequence[InHand]) -> Earlier:
        """Whom the documents were owed to that these replace, or take back; one statement, none where none does."""
        if not self.per_recipient:
            return {}
        found = {one for hand in hands for filed in hand.filings for one in _before(filed)}
        if not found:
            return {}
        return outbox.recipients_of(connection, sorted(found), list(self.per_recipient))

    def _deliveries(self, hand: InHand, earlier: Earlier, now: datetime) -> list[outbox.Owed]:
        """The deliveries of one message: once a destination for its own bytes, once a document for rendered ones.

        Where a destination is sent to recipients, once for each of them.
        """
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
                asked = self.per_recipient.get(destination)
                if asked is not None:
                    owed += self._to_recipients(hand, document, destination, route, asked, earlier)
                    continue
                made = self._delivery(hand, document, destination, route)
                is_own = made.document_id is None
                if is_own and destination in sent:
                    continue
                sent.add(destination)
                owed.append(made)
        return owed

    def _to_recipients(
        self,
        hand: InHand,
        document: Document,
        destination: str,
        route: str,
        asked: PerRecipient,
        earlier: Earlier,
    ) -> list[outbox.Owed]:
        """A delivery for each recipient, of the same bytes; the trail says who else is not written to, and why.

        A new version that names no address goes to whom the one before went. One that names some goes to those: whom
        the sender took off the list gets nothing more of it. An address that may not be written to is parked. So are
        those of a document that was taken back, where its form would look like a new letter.
        """
        if recipients.is_declined(document):
            return self._to_nobody(hand, destination, recipients.NOT_ASKED)
        found = recipients.addressed(document, asked)
        for reason, n in sorted(found.left.items()):
            hand.step(f"{n} of the recipients left out for {destination}", 0, reason)
            self._left_out(destination, reason, n)
        if not found.names_addresses:
            found = self._as_before(hand, document, destination, asked, earlier)
        if not found.names_addresses:
            return self._to_nobody(hand, destination, recipients.NONE)
        if len(found.addresses) + len(found.refused) > asked.most:
            whole = self._owed(hand, document, destination, route)
            whole = replace(whole, document_id=document.id)
            return [self._parked(hand, whole, recipients.TOO_MANY, "recipients")]
        made = self._delivery(hand, document, destination, route)
        return [made] if made.refused else self._to_each(hand, made, found)

    def _to_each(
        self, hand: InHand, made: outbox.Owed, found: recipients.Addressed
    ) -> list[outbox.Owed]:
        """What was rendered, to each address; parked without it where it never may go there."""
        nothing = replace(made, body=None, ins_used=None)
        if made.intent == "delete" and made.media in _NEVER_TAKEN_BACK:
            return [
                self._parked(
                    hand,
                    replace(nothing, recipient=address),
                    recipients.TAKEN_BACK,
                    "event.operation",
                )
                for address in found.addresses
            ]
        return [replace(made, recipient=address) for address in found.addresses] + [
            self._parked(
                hand,
                replace(made if one.address else nothing, recipient=one.address),
                one.reason,
                one.place,
            )
            for one in found.refused
        ]

    def _as_before(
        self,
        hand: InHand,
        document: Document,
        destination: str,
        asked: PerRecipient,
        earlier: Earlier,
    ) -> recipients.Addressed:
        """Whom the versions went to that this one replaces, as far as they may be written to still."""
        names: dict[str, None] = {}
        for filed in hand.filings:
            if filed.document.id == document.id:
                for one in _before(filed):
                    names |= dict.fromkeys(earlier.get((one, destination), ()))
        if names:
            hand.step(f"to whom the version before went, at {destination}", 0)
        return recipients.of_addresses(list(names), asked)

    def _to_nobody(self, hand: InHand, destination: str, reason: str) -> list[outbox.Owed]:
        hand.step(f"filtered for {destination}", 0, reason)
        self._left_out(destination, reason)
        return []

    def _left_out(self, destination: str, reason: str, n: int = 1) -> None:
        self.telemetry.emit_many("recipient_left_out", n, destination=destination, reason=reason)

    def _owed(self, hand: InHand, document: Document, destination: str, route: str) -> outbox.Owed:
        """A delivery of the message's own bytes."""
        return outbox.Owed(
            message_seq=hand.message.seq,
            document_id=None,
            destination=destination,
            lane=Lane(hand.person or 0),
            intent=_intent(document),
            media="",
            reason=route,
            signs=hand.signs,
        )

    def _delivery(
        self, hand: InHand, document: Document, destination: str, route: str
    ) -> outbox.Owed:
        """One delivery; parked where the document has no form this destination takes, which stops nothing else."""
        owed = self._owed(hand, document, destination, route)
        try:
            rendered = self.render(
                self.mapping_set, destination, document, hand.reading.attachments
            )
        except PermanentError as error:
            owed = replace(owed, document_id=document.id)
            return self._parked(hand, owed, error.code, error.where)
        if rendered is None:
            return owed
        media, body = rendered
        return replace(
            owed,
            document_id=document.id,
            media=media,
            body=body,
            ins_used=_ins_in(document, media, body),
        )

    def _parked(self, hand: InHand, owed: outbox.Owed, reason: str, place: str) -> outbox.Owed:
        """A delivery that is a person's business from the beginning, and told of."""
        self.telemetry.emit(
            "parked",
            source=hand.message.source,
            destination=owed.destination,
            reason=reason,
            message_id=hand.message.id,
            where=place,
        )
        return replace(owed, refused=reason, refused_at=place)


def _before(filed: Filing) -> tuple[str, ...]:
    """The documents that one takes the place of, or takes out of the record."""
    return (*filed.supersedes, *filed.deletes)


def _ins_in(document: Document, media: str, body: bytes) -> tuple[str, str] | None:
    """The INS that rendered bytes carry, as (OID, value).

    What is packed is not looked into: writers of CDA give the INS with a validated identity, and leave a CDA as it came.
    """
    patient = document.patient
    if patient is None:
        return None
    for one in patient.identifiers:
        if not one.kind.startswith("INS"):
            continue
        carries = one.value.encode() in body
        if media == _ZIP:
            carries = patient.identity_status == "validated" or document.source.format == "cda"
        if carries:
            return one.oid or one.system, one.value
    return None


def _was_sent(hand: InHand) -> bool:
    """Whether a message is received again because it waited: all but records were sent it when it came."""
    return hand.origin is not None and hand.origin.reason in account_waits.REASONS


def _intent(document: Document) -> str:
    """What a delivery asks of its receiver."""
    operation = document.event.operation if document.event is not None else None
    return _INTENTS.get(operation or "", "new")
