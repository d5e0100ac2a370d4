"""A load of MLLP messages over many synchronous connections, every answer checked: for measurements and drills.

    python -m tests.benchmarks.load --to mllp://127.0.0.1:2575 --kind adt --messages 5000 --connections 32

A connection sends one message, waits for its answer, sends the next. An answer counts only when it is one MLLP frame
with MSA-1 = AA and MSA-2 = the control id sent. Prints one JSON object. With `--resilient` a lost connection is made
again and the unanswered message is sent again, byte for byte, as a hospital's interface engine does.
Exit code: 0 good; 1 an answer was bad, refused or missing; 2 nothing could be sent.

asyncio Protocols, not streams, and no work per message that could be done before: the generator shares the machine
with what it measures, so it says what it cost (`cpu_us_per_message`, `cpu_share` of one core).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import secrets
import signal
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast
from urllib.parse import urlsplit

import uvloop

from tests.benchmarks.messages import Next, sources

KINDS = ("adt", "oru", "a08-sequence")
_END = b"\x1c\r"
_RECONNECT_SECONDS = 0.05
_REFUSED_PAUSE_SECONDS = 0.2


@dataclass(slots=True)
class Tally:
    """What all connections counted together."""

    latencies: array[float] = field(default_factory=lambda: array("d"))
    bad: int = 0
    lost: int = 0
    resent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    log: TextIO | None = None


class Sender(asyncio.Protocol):
    """One synchronous connection: a message in flight at most."""

    __slots__ = (
        "_control_id", "_count", "_expected", "_frame", "_next", "_partial", "_sent_at", "_tally", "_transport",
        "ended", "failed", "lost", "stopping",
    )  # fmt: skip

    def __init__(self, source: Next, tally: Tally) -> None:
        self._next = source
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._partial = b""
        self._frame = b""
        self._control_id = b""
        self._expected = b""
        self._count = (0, 0)
        self._sent_at = 0.0
        self.stopping = False
        self.failed = False
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()

    @property
    def waits(self) -> bool:
        """A message was sent and not yet answered AA."""
        return bool(self._frame)

    def waits_since(self, instant: float) -> bool:
        """The message in hand was sent before `instant` (of time.monotonic)."""
        return bool(self._frame) and self._sent_at < instant

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._partial = b""
        self.lost.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.ended.is_set():
            self._tally.lost += 1
        self.lost.set()

    def begin(self) -> None:
        """Send the first message, or again the one in hand."""
        if self._frame:
            self._tally.resent += 1
            self._send()
        else:
            self._send_next()

    def drop(self) -> None:
        """Close the connection at once; `lost` is set when it is gone."""
        if self._transport is not None:
            self._transport.abort()

    def end(self) -> None:
        """No more messages: close."""
        self.ended.set()
        if self._transport is not None:
            self._transport.close()

    def _send_next(self) -> None:
        message = None if self.stopping else self._next()
        if message is None:
            self._frame = b""
            self.end()
            return
        self._control_id, self._frame, self._count = message
        self._expected = b"\rMSA|AA|" + self._control_id
        self._send()

    def _send(self) -> None:
        if self._transport is not None:
            self._sent_at = time.monotonic()
            self._transport.write(self._frame)

    def data_received(self, data: bytes) -> None:
        if self._partial:
            data = self._partial + data
        if data[-2:] != _END:
            self._partial = data
            return
        now = time.monotonic()
        self._partial = b""
        after = data.find(self._expected) + len(self._expected)
        # One frame, whole, for our message: a longer control id that begins like ours is not ours.
        if (
            after > len(self._expected)
            and data[after] in b"\r|"
            and data[0] == 0x0B
            and data.find(_END) == len(data) - 2
            and self._frame
        ):
            self._tally.latencies.append(now - self._sent_at)
            if self._tally.log is not None:
                patient, count = self._count
                self._tally.log.write(f"{self._control_id.decode()}\t{patient}\t{count}\n")
            self._send_next()
        else:
            self._not_accepted(data)

    def _not_accepted(self, data: bytes) -> None:
        code = _refusal(data, self._control_id)
        if code is None:
            self._tally.bad += 1
        else:
            self._tally.refused[code] += 1
        self.failed = True
        self.drop()


def _refusal(data: bytes, control_id: bytes) -> str | None:
    """MSA-1 of a proper answer to our message that is not AA; None when it is no answer to it at all."""
    if data.count(_END) != 1 or data[0] != 0x0B:
        return None
    for segment in data[1:-2].split(b"\r"):
        fields = segment.split(b"|")
        if fields[0] == b"MSA" and len(fields) > 2 and fields[2] == control_id:
            return fields[1].decode("ascii", "replace")
    return None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, where, and how patiently."""

    host: str
    port: int
    kind: str
    messages: int
    connections: int
    patients: int
    run: str
    resilient: bool = False
    seconds: float = 0.0
    timeout: float = 30.0


