"""Gets access tokens by OAuth 2.0 client credentials (RFC 6749 §4.4), for the http destination; keeps the last one."""

from __future__ import annotations

import re
import time
from urllib.parse import quote_plus

import httpx
import msgspec

from broker.errors import PermanentError, TransientError

_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_ERRORS = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
        "unsupported_grant_type", "invalid_scope",
    }
)  # fmt: skip
_MOST_BYTES = 65_536
_UNSAID_SECONDS = 300.0
_EARLY_SECONDS = 30.0


class _Granted(msgspec.Struct):
    """RFC 6749 §5.1, as much of it as we need."""

    access_token: str
    token_type: str
    expires_in: float = _UNSAID_SECONDS


class _Refused(msgspec.Struct):
    """RFC 6749 §5.2."""

    error: str = ""


class ClientCredentials:
    """The token of one client, asked for when there is none or when it is about to expire. For one thread.

    With a secret the client says who it is by HTTP Basic (§2.3.1), without one by its certificate (RFC 8705).
    """

    def __init__(
        self, client: httpx.Client, *, url: str, client_id: str, secret: str, scope: str
    ) -> None:
        self._client = client
        self._url = url
        self._form = {"grant_type": "client_credentials"}
        if scope:
            self._form["scope"] = scope
        if not secret:
            self._form["client_id"] = client_id
        self._auth = httpx.BasicAuth(quote_plus(client_id), quote_plus(secret)) if secret else None
        self._token = ""
        self._good_until = 0.0

    def token(self) -> str:
        """The token to send now. Raises: TransientError when none can be had now, PermanentError for a refusal."""
        if not self._token or time.monotonic() >= self._good_until:
            self._ask()
        return self._token

    def forget(self) -> None:
        """The last token was refused: the next is a new one."""
        self._token = ""

    def _ask(self) -> None:
        self._token = ""
        asked = time.monotonic()
        try:
            with self._client.stream(
                "POST",
                self._url,
                data=self._form,
                auth=self._auth,
                headers={"Accept": "application/json"},
            ) as response:
                answer = _read(response)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise TransientError(
                "http.oauth_unreachable", where="oauth_token_url", reason=type(error).__name__
            ) from error
        if response.status_code != 200:
            raise _refusal(response.status_code, answer)
        granted = _granted(answer)
        lifetime = granted.expires_in
        self._token = granted.access_token
        self._good_until = asked + lifetime - min(_EARLY_SECONDS, lifetime / 2)


def _read(response: httpx.Response) -> bytes:
    answer = b""
    for part in response.iter_bytes():
        answer += part
        if len(answer) > _MOST_BYTES:
            break
    return answer


def _granted(answer: bytes) -> _Granted:
    """The token of an answer. Some servers write expires_in as a text."""
    try:
        granted = msgspec.json.decode(answer, type=_Granted, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        granted = None
    if (
        granted is None
        or granted.token_type.lower() != "bearer"
        or not _BEARER.fullmatch(granted.access_token)
    ):
        # Without the cause: its text could quote the answer.
        raise TransientError(
            "http.oauth_unreadable", where="oauth_token_url", reason="no bearer token in the answer"
        ) from None
    return granted


def _refusal(status: int, answer: bytes) -> TransientError | PermanentError:
    if status in (408, 429) or status >= 500:
        return TransientError(
            "http.oauth_unavailable",
            where="oauth_token_url",
            reason=f"the token server cannot answer now (HTTP {status})",
        )
    try:
        code = msgspec.json.decode(answer, type=_Refused).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        code = ""
    said = code if code in _ERRORS else f"HTTP {status}"
    return PermanentError(
        "http.oauth_refused",
        where="oauth_client_id",
        reason=f"the token server refused: {said}",
        hint="correct oauth_client_id, oauth_client_secret or oauth_scope, then release it",
    )
