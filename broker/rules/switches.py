"""The switches of the rules: what the texts leave open or changed over time, each with the default of its text. Data.

`mappings/rules/switches.csv` gives values by date; the settings `[rules]` may set one for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import msgspec

from broker.errors import SetupError
from broker.rules.tables import invalid, read_csv


class Switches(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Values in force at one instant; kept with each decision as far as they differ from these defaults.

    The defaults here never change: a new text is a line of the file.

    presumed_team_consent: CON-06, consent of a team member is presumed (arrêté of 2023, annulled on 15 October 2025)
    block_holds_in_emergency: EMG-05, a block holds in bris de glace
    cumulated_masks: VIS-05, MASQUE_PS and INVISIBLE_PATIENT together are taken
    explicit_choice_for_minors: MIN-06, a sender's orders for a minor must say what representatives see
    majority: MIN-05, age of majority in years; `secret_age` the least age for a connexion secrète
    emergency_hours: EMG-08, longest emergency session
    consultation_hours: CON-04, how long a consent given outside the team is of the same consultation
    """

    presumed_team_consent: bool = False
    block_holds_in_emergency: bool = True
    cumulated_masks: bool = False
    explicit_choice_for_minors: bool = False
    majority: int = 18
    secret_age: int = 0
    emergency_hours: int = 4
    consultation_hours: int = 4


NORMAL = Switches()


def _known(made: Switches) -> Switches:
    return NORMAL if made == NORMAL else made


def load(path: Path) -> list[tuple[date, Switches]]:
    """The switches by the day from which they hold, oldest first.

    Raises: SetupError("rules.invalid") naming file and line.
    """
    changes: list[tuple[date, str, bool | int]] = []
    for line, row in read_csv(path):
        try:
            day, chosen = (
                date.fromisoformat(row["valid_from"]),
                value_of(row["switch"], row["value"]),
            )
        except (ValueError, AttributeError) as error:
            raise invalid(path.name, line, "no such switch, value or day") from error
        changes.append((day, row["switch"], chosen))
    found: list[tuple[date, Switches]] = [(date.min, NORMAL)]
    for day, name, chosen in sorted(changes, key=lambda one: one[0]):
        made = _known(msgspec.structs.replace(found[-1][1], **{name: chosen}))
        if found[-1][0] == day:
            found[-1] = (day, made)
        else:
            found.append((day, made))
    return found


def value_of(name: str, text: str) -> bool | int:
    """A switch's value of its text. Raises: ValueError, AttributeError when it is none."""
    if isinstance(getattr(NORMAL, name), bool):
        return {"true": True, "false": False}[text] if text in ("true", "false") else _bad(text)
    return int(text)


def _bad(text: str) -> bool:
    raise ValueError(text)


def over(
    dated: list[tuple[date, Switches]], given: Mapping[str, bool | int]
) -> list[tuple[date, Switches]]:
    """The same with some switches set for good. Raises: SetupError("rules.invalid") for one that does not exist."""
    unknown = sorted(set(given) - set(Switches.__struct_fields__))
    if unknown:
        raise SetupError("rules.invalid", where=f"switch {unknown[0]}", reason="no such switch")
    return [(day, _known(msgspec.structs.replace(one, **given))) for day, one in dated]
