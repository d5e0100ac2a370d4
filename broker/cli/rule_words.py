"""The sentences of routing rules, as they stood in the set a message was decided by. For lists and timelines."""

from __future__ import annotations

import re

from broker.cli import opened
from broker.mapping_sets import rule_sentences

FILTERED = "routing.filtered"
_RULE = re.compile(r"rule ([a-z][a-z0-9_-]*): \S+")


class Sentences:
    """Looks them up, each set once."""

    def __init__(self, ledger: opened.Ledger) -> None:
        self._ledger = ledger
        self._sets: dict[str, dict[str, str]] = {}

    def of(self, mapping_set: str | None, rule: str | None) -> str:
        """A rule's sentence; empty where the set is not kept or has no such rule."""
        if not mapping_set or not rule:
            return ""
        if mapping_set not in self._sets:
            self._sets[mapping_set] = rule_sentences(self._ledger.engine, mapping_set)
        return self._sets[mapping_set].get(rule, "")

    def of_step(self, mapping_set: str | None, outcome: str) -> str:
        """The sentence of the rule that a step of the trail names (`rule dmp-only: reason`)."""
        found = _RULE.fullmatch(outcome)
        return self.of(mapping_set, found[1]) if found is not None else ""
