"""Decisions: may this be filed, may this person see this document. Pure, deterministic, and replayable.

What was looked at is gathered first (`Facts`), then judged; a decision keeps the facts and the versions, and `replay`
judges them again. Order of evaluation for a professional (each step is a rule, and the first that speaks wins):

1. the space is not open (LIFE)            2. barred actors, insurers and employers (ACC-09): not built yet
3. blocked by the holder (ACC-05): not built yet
4. author or depositor: allowed (ACC-06)   5. emergency modes (EMG); consent of the care team (CON): not built yet
6. médecin traitant skips 8 (ACC-07): not built yet
7. the matrix (MAT)                        8. masked (VIS-01)                        9. allowed
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from broker.access import Action, Decision, Viewer, professional_key, viewer_keys
from broker.document import Document
from broker.errors import SetupError
from broker.rules import consent, profession, visibility
from broker.rules.consent import Refusal
from broker.rules.profession import Matrix

Audience = Literal["operator", "professional", "patient"]
Language = Literal["en", "fr"]

FILE = "file"
BIOLOGY_REPORT = "11502-2"
"""JDV_J07: compte rendu d'examens biologiques."""

HEALTH_PROFESSIONS = ("G15", "G16")

__all__ = [
    "Audience",
    "Decision",
    "Facts",
    "Language",
    "Rules",
    "Viewer",
    "explain",
    "load",
    "professional_key",
]


class PatientFacts(Protocol):
    """What rules look at in a patient (`records.patients.PatientRow`)."""

    @property
    def id(self) -> int: ...
    @property
    def account(self) -> str: ...
    @property
    def consent_version(self) -> int: ...
    @property
    def filing_opposed(self) -> bool: ...
    @property
    def consents(self) -> Mapping[tuple[str, str], tuple[str, datetime]]: ...


