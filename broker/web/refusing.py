"""Refusals as FHIR says them: a status and an OperationOutcome, without any value of the request or the record.

Source: FHIR R4 §3.1.0, OperationOutcome and its issue types; RFC 6750 (bearer tokens).
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

FHIR_JSON = "application/fhir+json"

_ISSUES = {
    400: "invalid", 401: "login", 403: "forbidden", 404: "not-found", 405: "not-supported", 406: "not-supported",
    408: "timeout", 413: "too-long", 415: "not-supported", 503: "transient",
}  # fmt: skip

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer: nothing is kept, framed, sniffed, run or sent on."""

ENCODER = msgspec.json.Encoder(decimal_format="number")


class RefusedError(Exception):
    """A request turned away: status, reason code, a sentence, and headers to go with it."""

    def __init__(self, status: int, code: str, text: str, **headers: str) -> None:
        super().__init__(code)
        self.status, self.code, self.text = status, code, text
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def not_found() -> RefusedError:
    """The answer for what does not exist, and for what is hidden."""
    return RefusedError(404, "access.absent", "There is no such resource.")


def outcome(refused: RefusedError) -> Response:
    """The refusal as a response."""
    body = {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": _ISSUES.get(refused.status, "exception"),
                "details": {"text": refused.text},
                "diagnostics": refused.code,
            }
        ],
    }
    return answer(body, refused.status, refused.headers)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A resource as JSON."""
    return Response(
        ENCODER.encode(body), status, {**HEADERS, **(headers or {})}, media_type=FHIR_JSON
    )
