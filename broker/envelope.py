"""The spine's two words: what came in (`Envelope`) and what became of it (`Receipt`).

A source makes an Envelope and is given a Receipt; a destination takes an Envelope and gives one back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

Kind = Literal["message", "answer", "lookup"]
Outcome = Literal["accepted", "refused", "unknown"]


class Peer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is at the other end: network address, certificate subject, the health structure's FINESS."""

    address: str = ""
    certificate: str = ""
    structure: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part besides the body (a mail's attachment, a companion file): bytes here, or a store reference."""

    name: str
    media: str = ""
    sha256: str = ""
    size: int = 0
    role: str = ""
    body: bytes = b""
    ref: str = ""


class ReturnRoute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where later business answers go: a channel and the HL7 application and facility to address."""

    channel: str
    application: str = ""
    facility: str = ""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Raw bytes and how they came (or where they go). Holds health data: never log it.

    `source` is the configured name of the source (or of the destination, outward); `media` the type as declared
    or recognised (`x-application/hl7-v2+er7`, `application/cda+xml`, `application/fhir+json`,
    `application/fhir+xml`, `application/zip`); `charset` what the transport declared; `keys` transport ids
    without health data (`file_name`, `idempotency_key`, `delivery`); `hurried` says that the sender sends one after the
    other as soon as it is answered, so that each moment the answer waits costs it rate.
    """

    source: str
    body: bytes
    received_at: datetime
    media: str = ""
    charset: str = ""
    kind: Kind = "message"
    peer: Peer = Peer()
    keys: Mapping[str, str] = {}
    parts: Sequence[Part] = ()
    hurried: bool = False
    return_route: ReturnRoute | None = None

    def __repr__(self) -> str:
        return f"Envelope(source={self.source!r}, media={self.media!r}, bytes={len(self.body)})"


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is still to come, and by when."""

    kind: str
    deadline: datetime


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an Envelope, said once and translated by each adapter into its own tongue.

    Inward: `accepted` (durable, `message_id` names the row), `refused` (nothing kept; `code`, `where` and `text`
    say why; `retry_after` set means "not now" rather than "never"). `first_received_at` is the instant of the
    first reception, so that a duplicate's answer is the first answer again, byte for byte.
    Outward: also `unknown`; `keys` are the remote's ids, `answer` its raw bytes, kept. `answer_matched` says that the
    answer names the message that was sent (None: its protocol needs no name), `peer` the network address sent to.
    """

    outcome: Outcome
    message_id: str = ""
    first_received_at: datetime | None = None
    duplicate: bool = False
    code: str = ""
    where: str = ""
    text: str = ""
    keys: Mapping[str, str] = {}
    answer: bytes = b""
    answer_media: str = ""
    expects: Sequence[Expected] = ()
    retry_after: timedelta | None = None
    created: Sequence[str] = ()
    answer_matched: bool | None = None
    peer: str = ""

    def __repr__(self) -> str:
        return f"Receipt({self.outcome}, message_id={self.message_id!r}, code={self.code!r}, where={self.where!r})"
