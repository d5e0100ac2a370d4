"""What a CDA says to people: result values in words, and the words of a fragment of XHTML. For the writers of bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import unescape

from broker.document import Coded, Quantity, Range, ResultValue, When
from broker.writing.cda_elements import Element, add, write, write_after

_BLOCKS = frozenset({
    "address", "article", "blockquote", "br", "caption", "dd", "div", "dl", "dt", "h1", "h2", "h3",
    "h4", "h5", "h6", "hr", "item", "li", "list", "ol", "p", "paragraph", "pre", "section",
    "table", "tbody", "text", "tfoot", "thead", "title", "tr", "ul",
})  # fmt: skip
_CELLS = frozenset({"td", "th"})
_UNSEEN = frozenset({"script", "style"})
_MARKS = frozenset({"\n", "\t"})
_TAG = re.compile(r"<(/?)([A-Za-z][\w:.-]*+)?[^<>]*+>")
_BLANKS = re.compile(r"\s+")


def lines(parent: Element, text: str) -> None:
    """Text with its line ends as `br`."""
    first, *others = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    write(parent, first)
    for line in others:
        write_after(add(parent, "br"), line)


def words_of(fragment: str) -> list[str]:
    """The paragraphs of a fragment of XML or HTML, without any mark-up; nothing in it is interpreted.

    Linear in the length of the fragment, whatever it holds: it is the sender's.
    """
    pieces: list[str] = []
    unseen, at = 0, 0
    text = _without_comments(fragment)
    for tag in _TAG.finditer(text):
        if not unseen:
            pieces.append(unescape(text[at : tag.start()]))
        name = (tag[2] or "").rpartition(":")[2].lower()
        pieces.append("\n" if name in _BLOCKS else "\t" if name in _CELLS else "")
        if name in _UNSEEN and not tag[0].endswith("/>"):
            unseen = max(0, unseen + (-1 if tag[1] else 1))
        at = tag.end()
    if not unseen:
        pieces.append(unescape(text[at:]))
    return list(_paragraphs(pieces))


def _without_comments(text: str) -> str:
    kept, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[at:start])
        at = end + 3
    kept.append(text[at:])
    return "".join(kept).replace("<![CDATA[", "").replace("]]>", "")


def _paragraphs(pieces: Iterable[str]) -> Iterator[str]:
    """Lines of joined words; the cells of a row parted by bars. Line ends inside a piece are blanks."""
    whole = "".join(piece if piece in _MARKS else _BLANKS.sub(" ", piece) for piece in pieces)
    for paragraph in whole.split("\n"):
        cells = (" ".join(cell.split()) for cell in paragraph.split("\t"))
        if line := " | ".join(cell for cell in cells if cell):
            yield line


def label(item: Coded | None) -> str:
    """A code as its reader says it: the text, a display, or the code itself."""
    if item is None:
        return ""
    displays = (one.display for one in item.codings if one.display)
    codes = (one.code for one in item.codings if one.code)
    return item.text or next(displays, "") or next(codes, "")


def moment(when: When | None) -> str:
    """A time as it was written, or what was received in its place."""
    if when is None:
        return ""
    return f"{when.value.replace('T', ' ')} {when.offset}".strip() if when.value else when.original


def amount(item: Quantity | None) -> str:
    """The digits with their comparator, without the unit."""
    return f"{item.comparator} {item.value}".strip() if item else ""


def range_(item: Range) -> str:
    """A range as it was received, else its bounds."""
    if item.text:
        return item.text
    low, high = amount(item.low), amount(item.high)
    return f"{low} - {high}" if low and high else low or high


def result(item: ResultValue | None) -> tuple[str, str]:
    """(value, unit) of a result as read by people."""
    if item is None:
        return "", ""
    if item.quantity:
        return amount(item.quantity) or item.original, item.quantity.unit or item.quantity.ucum
    if item.range:
        ends = [end for end in (item.range.low, item.range.high) if end]
        return range_(item.range), next((end.unit or end.ucum for end in ends), "")
    if item.ratio:
        parts = (amount(item.ratio.numerator), amount(item.ratio.denominator))
        return item.original or ":".join(part for part in parts if part), ""
    return _other(item), ""


def _other(item: ResultValue) -> str:
    if item.coded:
        return label(item.coded)
    if item.when:
        return moment(item.when)
    if item.period:
        return " - ".join(filter(None, (moment(item.period.start), moment(item.period.end))))
    if item.boolean is not None:
        return "oui" if item.boolean else "non"
    if item.identifier:
        return item.identifier.value
    if item.attachment:
        return item.attachment.title or "document joint"
    return item.text or item.original
