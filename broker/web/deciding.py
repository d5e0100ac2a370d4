"""The seam to the rules: what decides on a look, what shows a line of the trail, and of what a reader must be told.

Everything the API asks of rules goes through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import msgspec

from broker.access import Action, Decision, Viewer
from broker.document import Patient
from broker.records.accesses import Shows
from broker.records.consent_words import ShowsWord
from broker.records.document_rows import DocumentRow
from broker.records.patients import PatientRow
from broker.records.reading import Decide
from broker.rules import decide, disclosure, visibility
from broker.rules.professional import day_of, years_between

MARKS: Mapping[str, str] = {
    "VIS-06": "not to be disclosed to the patient, or to a minor's representatives",
    "VIS-07": "expressed by the patient",
    "VIS-10": "advance directives: to be looked for before a decision to limit or stop treatment",
}


@dataclass(frozen=True, slots=True)
class Deciding:
    """The rules in force, as the reader of records wants them."""

    rules: decide.Rules
    shows: Shows = disclosure.shows
    shows_word: ShowsWord = disclosure.shows_word

    @property
    def decide(self) -> Decide:
        """What decides on a look."""
        return self.rules.reading

    def decide_for(self, represented: int) -> Decide:
        """What decides on a look of somebody who represents one patient: any other record is not theirs here."""

        def decide_one(
            viewer: Viewer,
            patient: PatientRow,
            document: DocumentRow | None,
            now: datetime,
            action: Action = "read",
        ) -> Decision:
            who = viewer if patient.id == represented else msgspec.structs.replace(viewer, id="")
            return self.rules.reading(who, patient, document, now, action)

        return decide_one

    def marks(self, row: DocumentRow, whose: Patient, now: datetime) -> tuple[str, ...]:
        """What a professional who reads this is told with it, as ids of `MARKS` (VIS-06, VIS-07, VIS-10)."""
        born = _day(whose)
        majority = self.rules.in_force(now)[1].majority
        return visibility.marks(
            visible_from=row.visible_from,
            hidden_from_reps=row.hidden_from_reps,
            is_minor=born is not None and years_between(born, day_of(now)) < majority,
            class_code=row.class_code,
            type_code=row.type_code,
            now=now,
        )


def load(folder: Path, switched: Mapping[str, bool | int] | None = None) -> Deciding:
    """The rules of a folder, with the switches that are set for good. Raises: SetupError."""
    return Deciding(decide.load(folder, switched))


def _day(whose: Patient) -> date | None:
    try:
        return date.fromisoformat(whose.birth_date.value[:10]) if whose.birth_date else None
    except ValueError:
        return None
