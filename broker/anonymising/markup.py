"""XML rewritten in place: texts and attribute values change, everything between them stays as it was written.

For documents that a parser has accepted before: this is no parser and finds no mistakes.
Source: XML 1.0 (fifth edition) §2.4 to §2.7, §3.1, §4.6 (predefined entities).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from broker.parsing.charset import codec_of

_TOKEN = re.compile(
    r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<![^>]*>|</[^>]*>"
    r"|<[^<>\"']*(?:\"[^\"]*\"[^<>\"']*|'[^']*'[^<>\"']*)*>|[^<]+|<",
    re.DOTALL,
)
_NAME = re.compile(r"<\s*([^\s/>]+)")
_ATTRIBUTE = re.compile(r"""([\w:.-]+)(\s*=\s*)("[^"]*"|'[^']*')""")
_DECLARED = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']""")
_ENTITY = re.compile(r"&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));")
_FOREIGN = re.compile(r"(&(?!amp;|lt;|gt;|quot;|apos;)\w+;)")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


@dataclass(slots=True)
class Element:
    """An element that is open: its local name, its attributes by local name, and what was noted of its children."""

    name: str
    attributes: dict[str, str]
    children: dict[str, str] = field(default_factory=dict)


Edit = Callable[[list[Element], str, str], str]
"""(open elements, attribute name or nothing for text, value) to the new value; values without entities."""


def codec(body: bytes) -> str:
    """The codec the document is written in, which gives the same bytes back."""
    if body[:2] == codecs.BOM_UTF16_LE or body[1:2] == b"\x00":
        return "utf-16-le"
    if body[:2] == codecs.BOM_UTF16_BE or body[:1] == b"\x00":
        return "utf-16-be"
    declared = _DECLARED.search(body[:300])
    return (codec_of(declared[1].decode("ascii")) if declared else "") or "utf-8"


def rewrite(text: str, edit: Edit, encoding: str = "utf-8") -> str:
    """The document with every text, comment and attribute value as `edit` wants it; namespaces stay."""
    stack: list[Element] = []
    out = [_token(found[0], stack, edit, encoding) for found in _TOKEN.finditer(text)]
    return "".join(out)


def _token(token: str, stack: list[Element], edit: Edit, encoding: str) -> str:
    if not token.startswith("<") or len(token) == 1:
        return _text(token, lambda value: edit(stack, "", value), encoding)
    if token.startswith("<!--"):
        return f"<!--{edit(stack, '#comment', token[4:-3])}-->"
    if token.startswith("<![CDATA["):
        return f"<![CDATA[{edit(stack, '', token[9:-3])}]]>"
    if token[1] in "?!":
        return token
    if token[1] == "/":
        if stack:
            stack.pop()
        return token
    return _start(token, stack, edit, encoding)


def _start(token: str, stack: list[Element], edit: Edit, encoding: str) -> str:
    name = _NAME.match(token)
    if name is None:
        return token
    head, rest = token[: name.end()], token[name.end() :]
    attributes = {
        key.rpartition(":")[2]: _plain(value[1:-1])
        for key, _, value in _ATTRIBUTE.findall(rest)
        if not key.startswith("xmlns")
    }
    element = Element(name[1].rpartition(":")[2], attributes)
    if stack:
        stack[-1].children[element.name] = attributes.get("value", "")
    stack.append(element)

    def changed(found: re.Match[str]) -> str:
        key, equals, value = found.groups()
        if key.startswith(("xmlns", "xsi:")):
            return found[0]
        local = key.rpartition(":")[2]
        new = _text(value[1:-1], lambda plain: edit(stack, local, plain), encoding, value[0])
        return f"{key}{equals}{value[0]}{new}{value[0]}"

    rest = _ATTRIBUTE.sub(changed, rest)
    if token.endswith("/>"):
        stack.pop()
    return head + rest


def _text(text: str, edit: Callable[[str], str], encoding: str, quote: str = "") -> str:
    """A text as `edit` wants it, around entities that only a DTD explains (`&nbsp;` in XHTML), which stay."""
    if "&" not in text:
        return _piece(text, edit, encoding, quote)
    pieces = _FOREIGN.split(text)
    return "".join(
        piece if n % 2 else _piece(piece, edit, encoding, quote) for n, piece in enumerate(pieces)
    )


def _piece(text: str, edit: Callable[[str], str], encoding: str, quote: str = "") -> str:
    """A text as `edit` wants it; entities are read before, and written again where the result needs them."""
    plain = _plain(text)
    new = edit(plain)
    if new == plain:
        return text
    written = escape(new, {quote: "&quot;" if quote == '"' else "&apos;"} if quote else {})
    return written.encode(encoding, "xmlcharrefreplace").decode(encoding)


def _plain(text: str) -> str:
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(found: re.Match[str]) -> str:
    hexadecimal, decimal, name = found.groups()
    if name:
        return _NAMED.get(name, found[0])
    number = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return chr(number) if number < 0x110000 else found[0]
