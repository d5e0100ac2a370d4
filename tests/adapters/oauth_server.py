"""A partner whose API takes tokens of OAuth 2.0 client credentials: oauthlib behind Starlette and uvicorn.

`/token` grants, `/in` and `/fhir/...` want a token that was granted, with the scope `write`.
"""

from __future__ import annotations

import base64
import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

import uvicorn
from oauthlib.oauth2 import BackendApplicationServer, RequestValidator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.adapters.certificates import Certificates
from tests.adapters.gateway import DEADLINE

CLIENT = "carnet of the tests"
SECRET = "an invented secret: of+the%tests"
SCOPE = "write"


class _Client:
    client_id = CLIENT


class _Validator(RequestValidator):  # type: ignore[misc]  # a library without types
    """Knows one client, by its secret or (with `by_certificate`) by its id; remembers the tokens it granted."""

    def __init__(self, *, by_certificate: bool) -> None:
        self._by_certificate = by_certificate
        self.tokens: dict[str, datetime] = {}

    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if self._by_certificate:
            is_right = not scheme and request.client_id == CLIENT
        else:
            said = base64.b64decode(credentials).decode() if scheme == "Basic" else ":"
            user, _, secret = said.partition(":")
            is_right = (unquote_plus(user), unquote_plus(secret)) == (CLIENT, SECRET)
        request.client = _Client() if is_right else None
        return is_right

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        return grant_type == "client_credentials"

    def get_default_scopes(
        self, client_id: str, request: Any, *args: Any, **kwargs: Any
    ) -> list[str]:
        return ["read"]

    def validate_scopes(
        self,
        client_id: str,
        scopes: list[str],
        client: Any,
        request: Any,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        return set(scopes) <= {"read", SCOPE}

    def save_bearer_token(
        self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any
    ) -> None:
        if SCOPE in token["scope"].split():
            self.tokens[token["access_token"]] = datetime.now(UTC)

    def validate_bearer_token(self, token: str, scopes: list[str], request: Any) -> bool:
        return token in self.tokens


class OAuthServer:
    """Runs both in one thread. `grants` holds the forms of token requests, `taken` holds (method, path, body) of what was let in."""

    def __init__(
        self, certificates: Certificates | None = None, *, by_certificate: bool = False
    ) -> None:
        self.validator = _Validator(by_certificate=by_certificate)
        self.grants: list[str] = []
        self.taken: list[tuple[str, str, bytes]] = []
        self.lifetime = 3600
        self.token_answer: Response | None = None
        self._oauth = BackendApplicationServer(
            self.validator, token_expires_in=lambda _: self.lifetime
        )
        app = Starlette(
            routes=[
                Route("/token", self._token, methods=["POST"]),
                Route("/{path:path}", self._in, methods=["POST", "PUT"]),
            ]
        )
        tls: dict[str, Any] = {"ssl_certfile": certificates.server} if certificates else {}
        if by_certificate and certificates:
            tls |= {"ssl_ca_certs": str(certificates.ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            **tls,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._scheme = "https" if certificates else "http"

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"{self._scheme}://127.0.0.1:{port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[OAuthServer]:
        self._thread.start()
        end = time.monotonic() + DEADLINE
        while not self._server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < end
            self._thread.join(0.01)
        try:
            yield self
        finally:
            self._server.should_exit = True
            self._thread.join(DEADLINE)

    async def _token(self, request: Request) -> Response:
        body = (await request.body()).decode()
        self.grants.append(body)
        if self.token_answer is not None:
            return self.token_answer
        headers, text, status = self._oauth.create_token_response(
            str(request.url), request.method, body, dict(request.headers)
        )
        return Response(text, status, headers)

    async def _in(self, request: Request) -> Response:
        is_valid, _ = self._oauth.verify_request(
            str(request.url),
            request.method,
            None,
            {"Authorization": request.headers.get("authorization", "")},
            [SCOPE],
        )
        if not is_valid:
            return Response("{}", 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        self.taken.append((request.method, request.url.path, await request.body()))
        return Response("{}", 201)
