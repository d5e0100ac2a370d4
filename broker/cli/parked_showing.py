"""How `carnet parked` shows what it lists and names: for people as tables, for programs as JSON."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import typer

from broker.audit import trail
from broker.cli import opened, output
from broker.database.engine import reading, writing
from broker.errors import PermanentError
from broker.records import (
    expectations,
    lane_names,
    message_detail,
    messages_reading,
    parked,
    partner_answers,
)
from broker.values import State

OVERDUE = "answer.overdue"


def page(lines: list[dict[str, object]], more: list[tuple[str, int]], json: bool) -> None:
    """The lists of one page, each kind with its columns, and where each goes on."""
    if json:
        for line in lines:
            output.tell(line)
        for kind, before in more:
            output.tell({"kind": kind, "before": before})
        return
    now = datetime.now(UTC)
    for kind, columns in (
        ("message", ("id", "source", "since", "reason", "place")),
        (
            "delivery",
            (
                "id",
                "destination",
                "state",
                "since",
                "attempts",
                "answer_code",
                "reason",
                "message_id",
            ),
        ),
        ("answer", ("id", "destination", "awaits", "since", "reason", "message_id")),
    ):
        found = [line for line in lines if line["kind"] == kind]
        if found:
            words = [name.replace("_", " ") for name in columns]
            output.table(
                "",
                words,
                [[_cell(line[name], now) for name in columns] for line in found],
            )
    if not lines:
        output.aside().print("nothing is parked")
    for kind, before in more:
        output.aside().print(f"more: --kind {kind} --before {before}")


def _cell(value: object, now: datetime) -> object:
    return f"{output.ago(value, now)} ago" if isinstance(value, datetime) else value


def one_message(ledger: opened.Ledger, message_id: str, json: bool) -> None:
    """One message as far as parking goes. Ends the command with 1 where there is none."""
    with reading(ledger.engine) as connection:
        found = message_detail.detail(connection, message_id)
    if found is None:
        output.aside().print("no such message")
        raise typer.Exit(output.FOUND)
    line = found.line
    lane = str(lane_names.filing(found.lane)) if found.lane else ""
    if json:
        output.tell({**message_line(line), "state": line.state.name.lower(), "lane": lane or None})
        return
    is_parked = line.state == State.PARKED
    rows: list[tuple[str, object]] = [
        ("message", line.id),
        ("source", line.source),
        (
            "state",
            f"{line.state.name.lower()} since {line.state_since.isoformat(timespec='seconds')}",
        ),
        ("because", output.because(line.reason)),
        ("place", line.place or ""),
        ("lane", lane),
        ("", "carnet parked release, discard or edit" if is_parked else "it is not parked"),
    ]
    output.table("", ("", ""), [row for row in rows if row[1]])


def one_delivery(ledger: opened.Ledger, number: int, json: bool) -> None:
    """One delivery with its newest attempts. Ends the command with 1 where there is none."""
    with reading(ledger.engine) as connection:
        found = parked.by_ids(connection, [number])
        attempts = parked.attempts(connection, number)
    if not found:
        output.aside().print("no such delivery")
        raise typer.Exit(output.FOUND)
    one = found[0]
    if json:
        output.tell({**delivery_line(one), "tries": attempts})
        return
    rows: list[tuple[str, object]] = [
        ("delivery", one.name),
        ("of", f"message {one.message_id} from {one.source}"),
        ("to", " ".join(part for part in (one.destination, one.recipient) if part)),
        ("state", f"{one.state} since {one.since.isoformat(timespec='seconds')}"),
        ("because", output.because(one.reason)),
        ("place", one.place or ""),
        ("lane", lane_names.outbound(one.destination, one.lane, one.recipient) if one.lane else ""),
        ("", _CHOICES.get(one.state, "it does not wait for a person")),
    ]
    output.table("", ("", ""), [row for row in rows if row[1]])
    if attempts:
        output.say()
        output.table(
            "attempts",
            ("#number", "started", "ended", "outcome", "answer"),
            [
                (
                    t.number,
                    t.started_at.isoformat(timespec="seconds"),
                    t.ended_at.isoformat(timespec="seconds") if t.ended_at else "",
                    t.outcome,
                    t.answer_code,
                )
                for t in attempts
            ],
        )


def answers(ledger: opened.Ledger, number: int, operator: str, motive: str, json: bool) -> None:
    """What the partner answered to each attempt; the trace of it is committed first. Ends with 1 where there is none.

    JSON, one line an attempt: {"number", "answer", "unreadable"}; what is no text has U+FFFD in its place.
    """
    now = datetime.now(UTC)
    with writing(ledger.engine) as connection:
        found = parked.by_ids(connection, [number])
        if not found:
            output.aside().print("no such delivery")
            raise typer.Exit(output.FOUND)
        kept = partner_answers.of_delivery(connection, number)
        if not kept:
            output.aside().print("no answer is kept of this delivery")
            raise typer.Exit(output.FOUND)
        entry = trail.Entry(
            act="body_revealed", at=now, actor_kind="operator", actor=operator, subject=found[0].name,
            motive=motive, software="carnet",
        )  # fmt: skip
        trail.write(connection, [entry], now)
    for attempt, answer in kept.items():
        text = "" if isinstance(answer, PermanentError) else answer.decode(errors="replace")
        code = answer.code if isinstance(answer, PermanentError) else ""
        if json:
            output.tell({"number": attempt, "answer": text, "unreadable": code})
        else:
            # As the partner said it: no markup is looked for in it.
            sys.stdout.write(
                f"attempt {attempt}\n" + (code or text.replace("\r", "\n")).rstrip() + "\n"
            )


_CHOICES = {
    "parked": "carnet parked release (send it again) or discard",
    "unknown": "carnet parked release --as-sent (they have it), release (send it again) or discard",
}


def message_line(line: messages_reading.Line) -> dict[str, object]:
    """A parked message as programs read it."""
    return {
        "kind": "message",
        "id": line.id,
        "source": line.source,
        "since": line.state_since,
        "reason": line.reason,
        "place": line.place,
        "type": line.type or line.format,
        "control_id": line.control_id,
        "received_at": line.received_at,
    }


def delivery_line(one: parked.Delivery) -> dict[str, object]:
    """A delivery as programs read it."""
    return {
        "kind": "delivery",
        "id": one.name,
        "message_id": one.message_id,
        "source": one.source,
        "destination": one.destination,
        "recipient": one.recipient,
        "lane": str(lane_names.outbound(one.destination, one.lane, one.recipient))
        if one.lane
        else None,
        "state": one.state,
        "since": one.since,
        "attempts": one.attempts,
        "answer_code": one.answer_code,
        "reason": one.reason,
        "place": one.place,
    }


def answer_line(one: expectations.Overdue) -> dict[str, object]:
    """An answer that should have come, as programs read it: of which delivery, and since when it is overdue."""
    return {
        "kind": "answer",
        "id": f"delivery:{one.delivery_id}",
        "message_id": one.message_id,
        "source": one.source,
        "destination": one.destination,
        "recipient": one.recipient,
        "awaits": one.kind,
        "since": one.due_at,
        "reason": OVERDUE,
    }
