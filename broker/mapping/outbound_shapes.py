"""Which function writes a model type into an HL7v2 field, by the field's data type. For the document source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker import document as model
from broker.document import Coded, Coding
from broker.er7 import Formatted, Repetition, repetition
from broker.fhir_elements import PRIMITIVES
from broker.mapping import outbound_types as types
from broker.mapping.closures import Rule3, unmapped
from broker.mapping.outbound_result import result_value
from broker.mapping.paths_document import CLEARED, Marker, texts
from broker.mapping.run import Null
from broker.mapping.tables import Table

Write = Callable[[Any, Any], Any]

_SCALARS = (str, int, bool)
_CODED_TYPES = ("CE", "CWE", "CNE", "CF")
_FIRST_COMPONENT = frozenset({*_CODED_TYPES, "HD", "EI", "CX", "XON", "PT", "VID", "MSG", "PL", "TS", "CQ"})  # fmt: skip
"""Types of several components whose first one alone is a value."""
_WORDS = frozenset({"ST", "TX", "FT", "ID", "IS", ""})
_TEXT_TYPES = frozenset({"ST", "TX", "FT", "ID", "IS", "SI", "NM", "DT", "TM", "DTM", "TS", "varies", "", "NA"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldType:
    """The data type of a place in a segment; empty for a component or a field of a Z segment nobody described."""

    name: str
    is_z: bool = False

    def __str__(self) -> str:
        return self.name or "a component"

    def constant(self, text: str) -> Repetition | None:
        """A text as this type: one leaf."""
        return repetition(Formatted(text) if self.name == "FT" else text)


@dataclass(frozen=True, slots=True)
class ElementType:
    """The data type of an element of a FHIR resource."""

    name: str

    def __str__(self) -> str:
        return self.name

    def constant(self, text: str) -> Any:
        """A text as this type: a code of a concept, a truth value, a number, or the text."""
        if self.name in {"CodeableConcept", "Coding"}:
            return Coded(codings=(Coding(code=text),))
        if self.name == "boolean":
            return text == "true"
        return int(text) if self.name == "integer" and text.isdigit() else text


COMPONENT = FieldType("")
"""A component or subcomponent: one leaf."""

_BY_MODEL: dict[type, dict[str, Write]] = {
    model.Identifier: {
        "CX": types.cx, "EI": types.ei, "EIP": types.eip, "HD": types.hd,
        "XON": lambda run, v: types.xon(run, model.Organization(identifiers=(v,))),
        "XCN": lambda run, v: types.xcn(run, model.Person(identifiers=(v,))),
    },
    model.Coded: {
        "CE": types.coded, "CF": types.coded, "CWE": types.cwe, "CNE": types.cwe, "ID": types.code, "IS": types.code,
        "": types.code, "ST": types.label, "TX": types.label, "FT": types.label,
    },
    model.PersonName: {"XPN": types.xpn, "XCN": types.ppn, "PPN": types.ppn},
    model.Person: {"XCN": types.xcn, "PPN": types.xcn, "XPN": types.person_name, "NDL": types.ndl},
    model.Author: {"XCN": types.named_by, "PPN": types.named_by, "NDL": types.interpreter},
    model.Participant: {"XCN": types.named_by, "PPN": types.named_by, "NDL": types.interpreter},
    model.Recipient: {"XCN": types.named_by, "PPN": types.named_by},
    model.Contact: {"XPN": types.contact_name},
    model.Organization: {"XON": types.xon, "CE": types.organization_code, "CWE": types.organization_code},
    model.Address: {"XAD": types.xad, "AD": types.xad},
    model.Telecom: {"XTN": types.xtn},
    model.Location: {"PL": types.pl},
    model.When: {"TS": types.when, "DTM": types.when, "DT": types.day, "TM": types.time, "ST": types.when, "": types.when, "DR": types.moment},
    model.Period: {"DR": types.period, "TS": types.period_start, "DTM": types.period_start},
    model.Quantity: {
        "NM": types.number, "CQ": types.cq, "SN": types.sn, "ST": types.quantity_text, "TX": types.quantity_text,
    },
    model.Range: {"ST": types.range_text, "TX": types.range_text, "NR": types.nr, "SN": types.sn_range},
    model.Ratio: {"SN": types.sn_ratio},
    model.Attachment: {"ED": types.ed, "RP": types.rp},
    model.Device: {"EI": types.device},
}  # fmt: skip

_NATURAL: dict[type, Write] = {
    model.Identifier: types.cx, model.Coded: types.cwe, model.PersonName: types.xpn, model.Person: types.xcn,
    model.Organization: types.xon, model.Address: types.xad, model.Telecom: types.xtn, model.Location: types.pl,
    model.When: types.when, model.Period: types.period, model.Quantity: types.cq, model.Range: types.range_text,
    model.Attachment: types.ed, model.Device: types.device, model.Ratio: types.sn_ratio,
    model.Author: types.named_by, model.Participant: types.named_by,
}  # fmt: skip
"""For a Z segment that is not described: each type as the standard would."""

_MAIN_TEXT = (
    model.Identifier, model.PersonName, model.Person, model.Organization, model.Telecom, model.Quantity, model.Device,
    model.Location,
)  # fmt: skip
"""Types that a text, or a component, can stand for."""


def shape_of(wanted: FieldType, kind: Any, name: str) -> Rule3 | None:
    """The shape from a model type (read at a path ending in `name`) to a field; None when there is none."""
    write = _write(wanted, kind, name)
    if write is None:
        return None

    def shape(run: Any, raw: Any, _scope: Any) -> Any:
        return Null() if raw is CLEARED else write(run, raw)

    return shape


def _write(wanted: FieldType, kind: Any, name: str) -> Write | None:
    if kind is model.ResultValue:
        return result_value if wanted.name == "varies" else None
    if kind is model.Attachment and wanted.name == "varies":
        return result_value
    if kind is model.Address and name == "birth_place" and (wanted.name == "XAD" or wanted.is_z):
        return types.birth_place
    if kind in _SCALARS:
        return _scalar(wanted)
    if wanted.is_z:
        return _NATURAL.get(kind)
    found = _BY_MODEL.get(kind, {}).get(wanted.name)
    if found is None and kind in _MAIN_TEXT and wanted.name in _WORDS:
        return types.plain
    return found


def _scalar(wanted: FieldType) -> Write | None:
    name = wanted.name
    if name in {"TS", "DTM"}:
        return lambda run, v: types.iso_text(run, v) if isinstance(v, str) else types.plain(run, v)
    if name == "FT":
        return lambda _run, v: repetition(Formatted(next(iter(texts(v)), "")))
    return types.plain if wanted.is_z or name in _TEXT_TYPES | _FIRST_COMPONENT else None


_FITS: dict[type, frozenset[str]] = {
    model.Identifier: frozenset({"Identifier", "Reference", "text"}),
    model.Coded: frozenset({"CodeableConcept", "Coding", "text"}),
    model.PersonName: frozenset({"HumanName", "text"}),
    model.Address: frozenset({"Address"}),
    model.Telecom: frozenset({"ContactPoint", "text"}),
    model.When: frozenset({"date", "dateTime", "instant"}),
    model.Period: frozenset({"Period"}),
    model.Quantity: frozenset({"Quantity"}),
    str: frozenset({"text", "CodeableConcept", "Coding"}),
    int: frozenset({"integer", "text"}),
    bool: frozenset({"boolean"}),
}


def element_shape(wanted: ElementType, kind: Any) -> Rule3 | None:
    """The shape from a model type into an element: the value as it is, since the writer knows its FHIR form."""
    if wanted.name not in _FITS.get(kind, frozenset()):
        return None
    is_code = kind is str and wanted.name not in PRIMITIVES

    def shape(_run: Any, raw: Any, _scope: Any) -> Any:
        if raw is CLEARED:
            return Null()
        value = raw.text if isinstance(raw, Marker) else raw
        return Coded(codings=(Coding(code=value),)) if is_code else value

    return shape


def has_code(kind: Any) -> bool:
    """Whether a table can translate values of a model type."""
    return kind in _SCALARS or kind is Coded


def translated(shape: Rule3, table: Table, policy: str, source: str) -> Rule3:
    """A shape whose value goes through a table first: the receiver's code leads, the document's own comes second."""

    def translate(run: Any, raw: Any, scope: Any) -> Any:
        if raw is CLEARED:
            return Null()
        value = _through(run, raw, table, policy, source)
        return None if value is None else shape(run, value, scope)

    return translate


def _through(run: Any, raw: Any, table: Table, policy: str, source: str) -> Any:
    if not isinstance(raw, Coded):
        text = next(iter(texts(raw)), "")
        row = table.lookup(text)
        return (row.code or None) if row else unmapped(run, policy, table, source, raw)
    for coding in raw.codings:
        row = table.lookup(coding.code, coding.system) or table.lookup(
            coding.code, coding.system_as_received
        )
        if row is not None:
            if not row.code:
                return None
            return _led_by(raw, Coding(code=row.code, system=row.system, display=row.display))
    kept = unmapped(run, policy, table, source, raw)
    return _led_by(raw, Coding(code=kept)) if isinstance(kept, str) else kept


def _led_by(value: Coded, first: Coding) -> Coded:
    others = tuple(c for c in value.codings if (c.code, c.system) != (first.code, first.system))
    if len(others) < len(value.codings):
        first = next(c for c in value.codings if (c.code, c.system) == (first.code, first.system))
    return Coded(codings=(first, *others), text=value.text)
