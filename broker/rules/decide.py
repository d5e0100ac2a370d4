"""Decisions: may this be filed, may this person see this document. Pure, deterministic, and replayable.

What was looked at is gathered first (`rules.facts`), then judged; a decision keeps the facts and the versions, and
`replay` judges them again. The order of evaluation stands in `rules.professional` and `rules.holder`. Matrix, switches
and sentences are those of the day of the decision.
"""

from __future__ import annotations

import string
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from broker.access import Action, Decision, Viewer, professional_key
from broker.document import Document
from broker.errors import SetupError
from broker.rules import facts as gathering
from broker.rules import holder, orders, profession, professional, switches
from broker.rules.facts import (
    BIOLOGY_REPORT,
    FILE,
    DocumentFacts,
    Facts,
    FilingFacts,
    PatientFacts,
    Sitting,
)
from broker.rules.profession import Matrix
from broker.rules.professional import Verdict
from broker.rules.switches import Switches
from broker.rules.tables import invalid, read_csv, read_manifest

Audience = Literal["operator", "professional", "patient"]
Language = Literal["en", "fr"]

__all__ = [
    "FILE",
    "Audience",
    "Decision",
    "DocumentFacts",
    "Facts",
    "Language",
    "PatientFacts",
    "Rules",
    "Viewer",
    "explain",
    "load",
    "professional_key",
]

