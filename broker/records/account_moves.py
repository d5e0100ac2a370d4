"""Move spaces along the state machine, many in one transaction: state, history, due dates, notices, what waited.

For `broker.account_acts`, which writes the trail in the same transaction. What an event does is in
`broker.accounts.machine`; here it is done, one statement a table for the whole batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from sqlalchemy import Connection, text

from broker.accounts import days, machine
from broker.accounts.machine import Moment, Refusal, Transition
from broker.database import bulk
from broker.database.schema import consent_event, patient
from broker.database.types import to_micros
from broker.encryption import key_rows
from broker.encryption.sealed import PATIENT
from broker.records import (
    account_holders,
    account_rows,
    account_waits,
    bodies,
    notices,
    patients,
    people,
)
from broker.records.account_rows import Space, Step
from broker.records.lookups import any_of


@dataclass(frozen=True, slots=True)
class By:
    """Who brings an event, how they said it, and why: for the history and the trail."""

    actor: str
    actor_kind: str = "operator"
    channel: str = "counter"
    reason: str = ""


CLOCK = By("scheduler", "machine", "automatic")


@dataclass(slots=True)
class Moved:
    """What an event did: the steps made, those it left with the reason, messages to receive again, messages dropped."""

    steps: list[Step] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)
    released: list[int] = field(default_factory=list)
    dropped: list[tuple[int, str]] = field(default_factory=list)
    spaces: dict[int, Space] = field(default_factory=dict)


def move(
    connection: Connection,
    numbers: Collection[int],
    event: str,
    by: By,
    now: datetime,
    *,
    change: Mapping[int, Mapping[str, object]] | None = None,
    born: Mapping[int, date] | None = None,
) -> Moved:
    """Bring one event to many spaces. `change` are fields of `Space` that come with it (a code, an address)."""
    before = account_rows.load(connection, numbers, lock=True)
    done = Moved(
        left={number: "account.unknown_patient" for number in numbers if number not in before}
    )
    unable = _cannot_open(connection, before) if event == "window_ends" else set()
    after: list[Space] = []
    told: list[notices.New] = []
    erased: list[int] = []
    waits: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, space in before.items():
        moment = Moment(now, space.due, space.died_at is not None, number in unable)
        edges = machine.steps(space.state, event, moment)
        if isinstance(edges, Refusal):
            done.left[number] = edges.reason
            continue
        moved = replace(space, **(change or {}).get(number, {}))  # type: ignore[arg-type]  # named by the caller
        for edge in edges:
            step = _step(moved, edge, by, now)
            moved = _after(moved, edge, now, (born or {}).get(number))
            done.steps.append(step)
            if edge.notice:
                cause = edge.id if edge is machine.T3B else f"{edge.id}.{step.n}"
                told.append(notices.New(number, edge.notice, cause, now))
            if edge.waits:
                waits[edge.waits][step.after].append(number)
            if edge.id == "T12" or edge is machine.T13:
                erased.append(number)
        after.append(moved)
        done.spaces[number] = moved
    account_rows.store(connection, before, after, now)
    account_rows.tell(connection, done.steps)
    _say(connection, before, after, by, now)
    notices.add_once(connection, told, now)
    if event == "come_of_age":
        account_holders.detach(connection, [one.patient for one in after], now, "M5")
    erase(connection, erased, now)  # before what waits is dropped: those messages are erased too
    for state, some in waits["drop"].items():
        done.dropped += account_waits.drop(connection, some, _DROPPED.get(state, "account.closed"))
    done.released = account_waits.take(
        connection, [number for some in waits["release"].values() for number in some]
    )
    if event == "archive_ends":
        gone = [number for number in erased if done.spaces[number].state == machine.DELETED]
        forget(connection, gone, now)
    return done


_DROPPED = {machine.OPPOSED: "account.opposed", machine.NOT_ELIGIBLE: "account.closed"}


def _step(space: Space, edge: Transition, by: By, now: datetime) -> Step:
    return Step(
        space.patient, space.events + 1, edge.id, space.state, edge.leads_to(space.state), by.actor_kind, by.actor,
        by.channel, by.reason, edge.source, now,
    )  # fmt: skip


def _after(space: Space, edge: Transition, now: datetime, born: date | None) -> Space:
    target = edge.leads_to(space.state)
    due = {name: at for name, at in space.due.items() if name not in edge.clears}
    for name in edge.sets:
        at = _due(name, edge, now, born)
        if at is not None:
            # Asked for again, a deletion is not put off: its three months count from the first request.
            due[name] = min(at, due.get(name, at)) if name == "T13" else at
    if edge is machine.T2 and space.has_former:
        # The record of before the spaces is not taken over: closed, and archived for ten years.
        due["T12"] = days.archive_ends(now, days.PARIS)
    return replace(
        space,
        state=target,
        since=space.since if target == space.state else now,
        events=space.events + 1,
        due=due,
        is_attached=space.is_attached or (space.has_former and target in machine.IN_USE),
        died_at=now if edge.event == "death" else space.died_at,
        mail="" if edge.event == "come_of_age" else space.mail,
        code=None if edge.event == "activate" else space.code,
    )


def _due(name: str, edge: Transition, now: datetime, born: date | None) -> datetime | None:
    if edge is machine.T3B:
        return days.next_midnight(now, days.PARIS)
    if name in ("T3", "T10"):
        return days.window_ends(now, days.PARIS)
    if name == "T12":
        return days.archive_ends(now, days.PARIS)
    if name == "T13":
        return now
    return days.of_age(born, days.PARIS) if born is not None else None


def _cannot_open(connection: Connection, spaces: Mapping[int, Space]) -> set[int]:
    """T3b: without an INS of their own nobody is given a space."""
    known = patients.ins_of(connection, spaces.keys())
    return {
        number
        for number, space in spaces.items()
        if space.merged_into is not None or not known.get(number)
    }


def _say(
    connection: Connection,
    before: Mapping[int, Space],
    after: Sequence[Space],
    by: By,
    now: datetime,
) -> None:
    """A change of state is a word of the consent history too: what decisions point to."""
    moved = [one for one in after if one.state != before[one.patient].state]
    at = to_micros(now)
    bulk.insert_rows(
        connection,
        consent_event,
        ("patient", "n", "kind", "scope", "value", "by", "channel", "at"),
        [
            (one.patient, one.consent_version + 1, "account", "", one.state, by.actor, by.channel, at)
            for one in moved
        ],
    )  # fmt: skip
    bulk.update_rows(
        connection,
        patient,
        "id",
        ("consent_version",),
        sorted((one.patient, one.consent_version + 1) for one in moved),
    )


def erase(connection: Connection, numbers: Collection[int], now: datetime) -> None:
    """The content of these records is gone: the rows of documents stay, as deleted, for the trace (RET-02, RET-08).

    Their keys are destroyed, so no copy of these tables gives it back. The messages it came with are erased too: one that
    told of others as well tells of nobody any more; what the others' records hold of it stays.
    """
    if not numbers:
        return
    key_rows.destroy(connection, PATIENT, numbers, now)
    bodies.erase(connection, _messages_of(connection, numbers))
    within, given = any_of(connection, "patient", sorted(numbers))
    connection.execute(text(f"DELETE FROM attachment WHERE {within}"), given)  # noqa: S608
    connection.execute(
        text(
            f"DELETE FROM document_payload WHERE id IN (SELECT id FROM document WHERE {within})"  # noqa: S608
        ),
        given,
    )
    connection.execute(
        text(f"UPDATE document SET availability = 'deleted' WHERE {within}"),  # noqa: S608
        given,
    )


def _messages_of(connection: Connection, numbers: Collection[int]) -> set[int]:
    """The messages that brought the content of these records, or wait to, and the replays of them."""
    found: set[int] = set()
    for table, seq in (
        ("document", "message_seq"),
        ("consent_event", "message_seq"),
        ("account_wait", "seq"),
    ):
        within, given = any_of(connection, "patient", sorted(numbers))
        rows = connection.execute(text(f"SELECT {seq} FROM {table} WHERE {within}"), given)  # noqa: S608
        found |= {int(number) for number in rows.scalars() if number}
    within, given = any_of(connection, "replay_of", sorted(found))
    again = connection.execute(
        text(f"SELECT seq FROM message WHERE replay_of IS NOT NULL AND {within}"),  # noqa: S608
        given,
    )
    return found | {int(seq) for seq in again.scalars()}


def forget(connection: Connection, numbers: Collection[int], now: datetime) -> None:
    """Who these people are is forgotten too, once nothing has to be written to them any more."""
    if not numbers:
        return
    people.forget(connection, numbers, to_micros(now))
    within, given = any_of(connection, "patient", sorted(numbers))
    gone = "mail = NULL, code_digest = NULL, card_digest = NULL"
    connection.execute(text(f"UPDATE account SET {gone} WHERE {within}"), given)  # noqa: S608
