"""`carnet parked`: what cannot go on without a person, one by one or all of a kind.

Long because each act tells its options and its exit codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from broker import editing, installation, operating
from broker.acts import Act, Done
from broker.cli import acting, opened, orphaned, output, parked_showing, setup
from broker.cli.people import By
from broker.database.engine import reading
from broker.errors import SetupError
from broker.records import editing as originals
from broker.records import expectations, message_detail, parked
from broker.records.moving import AT_ONCE
from broker.values import State

group = typer.Typer(
    no_args_is_help=True,
    help="Parked messages, and deliveries that are parked or may have arrived: look, release, discard, edit.",
)

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID…", help="Message ids, and deliveries as `delivery:NUMBER`."),
]
One = Annotated[str, typer.Argument(metavar="ID", help="A message id, or `delivery:NUMBER`.")]
Every = Annotated[bool, typer.Option("--all", help="All that the filters leave.")]
Kind = Annotated[str | None, typer.Option(help="Only of this kind: message, delivery, answer.")]
Source = Annotated[str | None, typer.Option(help="Only of this source.")]
Destination = Annotated[str | None, typer.Option(help="Only deliveries to this destination.")]
DeliveryState = Annotated[
    str | None, typer.Option("--state", help="Only deliveries in this state: parked, unknown.")
]
_NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|delivery:(\d{1,19})")


@dataclass(slots=True)
class Chosen:
    """What a command is to take: numbers of messages and of deliveries, oldest first, and what is not there."""

    messages: list[int] = field(default_factory=list)
    deliveries: list[int] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.messages) + len(self.deliveries)


@dataclass(frozen=True, slots=True)
class Filters:
    """What `--all` is narrowed to. Deliveries of unknown outcome are taken only where they are asked for."""

    kind: str | None
    source: str | None
    destination: str | None
    state: str | None
    code: str | None
    as_sent: bool = False

    @property
    def narrow(self) -> bool:
        return any((self.kind, self.source, self.destination, self.state, self.code))

    @property
    def takes_messages(self) -> bool:
        return not (self.kind == "delivery" or self.destination or self.state or self.as_sent)


@group.command("list")
def list_(
    config: setup.Config = None,
    kind: Kind = None,
    source: Source = None,
    destination: Destination = None,
    state: DeliveryState = None,
    code: acting.Code = None,
    before: Annotated[
        int | None, typer.Option(help="With --kind: go on below this position.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many of a kind at most.")] = 50,
    json: setup.AsJson = False,
) -> None:
    """List parked messages, deliveries that are parked or of unknown outcome, and answers overdue, newest first.

        carnet parked list
        carnet parked list --kind message --source lab --code mapping.none
        carnet parked list --kind delivery --state unknown --json

    A parked message, or delivery, failed in a way that no further try changes; its lane goes on without it. A delivery
    of unknown outcome may have arrived; its lane waits until a person says. An answer is overdue where a delivery was
    sent and its partner was to answer later (`expects`), and has not: it is credited whenever it comes.

    JSON, one line a thing: {"kind": "message", "id", "source", "since", "reason", "place", …} or {"kind": "delivery",
    "id", "message_id", "source", "destination", "state", "since", "attempts", "answer_code", "reason", "place", …},
    or {"kind": "answer", "id", "message_id", "source", "destination", "since", "reason": "answer.overdue", "awaits", …},
    then {"kind", "before": position} for each kind that has more, and {"orphans": […]} where
    something is left of sources and destinations that are no longer configured.

    Exit codes: 0 nothing is parked, 1 something is, 2 usage or set-up.
    """
    acting.expect(kind, ("message", "delivery", "answer"), "--kind")
    acting.expect(state, parked.STATES, "--state")
    if before is not None and kind is None:
        raise SetupError(
            "usage.before", where="--before", reason="is a position of one kind", hint="add --kind"
        )
    ledger = opened.open_ledger(config)
    lines: list[dict[str, object]] = []
    more: list[tuple[str, int]] = []
    with reading(ledger.engine) as connection:

        def messages(top: int | None, most: int) -> tuple[list[dict[str, object]], int | None]:
            page = parked.messages(connection, source=source, reason=code, before=top, limit=most)
            return [parked_showing.message_line(line) for line in page.lines], page.before

        def deliveries(top: int | None, most: int) -> tuple[list[dict[str, object]], int | None]:
            found = parked.deliveries(
                connection,
                destination=destination,
                source=source,
                state=state,
                reason=code,
                before=top,
                limit=most,
            )
            return [parked_showing.delivery_line(line) for line in found.lines], found.before

        wanted = {"message": messages} if destination is None and state is None else {}
        wanted |= {"delivery": deliveries}

        def answers(top: int | None, most: int) -> tuple[list[dict[str, object]], int | None]:
            late = expectations.overdue(connection, destination=destination, before=top, limit=most)
            shown = [
                parked_showing.answer_line(one) for one in late if source in (None, one.source)
            ]
            return shown, late[-1].delivery_id if len(late) == most else None

        if state is None and code in (None, parked_showing.OVERDUE):
            wanted |= {"answer": answers}
        for name, read in wanted.items():
            if kind in (None, name):
                some, rest = _pages(read, before, limit)
                lines += some
                more += [(name, rest)] if rest is not None else []
    parked_showing.page(lines, more, json)
    left = orphaned.remark(ledger, json)
    raise typer.Exit(output.FOUND if lines or left else output.GOOD)


@group.command()
def show(
    thing: One,
    reveal: Annotated[
        bool,
        typer.Option(
            "--reveal",
            help="Print what the partner answered to each attempt of a delivery. It may be health data: this is audited.",
        ),
    ] = False,
    motive: Annotated[str, typer.Option(help="Why, for the trail; required with --reveal.")] = "",
    by: By = "operator",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Show one parked message or one delivery: why it stands still, its attempts, and what can be done.

        carnet parked show 01a1e6a0-3f2c-7c11-9a55-0d8f1b2c3d4e
        carnet parked show delivery:355056371400705 --json
        carnet parked show delivery:355056371400705 --reveal --motive "ticket 4711"

    What a partner answered is kept with each attempt, of a refusal the first 64 KB, until the bytes of the message are
    pruned. JSON with --reveal, one line an attempt: {"number", "answer", "unreadable"}.

    Exit codes: 0 shown, 1 there is no such thing, 2 usage or set-up.
    """
    number = _number_of(thing)
    ledger = opened.open_ledger(config)
    if reveal:
        if not motive:
            raise SetupError(
                "usage.motive", where="--reveal", reason="needs a reason", hint='add --motive "…"'
            )
        if number is None:
            raise SetupError(
                "usage.delivery",
                where=thing,
                reason="only deliveries have answers of a partner",
                hint="name one as delivery:NUMBER; `carnet messages show` reveals a message",
            )
        parked_showing.answers(ledger, number, by, motive, json)
        return
    if number is None:
        parked_showing.one_message(ledger, thing, json)
    else:
        parked_showing.one_delivery(ledger, number, json)


