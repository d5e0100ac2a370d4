"""Code tables as files people and programs write: a row added, FHIR ConceptMaps in and out. Text in, text out.

Source: FHIR R4 (4.0.1) ConceptMap.group.element.target; the columns are those of section 8 of the language.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.errors import MappingError
from broker.mapping.tables import csv_rows

LONG = (
    "source_system", "source_code", "target_system", "target_code", "target_display", "equivalence", "comment",
)  # fmt: skip
_SHORT = {"source_code": "from", "target_code": "to", "target_display": "display"}
"""Columns that a table of `from,to` calls otherwise."""
_NO_TARGET = ("unmatched", "disjoint", "not-related-to")
_R4 = {
    "related-to": "relatedto",
    "source-is-narrower-than-target": "wider",
    "source-is-broader-than-target": "narrower",
}
"""Relationships of FHIR R5 as the equivalences of R4, which say how the target is to the source."""


@dataclass(frozen=True, slots=True)
class Translation:
    """One row of a table: a code of the sender, and what it stands for."""

    source_code: str
    target_code: str
    source_system: str = ""
    target_system: str = ""
    target_display: str = ""
    equivalence: str = "equivalent"
    comment: str = ""


def with_row(text: str, row: Translation) -> str:
    """A table's text with one more row at its end, in the columns its header has.

    Raises: MappingError("table.translated") when the code has a row already, ("table.columns") when the header has no
    place for what the row says, ("table.invalid") when the file is no table.
    """
    header = _header(text)
    is_short = "from" in header
    key = row.source_code if is_short else (row.source_system, row.source_code)
    for line, cells in csv_rows(text):
        known = (
            cells["from"]
            if is_short
            else (cells.get("source_system", ""), cells.get("source_code", ""))
        )
        if known == key:
            raise MappingError("table.translated", where=f"line {line}", reason="it has a row")
    values: Mapping[str, str] = {name: getattr(row, name) for name in LONG}
    if is_short:
        values = {_SHORT.get(name, name): value for name, value in values.items()}
    silent = "" if row.equivalence == "equivalent" else row.equivalence
    said = {**values, "equivalence": silent}
    lost = [name for name, value in said.items() if value and name not in header]
    if lost:
        raise MappingError(
            "table.columns", where="header", reason=f"there is no column for {', '.join(lost)}"
        )
    added = _line([values.get(name, "") for name in header])
    return text + ("" if text.endswith("\n") else "\n") + added


def translations(text: str) -> Iterator[Translation]:
    """The rows of a table in either form."""
    for _, cells in csv_rows(text):
        if "from" in cells:
            yield Translation(
                cells["from"],
                cells.get("to", ""),
                target_display=cells.get("display", ""),
                comment=cells.get("comment", ""),
            )
        else:
            yield Translation(
                **{name: cells[name] for name in LONG if cells.get(name)} | _codes(cells)
            )


def table_of(rows: Iterable[Translation], remarks: Iterable[str] = ()) -> str:
    """A table in the long form, with its remarks as comment lines."""
    out = io.StringIO()
    for remark in remarks:
        out.write(f"# {' '.join(remark.split())}\n")
    out.write(_line(LONG))
    out.writelines(_line([getattr(row, name) for name in LONG]) for row in rows)
    return out.getvalue()


def from_concept_map(resource: Mapping[str, Any]) -> str:
    """A ConceptMap as a table. Codes that match nothing are left out; of several targets the first is taken.

    Raises: MappingError("conceptmap.invalid") with the place.
    """
    if resource.get("resourceType") != "ConceptMap":
        raise MappingError("conceptmap.invalid", where="resourceType", reason="no ConceptMap")
    remarks = [
        str(resource[name])
        for name in ("url", "version", "title", "copyright")
        if resource.get(name)
    ]
    return table_of(_elements(resource), remarks)


def to_concept_map(text: str, *, url: str, name: str) -> dict[str, Any]:
    """A table as a ConceptMap, grouped by its systems. Raises: MappingError("table.invalid") for a file that is none."""
    _header(text)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in translations(text):
        target: dict[str, Any] = {"equivalence": row.equivalence}
        if row.target_code:
            target["code"] = row.target_code
        else:
            target["equivalence"] = "unmatched"
        if row.target_display:
            target["display"] = row.target_display
        if row.comment:
            target["comment"] = row.comment
        groups[row.source_system, row.target_system].append(
            {"code": row.source_code, "target": [target]}
        )
    return {
        "resourceType": "ConceptMap",
        "url": url,
        "name": name,
        "status": "active",
        "group": [
            {
                **({"source": source} if source else {}),
                **({"target": target} if target else {}),
                "element": elements,
            }
            for (source, target), elements in groups.items()
        ],
    }


def _elements(resource: Mapping[str, Any]) -> Iterator[Translation]:
    seen: set[tuple[str, str]] = set()
    for i, group in enumerate(_list(resource, "group", "ConceptMap")):
        source = str(group.get("source", ""))
        for j, element in enumerate(_list(group, "element", f"group[{i}]")):
            place = f"group[{i}].element[{j}]"
            code = element.get("code")
            if not isinstance(code, str):
                raise MappingError("conceptmap.invalid", where=f"{place}.code", reason="no code")
            for target in _list(element, "target", place):
                equivalence = str(
                    target.get("equivalence") or target.get("relationship") or "equivalent"
                )
                if not target.get("code") or equivalence in _NO_TARGET or (source, code) in seen:
                    continue
                seen.add((source, code))
                yield Translation(
                    code,
                    str(target["code"]),
                    source,
                    str(group.get("target", "")),
                    str(target.get("display", "")),
                    _R4.get(equivalence, equivalence),
                    str(target.get("comment", "")),
                )


def _list(parent: Mapping[str, Any], name: str, place: str) -> list[Mapping[str, Any]]:
    found = parent.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise MappingError(
            "conceptmap.invalid", where=f"{place}.{name}", reason="not a list of objects"
        )
    return found


def _codes(cells: Mapping[str, str]) -> dict[str, str]:
    return {
        "source_code": cells.get("source_code", ""),
        "target_code": cells.get("target_code", ""),
    }


def _line(cells: Sequence[str]) -> str:
    """A row on one line, whatever its cells hold; one that begins with `#` is quoted, or it would be a comment."""
    cells = [" ".join(cell.split()) for cell in cells]
    out = io.StringIO()
    if cells[0].startswith("#"):
        csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(cells)
    else:
        csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _header(text: str) -> list[str]:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            header = [cell.strip() for cell in next(csv.reader([line]))]
            if {"from", "to"} <= set(header) or {"source_code", "target_code"} <= set(header):
                return header
            break
    raise MappingError(
        "table.invalid",
        where="header",
        reason="it names neither from,to nor source_code,target_code",
    )
