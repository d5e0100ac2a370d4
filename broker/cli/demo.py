"""`carnet demo`: the whole broker with sample messages, a guided tour, and with --check a proof of it."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from broker import reconcile
from broker.access import Viewer, parse_viewer
from broker.audit import trail, verify
from broker.cli import demo_site, fates, opened, output, setup
from broker.cli import story as tale
from broker.cli.audit import said
from broker.database.engine import reading as reading_of
from broker.parsing import hl7v2
from broker.records import messages_reading, reading
from broker.rules import decide

SETTLE_SECONDS = 40.0
DISCHARGE = "11490-0"
_WAIT = 0.05


@dataclass(slots=True)
class Tour:
    """What was seen, for the tour and for the proof. `faults` is empty when everything was as promised."""

    ledger: opened.Ledger
    rules: decide.Rules
    patient: int
    balance: messages_reading.Balance
    answers: list[tuple[demo_site.Sample, list[str]]]
    seen: dict[str, reading.Listing] = field(default_factory=dict)
    decision: str = ""
    reconciled: list[reconcile.Reconciliation] = field(default_factory=list)
    verified: verify.Verified | None = None
    faults: list[str] = field(default_factory=list)


def demo(
    check: Annotated[
        bool, typer.Option("--check", help="Verify everything the tour says, then stop.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the demo. Default: a temporary one.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the temporary folder afterwards.")
    ] = False,
    story: Annotated[
        bool,
        typer.Option(
            "--story", help="Tell one person's story instead, from the letter to the reopening."
        ),
    ] = False,
    database: Annotated[
        str,
        typer.Option(
            envvar="CARNET_STORY_DATABASE",
            help="With --story: an empty database. Default: SQLite in the folder.",
        ),
    ] = "",
    json: setup.AsJson = False,
) -> None:
    """Start the broker on this machine, send it sample messages of invented patients, and show what became of them.

    Nothing to install or configure: SQLite, the embedded queue, free ports. It stays up until Ctrl-C, so that the
    commands it names can be tried in another shell.

        carnet demo
        carnet demo --check
        carnet demo --data ./demo --keep
        carnet demo --story --check

    The story: six weeks of silence open a space; reports are filed; a physician reads and the patient is told; a
    podiatrist finds no sign of the discharge report; an emergency; a block; closing and reopening. Days pass by a clock
    that is moved. It ends today, so that the commands it names show what it told.

    JSON (with --check): {"good", "faults", "seconds", "received", "fates", "beside", "addresses"}; of the story {"good",
    "faults", "seconds", "chapters": [{"title", "at", "said", "looks": [{"command", "exit"}]}]}.

    Exit codes: 0 as promised, 1 something was not, 2 it could not start.
    """
    folder = data or Path(tempfile.mkdtemp(prefix="carnet-demo-"))
    # Drained alike, and by Ctrl-C also where a shell began this in the background, with Ctrl-C ignored.
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, signal.default_int_handler) for one in wanted]
    try:
        tell = partial(tale.run, database=database) if story else run
        good = tell(folder, check=check, as_json=json)
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)
        if data is None and not keep:
            shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(output.GOOD if good else output.FOUND)


def run(folder: Path, *, check: bool, as_json: bool = False) -> bool:
    """The whole demo in a folder; says whether everything was as promised."""
    begun = time.monotonic()
    site = demo_site.Site(demo_site.prepare(folder))
    with demo_site.log_to(folder / "carnet.log") as real:
        screen = Console(file=real, highlight=False, soft_wrap=True)
        with _progress(screen) as progress:
            bar = progress.add_task("starting the broker", total=None)
            roles = site.start()
            try:
                tour = _drive(site, progress, bar)
            except BaseException:
                site.stop.set()
                roles.join()
                raise
        try:
            if not as_json:
                show(tour, site, folder, time.monotonic() - begun)
            if not check:
                _stay(screen, roles)
        finally:
            site.stop.set()
            roles.join()
    if site.code:
        tour.faults.append(f"the broker ended with {site.code}")
    seconds = round(time.monotonic() - begun, 1)
    _verdict(tour, site, seconds, check=check, as_json=as_json)
    return not tour.faults


def _drive(site: demo_site.Site, progress: Progress, bar: object) -> Tour:
    """Send everything, wait until it is settled, and look at it from every side."""
    samples = demo_site.samples()
    fates, beside = demo_site.expected(samples)
    before = _balance(opened.Ledger(site.settings))
    ledger = opened.Ledger(site.settings)
    answers: list[tuple[demo_site.Sample, list[str]]] = []
    senders = demo_site.Senders(site)
    deadline = time.monotonic() + SETTLE_SECONDS
    try:
        for sample in samples:
            progress.update(bar, description=f"sending {sample.path.name} by {sample.send_by}")  # type: ignore[arg-type]  # Rich's own id
            answers.append((sample, [answer.outcome for answer in senders.send(sample)]))
            if sample.send_by == "file_drop":
                # The folder is watched, not listened to: wait for its messages so that the tour's order is the samples'.
                _await(site, ledger, before.received + _received_so_far(samples, sample), deadline)
    finally:
        senders.close()
    wanted = before.received + fates.total()
    for done in demo_site.settled(site, ledger, wanted, deadline):
        progress.update(bar, description=f"filing: {done} of {wanted} settled")  # type: ignore[arg-type]  # Rich's own id
    progress.update(bar, description="looking at it from every side")  # type: ignore[arg-type]  # Rich's own id
    tour = Tour(
        ledger=ledger,
        rules=decide.load(site.settings.rules.folder, site.settings.rules.switched),
        patient=_main_patient(ledger, samples),
        balance=_balance(ledger),
        answers=answers,
    )
    tour.faults += _answers_as_promised(answers)
    tour.faults += _balance_as_promised(tour.balance, before, dict(fates), dict(beside))
    _look(tour)
    _prove(tour, site, deadline)
    return tour


def _received_so_far(samples: list[demo_site.Sample], last: demo_site.Sample) -> int:
    upto = samples[: samples.index(last) + 1]
    return demo_site.expected(upto)[0].total()


def _await(site: demo_site.Site, ledger: opened.Ledger, received: int, deadline: float) -> None:
    while _balance(ledger).received < received and time.monotonic() < deadline:
        site.stop.wait(_WAIT)


def _balance(ledger: opened.Ledger) -> messages_reading.Balance:
    with reading_of(ledger.engine) as connection:
        return messages_reading.balance(connection)


def _main_patient(ledger: opened.Ledger, samples: list[demo_site.Sample]) -> int:
    """The patient of the first sample, found by what the message names; 0 when there is none."""
    for authority, value in hl7v2.patient_keys(samples[0].path.read_bytes()):
        for system in (authority, "ins"):
            found = reading.find_patient(ledger.engine, system, value)
            if found is not None:
                return found
    return 0


# --- what must be true ------------------------------------------------------------------------------------------


def _answers_as_promised(answers: list[tuple[demo_site.Sample, list[str]]]) -> Iterator[str]:
    for sample, outcomes in answers:
        wanted = "refused" if sample.expected == "refused" else "accepted"
        for outcome in outcomes:
            if outcome != wanted:
                yield f"{sample.path.name} was answered '{outcome}', expected '{wanted}'"


def _balance_as_promised(
    found: messages_reading.Balance,
    before: messages_reading.Balance,
    fates: dict[str, int],
    beside: dict[str, int],
) -> Iterator[str]:
    """The samples' own fates; a folder that was used before knows them all already."""
    if not found.closes:
        yield "the balance does not close"
    if before.received:
        return
    if dict(found.fates) != fates:
        yield f"the fates are {dict(found.fates)}, expected {fates}"
    if dict(found.beside) != beside:
        yield f"beside the balance stands {dict(found.beside)}, expected {beside}"


