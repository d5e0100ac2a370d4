"""Is an access token right: who issued it, signed by which key, for whom, until when. What it claims, `caller` reads.

A token that was right is right again for a minute, as long as its key is one of the issuer's and it has not run out:
an application sends the same one with each request. Source: RFC 6750, RFC 7519, RFC 9068.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import jwt
from starlette.datastructures import Headers

from broker.settings_tables import Issuer
from broker.web.keys import Keys
from broker.web.refusing import RefusedError

LEEWAY_SECONDS = 30
MAX_TOKEN = 8_192
AGAIN_SECONDS = 60.0
"""So long a token that was right is taken without checking its signature again."""
MAX_KNOWN = 4_096

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Right:
    """A token that was right: its issuer, the key and its id, what it claims, and until when that is believed."""

    issuer: Issuer
    source: Keys
    key_id: str
    key: jwt.PyJWK
    claims: Claims = field(repr=False)
    until: float


class Tokens:
    """The tokens of all issuers. For one event loop. `clock` tells seconds since 1970, as `exp` does."""

    def __init__(
        self, issuers: Mapping[str, tuple[Issuer, Keys]], clock: Callable[[], float] = time.time
    ) -> None:
        self._issuers, self._clock = issuers, clock
        self._known: OrderedDict[bytes, _Right] = OrderedDict()

    async def right(self, headers: Headers) -> tuple[Issuer, Claims]:
        """Issuer and claims of the token a request brings. Raises: RefusedError(401 or 503)."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("token.missing", "A bearer token is needed.", "")
        if len(token) > MAX_TOKEN:
            raise _bad_token()
        digest = sha256(token.encode()).digest()
        known = self._known.get(digest)
        if (
            known is not None
            and self._clock() < known.until
            and await known.source.find(known.key_id) is known.key
        ):
            return known.issuer, known.claims
        found = await self._checked(token)
        self._known[digest] = found
        self._known.move_to_end(digest)
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return found.issuer, found.claims

    async def _checked(self, token: str) -> _Right:
        try:
            claimed = jwt.decode(token, options={"verify_signature": False})
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _bad_token() from error
        issuer, source = self._issuers.get(str(claimed.get("iss")), (None, None))
        if issuer is None or source is None or header.get("alg") not in issuer.algorithms:
            raise _bad_token()
        if str(header.get("typ", "JWT")).lower() not in ("jwt", "at+jwt", "application/at+jwt"):
            raise _bad_token()
        key_id = str(header.get("kid", ""))
        key = await source.find(key_id)
        if key is None:
            raise _bad_token()
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(issuer.algorithms),
                audience=issuer.audience,
                issuer=issuer.url,
                leeway=LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "exp", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _bad_token() from error
        until = min(float(claims["exp"]) + LEEWAY_SECONDS, self._clock() + AGAIN_SECONDS)
        return _Right(issuer, source, key_id, key, claims, until)


def _bad_token() -> RefusedError:
    return _unauthorized(
        "token.invalid", "The token is not one that is taken here.", "invalid_token"
    )


def _unauthorized(code: str, text: str, error: str) -> RefusedError:
    challenge = 'Bearer realm="carnet"' + (f', error="{error}"' if error else "")
    return RefusedError(401, code, text, WWW_Authenticate=challenge)
