"""Who asks for what, what was decided, and what the trail keeps of it: the words that rules, records and audit share.

No I/O. `Viewer` comes from a session or from the command, `Decision` from `rules.decide`, `Entry` goes to
`audit.trail`; the stages meet in these and never import each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

from broker.errors import SetupError

Mode = Literal["normal", "bris_de_glace", "centre_15", "connexion_secrete"]
ViewerKind = Literal["professional", "patient", "representative", "application", "operator"]
Action = Literal["list", "read", "obtain"]
"""`obtain`: a copy out of a closed space, on request (RET-03)."""

NATIONAL = "ps"
"""Namespace of the national professional id in its long form (`8` + RPPS, `0` + ADELI)."""

ALIASES = {
    "physician": "MEDECIN",
    "podiatrist": "PEDICURE_PODOLOGUE",
    "nurse": "INFIRMIER",
    "midwife": "SAGE_FEMME",
}
"""Everyday names of profession groups, for the command."""


class Viewer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who wants to see something, as they are today.

    `id` is the national professional id (`899900000011`, or the bare RPPS), the internal patient number for a
    patient, a login for an operator, whatever a mandate or an authorisation was declared under for a representative
    and an application. `profession` is a code (`G15_10/SM26`, `G15:80`) or a group (`MEDECIN`).

    structure: FINESS or name of the structure they work in, as visits name it
    structure_name: its name, where `structure` is a number
    team: id of the formal care group they belong to (arrêté of 25 November 2016)
    responsible: national id of the professional who answers for a secretary or a machine (MAT-09, ACC-11)
    automated: no person but a machine
    consent: `explicit` when the patient said yes to this viewer at this consultation (CON-04)
    session: when their emergency session began (EMG-08)
    """

    kind: ViewerKind
    id: str
    name: str = ""
    profession: str = ""
    structure: str = ""
    mode: Mode = "normal"
    motive: str = ""
    team: str = ""
    responsible: str = ""
    automated: bool = False
    consent: Literal["", "explicit"] = ""
    session: datetime | None = None
    structure_name: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with everything needed to explain and replay it.

    `rule` is an id of `rules.csv`, `reason` a code of the catalogue, `inputs` what was looked at (`rules.decide.replay`
    gives the same answer from it); `rules_version` and `matrix_version` say under which texts.
    """

    allowed: bool
    rule: str
    reason: str
    action: str
    rules_version: str
    matrix_version: str
    consent_version: int
    inputs: Mapping[str, Any]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the trail (AUD-03). `subject` is a message, document or patient by its internal id.

    `actor_kind` is machine, operator or a kind of `Viewer`; `actor_snapshot` is JSON (`snapshot`), and so is `details`
    (`particulars`). No health data stands in any field; `motive` is what a person typed.

    A patient stands by the internal number, never by the INS: what is chained cannot be forgotten, and the number leads
    to the INS (`patient_identifier`) for as long as that is kept.
    """

    act: str
    at: datetime
    actor_kind: str
    actor: str
    subject: str
    actor_snapshot: str | None = None
    mode: str | None = None
    motive: str | None = None
    patient: int | None = None
    decision: str | None = None
    outcome: str | None = None
    software: str | None = None
    control_id: str | None = None
    details: str | None = None


def parse_viewer(text: str) -> Viewer:
    """The viewer of a command: `podiatrist`, `MEDECIN`, `operator`, `patient:42`, or `profession=G15_80,id=…,name=…`.

    Raises: SetupError("viewer.invalid") naming the part that is wrong.
    """
    text = text.strip()
    if "=" in text:
        first, _, rest = text.partition(",")
        return _from_pairs(text if "=" in first else f"profession={first},{rest}")
    kind, _, rest = text.partition(":")
    if kind == "operator":
        return Viewer(kind="operator", id=rest or "operator")
    if kind == "patient" and rest.isdigit():
        return Viewer(kind="patient", id=rest)
    if not text or kind == "patient":
        raise SetupError(
            "viewer.invalid",
            where="--as",
            reason="not a viewer",
            hint="podiatrist, patient:42, operator",
        )
    group = ALIASES.get(text.lower(), text)
    return Viewer(kind="professional", id=f"unnamed:{group}", profession=group)


def _from_pairs(text: str) -> Viewer:
    pairs = dict(part.partition("=")[::2] for part in text.split(",") if part.strip())
    pairs = {key.strip(): value.strip() for key, value in pairs.items()}
    pairs.setdefault("kind", "professional")
    pairs["profession"] = ALIASES.get(
        pairs.get("profession", "").lower(), pairs.get("profession", "")
    )
    pairs.setdefault("id", f"unnamed:{pairs['profession']}")
    unknown = sorted(set(pairs) - set(Viewer.__struct_fields__))
    if unknown:
        raise SetupError(
            "viewer.invalid", where=f"--as {unknown[0]}", reason="unknown part of a viewer"
        )
    try:
        return msgspec.convert(pairs, Viewer, strict=False)
    except msgspec.ValidationError as error:
        raise SetupError(
            "viewer.invalid", where="--as", reason="kind or mode is not one that exists"
        ) from error


def professional_key(system: str, value: str) -> str:
    """`namespace|value` of a professional's id, the national one always in its long form.

    Source: ANS, identifiers of persons: `8` + RPPS (11 digits), `0` + ADELI (9 characters).
    """
    value = value.strip()
    system = system.removeprefix("urn:oid:")
    if system not in ("", "rpps", "adeli", NATIONAL, "1.2.250.1.71.4.2.1"):
        return f"{system}|{value}"
    if len(value) == 11 and value.isdigit() and system != "adeli":
        value = f"8{value}"
    elif len(value) == 9:
        value = f"0{value}"
    return f"{NATIONAL}|{value}"


def viewer_keys(viewer: Viewer) -> frozenset[str]:
    """How this professional may stand as an author: the national id, or `system|value` given as it is."""
    return keys_of(viewer.id)


@lru_cache(maxsize=4_096)
def keys_of(number: str) -> frozenset[str]:
    """How a professional of this id may stand as an author, blocked, or in a team."""
    system, bar, value = number.partition("|")
    return frozenset({professional_key(system, value) if bar else professional_key("", number)})


def shown_to(viewer: Viewer) -> str:
    """Classes of viewers a look of this viewer is shown to (AUD-02); who is of a class is decided at reading.

    A connexion secrète leaves no line that representatives see (MIN-07).
    """
    if viewer.mode == "connexion_secrete":
        return "holder,author,auditor"
    return {
        "professional": "holder,representatives,medecin_traitant,author,auditor",
        "patient": "holder,auditor",
        "representative": "holder,representatives,auditor",
        "application": "holder,representatives,auditor",
        "operator": "holder,representatives,auditor",
    }[viewer.kind]


def particulars(made: Decision | None = None, /, **known: str | int | None) -> str | None:
    """The `details` of an entry as JSON, without what is not known; None where nothing is.

    made: the decision behind the act; its rule and the versions of rules and matrix stand first (AUD-03, MAT-07)
    known: of a document `type`, `class`, `unique_id` and `set_id` (the logical id); `channel`: how it was said; others
    """
    found: dict[str, str | int | None] = {}
    if made is not None:
        found = {"rule": made.rule, "rules": made.rules_version, "matrix": made.matrix_version}
    told = {name: value for name, value in (found | known).items() if value not in (None, "")}
    return msgspec.json.encode(told).decode() if told else None


def snapshot(viewer: Viewer) -> str:
    """The viewer as JSON, for rows that must show them as they were that day (people change names and jobs)."""
    return msgspec.json.encode(viewer).decode()
