"""`carnet lanes`: what waits for whom, and an operator's say in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from broker import operating
from broker.acts import Act, Done
from broker.cli import acting, opened, orphaned, output, setup
from broker.cli.people import By
from broker.database.engine import reading
from broker.errors import SetupError
from broker.records import lane_names, lane_reading, message_detail
from broker.records.lane_names import LaneName
from broker.values import State

group = typer.Typer(
    no_args_is_help=True,
    help="Lanes that do not flow: list and show them, hold, release, skip the head of one.",
)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="LANE…", help="Names of lanes; a held message without a lane is named by its id."
    ),
]
One = Annotated[str, typer.Argument(metavar="LANE", help="The name of a lane.")]
KindOption = Annotated[str | None, typer.Option(help="Only of this kind: filing, outbound.")]
Destination = Annotated[str | None, typer.Option(help="Only deliveries to this destination.")]
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@group.command("list")
def list_(
    config: setup.Config = None,
    kind: KindOption = None,
    destination: Destination = None,
    state: Annotated[
        str | None, typer.Option(help=f"Only in this state: {', '.join(lane_reading.STATES)}.")
    ] = None,
    code: acting.Code = None,
    after: Annotated[str | None, typer.Option(help="Go on after this lane.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    json: setup.AsJson = False,
) -> None:
    """List the lanes that do not flow, and what each waits for.

        carnet lanes list
        carnet lanes list --kind outbound --destination dmp --state waiting
        carnet lanes list --code mapping.code_held --json

    A lane is one patient's: of filing, or of deliveries to one destination, or to one recipient there (the name ends in
    a mark of the address; without it all of them are meant). In a lane nothing overtakes. held: a
    message of it waits for a person, or a person holds the lane (held by). waiting: in filing, for an earlier message
    that is on its way; to a destination, for a person to say whether the head arrived. retrying: the head is tried
    again by itself. released, skipped: on its way again.
    Messages without a patient have no lane: `carnet messages list --state held`.

    JSON, one line a lane: {"lane", "kind", "destination", "state", "since", "head", "head_state", "reason",
    "attempts", "next_try_at", "held_by", "hold_reason"}, then {"after": lane} when there is more, and
    {"orphans": […]} where something is left of sources and destinations that are no longer configured.

    Exit codes: 0 every lane flows, 1 some do not, 2 usage or set-up.
    """
    acting.expect(kind, ("filing", "outbound"), "--kind")
    acting.expect(state, lane_reading.STATES, "--state")
    begin = None if after is None else lane_names.parse(after)
    ledger = opened.open_ledger(config)
    lines, more = _gather(ledger, kind, destination, state, code, begin, limit)
    if json:
        for line in lines:
            output.tell(_plain(line))
        if more is not None:
            output.tell({"after": str(more)})
    elif lines:
        now = datetime.now(UTC)
        output.table(
            "",
            ("lane", "state", "since", "head", "reason", "held by"),
            [
                (
                    line.name,
                    line.state,
                    f"{output.ago(line.since, now)} ago",
                    line.head,
                    line.reason,
                    line.held_by,
                )
                for line in lines
            ],
        )
    else:
        output.aside().print("every lane flows")
    if more is not None and not json:
        output.aside().print(f"more: --after {more}")
    left = orphaned.remark(ledger, json)
    raise typer.Exit(output.FOUND if lines or left else output.GOOD)


@group.command()
def show(lane: One, config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Show one lane: why it waits, who holds it, and what is in it, in order (the first fifty).

        carnet lanes show filing:5f0c8a41d29be377

    JSON: what `carnet lanes list` gives of it, and "behind": [{"name", "state", "since", "reason", "place"}], the head
    first.

    Exit codes: 0 shown, 1 there is nothing in this lane, 2 usage or set-up.
    """
    name = lane_names.parse(lane)
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        found = lane_reading.one(connection, name)
        behind = lane_reading.behind(connection, name)
    if found is None:
        output.aside().print("there is nothing in this lane: it flows")
        raise typer.Exit(output.FOUND)
    if json:
        output.tell({**_plain(found), "behind": behind})
        return
    rows: list[tuple[str, object]] = [
        ("lane", found.name),
        ("state", f"{found.state} since {found.since.isoformat(timespec='seconds')}"),
        ("because", output.because(found.reason)),
        ("attempts", found.attempts or ""),
        ("next try", found.next_try_at.isoformat() if found.next_try_at else ""),
        ("held by", f"{found.held_by}: {found.hold_reason}" if found.held_by else ""),
    ]
    output.table("", ("", ""), [row for row in rows if row[1]])
    output.say()
    output.table(
        "in order",
        ("id", "state", "reason", "place"),
        [(one.name, one.state, one.reason, one.place) for one in behind],
    )


