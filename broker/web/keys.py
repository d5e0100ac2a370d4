"""The public keys of an issuer: fetched from where it publishes them, kept for a while, never on every request.

A token with a key id that is not known asks the issuer again, but at most once a minute: strangers must not make us
knock there. Source: OpenID Connect Discovery 1.0 §4; RFC 7517 (JWK).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import jwt
import msgspec

from broker.settings_tables import Issuer
from broker.web.refusing import RefusedError

KEEP_SECONDS = 600.0
STALE_SECONDS = 3_600.0
AGAIN_SECONDS = 60.0
MAX_BYTES = 262_144


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class Keys:
    """The keys of one issuer. For one event loop."""

    def __init__(
        self, issuer: Issuer, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer, self._client, self._clock = issuer, client, clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of this id, None when the issuer has none. Raises: RefusedError(503) when it cannot be asked."""
        now = self._clock()
        known = self._keys.get(key_id)
        if known is None or now - self._fetched > KEEP_SECONDS:
            async with self._lock:
                if self._clock() - self._tried > AGAIN_SECONDS or not self._keys:
                    await self._refresh()
            known = self._keys.get(key_id)
        if self._clock() - self._fetched > STALE_SECONDS:
            raise RefusedError(
                503, "token.keys", "The issuer's keys cannot be had now.", Retry_After="10"
            )
        return known

    async def _refresh(self) -> None:
        self._tried = self._clock()
        try:
            url = self._issuer.jwks_url or await self._discover()
            found = jwt.PyJWKSet.from_json((await self._get(url)).decode())
        except (httpx.HTTPError, msgspec.DecodeError, jwt.PyJWTError, ValueError, KeyError):
            return
        self._keys = {
            key.key_id: key
            for key in found.keys
            if key.key_id and key.public_key_use in (None, "sig")
        }
        self._fetched = self._tried

    async def _discover(self) -> str:
        base = self._issuer.url.rstrip("/")
        said = msgspec.json.decode(
            await self._get(f"{base}/.well-known/openid-configuration"), type=_Discovery
        )
        if said.issuer != self._issuer.url:
            raise ValueError("another issuer")
        return said.jwks_uri

    async def _get(self, url: str) -> bytes:
        async with self._client.stream("GET", url) as response:
            response.raise_for_status()
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("too long")
        return body
