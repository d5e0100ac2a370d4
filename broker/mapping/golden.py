"""Golden tests beside mappings: `NAME.hl7` with `NAME.expect.yaml`. For `carnet mapping test` and for pytest.

`expect` compares some values of the document (its text form, quantities and codes as text); a path is dotted, a list
is read at its first item, at `[n]` (from 1) or at the item a filter `[field='text']` finds; `documents[2].` leads to
another document. `documents` is their number, `absent` lists paths that give nothing; `issues` and `unread`, when
given, must fit exactly. `rejected` expects the reason code instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from broker.document import Issue
from broker.mapping.problems import Problems
from broker.mapping.run import Mapped
from broker.mapping.strict_yaml import Block, Sequence, Text, load

_STEP = re.compile(r"([A-Za-z_]\w*)((?:\[[^\]]*\])*)\.?")
_FILTER = re.compile(r"\[(?:(\d+)|(\w+)='([^']*)')\]")


@dataclass(slots=True)
class Expectation:
    """What an `.expect.yaml` says."""

    mapping: str = ""
    expect: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    documents: int | None = None
    issues: list[str] | None = None
    unread: list[str] | None = None
    rejected: str = ""


def read(text: str, file: str) -> Expectation:
    """Parse an `.expect.yaml`. Raises ValueError when it is not one."""
    problems = Problems()
    root = load(text, file, problems)
    if root is None or problems.errors:
        raise ValueError("\n".join(problems.render(p) for p in problems.found))
    unknown = set(root.items) - {*Expectation.__slots__}
    if unknown:
        raise ValueError(f"{file}: unknown key {min(unknown)}")
    count = _text(root, "documents")
    return Expectation(
        mapping=_text(root, "mapping"),
        expect=_texts(root, "expect"),
        absent=_list(root, "absent") or [],
        documents=int(count) if count else None,
        issues=_list(root, "issues"),
        unread=_list(root, "unread"),
        rejected=_text(root, "rejected"),
    )


def differences(expected: Expectation, mapped: Mapped) -> list[str]:
    """What does not fit, one line each; empty when all does."""
    out = []
    if expected.mapping and mapped.mapping != expected.mapping:
        out.append(f"mapping: {mapped.mapping} instead of {expected.mapping}")
    if expected.documents is not None and len(mapped.documents) != expected.documents:
        out.append(f"documents: {len(mapped.documents)} instead of {expected.documents}")
    documents = msgspec.json.decode(msgspec.json.encode(mapped.documents))
    for path, wanted in expected.expect.items():
        found = value_at(documents, path)
        if found != wanted:
            out.append(f"{path}: {found!r} instead of {wanted!r}")
    out += [
        f"{path}: is there" for path in expected.absent if value_at(documents, path) is not None
    ]
    if expected.issues is not None:
        out += issue_differences(expected.issues, mapped.issues)
    if expected.unread is not None:
        out += [f"unread: {path}" for path in mapped.unread if path not in expected.unread]
        out += [f"unread no more: {path}" for path in expected.unread if path not in mapped.unread]
    return out


def value_at(documents: list[Any], path: str) -> str | None:
    """The value of a path as text; None when there is nothing."""
    if not documents:
        return None
    value: Any = {"documents": documents, **documents[0]}
    i = 0
    while i < len(path):
        m = _STEP.match(path, i)
        if m is None:
            raise ValueError(f"not a path: {path}")
        i = m.end()
        if isinstance(value, list):
            value = value[0] if value else None
        value = value.get(m.group(1)) if isinstance(value, dict) else None
        for number, name, text in _FILTER.findall(m.group(2)):
            value = _picked(value, number, name, text)
    if isinstance(value, list) and value and not isinstance(value[0], dict):
        return ", ".join(map(_shown, value))
    return None if value is None or value == [] else _shown(value)


def _picked(value: Any, number: str, name: str, text: str) -> Any:
    items = value if isinstance(value, list) else []
    if number:
        return items[int(number) - 1] if int(number) <= len(items) else None
    return next((i for i in items if isinstance(i, dict) and _shown(i.get(name)) == text), None)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def issue_differences(expected: list[str], issues: list[Issue]) -> list[str]:
    """Codes that are new or gone, and expected places where none of that code is."""
    found = {issue.code for issue in issues}
    wanted = {line.split(" ")[0] for line in expected}
    out = [f"issue: {code}" for code in sorted(found - wanted)]
    for line in expected:
        code, _, place = line.partition(" ")
        fits = [i for i in issues if i.code == code]
        if not any(not place or place in {i.source_path, i.detail, i.target_path} for i in fits):
            out.append(f"no issue: {line}")
    return out


def _text(root: Block, key: str) -> str:
    value = root.items.get(key)
    return value.value if isinstance(value, Text) else ""


def _texts(root: Block, key: str) -> dict[str, str]:
    block = root.items.get(key)
    items = block.items if isinstance(block, Block) else {}
    return {name: value.value for name, value in items.items() if isinstance(value, Text)}


def _list(root: Block, key: str) -> list[str] | None:
    value = root.items.get(key)
    if not isinstance(value, Sequence):
        return None
    return [item.value for item in value.items if isinstance(item, Text)]
