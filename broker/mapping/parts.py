"""Parts: named blocks of target fields that several rules of a mapping share, laid in before anything is merged.

`part: result` in a rule stands for `fields:` with the fields of the part `result`; `fields` beside it are laid over
them. A part may begin with another (`part: finding` among its fields) and use others inside, never itself,
so this ends. What follows sees plain fields only.
"""

from __future__ import annotations

from broker.mapping.language import MappingFile
from broker.mapping.problems import Problems, did_you_mean
from broker.mapping.strict_yaml import Block, Item, Sequence, Text

MAX_RULES = 50_000


class Parts:
    """The parts of one effective mapping, and how often rules were laid in."""

    def __init__(self, parts: dict[str, Block], problems: Problems) -> None:
        self._parts = parts
        self._problems = problems
        self._laid = 0

    def laid_into(self, file: MappingFile) -> tuple[Block | None, list[Block]]:
        """The rules and the document entries of a file with every part in its place."""
        if not self._parts:
            return file.document, file.documents
        document = self._block(file.document, ()) if file.document is not None else None
        return document, [self._block(entry, ()) for entry in file.documents]

    def _item(self, item: Item, inside: tuple[str, ...]) -> Item:
        if isinstance(item, Block):
            return self._block(item, inside)
        if isinstance(item, Sequence):
            return Sequence(item.place, [self._item(inner, inside) for inner in item.items])
        return item

    def _block(self, block: Block, inside: tuple[str, ...]) -> Block:
        out = Block(block.place)
        for name, key in block.keys.items():
            if name != "part":
                out.put(key, self._item(block.items[name], inside))
        part = block.items.get("part")
        if isinstance(part, Text):
            fields = self._fields(part, inside)
            own = out.items.get("fields")
            if isinstance(own, Block):
                fields = over(fields, own)
            out.put(Text("fields", part.place), fields)
        return out

    def _fields(self, name: Text, inside: tuple[str, ...]) -> Block:
        part = self._parts.get(name.value)
        if part is None:
            hint = did_you_mean(name.value, self._parts)
            self._problems.add(name.place, "E408", f"unknown part '{name.value}'", hint)
            return Block(name.place)
        if name.value in inside:
            self._problems.add(name.place, "E409", f"part '{name.value}' is used within itself")
            return Block(name.place)
        self._laid += len(part.items)
        if self._laid > MAX_RULES:
            self._problems.add(name.place, "E409", f"parts lay in more than {MAX_RULES} rules")
            return Block(name.place)
        inside = (*inside, name.value)
        own = Block(part.place)
        for field, key in part.keys.items():
            if field != "part":
                own.put(key, self._item(part.items[field], inside))
        base = part.items.get("part")
        return over(self._fields(base, inside), own) if isinstance(base, Text) else own


def over(base: Block, own: Block) -> Block:
    """The fields of `base` with those of `own` in their place; `name+` adds to a list."""
    out = Block(base.place, dict(base.items), dict(base.keys))
    for name, key in own.keys.items():
        value = own.items[name]
        plain = name.rstrip("+")
        old = out.items.get(plain)
        if plain != name and old is not None:
            first = old.items if isinstance(old, Sequence) else [old]
            more = value.items if isinstance(value, Sequence) else [value]
            out.items[plain] = Sequence(old.place, [*first, *more])
        else:
            out.put(key, value)
    return out


def merged(base: dict[str, Block], own: dict[str, Block]) -> dict[str, Block]:
    """The parts of a file over those it inherits: a field of the same part is replaced, others stay."""
    out = dict(base)
    for name, block in own.items():
        out[name] = over(out[name], block) if name in out else block
    return out
