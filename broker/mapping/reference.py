"""The document model as a page and a JSON Schema, and mapping files as another: `python -m broker.mapping.reference`.

Writes `document-model.md`, `document.schema.json` and `mapping.schema.json` into `docs/reference` below the given
folder (the current one by default), all made from the code; a test holds them current.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from broker import document
from broker.document import Document, Value
from broker.mapping import language_schema
from broker.mapping.targets import Target, targets_of

PAGE = "docs/reference/document-model.md"
SCHEMA = "docs/reference/document.schema.json"
MAPPING_SCHEMA = "docs/reference/mapping.schema.json"
_ADDRESS = "https://json-schema.org/draft/2020-12/schema"


def page() -> str:
    """The reference page: one table a type, the document first."""
    lines = [
        "# The document model",
        "",
        "Generated from `broker/document.py` by `python -m broker.mapping.reference`; do not edit.",
        "",
        "Every source is read into this model and every destination is written from it.",
        "A field is never filled by guess; fields without a value are left out of the JSON.",
        f"This is model {document.MODEL}; inside it, changes only add.",
        "",
    ]
    structs: list[type[Value]] = [Document, *(s for s in _structs() if s is not Document)]
    for struct in structs:
        lines += _section(struct)
    return "\n".join(lines).rstrip() + "\n"


def schema() -> str:
    """The JSON Schema of a stored document."""
    made = msgspec.json.schema(Document)
    made = {"$schema": _ADDRESS, "title": "Carnet document, model 1", **made}
    return msgspec.json.format(msgspec.json.encode(made, order="sorted"), indent=2).decode() + "\n"


def main(root: Path) -> None:
    """Write the files below `root`."""
    made = ((PAGE, page()), (SCHEMA, schema()), (MAPPING_SCHEMA, language_schema.text()))
    for name, text in made:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _structs() -> list[type[Value]]:
    return [
        value
        for value in vars(document).values()
        if isinstance(value, type) and issubclass(value, Value) and value is not Value
    ]


def _section(struct: type[Value]) -> list[str]:
    summary, meanings = _docstring(struct)
    lines = [
        f"## {struct.__name__}",
        "",
        summary,
        "",
        "| field | type | card | meaning |",
        "|---|---|---|---|",
    ]
    for target in targets_of(struct).values():
        card = "0..*" if target.many else "1..1" if target.needed else "0..1"
        meaning = meanings.get(target.name, "")
        if target.codes:
            codes = ", ".join(f"`{code}`" for code in target.codes if code)
            meaning = f"{meaning}; {codes}" if meaning else codes
        lines.append(f"| `{target.name}` | {_type(target)} | {card} | {meaning} |")
    return [*lines, ""]


def _docstring(struct: type[Value]) -> tuple[str, dict[str, str]]:
    names = set(targets_of(struct))
    summary: list[str] = []
    meanings: dict[str, str] = {}
    for line in (struct.__doc__ or "").splitlines():
        name, mark, text = line.strip().partition(": ")
        if mark and name in names:
            meanings[name] = text
        elif line.strip():
            summary.append(line.strip())
    return " ".join(summary), meanings


def _type(target: Target) -> str:
    kind: Any = target.type
    if target.is_struct:
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return {"str": "code" if target.codes else "text", "int": "integer", "bool": "boolean"}.get(
        getattr(kind, "__name__", ""), "map of texts"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd())