async def send_load(plan: Plan, tally: Tally) -> dict[str, Any]:
    """Send the whole load; returns the figures."""
    loop = asyncio.get_running_loop()
    given = sources(
        plan.kind,
        run=plan.run,
        patients=plan.patients,
        limit=plan.messages,
        connections=plan.connections,
        now=datetime.now(UTC),
    )
    senders = [Sender(source, tally) for source in given]
    await asyncio.gather(*(_connect(sender, plan) for sender in senders))
    gc.collect()
    gc.freeze()
    gc.disable()

    def stop() -> None:
        for sender in senders:
            sender.stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if plan.seconds:
        loop.call_later(plan.seconds, stop)
    cpu, begun = time.process_time(), time.monotonic()
    for sender in senders:
        sender.begin()
    watch = loop.create_task(_watch(senders, plan.timeout))
    await asyncio.gather(*(_see_through(sender, plan) for sender in senders))
    watch.cancel()
    elapsed, cpu = time.monotonic() - begun, time.process_time() - cpu
    return _figures(plan, tally, sum(sender.waits for sender in senders), begun, elapsed, cpu)


async def _see_through(sender: Sender, plan: Plan) -> None:
    """Wait until a connection has sent all it had; resilient: across losses and refusals."""
    while True:
        await sender.lost.wait()
        if sender.ended.is_set() or not plan.resilient:
            return
        if sender.stopping and not sender.waits:
            return
        # A refusal means "not now" here; a lost connection is tried again sooner.
        await asyncio.sleep(_REFUSED_PAUSE_SECONDS if sender.failed else _RECONNECT_SECONDS)
        sender.failed = False
        await _connect(sender, plan)
        sender.begin()


async def _connect(sender: Sender, plan: Plan) -> None:
    """Connect within the timeout, trying again when resilient. Raises OSError or TimeoutError when it is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + plan.timeout
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                await loop.create_connection(lambda: sender, plan.host, plan.port)
        except OSError:
            if not plan.resilient or loop.time() > deadline:
                raise
            await asyncio.sleep(_RECONNECT_SECONDS)
        else:
            return


async def _watch(senders: Sequence[Sender], patience: float) -> None:
    """Give up on answers that do not come: the connection is dropped, and its message counts as unanswered."""
    while True:
        await asyncio.sleep(min(1.0, patience / 4))
        late = time.monotonic() - patience
        for sender in senders:
            if sender.waits_since(late):
                sender.drop()


def _figures(
    plan: Plan, tally: Tally, missing: int, begun: float, elapsed: float, cpu: float
) -> dict[str, Any]:
    ordered = sorted(tally.latencies)
    answers = len(ordered)
    return {
        "kind": plan.kind,
        "connections": plan.connections,
        "run": plan.run,
        "answers": answers,
        "answers_per_second": answers / elapsed,
        "p50_ms": _percentile(ordered, 50),
        "p95_ms": _percentile(ordered, 95),
        "p99_ms": _percentile(ordered, 99),
        "max_ms": _percentile(ordered, 100),
        "bad": tally.bad,
        "refused": dict(tally.refused),
        "missing": missing,
        "lost_connections": tally.lost,
        "resent": tally.resent,
        "begun": begun,
        "seconds": elapsed,
        "cpu_us_per_message": cpu / answers * 1e6 if answers else 0.0,
        "cpu_share": cpu / elapsed,
    }


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank, in milliseconds; 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] * 1000


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="load", description=__doc__.split("\n")[0])
    parser.add_argument("--to", required=True, help="mllp://host:port")
    parser.add_argument("--kind", choices=KINDS, default="adt")
    parser.add_argument("--messages", type=int, default=0, help="0: as many as --seconds allow")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop sending after this long")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--patients", type=int, default=5000)
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one answer")
    parser.add_argument("--run", default="", help="at most 6 letters and digits, before each id")
    parser.add_argument("--resilient", action="store_true", help="reconnect and send again")
    parser.add_argument(
        "--out",
        type=Path,
        help="file of the answers AA in their order: control id, patient, count, tab separated",
    )
    options = parser.parse_args(arguments)
    if not options.messages and not options.seconds:
        parser.error("give --messages, --seconds or both")
    if not urlsplit(options.to).port or urlsplit(options.to).scheme != "mllp":
        parser.error("--to is written mllp://host:port")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    address = urlsplit(options.to)
    plan = Plan(
        host=address.hostname or "127.0.0.1",
        port=address.port or 0,
        kind=options.kind,
        messages=options.messages or sys.maxsize,
        connections=options.connections,
        patients=options.patients,
        run=options.run or secrets.token_hex(3),
        resilient=options.resilient,
        seconds=options.seconds,
        timeout=options.timeout,
    )
    tally = Tally(log=options.out.open("w") if options.out else None)
    try:
        figures = uvloop.run(send_load(plan, tally))
    except (OSError, ExceptionGroup) as error:
        sys.stderr.write(f"load: {options.to}: {error}\n")
        return 2
    finally:
        if tally.log is not None:
            tally.log.close()
    print(json.dumps(figures))
    is_bad = figures["bad"] or figures["missing"] or (tally.refused and not plan.resilient)
    return 1 if is_bad else 0


if __name__ == "__main__":
    sys.exit(main())
