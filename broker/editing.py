"""Edit and resend: the corrected bytes of a parked message are received as a new message, linked to the original.

For `carnet parked edit`. The new message is written, and the original settled as discarded, in one transaction: the
original moves only when the new one is as durable. Its bytes stay, and what it was received as stays.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from broker.acts import WRITER, Act, Done
from broker.audit import trail
from broker.contracts import Work
from broker.database import partitions, sequences, together
from broker.database.engine import is_sqlite, writing
from broker.envelope import Envelope
from broker.errors import ParseError, SetupError
from broker.glance import glance
from broker.operating import EDITED
from broker.reception import drafted
from broker.records import editing, messages, moving, receptions, tallies
from broker.unpacking import unpack_some
from broker.values import Seq, State

MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Edited:
    """What became of it: the new message's id, or None with the outcome in a word (`changed`: no longer parked)."""

    done: Done
    message_id: str | None


def edit(
    engine: Engine, original: editing.Original, body: bytes, act: Act, *, zone: ZoneInfo, key: bytes
) -> Edited:
    """Receive `body` in the place of a parked message.

    The new message has a number of its own, so it takes its turn behind what its patient's lane has by now.
    Raises: SetupError when the bytes are no message, nothing was changed, or these bytes were received before.
    """
    body = as_sent(body, original.format)
    envelope = Envelope(
        source=original.source,
        body=body,
        received_at=act.at,
        media=original.media,
        charset=original.charset_declared,
        keys=original.keys,
    )
    if len(body) > MAX_BYTES:
        raise SetupError("size.exceeded", where="FILE", reason=f"more than {MAX_BYTES} bytes")
    try:
        seen = glance(envelope, key)
    except ParseError as error:
        raise SetupError(error.code, where=f"FILE {error.where}", reason=error.reason) from error
    row = drafted(envelope, seen, messages.day_of(act.at, zone))
    if row.sha256 == original.sha256:
        raise SetupError(
            "edit.unchanged",
            where="FILE",
            reason="these are the bytes as they came",
            hint="to try the message again as it is: carnet parked release ID",
        )
    with writing(engine) as connection:
        partitions.ensure(connection, act.at)
    with writing(engine) as connection:
        return _write(connection, original, row, act)


def as_sent(body: bytes, form: str) -> bytes:
    """The bytes of a file as a sender would have sent them: an editor's line ends of HL7v2 become segment ends.

    Source: HL7 v2.5.1 §2.5.1, the segment terminator is CR.
    """
    if form != "hl7v2":
        return body
    return body.replace(b"\r\n", b"\r") if b"\r" in body else body.replace(b"\n", b"\r")


def _write(
    connection: Connection, original: editing.Original, row: receptions.Received, act: Act
) -> Edited:
    moved = moving.move(
        connection, [original.seq], [State.PARKED], State.DISCARDED, act.at, WRITER,
        act="discarded", reason=EDITED,
    )  # fmt: skip
    if not moved:
        return Edited(Done("changed", left={original.id: "changed"}), None)
    first = sequences.reserve(connection, "message", 1, act.at)
    _expect_new(connection, row)
    row.seq = Seq(first)
    receptions.write(connection, [row], act.at, WRITER, reserved=1, first=first)
    if is_sqlite(connection):
        trail.received(connection, [(first, first)], 1)
    while unpack_some(connection, WRITER):
        pass
    editing.link(connection, row.seq, original.seq)
    flows = Counter({"received": 1, "bytes": len(row.body), "edited": 1})
    tallies.flow(connection, {(row.source, name): n for name, n in flows.items()}, act.at, WRITER)
    trail.write(
        connection,
        [
            act.entry("discarded", original.id, EDITED, edited_as=row.id, was=moved[0].reason),
            act.entry("edited", row.id, None, edited_from=original.id),
        ],
        act.at,
    )
    return Edited(Done(taken=[original.id], inbound=[Work(row.seq, row.lane)]), row.id)


def _expect_new(connection: Connection, row: receptions.Received) -> None:
    """Raises: SetupError when a message with this control id and these bytes is in the ledger already."""
    while unpack_some(connection, WRITER):
        pass
    wanted = [(row.key, row.digest)]
    (answer,) = together.ask(connection, [receptions.probe(connection, wanted)])
    before = receptions.known(connection, wanted, answer).get(wanted[0])
    if before is not None and before.same_bytes:
        raise SetupError(
            "edit.known",
            where="FILE",
            reason=f"these bytes were received before, as message {before.id}",
            hint="discard the parked message instead: carnet parked discard ID",
        )
