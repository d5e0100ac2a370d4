"""Which identifiers of a message may name a patient, and which patient they name. Pure; no SQL.

A number for billing (`NH`, `SS`) is often the parent's, an unqualified INS may be anybody's, a placeholder is
everybody's: none of them is a key. Sources: IHE PAM France 2.11.2 (PID-3, PID-32), référentiel INS.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from broker.document import Identifier, Patient
from broker.identity import ins

Outcome = Literal["found", "new", "conflict", "missing"]
Strength = Literal["ins", "local"]

NOT_A_PATIENT = frozenset(
    {"NH", "SS", "INS-C", "AN", "VN", "MC", "HC", "MB", "SN", "SNBSN", "ACSN"}
)
"""Types (HL7 table 0203, French table) of numbers that are not this patient's own: billing, insurance, stays."""

MASTER_TYPES = frozenset({"", "PI", "PT", "PN", "MR", "NDP", "PE", "U"})
PLACE = "patient.identifiers"

_PLACEHOLDERS = frozenset(
    {
        '""', "REDACTED", "UNKNOWN", "UNK", "INCONNU", "NA", "N/A", "NONE", "NULL", "NIL", "TEST", "ANONYMOUS",
        "ANONYME", "NOT AVAILABLE", "NOTAVAILABLE", "UNDEFINED", "TBD", "?", "-",
    }
)  # fmt: skip
_SAME_CHARACTER = re.compile(r"(.)\1{5,}|0+|[xX]+|\*+")
_OID = re.compile(r"[0-2](?:\.\d+)+", re.ASCII)
_QUALIFIED = {"hl7v2": frozenset({"validated"})}
_ELSEWHERE = frozenset({"validated", "unknown", ""})
"""CDA and FHIR carry a qualified INS or none (CI-SIS header; FR Core Patient INS), unless they say otherwise."""


LONGEST = 250
"""Characters of a number and of its authority: they are found by an index, which takes no longer ones. HL7v2 has 15 (CX.1)."""


@dataclass(frozen=True, slots=True)
class Key:
    """One identifier that names a patient. `system` is an OID where one is known, `source:<name>` where none is."""

    system: str
    value: str
    kind: str
    strength: Strength

    @property
    def pair(self) -> tuple[str, str]:
        return self.system, self.value