@group.command()
def hold(
    lanes: Names = None,
    reason: acting.Reason = "",
    by: By = "operator",
    config: setup.Config = None,
    yes: acting.Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Let nothing of a lane go on until it is released; other patients' lanes do not notice.

        carnet lanes hold filing:5f0c8a41d29be377 --reason "identity team looks at it"

    New messages are received and answered as ever, and wait. What a worker has in its hands at this moment is finished.

    JSON, one line a lane: {"id", "done", "outcome"}.

    Exit codes: 0 held, 1 somebody holds one already, 2 usage or set-up.
    """
    acting.expect_reason(reason)
    names = [str(_lane(name)) for name in _named(lanes)]
    ledger = opened.open_ledger(config)
    acting.confirm(f"{len(names)} lanes are to be held", len(names), yes)
    act = acting.act_of(by, reason)
    _each(ledger, names, lambda name: operating.hold(ledger.engine, _lane(name), act), "held", json)


@group.command()
def release(
    lanes: Names = None,
    every: Annotated[
        bool, typer.Option("--all", help="All held lanes that the filters leave.")
    ] = False,
    kind: KindOption = None,
    destination: Destination = None,
    code: acting.Code = None,
    reason: acting.Reason = "",
    by: By = "operator",
    config: setup.Config = None,
    yes: acting.Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Let a lane go on: take back a person's hold, or else take its head up again from the start.

        carnet lanes release filing:5f0c8a41d29be377
        carnet lanes release --all --code identity.conflict --yes
        carnet lanes release 01a1e6a0-3f2c-7c11-9a55-0d8f1b2c3d4e

    A head that is taken up may be held again, where the cause is still there. A delivery that is tried again later is
    tried at once. Of a delivery that may have arrived say first which it is: `carnet parked release`.

    JSON, one line a lane: {"id", "done", "outcome"}.

    Exit codes: 0 released, 1 something was left as it was, 2 usage or set-up.
    """
    acting.expect(kind, ("filing", "outbound"), "--kind")
    if bool(lanes) == every or (lanes and (kind or destination or code)):
        raise _nothing_named()
    named = _named(lanes) if lanes else []
    ledger = opened.open_ledger(config)
    found = _all_held(ledger, kind, destination, code) if every else named
    acting.confirm(f"{len(found)} lanes are to go on", len(found), yes)
    act = acting.act_of(by, reason)

    def one(name: str) -> Done:
        if _UUID.fullmatch(name):
            return _of_message(ledger, name, act, "release")
        return operating.release(ledger.engine, _lane(name), act)

    _each(ledger, found, one, "released", json)


@group.command()
def skip(
    lanes: Names = None,
    reason: acting.Reason = "",
    by: By = "operator",
    config: setup.Config = None,
    yes: acting.Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Settle the head of a lane as skipped, and let the lane go on in order.

        carnet lanes skip filing:5f0c8a41d29be377 --reason "sender withdrew it, ticket 4711"
        carnet lanes skip outbound:dmp:0000013200000007 --reason "refused for ever, told them"

    A skipped message is not filed, now or later; its bytes are kept. Only what stands still is skipped: a held message,
    a delivery of unknown outcome or that is tried again and again. In a lane that you hold it is whatever is first, and
    your hold stays.

    JSON, one line a lane: {"id", "done", "outcome"}.

    Exit codes: 0 skipped, 1 something was left as it was, 2 usage or set-up.
    """
    acting.expect_reason(reason)
    names = _named(lanes)
    ledger = opened.open_ledger(config)
    acting.confirm(f"the heads of {len(names)} lanes are to be skipped", len(names), yes)
    act = acting.act_of(by, reason)

    def one(name: str) -> Done:
        if _UUID.fullmatch(name):
            return _of_message(ledger, name, act, "skip")
        wanted = _lane(name)
        with reading(ledger.engine) as connection:
            head = lane_reading.head_number(connection, wanted)
        if head is None:
            return Done("flows", left={name: "flows"})
        return operating.skip(ledger.engine, wanted, head, act)

    _each(ledger, names, one, "skipped", json)


def _each(
    ledger: opened.Ledger,
    names: list[str],
    what: Callable[[str], Done],
    verb: str,
    json: bool,
) -> None:
    """Do it to one after the other, tell the queue, and say how it went."""
    total = Done(verb)
    for name in names:
        done = what(name)
        total.add(done)
        if done.taken and done.outcome != verb and not json:
            output.aside().print(acting.SENTENCES.get(done.outcome, ""), markup=False)
    acting.hand_over(ledger, total)
    acting.tell(total, verb, json=json)


def _of_message(ledger: opened.Ledger, message_id: str, act: Act, verb: str) -> Done:
    """A held message named by its id: alone where it has no lane, else as the head of its lane."""
    with reading(ledger.engine) as connection:
        found = message_detail.detail(connection, message_id)
    if found is None or found.line.state not in (State.HELD, State.RETRYING):
        return Done("not_held", left={message_id: "not_held"})
    if found.lane:
        name = lane_names.filing(found.lane)
        with reading(ledger.engine) as connection:
            if lane_reading.head_number(connection, name) != found.line.seq:
                return Done("no_head", left={message_id: "no_head"})
        if verb == "skip":
            return operating.skip(ledger.engine, name, found.line.seq, act)
        return operating.release(ledger.engine, name, act)
    take = operating.skip_message if verb == "skip" else operating.release_message
    return take(ledger.engine, found.line.seq, act)


def _gather(
    ledger: opened.Ledger,
    kind: str | None,
    destination: str | None,
    state: str | None,
    code: str | None,
    after: LaneName | None,
    limit: int,
) -> tuple[list[lane_reading.Line], LaneName | None]:
    """Pages until there are `limit` lines, or no more."""
    lines: list[lane_reading.Line] = []
    with reading(ledger.engine) as connection:
        while True:
            page = lane_reading.listing(
                connection,
                kind=kind,
                destination=destination,
                state=state,
                reason=code,
                after=after,
                limit=limit - len(lines),
            )
            lines += page.lines
            after = page.after
            if after is None or len(lines) >= limit:
                return lines, after


def _all_held(
    ledger: opened.Ledger, kind: str | None, destination: str | None, code: str | None
) -> list[str]:
    lines, after = [], None
    while True:
        some, after = _gather(ledger, kind, destination, "held", code, after, 500)
        lines += [str(line.name) for line in some]
        if after is None:
            return lines


def _lane(text: str) -> LaneName:
    name = lane_names.parse(text)
    if not name.number:
        raise SetupError(
            "usage.lane",
            where="LANE",
            reason="messages without a patient keep no order, so they have no lane",
            hint="name the message by its id: `carnet messages list --state held`",
        )
    return name


def _named(lanes: list[str] | None) -> list[str]:
    """What is named, each a lane or a message. Raises SetupError before anything is done to any of them."""
    if not lanes:
        raise _nothing_named()
    for name in lanes:
        if not _UUID.fullmatch(name):
            _lane(name)
    return lanes


def _nothing_named() -> SetupError:
    return SetupError(
        "usage.lane",
        where="LANE",
        reason="name the lanes that are meant",
        hint="`carnet lanes list` shows names; `release` takes --all with filters instead",
    )


def _plain(line: lane_reading.Line) -> dict[str, object]:
    return {
        "lane": str(line.name),
        "kind": line.name.kind,
        "destination": line.name.destination,
        "state": line.state,
        "since": line.since,
        "head": line.head,
        "head_state": line.head_state,
        "reason": line.reason,
        "attempts": line.attempts,
        "next_try_at": line.next_try_at,
        "held_by": line.held_by,
        "hold_reason": line.hold_reason,
    }
