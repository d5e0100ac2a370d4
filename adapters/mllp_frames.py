"""MLLP framing without I/O: bytes in as they come, whole messages out.

A frame is `<SB>` data `<EB><CR>`, SB = 0x0B, EB = 0x1C, CR = 0x0D. Source: HL7 Transport Specification: MLLP,
Release 1. What peers really do is read as meant: several frames in one packet, a frame in many packets, bytes
between frames (counted in `junk_bytes`), doubled SB or EB, a missing final CR, 0x1C as data.
"""

from __future__ import annotations

SB = b"\x0b"
EB = b"\x1c"
CR = b"\x0d"
END = EB + CR

_HEAD_BYTES = 4096
_BETWEEN = b"\r\n"


class Oversize(bytes):
    """The first bytes of a frame that was longer than allowed; the rest was read and thrown away."""

    __slots__ = ()


def encode(message: bytes) -> bytes:
    """One message in its frame. The message must not contain EB CR."""
    return SB + message + END


class FrameDecoder:
    """Cuts a stream of bytes into frames, holding at most `max_bytes` of an unfinished one.

    An EB ends a frame when CR or SB follows. An EB that is the last byte received may be the end (CR missing) or
    data: `ending` says so, and the owner calls `flush` when nothing more came for a while.
    A frame broken off and begun anew (an SB before `MSH` at the start of a line, as after a proxy's reconnect) is
    dropped and counted in `broken_frames`: the first part was never answered.
    """

    __slots__ = (
        "_buffer",
        "_in_frame",
        "_max_bytes",
        "_scanned",
        "_skipping",
        "broken_frames",
        "junk_bytes",
    )

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._scanned = 0
        self._in_frame = False
        self._skipping: bytes | None = None
        self.junk_bytes = 0
        self.broken_frames = 0

    @property
    def is_open(self) -> bool:
        """A frame has begun and not ended."""
        return self._in_frame

    @property
    def ending(self) -> bool:
        """The bytes so far end with an EB that is most likely the frame's: a segment end stands before it."""
        return self._in_frame and self._buffer.endswith((b"\r\x1c", b"\n\x1c"))

    @property
    def held_bytes(self) -> int:
        """Bytes held of the unfinished frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, in order; an `Oversize` for one that was too long."""
        if not self._in_frame and not self._buffer and self._is_one_frame(data):
            return self._clean(data[1:-2])
        self._buffer += data
        frames: list[bytes] = []
        while self._advance(frames):
            pass
        return frames

    def flush(self) -> list[bytes]:
        """The frame that ends with the last byte received, its CR missing; nothing when no EB stands there."""
        if not self._in_frame or not self._buffer.endswith(EB):
            return []
        frames: list[bytes] = []
        self._finish(len(self._buffer) - 1, len(self._buffer), frames)
        return frames

    def _is_one_frame(self, data: bytes) -> bool:
        length = len(data)
        return (
            3 < length <= self._max_bytes
            and data[0] == 0x0B
            and data[-1] == 0x0D
            and data.find(EB) == length - 2
            and data.find(SB, 1) < 0
        )

    def _advance(self, frames: list[bytes]) -> bool:
        """Take one step through the buffer; False when more bytes are needed."""
        if not self._in_frame:
            return self._find_start()
        end = self._buffer.find(EB, self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            self._bound()
            return False
        if end + 1 == len(self._buffer):
            self._scanned = end
            self._bound()
            return False
        following = self._buffer[end + 1]
        if following == 0x0D:
            self._finish(end, end + 2, frames)
        elif following == 0x0B:
            self._finish(end, end + 1, frames)
        else:
            self._scanned = end + 1
        return True

    def _find_start(self) -> bool:
        start = self._buffer.find(SB)
        between = self._buffer if start < 0 else self._buffer[:start]
        self.junk_bytes += len(between.translate(None, _BETWEEN))
        if start < 0:
            self._buffer.clear()
            return False
        del self._buffer[: start + 1]
        self._in_frame, self._scanned = True, 0
        return True

    def _finish(self, end: int, resume: int, frames: list[bytes]) -> None:
        body = bytes(memoryview(self._buffer)[:end])
        del self._buffer[:resume]
        self._in_frame, self._scanned = False, 0
        if self._skipping is not None or len(body) > self._max_bytes:
            head, self._skipping = self._skipping or body[:_HEAD_BYTES], None
            frames.append(Oversize(head))
        else:
            frames.extend(self._clean(body))

    def _bound(self) -> None:
        """Past the limit, keep the head for the answer and drop the rest but a last EB."""
        if self._skipping is None and len(self._buffer) > self._max_bytes + 1:
            self._skipping = bytes(self._buffer[:_HEAD_BYTES])
        if self._skipping is not None:
            self._buffer[:] = EB if self._buffer.endswith(EB) else b""
            self._scanned = 0

    def _clean(self, body: bytes) -> list[bytes]:
        """The body without doubled frame bytes; only its last part when the frame was begun anew."""
        if SB in body:
            restarted = max(body.rfind(b"\r\x0bMSH"), body.rfind(b"\n\x0bMSH"))
            if restarted >= 0:
                self.broken_frames += 1
                body = body[restarted + 2 :]
        body = body.lstrip(SB).rstrip(EB)
        return [] if not body or body.isspace() else [body]
