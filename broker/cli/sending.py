"""A client for the command: destinations made from an address, through the same door as any plug-in.

`send`, `simulate` and `demo` use it: what they do, a partner could do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from broker.contracts import Adapter, Destination
from broker.envelope import Envelope
from broker.errors import AmbiguousError, CarnetError, SetupError, TransientError
from broker.parsing import hl7v2, media

MEDIA: Mapping[str, str] = {
    "hl7v2": "x-application/hl7-v2+er7",
    "cda": "application/cda+xml",
    "xdm": "application/zip",
}
_SCHEMES = {"mllp": "mllp", "mllps": "mllp", "http": "http", "https": "http"}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the other side said to one message. `outcome`: accepted, refused, unknown (sent, no answer) or unsent."""

    file: str
    index: int
    outcome: str
    code: str = ""
    where: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send, with the file it came from and its place in it."""

    file: str
    index: int
    body: bytes
    media: str


def destination(to: str, adapters: Mapping[str, Adapter], token: str = "") -> Destination:
    """A client for `mllp://host:port`, `mllps://…`, `http://…` or `https://…`.

    Raises: SetupError("usage.address") when the address cannot be used.
    """
    parts = urlsplit(to)
    adapter = adapters.get(_SCHEMES.get(parts.scheme, parts.scheme))
    if adapter is None or adapter.destination is None or adapter.destination_settings is None:
        raise SetupError(
            "usage.address",
            where="--to",
            reason="no installed adapter sends to this kind of address",
            hint="mllp://127.0.0.1:2575, mllps://…, http://127.0.0.1:8075/hl7 or https://…",
        )
    options: dict[str, Any]
    if adapter.name == "mllp":
        options = {"host": parts.hostname, "port": _port(to), "tls": parts.scheme == "mllps"}
    else:
        options = {"url": to, "token": token}
    options["allow_plaintext"] = True  # the person who types the address sees the scheme
    try:
        made = msgspec.convert(options, adapter.destination_settings)
    except msgspec.ValidationError as error:
        raise SetupError("usage.address", where="--to", reason=str(error)) from error
    return adapter.destination("to", made)


def messages_of(path: Path, *, as_is: bool = False) -> list[Outgoing]:
    """What a file holds: the messages of an HL7v2 file or batch one by one, anything else whole. Raises SetupError."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise SetupError(
            "usage.file", where=str(path), reason=error.strerror or type(error).__name__
        ) from error
    kind = media.recognise(body)
    bodies = hl7v2.split_messages(body) if kind == "hl7v2" and not as_is else [body]
    return [Outgoing(str(path), n, one, media_of(one, kind)) for n, one in enumerate(bodies)]


def media_of(body: bytes, kind: str) -> str:
    """The media type to declare for a format."""
    if kind == "fhir-r4":
        return "application/fhir+xml" if body.lstrip()[:1] == b"<" else "application/fhir+json"
    return MEDIA.get(kind, "application/octet-stream")


def deliver(client: Destination, message: Outgoing) -> Answer:
    """Send one message and say what came back; a refusal is an answer, not a failure."""
    envelope = Envelope(
        source="to", body=message.body, received_at=datetime.now(UTC), media=message.media
    )
    try:
        receipt = client.deliver(envelope)
    except CarnetError as error:
        return Answer(
            file=message.file,
            index=message.index,
            outcome=_outcome(error),
            code=error.code,
            where=error.where,
        )
    return Answer(
        file=message.file,
        index=message.index,
        outcome=receipt.outcome,
        code=receipt.code,
        where=receipt.where,
        answer=receipt.answer.decode("utf-8", "replace").replace("\r", "\n").strip(),
    )


def _outcome(error: CarnetError) -> str:
    if isinstance(error, TransientError):
        return "unsent"
    return "unknown" if isinstance(error, AmbiguousError) else "refused"


def _port(to: str) -> int:
    try:
        return urlsplit(to).port or 2575
    except ValueError as error:
        raise SetupError("usage.address", where="--to", reason="the port is no number") from error
