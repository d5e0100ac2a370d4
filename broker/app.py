"""Assembly: the only place that constructs. One function a role; `supervisor` runs them as processes.

Long because it is the one place where everything meets.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import msgspec
import uvloop
from sqlalchemy import Engine

from broker import (
    at_rest,
    courier_journal,
    fault_points,
    installation,
    mapping_sets,
    memory,
    plugins,
    rendering,
    silence,
)
from broker.account_acts import Accounts
from broker.account_jobs import AccountJobs
from broker.accounts.notices import CHANNELS
from broker.answers import Answers
from broker.archive.shelf import Shelf
from broker.audit.atna import Forward, Receiver, tls_context
from broker.audit.keys import KeyFolder
from broker.circuit import Circuit
from broker.contracts import (
    INBOUND,
    Accept,
    Adapter,
    Destination,
    Notice,
    Queue,
    Source,
    Verifiable,
)
from broker.courier_journal import Journal
from broker.courier_watch import CourierWatch, Hired
from broker.database import migrate
from broker.database.engine import open_engine
from broker.delivery import Courier, Manner
from broker.document import Document
from broker.envelope import Envelope, Receipt
from broker.errors import SetupError, TransientError
from broker.hand_over import HandOver
from broker.hops import Loops
from broker.intake import Intake, Limits
from broker.mapping import catalogue
from broker.notice_sending import Notifier, Ways
from broker.notice_texts import Templates
from broker.pipeline import Pipeline
from broker.pressure import Bounds, Pressure
from broker.records.patients import PatientRow
from broker.retention import Keeper
from broker.routing.load import of_site
from broker.rules import decide
from broker.schedule import Job, Schedule
from broker.settings import Destination as DestinationSettings
from broker.settings import Settings, host_port
from broker.silence import Silence
from broker.telemetry import Telemetry, hearing_libraries
from broker.telemetry_pages import Snapshots, snapshot_folder
from broker.web import listener
from broker.worker import Worker

_DATABASE_PAUSE = 1.0
_TOGETHER_SECONDS = 10.0
"""So long may roles that start together on a new SQLite file be in each other's way."""

Ready = Callable[[dict[str, str]], None]
"""Told once a role is up: its name, and the address of each of its listeners."""


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def run_role(
    settings: Settings,
    role: str,
    index: int,
    stop: threading.Event,
    ready: Ready = lambda _: None,
    clock: Clock = utc_now,
    *,
    is_patient: bool = False,
) -> None:
    """Run one role in this process until `stop` is set, then drain. `clock` is another than the machine's in a story.

    is_patient: wait for a database that is away at the start, instead of raising.
    Raises: SetupError when something it needs is wrong, TransientError when it is away.
    """
    fault_points.arm(os.environ, f"{role}-{index}", production=settings.site.production)
    engine = open_engine(settings.database.url)
    telemetry = Telemetry(role, writer=str(index), level=settings.telemetry.log_level)
    with hearing_libraries(telemetry):
        if not _has_database(settings, engine, telemetry, stop, clock, is_patient=is_patient):
            return
        snapshots = Snapshots(telemetry, snapshot_folder(settings))
        snapshots.start()
        telemetry.emit("role_started", role=role)

        def up(addresses: dict[str, str]) -> None:
            memory.settled()
            telemetry.ready(role, True)
            ready(addresses)

        try:
            _ROLES[role](settings, index, stop, engine, telemetry, up, clock)
        finally:
            telemetry.emit("role_stopped", role=role)
            telemetry.ready(role, False)
            snapshots.stop()
            engine.dispose()


def _has_database(
    settings: Settings,
    engine: Engine,
    telemetry: Telemetry,
    stop: threading.Event,
    clock: Clock,
    *,
    is_patient: bool,
) -> bool:
    """Bring the database up to date; False when `stop` was set while it was away.

    SQLite refuses at once who opens a new file while another switches it to WAL: that is waited for in any case. So is
    a table to migrate that something else uses: between two tries all others go on with their work.
    """
    is_told = False
    patient_until = time.monotonic() + (_TOGETHER_SECONDS if engine.dialect.name == "sqlite" else 0)
    while not stop.is_set():
        try:
            migrate.upgrade(engine, clock())
            at_rest.attach(engine, settings, clock())
        except TransientError as error:
            is_in_use = error.reason == migrate.IN_USE
            if not (is_patient or is_in_use) and time.monotonic() > patient_until:
                raise
            if (is_patient or is_in_use) and not is_told:
                telemetry.emit("database_awaited", code=error.code, where=error.where)
                is_told = True
            stop.wait(_DATABASE_PAUSE)
        else:
            return True
    return False


