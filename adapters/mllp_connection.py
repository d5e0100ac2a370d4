"""One MLLP connection of a listener: frames in, answers out in the order the messages came.

An asyncio Protocol: no task per connection, and none per message where `accept` gives a future.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec

from adapters import mllp_frames
from adapters.haste import Haste
from adapters.hl7_header import ER7_MEDIA
from adapters.mllp_ack import acknowledge
from adapters.mllp_frames import FrameDecoder, Oversize
from adapters.network import certificate_names
from adapters.peers import Admission, AllowList
from broker.contracts import Accept, Notice
from broker.envelope import Envelope, Peer, Receipt

END_GRACE_SECONDS = 0.25
MAX_JUNK_BYTES = 4096
UNEXPECTED = Receipt(
    outcome="refused",
    code="internal",
    text="Carnet could not take this message now.",
    retry_after=timedelta(seconds=30),
)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may cost; times in seconds."""

    max_bytes: int
    max_held_bytes: int
    max_in_flight: int
    idle_seconds: float
    frame_seconds: float


class Listener:
    """What the connections of one listener share: the intake, the limits, and the list of themselves."""

    def __init__(
        self,
        *,
        name: str,
        accept: Accept,
        notice: Notice,
        limits: Limits,
        allow_list: AllowList,
        max_connections: int,
    ) -> None:
        self.name = name
        self.accept = accept
        self.notice = notice
        self.limits = limits
        self.allow_list = allow_list
        self.connections: set[Connection] = set()
        self.transports: set[Connection] = set()
        """Those whose transport still lives, the refused ones too: a listener ends when they are gone."""
        self.max_connections = max_connections
        self.handshakes: dict[Connection, float] = {}
        self.held_bytes = 0
        self.is_draining = False
        self.all_gone = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def has_room(self) -> bool:
        """Whether one more may come; the oldest that never sent a message makes room for it."""
        if len(self.connections) < self.max_connections:
            return True
        strangers = [c for c in self.connections if c.is_stranger]
        if not strangers:
            return False
        min(strangers, key=lambda connection: connection.opened_at).leave(
            "connections.exceeded", at_once=True
        )
        return True

    def refused(self, code: str, peer: str, where: str = "") -> None:
        """Report what was turned away before the ledger saw it."""
        fields = {"source": self.name, "code": code}
        fields |= {name: text for name, text in (("peer", peer), ("where", where)) if text}
        self.notice("refused_at_door", fields)