def _look(tour: Tour) -> None:
    """The record as a physician and as a podiatrist, and what the operator is told."""
    if not tour.patient:
        tour.faults.append("the patient of the samples is not in the records")
        return
    viewers = {
        name: parse_viewer(f"{name},consent=explicit") for name in ("physician", "podiatrist")
    }
    for name, viewer in viewers.items():
        tour.seen[name] = reading.listing(
            tour.ledger.engine,
            viewer,
            tour.patient,
            decide=tour.rules.reading,
            trail=trail.write,
            now=datetime.now(UTC),
        )
    letters = [
        item.row.id for item in tour.seen["physician"].items if item.row.type_code == DISCHARGE
    ]
    if not letters:
        tour.faults.append("the physician does not see the discharge report")
        return
    if any(item.row.id in letters for item in tour.seen["podiatrist"].items):
        tour.faults.append("the podiatrist sees the discharge report")
    for letter in letters:
        if not _read(tour, viewers["physician"], letter):
            tour.faults.append("the physician cannot read the discharge report")
        if _read(tour, viewers["podiatrist"], letter) != reading.NOTHING:
            tour.faults.append(
                "the podiatrist is not answered as if the discharge report did not exist"
            )
    made = reading.hypothetical(
        tour.ledger.engine,
        viewers["podiatrist"],
        letters[0],
        decide=tour.rules.reading,
        now=datetime.now(UTC),
    )
    if made is None or made.allowed or not made.rule:
        tour.faults.append("the decision does not name its rule")
        return
    tour.decision = (
        f"rule {made.rule}, rules {made.rules_version}: {decide.explain(tour.rules, made)}"
    )


