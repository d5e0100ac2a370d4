"""Does a resource hold what a search asks for? Tokens, dates and strings as FHIR R4 §3.1.1 has them. Pure."""

from __future__ import annotations

import calendar
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from broker.web.resources import Parameter

Json = dict[str, Any]
Span = tuple[datetime, datetime]

PREFIXES = ("eq", "ne", "lt", "gt", "le", "ge", "sa", "eb")
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
_FIRST = datetime(1, 1, 2, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Filter:
    """One parameter with the values of which one must be there."""

    parameter: Parameter
    values: tuple[str, ...]


def holds(resource: Json, filters: tuple[Filter, ...], zone: tzinfo) -> bool:
    """Whether the resource answers to every filter. `zone` is that of dates without one."""
    return all(_one(resource, one, zone) for one in filters)


def _one(resource: Json, one: Filter, zone: tzinfo) -> bool:
    found = [value for path in one.parameter.paths for value in at(resource, path)]
    if one.parameter.kind == "token":
        return any(_token(value, wanted) for value in found for wanted in one.values)
    if one.parameter.kind == "date":
        spans = [span for value in found if (span := span_of_value(value, zone)) is not None]
        return any(_date(span, wanted, zone) for span in spans for wanted in one.values)
    return any(_string(value, wanted) for value in found for wanted in one.values)


def at(value: Any, path: str) -> Iterator[Any]:
    """Every value at a dotted path, through lists."""
    if isinstance(value, list):
        for one in value:
            yield from at(one, path)
        return
    if not path:
        yield value
        return
    head, _, rest = path.partition(".")
    if isinstance(value, dict) and head in value:
        yield from at(value[head], rest)


def _token(value: Any, wanted: str) -> bool:
    system, bar, code = wanted.partition("|")
    if not bar:
        system, code = "", wanted
    for given_system, given_code in _tokens(value):
        if code and given_code != code:
            continue
        if not bar or given_system == system:
            return True
    return False


def _tokens(value: Any) -> Iterator[tuple[str, str]]:
    """(system, code) of a Coding, CodeableConcept, Identifier or plain code."""
    if isinstance(value, dict):
        if "coding" in value:
            for one in value["coding"]:
                yield from _tokens(one)
        else:
            yield str(value.get("system", "")), str(value.get("code", value.get("value", "")))
    elif isinstance(value, str):
        yield "", value


def _string(value: Any, wanted: str) -> bool:
    return isinstance(value, str) and _plain(value).startswith(_plain(wanted))


def _plain(text: str) -> str:
    spread = unicodedata.normalize("NFKD", text.casefold())
    return "".join(one for one in spread if not unicodedata.combining(one))


# --- dates -------------------------------------------------------------------------------------------------------


def prefixed(text: str) -> tuple[str, str]:
    """(prefix, date) of a value: `ge2026-01` is (ge, 2026-01); without a prefix it is eq."""
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


def span_of(text: str, zone: tzinfo) -> Span | None:
    """From when (inclusive) to when (exclusive) a date of any precision is; None for what is no date."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    if hour is not None and offset is None and zone is None:
        return None
    try:
        where: tzinfo = zone
        if offset == "Z":
            where = UTC
        elif offset:
            where = datetime.fromisoformat(f"2000-01-01T00:00:00{offset}").tzinfo or UTC
        low = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
            min(int(second or 0), 59), int((fraction or "").ljust(6, "0")[:6] or 0), tzinfo=where,
        )  # fmt: skip
        if day is None:
            days = (
                (366 if calendar.isleap(low.year) else 365)
                if month is None
                else calendar.monthrange(low.year, low.month)[1]
            )
            high = low + timedelta(days=days)
        elif hour is None:
            high = low + timedelta(days=1)
        elif second is None:
            high = low + timedelta(minutes=1)
        else:
            high = low + (
                timedelta(microseconds=10 ** max(0, 6 - len(fraction)))
                if fraction
                else timedelta(seconds=1)
            )
        return low.astimezone(UTC), high.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def span_of_value(value: Any, zone: tzinfo) -> Span | None:
    """The span of a date or a Period; an open end reaches as far as there is."""
    if isinstance(value, str):
        return span_of(value, zone)
    if not isinstance(value, dict):
        return None
    start = span_of(str(value.get("start", "")), zone)
    end = span_of(str(value.get("end", "")), zone)
    if start is None and end is None:
        return None
    return (start[0] if start else _FIRST, end[1] if end else _LAST)


def _date(span: Span, wanted: str, zone: tzinfo) -> bool:
    prefix, text = prefixed(wanted)
    bound = span_of(text, zone)
    if bound is None:
        return False
    (low, high), (first, last) = span, bound
    within = first <= low and high <= last
    answers = {
        "eq": within, "ne": not within, "lt": low < first, "gt": high > last, "le": low < first or within,
        "ge": high > last or within, "sa": low >= last, "eb": high <= first,
    }  # fmt: skip
    return answers[prefix]
