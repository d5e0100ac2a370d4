"""What one request becomes: its path, who asks, what they may, how much it is, and only then its body and the record.

The ASGI application of the API. Nothing of a request is ever logged but the type asked for and the status answered.
"""

from __future__ import annotations

import asyncio
import base64
import math
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.errors import CarnetError, TransientError
from broker.settings_tables import Web
from broker.telemetry import Emitter
from broker.web import conformance
from broker.web.caller import Caller, Right, caller_of
from broker.web.refusing import FHIR_JSON, HEADERS, RefusedError, answer, not_found, outcome
from broker.web.resources import RESOURCES
from broker.web.service import Bytes, Service
from broker.web.tokens import Tokens

PREFIX = "/fhir"
FORM = "application/x-www-form-urlencoded"
_MEDIA = re.compile(r"[a-z]+/[a-z0-9.+-]{1,80}")
_JSON = ("application/fhir+json", "application/json", "application/*", "*/*", "text/json", "json")

Kind = Literal["metadata", "openapi", "read", "search", "everything"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a path and method ask for."""

    kind: Kind
    resource: str = ""
    id: str = ""
    has_body: bool = False

    @property
    def right(self) -> Right:
        return "r" if self.kind == "read" else "s"


class Endpoint:
    """The ASGI application."""

    def __init__(
        self,
        service: Service,
        settings: Web,
        tokens: Tokens,
        emitter: Emitter,
        version: str,
        base: Callable[[], str],
    ) -> None:
        self._service, self._settings, self._tokens = service, settings, tokens
        self._emitter, self._version, self._base = emitter, version, base
        self.is_crowded: Callable[[], bool] = lambda: False
        """Whether this process should let go of a connection (`balance`)."""
        self._pool = ThreadPoolExecutor(POOL, thread_name_prefix="carnet-web")

    def close(self) -> None:
        """Wait for the readings in hand."""
        self._pool.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.monotonic()
        request = Request(scope, receive)
        asked: Asked | None = None
        try:
            asked = _asked(request)
            response = await self._answer(request, asked)
        except RefusedError as refused:
            response = outcome(refused)
        except ClientDisconnect:
            return
        except TransientError as error:
            response = outcome(
                RefusedError(503, error.code, "Come back in a moment.", Retry_After="2")
            )
        except CarnetError as error:
            response = self._failed(error.code)
        except Exception as error:  # noqa: BLE001 - the edge: a name is told, the text never leaves
            response = self._failed(type(error).__name__)
        if request.method == "HEAD":
            response = Response(b"", response.status_code, dict(HEADERS))
        kind = asked.resource if asked is not None and asked.resource else "other"
        self._emitter.emit("web_answered", kind=kind, code=str(response.status_code))
        await self._pace(asked, began)
        if self.is_crowded():
            response.headers["Connection"] = "close"
        await response(scope, receive, send)

    def _failed(self, error: str) -> Response:
        self._emitter.emit("web_failed", error=error)
        return outcome(RefusedError(500, "internal", "Something went wrong here."))

    async def _pace(self, asked: Asked | None, began: float) -> None:
        """Leave at the next multiple of the pace: what was hidden may have taken a little longer to pass by."""
        pace = self._settings.pace.total_seconds()
        if pace <= 0 or asked is None or asked.kind in ("metadata", "openapi"):
            return
        taken = time.monotonic() - began
        await asyncio.sleep(math.ceil(taken / pace) * pace - taken)

    async def _answer(self, request: Request, asked: Asked) -> Response:
        base = self._base()
        accepted = _accepted(request, asked)
        if asked.kind == "metadata":
            return answer(conformance.capability(base, self._version, self._settings.issuer))
        if asked.kind == "openapi":
            return answer(conformance.openapi(base, self._version))
        issuer, claims = await self._tokens.right(request.headers)
        caller = caller_of(claims, issuer, request.headers)
        everything = asked.kind == "everything"
        if not caller.may("*" if everything else asked.resource, asked.right):
            raise RefusedError(
                403,
                "scope.missing",
                "The application lacks a scope for that.",
                WWW_Authenticate='Bearer realm="carnet", error="insufficient_scope"',
            )
        pairs = await self._pairs(request, asked)
        return await self._within_time(lambda: self._made(caller, asked, pairs, base, accepted))

    async def _within_time(self, work: Callable[[], Response]) -> Response:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.request_timeout.total_seconds()):
                return await loop.run_in_executor(self._pool, work)
        except TimeoutError as error:
            raise RefusedError(
                503, "web.timeout", "It took too long; come back later.", Retry_After="5"
            ) from error

    def _made(
        self,
        caller: Caller,
        asked: Asked,
        pairs: list[tuple[str, str]],
        base: str,
        accepted: str,
    ) -> Response:
        """The answer, encoded on the thread that read it."""
        service = self._service
        if asked.kind == "search":
            return answer(service.search(caller, asked.resource, pairs, base))
        if asked.kind == "everything":
            return answer(service.everything(caller, asked.id, pairs, base))
        if any(name != "_format" for name, _ in pairs):
            raise RefusedError(400, "search.parameter", "A read takes no parameters.")
        if asked.resource == "Binary":
            return _bytes(service.content(caller, asked.id), accepted)
        return answer(service.read(caller, asked.resource, asked.id, base))

    async def _pairs(self, request: Request, asked: Asked) -> list[tuple[str, str]]:
        """The parameters, of the URL or of a form that is no longer than allowed. Raises: RefusedError."""
        text = request.scope["query_string"].decode("latin-1")
        if asked.has_body:
            if text:
                raise RefusedError(400, "search.form", "Parameters of _search stand in its body.")
            text = await self._form(request)
        try:
            return parse_qsl(text, keep_blank_values=True, max_num_fields=100, errors="strict")
        except ValueError as error:
            raise RefusedError(400, "search.form", "The parameters cannot be read.") from error

    async def _form(self, request: Request) -> str:
        declared = request.headers.get("content-length", "0")
        if (
            "content-type" not in request.headers
            and declared == "0"
            and "transfer-encoding" not in request.headers
        ):
            return ""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            raise RefusedError(415, "search.media", f"A search is posted as {FORM}.")
        too_long = RefusedError(413, "size.exceeded", "The search is too long.", Connection="close")
        if not declared.isdecimal() or int(declared[:20]) > self._settings.max_bytes:
            raise too_long
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._settings.max_bytes:
                raise too_long
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RefusedError(400, "search.form", "The parameters are not UTF-8.") from error


POOL = 2
"""Readings at once in one process: one that computes, one that waits. More only take the interpreter from each other."""


def _asked(request: Request) -> Asked:
    """What is asked for. Raises: RefusedError(404, 405)."""
    # Not `request.url`: that is put together with the Host header, which is whatever a client says.
    path: str = request.scope["path"]
    if not path.startswith(f"{PREFIX}/"):
        raise not_found()
    parts = path.removeprefix(f"{PREFIX}/").split("/")
    allowed, asked = _routed(parts)
    if asked is None:
        raise not_found()
    if request.method not in allowed:
        raise RefusedError(
            405, "web.method", "That method is not taken here.", Allow=", ".join(allowed)
        )
    return asked


def _routed(parts: list[str]) -> tuple[tuple[str, ...], Asked | None]:
    reading = ("GET", "HEAD")
    match parts:
        case ["metadata"]:
            return reading, Asked("metadata")
        case ["openapi.json"]:
            return reading, Asked("openapi")
        case ["Patient", number, "$everything"]:
            return ("GET",), Asked("everything", "Patient", number)
        case [name] if name in RESOURCES and RESOURCES[name].searched:
            return ("GET",), Asked("search", name)
        case [name, "_search"] if name in RESOURCES and RESOURCES[name].searched:
            return ("POST",), Asked("search", name, has_body=True)
        case [name, number] if name in RESOURCES and number and number != "_search":
            return ("GET",), Asked("read", name, number)
        case _:
            return (), None


def _accepted(request: Request, asked: Asked) -> str:
    """What the client takes. Raises: RefusedError(406) when that is no JSON, except for the bytes of a document."""
    formats = request.query_params.getlist("_format")
    accept = formats[-1].replace(" ", "+") if formats else request.headers.get("accept", "*/*")
    kinds = [one.partition(";")[0].strip().lower() for one in accept.split(",")]
    if asked.resource == "Binary" or any(kind in _JSON for kind in kinds):
        return accept
    raise RefusedError(406, "web.format", f"Answers are {FHIR_JSON}.")


def _bytes(found: Bytes, accepted: str) -> Response:
    """A Binary as it is, or as a resource where FHIR was asked for (FHIR R4 §2.36)."""
    media = found.media if _MEDIA.fullmatch(found.media.lower()) else "application/octet-stream"
    if accepted.startswith((FHIR_JSON, "application/json")):
        made: dict[str, Any] = {
            "resourceType": "Binary", "id": found.id, "contentType": media,
            "data": base64.b64encode(found.body).decode(),
        }  # fmt: skip
        return answer(made)
    headers = {**HEADERS, "Content-Disposition": "attachment"}
    return Response(found.body, 200, headers, media_type=media)
