"""What became of a rule, in words: for `carnet decide`. Values are the rule's own, never those of a message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from broker.rules.routing import EVERY, Condition, Considered, Rule
from broker.rules.routing_facts import CONTENT, KEYS

Language = Literal["en", "fr"]

_SHOWN = 6
"""So many values of a condition are named; of more, how many there are."""
_EN = {
    "not_yet": "not yet in force: valid from {day}",
    "stopped": "not looked at: '{by}' filtered every destination before",
    "idle": "holds, and all it would do was decided before",
    "sends": "sends to {to}",
    "filters": "filters for {to} ({reason})",
    "every": "every destination",
    "when": "does not apply: {noun} is none of {values}",
    "unless": "does not apply: {noun} is one of {values}",
    "content": "does not apply: the content is not so that {values}",
    "unless content": "does not apply: the content is so that {values}",
    "more": "{values} and {n} more",
}
_FR = {
    "not_yet": "pas encore en vigueur : valable à partir du {day}",
    "stopped": "pas examinée : « {by} » a filtré toutes les destinations avant elle",
    "idle": "s'applique, mais tout était déjà décidé avant elle",
    "sends": "envoie vers {to}",
    "filters": "filtre pour {to} ({reason})",
    "every": "toutes les destinations",
    "when": "ne s'applique pas : {noun} n'est pas parmi {values}",
    "unless": "ne s'applique pas : {noun} est parmi {values}",
    "content": "ne s'applique pas : le contenu n'est pas tel que {values}",
    "unless content": "ne s'applique pas : le contenu est tel que {values}",
    "more": "{values} et {n} autres",
}


def became(one: Considered, language: Language = "en") -> str:
    """What became of a rule, in one sentence without its name."""
    words = _EN if language == "en" else _FR
    if one.failed is not None:
        return _failed(one.failed, is_unless=one.is_unless, language=language)
    if one.state == "not_yet" and one.rule.valid_from is not None:
        return words["not_yet"].format(day=one.rule.valid_from.date().isoformat())
    if one.state == "stopped":
        return words["stopped"].format(by=one.by)
    if one.state == "idle":
        return words["idle"]
    to = ", ".join(words["every"] if name == EVERY else name for name in one.done)
    if one.rule.is_filter:
        return words["filters"].format(to=to, reason=one.rule.reason)
    return words["sends"].format(to=to)


def sentence(rule: Rule, language: Language = "en") -> str:
    """The rule's own sentence; a route of the settings has none."""
    return rule.en if language == "en" else rule.fr


def _failed(condition: Condition, *, is_unless: bool, language: Language) -> str:
    words = _EN if language == "en" else _FR
    if condition.name == CONTENT:
        form = words["unless content" if is_unless else "content"]
        return form.format(values=condition.wanted[0])
    key = KEYS[condition.name]
    noun = key.noun_en if language == "en" else key.noun_fr
    values = _listed(condition.wanted, words["more"])
    return words["unless" if is_unless else "when"].format(noun=noun, values=values)


def _listed(values: Iterable[str], more: str) -> str:
    named = list(values)
    shown = ", ".join(named[:_SHOWN])
    left = len(named) - _SHOWN
    return more.format(values=shown, n=left) if left > 0 else shown
