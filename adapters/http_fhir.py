"""FHIR by HTTP where the partner can be asked: what of a resource names it there, and what its answer says. For `http`.

Asked by id where the resource was put there (update as create), else by its business identifier, in the body of a
POST: a URL ends up in logs.
Source: FHIR R4, http.html (read, update as create, conditional create) and search.html (search by POST).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec

from adapters.asking import Asking
from adapters.fhir_tokens import token_of
from adapters.http_client import FHIR_JSON, HttpDestination, HttpDestinationSettings
from broker.contracts import Destination
from broker.envelope import Envelope, Receipt
from broker.errors import TransientError

_FORM = "application/x-www-form-urlencoded"
_OF_THE_SERVER = frozenset({"meta", "text"})
"""Members a server may write itself."""


def destination(name: str, settings: HttpDestinationSettings) -> Destination:
    """An http destination; one that can be asked where its settings say by what."""
    sender = HttpDestination(name, settings)
    if not settings.fhir_update and not settings.fhir_identifier:
        return sender
    return Asking(sender, lambda envelope: _verify(sender, envelope))


def _verify(sender: HttpDestination, envelope: Envelope) -> Receipt | None:
    method, url, _ = sender.address(envelope)
    resource = msgspec.json.decode(envelope.body)
    if method == "PUT":
        return _by_id(sender, url, resource)
    kind, token = _named(resource)
    if not token or not sender.settings.fhir_identifier:
        raise TransientError(
            "fhir.nothing_to_ask",
            where="identifier",
            reason="nothing in the resource names it at the partner",
        )
    return _by_identifier(sender, kind, token)


def _by_id(sender: HttpDestination, url: str, resource: dict[str, Any]) -> Receipt | None:
    """It has it if every member that was sent reads as it was sent: there may be another version under that id."""
    status, answer = sender.ask("GET", url, b"", {"Accept": FHIR_JSON})
    if status == 404:
        return None
    there = _decoded(status, answer)
    sent = {name: value for name, value in resource.items() if name not in _OF_THE_SERVER}
    if any(there.get(name) != value for name, value in sent.items()):
        return None
    return _has(answer, f"{resource['resourceType']}/{resource['id']}")


def _by_identifier(sender: HttpDestination, kind: str, token: str) -> Receipt | None:
    form = urlencode({"identifier": token, "_count": "1"}).encode()
    url = f"{sender.settings.url.rstrip('/')}/{kind}/_search"
    status, answer = sender.ask("POST", url, form, {"Content-Type": _FORM, "Accept": FHIR_JSON})
    found = _decoded(status, answer)
    entries = found.get("entry") or []
    for entry in entries if isinstance(entries, list) else ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict) and resource.get("resourceType") == kind:
            return _has(answer, f"{kind}/{resource.get('id', '')}")
    if found.get("resourceType") != "Bundle":
        raise TransientError("http.unreadable", reason="the answer is no Bundle")
    return None


def _decoded(status: int, answer: bytes) -> dict[str, Any]:
    if status != 200:
        raise TransientError(f"http.{status}", reason="the partner does not say what it has")
    try:
        return msgspec.json.decode(answer, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TransientError("http.unreadable", reason="the answer is no FHIR JSON") from error


def _has(answer: bytes, location: str) -> Receipt:
    return Receipt(
        outcome="accepted",
        code="http.200",
        keys={"location": location},
        answer=answer,
        answer_media=FHIR_JSON,
    )


def _named(resource: dict[str, Any]) -> tuple[str, str]:
    """(type, search token) of a resource; of a transaction, which is taken whole or not, of its first document."""
    kind = str(resource.get("resourceType", ""))
    if kind == "Bundle" and resource.get("type") in ("transaction", "batch"):
        entries = resource.get("entry") or []
        inner = [one.get("resource") or {} for one in entries if isinstance(one, dict)]
        documents = [one for one in inner if one.get("resourceType") == "DocumentReference"]
        is_whole = resource["type"] == "transaction" and documents
        return _named(documents[0]) if is_whole else (kind, "")
    return kind, token_of(resource)
