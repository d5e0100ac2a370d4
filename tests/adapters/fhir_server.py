"""A FHIR server as far as sending needs one: create, conditional create, update as create, read, search by identifier.

Real HTTP on a real socket. It keeps what it was sent in its order, and loses an answer where a test says so.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FhirServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind, _, rest = self._path()
        if rest == "_search":
            (token,) = parse_qs(body.decode())["identifier"]
            found = self.server.by_identifier(kind, token)
            return self._tell(200, _bundle(found))
        query = parse_qs(self.headers.get("If-None-Exist", ""))
        if query and self.server.by_identifier(kind, query["identifier"][0]):
            return self._tell(200, {})
        return self._keep(f"{kind or 'Bundle'}/{len(self.server.writes) + 1}", body, 201)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind, number, _ = self._path()
        return self._keep(f"{kind}/{number}", body, 200)

    def do_GET(self) -> None:
        kind, number, _ = self._path()
        found = self.server.resources.get(f"{kind}/{number}")
        self._tell(200 if found else 404, found or {"resourceType": "OperationOutcome"})

    def _path(self) -> tuple[str, str, str]:
        self.server.paths.append(self.path)
        parts = urlsplit(self.path).path.removeprefix("/fhir").strip("/").split("/")
        kind, last = parts[0], parts[1] if len(parts) > 1 else ""
        return kind, "" if last == "_search" else last, last if last == "_search" else ""

    def _keep(self, name: str, body: bytes, status: int) -> None:
        resource = json.loads(body)
        self.server.writes.append(body)
        # As servers do: the version is theirs.
        self.server.resources[name] = {
            **resource, "id": name.partition("/")[2], "meta": {"versionId": "1"},
        }  # fmt: skip
        if self.server.loses_answers:
            self.close_connection = True
            return
        self._tell(status, {})

    def _tell(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        if self.server.is_down:
            status, data = 503, b""
        self.send_response(status)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


class FhirServer(ThreadingHTTPServer):
    """`writes` are the bodies it stored, `paths` all that was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.resources: dict[str, dict[str, Any]] = {}
        self.writes: list[bytes] = []
        self.paths: list[str] = []
        self.loses_answers = False
        self.is_down = False
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/fhir"

    def by_identifier(self, kind: str, token: str) -> list[dict[str, Any]]:
        everything = list(self.resources.values())
        for one in list(everything):
            if one.get("type") == "transaction":
                everything += [entry["resource"] for entry in one.get("entry", [])]
        return [one for one in everything if one["resourceType"] == kind and token in _tokens(one)]

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


def _tokens(resource: dict[str, Any]) -> list[str]:
    found = []
    for name in ("masterIdentifier", "identifier"):
        given = resource.get(name, [])
        found += given if isinstance(given, list) else [given]
    return [f"{one.get('system', '')}|{one.get('value', '')}" for one in found]


def _bundle(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "entry": [{"resource": one} for one in found],
    }
