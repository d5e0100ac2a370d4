"""`carnet messages replay`: read stored messages again with the mappings of today, or see what that would do."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from broker import plugins
from broker import replay as runs
from broker.acts import Act
from broker.cli import acting, opened, output, replay_showing, setup
from broker.cli.mapping_diff import in_use
from broker.cli.people import By
from broker.contracts import INBOUND, Queue, Work
from broker.database.engine import reading
from broker.errors import SetupError, TransientError
from broker.mapper import Mapper
from broker.mapping import catalogue
from broker.mapping_sets import kept, sets_folder
from broker.pressure import Bounds, Pressure
from broker.records import messages_reading
from broker.replay import Replayer, Selection, Walk
from broker.routing.load import of_site
from broker.rules import decide
from broker.shadow import Shadow
from broker.telemetry import Telemetry
from broker.values import SEQ_MONTH_SHIFT, State

MOST_IN_FLIGHT = 1_000
"""Messages on their way at which a run waits: what partners send goes first."""

BUSY = "replay.busy"
_MOST_SETS = 4


def replay(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Messages by their ids.")
    ] = None,
    config: setup.Config = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Received from then on: 2026-11-23T08:00, in the site's zone, or with an offset."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Received before then. Default: up to now.")
    ] = None,
    day: Annotated[
        str | None, typer.Option(help="Received on this day: 2026-11-23, or today.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only of this MSH-9: ORU^R01, or ORU for all.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(help="Only with this fate: filed, filtered, delivered_only, skipped."),
    ] = None,
    mapping_set: Annotated[
        str | None,
        typer.Option(
            "--mapping-set",
            metavar="HASH",
            help="Only what was read with this mapping set: the beginning of its hash.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and touch nothing.")
    ] = False,
    with_: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FOLDER",
            help="Read with these mappings instead of the active set; once for each folder. A dry run.",
        ),
    ] = None,
    rules_with: Annotated[
        Path | None,
        typer.Option(
            "--rules-with",
            metavar="FOLDER",
            help="Decide with these rules, and compare with the site's. A dry run.",
        ),
    ] = None,
    deliver: Annotated[
        bool,
        typer.Option("--deliver", help="Owe what changes to its destinations again. Default: not."),
    ] = False,
    rate: Annotated[
        float, typer.Option(min=0.1, max=5_000, help="Messages a second, at most.")
    ] = 50,
    because: Annotated[
        str,
        typer.Option(
            "--because", "--reason", help="Why, in your words, for the trail. Name no patient."
        ),
    ] = "",
    by: By = "operator",
    yes: acting.Yes = False,
    json: setup.AsJson = False,
) -> None:
    """Read stored messages again, in the order they came, each in its patient's lane.

        carnet messages replay --day 2026-11-23 --source laboratory --type ORU^R01 --dry-run
        carnet messages replay --day 2026-11-23 --source laboratory --type ORU^R01 --because "ticket 4711"
        carnet messages replay --day 2026-11-23 --with next/mappings
        carnet messages replay 01a1e6a0-3f2c-7c11-9a55-0d8f1b2c3d4e --because "units were wrong"

    Begin with --dry-run: it says which paths of the documents would change, in how many messages, which decisions and
    routes would be others, and shows no value. With --with or --rules-with it is a shadow: mappings or rules that are
    not used yet, on a day that was.

    A message is received again as a new one that names its original. What is read as before is filtered
    (replay.unchanged); what is read otherwise becomes a new version of the same document; where a later message's
    content stands there by now, that stays (replay.superseded). What was never filed is filed. Consents of then do not
    win over those said since. Nothing is delivered again without --deliver.

    Held, waiting and parked messages are left: `carnet parked release` reads those again. Ctrl-C stops between two
    batches; the same command goes on where it stopped, and a message is never taken twice by one run. A run waits
    while the broker is busy.

    JSON: of a dry run one line a kind of change, decision and route, then {"kind": "summary", …}; of a run one line
    {"run", "replayed", "left", "is_over"}.

    Exit codes: 0 done and nothing left (dry run: nothing would change), 1 something was left or the run was stopped
    (dry run: something would change), 2 usage or set-up.
    """
    is_shadow = bool(with_ or rules_with)
    acting.expect_reason(because, needed=not (dry_run or is_shadow))
    ledger = opened.open_ledger(config)
    selection = _selection(ledger, ids, since, until, day, source, type_, state, mapping_set)
    if dry_run or is_shadow:
        _show(ledger, selection, with_, rules_with, deliver, json)
        return
    many = len(selection.ids) or 2
    acting.confirm(f"{_words(selection)} are to be received again", many, yes)
    _run(ledger, selection, acting.act_of(by, because), deliver=deliver, rate=rate, json=json)


# --- choosing -----------------------------------------------------------------------------------------------------


def _selection(
    ledger: opened.Ledger,
    ids: Sequence[str] | None,
    since: str | None,
    until: str | None,
    day: str | None,
    source: str | None,
    type_: str | None,
    state: str | None,
    mapping_set: str | None,
) -> Selection:
    """Raises: SetupError for what cannot be combined or read."""
    if day is not None and (since or until):
        raise _usage("--day", "names the whole range of time", "leave --since and --until out")
    if ids and (since or until or day or source or type_ or state or mapping_set):
        raise _usage("ID", "ids and filters are not combined", "name ids, or a range of time")
    if ids and len(ids) > runs.MOST_IDS:
        raise _usage("ID", f"more than {runs.MOST_IDS} ids", "name a range of time")
    if not (ids or since or day):
        raise runs.no_range()
    acting.expect(state, [one.name.lower() for one in State], "--state")
    low, high = _instant(ledger, since, "--since"), _instant(ledger, until, "--until")
    if day is not None:
        number = opened.parse_day(day, ledger.today())
        low = datetime(
            number // 10_000, number // 100 % 100, number % 100, tzinfo=ledger.settings.site.zone
        )
        high = low + timedelta(days=1)
    return Selection(
        since=low and low.astimezone(UTC),
        until=high and high.astimezone(UTC),
        source=source,
        type=type_,
        state=state,
        mapping_set=mapping_set,
        ids=tuple(dict.fromkeys(one.strip().lower() for one in ids or ())),
    )


def _instant(ledger: opened.Ledger, text: str | None, where: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise _usage(where, "not an instant", "write it like 2026-11-23T08:00") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=ledger.settings.site.zone)


def _usage(where: str, reason: str, hint: str) -> SetupError:
    return SetupError("usage.replay", where=where, reason=reason, hint=hint)


def _words(selection: Selection) -> str:
    if selection.ids:
        return f"{len(selection.ids):,} messages"
    until = f" until {selection.until:%Y-%m-%d %H:%M} UTC" if selection.until else ""
    return f"messages since {selection.since:%Y-%m-%d %H:%M} UTC{until}"


# --- a dry run ----------------------------------------------------------------------------------------------------


def _show(
    ledger: opened.Ledger,
    selection: Selection,
    with_: list[Path] | None,
    rules_with: Path | None,
    deliver: bool,
    json: bool,
) -> None:
    given = ledger.settings
    mapper = Mapper(catalogue.load(with_ or in_use(given)))
    rules = decide.load(given.rules.folder, given.rules.switched)
    now = datetime.now(UTC)
    shadow = Shadow(
        ledger.engine,
        mapper,
        decide.load(rules_with, given.rules.switched) if rules_with is not None else rules,
        of_site(given),
        per_recipient={
            n: d.per_recipient for n, d in given.destinations.items() if d.per_recipient
        },
        before=_sets_kept(ledger),
        rules_before=rules if rules_with is not None else None,
        production=given.site.production,
        now=now,
    )
    over = runs.walk(ledger.engine, selection, now)
    with _progress(over, json) as tell:
        for page in runs.pages(ledger.engine, selection, over, over.low - 1):
            shadow.look(page)
            tell(page.position, "")
    shadow.report.left["missing"] += len(over.missing)
    replay_showing.report(shadow.report, mapper.set_hash, delivers=deliver, json=json)
    differs = shadow.report.differs or +shadow.report.left
    raise typer.Exit(output.FOUND if differs else output.GOOD)


def _sets_kept(ledger: opened.Ledger) -> Callable[[str], Mapper | None]:
    """Mappers of sets that were used, by the beginning of their hash; a few are held at a time."""
    folder = sets_folder(ledger.settings.site.data_folder)
    made: dict[str, Mapper | None] = {}

    def before(beginning: str) -> Mapper | None:
        if not beginning:
            return None
        if beginning not in made:
            with reading(ledger.engine) as connection:
                folders = kept(connection, beginning, folder)
            if len(made) >= _MOST_SETS:
                made.pop(next(iter(made)))
            made[beginning] = _loaded(folders)
        return made[beginning]

    return before


def _loaded(folders: Sequence[Path] | None) -> Mapper | None:
    """None too where this version of Carnet cannot load a set of an earlier one."""
    if folders is None:
        return None
    try:
        return Mapper(catalogue.load(folders))
    except SetupError:
        return None


# --- a run --------------------------------------------------------------------------------------------------------


def _run(
    ledger: opened.Ledger, selection: Selection, act: Act, *, deliver: bool, rate: float, json: bool
) -> None:
    run, over, goes_on = runs.begin(ledger.engine, selection, act, delivers=deliver)
    if goes_on and not json:
        output.aside().print(
            f"going on with run {run.number}, begun {run.started_at:%Y-%m-%d %H:%M} UTC"
        )
    queue = plugins.open_queue(ledger.settings)
    stop = threading.Event()
    try:
        with _stopping(stop), _progress(over, json) as tell:
            replayer = Replayer(
                ledger.engine,
                zone=ledger.settings.site.zone,
                rate=rate,
                gate=_gate(ledger),
                hand_over=lambda work: _hand_over(queue, work),
                progress=tell,
                clock=lambda: datetime.now(UTC),
            )
            done = replayer.run(run, selection, over, act, stop)
    finally:
        queue.close()
    replay_showing.done(done, json=json)
    raise typer.Exit(output.GOOD if done.is_over and not done.left else output.FOUND)


def _gate(ledger: opened.Ledger) -> Callable[[], str]:
    """Why a run waits: no room for what partners send, or enough of it on its way."""
    given = ledger.settings
    pressure = Pressure(
        ledger.engine,
        [given.site.data_folder],
        Bounds(given.intake.min_free_bytes, given.intake.max_backlog),
        Telemetry("command", level="error", stream=io.StringIO()),
    )

    def reason() -> str:
        pressure.look()
        if pressure.reason:
            return pressure.reason
        with reading(ledger.engine) as connection:
            on_their_way = messages_reading.balance(connection).in_flight
        return BUSY if on_their_way >= MOST_IN_FLIGHT else ""

    return reason


def _hand_over(queue: Queue, work: Sequence[Work]) -> None:
    """The queue may be away: the sweep puts the work back when it is there."""
    try:
        queue.put(INBOUND, list(work))
    except TransientError:
        output.aside().print("the queue is away: the sweep puts this back when it is there")


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop a run between two batches."""
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(over: Walk, json: bool) -> Iterator[Callable[[int, str], None]]:
    """A bar over the numbers of the walk; without an end where they lie in several months, which leave gaps."""
    is_one_month = over.low >> SEQ_MONTH_SHIFT == over.top >> SEQ_MONTH_SHIFT
    total = over.top - over.low + 1 if is_one_month else None
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
    with Progress(*columns, console=output.aside(), transient=True, disable=json) as progress:
        task = progress.add_task("reading again", total=total)

        def tell(position: int, waits: str) -> None:
            what = WAITING.get(waits, f"waits: {waits}") if waits else "reading again"
            progress.update(task, completed=position - over.low + 1, description=what)

        yield tell


WAITING: Mapping[str, str] = {
    BUSY: "waits: messages are on their way",
    "pressure.disk": "waits: the disk is nearly full",
    "pressure.backlog": "waits: too much is unsettled",
}
