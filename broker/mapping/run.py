"""One message on its way through a mapping: what is given, what is noted, what comes out. For the engine's parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from broker.document import Attachment, Document, Issue
from broker.errors import MappingError
from broker.mapping.systems import NONE, Systems
from broker.mapping.values import PARIS, Zone

ENGINE = "1"
MAX_VALUES = 50_000
MAX_REPETITIONS = 64
MAX_SECONDS = 5.0


Coverage = bool | Literal["fast"]
"""What is listed of a message's unread places: none (False), all (True), or of HL7v2 what the mapping never reads."""


class Null:
    """A value that says "nothing here" and why: HL7 `""`, nullFlavor, data-absent-reason. Stops defaults."""

    __slots__ = ("reason",)

    def __init__(self, reason: str = "deleted") -> None:
        self.reason = reason


DELETED = Null()


class Context(msgspec.Struct, frozen=True):
    """What the engine is given from outside, since it reads no clock and no socket. Holds health data: never log it.

    document_id: the id of the nth document of this message; `ids_from` derives them from the message's own id
    body: the message's bytes, when a document received directly is to be its own main attachment
    parsers: how to read formats embedded in others (`{"cda": broker.parsing.cda.parse}`)
    clock: seconds that pass, for the bound on how long one message may take; None: no bound
    """

    document_id: Callable[[int], str]
    received_at: str = ""
    source: str = ""
    channel: str = ""
    peer: str = ""
    original_sha256: str = ""
    original_size: int = 0
    media: str = ""
    body: bytes = b""
    parsers: Mapping[str, Callable[[bytes], Any]] = {}
    clock: Callable[[], float] | None = None

    def __repr__(self) -> str:
        return f"Context(source={self.source!r}, original_sha256={self.original_sha256!r})"