class DocumentFacts(Protocol):
    """What rules look at in a filed document (`records.reading.DocumentRow`)."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def type_code(self) -> str | None: ...
    @property
    def masked_ps(self) -> bool: ...
    @property
    def visible_from(self) -> datetime | None: ...
    @property
    def availability(self) -> str: ...
    @property
    def author_keys(self) -> tuple[str, ...]: ...


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a decision looked at, and nothing it did not."""

    action: str
    now: datetime
    patient: int
    account: str
    consent_version: int
    filing_opposed: bool = False
    identity_status: str = ""
    oppositions: dict[str, str] = {}
    viewer: Viewer | None = None
    document: str = ""
    type_code: str = ""
    masked_ps: bool = False
    visible_from: datetime | None = None
    availability: str = ""
    author_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one version: the matrix and the sentences. Made once at start-up."""

    version: str
    matrix: Matrix
    sentences: Mapping[tuple[str, bool], Mapping[str, str]]

    def filing(
        self, patient: PatientFacts, document: Document | None = None, now: datetime | None = None
    ) -> Decision:
        """May something be filed for this patient? Denied is "not filed, deliveries go on" (CON-07).

        With the document also its identity status is looked at. `now` is kept for the replay; it decides nothing.
        """
        status = (
            document.patient.identity_status
            if document is not None and document.patient is not None
            else ""
        )
        facts = Facts(
            action=FILE,
            now=now or _NO_INSTANT,
            patient=patient.id,
            account=patient.account,
            consent_version=patient.consent_version,
            filing_opposed=patient.filing_opposed,
            identity_status=status,
        )
        return self.judge(facts)

    def reading(
        self,
        viewer: Viewer,
        patient: PatientFacts,
        document: DocumentFacts | None,
        now: datetime,
        action: Action = "read",
    ) -> Decision:
        """May this viewer list or read this document (or, without one, look at the patient's record at all)?"""
        facts = Facts(
            action=action,
            now=now,
            viewer=viewer,
            patient=patient.id,
            account=patient.account,
            consent_version=patient.consent_version,
            oppositions={
                scope: value
                for (kind, scope), (value, _) in patient.consents.items()
                if kind == "emergency"
            },
        )
        if document is not None:
            facts = msgspec.structs.replace(
                facts,
                document=document.id,
                type_code=self._judged_as(document),
                masked_ps=document.masked_ps,
                visible_from=document.visible_from,
                availability=document.availability,
                author_keys=tuple(document.author_keys),
            )
        return self.judge(facts)

    def _judged_as(self, document: DocumentFacts) -> str:
        """The type the matrix is asked for: structured results are judged as the report they make up (derived).

        A laboratory types its message by the panel ordered, which is no document type of JDV_J07; without this rule
        MAT-05 would hide every structured result from everybody.
        """
        code = document.type_code or ""
        if document.kind == "result_report" and code not in self.matrix.types:
            return BIOLOGY_REPORT
        return code

    def judge(self, facts: Facts) -> Decision:
        """The decision on gathered facts."""
        allowed, rule, reason = self._judge(facts)
        return Decision(
            allowed=allowed,
            rule=rule,
            reason=reason,
            action=facts.action,
            rules_version=self.version,
            matrix_version=self.matrix.version,
            consent_version=facts.consent_version,
            inputs=msgspec.to_builtins(facts),
        )

    def replay(self, inputs: Mapping[str, Any]) -> Decision:
        """Decide again from what a decision stored, under these rules: the same answer for the same versions."""
        return self.judge(msgspec.convert(inputs, Facts))

    def _judge(self, facts: Facts) -> tuple[bool, str, str]:
        if facts.viewer is None:
            against = consent.against_filing(
                facts.account, facts.filing_opposed, facts.identity_status
            )
            return _verdict(against, "CON-07", "filing.allowed")
        if facts.viewer.kind == "operator":
            return _operator(facts, facts.viewer)
        if facts.viewer.kind == "patient":
            return _holder(facts, facts.viewer)
        return self._professional(facts, facts.viewer)

    def _professional(self, facts: Facts, viewer: Viewer) -> tuple[bool, str, str]:
        closed = consent.against_reading(facts.account) or _deleted(facts)
        if closed is not None:
            return False, closed.rule, closed.reason
        if viewer_keys(viewer) & set(facts.author_keys):
            return True, "ACC-06", "access.author"
        group = self.matrix.group_of(viewer.profession)
        emergency = consent.against_emergency(
            viewer.mode,
            viewer.motive,
            self._is_health_professional(viewer.profession, group),
            group == "MEDECIN",
            facts.oppositions,
        )
        if emergency is not None:
            return False, emergency.rule, emergency.reason
        if not facts.document:
            return True, "AUD-05", "access.record"
        cell = self.matrix.allows(group, facts.type_code)
        if not cell.is_open:
            reason = "access.matrix_unknown" if cell.rule == "MAT-05" else "access.matrix_closed"
            return False, cell.rule, reason
        return _verdict(
            visibility.against_professional(facts.masked_ps), cell.rule, "access.matrix_open"
        )

    def _is_health_professional(self, code: str, group: str) -> bool:
        """A health profession or its trainee; a group counts when all its codes are of these."""
        systems = {system for (system, _, _), name in self.matrix.groups.items() if name == group}
        if code == group:
            return bool(systems) and systems <= set(HEALTH_PROFESSIONS)
        return bool(group) and (code[:3] in HEALTH_PROFESSIONS or code[:1].isdigit())


_NO_INSTANT = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _verdict(against: Refusal | None, rule: str, reason: str) -> tuple[bool, str, str]:
    return (True, rule, reason) if against is None else (False, against.rule, against.reason)


def _deleted(facts: Facts) -> Refusal | None:
    return Refusal("RET-08", "access.deleted") if facts.availability == "deleted" else None


def _operator(facts: Facts, viewer: Viewer) -> tuple[bool, str, str]:
    """Metadata for the work; content only with a typed reason, and the patient sees that it was opened."""
    if facts.action == "list":
        return True, "OPR-01", "access.operator"
    if not viewer.motive.strip():
        return False, "OPR-02", "access.operator_motive"
    return True, "OPR-02", "access.operator_reveal"


def _holder(facts: Facts, viewer: Viewer) -> tuple[bool, str, str]:
    if viewer.id != str(facts.patient):
        return False, "HOLD-01", "access.other_record"
    against = (
        consent.against_reading(facts.account)
        or _deleted(facts)
        or visibility.against_holder(facts.visible_from, facts.now)
    )
    return _verdict(against, "HOLD-01", "access.own_record")


def load(folder: Path) -> Rules:
    """Read a rules folder (matrix, sentences, versions).

    Raises: SetupError("rules.invalid") naming file and line.
    """
    version = profession.read_manifest(folder).get("rules_version")
    if not isinstance(version, str):
        raise SetupError("rules.invalid", where="manifest.toml", reason="rules_version is missing")
    sentences: dict[tuple[str, bool], Mapping[str, str]] = {}
    for line, row in profession.read_csv(folder / "rules.csv"):
        if row["outcome"] not in ("allow", "deny"):
            raise SetupError(
                "rules.invalid", where=f"rules.csv:{line}", reason="outcome is not allow or deny"
            )
        sentences[row["rule"], row["outcome"] == "allow"] = row
    return Rules(version, profession.load(folder), sentences)


def explain(
    rules: Rules, decision: Decision, audience: Audience = "operator", language: Language = "en"
) -> str:
    """The decision in one sentence for one audience. What is hidden from professionals is "no such document" to them."""
    row = rules.sentences.get((decision.rule, decision.allowed))
    if row is None:
        return decision.reason
    inputs = decision.inputs
    viewer = inputs.get("viewer") or {}
    group = rules.matrix.group_of(viewer.get("profession", ""))
    type_code = inputs.get("type_code", "")
    shown = {
        "account": inputs.get("account", ""),
        "group": group or viewer.get("profession", "") or "?",
        "type": f"{type_code} ({rules.matrix.types[type_code]})"
        if type_code in rules.matrix.types
        else type_code or "?",
        "visible_from": str(inputs.get("visible_from", ""))[:10],
    }
    return string.Formatter().vformat(row[f"{audience}_{language}"], (), shown)
