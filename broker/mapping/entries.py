"""The documents of one mapping: each `documents` entry with the fields all of them share, compiled. For `catalogue`."""

from __future__ import annotations

from broker.document import Document
from broker.mapping.apply import Entry
from broker.mapping.compile import Compiler
from broker.mapping.inherit import merge_fields, without
from broker.mapping.language import MappingFile
from broker.mapping.problems import Place, Problems
from broker.mapping.strict_yaml import Block, Text


def compile_entries(file: MappingFile, compiler: Compiler, problems: Problems) -> tuple[Entry, ...]:
    """What each document of a mapping is made by, in order. Mistakes go to `problems`."""
    if not file.documents:
        if file.document is None:
            problems.add(file.place, "E122", f"mapping '{file.name}' makes no document")
            return ()
        root = compiler.source.root
        pairs, _ = compiler.pairs(file.document, Document, root, "")
        return (Entry("document", compiler.filled(pairs)),)
    return tuple(_entry(block, file, compiler, problems) for block in file.documents)


def _entry(block: Block, file: MappingFile, compiler: Compiler, problems: Problems) -> Entry:
    def text(key: str) -> Text | None:
        value = block.items.get(key)
        return value if isinstance(value, Text) else None

    chain = compiler.source.root
    scopes = None
    each = text("each")
    if each is not None and (path := compiler.path(each, chain)) is not None:
        chain, scopes = path.chain, path.scopes
    when = text("when")
    test = compiler.condition(when, chain) if when is not None else None
    fields = block.items.get("fields")
    own = fields if isinstance(fields, Block) else Block(block.place)
    name = text("name")
    allow_none = text("allow_none")
    is_optional = allow_none is not None and allow_none.value == "true"
    embedded = text("embedded")
    if embedded is None:
        merged = merge_fields(without(file.document, block, problems), own, problems) or own
        pairs, _ = compiler.pairs(merged, Document, chain, "")
        return Entry(name.value if name else "", compiler.filled(pairs), scopes, test, is_optional)
    plain, appended = _without_plus(own)
    common, _ = compiler.pairs(file.document or Block(block.place), Document, chain, "")
    pairs, _ = compiler.pairs(plain, Document, chain, "")
    path = compiler.path(embedded, chain)
    return Entry(
        name.value if name else "",
        compiler.filled(pairs),
        scopes,
        test,
        is_optional,
        embedded=path,
        common=compiler.filled(common),
        appended=appended,
    )


def _without_plus(fields: Block) -> tuple[Block, frozenset[str]]:
    """The fields of an embedding entry, and which of them append to the embedded document's own."""
    out = Block(fields.place)
    appended = set()
    for name, key in fields.keys.items():
        plain = name.rstrip("+")
        if plain != name:
            appended.add(plain)
        place = Place(key.place.file, key.place.line, key.place.column, key.place.width)
        out.put(Text(plain, place), fields.items[name])
    return out, frozenset(appended)
