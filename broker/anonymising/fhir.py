"""FHIR, JSON or XML: the texts of a resource replaced where they stand, so that layout, order and numbers stay.

Source: FHIR R4 (4.0.1), JSON and XML representations.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from broker.anonymising import markup
from broker.anonymising.fhir_values import replaced
from broker.anonymising.markup import Element
from broker.anonymising.words import Words
from broker.errors import ParseError
from broker.mapping.values import base64_bytes
from broker.parsing import fhir

Inner = Callable[[bytes, str], bytes]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?', re.DOTALL)


class Pairs(list[tuple[str, Any]]):
    """An object of JSON with its members in order, repeated ones included."""


def anonymise(body: bytes, words: Words, inner: Inner, places: Counter[str]) -> tuple[bytes, int]:
    """The file with other people in it, and how many resources it holds. `places` counts what was replaced.

    Raises: ParseError as `broker.parsing.fhir.parse` does.
    """
    pieces = fhir.split(body)
    out, at = [], 0
    for piece in pieces:
        start = body.index(piece, at)
        fhir.parse(piece)
        out += [body[at:start], _one(piece, words, inner, places)]
        at = start + len(piece)
    return b"".join([*out, body[at:]]), len(pieces)


def _one(body: bytes, words: Words, inner: Inner, places: Counter[str]) -> bytes:
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<" or b"\x00" in body[:4]:
        return _xml(body, words, inner, places)
    return _json(body, words, inner, places)


def _json(body: bytes, words: Words, inner: Inner, places: Counter[str]) -> bytes:
    text = body.decode("utf-8", "surrogateescape")
    try:
        tree = json.loads(text.lstrip("\ufeff"), object_pairs_hook=Pairs)
        new = iter(list(_values(tree, [], [], words, inner, places)))
    except RecursionError:
        raise ParseError("fhir.too_deep", reason="nested too deeply") from None

    def changed(found: re.Match[str]) -> str:
        if found[1]:
            return found[0]
        value = next(new)
        if value is None:
            return found[0]
        return json.dumps(value, ensure_ascii=found[0].isascii())

    return _TOKEN.sub(changed, text).encode("utf-8", "surrogateescape")


def _values(
    value: Any,
    path: list[str],
    kinds: list[str],
    words: Words,
    inner: Inner,
    places: Counter[str],
    siblings: dict[str, Any] | None = None,
) -> Iterator[str | None]:
    """What replaces each text of the resource, in the order they stand in; None for one that stays."""
    if isinstance(value, Pairs):
        members = {key: _plain(inside) for key, inside in value}
        kind = members.get("resourceType")
        own = [*kinds, kind] if isinstance(kind, str) else kinds
        start = [kind] if isinstance(kind, str) else path
        for key, inside in value:
            yield from _values(
                inside, [*start, key.lstrip("_")], own, words, inner, places, members
            )
    elif isinstance(value, list):
        for inside in value:
            yield from _values(inside, path, kinds, words, inner, places, siblings)
    elif isinstance(value, str):
        new = _leaf(path, siblings or {}, kinds, value, words, inner)
        if new != value:
            places[".".join(path)] += 1
        yield new if new != value else None


def _plain(value: Any) -> Any:
    """The members of the objects in a list, as far as a text is compared with its neighbours."""
    if isinstance(value, Pairs):
        return dict(value)
    return [_plain(inside) for inside in value] if isinstance(value, list) else value


def _leaf(
    path: list[str],
    siblings: dict[str, Any],
    kinds: list[str],
    value: str,
    words: Words,
    inner: Inner,
) -> str:
    name = path[-1]
    if name == "div" and "<" in value:
        return narrative(value, words)
    media = siblings.get("contentType")
    media = media if isinstance(media, str) else ""
    if name == "data":
        return content(value, media, words, inner)
    if name == "hash" and isinstance(data := siblings.get("data"), str):
        new, _ = base64_bytes(content(data, media, words, inner))
        return base64.b64encode(hashlib.sha1(new or b"", usedforsecurity=False).digest()).decode()
    return replaced(path, siblings, kinds, value, words)


def content(value: str, media: str, words: Words, inner: Inner) -> str:
    """Base64 of something, replaced inside and encoded again."""
    data, _ = base64_bytes(value)
    if data is None:
        return words.text(value)
    return base64.b64encode(inner(data, media.partition(";")[0].strip())).decode("ascii")


def narrative(text: str, words: Words) -> str:
    """XHTML with other words in it; its elements, classes and links within the page stay."""
    return markup.rewrite(text, lambda _, attribute, value: _narrative(attribute, value, words))


def _narrative(attribute: str, value: str, words: Words) -> str:
    if attribute in ("", "#comment", "alt", "title"):
        return words.free(value)
    if attribute in ("href", "src", "name", "id"):
        return words.text(value) if not value.startswith("#") else "#" + words.text(value[1:])
    return value


def _xml(body: bytes, words: Words, inner: Inner, places: Counter[str]) -> bytes:
    codec = markup.codec(body)

    def edit(stack: list[Element], attribute: str, value: str) -> str:
        names = [element.name for element in stack]
        if attribute == "#comment" or "div" in names:
            new = _narrative(attribute, value, words) if value.strip() else value
        elif not value.strip() or not stack or attribute not in ("value", "id"):
            new = value
        else:
            new = _element(stack, attribute, value, words, inner)
        if new != value:
            places[".".join(names)] += 1
        return new

    text = body.decode(codec, "surrogateescape")
    return markup.rewrite(text, edit, codec).encode(codec, "surrogateescape")


def _element(stack: list[Element], attribute: str, value: str, words: Words, inner: Inner) -> str:
    names = [element.name for element in stack]
    if attribute == "id":
        return words.text(value)
    siblings: dict[str, Any] = dict(stack[-2].children) if len(stack) > 1 else {}
    siblings.pop(names[-1], None)
    if names[-1] == "display" and len(stack) > 2:
        stack[-3].children[f"#{value}"] = value
    if names[-1] == "text" and f"#{value}" in siblings:
        return words.display(value)
    kinds = [name for name in names if name[:1].isupper()]
    last = len(names) - 1 - next((n for n, x in enumerate(reversed(names)) if x[:1].isupper()), 0)
    return _leaf(names[last:], siblings, kinds, value, words, inner)
