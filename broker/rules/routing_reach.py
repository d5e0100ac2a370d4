"""Rules that can never do anything, since an earlier one with the same or broader conditions comes first. Pure.

A finding is certain; not every unreachable rule is found, since two conditions on content are compared as texts only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.rules.routing import EVERY, Condition, Rule, is_pattern, matcher
from broker.rules.routing_facts import CONTENT, KEYS


@dataclass(frozen=True, slots=True)
class Unreached:
    """A rule that never does anything, and the earlier one that decides the last of its destinations.

    is_harmless: it sends where earlier rules send already, so that nothing changes without it
    """

    rule: Rule
    earlier: Rule
    is_harmless: bool


def never_reached(rules: Sequence[Rule]) -> list[Unreached]:
    """The rules whose destinations are all decided before them. `rules` in their order."""
    found = []
    for number, rule in enumerate(rules):
        left = set(rule.takes)
        is_harmless = not rule.is_filter
        for earlier in rules[:number]:
            if not _covers(earlier, rule):
                continue
            decided = left if EVERY in earlier.takes else left & set(earlier.takes)
            is_harmless = is_harmless and not (decided and earlier.is_filter)
            left = left - decided
            if not left:
                found.append(Unreached(rule, earlier, is_harmless))
                break
    return found


def _covers(earlier: Rule, later: Rule) -> bool:
    """Whether the earlier rule holds whenever the later one does."""
    if earlier.valid_from is not None and (
        later.valid_from is None or later.valid_from < earlier.valid_from
    ):
        return False
    return all(any(_implies(one, wanted) for one in later.when) for wanted in earlier.when) and all(
        any(_implies(excluded, one) for one in later.unless) for excluded in earlier.unless
    )


def _implies(narrow: Condition, broad: Condition) -> bool:
    """Whether a message for which `narrow` holds is one for which `broad` holds."""
    if narrow.name != broad.name:
        return False
    if narrow.name == CONTENT:
        return narrow.wanted == broad.wanted
    left = set(narrow.wanted).difference(broad.wanted)
    if not KEYS[narrow.name].may_match:
        return not left
    return all(_among(one, broad.wanted) for one in left)


def _among(value: str, wanted: Iterable[str]) -> bool:
    """A value fits a pattern of the others; of a pattern only its own text, or what is plainly wider, is sure."""
    patterns = [one for one in wanted if is_pattern(one)]
    if not patterns:
        return False
    if is_pattern(value):
        return any(
            one.endswith("*") and not is_pattern(one[:-1]) and value.startswith(one[:-1])
            for one in patterns
        )
    return matcher(patterns)(value)
