"""The articles under which a minor may object to the mention of acts (MIN-02). Pure.

The objection is kept (`records.consents`); no message says under which article an act was, so nothing is left out by it.
Source: CSP R.1111-33, with the articles it names in `mappings/rules/minor-acts.csv`.
"""

from __future__ import annotations

from pathlib import Path

from broker.rules.tables import read_csv


def articles(folder: Path) -> tuple[str, ...]:
    """The articles under which a minor may object."""
    return tuple(row["article"] for _, row in read_csv(folder / "minor-acts.csv"))
