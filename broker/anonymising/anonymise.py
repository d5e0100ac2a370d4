"""Any file of messages: recognised, and given to the module of its format; also what lies inside others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from broker.anonymising import cda, fhir, hl7v2, markup, placeholders, xdm
from broker.anonymising.words import Words
from broker.errors import ParseError
from broker.parsing import media

_DEEPEST = 5
"""Documents inside documents inside documents: beyond this they are replaced by nothing."""


@dataclass(frozen=True, slots=True)
class Anonymised:
    """A file with other people in it: its format, how many messages it holds, and how often each place was replaced."""

    body: bytes = field(repr=False)
    format: str
    messages: int
    places: Counter[str]


def anonymise(body: bytes, words: Words) -> Anonymised:
    """The file as a test file. It is read twice: only then are the names known that displays may hold.

    Raises: ParseError where the file is of no known format or not well-formed: what cannot be read is not guessed at.
    """
    words.forget_people()
    _Anonymiser(words, Counter()).file(body)
    return _Anonymiser(words, Counter()).file(body)


class _Anonymiser:
    """The words of a run, what was replaced in a file and the documents in it, and how deep it is inside."""

    def __init__(self, words: Words, places: Counter[str], depth: int = 0) -> None:
        self.words = words
        self.places = places
        self.depth = depth

    def file(self, body: bytes) -> Anonymised:
        kind = media.recognise(body)
        places = self.places
        if kind == "hl7v2":
            new, messages = hl7v2.anonymise(body, self.words, self.inner, places)
        elif kind == "fhir-r4":
            new, messages = fhir.anonymise(body, self.words, self.inner, places)
        elif kind == "cda":
            new, messages = cda.anonymise(body, self.words, self.inner, places), 1
        elif kind == "xdm":
            new, messages = xdm.anonymise(body, self.words, self.inner, places), 1
        else:
            raise ParseError("media.unknown", where="message", reason="no known format")
        return Anonymised(new, kind, messages, places)

    def inner(self, data: bytes, declared: str) -> bytes:
        """What replaces the content of an attachment: a document is replaced inside, a PDF or image by an empty one."""
        if not data or self.depth >= _DEEPEST:
            return b""
        placeholder = placeholders.of(data, declared)
        if placeholder is not None:
            return placeholder
        try:
            return _Anonymiser(self.words, self.places, self.depth + 1).file(data).body
        except ParseError:
            return self._other(data)

    def _other(self, data: bytes) -> bytes:
        codec = "utf-8"
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            codec = "cp1252"
            text = data.decode(codec, "surrogateescape")
        if any(ord(c) < 32 and c not in "\t\r\n\f" for c in text):
            return b"removed\n"
        if "<" in text and ">" in text:
            return markup.rewrite(text, self._markup, codec).encode(codec, "surrogateescape")
        return self.words.free(text, codec).encode(codec, "surrogateescape")

    def _markup(self, stack: list[markup.Element], attribute: str, value: str) -> str:
        del stack
        return self.words.free(value) if attribute in ("", "#comment") else self.words.text(value)
