"""Two providers of access tokens for the story: professionals' and patients', on this machine, with keys of this run.

The record's API takes their tokens as it takes anybody's: it fetches the published keys and checks every claim. The
private keys live in this process and end with it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

AUDIENCE = "https://record.example/fhir"
SOFTWARE = "carnet-story"
_LIFE_SECONDS = 3_600
_POLL_SECONDS = 0.05


class Issuers:
    """Publishes the keys at `<url>/<speaks_for>/jwks` and signs tokens (ES256) for invented people."""

    def __init__(self) -> None:
        self._keys = {
            name: ec.generate_private_key(ec.SECP256R1()) for name in ("professional", "patient")
        }
        bodies = {f"/{name}/jwks": self._published(name) for name in self._keys}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = bodies.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing: who asks for keys is of no interest."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="story-issuers"
        )
        self._thread.start()

    def settings(self) -> str:
        """The tables `[[web.issuer]]` that name both."""
        claims = {"professional": "SubjectNameID", "patient": "ins"}
        return "".join(
            f'\n[[web.issuer]]\nurl = "{self._url(name)}"\naudience = "{AUDIENCE}"\nspeaks_for = "{name}"\n'
            f'jwks_url = "{self._url(name)}/jwks"\nid_claim = "{claims[name]}"\n'
            for name in self._keys
        )

    def professional(
        self, number: str, given: str, family: str, exercise: Mapping[str, str], structure: str
    ) -> str:
        """A token with the claims of Pro Santé Connect; `exercise` names the profession by its codes."""
        return self._sign(
            "professional",
            {
                "sub": number,
                "SubjectNameID": number,
                "given_name": given,
                "family_name": family,
                "SubjectRefPro": {"exercices": [dict(exercise)]},
                "SubjectOrganizationID": structure,
                "scope": "user/*.rs",
            },
        )

    def patient(self, ins: str) -> str:
        """A token of the holder of an INS."""
        return self._sign("patient", {"sub": "holder", "ins": ins, "scope": "patient/*.rs"})

    def close(self) -> None:
        """Stop publishing."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def _sign(self, name: str, claims: Mapping[str, Any]) -> str:
        now = int(time.time())
        whole = {
            "iss": self._url(name), "aud": AUDIENCE, "iat": now, "exp": now + _LIFE_SECONDS, "client_id": SOFTWARE,
            **claims,
        }  # fmt: skip
        return jwt.encode(whole, self._keys[name], algorithm="ES256", headers={"kid": name})

    def _published(self, name: str) -> bytes:
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._keys[name].public_key()))
        key = public | {"kid": name, "use": "sig", "alg": "ES256"}
        return json.dumps({"keys": [key]}).encode()
