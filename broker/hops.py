"""By what a message is known again that was sent on and comes back: its content without its header. Pure.

Whoever sends a message on may write a header of their own (MSH-3 to MSH-7, MSH-10) and other line ends; what it says
of the patient stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from broker.values import digest64

_HEADERS = (b"MSH", b"FHS", b"BHS")


@dataclass(frozen=True, slots=True)
class Loops:
    """When a content goes round in a circle: it came back to its source `limit` times within `window`."""

    limit: int = 3
    window: timedelta = timedelta(days=1)


def content_digest(body: bytes) -> int:
    """Signed 64-bit digest of what a message says; of anything but HL7v2, of all of its bytes."""
    if body.lstrip()[:3] not in _HEADERS:
        return digest64(body)
    lines = body.replace(b"\n", b"\r").split(b"\r")
    said = [line.rstrip() for line in lines if line.strip() and line[:3] not in _HEADERS]
    return digest64(b"\r".join(said))