def ids_from(message_id: str) -> Callable[[int], str]:
    """Document ids derived from a message's UUIDv7: same instant, same message, same ids."""

    def document_id(number: int) -> str:
        digest = hashlib.sha256(f"{message_id}/{number}".encode()).hexdigest()
        head = message_id.replace("-", "")[:12].ljust(12, "0")
        variant = "89ab"[int(digest[3], 16) & 3]
        text = f"{head}7{digest[:3]}{variant}{digest[4:19]}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"

    return document_id


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A code that a table does not have: what an engineer is to translate. Not for logs."""

    table: str
    system: str
    code: str
    display: str = ""


@dataclass(slots=True)
class Mapped:
    """What a message became. `provenance[i]` belongs to `documents[i]`: (rule number, loop indexes) pairs.

    unread: populated source paths that no rule reads, where they were asked for
    """

    mapping: str
    version: str
    documents: list[Document] = field(repr=False)
    issues: list[Issue]
    attachments: dict[str, bytes] = field(repr=False)
    unread: list[str]
    provenance: list[list[tuple[int, tuple[int, ...]]]]
    unmapped: list[Unmapped] = field(default_factory=list, repr=False)


class Node:
    """Where paths are read from in HL7v2: the message, a group instance, a segment or a repetition in a loop."""

    __slots__ = ("groups", "name", "parent", "rep", "segments")

    def __init__(self, name: str, parent: Node | None) -> None:
        self.name = name
        self.parent = parent
        self.segments: dict[str, list[Any]] = {}
        self.groups: dict[str, list[Node]] = {}
        self.rep = ""

    def dissolve(self) -> None:
        """Cut what makes circles of a message that is done: it goes at once, and the collector has no work with it."""
        for children in self.groups.values():
            for child in children:
                child.dissolve()
        self.groups = {}


class Run:
    """The state of one `apply`. One thread, one message; thrown away afterwards."""

    __slots__ = (
        "absent",
        "assigning_authority",
        "at",
        "attachments",
        "began",
        "cleared",
        "component",
        "context",
        "decimal_comma",
        "escape",
        "index",
        "is_standard",
        "is_watched",
        "issues",
        "kids",
        "known",
        "message",
        "midnight_is_unknown",
        "numbers",
        "present",
        "repetition",
        "subcomponent",
        "systems",
        "trail",
        "unmapped",
        "zone",
    )

    def __init__(self, message: Any, context: Context, systems: Systems = NONE) -> None:
        self.message = message
        self.context = context
        self.systems = systems
        self.issues: list[Issue] = []
        self.cleared: list[str] = []
        self.absent: dict[str, str] = {}
        self.attachments: dict[str, bytes] = {}
        self.began = context.clock() if context.clock is not None else 0.0
        self.trail: list[tuple[int, tuple[int, ...]]] = []
        self.at: tuple[int, ...] = ()
        self.numbers: dict[tuple[str, tuple[int, ...]], int] = {}
        self.zone: Zone = PARIS
        self.index: dict[tuple[int, str], dict[str, list[Node]]] = {}
        self.assigning_authority = ""
        self.known: dict[Any, Any] = {}
        self.kids: dict[Any, dict[str, Any]] = {}
        self.decimal_comma = False
        self.unmapped: list[Unmapped] = []
        self.midnight_is_unknown = False
        self.is_watched = False
        self.present = frozenset([s.name for s in getattr(message, "segments", ())])
        self.component = "^"
        self.repetition = "~"
        self.subcomponent = "\0"
        self.escape = "\0"
        self.is_standard = False
        separators = getattr(message, "separators", None)
        if separators is not None:
            self.component = separators.component
            self.repetition = separators.repetition
            self.subcomponent = separators.subcomponent or "\0"
            self.escape = separators.escape or "\0"
            self.is_standard = (
                separators.component == "^"
                and separators.repetition == "~"
                and separators.subcomponent == "&"
                and separators.escape == "\\"
            )

    def record_at(self, prefix: str) -> tuple[int, ...]:
        """The numbers of a record's id: where the loops around it stand, and how many of its kind there are so far."""
        outer = self.at[:-1]
        number = self.numbers.get((prefix, outer), 0) + 1
        self.numbers[prefix, outer] = number
        return (*outer, number)

    def unescape(self, text: str) -> str:
        """Decode a text of an HL7v2 message that holds its escape character; what is no escape is kept, and noted."""
        if self.escape == "\0":
            return text
        if self.message.has_unknown_escape(text):
            self.issue("information", "unknown-escape")
        decoded: str = self.message.unescape(text)
        return decoded

    def take_time(self) -> None:
        """Raises MappingError when the message takes longer than any real one; asked now and then by loops."""
        clock = self.context.clock
        if clock is not None and clock() - self.began > MAX_SECONDS:
            raise MappingError(
                "mapping.too_long", where="message", reason=f"over {MAX_SECONDS:g} s to map"
            )

    def issue(
        self,
        severity: Any,
        code: str,
        *,
        detail: str = "",
        rule: str = "",
        source: str = "",
        target: str = "",
    ) -> None:
        """Note what happened at a place; never the value itself."""
        issue = Issue(
            severity=severity,
            code=code,
            detail=detail,
            rule=rule,
            source_path=source,
            target_path=target,
        )
        if issue not in self.issues:
            self.issues.append(issue)

    def produced(self, rule: int) -> None:
        """Note that a rule gave a value. Raises MappingError when a message explodes."""
        self.trail.append((rule, self.at))
        if len(self.trail) > MAX_VALUES:
            raise MappingError(
                "mapping.too_many_values", where="message", reason="over 50,000 values"
            )

    def attach(self, data: bytes, attachment: Attachment) -> Attachment:
        """Keep content under its digest; the value in the document is the record of it."""
        digest = hashlib.sha256(data).hexdigest()
        self.attachments[digest] = data
        return Attachment(
            id=attachment.id,
            sha256=digest,
            sha1=hashlib.sha1(data, usedforsecurity=False).hexdigest(),
            size=len(data),
            media_type=attachment.media_type,
            detected_type=detect(data),
            charset=attachment.charset,
            language=attachment.language,
            title=attachment.title,
            creation=attachment.creation,
            role=attachment.role,
            source_path=attachment.source_path,
            encoding_as_received=attachment.encoding_as_received,
        )


_REMEMBERED = 1024


def remembered(
    shape: Callable[[Any, Any, Any], Any], known: dict[str, Any]
) -> Callable[[Any, Any, Any], Any]:
    """A shape that remembers: codes, times and professionals come again, and values are immutable.

    Only texts, under the standard separators, that raised no issue; a bounded number of short ones.
    """

    def lookup(run: Any, raw: Any, scope: Any) -> Any:
        if not run.is_standard:
            return shape(run, raw, scope)
        value = known.get(raw)
        if value is None:
            issues = len(run.issues)
            value = shape(run, raw, scope)
            if value is not None and len(raw) < 300 and len(run.issues) == issues:
                if len(known) >= _REMEMBERED:
                    known.clear()
                known[raw] = value
        return value

    return lookup


_MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"{\\rtf", "application/rtf"),
    (b"PK\x03\x04", "application/zip"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)


def detect(data: bytes) -> str:
    """The type by first bytes; empty when nothing is recognised."""
    for mark, media in _MAGIC:
        if data.startswith(mark):
            return media
    head = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<"):
        if b"ClinicalDocument" in data[:8192]:
            return "application/cda+xml"
        is_html = head[:5].lower() == b"<html" or head[:14].lower() == b"<!doctype html"
        return "text/html" if is_html else "application/xml"
    return ""
