"""What routing rules look at: each condition by its name, what it means, and where its values come from. Pure.

A condition holds when some value of the message is one of those wanted. From `KEYS` come the reading of rule files,
their check, the words of an explanation and the reference page.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar, cast, get_args

from broker import header
from broker.document import Coded, Document, Kind, Organization
from broker.rules.consent import READABLE

T = TypeVar("T")

FORMATS = ("hl7v2", "cda", "fhir-r4", "xdm")
IDENTITIES = ("validated", "provisional", "doubtful", "fictitious", "unknown", "ins", "qualified")
CONSENTS = (
    "filing_opposed", "space_not_open", "consultation_refused", "bris_de_glace_opposed", "centre_15_opposed",
)  # fmt: skip
ASKED = ("dmp", "mssante_professional", "mssante_patient", "recipients")

_NOW = datetime(1970, 1, 1, tzinfo=UTC)
_STRUCTURES = "1.2.250.1.71.4.2.2"
"""OID of the national ids of structures, where FINESS 120459876 is written 1120459876."""


class PatientFacts(Protocol):
    """What routing looks at in a patient (`records.patients.PatientRow`)."""

    @property
    def id(self) -> int: ...
    @property
    def consent_version(self) -> int: ...
    @property
    def account(self) -> str: ...
    @property
    def filing_opposed(self) -> bool: ...
    @property
    def consents(self) -> Mapping[tuple[str, str], tuple[str, datetime]]: ...


@dataclass(slots=True)
class Facts:
    """One document of a message on its way to being routed. Values are read when a rule asks, each once.

    source: name of the source it came by; `media` and `format` are those of the message
    patient: whose it is, with the consents in force; None where nobody was found
    now: when it is routed, for rules that begin at a date
    """

    document: Document = field(repr=False)
    source: str = ""
    media: str = ""
    format: str = ""
    patient: PatientFacts | None = None
    now: datetime = _NOW
    _found: dict[str, Any] = field(default_factory=dict, repr=False)

    def of(self, name: str) -> Collection[str]:
        """The values this message has for a condition."""
        return self.kept(name, lambda: KEYS[name].read(self))

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once for this document."""
        if name not in self._found:
            self._found[name] = make()
        return cast(T, self._found[name])


@dataclass(frozen=True, slots=True)
class Key:
    """A condition: what it means (`meaning`), how it is said in a sentence, what values it knows.

    words: the only values there are; empty where any text may come
    may_match: whether a value may be a pattern (`ORU^*`)
    """

    name: str
    meaning: str
    noun_en: str
    noun_fr: str
    read: Callable[[Facts], Collection[str]] = field(repr=False)
    words: tuple[str, ...] = ()
    may_match: bool = False


def _professions(facts: Facts) -> Collection[str]:
    """Codes of the authors: `G15_10/SM03` is also `G15_10`."""
    found: dict[str, None] = {}
    for author in facts.document.authors:
        if author.person is not None:
            for coded in (author.person.role_code, author.person.profession):
                for code in _codes(coded):
                    found |= {code: None, code.partition("/")[0]: None}
    return tuple(found)


def _specialities(facts: Facts) -> Collection[str]:
    """Codes of the authors' specialities, alone (`SM03`)."""
    found: dict[str, None] = {}
    for author in facts.document.authors:
        if author.person is not None:
            found |= dict.fromkeys(
                code.rpartition("/")[2] for code in _codes(author.person.speciality)
            )
            combined = (code.partition("/")[2] for code in _codes(author.person.role_code))
            found |= dict.fromkeys(code for code in combined if code)
    return tuple(found)


def _codes(coded: Coded | None) -> Iterator[str]:
    if coded is not None:
        yield from (coding.code for coding in coded.codings if coding.code)


def _author_structures(facts: Facts) -> Collection[str]:
    found = (_structure(author.organization) for author in facts.document.authors)
    return tuple({value: None for values in found for value in values})


def _custodian(facts: Facts) -> Collection[str]:
    return tuple(_structure(facts.document.custodian))


def _structure(organization: Organization | None) -> Iterator[str]:
    """A structure's numbers as they came; a national id that is a FINESS also without its type digit.

    Source: ANS, StructIdNat: `1` + FINESS (9 characters).
    """
    for one in organization.identifiers if organization is not None else ():
        yield one.value
        is_national = _STRUCTURES in (one.oid, one.system) or one.system == "idnat_struct"
        if is_national and len(one.value) == 10 and one.value[0] == "1":
            yield one.value[1:]


