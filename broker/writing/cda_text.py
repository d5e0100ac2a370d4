"""What a CDA says to people: result values in words, and the words of a fragment of XHTML. For the writers of bodies."""

from __future__ import annotations

from html.parser import HTMLParser

from broker.document import Coded, Quantity, Range, ResultValue, When
from broker.writing.cda_elements import Element, add, write, write_after

_BLOCKS = frozenset({
    "address", "article", "blockquote", "br", "caption", "dd", "div", "dl", "dt", "h1", "h2", "h3",
    "h4", "h5", "h6", "hr", "item", "li", "list", "ol", "p", "paragraph", "pre", "section",
    "table", "tbody", "text", "tfoot", "thead", "title", "tr", "ul",
})  # fmt: skip
_CELLS = frozenset({"td", "th"})
_UNSEEN = frozenset({"script", "style"})


def lines(parent: Element, text: str) -> None:
    """Text with its line ends as `br`."""
    first, *others = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    write(parent, first)
    for line in others:
        write_after(add(parent, "br"), line)


def words_of(fragment: str) -> list[str]:
    """The paragraphs of a fragment of XML or HTML, without any mark-up; nothing in it is interpreted."""
    reader = _Words()
    reader.feed(fragment)
    reader.close()
    return reader.paragraphs()


class _Words(HTMLParser):
    """Collects text, with a break at each block and a bar between the cells of a row."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the parser's own signature
        self._edge(tag)
        self._unseen += tag in _UNSEEN

    def handle_endtag(self, tag: str) -> None:
        self._edge(tag)
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._pieces.append(" ".join(data.split()) if data.strip() else " ")

    def _edge(self, tag: str) -> None:
        name = tag.rpartition(":")[2]
        if name in _BLOCKS:
            self._pieces.append("\n")
        elif name in _CELLS:
            self._pieces.append("\t")

    def paragraphs(self) -> list[str]:
        found = []
        for paragraph in " ".join(self._pieces).split("\n"):
            cells = (" ".join(cell.split()) for cell in paragraph.split("\t"))
            if line := " | ".join(cell for cell in cells if cell):
                found.append(line)
        return found


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
