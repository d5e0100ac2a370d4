"""Bytes to documents: recognise, parse and map one message. Pure; used by the pipeline and by `carnet map`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from broker.document import Document, Issue
from broker.errors import MappingError, ParseError, PermanentError
from broker.mapping.catalogue import MappingSet
from broker.mapping.closures import HELD
from broker.mapping.run import Context, Coverage, Mapped, Unmapped, ids_from
from broker.parsing import cda, fhir, hl7v2, media, xdm, xdm_header

Parsed = Any


@dataclass(frozen=True, slots=True)
class Given:
    """What the mapper is told of a message and cannot know from its bytes."""

    message_id: str
    source: str = ""
    media: str = ""
    charset: str = ""
    received_at: str = ""
    sha256: str = ""
    peer: str = ""


@dataclass(slots=True)
class Reading:
    """What a message says, or why it cannot be read: exactly one of `documents` and `failure` is of use.

    `repairs` are the tolerated defects by name, `attachments` content by SHA-256 (hex), `unread` populated places
    that no rule reads, `unmapped` codes that no table has.
    """

    format: str
    documents: list[Document] = field(default_factory=list, repr=False)
    mapping: str = ""
    version: str = ""
    issues: list[Issue] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unmapped: list[Unmapped] = field(default_factory=list, repr=False)
    repairs: tuple[str, ...] = ()
    charset_used: str = ""
    attachments: dict[str, bytes] = field(default_factory=dict, repr=False)
    failure: PermanentError | None = None
    mapped: Mapped | None = field(default=None, repr=False)


class Mapper:
    """Holds one immutable mapping set. `clock` (seconds) bounds how long one message may take."""

    def __init__(self, mapping_set: MappingSet, clock: Callable[[], float] = monotonic) -> None:
        self._set = mapping_set
        self._clock = clock
        self._parsers: dict[str, Callable[[bytes], Parsed]] = {"cda": cda.parse}

    @property
    def set_hash(self) -> str:
        """SHA-256 of the mapping set's files: what a document's provenance points to."""
        return self._set.hash

    @property
    def mapping_set(self) -> MappingSet:
        """The set itself: its outbound mappings write what its inbound ones read."""
        return self._set

    def messages_in(self, body: bytes, declared: str = "") -> list[bytes]:
        """The messages of a file: several of HL7v2 or FHIR, one of anything else."""
        kind = media.recognise(body, declared)
        if kind == "hl7v2":
            return hl7v2.split_messages(body)
        return fhir.split(body) if kind == "fhir-r4" else [body]

    def read(self, body: bytes, given: Given, *, coverage: Coverage = False) -> Reading:
        """Parse and map one message. A message that cannot be read is a Reading with a `failure`, never a raise."""
        kind = media.recognise(body, given.media)
        reading = Reading(format=kind)
        try:
            if kind == "xdm":
                self._read_archive(body, given, reading, coverage)
            else:
                self._apply(self._parse(kind, body, given), body, given, reading, coverage)
        except (ParseError, MappingError) as error:
            # Without the frames it came through: they know the message, and would keep it.
            reading.failure = error.with_traceback(None)
            reading.documents = []
        return reading

    def _parse(self, kind: str, body: bytes, given: Given) -> Parsed:
        if kind == "hl7v2":
            return hl7v2.parse(body, declared=given.charset)
        if kind == "cda":
            return cda.parse(body)
        if kind == "fhir-r4":
            return fhir.parse(body, given.media)
        raise ParseError("media.unknown", where="message", reason="no known format")

    def _apply(
        self,
        parsed: Parsed,
        body: bytes,
        given: Given,
        reading: Reading,
        coverage: Coverage,
        first_id: int = 0,
    ) -> None:
        document_id = ids_from(given.message_id)
        context = Context(
            document_id=lambda number: document_id(first_id + number),
            received_at=given.received_at,
            source=given.source,
            channel=given.source,
            peer=given.peer,
            original_sha256=given.sha256,
            original_size=len(body),
            media=given.media,
            body=body,
            parsers=self._parsers,
            clock=self._clock,
        )
        mapped = self._set.apply(parsed, context, coverage=coverage)
        reading.documents += mapped.documents
        reading.mapping, reading.version = mapped.mapping, mapped.version
        reading.issues += mapped.issues
        reading.unread += mapped.unread
        reading.unmapped += mapped.unmapped
        reading.attachments.update(mapped.attachments)
        reading.repairs += tuple(getattr(parsed, "repairs", ()))
        reading.charset_used = getattr(parsed, "charset_used", "")
        reading.mapped = mapped

    def _read_archive(
        self, body: bytes, given: Given, reading: Reading, coverage: Coverage
    ) -> None:
        """Each document of an archive by its own format; one of no format of ours by the archive's metadata."""
        archive = xdm.parse(body)
        for document in archive.documents:
            first = len(reading.documents)
            kind = media.recognise(document.body, document.media)
            if kind not in ("cda", "hl7v2", "fhir-r4"):
                described = document.described(with_content=True)
                self._apply(described, document.body, given, reading, coverage, first)
                continue
            own = self._parse(kind, document.body, given)
            self._apply(own, document.body, given, reading, coverage, first)
            if document.metadata:
                # Masking codes may stand in the metadata only: they hold for the document as well.
                aside = Reading(format="xdm")
                described = document.described(with_content=False)
                self._apply(described, document.body, given, aside, coverage=False, first_id=first)
                reading.documents[first:] = [
                    xdm_header.lay_under(one, aside.documents[0]) if aside.documents else one
                    for one in reading.documents[first:]
                ]
        if not reading.documents:
            raise ParseError("xdm.empty", where="IHE_XDM", reason="no document in the archive")


def held_at(issues: Iterable[Issue]) -> str | None:
    """The place of a code that the message has to wait for; None where there is none."""
    return next((issue.source_path for issue in issues if issue.code == HELD), None)


def errors_of(issues: Iterable[Issue]) -> list[Issue]:
    """The issues that stop a message."""
    return [issue for issue in issues if issue.severity == "error"]