Sentences = Mapping[tuple[str, bool], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one version, day by day: matrices, switches and sentences. Made once at start-up.

    `matrices` and `dated` are sorted by their day; `version` is that of the folder.
    """

    version: str
    matrices: Sequence[Matrix]
    dated: Sequence[tuple[date, Switches]]
    texts: Sequence[tuple[date, Sentences]]
    _days: dict[date, tuple[Matrix, Switches]] = field(default_factory=dict, compare=False)
    _last: list[tuple[Viewer, PatientFacts, datetime, Sitting]] = field(
        default_factory=list, compare=False
    )

    @property
    def matrix(self) -> Matrix:
        """The first matrix: its columns and types are those of all days."""
        return self.matrices[0]

    @property
    def sentences(self) -> Sentences:
        """The sentences of the newest texts."""
        return self.texts[-1][1]

    def in_force(self, now: datetime) -> tuple[Matrix, Switches]:
        """Matrix and switches of the day of an instant, as days are counted in Paris."""
        day = professional.day_of(now)
        found = self._days.get(day)
        if found is None:
            later = bisect_right([one.valid_from for one in self.matrices[1:]], day)
            switch = bisect_right([start for start, _ in self.dated], day) - 1
            found = self.matrices[later], self.dated[switch][1]
            if len(self._days) < _DAYS:
                self._days[day] = found
        return found

    def filing(
        self, patient: FilingFacts, document: Document | None = None, now: datetime | None = None
    ) -> Decision:
        """May something be filed for this patient? Denied is "not filed, deliveries go on" (CON-07).

        With the document also its identity status and its masks are looked at.
        """
        now = now or gathering.NO_INSTANT
        return self.judge(gathering.of_filing(patient, document, now, self.in_force(now)[1]))

    def reading(
        self,
        viewer: Viewer,
        patient: PatientFacts,
        document: DocumentFacts | None,
        now: datetime,
        action: Action = "read",
    ) -> Decision:
        """May this viewer list or read this document (or, without one, look at the patient's record at all)?"""
        return self.judge(self._facts(viewer, patient, document, now, action))

    def changing(
        self,
        viewer: Viewer,
        patient: PatientFacts,
        document: DocumentFacts,
        change: orders.Change,
        now: datetime,
        *,
        by_patient: bool = False,
    ) -> Decision:
        """May this viewer mask, show, delete or replace this document? `by_patient`: the patient filed it."""
        facts = self._facts(viewer, patient, document, now, "read")
        extra = ("by_patient",) if by_patient else ()
        return self.judge(msgspec.structs.replace(facts, action=change, orders=extra))

    def _facts(
        self,
        viewer: Viewer,
        patient: PatientFacts,
        document: DocumentFacts | None,
        now: datetime,
        action: Action,
    ) -> Facts:
        """A list asks for many documents in a row: what they have in common is gathered once."""
        last = self._last[0] if self._last else None
        if last is None or last[0] is not viewer or last[1] is not patient or last[2] is not now:
            sitting = Sitting(viewer, patient, now, self.in_force(now)[1])
            self._last[:] = [(viewer, patient, now, sitting)]
        else:
            sitting = last[3]
        code = "" if document is None else self._judged_as(document)
        return sitting.facts(document, code, action)

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
        matrix = self.in_force(facts.now)[0]
        allowed, rule, reason = _judge(facts, matrix)
        return Decision(
            allowed=allowed,
            rule=rule,
            reason=reason,
            action=facts.action,
            rules_version=self.version,
            matrix_version=matrix.version,
            consent_version=facts.consent_version,
            inputs=msgspec.to_builtins(facts),
        )

    def replay(self, inputs: Mapping[str, Any]) -> Decision:
        """Decide again from what a decision stored, under these rules: the same answer for the same versions."""
        return self.judge(msgspec.convert(inputs, Facts))

    def path(self, facts: Facts) -> Iterator[tuple[str, Verdict | None]]:
        """Each step that was asked, and what it said; None: it had nothing against it. The last one decided."""
        matrix = self.in_force(facts.now)[0]
        viewer = facts.viewer
        if viewer is None or viewer.kind != "professional" or facts.action in orders.CHANGES:
            yield "verdict", _judge(facts, matrix)
            return
        for step in professional.STEPS:
            said = step(facts, viewer, matrix)
            yield step.__name__, said
            if said is not None:
                return

    def supposing(self, group: str, type_code: str, access: str) -> Rules:
        """The same rules with one cell another way, on every day."""
        made = [one.supposing(group, type_code, access) for one in self.matrices]
        return replace(self, matrices=made, _days={}, _last=[])


_DAYS = 1_000
"""Days whose matrix and switches are remembered."""


def _judge(facts: Facts, matrix: Matrix) -> Verdict:
    viewer = facts.viewer
    if viewer is None:
        return orders.of_filing(facts)
    if facts.action in orders.CHANGES:
        return orders.of_change(facts, viewer, "by_patient" in facts.orders)
    if viewer.kind == "professional":
        for step in professional.STEPS:
            said = step(facts, viewer, matrix)
            if said is not None:
                return said
    return _OTHERS[viewer.kind](facts, viewer)


_OTHERS = {
    "patient": holder.of_holder,
    "representative": holder.of_representative,
    "application": holder.of_application,
    "operator": holder.of_operator,
}


def load(folder: Path, given: Mapping[str, bool | int] | None = None) -> Rules:
    """Read a rules folder (matrix, switches, sentences, versions); `given` are switches set for good.

    Raises: SetupError("rules.invalid") naming file and line.
    """
    version = read_manifest(folder).get("rules_version")
    if not isinstance(version, str):
        raise SetupError("rules.invalid", where="manifest.toml", reason="rules_version is missing")
    dated = switches.over(switches.load(folder / "switches.csv"), given or {})
    return Rules(version, profession.load_dated(folder), dated, _texts(folder))


def _texts(folder: Path) -> list[tuple[date, Sentences]]:
    """The sentences by the day from which they are said; a row with a `valid_from` replaces the one before it."""
    rows: dict[date, dict[tuple[str, bool], Mapping[str, str]]] = {date.min: {}}
    for line, row in read_csv(folder / "rules.csv"):
        if row["outcome"] not in ("allow", "deny"):
            raise invalid("rules.csv", line, "outcome is not allow or deny")
        try:
            day = date.fromisoformat(row["valid_from"]) if row.get("valid_from") else date.min
        except ValueError as error:
            raise invalid("rules.csv", line, "valid_from is not a day") from error
        rows.setdefault(day, {})[row["rule"], row["outcome"] == "allow"] = row
    found: list[tuple[date, Sentences]] = []
    for day, changed in sorted(rows.items()):
        found.append((day, {**(found[-1][1] if found else {}), **changed}))
    return found


def explain(
    rules: Rules, decision: Decision, audience: Audience = "operator", language: Language = "en"
) -> str:
    """The decision in one sentence for one audience. What is hidden from professionals is "no such document" to them."""
    inputs = decision.inputs
    day = date.fromisoformat(str(inputs.get("now", "1970-01-01"))[:10])
    texts = rules.texts[bisect_right([start for start, _ in rules.texts], day) - 1][1]
    row = texts.get((decision.rule, decision.allowed))
    if row is None:
        return decision.reason
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
