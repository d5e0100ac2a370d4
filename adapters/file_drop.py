"""A folder in which partners put files, and one in which we put files for them (`file_writer`).

A file is claimed by renaming it into `working/<claim>/`, taken in message by message, then moved to `done/` or,
when any of its messages was refused for good, to `failed/` with the reasons beside it. What a crash leaves in
`working/` is taken up at the next start; the ledger knows the messages it already has.

File names may hold patients' names: they are never reported, only kept on the files themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import watchfiles

from adapters import hl7_batch
from adapters.file_folders import Claim, Folders, UnsettledError
from adapters.file_writer import FileDestinationSettings, destination
from adapters.hl7_header import ER7_MEDIA
from broker.contracts import Accept, Adapter, Notice
from broker.envelope import Envelope, Receipt
from broker.errors import SetupError

IN_FLIGHT = 32
EMPTY_PATIENCE = 10


class FileSourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder that is watched for files: HL7v2 (one, several, or a batch), CDA, FHIR, XDM archives.

    Fields:
        folder: Where partners put their files. It must exist.
        working: Where claimed files lie; empty means `.working` in the folder. On the same file system.
        done: Where files go whose every message was taken; empty means `done` in the folder.
        failed: Where the others go, with NAME.reason.txt; empty means `failed` in the folder.
        pattern: Names that are taken (`*.hl7`); hidden, .tmp and .part files never are.
        companion: Suffix of an empty file that says the file is complete: with `.ok`, NAME.hl7 waits for NAME.hl7.ok or NAME.ok. Empty: a file is complete when it no longer changes.
        stable_time: Without companion, how long size and time of a file must not change.
        scan_interval: How often to look, besides being told by the operating system.
        max_bytes: Largest file; a larger one goes to failed unread.
    """

    folder: Path
    working: Path | None = None
    done: Path | None = None
    failed: Path | None = None
    pattern: str = "*"
    companion: str = ""
    stable_time: timedelta = timedelta(seconds=2)
    scan_interval: timedelta = timedelta(seconds=5)
    max_bytes: int = 250_000_000


