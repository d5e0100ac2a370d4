"""Content of an ED (HL7 v2.5.1 §2A.24): what is inside is replaced and encoded as it was."""

from __future__ import annotations

import base64
from collections.abc import Callable

from broker.anonymising.words import Words
from broker.mapping.values import base64_bytes
from broker.parsing.hl7v2_separators import Separators, escape, unescape

_LEAST = 20
"""Characters from which a lone component counts as Base64, as the mapping takes it."""


def encapsulated(
    text: str,
    separators: Separators,
    inner: Callable[[bytes, str], bytes],
    words: Words,
    codec: str,
) -> str:
    """The ED with other content; its source, types and encoding stay. Its length may change."""
    mark = separators.component
    return separators.repetition.join(
        mark.join(_one(part.split(mark), separators, inner, words, codec))
        for part in text.split(separators.repetition)
    )


def _one(
    parts: list[str],
    separators: Separators,
    inner: Callable[[bytes, str], bytes],
    words: Words,
    codec: str,
) -> list[str]:
    if len(parts) < 5:
        return [
            _base64(part, separators, inner, words, codec, "") if len(part) >= _LEAST else part
            for part in parts
        ]
    content = separators.component.join(parts[4:])
    encoding = parts[3].strip().lower()
    media = "/".join(part.strip().lower() for part in parts[1:3])
    if encoding == "hex":
        new = _hexadecimal(content, inner, words, codec, media)
    elif encoding in ("", "a") and not _looks_base64(content):
        data = unescape(content, separators).encode("utf-8", "surrogateescape")
        new = escape(inner(data, media).decode("utf-8", "surrogateescape"), separators)
    else:
        new = _base64(content, separators, inner, words, codec, media)
    head = [words.facility(parts[0], codec) if len(parts[0]) > 2 else parts[0]]
    return [*head, *parts[1:4], new]


def _looks_base64(content: str) -> bool:
    return len(content) > 40 and content[:40].isalnum() and " " not in content[:200]


def _base64(
    content: str,
    separators: Separators,
    inner: Callable[[bytes, str], bytes],
    words: Words,
    codec: str,
    media: str,
) -> str:
    """Re-encoded, with a lost padding lost again; what is no Base64 is replaced as words."""
    plain = unescape(content, separators) if separators.escape else content
    data, repaired = base64_bytes(plain)
    if data is None:
        return words.text(content, codec)
    new = inner(data, media)
    if repaired and not len(new) % 3:
        new += b"\n"
    text = base64.b64encode(new).decode("ascii")
    return text.rstrip("=") if repaired else text


def _hexadecimal(
    content: str, inner: Callable[[bytes, str], bytes], words: Words, codec: str, media: str
) -> str:
    try:
        data = bytes.fromhex(content)
    except ValueError:
        return words.text(content, codec)
    return inner(data, media).hex().upper()
