"""The data file of an archive: lines of JSON, compressed and encrypted by the frame, so that one message is one seek.

    carnet-archive 1\\n
    {"name": …, "salt": …, "key": …, "cipher": "AES-256-GCM", "compression": "zstandard"}\\n
    4 bytes length, frame; 4 bytes length, frame; …; a last frame that says how many there were

A frame holds whole lines, one a message. A file without its last frame was cut off. Memory is bounded by a frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Any

import msgspec
import zstandard

from broker.archive.keys import SALT_BYTES, Cipher, fingerprint
from broker.errors import PermanentError, SetupError

MAGIC = b"carnet-archive 1\n"
FRAME_BYTES = 4 * 1024 * 1024
_LEVEL = 6
_LONGEST_FRAME = 256 * 1024 * 1024


class Header(msgspec.Struct, frozen=True):
    """What a data file says of itself, in clear."""

    name: str
    salt: str
    key: str
    cipher: str = "AES-256-GCM"
    compression: str = "zstandard"


class Writer:
    """Writes lines into frames; `close` writes the last one. The caller opens the file, syncs and closes it."""

    def __init__(self, file: IO[bytes], name: str, key: bytes) -> None:
        self._file = file
        salt = os.urandom(SALT_BYTES)
        header = msgspec.json.encode(Header(name, salt.hex(), fingerprint(key))) + b"\n"
        self._cipher = Cipher(key, salt, header)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._lines: list[bytes] = []
        self._held = 0
        self._frames = 0
        file.write(MAGIC + header)

    def put(self, line: bytes) -> tuple[int, int]:
        """Add a line without its end; returns where the frame that holds it begins, and its number."""
        if self._held >= FRAME_BYTES:
            self._flush()
        self._lines.append(line)
        self._held += len(line)
        return self._file.tell(), self._frames

    def close(self) -> None:
        """Write what is held, and the last frame."""
        self._flush()
        self._frame(msgspec.json.encode({"frames": self._frames}), is_last=True)

    def _flush(self) -> None:
        if self._lines:
            self._frame(b"\n".join(self._lines), is_last=False)
            self._lines, self._held = [], 0

    def _frame(self, plain: bytes, *, is_last: bool) -> None:
        packed = self._cipher.encrypt(
            self._frames, self._compressor.compress(plain), is_last=is_last
        )
        self._file.write(len(packed).to_bytes(4, "big") + packed)
        self._frames += 1


class Reader:
    """Reads a data file: all of its lines in order, or the frame at a place.

    Raises: SetupError("archive.key") where the house's key is another than the file's; PermanentError("archive.altered").
    """

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        self._file = file
        if file.readline(len(MAGIC)) != MAGIC:
            raise PermanentError("archive.altered", where="header", reason="no archive of Carnet")
        line = file.readline(4096)
        try:
            self.header = msgspec.json.decode(line, type=Header)
        except msgspec.DecodeError as error:
            raise PermanentError("archive.altered", where="header", reason="unreadable") from error
        if self.header.key != fingerprint(key):
            raise SetupError(
                "archive.key",
                where="retention.archive_key",
                reason=f"the archive {self.header.name} was written with another key ({self.header.key})",
                hint="set retention.archive_key (or site.digest_key) to the key of that time",
            )
        self._cipher = Cipher(key, bytes.fromhex(self.header.salt), line)
        self._start = file.tell()

    def lines(self) -> Iterator[bytes]:
        """Every line in order. Raises PermanentError("archive.altered") at the first frame that is wrong or missing."""
        self._file.seek(self._start)
        number = 0
        while (packed := self._next()) is not None:
            here = self._file.tell()
            is_last = not self._file.read(1)
            self._file.seek(here)
            plain = _unpacked(self._cipher.decrypt(number, packed, is_last=is_last))
            if is_last:
                if msgspec.json.decode(plain) != {"frames": number}:
                    raise PermanentError("archive.altered", where="last frame", reason="cut off")
                return
            yield from plain.split(b"\n")
            number += 1
        raise PermanentError("archive.altered", where="last frame", reason="cut off")

    def at(self, place: int, number: int) -> list[bytes]:
        """The lines of the frame `number`, which begins at `place`."""
        self._file.seek(place)
        packed = self._next()
        if packed is None:
            raise PermanentError("archive.altered", where=f"frame {number}", reason="cut off")
        return _unpacked(self._cipher.decrypt(number, packed)).split(b"\n")

    def _next(self) -> bytes | None:
        length = self._file.read(4)
        if not length:
            return None
        wanted = int.from_bytes(length, "big")
        packed = self._file.read(wanted) if wanted <= _LONGEST_FRAME else b""
        if len(length) < 4 or len(packed) < wanted or not packed:
            raise PermanentError("archive.altered", where="frame", reason="cut off")
        return packed


def _unpacked(packed: bytes) -> bytes:
    """Raises: PermanentError("archive.altered")."""
    try:
        plain: Any = zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError as error:
        raise PermanentError("archive.altered", where="frame", reason="unreadable") from error
    return bytes(plain)