class FileSource:
    """Takes in one file after the other, oldest first; up to 32 messages of a file are on their way at once.

    While the broker says "not now" the file stays claimed, and those behind it wait, so that order is kept.
    """

    def __init__(self, name: str, settings: FileSourceSettings, notice: Notice) -> None:
        if settings.companion and not settings.companion.startswith("."):
            raise SetupError(
                "file.companion",
                where=f"source.{name}.companion",
                reason="a suffix begins with a dot",
                hint='write ".ok"',
            )
        self._name = name
        self._settings = settings
        self._notice = notice
        self._folders = Folders(
            folder=settings.folder,
            working=settings.working or settings.folder / ".working",
            done=settings.done or settings.folder / "done",
            failed=settings.failed or settings.folder / "failed",
            pattern=settings.pattern,
            companion=settings.companion,
        )
        self._address = ""
        self._is_available = True
        self._unclaimable = 0
        self._receipts: dict[tuple[Path, int], Receipt] = {}

    @property
    def address(self) -> str:
        return self._address

    async def run(self, accept: Accept) -> None:
        """Watch until cancelled; then let the messages on their way be answered, leave the rest, and return."""
        await asyncio.to_thread(self._folders.prepare, f"source.{self._name}")
        stopping, changed = asyncio.Event(), asyncio.Event()
        working = asyncio.create_task(self._work(accept, stopping, changed))
        watching = asyncio.create_task(self._watch(stopping, changed))
        self._address = self._settings.folder.absolute().as_uri()
        try:
            await asyncio.shield(working)
        finally:
            self._address = ""
            stopping.set()
            changed.set()
            await asyncio.gather(working, watching)

    # -- when ----------------------------------------------------------------------------------------------

    async def _watch(self, stopping: asyncio.Event, changed: asyncio.Event) -> None:
        """Wake the worker when the operating system reports a change. Without it the scans still come."""
        while not stopping.is_set():
            try:
                async for _ in self._changes(stopping):
                    changed.set()
            except (OSError, RuntimeError):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.scan_interval.total_seconds()):
                        await stopping.wait()

    def _changes(self, stopping: asyncio.Event) -> AsyncIterator[object]:
        return watchfiles.awatch(
            self._settings.folder,
            watch_filter=None,
            recursive=False,
            debounce=200,
            step=20,
            rust_timeout=500,
            yield_on_timeout=False,
            stop_event=stopping,
        )

    async def _work(self, accept: Accept, stopping: asyncio.Event, changed: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        claims: list[Claim] = []
        recovered = False
        while not stopping.is_set():
            changed.clear()
            pause = self._settings.scan_interval.total_seconds()
            try:
                if not recovered:
                    claims = await asyncio.to_thread(self._folders.recover)
                    recovered = True
                pause = min(pause, await asyncio.to_thread(self._claim, claims, loop.time()))
                self._available(yes=True)
                pause = min(pause, await self._take_in(claims, accept, stopping))
            except OSError as error:
                self._available(yes=False, why=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await changed.wait()

    def _claim(self, claims: list[Claim], now: float) -> float:
        """Claim what is complete, at the end of `claims`; the seconds until something else may be."""
        seconds = self._settings.stable_time.total_seconds()
        ready, next_look = self._folders.ready(
            now, stable_seconds=seconds, empty_seconds=seconds * EMPTY_PATIENCE
        )
        unclaimable = 0
        for path in ready:
            try:
                claim = self._folders.claim(path)
            except PermissionError:
                unclaimable += 1
                continue
            if claim is not None:
                claims.append(claim)
        if unclaimable > self._unclaimable:
            self._refused("file.unclaimable")
        self._unclaimable = unclaimable
        return next_look

    def _available(self, *, yes: bool, why: str = "") -> None:
        if yes != self._is_available:
            self._is_available = yes
            event = "source_back" if yes else "source_unavailable"
            self._notice(event, {"source": self._name} | ({"code": why} if why else {}))

    # -- what ----------------------------------------------------------------------------------------------

    async def _take_in(self, claims: list[Claim], accept: Accept, stopping: asyncio.Event) -> float:
        """Take in what is claimed, in order; the seconds after which to look again at what is left."""
        while claims and not stopping.is_set():
            claim = claims[0]
            try:
                wait = await self._file(claim, accept, stopping)
            except FileNotFoundError:
                self._refused("file.vanished")
                wait = None
            except UnsettledError:
                return self._settings.stable_time.total_seconds()
            if wait is not None:
                return wait
            claims.pop(0)
            self._receipts = {k: v for k, v in self._receipts.items() if k[0] != claim.path}
        return self._settings.scan_interval.total_seconds()

    async def _file(self, claim: Claim, accept: Accept, stopping: asyncio.Event) -> float | None:
        """Take in one file. None when it is finished, else the seconds after which to try the rest of it."""
        try:
            data = await asyncio.to_thread(claim.read, self._settings.max_bytes)
        except PermissionError:
            await self._fail(claim, "file.unreadable", "Carnet may not read this file.")
            return None
        if data is None:
            await self._fail(claim, "size.exceeded", "The file is larger than this source accepts.")
            return None
        if not data.strip():
            await self._fail(claim, "file.empty", "The file is empty.")
            return None
        batch = hl7_batch.split(data)
        if batch is not None and "batch.no_trailer" in batch.defects:
            text = (
                "A batch header without its trailer: the file may be cut. Nothing of it was taken."
            )
            await self._fail(claim, "batch.no_trailer", text)
            return None
        for defect in batch.defects if batch else ():
            self._notice("repaired", {"source": self._name, "name": defect})
        bodies = batch.messages if batch else (data,)
        wait = await self._messages(claim, data, bodies, accept, stopping, is_hl7=batch is not None)
        if wait is not None:
            return wait
        reasons = self._reasons(claim, len(bodies))
        await asyncio.to_thread(self._folders.finish, claim, reasons)
        return None

    async def _messages(
        self,
        claim: Claim,
        data: bytes,
        bodies: tuple[bytes, ...],
        accept: Accept,
        stopping: asyncio.Event,
        *,
        is_hl7: bool,
    ) -> float | None:
        """Hand over every message that has no final receipt yet; seconds to wait when one was "not now"."""
        digest = hashlib.sha256(data).hexdigest()
        left = [
            index
            for index in range(1, len(bodies) + 1)
            if (claim.path, index) not in self._receipts
        ]
        for start in range(0, len(left), IN_FLIGHT):
            if stopping.is_set():
                return self._settings.scan_interval.total_seconds()
            chunk = left[start : start + IN_FLIGHT]
            receipts = await asyncio.gather(
                *(
                    accept(self._envelope(bodies[index - 1], digest, index, is_hl7=is_hl7))
                    for index in chunk
                )
            )
            waits = [r.retry_after for r in receipts if r.outcome != "accepted" and r.retry_after]
            for index, receipt in zip(chunk, receipts, strict=True):
                if receipt.outcome == "accepted" or not receipt.retry_after:
                    self._receipts[claim.path, index] = receipt
            if waits:
                return max(0.1, max(waits).total_seconds())
        return None

    def _envelope(self, body: bytes, digest: str, index: int, *, is_hl7: bool) -> Envelope:
        is_zip = body.startswith(b"PK\x03\x04")
        return Envelope(
            source=self._name,
            body=body,
            received_at=datetime.now(UTC),
            media=ER7_MEDIA if is_hl7 else "application/zip" if is_zip else "",
            keys={"file_sha256": digest, "file_index": str(index)},
            hurried=True,
        )

    def _reasons(self, claim: Claim, count: int) -> str:
        """What NAME.reason.txt says; empty when every message was taken."""
        lines = []
        for index in range(1, count + 1):
            receipt = self._receipts[claim.path, index]
            if receipt.outcome != "accepted":
                place = f" at {receipt.where}" if receipt.where else ""
                lines.append(
                    f"message {index} of {count}: {receipt.code}{place}\n    {receipt.text}\n"
                )
                self._refused(receipt.code)
        if not lines:
            return ""
        taken = count - len(lines)
        return (
            f"{taken} of {count} messages were taken in and must not be sent again.\n"
            "Correct these and put them, alone, in the folder again:\n\n" + "".join(lines)
        )

    async def _fail(self, claim: Claim, code: str, text: str) -> None:
        self._refused(code)
        reasons = f"file: {code}\n    {text}\n    Correct it and put it in the folder again.\n"
        await asyncio.to_thread(self._folders.finish, claim, reasons)

    def _refused(self, code: str) -> None:
        self._notice("refused_at_door", {"source": self._name, "code": code})


ADAPTER = Adapter(
    name="file_drop",
    summary="Files in a folder: HL7v2 singly or in batches, CDA, FHIR and XDM archives",
    source_settings=FileSourceSettings,
    destination_settings=FileDestinationSettings,
    source=FileSource,
    destination=destination,
    verifiable="set files_stay = true where nobody takes the files away, or remove `verifiable`",
)
