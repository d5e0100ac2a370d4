"""What a minor may keep to themselves: acts whose mention they object to (MIN-02). Pure.

Source: CSP R.1111-33, with the articles it names in `mappings/rules/minor-acts.csv`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from broker.rules.tables import read_csv

Said = Mapping[tuple[str, str], tuple[str, datetime]]


def articles(folder: Path) -> tuple[str, ...]:
    """The articles under which a minor may object."""
    return tuple(row["article"] for _, row in read_csv(folder / "minor-acts.csv"))


def mentions(said: Said, article: str, *, is_minor: bool) -> bool:
    """Whether an act under this article is mentioned in the space. An adult's is; what was objected to as a minor too.

    Where it is not, the insurer does not transfer the reimbursement either.
    """
    return not is_minor or said.get(("minor_act", article), ("", None))[0] != "objected"
