"""Questions of `carnet decide --if`: the same decision with a cell of the matrix, a consent or a switch another way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import msgspec

from broker.errors import SetupError
from broker.rules import decide, switches
from broker.rules.facts import Facts

_WORDS = {"given": "IC", "refused": "INC", "withdrawn": "withdrawn", "none": ""}
_YES = {"yes": True, "no": False}
EXAMPLES = (
    "matrix:PEDICURE_PODOLOGUE/34112-3=O",
    "consent=given|refused|withdrawn|none",
    "team=given|refused|withdrawn|none",
    "masked=yes|no",
    "blocked=yes|no",
    "traitant=yes|no",
    "account=active",
    "born=2010-05-01",
    "switch:presumed_team_consent=true",
)


def suppose(rules: decide.Rules, facts: Facts, asked: Sequence[str]) -> tuple[decide.Rules, Facts]:
    """Rules and facts as asked. Raises: SetupError("usage.decide") naming what makes no sense."""
    for text in asked:
        name, equals, value = text.partition("=")
        if not equals:
            raise _unknown(text)
        try:
            rules, facts = _one(rules, facts, name.strip(), value.strip())
        except (KeyError, ValueError, AttributeError) as error:
            raise _unknown(text) from error
    return rules, facts


def _one(rules: decide.Rules, facts: Facts, name: str, value: str) -> tuple[decide.Rules, Facts]:
    kind, colon, rest = name.partition(":")
    if kind == "matrix" and colon:
        group, _, type_code = rest.partition("/")
        if value not in ("O", "N") or group not in rules.matrix.names or not type_code:
            raise ValueError(name)
        return rules.supposing(group, type_code, value), facts
    if kind == "switch" and colon:
        made = switches.over([(date.min, facts.switches)], {rest: switches.value_of(rest, value)})
        return rules, msgspec.structs.replace(facts, switches=made[0][1])
    return rules, msgspec.structs.replace(facts, **_fact(name, value))


def _fact(name: str, value: str) -> dict[str, object]:
    if name == "consent":
        return {"explicit": _WORDS[value]} | ({"team": ()} if value == "none" else {})
    if name == "team":
        return {"team": (("supposed", 1, _WORDS[value]),), "explicit": ""}
    if name == "masked":
        return {"masked_ps": _YES[value]}
    if name in ("blocked", "traitant"):
        return {name: _YES[value]}
    if name == "account":
        return {"account": value}
    if name == "born":
        return {"born": date.fromisoformat(value)}
    raise KeyError(name)


def instant(text: str) -> datetime:
    """`2027-01-01` (its noon) or `2027-01-01T08:00`, in UTC. Raises: SetupError("usage.decide")."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise SetupError(
            "usage.decide", where="--at", reason="not a day or an instant", hint="2027-01-01"
        ) from error
    if len(text) == 10:
        found = found.replace(hour=12)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _unknown(text: str) -> SetupError:
    return SetupError(
        "usage.decide",
        where=f"--if {text.partition('=')[0]}",
        reason="not something that can be supposed",
        hint=", ".join(EXAMPLES),
    )
