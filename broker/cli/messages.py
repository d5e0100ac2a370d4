"""`carnet messages`: the ledger, message by message."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from broker import archive_reading, installation, search_keys
from broker import timeline as story
from broker.audit import trail
from broker.cli import opened, output, replay, setup
from broker.cli.rule_words import FILTERED, Sentences
from broker.database.engine import reading, writing
from broker.errors import SetupError
from broker.events import REASONS
from broker.records import lane_names, message_detail, messages_reading
from broker.values import State

group = typer.Typer(
    no_args_is_help=True,
    help="Look at received messages: list, show, timeline, search by what they are about; and read them again.",
)
group.command("replay")(replay.replay)

Id = Annotated[
    str, typer.Argument(metavar="ID", help="A message id, its number, or the sender's control id.")
]
Before = Annotated[
    int | None, typer.Option(help="Go on below this position (the `before` of the last page).")
]
Limit = Annotated[int, typer.Option(min=1, max=50, help="How many at most.")]


@group.command("list")
def list_(
    config: setup.Config = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    state: Annotated[
        str | None,
        typer.Option(help=f"Only in this state: {', '.join(s.name.lower() for s in State)}."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this reason code.")] = None,
    before: Before = None,
    limit: Limit = 50,
    json: setup.AsJson = False,
) -> None:
    """List messages, newest first.

        carnet messages list --state parked
        carnet messages list --source lab --reason mapping.none --json

    JSON, one line a message: {"seq", "id", "source", "received_at", "day", "format", "type", "size", "control_id",
    "state", "reason", "place", …}, with the "sentence" of the rule that filtered it, if one did; then {"before": position} when there is more.

    Exit codes: 0 shown, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    with reading(ledger.engine) as connection:
        page = messages_reading.listing(
            connection,
            source=source,
            state=_state(state),
            reason=reason,
            before=before,
            limit=limit,
        )
    _page(page, json, Sentences(ledger))


