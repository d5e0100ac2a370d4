"""Characters by declaration and by evidence: the text of a message's bytes, never mojibake.

MSH-18 is absent in most messages and wrong in many (UTF-8 bytes under `8859/1`), so bytes that are valid UTF-8 with
characters beyond ASCII are UTF-8 whatever is declared; otherwise the declaration counts; otherwise Windows-1252,
what Western European senders write when they say nothing.
Source: HL7 v2.5.1 table 0211 (names of character sets).
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

_CODECS = {
    "ASCII": "cp1252",
    "8859/1": "cp1252",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "CNS 11643-1992": "euc_tw",
    "BIG-5": "big5",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "UNICODE UTF-32": "utf-32",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
}
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Text:
    """A message's characters, the codec that gave them, and what had to be repaired to read them."""

    text: str
    codec: str
    repairs: tuple[str, ...] = ()


def codec_of(declared: str) -> str:
    """The codec of a declared character set (table 0211 name or IANA name); empty when unknown."""
    name = declared.strip().upper()
    if not name:
        return ""
    if name in _CODECS:
        return _CODECS[name]
    try:
        found = codecs.lookup(name.replace("/", "-")).name
    except (LookupError, ValueError):  # no such name, or a NUL in it
        return ""
    return "cp1252" if found in {"iso8859-1", "ascii"} else found


def decode(body: bytes, declared: str) -> Text:
    """Read `body` by evidence first, then as `declared` (MSH-18 or the transport's charset).

    A byte no codec knows shows as U+FFFD; the message keeps its own bytes.
    """
    if body[:2] in _UTF16_MARKS:
        return Text(body.decode("utf-16", "replace"), "utf-16", ("byte_order_mark",))
    repairs: tuple[str, ...] = ()
    if body[:3] == codecs.BOM_UTF8:
        body, repairs = body[3:], ("byte_order_mark",)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return _single_byte(body, codec_of(declared), repairs)
    if declared and not body.isascii() and codec_of(declared) not in {"utf-8", ""}:
        repairs += ("charset_differs",)
    return Text(text, "utf-8", repairs)


def _single_byte(body: bytes, codec: str, repairs: tuple[str, ...]) -> Text:
    if codec and codec != "utf-8":
        try:
            return Text(body.decode(codec), codec, repairs)
        except (
            UnicodeError,
            LookupError,
        ):  # of another set, or Python has a codec of that name that is none for text
            pass
    repairs += ("charset_differs",) if codec else ("charset_guessed",)
    return Text(body.decode("cp1252", "replace"), "cp1252", repairs)