def _read(tour: Tour, viewer: Viewer, document: str) -> reading.ReadResult:
    return reading.read(
        tour.ledger.engine,
        viewer,
        document,
        decide=tour.rules.reading,
        trail=trail.write,
        now=datetime.now(UTC),
    )


def _prove(tour: Tour, site: demo_site.Site, deadline: float) -> None:
    """Reconcile every day there is, and verify the trail once the scheduler has sealed it."""
    ledger = tour.ledger
    with reading_of(ledger.engine) as connection:
        days = messages_reading.days(connection)
    for day in days:
        result = reconcile.reconcile(
            ledger.engine, day, zone=ledger.settings.site.zone, now=datetime.now(UTC)
        )
        tour.reconciled.append(result)
        tour.faults += [f"reconcile {day}: {finding.text}" for finding in result.findings]
    while True:
        tour.verified = verify.verify(ledger.engine)
        if tour.verified.segments or time.monotonic() > deadline or site.stop.wait(_WAIT):
            break
    if not tour.verified.is_good:
        tour.faults.append("the audit trail does not verify")
    if not tour.verified.segments:
        tour.faults.append("the audit trail was not sealed in time")


# --- the tour ---------------------------------------------------------------------------------------------------


def show(tour: Tour, site: demo_site.Site, folder: Path, seconds: float) -> None:
    """The guided tour."""
    say = output.say
    config = f"--config {folder / 'carnet.toml'}"
    files = len(tour.answers)
    say()
    say(f"[bold]1. Accounted for[/]  {files} files by MLLP, HTTP and file drop in {seconds:.1f} s")
    say(f"   {fates.balance_line(tour.balance)}")
    for sample, _ in tour.answers:
        if sample.expected != "filed":
            say(f"   [dim]{sample.expected:9} {escape(sample.path.name)}: {escape(sample.why)}[/]")
    say()
    say("[bold]2. One record, seen by two professions[/]  the same patient, invented")
    for name, listing in tour.seen.items():
        say(f"   {name} sees {len(listing.items)} documents")
        for item in listing.items:
            mark = " [bold]← the discharge report[/]" if item.row.type_code == DISCHARGE else ""
            title = item.title or item.row.kind
            say(
                f"     {item.row.sort_at:%Y-%m-%d}  {escape(item.row.type_code or '-'):8} {escape(title)}{mark}"
            )
    say("   To the podiatrist the discharge report does not exist: no line, no gap, no number.")
    say(f"   The operator is told why: {escape(tour.decision)}")
    say()
    say("[bold]3. Proved, not only shown[/]")
    for result in tour.reconciled:
        mark = "[green]agrees ✓[/]" if result.closes else "[bold red]does not agree[/]"
        say(f"   reconcile {result.day}: {mark} ({', '.join(result.checks)})")
    if tour.verified is not None:
        say(f"   audit trail {said(tour.verified)}")
    say()
    say("[bold]4. Where to look next[/]  in another shell")
    for name, address in sorted(site.addresses.items()):
        say(f"   {name} listens on {escape(address)}")
    for command in (
        f"carnet status {config}",
        f"carnet messages list --state parked {config}",
        f"carnet record list --as podiatrist,consent=explicit --patient {tour.patient} {config}",
        f"carnet decide --profession podiatrist --type {DISCHARGE} {config}",
        f"carnet simulate --rate 20 --seconds 10 --to {site.address_of('mllp')}",
        f"carnet reconcile {config}",
        "carnet demo --story",
    ):
        say(f"   [cyan]{escape(command)}[/]")
    say()


def _verdict(
    tour: Tour, site: demo_site.Site, seconds: float, *, check: bool, as_json: bool
) -> None:
    if as_json:
        output.tell(
            {
                "good": not tour.faults,
                "faults": tour.faults,
                "seconds": seconds,
                "received": tour.balance.received,
                "fates": dict(tour.balance.fates),
                "beside": dict(tour.balance.beside),
                "addresses": site.addresses,
            }
        )
        return
    for fault in tour.faults:
        output.say(f"[bold red]not as promised[/]: {escape(fault)}")
    if check and not tour.faults:
        output.say(f"[green]checked ✓[/] everything is as promised, in {seconds} s")


def _progress(screen: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
    )


def _stay(screen: Console, roles: threading.Thread) -> None:
    """Stay up until Ctrl-C, or until the broker ends by itself."""
    try:
        screen.print("The broker stays up. Ctrl-C drains and ends.")
        while roles.is_alive():
            roles.join(0.5)
    except KeyboardInterrupt:
        screen.print("draining")