@group.command()
def show(
    message: Id,
    config: setup.Config = None,
    reveal: Annotated[
        bool,
        typer.Option(
            "--reveal", help="Print the bytes as received. They are health data: this is audited."
        ),
    ] = False,
    motive: Annotated[str, typer.Option(help="Why, for the trail; required with --reveal.")] = "",
    operator: Annotated[
        str, typer.Option(envvar="CARNET_OPERATOR", help="Who, for the trail.")
    ] = "operator",
    json: setup.AsJson = False,
) -> None:
    """Show where one message stands and why.

        carnet messages show 0193…-…
        carnet messages show MSG00001 --json
        carnet messages show 0193…-… --reveal --motive "ticket 4711"

    Of a message that was pruned it says in which archive it is; JSON: {"id", "seq", "source", "day", "archive"}.

    Exit codes: 0 shown, 1 no such message (or several of that control id), 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    if reveal and not motive:
        raise SetupError(
            "usage.motive", where="--reveal", reason="needs a reason", hint='add --motive "…"'
        )
    found = _one(ledger, message, json)
    with reading(ledger.engine) as connection:
        archive = archive_reading.holding(connection, found.line.seq)
    if json and not reveal:
        output.tell(
            _plain(found) | _filtered_by(found.line, Sentences(ledger)) | {"archive": archive}
        )
        return
    if reveal:
        _reveal(ledger, found, operator, motive, archive)
        return
    _detail(found, Sentences(ledger), archive)


@group.command()
def timeline(message: Id, config: setup.Config = None, json: setup.AsJson = False) -> None:
    """Show what happened to one message, step by step, with its deliveries.

        carnet messages timeline MSG00001

    Each step with its reason, in words where it has one: from the bytes to every answer of every partner. A replay names
    the message it was read again from, and that one each of its replays.

    An answer that came later names the message it came as; what a person decided names who and why.

    JSON, one line a step: {"at", "step", "microseconds", "outcome", "words", "by", "why", "message"}; null for what a
    step does not have.

    Exit codes: 0 shown, 1 no such message, 2 usage or set-up.
    """
    ledger = opened.open_ledger(config)
    found = _one(ledger, message, json)
    with reading(ledger.engine) as connection:
        steps = story.of(connection, found)
    rules = Sentences(ledger)

    def said(outcome: str) -> str:
        return _words(outcome) or rules.of_step(found.mapping_set, outcome)

    if json:
        for step in steps:
            output.tell(
                {
                    "at": step.at,
                    "step": step.name,
                    "microseconds": step.microseconds,
                    "outcome": step.outcome,
                    "words": said(step.outcome),
                    "by": step.by or None,
                    "why": step.why or None,
                    "message": step.message or None,
                }
            )
        return
    rows = [
        (
            step.at.isoformat(timespec="milliseconds"),
            step.name,
            "" if step.microseconds is None else step.microseconds,
            _told(step, said(step.outcome)),
        )
        for step in steps
    ]
    output.table(f"message {found.line.id}", ("at", "step", "#µs", "outcome"), rows)


def _told(step: story.Step, words: str) -> str:
    """How a step ended, the message that said so, and who decided it why: one cell."""
    outcome = f"{step.outcome}: {words}" if words else step.outcome
    message = f"message {step.message}" if step.message and step.message not in step.name else ""
    person = (
        f"by {step.by}: {step.why}" if step.by and step.why else f"by {step.by}" * bool(step.by)
    )
    return "; ".join(filter(None, (outcome, message, person)))


def _words(outcome: str) -> str:
    """What an outcome says to people, where it ends in a reason code (`CON-07 deny account.opposed`)."""
    code = outcome.rpartition(" ")[2]
    return REASONS[code].en if code in REASONS else ""


@group.command()
def find(
    kinds: Annotated[
        list[str], typer.Argument(metavar="KIND…", help=f"Of: {', '.join(search_keys.GROUPS)}.")
    ],
    config: setup.Config = None,
    before: Before = None,
    limit: Limit = 50,
    json: setup.AsJson = False,
) -> None:
    """Find messages by what they are about: a patient, a stay, an order, a document. Whatever format they came in.

    The values are read from standard input, one line a KIND, so that they stand in no shell history and no process
    list. `order` is whoever's number it is, placer's, filler's or accession; `patient` an INS or a local number; `stay`
    a visit or an account number; a patient by name and birth date (name_birth) is `NAME|1954-02-01`; `sender` the
    application that sent it (MSH-3), or its facility where it names none. Of several KINDs a message has to have each.

    What waits, is held or was parked is found too. An HL7v2 message that could not be read is found by the numbers that
    stand in its header, patient, stay and orders.

        echo 4711 | carnet messages find order
        printf '4711\\nSIL\\n' | carnet messages find order sender
        printf '279035121518989\\nMATER\\n' | carnet messages find patient ward
        carnet messages find stay < stay.txt

    Exit codes: 0 found, 1 nothing found, 2 usage or set-up.
    """
    for kind in kinds:
        if kind not in search_keys.GROUPS:
            raise SetupError(
                "usage.kind",
                where="KIND",
                reason="no such kind of key",
                hint=", ".join(search_keys.GROUPS),
            )
    ledger = opened.open_ledger(config)
    secret = installation.digest_key(ledger.settings)
    wanted = []
    for kind in kinds:
        if sys.stdin.isatty():
            output.aside().print(f"value of {kind}, then Enter:")
        value = sys.stdin.readline().strip()
        wanted.append((kind, search_keys.digests_of(kind, value, secret)))
    rarest_first = sorted(wanted, key=lambda one: one[0] in search_keys.COMMON)
    with reading(ledger.engine) as connection:
        page = messages_reading.by_keys(
            connection, [digests for _, digests in rarest_first], before=before, limit=limit
        )
    _page(page, json, Sentences(ledger))
    if not page.lines:
        raise typer.Exit(output.FOUND)


def _state(name: str | None) -> State | None:
    if name is None:
        return None
    try:
        return State[name.upper()]
    except KeyError as error:
        known = ", ".join(s.name.lower() for s in State)
        raise SetupError(
            "usage.state", where="--state", reason="no such state", hint=known
        ) from error


def _one(ledger: opened.Ledger, name: str, as_json: bool) -> message_detail.Detail:
    """The message that is meant. One that left for an archive: where it is, and the command ends."""
    with reading(ledger.engine) as connection:
        lines = message_detail.find(connection, name)
        found = message_detail.detail(connection, lines[0].id) if len(lines) == 1 else None
        places = [] if lines else archive_reading.where(connection, ledger.indexes(), name)
    if found is not None:
        return found
    if lines:
        output.aside().print(f"{len(lines)} messages have this control id: name one by its id")
        for line in lines:
            output.aside().print(f"  {line.id}  {line.source}  {line.state.name.lower()}")
    elif places:
        _archived(places[0], as_json)
        raise typer.Exit(output.GOOD)
    else:
        output.aside().print(
            "no such message; `carnet archive find` looks for a control id in archives"
        )
    raise typer.Exit(output.FOUND)


def _archived(place: archive_reading.Place, as_json: bool) -> None:
    """Where a message is that left the ledger."""
    entry = place.entry
    if as_json:
        output.tell({"id": entry.id, "seq": entry.seq, "source": entry.source, "day": entry.day, "archive": place.archive})  # fmt: skip
        return
    output.say(
        f"message {entry.id} of {entry.day} left the database for the archive {place.archive}:"
    )
    output.say(f"  carnet archive read {place.archive} {entry.id}")


def _page(page: messages_reading.Page, as_json: bool, rules: Sentences) -> None:
    if as_json:
        for line in page.lines:
            output.tell(_line(line) | _filtered_by(line, rules))
        if page.before is not None:
            output.tell({"before": page.before})
        return
    now = datetime.now(UTC)
    output.table(
        "",
        ("id", "source", "received", "type", "control id", "state", "reason", "place"),
        [
            (
                line.id,
                line.source,
                f"{output.ago(line.received_at, now)} ago",
                line.type or line.format,
                line.control_id,
                line.state.name.lower(),
                line.reason,
                _place(line, rules),
            )
            for line in page.lines
        ],
    )
    if page.before is not None:
        output.aside().print(f"more: --before {page.before}")


def _filtered_by(line: messages_reading.Line, rules: Sentences) -> dict[str, object]:
    """The sentence of the routing rule that filtered a message; nothing for any other fate."""
    if line.reason != FILTERED:
        return {}
    return {"sentence": rules.of(line.mapping_set, line.place)}


def _place(line: messages_reading.Line, rules: Sentences) -> str:
    """Where it failed, or by which routing rule it was filtered and what that rule says."""
    sentence = rules.of(line.mapping_set, line.place) if line.reason == FILTERED else ""
    return ": ".join(filter(None, (line.place, sentence)))


def _line(line: messages_reading.Line) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(line)
    return {**plain, "state": line.state.name.lower()}


def _plain(found: message_detail.Detail) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(found)
    plain.pop("line")
    plain.pop("trail")
    lane = str(lane_names.filing(found.lane)) if found.lane else None
    return {**_line(found.line), **plain, "lane": lane}


def _detail(found: message_detail.Detail, rules: Sentences, archive: str | None) -> None:
    line = found.line
    rows: list[tuple[str, object]] = [
        ("id", line.id),
        ("number", line.seq),
        ("source", line.source),
        ("sender", found.sender),
        ("received", line.received_at.isoformat()),
        (
            "answered",
            f"{found.answered_at.isoformat() if found.answered_at else ''} {found.answer_code}",
        ),
        ("what", f"{line.format} {line.type} {found.version}, {line.size} bytes"),
        (
            "characters",
            f"declared {found.charset_declared or '-'}, used {found.charset_used or '-'}",
        ),
        ("control id", line.control_id or "none"),
        ("state", f"{line.state.name.lower()} since {line.state_since.isoformat()}"),
        ("because", f"{line.reason}: {output.sentence(line.reason)}" if line.reason else ""),
        ("place", _place(line, rules)),
        ("lane", lane_names.filing(found.lane) if found.lane else ""),
        ("edited from", found.edited_from or ""),
        ("replay of", found.replay_of or ""),
        ("answers", found.answers or ""),
        ("mapping set", found.mapping_set or ""),
        ("sha-256", found.sha256),
        ("archive", archive or ""),
    ]
    output.table("", ("", ""), [row for row in rows if row[1]])


def _reveal(
    ledger: opened.Ledger,
    found: message_detail.Detail,
    operator: str,
    motive: str,
    archive: str | None,
) -> None:
    """Show the bytes; the trace of it is committed first. Bytes that left for an archive: where they are."""
    now = datetime.now(UTC)
    with writing(ledger.engine) as connection:
        body = message_detail.body(connection, found.line.seq)
        if body is None and archive is not None:
            output.aside().print(
                f"its bytes left the database: carnet archive read {archive} {found.line.id} --reveal"
            )
            raise typer.Exit(output.FOUND)
        trail.write(
            connection,
            [
                trail.Entry(
                    act="body_revealed",
                    at=now,
                    actor_kind="operator",
                    actor=operator,
                    subject=found.line.id,
                    motive=motive,
                    software="carnet",
                )
            ],
            now,
        )
    sys.stdout.buffer.write(
        (body or b"").replace(b"\r", b"\n") if found.line.format == "hl7v2" else body or b""
    )
    sys.stdout.buffer.flush()
