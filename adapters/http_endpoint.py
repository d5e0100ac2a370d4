"""What one HTTP request becomes: who asks, what it declares, how much it is, and only then its body.

The ASGI application of the http source, one POST a message.
Source: FHIR R4 §3.1.0 (OperationOutcome), RFC 9110 (status codes), RFC 6750 (bearer tokens).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import time
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.haste import Hastes
from adapters.hl7_header import ER7_MEDIA, read_header
from adapters.mllp_ack import acknowledge
from adapters.peers import Admission, AllowedPeer
from broker.contracts import Accept, Notice
from broker.envelope import Envelope, Peer, Receipt

FHIR_JSON = "application/fhir+json"
FHIR_XML = "application/fhir+xml"
CDA_XML = "application/cda+xml"

# What each endpoint takes, and the media type the broker is told. "" lets the broker recognise the bytes.
_HL7 = dict.fromkeys(
    ("application/hl7-v2", "application/hl7-v2+er7", "x-application/hl7-v2+er7", "text/plain"),
    ER7_MEDIA,
)
_CDA = dict.fromkeys((CDA_XML, "application/hl7-cda+xml", "application/xml", "text/xml"), CDA_XML)
_FHIR = dict.fromkeys((FHIR_JSON, "application/json"), FHIR_JSON)
_FHIR |= dict.fromkeys((FHIR_XML, "application/xml", "text/xml"), FHIR_XML)
_ANY = (
    _HL7
    | _CDA
    | _FHIR
    | {"application/xml": "", "text/xml": "", "application/zip": "application/zip"}
)
_ENDPOINTS = {"": _ANY, "hl7": _HL7, "cda": _CDA, "fhir": _FHIR}

_STATUS = {
    "size.exceeded": 413,
    "media.unknown": 415,
    "control_id.conflict": 409,
    "peer.sender": 403,
    "hl7v2.no_msh": 400,
}
_ISSUE = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    408: "timeout",
    409: "conflict",
    413: "too-long",
    415: "not-supported",
    503: "transient",
}


class HttpToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One partner's bearer token, and the names it may send under.

    Fields:
        token: The secret itself, at least 16 characters; by reference in carnet.toml.
        applications: Values of MSH-3 (first component) it may use; empty means any.
        facilities: Values of MSH-4 (first component) it may use; empty means any.
        structure: FINESS of the health structure, kept with each message.
    """

    token: str
    applications: tuple[str, ...] = ()
    facilities: tuple[str, ...] = ()
    structure: str = ""

    def __repr__(self) -> str:
        return f"HttpToken(structure={self.structure!r})"


class RefusedError(Exception):
    """A request turned away before `accept`: status, reason code, a sentence, and headers to go with it."""

    def __init__(self, status: int, code: str, text: str, **headers: str) -> None:
        super().__init__(code)
        self.status, self.code, self.text = status, code, text
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Endpoint:
    """The ASGI application: who, what, how much, and only then the body."""

    def __init__(
        self,
        name: str,
        accept: Accept,
        notice: Notice,
        *,
        tokens: Sequence[HttpToken],
        max_bytes: int,
        body_seconds: float,
    ) -> None:
        self._name = name
        self._max_bytes = max_bytes
        self._body_seconds = body_seconds
        self._notice = notice
        self._accept = accept
        self._hastes = Hastes()
        self._tokens = [
            (
                hashlib.sha256(token.token.encode()).digest(),
                Admission(
                    (
                        AllowedPeer(
                            applications=token.applications,
                            facilities=token.facilities,
                            structure=token.structure,
                        ),
                    )
                ),
            )
            for token in tokens
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except RefusedError as refused:
            fields = {"source": self._name, "code": refused.code}
            if peer := _peer(request):
                fields["peer"] = peer
            self._notice("refused_at_door", fields)
            response = _outcome(refused.status, refused.code, refused.text, refused.headers)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        admission = self._authenticate(request.headers)
        media = _media(request)
        key = _idempotency_key(request.headers)
        body = await self._body(request)
        is_hl7v2 = media == ER7_MEDIA or read_header(body) is not None
        if is_hl7v2 and (place := admission.refused_place(body)):
            receipt = Receipt(
                outcome="refused",
                code="peer.sender",
                where=place,
                text="This token may not send in this name.",
            )
            self._notice(
                "refused_at_door", {"source": self._name, "code": receipt.code, "where": place}
            )
            return _say(receipt, body, media, datetime.now(UTC))
        address = _peer(request)
        haste = self._hastes.of(address)
        envelope = Envelope(
            source=self._name,
            body=body,
            received_at=datetime.now(UTC),
            media=media,
            charset=_charset(request.headers),
            peer=Peer(address=address, structure=admission.structure),
            keys={"idempotency_key": key} if key else {},
            hurried=haste.comes(time.monotonic()),
        )
        receipt = await _despite_disconnect(self._accept(envelope))
        haste.answered(time.monotonic())
        return _say(receipt, body, media, envelope.received_at)

    def _authenticate(self, headers: Headers) -> Admission:
        """Which token this is, in time that does not depend on it; without configured tokens, anyone."""
        if not self._tokens:
            return Admission()
        scheme, _, given = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode("utf-8", "replace")).digest()
        found = None
        for known, admission in self._tokens:
            if hmac.compare_digest(known, digest):
                found = admission
        if found is None or scheme.lower() != "bearer":
            raise RefusedError(
                401, "http.token", "A bearer token is needed.", www_authenticate="Bearer"
            )
        return found

    async def _body(self, request: Request) -> bytes:
        too_long = RefusedError(
            413, "size.exceeded", "The body is larger than this source accepts."
        )
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > self._max_bytes:
            raise too_long
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise too_long
                    chunks.append(chunk)
        except TimeoutError as error:
            raise RefusedError(
                408, "http.body_timeout", "The body did not arrive in time.", connection="close"
            ) from error
        if not size:
            raise RefusedError(400, "http.empty", "The body is empty.")
        return b"".join(chunks)


