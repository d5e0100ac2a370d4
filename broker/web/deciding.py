"""The seam to the rules: what decides on a look, and which text of the rules it was.

Everything the API asks of rules goes through here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from broker.records.reading import Decide
from broker.rules import decide


@dataclass(frozen=True, slots=True)
class Deciding:
    """The rules in force, as the reader of records wants them."""

    decide: Decide


def load(folder: Path) -> Deciding:
    """The rules of a folder. Raises: SetupError."""
    return Deciding(decide.load(folder).reading)
