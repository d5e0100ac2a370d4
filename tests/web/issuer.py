"""An issuer of access tokens: its keys published over HTTP, tokens signed for invented people."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "https://record.example.org/fhir"
EVERYTHING = "user/*.rs patient/*.rs"


class Issuer:
    """Serves its discovery document and its keys; `asked` counts how often the keys were fetched."""

    def __init__(self) -> None:
        self.keys = {"k1": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith("openid-configuration"):
                    body: dict[str, Any] = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"}
                else:
                    issuer.asked += 1
                    body = {"keys": [issuer.public(name) for name in issuer.keys]}
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def public(self, name: str) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(
            jwt.algorithms.RSAAlgorithm.to_jwk(self.keys[name].public_key())
        )
        return made | {"kid": name, "use": "sig", "alg": "RS256"}

    def sign(self, claims: dict[str, Any], key: str = "k1", **header: str) -> str:
        now = int(time.time())
        whole = {
            "iss": self.url, "aud": AUDIENCE, "sub": "someone", "iat": now, "exp": now + 300,
            "client_id": "clinic-software", "scope": EVERYTHING,
        } | claims  # fmt: skip
        whole = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(whole, self.keys[key], algorithm="RS256", headers={"kid": key, **header})

    def professional(self, identity: str, profession: str, **claims: Any) -> str:
        """A token as Pro Santé Connect's claims have it; `profession` is `10/SM26` or a group of the matrix."""
        if profession[:1].isdigit():
            code, _, part = profession.partition("/")
            exercise = {"codeProfession": code} | ({"codeSavoirFaire": part} if part else {})
            told: dict[str, Any] = {"SubjectRefPro": {"exercices": [exercise]}}
        else:
            told = {"SubjectRole": [profession]}
        return self.sign(
            {"SubjectNameID": identity, "SubjectOrganizationID": "750000001"} | told | claims
        )

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