@group.command()
def release(
    ids: Ids = None,
    every: Every = False,
    kind: Kind = None,
    source: Source = None,
    destination: Destination = None,
    state: DeliveryState = None,
    code: acting.Code = None,
    as_sent: Annotated[
        bool,
        typer.Option(
            "--as-sent",
            help="The partner confirmed that these deliveries arrived: nothing is sent again. Needs --reason.",
        ),
    ] = False,
    reason: acting.Reason = "",
    by: By = "operator",
    config: setup.Config = None,
    yes: acting.Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Take parked things up again, oldest first: a message from the start, a delivery by sending it once more.

        carnet parked release 01a1e6a0-3f2c-7c11-9a55-0d8f1b2c3d4e
        carnet parked release --all --code mapping.none --source lab --yes
        carnet parked release delivery:355056371400705 --as-sent --reason "they have it, call of 9:40"

    A released message stands in its patient's lane where it stood: what is not settled yet waits for it. What was filed
    meanwhile is not filed again after it. A delivery of unknown outcome that is released arrives twice where it had
    arrived: ask first, and use --as-sent then. --all takes such deliveries only with --state unknown, or --as-sent.

    JSON, one line a thing: {"id", "done", "outcome"}.

    Exit codes: 0 released, 1 something was left as it was, 2 usage or set-up.
    """
    acting.expect_reason(reason, needed=as_sent)
    filters = Filters(kind, source, destination, state, code, as_sent)
    ledger = opened.open_ledger(config)
    chosen = _chosen(ledger, ids, every, filters)
    verb = "confirmed" if as_sent else "released"
    acting.confirm(_many(chosen, f"are to be {verb}"), len(chosen), yes)
    act = acting.act_of(by, reason)
    deliver = operating.confirm_deliveries if as_sent else operating.release_deliveries
    _take(ledger, chosen, act, operating.release_parked, deliver, verb, json)


@group.command()
def discard(
    ids: Ids = None,
    every: Every = False,
    kind: Kind = None,
    source: Source = None,
    destination: Destination = None,
    state: DeliveryState = None,
    code: acting.Code = None,
    orphaned_to: Annotated[
        str | None,
        typer.Option(
            "--orphaned",
            metavar="DESTINATION",
            help="Instead: all that is owed to a destination that is no longer configured.",
        ),
    ] = None,
    reason: acting.Reason = "",
    by: By = "operator",
    config: setup.Config = None,
    yes: acting.Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Settle parked things for good. Their bytes are kept, and the trail says who decided it, and why.

        carnet parked discard 01a1e6a0-3f2c-7c11-9a55-0d8f1b2c3d4e --reason "test message of their upgrade"
        carnet parked discard --all --code mapping.none --source lab --reason "ticket 4711" --yes

        carnet parked discard --orphaned old-partner --reason "replaced by dmp2" --yes

    The lane of a delivery of unknown outcome goes on. --all takes such deliveries only with --state unknown. --orphaned
    takes everything unsettled to a destination that the settings no longer name; configured again, it would be sent.
    Of a delivery that was sent and whose answer is overdue, the answer is awaited no longer; it stays sent.

    JSON, one line a thing: {"id", "done", "outcome"}.

    Exit codes: 0 discarded, 1 something was left as it was, 2 usage or set-up.
    """
    acting.expect_reason(reason)
    filters = Filters(kind, source, destination, state, code)
    ledger = opened.open_ledger(config)
    if orphaned_to is not None and (ids or every or filters.narrow):
        raise SetupError("usage.parked", where="--orphaned", reason="goes with no other choice")
    chosen = (
        _chosen(ledger, ids, every, filters)
        if orphaned_to is None
        else Chosen(deliveries=orphaned.deliveries(ledger, orphaned_to))
    )
    acting.confirm(_many(chosen, "are to be discarded"), len(chosen), yes)
    act = acting.act_of(by, reason)
    _take(
        ledger,
        chosen,
        act,
        operating.discard_parked,
        operating.discard_deliveries if orphaned_to is None else operating.discard_orphans,
        "discarded",
        json,
    )


@group.command()
def edit(
    message: Annotated[str, typer.Argument(metavar="ID", help="The id of a parked message.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The corrected message.")],
    reason: acting.Reason = "",
    by: By = "operator",
    config: setup.Config = None,
    json: setup.AsJson = False,
) -> None:
    """Receive the corrected bytes of a parked message as a new message, and discard the original as edited.

        carnet messages show 01a1e6a0-3f2c-7c11-9a55-0d8f1b2c3d4e --reveal --motive "ticket 4711" > message.hl7
        carnet parked edit 01a1e6a0-3f2c-7c11-9a55-0d8f1b2c3d4e message.hl7 --reason "birth date was in PID-8"

    Both happen in one commit. The original keeps its bytes; the new message names it (edited from), has a number of its
    own, and takes its turn behind what its patient's lane has by now. Line ends of an editor become segment ends.
    Delete the file afterwards: it holds health data.

    JSON: {"id", "done", "outcome", "message_id"}: the original, and the new message.

    Exit codes: 0 received, 1 the message is not parked (any more), 2 usage, set-up, or bytes that are no message.
    """
    acting.expect_reason(reason)
    if _number_of(message) is not None:
        raise SetupError("usage.edit", where="ID", reason=acting.SENTENCES["not_message"])
    body = setup.bytes_of(file)
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        found = message_detail.detail(connection, message)
        original = originals.original(connection, found.line.seq) if found else None
    if original is None or original.state != State.PARKED:
        acting.tell(Done(left={message: "not_parked"}), "edited", json=json)
        return
    done = editing.edit(
        ledger.engine,
        original,
        body,
        acting.act_of(by, reason),
        zone=ledger.settings.site.zone,
        key=installation.digest_key(ledger.settings),
    )
    acting.hand_over(ledger, done.done)
    if done.message_id is None:
        acting.tell(done.done, "edited", json=json)
        return
    if json:
        output.tell(
            {"id": message, "done": True, "outcome": "edited", "message_id": done.message_id}
        )
    else:
        output.say(f"received as {done.message_id}; {message} is discarded as edited")


_Read = Callable[[int | None, int], tuple[list[dict[str, object]], int | None]]


def _pages(
    read: _Read, before: int | None, limit: int
) -> tuple[list[dict[str, object]], int | None]:
    """Pages of one kind until there are `limit` lines, or no more."""
    lines: list[dict[str, object]] = []
    while True:
        some, before = read(before, limit - len(lines))
        lines += some
        if before is None or len(lines) >= limit:
            return lines, before


# --- choosing and taking ------------------------------------------------------------------------------------------


def _chosen(
    ledger: opened.Ledger, ids: Sequence[str] | None, every: bool, filters: Filters
) -> Chosen:
    """What is named, or with --all what the filters leave. Raises SetupError for what is no name, or nothing."""
    acting.expect(filters.kind, ("message", "delivery"), "--kind")
    acting.expect(filters.state, parked.STATES, "--state")
    if bool(ids) == every or (ids and filters.narrow):
        raise SetupError(
            "usage.parked",
            where="ID",
            reason="name what is meant, or take --all with filters",
            hint="`carnet parked list` shows ids",
        )
    with reading(ledger.engine) as connection:
        if every:
            return Chosen(
                parked.selected(connection, source=filters.source, reason=filters.code)
                if filters.takes_messages
                else [],
                parked.selected_deliveries(
                    connection,
                    destination=filters.destination,
                    source=filters.source,
                    state="unknown" if filters.as_sent else filters.state or "parked",
                    reason=filters.code,
                )
                if filters.kind != "message"
                else [],
            )
        chosen = Chosen()
        for name in ids or ():
            number = _number_of(name)
            if number is not None:
                chosen.deliveries.append(number)
            elif filters.as_sent:
                chosen.left[name] = "not_unknown"
            elif (found := message_detail.detail(connection, name)) is not None:
                chosen.messages.append(found.line.seq)
            else:
                chosen.left[name] = "not_parked"
        return chosen


def _take(
    ledger: opened.Ledger,
    chosen: Chosen,
    act: Act,
    messages: Callable[..., Done],
    deliveries: Callable[..., Done],
    verb: str,
    json: bool,
) -> None:
    """Round by round, oldest first; each round is one transaction, and the queue hears of it at once."""
    total = Done(verb, left=dict(chosen.left))
    for numbers, take in ((chosen.messages, messages), (chosen.deliveries, deliveries)):
        for at in range(0, len(numbers), AT_ONCE):
            done = take(ledger.engine, numbers[at : at + AT_ONCE], act)
            acting.hand_over(ledger, done)
            total.add(done)
    acting.tell(total, verb, json=json)


def _many(chosen: Chosen, what: str) -> str:
    return f"{len(chosen.messages):,} messages and {len(chosen.deliveries):,} deliveries {what}"


def _number_of(name: str) -> int | None:
    """The number of a delivery's name, None for a message id. Raises SetupError for what is neither."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise SetupError(
            "usage.parked",
            where="ID",
            reason="neither a message id nor delivery:NUMBER",
            hint="`carnet parked list` shows ids",
        )
    return int(found[1]) if found[1] else None
