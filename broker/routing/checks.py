"""What is wrong with a rule though it can be read: names and codes that do not exist, rules that are never reached."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from broker.mapping.problems import Place, Problems, did_you_mean
from broker.mapping.strict_yaml import Text
from broker.routing.codes import Codes, Known, by_condition
from broker.routing.language import Draft
from broker.rules.routing import Rule, is_pattern, matcher
from broker.rules.routing_facts import CONTENT, KEYS
from broker.rules.routing_reach import never_reached

_OPEN = ("type_code", "class_code")
"""Conditions whose codes a sender may have made up: a code that no list has is worth a warning."""
_DOCUMENTS = "clinical_document"


def names(drafts: Sequence[Draft], known: Known, problems: Problems) -> None:
    """Each rule has a name of its own, and its destinations and sources are those of the settings."""
    seen: dict[str, str] = dict.fromkeys(known.routes, "a route of the settings")
    for draft in drafts:
        name = draft.id.value
        if name in seen:
            message = f"another rule is named '{name}'"
            problems.add(draft.id.place, "E605", message, f"it is {seen[name]}")
        seen.setdefault(name, f"at {draft.id.place}")
        for one in (*draft.send, *draft.to):
            _exists(one, known.destinations, "E606", "destination", problems)
        for conditions in (draft.when, draft.unless):
            for one in conditions.get("source", ()):
                _exists(one, known.sources, "E607", "source", problems)


def _exists(
    text: Text, known: Collection[str] | None, code: str, what: str, problems: Problems
) -> None:
    if known is None or text.value in known:
        return
    if what == "source" and is_pattern(text.value) and any(map(matcher([text.value]), known)):
        return
    hint = did_you_mean(text.value, known) or (
        "known: " + ", ".join(sorted(known)) if known else f"the settings have no {what}"
    )
    problems.add(text.place, code, f"no {what} '{text.value}' in the settings", hint)


def values(draft: Draft, codes: Codes, problems: Problems) -> None:
    """Every value is a word or code that exists in its condition, and a pattern stands only where one may."""
    for conditions in (draft.when, draft.unless):
        for name, texts in conditions.items():
            for text in texts if name != CONTENT else ():
                _value(name, text, draft, codes, problems)


def _value(name: str, text: Text, draft: Draft, codes: Codes, problems: Problems) -> None:
    key = KEYS[name]
    known = key.words or by_condition(codes).get(name, ())
    if is_pattern(text.value):
        if not key.may_match:
            hint = "write the values one by one"
            problems.add(text.place, "E609", f"'{name}' takes no patterns", hint)
        elif known and not any(map(matcher([text.value]), known)):
            problems.add(text.place, "E608", f"'{text.value}' fits no code of '{name}'")
        return
    if not known or text.value in known:
        return
    if name == "author_profession" and codes.group_of(text.value):
        return
    hint = did_you_mean(text.value, known) or (
        "one of " + ", ".join(key.words) if key.words else ""
    )
    if name not in _OPEN:
        problems.add(text.place, "E608", f"'{text.value}' is no value of '{name}'", hint)
    elif _is_of_documents(draft):
        hint = hint or "right where the sender has codes of its own"
        problems.warn(
            text.place, "W601", f"'{text.value}' is in no national list of '{name}'", hint
        )


def _is_of_documents(draft: Draft) -> bool:
    """Whether the rule is about documents that have a national type; results are typed by the panel ordered."""
    kinds = [text.value for text in draft.when.get("kind", ())]
    return not kinds or _DOCUMENTS in kinds


def reached(
    rules: Sequence[Rule], place_of: Callable[[Rule], Place | None], problems: Problems
) -> None:
    """No rule stands behind one that decides all it could decide. `rules` in their order."""
    for one in never_reached(rules):
        place, before = place_of(one.rule), place_of(one.earlier)
        earlier = f"'{one.earlier.id}'" + (f" at {before}" if before is not None else "")
        if place is None:
            if before is not None and not one.is_harmless:
                message = (
                    f"the route '{one.rule.id}' of the settings is never taken behind this rule"
                )
                problems.warn(before, "W602", message, "take the route away, or narrow the rule")
        elif one.is_harmless:
            message = f"'{one.rule.id}' sends nowhere that {earlier} does not send already"
            problems.warn(place, "W602", message)
        else:
            message = f"'{one.rule.id}' is never reached: {earlier} decides before it"
            hint = "narrow the earlier rule, or give this one a smaller priority"
            problems.add(place, "E610", message, hint)
