"""One message through its mapping: choose the mapping, run its entries, complete the documents. For `catalogue`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from broker.document import (
    Attachment,
    AttachmentRef,
    Document,
    Event,
    Issue,
    MappingRef,
    Source,
)
from broker.errors import MappingError, ParseError
from broker.mapping.closures import RuleInfo
from broker.mapping.coverage import Reads, Suspects, unread, unread_fast, watched
from broker.mapping.embedded import compare_patients, content_of, looks_like_cda
from broker.mapping.extras import extras
from broker.mapping.paths import Path, SourceFormat, TreeFormat
from broker.mapping.presence import Fill, no_values
from broker.mapping.run import ENGINE, Context, Coverage, Mapped, Node, Run
from broker.mapping.selection import Kind, Types, kind_of, message_type
from broker.mapping.systems import Systems
from broker.mapping.values import PARIS, Zone

ANY_TYPE = Types()
MAX_TYPES = 500
"""How many message types are remembered; there are some 150, and a sender can invent more."""
MAX_KINDS = 1000
LONGEST_KIND = 50
"""How many kinds of messages are remembered, and up to which length of MSH-9."""
_SELECTED_BY = {"hl7v2": "MSH-9", "cda": "ClinicalDocument/templateId", "fhir-r4": "resourceType"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of document a mapping makes. For an embedded one, `common` reads the envelope around it."""

    name: str
    fill: Fill
    scopes: Callable[[Any, Any], list[Any]] | None = None
    test: Callable[[Any, Any], bool] | None = None
    allow_none: bool = False
    embedded: Path | None = None
    common: Fill = no_values
    appended: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A mapping ready to run."""

    name: str
    version: str
    format: str
    source: SourceFormat
    tree: TreeFormat | None
    entries: tuple[Entry, ...]
    rules: tuple[RuleInfo, ...] = ()
    reads: Reads = field(default_factory=Reads)
    ignored: frozenset[str] = frozenset()
    suspects: Suspects = field(default_factory=lambda: Suspects(Reads(), ()))
    zone: Zone = PARIS
    assigning_authority: str = ""
    decimal_comma: bool = False
    midnight_is_unknown: bool = False
    keep_unread: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """A mapping to choose from: when it applies, and the mapping itself, which is compiled when it is first asked for.

    by_kind: whether it applies to all messages of one `Kind` or to none.
    """

    name: str
    version: str
    format: str
    ancestors: frozenset[str]
    applies: Callable[[Any, Any], bool]
    selector: SourceFormat
    compiled: Callable[[], Compiled] = field(repr=False)
    types: Types = ANY_TYPE
    by_kind: bool = False


@dataclass(slots=True)
class _Made:
    """A document in the making."""

    document: Document
    trail: list[tuple[int, tuple[int, ...]]]


class Mapper:
    """Applies the mappings of one set."""

    def __init__(self, mappings: Mapping[str, Choice], systems: Systems, set_hash: str) -> None:
        self._systems = systems
        self._hash = set_hash
        self._by_format: dict[str, list[Choice]] = {}
        for choice in mappings.values():
            self._by_format.setdefault(choice.format, []).append(choice)
        self._by_type: dict[str, list[Choice]] = {}
        self._by_kind: dict[Kind, Compiled] = {}
        self._refs = {
            c.name: MappingRef(name=c.name, version=c.version, set=set_hash, engine=ENGINE)
            for c in mappings.values()
        }

    def apply(self, parsed: Any, context: Context, coverage: Coverage) -> Mapped:
        """See `MappingSet.apply`."""
        is_full = coverage is True
        is_watched = is_full and parsed.format_name == "hl7v2"
        if is_watched:
            parsed = watched(parsed)
        run = Run(parsed, context, self._systems)
        run.is_watched = is_watched
        compiled = self.select(run, parsed)
        run.zone = compiled.zone
        run.assigning_authority = compiled.assigning_authority
        run.decimal_comma = compiled.decimal_comma
        run.midnight_is_unknown = compiled.midnight_is_unknown
        tree, reads = compiled.tree, None
        if tree is not None and (is_full or compiled.keep_unread):
            parsed, reads = tree.traced(parsed)
            run.message = parsed
        root = compiled.source.start(run, parsed)
        made = self._run_entries(run, root, compiled, context)
        if isinstance(root, Node):
            root.dissolve()
        if not made and not all(entry.allow_none for entry in compiled.entries):
            raise MappingError(
                "mapping.no_document", where=compiled.name, reason="no document entry applied"
            )
        found: list[str] = []
        if coverage == "fast" and tree is None:
            found = unread_fast(parsed, compiled.suspects, compiled.ignored)
        elif is_full or compiled.keep_unread:
            found = self._unread(parsed, compiled, reads)
        if made and compiled.keep_unread and compiled.format == "hl7v2":
            kept = extras(parsed, compiled.reads, compiled.ignored)
            made[0].document = msgspec.structs.replace(made[0].document, extras=kept)
        return Mapped(
            mapping=compiled.name,
            version=compiled.version,
            documents=[one.document for one in made],
            issues=run.issues,
            attachments=run.attachments,
            unread=found,
            provenance=[one.trail for one in made],
            unmapped=run.unmapped,
        )

    def select(self, run: Run, parsed: Any) -> Compiled:
        """The mapping that applies; of several, the one that extends the others."""
        kind = kind_of(run, parsed) if parsed.format_name == "hl7v2" else None
        if kind is None:
            return self._selected(run, parsed, self._candidates(run, parsed)).compiled()
        known = self._by_kind.get(kind)
        if known is not None:
            return known
        candidates = self._candidates(run, parsed)
        found = self._selected(run, parsed, candidates).compiled()
        if all(c.by_kind for c in candidates) and not run.issues and len(kind[0]) < LONGEST_KIND:
            if len(self._by_kind) >= MAX_KINDS:
                self._by_kind.clear()
            self._by_kind[kind] = found
        return found

    def _selected(self, run: Run, parsed: Any, candidates: list[Choice]) -> Choice:
        roots: dict[type, Any] = {}
        chosen = []
        for choice in candidates:
            kind = type(choice.selector)
            if kind not in roots:
                roots[kind] = choice.selector.start(run, parsed)
            if choice.applies(run, roots[kind]):
                chosen.append(choice)
        if len(chosen) > 1:
            covered = frozenset().union(*(c.ancestors for c in chosen))
            chosen = [c for c in chosen if c.name not in covered]
        if not chosen:
            where = _SELECTED_BY.get(parsed.format_name, "message")
            raise MappingError("mapping.none", where=where, reason="no mapping applies")
        if len(chosen) > 1:
            names = ", ".join(sorted(c.name for c in chosen))
            raise MappingError(
                "mapping.ambiguous",
                where=names,
                reason="several mappings apply and none extends the others",
            )
        return chosen[0]

    def _candidates(self, run: Run, parsed: Any) -> list[Choice]:
        """The mappings of the format; of HL7v2, those whose condition can hold for the message type."""
        all_of_them = self._by_format.get(parsed.format_name, [])
        if parsed.format_name != "hl7v2":
            return all_of_them
        kind = message_type(run, parsed)
        found = self._by_type.get(kind)
        if found is None:
            found = [choice for choice in all_of_them if choice.types.can_be(kind)]
            if len(self._by_type) < MAX_TYPES:
                self._by_type[kind] = found
        return found

    def _run_entries(
        self, run: Run, root: Any, compiled: Compiled, context: Context
    ) -> list[_Made]:
        made: list[_Made] = []
        for entry in compiled.entries:
            scopes = [root] if entry.scopes is None else entry.scopes(run, root)
            for scope in scopes:
                if entry.test is not None and not entry.test(run, scope):
                    continue
                run.trail, run.cleared, run.absent, run.at = [], [], {}, ()
                run.numbers = {}
                since = len(run.issues)
                if entry.embedded is not None:
                    made += self._embedded(run, scope, entry, compiled, context, made)
                else:
                    values = entry.fill(run, scope)
                    issues = tuple(run.issues[since:])
                    made.append(self._document(run, values, issues, compiled, context, len(made)))
        return made

    def _document(
        self,
        run: Run,
        values: dict[str, Any],
        issues: tuple[Issue, ...],
        compiled: Compiled,
        context: Context,
        number: int,
    ) -> _Made:
        if compiled.format == "cda":
            values["attachments"] = (
                self._main(run, run.message.body, "application/cda+xml"),
                *values.get("attachments", ()),
            )
        values["id"] = context.document_id(number)
        values["source"] = _source(values.get("source"), run.message, compiled.format, context)
        values["original"] = AttachmentRef(
            sha256=context.original_sha256, size=context.original_size, media_type=context.media
        )
        values["mapping"] = self._refs[compiled.name]
        if run.cleared:
            values["cleared"] = tuple(sorted(run.cleared))
        if run.absent:
            values["absent"] = run.absent
        if issues:
            values["issues"] = issues
        return _Made(Document(**values), run.trail)

    def _main(self, run: Run, data: bytes, media: str) -> Attachment:
        return run.attach(data, Attachment(media_type=media, role="main"))

    def _embedded(
        self,
        run: Run,
        scope: Any,
        entry: Entry,
        compiled: Compiled,
        context: Context,
        made: list[_Made],
    ) -> list[_Made]:
        """The documents inside one embedding value, checked against their envelope."""
        path = entry.embedded
        assert path is not None
        raw = path.one(run, scope)
        if raw is None or raw == '""':
            return []
        since = len(run.issues)
        data, media = content_of(run, raw, path.level)
        envelope = entry.common(run, scope)
        over = entry.fill(run, scope)
        parser = context.parsers.get("cda")
        parsed = None
        if data is not None and parser is not None and looks_like_cda(data):
            try:
                parsed = parser(data)
            except ParseError as error:
                run.issue("warning", "embedded-unreadable", detail=error.code, source=path.text)
        if parsed is None:
            return [
                self._unread_content(
                    run, envelope, over, data, media, since, compiled, context, len(made)
                )
            ]
        inner = Run(parsed, context, self._systems)
        inner_mapping = self.select(inner, parsed)
        inner.zone = inner_mapping.zone
        documents = self._run_entries(
            inner, inner_mapping.source.start(inner, parsed), inner_mapping, context
        )
        run.attachments.update(inner.attachments)
        run.unmapped += inner.unmapped
        run.issues += [issue for issue in inner.issues if issue not in run.issues]
        parent = made[0].document.id if made else ""
        out = []
        for number, one in enumerate(documents, len(made)):
            compare_patients(envelope.get("patient"), one.document.patient)
            changes = _overlay(one.document, over, entry.appended)
            source = _source(envelope.get("source"), run.message, compiled.format, context)
            changes["source"] = msgspec.structs.replace(source, parent=parent)
            changes["id"] = context.document_id(number)
            changes["issues"] = (*one.document.issues, *run.issues[since:])[:200]
            if one.document.patient is None and envelope.get("patient") is not None:
                changes["patient"] = envelope["patient"]
            out.append(_Made(msgspec.structs.replace(one.document, **changes), one.trail))
        return out

    def _unread_content(
        self,
        run: Run,
        envelope: dict[str, Any],
        over: dict[str, Any],
        data: bytes | None,
        media: str,
        since: int,
        compiled: Compiled,
        context: Context,
        number: int,
    ) -> _Made:
        """Content announced as a CDA that is none: kept as it is, under what the envelope says."""
        run.issue("warning", "embedded-not-cda")
        values = {**envelope}
        for name, value in over.items():
            old = values.get(name)
            values[name] = _merged(old, value)
        values.setdefault("kind", "clinical_document")
        if data is not None:
            attachment = self._main(run, data, media)
            values["attachments"] = (attachment, *values.get("attachments", ()))
        return self._document(run, values, tuple(run.issues[since:]), compiled, context, number)

    def _unread(self, parsed: Any, compiled: Compiled, reads: Any) -> list[str]:
        if compiled.tree is not None:
            return list(dict.fromkeys(compiled.tree.unread(parsed, reads, compiled.ignored)))
        return unread(parsed, compiled.reads, compiled.ignored)


def _source(found: Source | None, message: Any, format_name: str, context: Context) -> Source:
    """The source as the mapping read it, completed with what the engine was given."""
    base = found or Source()
    return Source(
        format=format_name,
        format_version=base.format_version or getattr(message, "version_guess", ""),
        profile=base.profile,
        message_type=base.message_type,
        message_id=base.message_id,
        application=base.application,
        facility=base.facility,
        receiving_application=base.receiving_application,
        receiving_facility=base.receiving_facility,
        sent_at=base.sent_at,
        received_at=context.received_at,
        processing_id=base.processing_id,
        charset=base.charset,
        charset_used=getattr(message, "codec", ""),
        channel=context.channel,
        peer=context.peer,
        original_sha256=context.original_sha256,
    )


def _overlay(document: Document, over: dict[str, Any], appended: frozenset[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name, value in over.items():
        old = getattr(document, name)
        changes[name] = (*old, *value) if name in appended else _merged(old, value)
    return changes


def _merged(old: Any, new: Any) -> Any:
    """An event keeps what the new one does not say; anything else is replaced."""
    if isinstance(old, Event) and isinstance(new, Event):
        said = {n: v for n in new.__struct_fields__ if (v := getattr(new, n)) not in (None, "")}
        return msgspec.structs.replace(old, **said)
    return new