class Connection(asyncio.Protocol):
    """The state of one peer: its unfinished frame, and the messages not answered yet, oldest first."""

    def __init__(self, listener: Listener, *, is_tls: bool) -> None:
        self._listener = listener
        self._limits = listener.limits
        self._decoder = FrameDecoder(listener.limits.max_bytes)
        self._waiting: deque[bytes] = deque()
        self._in_flight: deque[tuple[Envelope, asyncio.Future[Receipt]]] = deque()
        self._transport: asyncio.Transport | None = None
        self._admission = Admission()
        self._peer = Peer()
        self._frame_since = 0.0
        self._grace: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._is_stuck_writing = False
        self._leaving = ""
        self.opened_at = self._active_at = listener.loop.time()
        self._haste = Haste()
        self.is_stranger = True
        self._is_tls = is_tls
        self._held_bytes = 0
        if is_tls:
            listener.handshakes[self] = self.opened_at

    # -- what the event loop calls -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(
            asyncio.Transport, transport
        )  # uvloop's are transports by shape, not by class
        listener = self._listener
        listener.handshakes.pop(self, None)
        self._transport = transport
        listener.transports.add(self)
        peername = transport.get_extra_info("peername")
        address = str(peername[0]).partition("%")[0] if isinstance(peername, tuple) else ""
        subject, names = certificate_names(transport.get_extra_info("peercert"))
        admission = listener.allow_list.admit(address, names)
        if listener.is_draining or admission is None or not listener.has_room():
            code = "peer.not_allowed" if admission is None else "connections.exceeded"
            self._leaving = code
            listener.refused(code, address)
            transport.abort()
            return
        self._admission = admission
        self._peer = Peer(address=address, certificate=subject, structure=admission.structure)
        listener.connections.add(self)
        listener.notice("connection_opened", {"source": listener.name, "peer": address})

    def data_received(self, data: bytes) -> None:
        if self._leaving:
            return
        self._active_at = self._listener.loop.time()
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        frames = self._decoder.feed(data)
        if frames:
            self._take(frames)
        self._watch_frame(completed=bool(frames))

    def eof_received(self) -> bool:
        """The peer will say no more; what it sent is still answered before the connection closes."""
        frames = self._decoder.flush()
        if frames and not self._leaving:
            self._take(frames)
        self.leave("closed")
        return not self._is_tls

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._listener.held_bytes -= self._held_bytes
        self._held_bytes = 0
        if self._grace is not None:
            self._grace.cancel()
        listener = self._listener
        listener.handshakes.pop(self, None)
        if self in listener.connections:
            listener.connections.discard(self)
            code = self._leaving or ("lost" if exc else "closed")
            fields: dict[str, Any] = {
                "source": listener.name,
                "peer": self._peer.address,
                "code": code,
            }
            if self._decoder.junk_bytes or self._decoder.broken_frames:
                fields |= {
                    "junk_bytes": self._decoder.junk_bytes,
                    "broken_frames": self._decoder.broken_frames,
                }
            listener.notice("connection_closed", fields)
        self._waiting.clear()
        listener.transports.discard(self)
        if not listener.transports:
            listener.all_gone.set()

    def pause_writing(self) -> None:
        self._is_stuck_writing = True
        self._pace()

    def resume_writing(self) -> None:
        self._is_stuck_writing = False
        self._active_at = self._listener.loop.time()
        self._pace()

    # -- what the listener calls ---------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Close the connection when it outlived its limits; called about once a second at most."""
        is_late = self._decoder.is_open and now - self._frame_since > self._limits.frame_seconds
        is_idle = now - self._active_at > self._limits.idle_seconds
        if is_late and not self._is_paused and not self._leaving:
            self._take(self._decoder.flush())
            self.leave("frame.timeout")
        elif is_idle and (self._is_stuck_writing or self._leaving) and not self._in_flight:
            self.leave("idle.timeout", at_once=True)
        elif is_idle and not self._in_flight:
            self.leave("idle.timeout")

    def leave(self, code: str, *, at_once: bool = False) -> None:
        """Hear no more, answer what is in hand, then close; `at_once` drops the connection as it stands."""
        self._leaving = self._leaving or code
        if self._transport is None:
            return
        if at_once:
            self._listener.connections.discard(self)
            self._listener.notice(
                "connection_closed",
                {"source": self._listener.name, "peer": self._peer.address, "code": code},
            )
            self._transport.abort()
            return
        self._pace()
        self._close_when_answered()

    # -- the way of a message ------------------------------------------------------------------------------

    def _take(self, frames: list[bytes]) -> None:
        if frames:
            self.is_stranger = False
        if self._waiting or len(self._in_flight) + len(frames) > self._limits.max_in_flight:
            self._waiting.extend(frames)
            self._fill()
            return
        for frame in frames:
            self._hand_over(frame)

    def _fill(self) -> None:
        while self._waiting and len(self._in_flight) < self._limits.max_in_flight:
            self._hand_over(self._waiting.popleft())
        self._pace()

    def _hand_over(self, message: bytes) -> None:
        envelope = Envelope(
            source=self._listener.name,
            body=message,
            received_at=datetime.now(UTC),
            media=ER7_MEDIA,
            peer=self._peer,
            hurried=self._haste.comes(self._active_at, before_answer=bool(self._in_flight)),
        )
        future = self._refused_here(message) or self._accepted(envelope)
        self._in_flight.append((envelope, future))
        future.add_done_callback(self._answered)

    def _accepted(self, envelope: Envelope) -> asyncio.Future[Receipt]:
        """What `accept` gives, as a future; a task only where it gives a coroutine."""
        receipt = self._listener.accept(envelope)
        return receipt if isinstance(receipt, asyncio.Future) else asyncio.ensure_future(receipt)

    def _refused_here(self, message: bytes) -> asyncio.Future[Receipt] | None:
        if isinstance(message, Oversize):
            code, where, text = (
                "size.exceeded",
                "",
                "The message is larger than this source accepts.",
            )
        elif place := self._admission.refused_place(message):
            code, where, text = "peer.sender", place, "This connection may not send in this name."
        else:
            return None
        self._listener.refused(code, self._peer.address, where)
        future: asyncio.Future[Receipt] = self._listener.loop.create_future()
        future.set_result(Receipt(outcome="refused", code=code, where=where, text=text))
        return future

    def _answered(self, _: asyncio.Future[Receipt]) -> None:
        """Write every answer that is ready and has none before it that is not."""
        answers = []
        while self._in_flight and self._in_flight[0][1].done():
            envelope, future = self._in_flight.popleft()
            answer = acknowledge(envelope.body, _receipt(envelope, future))
            if answer:
                answers.append(mllp_frames.encode(answer))
        if answers and self._transport is not None:
            self._active_at = self._listener.loop.time()
            self._haste.answered(self._active_at)
            self._transport.write(answers[0] if len(answers) == 1 else b"".join(answers))
        if self._waiting and self._transport is not None:
            self._fill()
        elif self._is_paused:
            self._pace()
        if self._leaving:
            self._close_when_answered()

    def _watch_frame(self, *, completed: bool) -> None:
        decoder = self._decoder
        if decoder.is_open or self._held_bytes:
            self._count_held()
        if not decoder.is_open:
            self._frame_since = 0.0
            if decoder.junk_bytes > MAX_JUNK_BYTES:
                self.leave("frame.junk")
            return
        if completed or not self._frame_since:
            self._frame_since = self._active_at
        if decoder.ending:
            self._grace = self._listener.loop.call_later(END_GRACE_SECONDS, self._end_of_grace)

    def _count_held(self) -> None:
        """Unfinished frames of all connections share one bound of memory."""
        held = self._decoder.held_bytes
        self._listener.held_bytes += held - self._held_bytes
        self._held_bytes = held
        if self._listener.held_bytes > self._limits.max_held_bytes:
            self.leave("memory.exceeded", at_once=True)

    def _end_of_grace(self) -> None:
        self._grace = None
        self._take(self._decoder.flush())
        self._watch_frame(completed=True)

    def _pace(self) -> None:
        """Read only while there is room for what comes."""
        if self._transport is None:
            return
        wanted = bool(self._waiting or self._is_stuck_writing or self._leaving)
        if wanted and not self._is_paused:
            self._transport.pause_reading()
        elif self._is_paused and not wanted:
            self._transport.resume_reading()
            self._frame_since = self._listener.loop.time() if self._decoder.is_open else 0.0
        self._is_paused = wanted

    def _close_when_answered(self) -> None:
        if not self._in_flight and not self._waiting and self._transport is not None:
            self._transport.close()


def _receipt(envelope: Envelope, future: asyncio.Future[Receipt]) -> Receipt:
    """The outcome of `accept`; an intake that breaks its promise and raises is a refusal for now, never silence."""
    failed = future.cancelled() or future.exception() is not None
    receipt = UNEXPECTED if failed else future.result()
    if receipt.first_received_at is None:
        return msgspec.structs.replace(receipt, first_received_at=envelope.received_at)
    return receipt
