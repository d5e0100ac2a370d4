"""OBX-5: the value of an observation, the type it is sent as (OBX-2) and its unit (OBX-6). For outbound mappings.

The type a value was received with is kept where the value still fits it.
Source: HL7 v2.5.1 table 0125 (value types), §7.4.2 (OBX).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from broker.document import Attachment, Identifier, Quantity, Range, Ratio, ResultValue, When
from broker.er7 import Formatted, Repetition, repetition
from broker.mapping import outbound_types as types

_LONGEST_ST = 199
_CODED = frozenset({"CE", "CWE", "CNE", "CF"})


@dataclass(frozen=True, slots=True)
class Typed:
    """A value with the OBX-2 and OBX-6 that go with it."""

    value: Repetition = field(repr=False)
    type: str
    unit: Repetition | None = None


def result_value(run: Any, value: ResultValue | Attachment) -> Typed | None:
    """The value as the first HL7v2 type that can hold it."""
    if isinstance(value, Attachment):
        return _attachment(run, value)
    declared = value.declared_type
    if value.quantity is not None:
        return _quantity(value, value.quantity, declared)
    if value.range is not None:
        return _range(run, value.range, declared)
    if value.ratio is not None:
        return _ratio(run, value.ratio, value.original)
    if value.coded is not None:
        return _coded(run, value, declared)
    if value.when is not None:
        return _when(run, value.when, declared)
    if value.period is not None:
        return _typed(types.period(run, value.period), "DR")
    if value.boolean is not None:
        return _typed(types.plain(run, value.boolean), "ID")
    if value.identifier is not None:
        return _identifier(run, value.identifier, declared)
    if value.attachment is not None:
        return _attachment(run, value.attachment)
    return _text(value.text or value.original, declared)


def _typed(value: Repetition | None, kind: str, unit: Repetition | None = None) -> Typed | None:
    return Typed(value, kind, unit) if value else None


def _quantity(value: ResultValue, amount: Quantity, declared: str) -> Typed | None:
    unit = unit_of(amount)
    if declared == "CQ":
        return _typed(
            repetition(amount.comparator + amount.value, amount.unit or amount.ucum), "CQ"
        )
    if declared == "SN" and value.original == f"{amount.value}+":
        return _typed(repetition("", amount.value, "+"), "SN", unit)
    if amount.comparator or declared == "SN":
        return _typed(repetition(amount.comparator, amount.value), "SN", unit)
    return _typed(repetition(amount.value), "NM", unit)


def unit_of(amount: Quantity | None) -> Repetition | None:
    """OBX-6: the unit as received, and the UCUM one when it is another."""
    if amount is None:
        return None
    if not amount.ucum:
        return repetition(amount.unit)
    if amount.unit in {"", amount.ucum}:
        return repetition(amount.ucum, "", "UCUM")
    return repetition(amount.unit, "", "", amount.ucum, "", "UCUM")


def _range(run: Any, value: Range, declared: str) -> Typed | None:
    unit = unit_of(value.low or value.high)
    if declared == "NR":
        return _typed(types.nr(run, value), "NR", unit)
    if value.low and value.high:
        return _typed(types.sn_range(run, value), "SN", unit)
    bound = value.low or value.high
    found = repetition(">=" if value.low else "<=", bound.value) if bound else None
    return _typed(found, "SN", unit) if found else _typed(types.range_text(run, value), "ST", unit)


def _ratio(run: Any, value: Ratio, original: str) -> Typed | None:
    unit = unit_of(value.numerator)
    found = types.sn_ratio(run, value)
    return _typed(found, "SN", unit) if found else _text(original, "")


def _coded(run: Any, value: ResultValue, declared: str) -> Typed | None:
    assert value.coded is not None
    if declared in {"ID", "IS"}:
        return _typed(types.code(run, value.coded), declared)
    is_later = run.message.version >= (2, 6)
    kind = declared if declared in _CODED and not is_later else "CWE" if is_later else "CE"
    return _typed(types.coded(run, value.coded, kind in {"CWE", "CNE"}), kind)


def _when(run: Any, value: When, declared: str) -> Typed | None:
    if not value.value:
        return _text(value.original, "")
    if len(value.value) <= 10 and declared in {"", "DT"}:
        return _typed(types.day(run, value), "DT")
    kind = "DTM" if run.message.version >= (2, 6) or declared == "DTM" else "TS"
    return _typed(types.when(run, value), kind)


def _identifier(run: Any, value: Identifier, declared: str) -> Typed | None:
    if declared == "EI":
        return _typed(types.ei(run, value), "EI")
    return _typed(types.cx(run, value), "CX")


def _attachment(run: Any, value: Attachment) -> Typed | None:
    found = types.ed(run, value)
    return _typed(found, "ED") if found else _typed(types.rp(run, value), "RP")


def _text(text: str, declared: str) -> Typed | None:
    if declared == "TM" and text.replace(".", "").isdigit():
        return _typed(repetition(text), "TM")
    if declared == "FT":
        return _typed(repetition(Formatted(text)), "FT")
    is_long = declared == "TX" or "\n" in text or len(text) > _LONGEST_ST
    return _typed(repetition(text), "TX" if is_long else "ST")
