"""What commands that decide share: who and why, a question before many, and the queue told afterwards."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from broker import plugins
from broker.acts import Act, Done
from broker.cli import opened, output
from broker.contracts import INBOUND, Work
from broker.errors import SetupError, TransientError

Reason = Annotated[
    str,
    typer.Option(help="Why, in your words, for the trail. Name no patient.", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before taking more than one.")]
Code = Annotated[str | None, typer.Option(help="Only with this reason code.")]

SENTENCES: Mapping[str, str] = {
    "changed": "somebody, or a worker, was there before you; look again",
    "already": "somebody holds it already",
    "flows": "nothing stands still there: it goes on by itself",
    "unknown": "its head may have arrived: say so with `carnet parked release --as-sent`, or send it again with "
    "`carnet parked release`",
    "being_sent": "it is being sent at this moment; look again in a while",
    "never_rendered": "it has no form that its destination takes, so there is nothing to send",
    "still_held": "your hold is taken back; a message of it is held for a reason of its own",
    "whole": "all that goes to a patient's recipients is held, and let go, together: name the lane without its last part",
    "not_unknown": "its outcome is known: --as-sent is for deliveries of unknown outcome",
    "no_head": "an earlier message of its lane is not settled: begin with that one",
    "not_held": "it does not stand still",
    "not_message": "only messages are edited; have the message sent again, or send the delivery again as it is",
    "not_parked": "it does not wait for a person",
}
"""What an act found where it changed nothing."""


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop long work between two batches."""
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def expect_reason(why: str, *, needed: bool = True) -> None:
    """Raises: SetupError("usage.reason") where a reason is wanted and none was given."""
    if needed and not why.strip():
        raise SetupError(
            "usage.reason", where="--reason", reason="needs a reason", hint='add --reason "…"'
        )


def act_of(by: str, why: str) -> Act:
    """The decision, made now: after whatever was asked."""
    return Act(by, why.strip(), datetime.now(UTC))


def expect(value: str | None, known: Sequence[str], where: str) -> None:
    """Raises: SetupError("usage.choice") when an option has none of the words it may have."""
    if value is not None and value not in known:
        raise SetupError("usage.choice", where=where, reason="no such word", hint=", ".join(known))


def confirm(what: str, many: int, yes: bool) -> None:
    """Ask before more than one is taken; Enter does not confirm. Raises: SetupError where nobody can be asked."""
    if many <= 1 or yes:
        return
    if not sys.stdin.isatty():
        raise SetupError(
            "usage.confirm", where="--yes", reason=f"{what}: nothing was done", hint="add --yes"
        )
    output.aside().print(what)
    if not typer.confirm("go on?", default=False, err=True):
        raise typer.Exit(output.FOUND)


def hand_over(ledger: opened.Ledger, done: Done) -> None:
    """Tell the queue what goes on, after the commit. Where it is away the sweep does, a little later."""
    topics: dict[str, Sequence[Work]] = {INBOUND: done.inbound} if done.inbound else {}
    topics |= {f"outbound.{name}": work for name, work in done.outbound.items() if work}
    if not topics:
        return
    try:
        queue = plugins.open_queue(ledger.settings)
        try:
            for topic, work in topics.items():
                queue.put(topic, work)
        finally:
            queue.close()
    except TransientError:
        output.aside().print("the queue is away: the sweep puts this back when it is there")


def tell(done: Done, verb: str, *, json: bool) -> None:
    """Say what was done and what was not, and end the command: 1 where something was left."""
    if json:
        for name in done.taken:
            output.tell({"id": name, "done": True, "outcome": done.outcome})
        for name, why in done.left.items():
            output.tell({"id": name, "done": False, "outcome": why})
    else:
        for name in done.taken[:SHOWN]:
            output.say(f"{verb} {name}")
        if len(done.taken) > SHOWN:
            output.say(f"… and {len(done.taken) - SHOWN:,} more")
        for name, why in list(done.left.items())[:SHOWN]:
            output.aside().print(f"left {name}: {SENTENCES.get(why, why)}", markup=False)
        if not done.taken and not done.left:
            output.aside().print("nothing to do")
    raise typer.Exit(output.FOUND if done.left else output.GOOD)


SHOWN = 20
"""Names a command prints for people, of all it took."""
