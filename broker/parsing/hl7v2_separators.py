"""The separators of an HL7v2 message, as declared and as meant, and the escape sequences they make necessary.

Source: HL7 v2.5.1 §2.5.4 (delimiters) and §2.7 (escape sequences).
"""

from __future__ import annotations

import msgspec

from broker.errors import ParseError
from broker.parsing.charset import decode

_DEFAULTS = "^~\\&"
_TYPOGRAPHIC = frozenset({"˜"})


class Separators(msgspec.Struct, frozen=True):
    """The five characters of MSH-1 and MSH-2; `escape` and `subcomponent` may be empty."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


STANDARD = Separators()


def read_separators(text: str) -> tuple[Separators, tuple[str, ...]]:
    if text[3:9] == "|^~\\&|":
        return STANDARD, ()
    mark = text[3:4]
    if not mark or mark.isalnum() or mark in "\r\n":
        raise ParseError("hl7v2.separators", where="MSH-1", reason="no field separator after MSH")
    given = text[4:].split("\r", 1)[0].split("\n", 1)[0].split(mark, 1)[0].rstrip()
    repairs: tuple[str, ...] = ()
    if len(given) > 4 and given[2] == given[3] == "\\":
        given = given[:3] + given[4:]
        repairs += ("separators_doubled",)
    if len(given) < 4 or len(set(given[:4])) < 4 or mark in given[:4] or given[:4].isalnum():
        if not given or given[0].isalnum():
            given = ""
        filled = given[:4]
        for wanted in _DEFAULTS[len(filled) :]:
            filled += wanted if wanted not in filled and wanted != mark else "\0"
        given = filled
        repairs += ("separators_completed",)
    if given[1] in _TYPOGRAPHIC:
        repairs += ("separators_typographic",)
    subcomponent = "" if given[3] == "\0" else given[3]
    escape_mark = "" if given[2] == "\0" else given[2]
    return Separators(mark, given[0], given[1], escape_mark, subcomponent), repairs


def unescape(text: str, separators: Separators) -> str:
    r"""Decode \F\ \S\ \T\ \R\ \E\ \.br\ \Xhh\ and drop the highlighting \H\ \N\; an unknown sequence stays as it is."""
    mark = separators.escape
    if not mark or mark not in text:
        return text
    parts = text.split(mark)
    out = [parts[0]]
    i = 1
    while i < len(parts):
        known = _escape(parts[i], separators) if i + 1 < len(parts) else None
        if known is None:
            out.append(mark + parts[i])
            i += 1
        else:
            out.append(known + parts[i + 1])
            i += 2
    return "".join(out)


def has_unknown_escape(text: str, separators: Separators) -> bool:
    """Whether `unescape` leaves an escape character as it stands: an unknown sequence, or one without its end."""
    mark = separators.escape
    parts = text.split(mark) if mark else [text]
    i = 1
    while i < len(parts):
        if i + 1 >= len(parts) or _escape(parts[i], separators) is None:
            return True
        i += 2
    return False


def escape(text: str, separators: Separators) -> str:
    """The inverse of `unescape`, for a leaf about to be written."""
    if not separators.escape:
        return text
    e = separators.escape
    table = {
        separators.escape: f"{e}E{e}",
        separators.field: f"{e}F{e}",
        separators.component: f"{e}S{e}",
        separators.repetition: f"{e}R{e}",
        "\r": f"{e}X0D{e}",
        "\n": f"{e}.br{e}",
    }
    if separators.subcomponent:
        table[separators.subcomponent] = f"{e}T{e}"
    return "".join(table.get(c, c) for c in text)


def _escape(name: str, separators: Separators) -> str | None:
    if name in _PLAIN_ESCAPES:
        return str(getattr(separators, _PLAIN_ESCAPES[name]))
    if name in {"H", "N"}:
        return ""
    if name == ".br" or (name[:3] in {".br", ".sp"} and name[3:].lstrip("+").isdigit()):
        return "\n"
    if name[:1] == "X" and len(name) > 1 and len(name) % 2:
        try:
            data = bytes.fromhex(name[1:])
        except ValueError:
            return None
        return decode(data, "").text
    return None


_PLAIN_ESCAPES = {
    "F": "field",
    "S": "component",
    "T": "subcomponent",
    "R": "repetition",
    "E": "escape",
}
