"""Values every source shares: dates at their precision, numbers as written, ranges, tolerant Base64. For shapes.

A date never gains a time, a time never moves a date, a number keeps its digits; what cannot be read is kept as text.
"""

from __future__ import annotations

import binascii
import re
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pybase64

from broker.document import Quantity, Range, When

_DTM = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,9})?)?)?)?)?)?([+-]\d\d(?::?\d\d)?|Z)?"
)
_ISO = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")


class Zone:
    """A time zone whose offsets are attached as assumed to times sent without one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._zone = ZoneInfo(name)
        self.offset = lru_cache(8192)(self._offset)

    def _offset(self, hour: str) -> str:
        """The offset at `YYYY-MM-DDTHH`; of an hour that occurs twice, the first."""
        try:
            delta = datetime.fromisoformat(hour + ":00").replace(tzinfo=self._zone).utcoffset()
        except ValueError:
            return ""
        return _offset_text(delta or timedelta())

    def repeats(self, hour: str) -> bool:
        """Whether this local hour occurs twice (autumn)."""
        moment = datetime.fromisoformat(hour + ":00").replace(tzinfo=self._zone)
        return moment.utcoffset() > moment.replace(fold=1).utcoffset()  # type: ignore[operator]


def _offset_text(delta: timedelta) -> str:
    minutes = int(delta.total_seconds() // 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


PARIS = Zone("Europe/Paris")


@lru_cache(4096)
def hl7_when(text: str, zone: Zone, midnight_is_unknown: bool = False) -> When:
    """An HL7v2 or CDA time stamp, cut at its precision; text that is none is kept as `original`.

    Source: HL7 v2.5.1 §2.A.22 (DTM); CDA R2 uses the same form. A `00` month or day means unknown.
    """
    m = _DTM.fullmatch(text)
    if m is None:
        found = _ISO.fullmatch(text)
        return iso_when(text, zone) if found else When(original=text)
    year, month, day, hour, minute, second, fraction, offset = m.groups()
    cut = month == "00" or day == "00"
    if month is None or month == "00":
        return When(value=year, original=text if cut else "")
    if day is None or day == "00":
        value = f"{year}-{month}" if "01" <= month <= "12" else ""
        return When(value=value, original=text if cut or not value else "")
    value = f"{year}-{month}-{day}"
    if not _is_date(value):
        return When(original=text)
    if hour is None or (midnight_is_unknown and text[8:14].strip("0") == "" and not fraction):
        return When(value=value, offset=_colon(offset))
    if hour > "23" or (minute or "00") > "59" or (second or "00") > "60":
        return When(original=text)
    at = f"{value}T{hour}"
    value = at if minute is None else f"{at}:{minute}"
    if second is not None:
        value = f"{value}:{second}{fraction or ''}"
    if offset:
        return When(value=value, offset=_colon(offset))
    return When(value=value, assumed_offset=zone.offset(at))


def iso_when(text: str, zone: Zone) -> When:
    """A FHIR date, dateTime or instant."""
    m = _ISO.fullmatch(text)
    if m is None:
        return When(original=text)
    hour, offset = m.group(4), m.group(8)
    value = text[: m.start(8)] if offset else text
    if m.group(3) and not _is_date(value[:10]):
        return When(original=text)
    if offset:
        return When(value=value, offset="+00:00" if offset == "Z" else offset)
    return When(value=value, assumed_offset=zone.offset(value[:13]) if hour else "")


def _colon(offset: str | None) -> str:
    if not offset:
        return ""
    if offset == "Z":
        return "+00:00"
    return f"{offset[:3]}:{offset[-2:] if len(offset) > 3 else '00'}"


@lru_cache(16384)
def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def number(text: str, accept_comma: bool = False) -> str:
    """The text when it is a decimal number as written, else empty."""
    if _NUMBER.fullmatch(text):
        return text
    if accept_comma and _NUMBER.fullmatch(text.replace(",", ".", 1)):
        return text.replace(",", ".", 1)
    return ""


_COMPARED = re.compile(r"(<=|>=|<|>|≤|≥)\s*(.+)")
_BETWEEN = re.compile(r"(-?\d+(?:[.,]\d+)?)\s*(?:-|–|à|to|\.\.)\s*(-?\d+(?:[.,]\d+)?)(?:\s.*)?")
_SIGNS = {"≤": "<=", "≥": ">="}


def compared(text: str) -> tuple[str, str]:
    """(comparator, number) of `<5`; empty comparator when there is none."""
    m = _COMPARED.fullmatch(text)
    if m is None:
        return "", text
    return _SIGNS.get(m.group(1), m.group(1)), m.group(2)


def text_range(text: str, unit: str = "") -> Range:
    """A reference range written as text: `12-16`, `<5`, `>=3`; the text is always kept."""
    m = _BETWEEN.fullmatch(text)
    if m is not None:
        low, high = m.group(1).replace(",", "."), m.group(2).replace(",", ".")
        return Range(
            low=Quantity(value=low, unit=unit), high=Quantity(value=high, unit=unit), text=text
        )
    sign, rest = compared(text)
    value = number(rest, accept_comma=True)
    if not sign or not value:
        return Range(text=text)
    bound = Quantity(value=value, comparator=sign, unit=unit)
    return Range(high=bound, text=text) if sign[0] == "<" else Range(low=bound, text=text)


def base64_bytes(text: str) -> tuple[bytes | None, bool]:
    """(content, repaired): Base64 with blanks, a lost padding or one stray last character is read as meant."""
    try:
        return pybase64.b64decode(text, validate=True), False
    except (binascii.Error, ValueError):
        pass
    compact = "".join(text.split())
    try:
        return pybase64.b64decode(compact, validate=True), False
    except (binascii.Error, ValueError):
        pass
    compact = compact.rstrip("=")
    if len(compact) % 4 == 1:
        compact = compact[:-1]
    try:
        return pybase64.b64decode(compact + "=" * (-len(compact) % 4), validate=True), True
    except (binascii.Error, ValueError):
        return None, True
