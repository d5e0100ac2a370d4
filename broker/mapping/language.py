"""The grammar of a mapping file: its keys, its keywords, and what one file says after reading. For `catalogue`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from broker.mapping.groups import Group
from broker.mapping.problems import Place, Problems, did_you_mean
from broker.mapping.strict_yaml import Block, Item, Sequence, Text, load

LANGUAGE = 1

RULE_KEYWORDS = frozenset(
    [
        "from",
        "first_of",
        "constant",
        "template",
        "as",
        "table",
        "unmapped",
        "default",
        "required",
        "when",
        "each",
        "choose",
        "fields",
        "part",
        "distinct",
        "comment",
    ]
)
ENTRY_KEYWORDS = frozenset(
    ["name", "each", "when", "embedded", "fields", "part", "remove", "allow_none", "comment"]
)
TOP_KEYS = frozenset(
    [
        "mapping",
        "version",
        "language",
        "from",
        "to",
        "applies_when",
        "extends",
        "tables",
        "groups",
        "namespaces",
        "defaults",
        "parts",
        "document",
        "documents",
        "segments",
        "resources",
        "xml",
        "ignore",
        "remove",
    ]
)
SEGMENT_KEYWORDS = frozenset(
    ["name", "segment", "each", "when", "fields", "segments", "after", "comment"]
)
DEFAULT_KEYS = frozenset(
    [
        "timezone",
        "assigning_authority",
        "decimal_comma",
        "unmapped",
        "midnight_is_unknown",
        "keep_unread",
    ]
)
FORMATS = ("hl7v2", "cda", "fhir-r4", "document")


@dataclass(frozen=True, slots=True)
class TableRef:
    """A table as a mapping names it."""

    name: str
    file: str
    folder: Path
    place: Place
    unmapped: str = ""
    default: str = ""


@dataclass(slots=True, eq=False)
class MappingFile:
    """What one file says, or several merged into one. `remove` and `extends` are spent by the merge."""

    path: Path
    name: str
    version: str
    place: Place
    source: str
    target: str = "document"
    applies_when: Text | None = None
    extends: list[Text] = field(default_factory=list)
    needed_versions: dict[str, Text] = field(default_factory=dict)
    tables: dict[str, TableRef] = field(default_factory=dict)
    groups: Block | None = None
    namespaces: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Text] = field(default_factory=dict)
    parts: dict[str, Block] = field(default_factory=dict)
    document: Block | None = None
    documents: list[Block] = field(default_factory=list)
    segments: Sequence | None = None
    resources: Block | None = None
    removed: list[Text] = field(default_factory=list)
    ignore: dict[str, str] = field(default_factory=dict)
    remove: list[Text] = field(default_factory=list)
    ancestors: set[str] = field(default_factory=set)
    root: Path = Path()
    """The folder of the set this file lies in."""


def read(path: Path, shown: str, problems: Problems) -> MappingFile | None:
    """Read one file; `shown` is its name in messages. None when it is not a mapping at all."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        problems.add(Place(shown, 1, 1), "E001", "the file cannot be read as UTF-8")
        return None
    root = load(text, shown, problems)
    return _file(root, path, problems) if root is not None else None


def _file(root: Block, path: Path, problems: Problems) -> MappingFile | None:
    for key in root.keys.values():
        if key.value not in TOP_KEYS:
            hint = did_you_mean(key.value, TOP_KEYS)
            problems.add(key.place, "E101", f"unknown key '{key.value}'", hint)
    name = _text(root, "mapping", problems, needed=True)
    version = _text(root, "version", problems, needed=True)
    source = _text(root, "from", problems, needed=True)
    if name is None or version is None or source is None:
        return None
    if source.value not in FORMATS:
        problems.add(
            source.place, "E103", f"'{source.value}' is no format", "one of " + ", ".join(FORMATS)
        )
        return None
    language = _text(root, "language", problems, needed=True)
    if language is not None and language.value != str(LANGUAGE):
        problems.add(
            language.place,
            "E104",
            f"language {language.value} is not known here",
            f"use {LANGUAGE}",
        )
    target = _text(root, "to", problems)
    file = MappingFile(path, name.value, version.value, name.place, source.value)
    file.target = target.value if target else "document"
    file.applies_when = _text(root, "applies_when", problems)
    file.extends, file.needed_versions = _extends(root, problems)
    file.tables = _tables(root, path.parent, problems)
    groups = root.items.get("groups")
    file.groups = groups if isinstance(groups, Block) else None
    file.namespaces = {k: v.value for k, v in _texts(root, "namespaces", problems).items()}
    file.defaults = _defaults(root, problems)
    file.parts = _parts(root, problems)
    document = root.items.get("document")
    file.document = document if isinstance(document, Block) else None
    file.documents = _entries(root, problems)
    segments = root.items.get("segments")
    file.segments = segments if isinstance(segments, Sequence) else None
    resources = root.items.get("resources")
    file.resources = resources if isinstance(resources, Block) else None
    file.ignore = _ignore(root, problems)
    file.remove = [t for t in _list(root, "remove", problems) if isinstance(t, Text)]
    return file


def _text(root: Block, key: str, problems: Problems, needed: bool = False) -> Text | None:
    value = root.items.get(key)
    if isinstance(value, Text) and value.value:
        return value
    if value is not None:
        problems.add(value.place, "E105", f"'{key}' is a text")
    elif needed:
        problems.add(root.place, "E106", f"the file needs '{key}'")
    return None


