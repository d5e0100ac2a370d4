"""Who calls: the claims of an access token read, its scopes held against what is asked. Before any body.

Claims are those of Pro Santé Connect: SubjectNameID (national id, `8` + RPPS), SubjectRefPro.exercices (profession and
savoir-faire), SubjectRole (`code^OID`), SubjectOrganizationID and SubjectOrganization (the name), given_name,
family_name. A representative's token speaks for a patient: who they are in the claim of a patient's id, and whom they
represent in one more (MIN-01, ADU-01). Scopes are those of SMART App Launch 2 (`user/DocumentReference.rs`) and 1
(`user/*.read`).
Source: RFC 6750, RFC 7519, RFC 9068; SMART App Launch 2.2 "Scopes for requesting FHIR Resources"; ANS, Pro Santé Connect, userinfo.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import unquote

from starlette.datastructures import Headers

from broker.access import Mode, Viewer
from broker.settings_tables import Issuer
from broker.web.refusing import RefusedError

MODE_HEADER, REASON_HEADER = "x-carnet-mode", "x-carnet-reason"
CONSENT_HEADER = "x-carnet-consent"
MAX_REASON = 500

Right = Literal["r", "s"]

_SCOPE = re.compile(r"(patient|user)/([A-Za-z]+|\*)\.(read|\*|c?r?u?d?s?)")
_PROFESSIONS = "1.2.250.1.213.1.1.5.5", "1.2.250.1.71.1.2.7"
_NATIONAL_ID = re.compile(r"[0-9A-Za-z/]{5,40}")
_REPRESENTATIVE_ID = re.compile(r"[0-9A-Za-z/_.-]{3,40}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose token was right: as a viewer, or as the patient of an INS that is still to be found, or who
    represents that patient.

    `scopes` are those that count for this kind of caller: type (or `*`) and rights.
    """

    speaks_for: Literal["professional", "patient", "representative"]
    viewer: Viewer
    ins: str
    software: str
    scopes: frozenset[tuple[str, str]]

    def may(self, resource: str, right: Right) -> bool:
        """Whether the application was given this right on this type."""
        return any(name in ("*", resource) and right in rights for name, rights in self.scopes)

    @property
    def owner(self) -> bytes:
        """Whose links these are: another person, application, place, mode or consent cannot follow them."""
        viewer = self.viewer
        parts = (
            viewer.kind, viewer.id, self.ins, viewer.profession, viewer.structure, viewer.mode, viewer.motive,
            viewer.consent, self.software,
        )  # fmt: skip
        return "\x1f".join(parts).encode()


def caller_of(claims: Mapping[str, Any], issuer: Issuer, headers: Headers) -> Caller:
    """What the claims of a good token say. Raises: RefusedError(403) when they name nobody we can answer."""
    identity, represented = claims.get(issuer.id_claim), _represented(claims, issuer)
    shape = _REPRESENTATIVE_ID if represented else _NATIONAL_ID
    if not isinstance(identity, str) or not shape.fullmatch(identity):
        raise RefusedError(403, "token.nobody", "The token names nobody by a national id.")
    context = "user" if issuer.speaks_for == "professional" else "patient"
    mode, motive = _mode(headers)
    if issuer.speaks_for == "patient" and mode != "normal":
        raise RefusedError(403, "mode.patient", "Emergency modes are for professionals.")
    if represented:
        viewer = Viewer(kind="representative", id=identity, name=_name(claims))
    elif issuer.speaks_for == "patient":
        viewer = Viewer(kind="patient", id="0")
    else:
        viewer = Viewer(
            kind="professional",
            id=identity,
            name=_name(claims),
            profession=_profession(claims, issuer.profession_claim),
            structure=_text(claims.get(issuer.structure_claim)),
            structure_name=_text(claims.get("SubjectOrganization")),
            mode=mode,
            motive=motive,
            consent=_consent(headers),
        )
    return Caller(
        speaks_for="representative" if represented else issuer.speaks_for,
        viewer=viewer,
        ins=represented or (identity if issuer.speaks_for == "patient" else ""),
        software=_text(claims.get("client_id") or claims.get("azp")),
        scopes=scopes_of(claims.get("scope"), context),
    )


def _represented(claims: Mapping[str, Any], issuer: Issuer) -> str:
    """The INS of the patient that the caller represents; empty in a token of a professional, and of the patient.

    Raises: RefusedError(403) for a claim that names nobody: a token is never taken for another kind than it says.
    """
    name = issuer.represents_claim
    if issuer.speaks_for != "patient" or not name or name not in claims:
        return ""
    given = claims[name]
    if not isinstance(given, str) or not _NATIONAL_ID.fullmatch(given):
        raise RefusedError(403, "token.nobody", "The token represents nobody by an INS.")
    return given


def scopes_of(given: Any, context: str) -> frozenset[tuple[str, str]]:
    """The scopes of this context: (type or `*`, rights among r and s). `system/` never counts (ACC-11)."""
    words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    found = set()
    for word in words:
        match = _SCOPE.fullmatch(str(word).partition("?")[0])
        if match is None or match[1] != context or "?" in str(word):
            continue
        rights = "rs" if match[3] in ("read", "*") else match[3]
        if rights:
            found.add((match[2], rights))
    return frozenset(found)


def _mode(headers: Headers) -> tuple[Mode, str]:
    """The mode of access and its typed reason (percent-encoded UTF-8). Raises: RefusedError(400)."""
    mode = headers.get(MODE_HEADER, "normal").strip()
    reason = unquote(headers.get(REASON_HEADER, "")).strip()
    if mode not in get_args(Mode):
        raise RefusedError(400, "mode.unknown", "X-Carnet-Mode: normal, bris_de_glace, centre_15.")
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise RefusedError(400, "mode.reason", "X-Carnet-Reason: at most 500 printable characters.")
    if mode == "bris_de_glace" and not reason:
        raise RefusedError(400, "mode.reason", "bris_de_glace needs a reason in X-Carnet-Reason.")
    return mode, reason if mode != "normal" else ""  # type: ignore[return-value]  # one of Mode


def _consent(headers: Headers) -> Literal["", "explicit"]:
    """Whether the professional says that the patient consents to this consultation (CON-04). Raises: RefusedError(400)."""
    given = headers.get(CONSENT_HEADER, "").strip()
    if given not in ("", "explicit"):
        raise RefusedError(400, "consent.unknown", "X-Carnet-Consent: explicit, or no such header.")
    return "explicit" if given else ""


def _name(claims: Mapping[str, Any]) -> str:
    parts = (_text(claims.get("given_name")), _text(claims.get("family_name")))
    return " ".join(part for part in parts if part)


def _profession(claims: Mapping[str, Any], claim: str) -> str:
    """The one profession of the token, as rules know it; empty when it tells none, or several that differ."""
    exercises = claims.get("SubjectRefPro")
    listed = exercises.get("exercices") if isinstance(exercises, Mapping) else None
    found = set()
    for one in listed if isinstance(listed, list) else ():
        code = _text(one.get("codeProfession")) if isinstance(one, Mapping) else ""
        part = _text(one.get("codeSavoirFaire")) if code else ""
        if code:
            found.add(f"G15_{code}/{part}" if part else f"G15_{code}")
    if not found:
        given = claims.get(claim)
        for role in given if isinstance(given, list) else [given]:
            code, _, table = _text(role).partition("^")
            if code:
                found.add(f"G15_{code}" if table in _PROFESSIONS and code.isalnum() else code)
    return found.pop() if len(found) == 1 else ""


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) and value.isprintable() else ""