class Records(Protocol):
    """Who belongs with whom, as a batch has left it so far (`records.identity_circle.Circle`)."""

    def root(self, person: int) -> int: ...
    def members(self, person: int) -> Sequence[int]: ...
    def is_under(self, person: int, other: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Ignored:
    """An identifier that was not used: where it stands, and the reason code."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class PatientKeys:
    """What of a message may name its patient: strongest first; and what may not, and why."""

    usable: tuple[Key, ...]
    ignored: tuple[Ignored, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """Whose message it is. `new_keys` are to be stored with the patient; `reason` and `place` say why nobody's."""

    outcome: Outcome
    patient: int | None = None
    new_keys: tuple[Key, ...] = ()
    reason: str = ""
    place: str = ""


def keys_of(
    patient: Patient | None, fmt: str, source: str = "", *, production: bool
) -> PatientKeys:
    """The usable keys of a patient as a message of format `fmt` (`hl7v2`, `cda`, `fhir-r4`) from `source` has them.

    The INS counts only when the sender may send it: HL7v2 with PID-32 VALI, CDA and FHIR unless they say that the
    identity is not validated. Test identities are refused in production.
    """
    usable: dict[tuple[str, str], Key] = {}
    ignored: list[Ignored] = []
    for position, identifier in enumerate(patient.identifiers if patient is not None else ()):
        status = patient.identity_status if patient is not None else ""
        found = _key(identifier, fmt, source, status, production=production)
        if isinstance(found, Key):
            usable.setdefault(found.pair, found)
        else:
            ignored.append(Ignored(f"{PLACE}[{position}]", found))
    ordered = sorted(
        usable.values(), key=lambda key: (key.strength != "ins", key.kind != "INS-NIR")
    )
    return PatientKeys(tuple(ordered), tuple(ignored))


def _key(
    identifier: Identifier, fmt: str, source: str, status: str, *, production: bool
) -> Key | str:
    """The key an identifier makes, or the reason why it makes none."""
    value = identifier.value.strip()
    if not value or value.upper() in _PLACEHOLDERS or _SAME_CHARACTER.fullmatch(value):
        return "identity.placeholder"
    type_code = identifier.type_code.upper()
    if type_code in NOT_A_PATIENT or identifier.kind in NOT_A_PATIENT:
        return "identity.not_patient_number"
    if identifier.use == "old":
        return "identity.old_number"
    system = system_of(identifier)
    if len(value) > LONGEST or len(system) > LONGEST:
        return "identity.too_long"
    if type_code == "INS" or system.startswith(ins.ARC) or identifier.kind.startswith("INS-"):
        return _ins_key(system, value, fmt, status, production=production)
    kind = identifier.kind or type_code
    if system:
        return Key(system, value, kind, "local")
    if not source:
        return "identity.no_authority"
    scope = f"source:{source}" if type_code in MASTER_TYPES else f"source:{source}:{type_code}"
    return Key(scope, value, kind, "local")


def _ins_key(oid: str, value: str, fmt: str, status: str, *, production: bool) -> Key | str:
    value = value.upper()
    kind = ins.kind(oid)
    if not kind:
        return "identity.ins_authority"
    if production and ins.is_test(oid):
        return "identity.ins_test"
    if status not in _QUALIFIED.get(fmt, _ELSEWHERE):
        return "identity.ins_not_qualified"
    if not ins.is_valid(value):
        return "identity.ins_invalid"
    return Key(oid, value, kind, "ins")


def system_of(identifier: Identifier) -> str:
    """The authority by its OID where there is one: the only name all formats share."""
    for name in (identifier.oid, identifier.system, identifier.uri):
        bare = name.removeprefix("urn:oid:")
        if _OID.fullmatch(bare):
            return bare
    if identifier.system in ins.SYSTEM_KEYS:
        return ins.SYSTEM_KEYS[identifier.system]
    named = identifier.system or identifier.uri or identifier.oid or identifier.authority_name
    return "" if named == "urn:ietf:rfc:3986" else named


def match(
    keys: PatientKeys,
    found: Mapping[tuple[str, str], int],
    known_ins: Mapping[int, Collection[tuple[str, str]]] | None = None,
    records: Records | None = None,
) -> Match:
    """Decide whose message it is from what the record knows of its keys.

    With `records`, persons that were merged are one: the message is filed under the one its keys name, of several
    under the root.

    `known_ins` gives the INS a found patient already has: one number of an authority a person, so a message that
    brings another one for the same local number is a conflict (a collision, or a number used again), never an
    addition. Two patients named at once are never merged here: that needs a person.
    """
    if not keys.usable:
        reason = keys.ignored[0].reason if keys.ignored else "identity.missing"
        return Match(
            "missing",
            reason="identity.missing" if reason == "identity.placeholder" else reason,
            place=PLACE,
        )
    if two_ins(key.pair for key in keys.usable if key.strength == "ins"):
        return Match("conflict", reason="identity.conflict", place=PLACE)
    patients = {found[key.pair] for key in keys.usable if key.pair in found}
    new_keys = tuple(key for key in keys.usable if key.pair not in found)
    if not patients:
        return Match("new", new_keys=new_keys)
    if len(patients) > 1:
        roots = {records.root(one) for one in patients} if records is not None else patients
        if len(roots) > 1:
            return Match("conflict", reason="identity.conflict", place=PLACE)
        patients = roots & patients or {min(patients)}
    patient = patients.pop()
    brought = [key.pair for key in new_keys if key.strength == "ins"]
    if brought and two_ins([*brought, *(known_ins or {}).get(patient, ())]):
        return Match("conflict", reason="identity.ins_differs", place=PLACE)
    return Match("found", patient, new_keys)


def two_ins(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether one authority gives two numbers here. A NIA beside a NIR is normal: the NIR came later."""
    numbers: dict[str, str] = {}
    return any(numbers.setdefault(system, value) != value for system, value in pairs)