def _texts(root: Block, key: str, problems: Problems) -> dict[str, Text]:
    block = root.items.get(key)
    if block is None:
        return {}
    if not isinstance(block, Block):
        problems.add(block.place, "E105", f"'{key}' is a block of names and texts")
        return {}
    out: dict[str, Text] = {}
    for name, value in block.items.items():
        if isinstance(value, Text):
            out[name] = value
        else:
            problems.add(value.place, "E105", f"'{name}' is a text")
    return out


def _defaults(root: Block, problems: Problems) -> dict[str, Text]:
    block = root.items.get("defaults")
    for name, key in (block.keys if isinstance(block, Block) else {}).items():
        if name not in DEFAULT_KEYS:
            hint = did_you_mean(name, DEFAULT_KEYS)
            problems.add(key.place, "E101", f"unknown default '{name}'", hint)
    return _texts(root, "defaults", problems)


def _list(root: Block, key: str, problems: Problems) -> list[Item]:
    value = root.items.get(key)
    if value is None:
        return []
    if isinstance(value, Sequence):
        return value.items
    problems.add(value.place, "E105", f"'{key}' is a list")
    return []


def _extends(root: Block, problems: Problems) -> tuple[list[Text], dict[str, Text]]:
    """The files a file extends, and the versions it needs of those it names in the long form."""
    out: list[Text] = []
    versions: dict[str, Text] = {}
    for item in _list(root, "extends", problems):
        version = item.items.get("version") if isinstance(item, Block) else None
        if isinstance(item, Block):
            inner = item.items.get("file")
            item = inner if isinstance(inner, Text) else item
        if isinstance(item, Text):
            out.append(item)
            if isinstance(version, Text):
                versions[item.value] = version
        else:
            problems.add(item.place, "E105", "an entry of 'extends' is a file name")
    return out, versions


def _tables(root: Block, folder: Path, problems: Problems) -> dict[str, TableRef]:
    block = root.items.get("tables")
    out: dict[str, TableRef] = {}
    if block is None:
        return out
    if not isinstance(block, Block):
        problems.add(block.place, "E105", "'tables' is a block of names and CSV files")
        return out
    for name, value in block.items.items():
        if isinstance(value, Text):
            out[name] = TableRef(name, value.value, folder, value.place)
        elif isinstance(value, Block):
            texts = {k: v.value for k, v in value.items.items() if isinstance(v, Text)}
            out[name] = TableRef(
                name,
                texts.get("file", ""),
                folder,
                value.place,
                texts.get("unmapped", ""),
                texts.get("default", ""),
            )
    return out


def _parts(root: Block, problems: Problems) -> dict[str, Block]:
    block = root.items.get("parts")
    if block is None:
        return {}
    if not isinstance(block, Block):
        problems.add(block.place, "E105", "'parts' is a block of names and their target fields")
        return {}
    for name, value in block.items.items():
        if not isinstance(value, Block):
            problems.add(value.place, "E105", f"part '{name}' is a block of target fields")
    return {name: value for name, value in block.items.items() if isinstance(value, Block)}


def _entries(root: Block, problems: Problems) -> list[Block]:
    out = []
    for item in _list(root, "documents", problems):
        if not isinstance(item, Block):
            problems.add(item.place, "E105", "an entry of 'documents' is a block")
            continue
        for key in item.keys.values():
            if key.value not in ENTRY_KEYWORDS:
                hint = did_you_mean(key.value, ENTRY_KEYWORDS) or "target fields go under 'fields'"
                problems.add(
                    key.place, "E101", f"unknown key '{key.value}' of a document entry", hint
                )
        if "name" not in item.items:
            problems.add(item.place, "E106", "an entry of 'documents' needs 'name'")
        out.append(item)
    return out


def _ignore(root: Block, problems: Problems) -> dict[str, str]:
    out: dict[str, str] = {}
    for item in _list(root, "ignore", problems):
        path = item.items.get("path") if isinstance(item, Block) else None
        reason = item.items.get("reason") if isinstance(item, Block) else None
        if isinstance(path, Text) and isinstance(reason, Text) and reason.value:
            out[path.value] = reason.value
        else:
            problems.add(item.place, "E108", "an ignored path needs 'path' and a 'reason'")
    return out


def groups_of(
    block: Block | None, problems: Problems, parent: Group | None = None
) -> dict[str, Group]:
    """The declared groups of a mapping."""
    out: dict[str, Group] = {}
    for name, item in (block.items if block else {}).items():
        if not isinstance(item, Block):
            problems.add(item.place, "E105", f"group '{name}' is a block")
            continue
        for key in item.keys.values():
            if key.value not in {"starts", "contains", "groups"}:
                hint = did_you_mean(key.value, ["starts", "contains", "groups"])
                problems.add(key.place, "E101", f"unknown key '{key.value}' of a group", hint)
        starts = _names(item.items.get("starts"))
        if not starts:
            problems.add(item.place, "E109", f"group '{name}' needs 'starts'")
            continue
        group = Group(name, starts, frozenset(_names(item.items.get("contains"))), parent)
        inner = item.items.get("groups")
        group.groups = groups_of(inner if isinstance(inner, Block) else None, problems, group)
        out[name] = group
    return out


def _names(item: Item | None) -> tuple[str, ...]:
    if isinstance(item, Text):
        return tuple(name.strip() for name in item.value.split(",") if name.strip())
    if isinstance(item, Sequence):
        return tuple(t.value for t in item.items if isinstance(t, Text))
    return ()
