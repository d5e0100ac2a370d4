"""What operators decide about lanes and parked work: each act one transaction, with its entry in the trail.

For `carnet lanes` and `carnet parked`, and for a console. An act says what it found where it changes nothing: of two
people who decide the same, one is told that it is done.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Engine

from broker.acts import WRITER, Act, Done, delivery_details
from broker.audit import trail
from broker.contracts import Work
from broker.database.engine import writing
from broker.records import (
    expectations,
    lane_moves,
    messages_reading,
    moving,
    outbox,
    parked,
)
from broker.records.lane_names import LaneName, outbound
from broker.records.moving import MovedDelivery
from broker.values import State

SKIPPED, DISCARDED, EDITED, CONFIRMED = (
    "operator.skipped",
    "operator.discarded",
    "edited",
    "delivery.confirmed",
)
"""Reason codes of what a person settled. Their own words stand in the trail."""

OVERDUE = "answer.overdue"
STUCK = (State.HELD, State.RETRYING)
_UNSETTLED = (State.RECEIVED, State.WAITING, State.RETRYING, State.HELD)

# --- lanes --------------------------------------------------------------------------------------------------------


def hold(engine: Engine, name: LaneName, act: Act) -> Done:
    """Let nothing of a lane go on until it is released. Outcomes: held, already; whole (see `release`)."""
    if name.recipient:
        return Done("whole", left={str(name): "whole"})
    with writing(engine) as connection:
        if not lane_moves.hold(connection, name, act.by, act.why, act.at):
            return Done("already", left={str(name): "already"})
        trail.write(connection, [act.entry("lane_held", str(name))], act.at)
    return Done("held", taken=[str(name)])


def release(engine: Engine, name: LaneName, act: Act) -> Done:
    """Let a lane go on: take back a person's hold, or else take up its head again from the start.

    Outcomes: lifted; still_held (a message of it is held for a reason of its own); released (its head goes on);
    tried_now (a delivery that waited for its next try); unknown (a person must say first whether its head arrived);
    flows (there was nothing to release); whole (a person holds all lanes of the patient there, not one recipient's).
    """
    with writing(engine) as connection:
        row = lane_moves.row_of(connection, name)
        if row is not None and row.held_by is not None:
            if name.recipient:
                return Done("whole", left={str(name): "whole"})
            return _lift(connection, name, row.held_by, act)
        head = lane_moves.head_of(connection, name)
        if head is None:
            return Done("flows", left={str(name): "flows"})
        if name.kind == "filing":
            return _release_head(connection, name, head.number, act)
        if head.state == "unknown":
            return Done("unknown", left={head.name: "unknown"})
        if not lane_moves.try_now(connection, head.number):
            return Done("flows", left={str(name): "flows"})
        trail.write(connection, [act.entry("lane_released", str(name), head.reason)], act.at)
        done = Done("tried_now", taken=[head.name])
        done.follows("outbound", name.destination, [Work(head.number, name.number)])
        return done


def skip(engine: Engine, name: LaneName, head: int, act: Act) -> Done:
    """Settle the head of a lane, the message or delivery numbered `head`, as skipped; the lane goes on in order.

    Only what stands still is skipped: a held message, a delivery of unknown outcome or that is tried again, and any
    head of a lane that a person holds; that hold stays. Outcomes: skipped; flows (it is on its way by itself);
    being_sent; changed (`head` is no longer the head).
    """
    with writing(engine) as connection:
        row = lane_moves.row_of(connection, name)
        found = lane_moves.head_of(connection, name)
        if found is None or found.number != head:
            return Done("changed", left={str(name): "changed"})
        is_held = row is not None and row.held_by is not None
        if name.kind == "outbound":
            if not (is_held or found.state == "unknown" or found.next_try_at is not None):
                return Done("flows", left={found.name: "flows"})
            return _skip_delivery(connection, name, head, act, is_held=is_held)
        moved = moving.move(
            connection, [head], _UNSETTLED if is_held else STUCK, State.SKIPPED, act.at, WRITER,
            act="skipped", reason=SKIPPED,
        )  # fmt: skip
        if not moved:
            return Done("flows", left={found.name: "flows"})
        done = Done("skipped", taken=[moved[0].id])
        if not is_held:
            _go_on(connection, name, "skipped", act, done)
        trail.write(connection, [act.entry("skipped", moved[0].id, moved[0].reason)], act.at)
        return done


def release_message(engine: Engine, seq: int, act: Act) -> Done:
    """Take up a held message that has no lane. Outcomes: released, changed."""
    with writing(engine) as connection:
        return _taken_up(connection, moving.move(
            connection, [seq], STUCK, State.RECEIVED, act.at, WRITER, act="released"
        ), [seq], act)  # fmt: skip


def skip_message(engine: Engine, seq: int, act: Act) -> Done:
    """Settle a held message that has no lane as skipped. Outcomes: skipped, changed."""
    with writing(engine) as connection:
        moved = moving.move(
            connection, [seq], STUCK, State.SKIPPED, act.at, WRITER, act="skipped", reason=SKIPPED
        )
        entries = [act.entry("skipped", one.id, one.reason) for one in moved]
        trail.write(connection, entries, act.at)
        return Done(
            "skipped" if moved else "changed",
            taken=[one.id for one in moved],
            left=_left(connection, moved, [seq]),
        )


def _lift(connection: Connection, name: LaneName, held_by: str, act: Act) -> Done:
    if not lane_moves.lift(connection, name, held_by, act.at):
        return Done("flows", left={str(name): "flows"})
    row = lane_moves.row_of(connection, name)
    done = Done("still_held" if row and row.state == "held" else "lifted", taken=[str(name)])
    done.follows(name.kind, name.destination, lane_moves.work_of(connection, name))
    trail.write(connection, [act.entry("lane_released", str(name))], act.at)
    return done


def _release_head(connection: Connection, name: LaneName, head: int, act: Act) -> Done:
    moved = moving.move(connection, [head], STUCK, State.RECEIVED, act.at, WRITER, act="released")
    if not moved:
        return Done("flows", left={str(name): "flows"})
    lane_moves.note(connection, name, "released", act.at)
    return _taken_up(connection, moved, [head], act)


def _skip_delivery(
    connection: Connection, name: LaneName, head: int, act: Act, *, is_held: bool
) -> Done:
    moved = moving.move_deliveries(
        connection, [head], moving.OPEN_DELIVERIES, "skipped", act.at, WRITER,
        act="skipped", reason=SKIPPED,
    )  # fmt: skip
    if not moved:
        return Done("being_sent", left={f"delivery:{head}": "being_sent"})
    done = Done("skipped", taken=[f"delivery:{head}"])
    if not is_held:
        done.follows("outbound", name.destination, lane_moves.work_of(connection, name))
    trail.write(connection, _of_deliveries("delivery_skipped", moved, act), act.at)
    return done


def _go_on(connection: Connection, name: LaneName, state: str, act: Act, done: Done) -> None:
    """The head of a filing lane is settled: what waits comes back, and the row goes when all of it is settled."""
    work = lane_moves.work_of(connection, name)
    if work:
        lane_moves.note(connection, name, state, act.at)
        done.inbound += work
    elif lane_moves.head_of(connection, name) is None:
        lane_moves.forget(connection, name)


# --- parked -------------------------------------------------------------------------------------------------------


def release_parked(engine: Engine, seqs: Sequence[int], act: Act) -> Done:
    """Take parked messages up again from the start, each in its lane from its own number on."""
    with writing(engine) as connection:
        moved = moving.move(
            connection, seqs, [State.PARKED], State.RECEIVED, act.at, WRITER, act="released"
        )
        return _taken_up(connection, moved, seqs, act)


def discard_parked(engine: Engine, seqs: Sequence[int], act: Act) -> Done:
    """Settle parked messages for good; their bytes are kept."""
    with writing(engine) as connection:
        moved = moving.move(
            connection, seqs, [State.PARKED], State.DISCARDED, act.at, WRITER,
            act="discarded", reason=DISCARDED,
        )  # fmt: skip
        done = Done(taken=[one.id for one in moved], left=_left(connection, moved, seqs))
        entries = [act.entry("discarded", one.id, one.reason) for one in moved]
        trail.write(connection, entries, act.at)
    return done


def release_deliveries(engine: Engine, ids: Sequence[int], act: Act) -> Done:
    """Owe parked deliveries, and those of unknown outcome, again: they are sent once more.

    Those that never had a form their destination takes are left: there is nothing to send.
    """
    with writing(engine) as connection:
        without = parked.never_rendered(connection, ids)
        wanted = [one for one in ids if one not in without]
        moved = moving.move_deliveries(
            connection, wanted, parked.STATES, "owed", act.at, WRITER, act="released"
        )
        done = _moved_deliveries(moved, wanted)
        done.left |= {f"delivery:{one}": "never_rendered" for one in sorted(without)}
        _lanes_go_on(connection, moved, done)
        for one in moved:
            if one.state != "unknown" or not one.lane:
                done.outbound[one.destination].append(Work(one.id, one.lane))
        trail.write(connection, _of_deliveries("delivery_released", moved, act), act.at)
    return done


def confirm_deliveries(engine: Engine, ids: Sequence[int], act: Act) -> Done:
    """Count deliveries of unknown outcome as sent, on the partner's word; their lanes go on."""
    return _settle_deliveries(engine, ids, ["unknown"], ("sent", "confirmed", CONFIRMED), act)


def discard_deliveries(engine: Engine, ids: Sequence[int], act: Act) -> Done:
    """Settle parked deliveries, and those of unknown outcome, for good; their lanes go on.

    Of those that were sent, and whose answer is overdue, the answer is awaited no longer.
    """
    done = _settle_deliveries(
        engine, ids, parked.STATES, ("discarded", "discarded", DISCARDED), act
    )
    late = [one for one in ids if f"delivery:{one}" in done.left]
    if late:
        done.add(_give_up_answers(engine, late, act))
        done.left = {name: why for name, why in done.left.items() if name not in done.taken}
    return done


def _give_up_answers(engine: Engine, ids: Sequence[int], act: Act) -> Done:
    with writing(engine) as connection:
        given_up = expectations.give_up(connection, ids)
        rows = parked.by_ids(connection, given_up)
        entries = [
            act.entry(
                "answer_given_up",
                row.message_id,
                OVERDUE,
                **delivery_details(row.id, row.destination),
            )
            for row in rows
        ]
        trail.write(connection, entries, act.at)
    return Done(taken=[f"delivery:{one}" for one in sorted(given_up)])


def discard_orphans(engine: Engine, ids: Sequence[int], act: Act) -> Done:
    """Settle deliveries to destinations that are no longer configured for good, those too that are only owed.

    One that a courier of that time had in its hands is noted first as what it is: of unknown outcome.
    """
    with writing(engine) as connection:
        outbox.give_up(connection, ids, act.at)
        moved = moving.move_deliveries(
            connection, ids, ("owed", *parked.STATES), "discarded", act.at, WRITER,
            act="discarded", reason=DISCARDED,
        )  # fmt: skip
        trail.write(connection, _of_deliveries("delivery_discarded", moved, act), act.at)
        return _moved_deliveries(moved, ids)


def _settle_deliveries(
    engine: Engine,
    ids: Sequence[int],
    leaving: Collection[str],
    to: tuple[str, str, str],
    act: Act,
) -> Done:
    state, measure, reason = to
    with writing(engine) as connection:
        moved = moving.move_deliveries(
            connection, ids, leaving, state, act.at, WRITER, act=measure, reason=reason
        )
        done = _moved_deliveries(moved, ids)
        _lanes_go_on(connection, moved, done)
        trail.write(connection, _of_deliveries(f"delivery_{measure}", moved, act), act.at)
    return done


def _lanes_go_on(connection: Connection, moved: Sequence[MovedDelivery], done: Done) -> None:
    """Lanes that waited for a person's word on their head: all that is owed in them comes back."""
    going = {(one.destination, one.lane) for one in moved if one.state == "unknown" and one.lane}
    for destination, lane in sorted(going):
        work = lane_moves.work_of(connection, outbound(destination, lane))
        done.follows("outbound", destination, work)


def _moved_deliveries(moved: Sequence[MovedDelivery], ids: Sequence[int]) -> Done:
    gone = set(ids) - {one.id for one in moved}
    return Done(
        taken=[f"delivery:{one.id}" for one in moved],
        left={f"delivery:{one}": "changed" for one in sorted(gone)},
    )


def _taken_up(
    connection: Connection, moved: Sequence[moving.Moved], seqs: Sequence[int], act: Act
) -> Done:
    done = Done(
        "released" if moved else "changed",
        taken=[one.id for one in moved],
        left=_left(connection, moved, seqs),
        inbound=[Work(one.seq, one.lane) for one in moved],
    )
    entries = [act.entry("released", one.id, one.reason) for one in moved]
    trail.write(connection, entries, act.at)
    return done


def _left(
    connection: Connection, moved: Sequence[moving.Moved], seqs: Sequence[int]
) -> dict[str, str]:
    """The ids of those that were not where the act expected them."""
    gone = set(seqs) - {one.seq for one in moved}
    lines = sorted(messages_reading.by_seq(connection, sorted(gone)), key=lambda line: line.seq)
    return {line.id: "changed" for line in lines}


def _of_deliveries(name: str, moved: Sequence[MovedDelivery], act: Act) -> list[trail.Entry]:
    return [
        act.entry(name, one.message_id, one.reason, **delivery_details(one.id, one.destination))
        for one in moved
    ]