async def _despite_disconnect(receipt: Awaitable[Receipt]) -> Receipt:
    """Once handed over, a message is taken to its end: uvicorn's cancelling must not leave it half said."""
    return await asyncio.shield(asyncio.ensure_future(receipt))


def _media(request: Request) -> str:
    """The media type to tell the broker. Raises: RefusedError for a path, method or content type that is not taken."""
    first, _, rest = request.url.path.strip("/").partition("/")
    takes = _ENDPOINTS.get(first)
    if takes is None or (rest and not (first == "fhir" and rest.isalpha())):
        raise RefusedError(404, "http.path", "POST to /hl7, /cda, /fhir or /.")
    if request.method != "POST":
        raise RefusedError(405, "http.method", "Only POST is taken here.", allow="POST")
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared not in takes:
        raise RefusedError(
            415, "http.media", "This content type is not taken here.", accept_post=", ".join(takes)
        )
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RefusedError(
            415, "http.encoding", "Compressed bodies are not taken.", accept_encoding="identity"
        )
    return takes[declared]


def _peer(request: Request) -> str:
    return request.client.host.partition("%")[0] if request.client else ""


def _charset(headers: Headers) -> str:
    for parameter in headers.get("content-type", "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            value = value.strip().strip('"')
            return value if len(value) <= 40 and value.isascii() and value.isprintable() else ""
    return ""


def _idempotency_key(headers: Headers) -> str:
    key = headers.get("idempotency-key", "").strip()
    if len(key) > 255 or not key.isascii() or not key.isprintable():
        raise RefusedError(
            400, "http.idempotency_key", "Idempotency-Key: at most 255 printable ASCII characters."
        )
    return key


def _say(receipt: Receipt, body: bytes, media: str, received_at: datetime) -> Response:
    """The receipt as HTTP: 2xx only for what is durable, 503 with Retry-After for "not now", 4xx for "never"."""
    headers = {"X-Carnet-Message-Id": receipt.message_id} if receipt.message_id else {}
    if receipt.outcome == "accepted":
        status = 200 if media == ER7_MEDIA else 202
    elif receipt.retry_after is not None:
        status = 503
        headers["Retry-After"] = str(max(1, math.ceil(receipt.retry_after.total_seconds())))
    else:
        status = _STATUS.get(receipt.code, 422)
    if media != ER7_MEDIA:
        text = receipt.text or ("Stored durably." if status == 202 else "Refused.")
        return _outcome(status, receipt.code or "accepted", text, headers, receipt)
    if receipt.first_received_at is None:
        receipt = msgspec.structs.replace(receipt, first_received_at=received_at)
    answer = acknowledge(body, receipt)
    return Response(
        answer, status if answer or status != 200 else 202, headers, media_type=ER7_MEDIA
    )


def _outcome(
    status: int, code: str, text: str, headers: dict[str, str], receipt: Receipt | None = None
) -> Response:
    """A FHIR R4 OperationOutcome; `details.text` and `diagnostics` carry no value of the message."""
    is_good = status < 400
    issue: dict[str, object] = {
        "severity": "information" if is_good else "error",
        "code": "informational" if is_good else _ISSUE.get(status, "processing"),
        "details": {"text": text},
        "diagnostics": code,
    }
    if receipt is not None and receipt.where:
        issue["expression"] = [receipt.where]
    if receipt is not None and receipt.message_id:
        issue["diagnostics"] = f"{code}: message {receipt.message_id}"
    document = {"resourceType": "OperationOutcome", "issue": [issue]}
    return Response(msgspec.json.encode(document), status, headers, media_type=FHIR_JSON)
