"""The grammar of a file of routing rules: its keys, and what one file says after reading. For `routing.load`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date

from broker.mapping.problems import Place, Problems, did_you_mean
from broker.mapping.rule_files import RuleFile
from broker.mapping.strict_yaml import Block, Item, Sequence, Text, load
from broker.rules.routing import PRIORITY
from broker.rules.routing_facts import CONTENT, ORDER

LANGUAGE = 1
TOP_KEYS = ("language", "rules")
RULE_KEYS = (
    "rule", "en", "fr", "priority", "valid_from", "when", "unless", "send", "filter", "to", "comment",
)  # fmt: skip

_ID = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_PRIORITY = re.compile(r"\d{1,6}")


@dataclass(slots=True)
class Draft:
    """A rule as its file has it: every value with its place. A rule that cannot be read makes none."""

    id: Text
    place: Place
    en: str = ""
    fr: str = ""
    priority: int = PRIORITY
    valid_from: date | None = None
    when: dict[str, list[Text]] = field(default_factory=dict)
    unless: dict[str, list[Text]] = field(default_factory=dict)
    send: list[Text] = field(default_factory=list)
    reason: str = ""
    to: list[Text] = field(default_factory=list)


def read(file: RuleFile, problems: Problems) -> list[Draft]:
    """The rules of one file, in their order."""
    try:
        text = file.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.add(Place(file.shown, 1, 1), "E001", "the file cannot be read as UTF-8")
        return []
    root = load(text, file.shown, problems)
    if root is None:
        return []
    _known(root, TOP_KEYS, problems)
    language = _text(root, "language", problems, is_needed=True)
    if language is not None and language.value != str(LANGUAGE):
        message = f"language {language.value} is not known here"
        problems.add(language.place, "E104", message, f"use {LANGUAGE}")
    rules = root.items.get("rules")
    if not isinstance(rules, Sequence):
        place = rules.place if rules is not None else root.place
        problems.add(place, "E601", "a file of rules has a list 'rules'", "rules:")
        return []
    drafts = []
    for item in rules.items:
        if isinstance(item, Block):
            drafts.append(_draft(item, problems))
        else:
            problems.add(item.place, "E601", "a rule is a block of keys", "- rule: its-name")
    return [draft for draft in drafts if draft is not None]


def _draft(block: Block, problems: Problems) -> Draft | None:
    _known(block, RULE_KEYS, problems)
    name = _text(block, "rule", problems, is_needed=True)
    if name is None:
        return None
    if not _ID.fullmatch(name.value):
        hint = "1 to 40 of a-z, 0-9, _ and -, beginning with a letter"
        problems.add(name.place, "E602", "a rule's name stands in logs and lists", hint)
    draft = Draft(name, name.place)
    for language in ("en", "fr"):
        sentence = _text(block, language, problems, is_needed=True)
        setattr(draft, language, sentence.value if sentence is not None else "")
    draft.priority = _priority(block, problems)
    draft.valid_from = _valid_from(block, problems)
    draft.when = _conditions(block, "when", problems)
    draft.unless = _conditions(block, "unless", problems)
    _does(block, draft, problems)
    return draft


def _does(block: Block, draft: Draft, problems: Problems) -> None:
    """What the rule does: it sends or it filters."""
    draft.send = _values(block, "send", problems)
    draft.to = _values(block, "to", problems)
    reason = _text(block, "filter", problems)
    draft.reason = reason.value if reason is not None else ""
    if ("send" in block.items) == ("filter" in block.items):
        hint = "send: [destination], or filter: reason"
        problems.add(draft.place, "E603", "a rule either sends or filters", hint)
    if reason is not None and not _ID.fullmatch(reason.value):
        hint = "a short code like not_for_partners; the sentences say the rest"
        problems.add(reason.place, "E602", "a reason stands in logs and lists", hint)
    if "to" in block.items and "filter" not in block.items:
        hint = "of a rule that sends they stand in 'send'"
        problems.add(block.keys["to"].place, "E603", "'to' names what a filter takes", hint)


def _conditions(block: Block, key: str, problems: Problems) -> dict[str, list[Text]]:
    given = block.items.get(key)
    if given is None:
        return {}
    if not isinstance(given, Block):
        problems.add(given.place, "E105", f"'{key}' is a block of conditions")
        return {}
    out = {}
    for name, word in given.keys.items():
        if name not in ORDER:
            hint = did_you_mean(name, ORDER) or "one of " + ", ".join(ORDER)
            problems.add(word.place, "E101", f"unknown condition '{name}'", hint)
            continue
        out[name] = _values(given, name, problems, may_be_one=True)
    return out


def _values(block: Block, key: str, problems: Problems, *, may_be_one: bool = False) -> list[Text]:
    """A list of texts, never empty; of a condition also a text alone."""
    given = block.items.get(key)
    if given is None:
        return []
    if may_be_one and isinstance(given, Text) and given.value:
        return [given]
    items: list[Item] = given.items if isinstance(given, Sequence) else []
    texts = [item for item in items if isinstance(item, Text) and item.value]
    if not texts or len(texts) != len(items):
        what = "a text or a list of texts" if key == CONTENT else "a list of texts"
        problems.add(given.place, "E105", f"'{key}' is {what}", f"{key}: [value]")
    return texts


def _text(block: Block, key: str, problems: Problems, *, is_needed: bool = False) -> Text | None:
    given = block.items.get(key)
    if isinstance(given, Text) and given.value:
        return given
    if given is not None:
        problems.add(given.place, "E105", f"'{key}' is a text")
    elif is_needed:
        first = next(iter(block.keys.values()), None)
        place = first.place if first is not None else block.place
        problems.add(place, "E106", f"'{key}' is missing here")
    return None


def _priority(block: Block, problems: Problems) -> int:
    given = _text(block, "priority", problems)
    if given is None:
        return PRIORITY
    if not _PRIORITY.fullmatch(given.value):
        problems.add(given.place, "E604", "a priority is a whole number", "smaller is earlier")
        return PRIORITY
    return int(given.value)


def _valid_from(block: Block, problems: Problems) -> date | None:
    given = _text(block, "valid_from", problems)
    if given is None:
        return None
    try:
        return date.fromisoformat(given.value)
    except ValueError:
        problems.add(given.place, "E604", "not a calendar day", "valid_from: 2026-03-01")
        return None


def _known(block: Block, keys: tuple[str, ...], problems: Problems) -> None:
    for key in block.keys.values():
        if key.value not in keys:
            hint = did_you_mean(key.value, keys) or "one of " + ", ".join(keys)
            problems.add(key.place, "E101", f"unknown key '{key.value}'", hint)
