"""What two sets of mappings make of the same message, and how it differs: for a site's upgrade.

Pure. A document is looked at as its leaves; a change is told by its path without list positions, so that twenty
results that changed alike are one kind of change.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

import msgspec

from broker.document import Document, Issue

Kind = Literal["added", "removed", "changed"]

_POSITION = re.compile(r"\[\d+\]")
_OWN = ("mapping", "issues")
"""Fields that name the set or the lines of its files: they differ always. Issues are compared by code and place."""
_TABLE = "translated_by"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one set made of a message: documents, or the reason and place of a refusal."""

    documents: Sequence[Document] = ()
    mapping: str = ""
    issues: Sequence[Issue] = ()
    unread: Sequence[str] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One leaf that differs. `path` begins with `documents[n].` and counts from 1; `old` and `new` hold health data."""

    kind: Kind
    path: str
    old: str = ""
    new: str = ""

    @property
    def group(self) -> tuple[Kind, str]:
        """The change without positions and values: what changes of many messages are counted by."""
        return self.kind, _POSITION.sub("", self.path)


def changes(old: Seen, new: Seen) -> list[Change]:
    """Every difference, in the order of the documents: leaves, then refusal, mapping, issues and unread places."""
    found = list(_lists("documents", _plain(old.documents), _plain(new.documents)))
    for name, was_text, now_text in (
        ("refusal", old.refusal, new.refusal),
        ("mapping", old.mapping, new.mapping),
    ):
        if was_text != now_text:
            found.append(_change(name, was_text or None, now_text or None))
    found += _counted("issue", _issues(old.issues), _issues(new.issues))
    found += _counted("unread", Counter(old.unread), Counter(new.unread))
    return found


def _plain(documents: Sequence[Document]) -> list[Any]:
    """Documents as JSON has them, without what tells of the set and not of the message."""
    plain = msgspec.json.decode(msgspec.json.encode(list(documents)))
    return [
        {name: _placeless(item) for name, item in one.items() if name not in _OWN} for one in plain
    ]


def _placeless(value: Any) -> Any:
    """The same, with tables named from within their set: where the set lies is no difference."""
    if isinstance(value, list):
        return [_placeless(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: item.partition("/")[2] or item
        if name == _TABLE and isinstance(item, str)
        else _placeless(item)
        for name, item in value.items()
    }


def _compare(path: str, was: Any, now: Any) -> Iterator[Change]:
    if was == now:
        return
    if isinstance(was, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*was, *now)):
            yield from _compare(f"{path}.{name}", was.get(name), now.get(name))
    elif isinstance(was, list) and isinstance(now, list):
        yield from _lists(path, was, now)
    elif isinstance(was, dict | list) or isinstance(now, dict | list):
        yield from (Change("removed", at, old=text) for at, text in _leaves(path, was))
        yield from (Change("added", at, new=text) for at, text in _leaves(path, now))
    else:
        yield _change(path, _text(was), _text(now))


def _lists(path: str, was: list[Any], now: list[Any]) -> Iterator[Change]:
    """Items at the same position, or where one list is longer, those that stayed the same found first."""
    if len(was) == len(now):
        spans = [("replace", 0, len(was), 0, len(now))] if was else []
    else:
        before, after = ([msgspec.json.encode(item) for item in items] for items in (was, now))
        spans = list(SequenceMatcher(None, before, after, autojunk=False).get_opcodes())
    for what, low, high, new_low, new_high in spans:
        if what == "equal":
            continue
        both = min(high - low, new_high - new_low)
        for step in range(both):
            yield from _compare(
                f"{path}[{new_low + step + 1}]", was[low + step], now[new_low + step]
            )
        for at in range(low + both, high):
            yield from (
                Change("removed", p, old=t) for p, t in _leaves(f"{path}[{at + 1}]", was[at])
            )
        for at in range(new_low + both, new_high):
            yield from (Change("added", p, new=t) for p, t in _leaves(f"{path}[{at + 1}]", now[at]))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Path and text of each value."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}", item)
    elif isinstance(value, list):
        for number, item in enumerate(value, 1):
            yield from _leaves(f"{path}[{number}]", item)
    elif (text := _text(value)) is not None:
        yield path, text


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _issues(issues: Sequence[Issue]) -> Counter[str]:
    """Severity, code and place."""
    return Counter(
        f"{issue.severity} {issue.code} {issue.source_path or issue.target_path}".strip()
        for issue in issues
    )


def _counted(name: str, before: Counter[str], after: Counter[str]) -> Iterator[Change]:
    for what in dict.fromkeys((*before, *after)):
        if before[what] != after[what]:
            kind: Kind = "removed" if before[what] > after[what] else "added"
            yield Change(kind, f"{name} {what}")


def _change(path: str, was: str | None, now: str | None) -> Change:
    if was is None:
        return Change("added", path, new=now or "")
    if now is None:
        return Change("removed", path, old=was)
    return Change("changed", path, was, now)