def _wards(facts: Facts) -> Collection[str]:
    """Where the patient is: point of care (PL.1), care unit and medical unit of the movement (ZBE-7, ZBE-8)."""
    found: dict[str, None] = {}
    for encounter in facts.document.encounters:
        if encounter.location is not None and encounter.location.point_of_care:
            found[encounter.location.point_of_care] = None
        if encounter.movement is not None:
            for unit in (encounter.movement.care_unit, encounter.movement.medical_unit):
                found |= dict.fromkeys(_structure(unit))
    return tuple(found)


def _identity(facts: Facts) -> Collection[str]:
    patient = facts.document.patient
    if patient is None:
        return ("unknown",)
    found = [patient.identity_status or "unknown"]
    if any(one.kind.startswith("INS") for one in patient.identifiers):
        found.append("ins")
        if patient.identity_status == "validated":
            found.append("qualified")
    return found


def _consent(facts: Facts) -> Collection[str]:
    patient = facts.patient
    if patient is None:
        return ()
    said = {key: value for key, (value, _) in patient.consents.items()}
    found = []
    if patient.filing_opposed:
        found.append("filing_opposed")
    if patient.account not in READABLE:
        found.append("space_not_open")
    if any(kind == "consultation" and value == "INC" for (kind, _), value in said.items()):
        found.append("consultation_refused")
    found += [
        f"{mode}_opposed"
        for mode in ("bris_de_glace", "centre_15")
        if said.get(("emergency", mode)) == "opposed"
    ]
    return found


def _asked(facts: Facts) -> Collection[str]:
    delivery = facts.document.delivery
    found = [name for name in ASKED[:3] if delivery is not None and getattr(delivery, name)]
    return [*found, "recipients"] if facts.document.recipients else found


_ALL = (
    Key("source", "name of the source it came by", "the source", "la source",
        lambda facts: (facts.source,), may_match=True),
    Key("format", "format of the message", "the format", "le format",
        lambda facts: (facts.format,), FORMATS),
    Key("message_type", "type of the message: MSH-9 (`ORU^R01`), the type of a FHIR Bundle",
        "the message type", "le type de message",
        lambda facts: (facts.document.source.message_type,), may_match=True),
    Key("kind", "kind of the document", "the kind of document", "le genre de document",
        lambda facts: (facts.document.kind,), get_args(Kind)),
    Key("type_code", "code of the document's type (LOINC, TRE_A05), else as the sender wrote it",
        "the document's type", "le type du document",
        lambda facts: (header.type_code(facts.document)[0],)),
    Key("class_code", "code of the document's class (TRE_A03), else as the sender wrote it",
        "the document's class", "la classe du document",
        lambda facts: (header.class_code(facts.document),)),
    Key("media", "media type of the message, as its sender gave it", "the media type", "le type de média",
        lambda facts: (facts.media,), may_match=True),
    Key("confidentiality", "codes of confidentiality and masking (JDV_J08), short forms written out",
        "the confidentiality", "la confidentialité",
        lambda facts: header.confidentiality(facts.document)),
    Key("author_profession", "profession of an author: a group of the matrix (`MEDECIN`) or a code (`G15_10`, `G15_10/SM03`)",
        "the author's profession", "la profession de l'auteur", _professions),
    Key("author_speciality", "speciality of an author (`SM03`)",
        "the author's speciality", "la spécialité de l'auteur", _specialities, may_match=True),
    Key("author_structure", "number of an author's structure; a FINESS with or without its type digit",
        "the author's structure", "la structure de l'auteur", _author_structures, may_match=True),
    Key("custodian", "number of the structure that keeps the document",
        "the custodian", "le conservateur", _custodian, may_match=True),
    Key("ward", "point of care (PL.1), care unit or medical unit of the stay",
        "the ward", "l'unité", _wards, may_match=True),
    Key("identity", "status of the patient's identity; `ins`: the message has an INS; `qualified`: a validated identity with INS",
        "the identity", "l'identité", _identity, IDENTITIES),
    Key("consent", "what the patient said, as it stands when the document is routed",
        "the patient's consent", "le consentement du patient", _consent, CONSENTS),
    Key("asked", "what the sender asks for besides filing; `recipients`: the document names some",
        "what the sender asks for", "ce que demande l'émetteur", _asked, ASKED),
)  # fmt: skip

KEYS: Mapping[str, Key] = {key.name: key for key in _ALL}
CONTENT = "content"
"""Conditions in the mapping language over the document: `reports.observations.flags = 'HH'`."""
ORDER: Mapping[str, int] = {name: place for place, name in enumerate((*KEYS, CONTENT))}
"""Conditions are looked at in this order, the cheap ones first, however a rule lists them."""
