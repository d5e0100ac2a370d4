"""Inheritance: several files merged by target path into the one that runs. Section 9 of the language.

A leaf rule is replaced whole; `name+` appends to an inherited list; `remove` takes away; `each`, `when` and the
groups of an inherited block stay unless given again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from broker.mapping import parts
from broker.mapping.inherit_segments import merge_segments, without_segment
from broker.mapping.language import RULE_KEYWORDS, MappingFile
from broker.mapping.problems import Problems
from broker.mapping.strict_yaml import Block, Item, Sequence, Text
from broker.mapping.versions import allows, is_range

MAX_LEVELS = 5
_WHERE = frozenset({"each", "when", "comment"})
"""Keywords that alone say where an inherited block is read from."""


def flatten(file: MappingFile, files: dict[Path, MappingFile], problems: Problems) -> MappingFile:
    """`file` with everything it extends merged beneath it, each ancestor once, in the order they are named."""
    line: list[MappingFile] = []
    _line_up(file, files, problems, (), line)
    merged = _empty(file)
    named: dict[str, Block] = {}
    for one in line:
        named = parts.merged(named, one.parts)
    laid = parts.Parts(named, problems)
    for one in line:
        document, documents = laid.laid_into(one)
        merged = _merge(merged, replace(one, document=document, documents=documents), problems)
    merged.ancestors = {one.name for one in line if one is not file}
    merged.ancestors |= {
        text.value for one in line for text in one.extends if text.value.startswith("builtin:")
    }
    return merged


def extended_file(file: MappingFile, name: str, files: dict[Path, MappingFile]) -> Path:
    """The file that `name` means in the `extends` of a file: from its own folder, else from the top of a set's folder.

    A way that leads out of the file's folder of the set is none: folders do not lie beside each other everywhere.
    """
    beside = (file.path.parent / name).resolve()
    if beside in files and beside.is_relative_to(file.root):
        return beside
    found = ((root / name).resolve() for root in dict.fromkeys(f.root for f in files.values()))
    return next(
        (path for path in found if path in files and files[path].root / name == path), Path()
    )


def _named_outright(file: MappingFile, name: str, files: dict[Path, MappingFile]) -> str:
    other = files.get((file.path.parent / name).resolve())
    if other is None:
        return ""
    return f"name it from the top of its folder: '{other.path.relative_to(other.root).as_posix()}'"


def _line_up(
    file: MappingFile,
    files: dict[Path, MappingFile],
    problems: Problems,
    below: tuple[Path, ...],
    line: list[MappingFile],
) -> None:
    """Ancestors before their heirs; what two parents share comes once, so it cannot undo either of them."""
    for text in file.extends:
        if text.value.startswith("builtin:"):
            if text.value != f"builtin:{file.target}":
                problems.add(text.place, "E403", f"no writer '{text.value}'", "builtin:fhir-r4")
            continue
        path = extended_file(file, text.value, files)
        parent = files.get(path)
        if path in (*below, file.path):
            problems.add(text.place, "E401", f"'{text.value}' extends itself")
        elif len(below) + 1 >= MAX_LEVELS:
            problems.add(text.place, "E402", f"more than {MAX_LEVELS} levels of 'extends'")
        elif parent is None:
            hint = _named_outright(file, text.value, files)
            problems.add(text.place, "E403", f"no mapping file '{text.value}' in this set", hint)
        elif parent.source != file.source:
            problems.add(text.place, "E404", f"'{text.value}' maps from {parent.source}")
        elif parent.target != file.target:
            problems.add(text.place, "E404", f"'{text.value}' maps to {parent.target}")
        else:
            _check_version(file.needed_versions.get(text.value), parent, problems)
            _line_up(parent, files, problems, (*below, file.path), line)
    if file not in line:
        line.append(file)


def _check_version(wanted: Text | None, parent: MappingFile, problems: Problems) -> None:
    if wanted is None:
        return
    if not is_range(wanted.value):
        problems.add(wanted.place, "E410", f"'{wanted.value}' is no range of versions", ">=1.2 <2")
    elif not allows(wanted.value, parent.version):
        message = f"'{parent.name}' is {parent.version} here"
        problems.add(wanted.place, "E410", message, "try the file with it, then widen the range")


def _empty(file: MappingFile) -> MappingFile:
    return MappingFile(file.path, file.name, file.version, file.place, file.source)


def _merge(base: MappingFile, child: MappingFile, problems: Problems) -> MappingFile:
    out = MappingFile(child.path, child.name, child.version, child.place, child.source)
    out.target = child.target
    out.applies_when = child.applies_when
    out.tables = {**base.tables, **child.tables}
    out.groups = _overlaid(base.groups, child.groups)
    out.namespaces = {**base.namespaces, **child.namespaces}
    out.defaults = {**base.defaults, **child.defaults}
    out.ignore = {**base.ignore, **child.ignore}
    out.document = merge_fields(base.document, child.document, problems, overrides=True)
    out.documents = _merge_entries(base.documents, child.documents, problems)
    out.segments = merge_segments(base.segments, child.segments, problems, merge_fields)
    out.resources = _merge_resources(base.resources, child.resources)
    out.removed = list(base.removed)
    for text in child.remove:
        if child.target == "fhir-r4":
            out.removed.append(text)  # what the writer made, or what an inherited rule would fill
        else:
            _remove(out, text, problems)
    return out


def _merge_resources(base: Block | None, child: Block | None) -> Block | None:
    """Elements of each resource; `name+` adds to what the writer makes, so it needs no inherited rule."""
    out = _overlaid(base, child)
    if base is None or child is None or out is None:
        return out
    for name, value in child.items.items():
        old = base.items.get(name)
        if isinstance(old, Block) and isinstance(value, Block):
            out.items[name] = _overlaid(old, value) or value
    return out


def _overlaid(base: Block | None, child: Block | None) -> Block | None:
    if base is None or child is None:
        return child or base
    out = Block(child.place, dict(base.items), dict(base.keys))
    for name, key in child.keys.items():
        out.put(key, child.items[name])
    return out


def merge_fields(
    base: Block | None,
    child: Block | None,
    problems: Problems,
    overrides: bool = False,
) -> Block | None:
    """Target fields of `child` over those of `base`.

    overrides: a block of `fields` alone is meant for an inherited one, which must be there: an upgrade of the base
    cannot drop a site's rule in silence.
    """
    if child is None:
        return base
    out = Block(child.place)
    if base is not None:
        out.items, out.keys = dict(base.items), dict(base.keys)
    for name, key in child.keys.items():
        value = child.items[name]
        if name.endswith("+"):
            _append(out, key, value, problems)
        else:
            old = out.items.get(name)
            if old is not None:
                value = merge_rule(old, value, problems)
            elif overrides and base is not None and _is_bare_override(value):
                message = f"'{name}' gives fields only, and no '{name}' is inherited to override"
                problems.add(key.place, "E107", message, "give 'each' or 'when' for a new block")
            out.put(key, value)
    return out


def _is_bare_override(value: Item) -> bool:
    return isinstance(value, Block) and set(value.items) == {"fields"}


def _append(out: Block, key: Text, value: Item, problems: Problems) -> None:
    name = key.value.rstrip("+")
    old = out.items.get(name)
    if old is None:
        problems.add(key.place, "E405", f"'{name}+' appends to nothing: no inherited '{name}'")
        return
    first = old.items if isinstance(old, Sequence) else [old]
    more = value.items if isinstance(value, Sequence) else [value]
    out.items[name] = Sequence(old.place, [*first, *more])


def merge_rule(old: Item, new: Item, problems: Problems) -> Item:
    """A rule of `new` over the inherited one: blocks of fields merge, anything else is replaced."""
    if not isinstance(old, Block) or not isinstance(new, Block):
        return new
    old_fields, new_fields = fields_of(old), fields_of(new)
    if new_fields is None and old_fields not in (None, old) and _WHERE.issuperset(new.items):
        new_fields = Block(new.place)
    if old_fields is None or new_fields is None:
        return new
    fields = merge_fields(old_fields, new_fields, problems, overrides=True)
    assert fields is not None
    if old_fields is old and new_fields is new:
        return fields
    out = Block(new.place)
    for block in (old, new):
        for name, key in block.keys.items():
            if name in RULE_KEYWORDS and name != "fields":
                out.put(key, block.items[name])
    out.put(Text("fields", new.place), fields)
    return out


def fields_of(block: Block) -> Block | None:
    """The target fields of a rule block, or the block itself when it has no keyword."""
    if not any(name in RULE_KEYWORDS for name in block.items):
        return block
    fields = block.items.get("fields")
    return fields if isinstance(fields, Block) else None


def _merge_entries(base: list[Block], child: list[Block], problems: Problems) -> list[Block]:
    out = list(base)
    for entry in child:
        name = _entry_name(entry)
        at = next((i for i, old in enumerate(out) if _entry_name(old) == name), None)
        if at is None:
            out.append(entry)
            continue
        merged = Block(entry.place, dict(out[at].items), dict(out[at].keys))
        for key_name, key in entry.keys.items():
            value = entry.items[key_name]
            old = merged.items.get(key_name)
            if key_name == "fields" and isinstance(old, Block) and isinstance(value, Block):
                value = merge_fields(old, value, problems) or value
            merged.put(key, value)
        out[at] = merged
    return out


def _entry_name(entry: Block) -> str:
    name = entry.items.get("name")
    return name.value if isinstance(name, Text) else ""


def _remove(file: MappingFile, text: Text, problems: Problems) -> None:
    if file.segments is not None and (cut := without_segment(file.segments, text.value)):
        file.segments = cut
        return
    names = text.value.split(".")
    tops = [file.document, *(e.items.get("fields") for e in file.documents)]
    found = False
    for i, top in enumerate(tops):
        if isinstance(top, Block):
            left = _without(top, names)
            if left is not None:
                found = True
                if i == 0:
                    file.document = left
                else:
                    entry = file.documents[i - 1]
                    copied = Block(entry.place, dict(entry.items), dict(entry.keys))
                    copied.items["fields"] = left
                    file.documents[i - 1] = copied
    if not found:
        problems.add(
            text.place, "E406", f"'{text.value}' is not inherited, so it cannot be removed"
        )


def without(document: Block | None, entry: Block, problems: Problems) -> Block | None:
    """The rules common to all entries of `documents`, less what this entry removes."""
    unwanted = entry.items.get("remove")
    for text in unwanted.items if isinstance(unwanted, Sequence) else []:
        cut = (
            _without(document, text.value.split("."))
            if document and isinstance(text, Text)
            else None
        )
        if cut is None:
            problems.add(text.place, "E406", "no such rule of 'document', so it cannot be removed")
        else:
            document = cut
    return document


def _without(block: Block, names: list[str]) -> Block | None:
    """A copy without the named target; None when it is not there."""
    name, rest = names[0], names[1:]
    if name not in block.items:
        return None
    out = Block(block.place, dict(block.items), dict(block.keys))
    if not rest:
        del out.items[name], out.keys[name]
        return out
    inner = block.items[name]
    fields = fields_of(inner) if isinstance(inner, Block) else None
    cut = _without(fields, rest) if fields is not None else None
    if cut is None or not isinstance(inner, Block):
        return None
    if fields is inner:
        out.items[name] = cut
    else:
        copied = Block(inner.place, dict(inner.items), dict(inner.keys))
        copied.items["fields"] = cut
        out.items[name] = copied
    return out