def _gateway(
    settings: Settings,
    index: int,
    stop: threading.Event,
    engine: Engine,
    telemetry: Telemetry,
    ready: Ready,
    clock: Clock,
) -> None:
    # On SQLite commits run on a thread that waits for the disk; the event loop must not keep it waiting for the
    # interpreter afterwards (5 ms each time by default). The threads of the queue gain by it too.
    sys.setswitchinterval(0.0005)
    uvloop.run(_listen(settings, index, stop, engine, telemetry, ready, clock))


async def _listen(
    settings: Settings,
    index: int,
    stop: threading.Event,
    engine: Engine,
    telemetry: Telemetry,
    ready: Ready,
    clock: Clock,
) -> None:
    hand_over = HandOver(lambda: plugins.open_queue(settings), telemetry)
    hand_over.start()
    pressure = Pressure(
        engine,
        [settings.site.data_folder],
        Bounds(settings.intake.min_free_bytes, settings.intake.max_backlog),
        telemetry,
    )
    await asyncio.to_thread(pressure.start)
    policies = {name: source.on_conflict for name, source in settings.sources.items()}
    intake = Intake(
        engine,
        writer=f"gateway-{index}",
        zone=settings.site.zone,
        key=installation.digest_key(settings),
        on_conflict=lambda source: policies.get(source, "accept"),
        hand_over=lambda work: hand_over(INBOUND, work),
        telemetry=telemetry,
        clock=clock,
        limits=Limits(
            max_batch=settings.intake.max_batch,
            max_batch_bytes=settings.intake.max_batch_bytes,
            max_pending_bytes=settings.intake.max_waiting_bytes,
            max_bytes=settings.intake.max_bytes,
        ),
        pressure=lambda: pressure.reason,
    )
    committing = asyncio.create_task(intake.run(), name="intake")
    sources = sources_of(settings, intake.notice)
    listening = [
        asyncio.create_task(source.run(_received_by(intake.accept, clock)), name=name)
        for name, source in sources.items()
    ]
    stopped = asyncio.create_task(asyncio.to_thread(stop.wait), name="stop")
    announced = asyncio.create_task(_announce(sources, ready), name="announce")
    try:
        ended, _ = await asyncio.wait(
            {*listening, committing, stopped}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in ended - {stopped}:
            task.result()
    finally:
        stop.set()
        announced.cancel()
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        intake.close()
        await asyncio.gather(committing, return_exceptions=True)
        intake.stop()
        await asyncio.to_thread(hand_over.stop)
        await asyncio.to_thread(pressure.stop)
        await stopped


def _received_by(accept: Accept, clock: Clock) -> Accept:
    """What a source calls. Sources stamp what they receive with the machine's time; under another clock it is that."""
    if clock is utc_now:
        return accept

    async def stamped(envelope: Envelope) -> Receipt:
        return await accept(msgspec.structs.replace(envelope, received_at=clock()))

    return stamped


async def _announce(sources: dict[str, Source], ready: Ready) -> None:
    """Say the addresses as soon as every source has one."""
    # A source is a plug-in and says its address by having one; there is nothing to wait on but that.
    while not all(source.address for source in sources.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    ready({name: source.address for name, source in sources.items()})


def _worker(
    settings: Settings,
    index: int,
    stop: threading.Event,
    engine: Engine,
    telemetry: Telemetry,
    ready: Ready,
    clock: Clock,
) -> None:
    os.nice(settings.worker.nice)
    queue = plugins.open_queue(settings, consumer=index, consumers=settings.worker.processes)
    try:
        pipeline = pipeline_of(settings, engine, telemetry, f"worker-{index}", clock)
        ready({})
        Worker(
            pipeline,
            queue,
            telemetry,
            batch=settings.worker.batch,
            gather=timedelta(milliseconds=settings.worker.gather_ms),
        ).run(stop)
    finally:
        queue.close()


def _courier(
    settings: Settings,
    _index: int,
    stop: threading.Event,
    engine: Engine,
    telemetry: Telemetry,
    ready: Ready,
    clock: Clock,
) -> None:
    installed = plugins.adapters()
    boot = courier_journal.this_boot()
    rules = decide.load(settings.rules.folder, settings.rules.switched)

    def refusal(patient: PatientRow) -> str | None:
        decision = rules.filing(patient, now=clock())
        return None if decision.allowed else decision.reason

    def hire(name: str, destination: DestinationSettings) -> Hired:
        made = _destination(name, destination, installed)
        queue = plugins.open_queue(settings)
        random = Random()  # noqa: S311 - jitter, not a secret
        courier = Courier(
            name,
            made,
            Manner(
                retry=destination.retry,
                is_idempotent=destination.idempotent,
                is_verifiable=destination.verifiable,
                is_for_record=destination.for_record,
                pause=destination.pause,
                gather=timedelta(milliseconds=settings.worker.gather_ms),
                expects=destination.expects,
            ),
            Circuit(destination.circuit, random.random),
            Journal(settings.site.data_folder / "couriers" / f"{name}.journal", boot),
            engine=engine,
            queue=queue,
            refusal=refusal,
            telemetry=telemetry,
            clock=clock,
            random=random,
        )
        return Hired(courier.run, queue.close)

    watches = [
        CourierWatch(name, partial(hire, name, destination), engine, telemetry, clock)
        for name, destination in settings.destinations.items()
    ]
    threads = [
        threading.Thread(target=watch.run, args=(stop,), name=watch.name) for watch in watches
    ]
    for thread in threads:
        thread.start()
    ready({})
    for thread in threads:
        thread.join()


def _destination(
    name: str, settings: DestinationSettings, installed: Mapping[str, Adapter]
) -> Destination:
    """Raises: SetupError when the adapter sends nothing, or cannot be asked what the settings say it can."""
    make = installed[settings.adapter].destination
    if make is None:
        raise SetupError("adapter.no_destination", where=f"destination.{name}.adapter")
    made = make(name, settings.options)
    if settings.verifiable and not isinstance(made, Verifiable):
        raise SetupError(
            "adapter.not_verifiable",
            where=f"destination.{name}.verifiable",
            reason=f"'{settings.adapter}' with these settings cannot ask a partner what it has",
            hint=installed[settings.adapter].verifiable or "remove `verifiable`",
        )
    return made


def _scheduler(
    settings: Settings,
    _index: int,
    stop: threading.Event,
    engine: Engine,
    telemetry: Telemetry,
    ready: Ready,
    clock: Clock,
) -> None:
    notifier = notifier_of(settings, engine, telemetry, clock)
    queue = plugins.open_queue(settings)
    try:
        ready({})
        Schedule(
            engine,
            queue,
            telemetry,
            clock,
            sweep_every=timedelta(seconds=settings.scheduler.sweep_seconds),
            sweep_grace=timedelta(seconds=settings.scheduler.sweep_grace_seconds),
            seal_every=timedelta(seconds=settings.scheduler.seal_seconds),
            destinations=settings.destinations,
            retention=settings.retention,
            keep=lambda is_stopped: keeper_of(
                settings, engine, telemetry, clock, is_stopped=is_stopped
            ).run(),
            more=lambda queue: [
                *_account_jobs(settings, engine, telemetry, queue, notifier, clock),
                Job(
                    Silence(engine, telemetry, clock, settings.sources, settings.site.zone).look,
                    silence.EVERY,
                ),
            ],
            signer=KeyFolder(installation.audit_keys(settings)).signer,
            forward=_trail_receiver(settings, engine, clock),
        ).run(stop)
    finally:
        queue.close()
        notifier.close()


def keeper_of(
    settings: Settings,
    engine: Engine,
    telemetry: Telemetry,
    clock: Callable[[], datetime] = utc_now,
    *,
    is_stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[str, int], None] = lambda *_: None,
) -> Keeper:
    """Who archives and prunes, by the settings."""
    shelf = Shelf(settings.retention.folder, installation.archive_key(settings))
    return Keeper(engine, shelf, settings.retention, telemetry, clock, is_stopped, progress)


def _account_jobs(
    settings: Settings,
    engine: Engine,
    telemetry: Telemetry,
    queue: Queue,
    notifier: Notifier,
    clock: Clock,
) -> list[Job]:
    """What happens to spaces by the clock, and the notices that are due."""
    jobs = AccountJobs(
        engine, accounts_of(settings, engine), telemetry, clock, partial(queue.put, INBOUND)
    )
    every = timedelta(seconds=settings.notices.every_seconds)
    return [
        Job(jobs.move, every),
        Job(jobs.check, timedelta(hours=1)),
        Job(notifier.send, every, is_slow=True),
    ]


def accounts_of(settings: Settings, engine: Engine) -> Accounts:
    """The acts on spaces of this installation."""
    return Accounts(engine, key=installation.digest_key(settings), zone=settings.site.zone)


def notifier_of(
    settings: Settings,
    engine: Engine,
    telemetry: Telemetry,
    clock: Callable[[], datetime] = utc_now,
) -> Notifier:
    """Sends notices by the destinations that `[notices]` names. Raises: SetupError."""
    installed = plugins.adapters()
    named = {channel: getattr(settings.notices, channel) for channel in CHANNELS}
    named = {channel: name for channel, name in named.items() if name}
    ways = Ways(
        destinations={
            channel: _destination(name, settings.destinations[name], installed)
            for channel, name in named.items()
        },
        retries={channel: settings.destinations[name].retry for channel, name in named.items()},
        language=settings.notices.language,
        link=settings.notices.link,
        site=settings.site.name,
        key=installation.digest_key(settings),
    )
    random = Random()  # noqa: S311 - jitter, not a secret
    templates = Templates(settings.notices.folder)
    return Notifier(engine, ways, templates, telemetry, clock, random)


def _trail_receiver(settings: Settings, engine: Engine, clock: Clock) -> Callable[[], int] | None:
    """What sends the trail on, where the settings name a receiver. Raises: SetupError."""
    audit = settings.audit
    if not audit.receiver:
        return None
    context = tls_context(audit.ca, audit.certificate, audit.key)
    receiver = Receiver(*host_port(audit.receiver), context)
    return Forward(engine, receiver, settings.site.name, clock).run


def _web(
    settings: Settings,
    index: int,
    stop: threading.Event,
    engine: Engine,
    telemetry: Telemetry,
    ready: Ready,
    clock: Clock,
) -> None:
    secret = installation.digest_key(settings)
    listener.run(settings, engine, telemetry, secret, clock, stop, ready, index)


_ROLES: dict[str, Callable[..., None]] = {
    "gateway": _gateway,
    "worker": _worker,
    "courier": _courier,
    "scheduler": _scheduler,
    "web": _web,
}


def pipeline_of(
    settings: Settings,
    engine: Engine,
    telemetry: Telemetry,
    writer: str,
    clock: Callable[[], datetime] = utc_now,
) -> Pipeline:
    """The pipeline of one worker, with the mapping set and the rules of the settings."""
    routing = of_site(settings)
    mapper = mapping_sets.at_start(
        engine, settings.mappings.folders, writer, clock(), expect=routing
    )
    _expect_mappings(settings, mapper.mapping_set)

    def render(
        mappings: catalogue.MappingSet,
        destination: str,
        document: Document,
        attachments: Mapping[str, bytes],
    ) -> tuple[str, bytes] | None:
        given = settings.destinations[destination]
        if given.sends == "original":
            return None
        rendered = rendering.render(
            mappings, document, given.sends, attachments.__getitem__, mapping=given.mapping
        )
        return rendered.media, rendered.body

    return Pipeline(
        engine,
        mapper,
        mapping_sets.Watch(engine, mapping_sets.sets_folder(settings.site.data_folder), clock),
        decide.load(settings.rules.folder, settings.rules.switched),
        routing,
        for_record=frozenset(n for n, d in settings.destinations.items() if d.for_record),
        per_recipient={
            n: d.per_recipient for n, d in settings.destinations.items() if d.per_recipient
        },
        answers=Answers(
            {n: d.expects.sources for n, d in settings.destinations.items() if d.expects}, telemetry
        ),
        loops=Loops(settings.site.hop_limit, settings.site.loop_window),
        writer=writer,
        secret=installation.digest_key(settings),
        production=settings.site.production,
        render=render,
        telemetry=telemetry,
        clock=clock,
    )


def _expect_mappings(settings: Settings, mappings: catalogue.MappingSet) -> None:
    """Raises SetupError when a destination names a mapping that is not there or writes another format."""
    for name, destination in settings.destinations.items():
        if not destination.mapping:
            continue
        found = mappings.outbound.get(destination.mapping)
        form = rendering.FORMS.get(destination.sends)
        if found is None or form is None or found.format != form.mappings:
            raise SetupError(
                "mapping.unknown",
                where=f"destination.{name}.mapping",
                reason=f"no mapping '{destination.mapping}' writes what this destination sends",
                hint="`carnet mapping show` lists them",
            )


def sources_of(settings: Settings, notice: Notice) -> dict[str, Source]:
    """The configured sources, made by their adapters; what they report goes to `notice`."""
    installed = plugins.adapters()
    made: dict[str, Source] = {}
    for name, source in settings.sources.items():
        make = installed[source.adapter].source
        if make is None:
            raise SetupError("adapter.no_source", where=f"source.{name}.adapter")
        made[name] = make(name, source.options, notice)
    return made
