"""Inheritance of the segments of an outbound mapping: an entry is met again by its `name`, segment or loop.

An entry that is met again merges its fields, its inner segments and its keys; a new one comes last, or behind the
entry that `after` names. For `inherit`.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.mapping.problems import Problems
from broker.mapping.strict_yaml import Block, Item, Sequence, Text

MergeFields = Callable[[Block | None, Block | None, Problems, bool], Block | None]


def entry_name(entry: Item) -> str:
    """What an entry is met again by: its own name, else its segment, else the path of its loop."""
    if isinstance(entry, Block):
        for key in ("name", "segment", "each"):
            if isinstance(text := entry.items.get(key), Text):
                return text.value
    return ""


def merge_segments(
    base: Sequence | None, child: Sequence | None, problems: Problems, merge_fields: MergeFields
) -> Sequence | None:
    """The entries of `child` over those of `base`."""
    if base is None or child is None:
        return child or base
    out = list(base.items)
    for entry in child.items:
        at = _position(out, entry_name(entry))
        old = out[at] if at is not None else None
        if at is not None and isinstance(old, Block) and isinstance(entry, Block):
            out[at] = _merged(old, entry, problems, merge_fields)
        else:
            out.insert(_place(out, entry, problems), entry)
    return Sequence(child.place, out)


def _position(entries: list[Item], name: str) -> int | None:
    return next((i for i, old in enumerate(entries) if name and entry_name(old) == name), None)


def _place(entries: list[Item], entry: Item, problems: Problems) -> int:
    after = entry.items.get("after") if isinstance(entry, Block) else None
    if not isinstance(after, Text):
        return len(entries)
    at = _position(entries, after.value)
    if at is None:
        problems.add(after.place, "E411", f"no inherited segment or loop '{after.value}' here")
        return len(entries)
    return at + 1


def _merged(old: Block, new: Block, problems: Problems, merge_fields: MergeFields) -> Block:
    out = Block(new.place, dict(old.items), dict(old.keys))
    for name, key in new.keys.items():
        value, inherited = new.items[name], old.items.get(name)
        if name == "fields" and isinstance(value, Block) and isinstance(inherited, Block):
            value = merge_fields(inherited, value, problems, False) or value
        elif name == "segments" and isinstance(value, Sequence) and isinstance(inherited, Sequence):
            value = merge_segments(inherited, value, problems, merge_fields) or value
        out.put(key, value)
    return out


def without_segment(entries: Sequence, name: str) -> Sequence | None:
    """The entries without the one of that name, or without the field of that name; None when nothing has it."""
    kept: list[Item] = []
    found = False
    for entry in entries.items:
        if entry_name(entry) == name:
            found = True
            continue
        cut = _without(entry, name) if isinstance(entry, Block) else None
        found = found or cut is not None
        kept.append(cut or entry)
    return Sequence(entries.place, kept) if found else None


def _without(entry: Block, name: str) -> Block | None:
    out = Block(entry.place, dict(entry.items), dict(entry.keys))
    fields, inner = entry.items.get("fields"), entry.items.get("segments")
    if isinstance(fields, Block) and name in fields.items:
        left = Block(fields.place, dict(fields.items), dict(fields.keys))
        del left.items[name], left.keys[name]
        out.items["fields"] = left
        return out
    cut = without_segment(inner, name) if isinstance(inner, Sequence) else None
    if cut is None:
        return None
    out.items["segments"] = cut
    return out
