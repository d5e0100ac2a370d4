"""Answers reads and searches for a caller: who it is in the record, what may be shown, and the Bundle of it. Synchronous.

Source: FHIR R4 §3.1.1 (searchset), Patient/$everything; IHE MHD ITI-66, ITI-67, ITI-68.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

import msgspec
from sqlalchemy import Engine

from broker.access import Viewer
from broker.document import Document
from broker.records import accesses, consent_words, looking, reading
from broker.records.accesses import Access
from broker.records.consent_words import Word
from broker.records.document_rows import DocumentRow
from broker.records.known import Person
from broker.records.looking import Looker, Page, Place
from broker.records.reading import Trail
from broker.web import query
from broker.web.audit_events import audit_event
from broker.web.caller import Caller
from broker.web.consent_resources import consent
from broker.web.deciding import MARKS, Deciding
from broker.web.matching import holds
from broker.web.query import Pairs, Question
from broker.web.refusing import RefusedError, not_found
from broker.web.rendered import Json, binaries_of, document_of, person_resource, resources_of
from broker.web.resources import OF_DOCUMENTS, RESOURCES, Resource
from broker.web.sealed import Seals, Stored
from broker.web.written import Shelf, Written, written

EVERYTHING = "$everything"
MARK = "urn:carnet:mark"
"""System of the tags that tell a professional of what a document must be known (`deciding.MARKS`)."""
Found = tuple[Json | Written, list[Json]]
"""A resource that was found, and those that go with it."""
_EVERYTHING = Resource("Patient", "everything a record holds", action="read")


@dataclass(frozen=True, slots=True)
class Bytes:
    """The content of a document, as it came."""

    id: str
    media: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Service:
    """The API's reads over one database. Thread-safe: every call is its own transaction."""

    engine: Engine
    deciding: Deciding
    trail: Trail
    seals: Seals
    zone: tzinfo
    clock: Callable[[], datetime]
    page_size: int
    shelf: Shelf

    def read(self, caller: Caller, resource: str, resource_id: str, base: str) -> Json:
        """One resource. Raises: RefusedError(404), the same for what is hidden and for what is not there."""
        looker = self._looker(caller)
        if resource == "Patient":
            person = looking.open_person(looker, self.seals.patient_of(resource_id))
            if person is None:
                raise not_found()
            return person_resource(person, resource_id)
        if resource == "AuditEvent":
            return self._access(looker, resource_id)
        if resource == "Consent":
            return self._consent(looker, resource_id)
        opened = looking.open_document(looker, document_of(resource_id))
        if opened is not None:
            for one in self._rendered(looker, opened.row, opened.document, opened.person, base):
                if (one["resourceType"], one["id"]) == (resource, resource_id):
                    return one
        raise not_found()

    def content(self, caller: Caller, binary_id: str) -> Bytes:
        """The bytes of a Binary (ITI-68). Raises: RefusedError(404)."""
        looker = self._looker(caller)
        opened = looking.open_document(looker, document_of(binary_id))
        held = binaries_of(opened.document).get(binary_id) if opened is not None else None
        if opened is None or held is None:
            raise not_found()
        body = looking.bytes_of(self.engine, opened, held.sha256)
        return Bytes(binary_id, held.media_type or "application/octet-stream", body)

    def search(self, caller: Caller, resource: str, pairs: Pairs, base: str) -> Json:
        """A page of a search, or the page a link names. Raises: RefusedError(400, 404)."""
        links = [value for name, value in pairs if name == query.PAGE]
        if links:
            if len(pairs) > 1:
                raise RefusedError(400, "search.page", "A page's link is followed as it is.")
            return self._follow(caller, resource, links[0], base)
        asked = query.question(RESOURCES[resource], pairs, self.page_size, self.zone)
        if not all(caller.may(one, "r") for one in asked.includes):
            raise RefusedError(403, "scope.missing", "The application lacks a scope for that.")
        looker = self._looker(caller)
        patient = self._patient_of(caller, looker.viewer, asked)
        return self._page(caller, looker, asked, patient, tuple(map(tuple, pairs)), None, base)  # type: ignore[arg-type]

    def everything(self, caller: Caller, patient_id: str, pairs: Pairs, base: str) -> Json:
        """All of a patient's record, for the patient or who represents them. Raises: RefusedError(403, 404)."""
        if caller.speaks_for == "professional":
            raise RefusedError(403, "everything.patient", "Everything at once is for the patient.")
        if any(name not in ("_count", "_format") for name, _ in pairs):
            raise RefusedError(400, "search.parameter", "Only _count is taken here.")
        looker = self._looker(caller)
        asked = query.question(_EVERYTHING, pairs, self.page_size, self.zone)
        number = self.seals.patient_of(patient_id)
        given = ((EVERYTHING, ""), *((name, value) for name, value in pairs))
        bundle = self._page(caller, looker, asked, number, given, None, base, everything=True)
        if "entry" not in bundle:
            raise not_found()
        return bundle

    # --- who -----------------------------------------------------------------------------------------------------

    def _looker(self, caller: Caller) -> Looker:
        """The caller as a viewer: a patient is looked up by their INS, and is nobody where there is no record.

        A representative looks at the record of the patient that the token names, and at no other.
        """
        viewer, decide = caller.viewer, self.deciding.decide
        if caller.speaks_for == "patient":
            number = reading.find_patient(self.engine, "ins", caller.ins)
            viewer = msgspec.structs.replace(viewer, id=str(number or 0))
        elif caller.speaks_for == "representative":
            decide = self.deciding.decide_for(self._represented(caller))
        return Looker(self.engine, viewer, caller.software, self.clock(), decide, self.trail)

    def _represented(self, caller: Caller) -> int:
        """The record of the patient a representative's token names; 0 where there is none."""
        return reading.find_record(self.engine, "ins", caller.ins) or 0

    def _patient_of(self, caller: Caller, viewer: Viewer, asked: Question) -> int:
        """The one patient a search is about; 0 where what names them does not agree."""
        numbers = {self.seals.patient_of(one) for one in asked.patients}
        numbers |= {
            reading.find_patient(self.engine, system, value) or 0
            for system, value in asked.identifiers
        }
        if not numbers and asked.ids and asked.resource.name == "Patient":
            numbers = {self.seals.patient_of(one) for one in asked.ids}
        if not numbers and viewer.kind == "patient":
            numbers = {int(viewer.id)}
        if not numbers and viewer.kind == "representative":
            numbers = {self._represented(caller)}
        if not numbers:
            raise RefusedError(
                400, "search.patient", "A search names its patient: patient or patient.identifier."
            )
        return numbers.pop() if len(numbers) == 1 else 0

    # --- pages ---------------------------------------------------------------------------------------------------

    def _follow(self, caller: Caller, resource: str, link: str, base: str) -> Json:
        stored = self.seals.follow(link, caller.owner, self.clock())
        if stored is None or stored.resource != resource:
            raise RefusedError(404, "search.over", "This page is over: search again.")
        looker = self._looker(caller)
        is_everything = stored.pairs[:1] == ((EVERYTHING, ""),)
        pairs = stored.pairs[1:] if is_everything else stored.pairs
        kind = _EVERYTHING if is_everything else RESOURCES[resource]
        asked = query.question(kind, pairs, self.page_size, self.zone)
        return self._page(
            caller, looker, asked, stored.patient, stored.pairs, stored.place, base, everything=is_everything,
        )  # fmt: skip

    def _page(
        self,
        caller: Caller,
        looker: Looker,
        asked: Question,
        patient: int,
        pairs: tuple[tuple[str, str], ...],
        place: Place | None,
        base: str,
        *,
        everything: bool = False,
    ) -> Json:
        found: list[Found] = []
        person: Person | None = None
        following: Place | None = None
        if asked.resource.name == "Patient" and not everything:
            person = looking.open_person(looker, patient)
            if person is not None:
                made = person_resource(person, self.seals.id_of(person.id))
                found = [(made, [])] if holds(made, asked.filters, self.zone) else []
        elif asked.resource.name == "AuditEvent" or _is_of(accesses.MARK, place):
            found, person, following = self._accesses(looker, asked, patient, asked.count, place)
        elif asked.resource.name == "Consent" or _is_of(consent_words.MARK, place):
            found, person, following = self._consents(looker, asked, patient, asked.count, place)
            if everything and person is not None and following is None:
                more, _, following = self._accesses(
                    looker, asked, patient, asked.count - len(found), None
                )
                found += more
        else:
            page = self._documents(looker, asked, patient, place, base, everything=everything)
            found, person, following = list(page.items), page.person, page.next
            if everything and person is not None and following is None:
                for further in (self._consents, self._accesses):
                    more, _, following = further(
                        looker, asked, patient, asked.count - len(found), None
                    )
                    found += more
                    if following is not None:
                        break
        with_person = (everything and place is None) or "Patient" in asked.includes
        return self._bundle(
            caller, asked, patient, pairs, place, following, found, base,
            person if with_person and (found or everything) else None, is_match=everything,
        )  # fmt: skip

    def _documents(
        self,
        looker: Looker,
        asked: Question,
        patient: int,
        place: Place | None,
        base: str,
        *,
        everything: bool,
    ) -> Page[Found]:
        """A page of what documents hold."""
        if not everything and not asked.includes:
            return self._written(looker, asked, patient, place, base)
        kinds = OF_DOCUMENTS if everything else {asked.resource.name, *asked.includes}

        def make(row: DocumentRow, document: Document | None, whom: Person) -> Sequence[Found]:
            if document is None:
                return ()
            everyone = self._rendered(looker, row, document, whom, base, kinds)
            return [
                (one, [other for other in everyone if _is_asked(asked, one, other)])
                for one in everyone
                if (everything or one["resourceType"] == asked.resource.name)
                and holds(one, asked.filters, self.zone)
            ]

        want = asked.want(self.zone)
        return looking.look(looker, patient, want, make, limit=asked.count, after=place)

    def _written(
        self, looker: Looker, asked: Question, patient: int, place: Place | None, base: str
    ) -> Page[Found]:
        """A page of resources of one type: those that were written before are taken as they are."""
        kinds = frozenset((asked.resource.name,))
        known: dict[str, tuple[Written, ...]] = {}
        news: list[tuple[Hashable, tuple[Written, ...]]] = []

        def key(row: DocumentRow, whom: Person) -> Hashable:
            marks = self._marks(looker, row, whom)
            return row.id, row.availability, whom.id, marks, base, asked.resource.name

        def at_hand(rows: Sequence[DocumentRow], whom: Person) -> Collection[str]:
            keys = {key(row, whom): row.id for row in rows}
            found = self.shelf.find(tuple(keys))
            known.update((keys[one], resources) for one, resources in found.items())
            return known

        def make(row: DocumentRow, document: Document | None, whom: Person) -> Sequence[Found]:
            if document is not None:
                everyone = self._rendered(looker, row, document, whom, base, kinds)
                known[row.id] = tuple(map(written, everyone))
                news.append((key(row, whom), known[row.id]))
            return [
                (one, [])
                for one in known.pop(row.id)
                if not asked.filters or holds(one.again(), asked.filters, self.zone)
            ]

        want = asked.want(self.zone)
        page = looking.look(
            looker, patient, want, make, limit=asked.count, after=place, at_hand=at_hand
        )
        self.shelf.keep(news)
        return page

    def _access(self, looker: Looker, resource_id: str) -> Json:
        """One AuditEvent. Raises: RefusedError(404)."""
        opened = accesses.open_access(
            looker, self.deciding.shows, *self.seals.access_of(resource_id)
        )
        if opened is None:
            raise not_found()
        access, person = opened
        return audit_event(access, resource_id, f"Patient/{self.seals.id_of(person.id)}")

    def _accesses(
        self, looker: Looker, asked: Question, patient: int, count: int, place: Place | None
    ) -> tuple[list[Found], Person | None, Place | None]:
        """A page of AuditEvents; with no room for one it begins on the next page."""
        if count < 1:
            return [], None, accesses.START

        def make(access: Access, whom: Person) -> Found | None:
            number = self.seals.id_of_access(access.visit, access.n)
            made = audit_event(access, number, f"Patient/{self.seals.id_of(whom.id)}")
            return (made, []) if holds(made, asked.filters, self.zone) else None

        page = accesses.look(
            looker, self.deciding.shows, patient, make,
            limit=count, after=place, oldest_first=asked.oldest_first,
        )  # fmt: skip
        return list(page.items), page.person, page.next

    def _consent(self, looker: Looker, resource_id: str) -> Json:
        """One Consent. Raises: RefusedError(404)."""
        opened = consent_words.open_word(
            looker, self.deciding.shows_word, *self.seals.consent_of(resource_id)
        )
        if opened is None:
            raise not_found()
        word, person = opened
        return consent(word, resource_id, f"Patient/{self.seals.id_of(person.id)}")

    def _consents(
        self, looker: Looker, asked: Question, patient: int, count: int, place: Place | None
    ) -> tuple[list[Found], Person | None, Place | None]:
        """A page of Consents; with no room for one it begins on the next page."""
        if count < 1:
            return [], None, consent_words.START

        def make(word: Word, whom: Person) -> Found | None:
            number = self.seals.id_of_consent(word.person, word.first)
            made = consent(word, number, f"Patient/{self.seals.id_of(whom.id)}")
            return (made, []) if holds(made, asked.filters, self.zone) else None

        page = consent_words.look(
            looker, self.deciding.shows_word, patient, make,
            limit=count, after=place, oldest_first=asked.oldest_first,
        )  # fmt: skip
        return list(page.items), page.person, page.next

    def _bundle(
        self,
        caller: Caller,
        asked: Question,
        patient: int,
        pairs: tuple[tuple[str, str], ...],
        place: Place | None,
        following: Place | None,
        found: Sequence[Found],
        base: str,
        person: Person | None,
        *,
        is_match: bool,
    ) -> Json:
        """The searchset. It has no total: that would count what is hidden, or be wrong."""

        def link(relation: str, at: Place | None) -> Json:
            stored = Stored(asked.resource.name, patient, pairs, at, self.seals.until(self.clock()))
            name = self.seals.link(stored, caller.owner)
            return {
                "relation": relation,
                "url": f"{base}/{asked.resource.name}?{query.PAGE}={name}",
            }

        entries: dict[str, Json] = {}

        def add(resource: Json | Written, mode: str) -> None:
            content: Json | msgspec.Raw
            if isinstance(resource, Written):
                kind, number, content = resource.kind, resource.id, resource.body
            else:
                kind, number, content = resource["resourceType"], resource["id"], resource
            name = f"{base}/{kind}/{number}"
            entries.setdefault(
                name, {"fullUrl": name, "resource": content, "search": {"mode": mode}}
            )

        if is_match and person is not None:
            add(person_resource(person, self.seals.id_of(person.id)), "match")
        for one, _ in found:
            add(one, "match")
        for _, others in found:
            for other in others:
                add(other, "include")
        if not is_match and person is not None:
            add(person_resource(person, self.seals.id_of(person.id)), "include")
        links = [link("self", place), *([link("next", following)] if following else [])]
        bundle: Json = {"resourceType": "Bundle", "type": "searchset", "link": links}
        return bundle | ({"entry": list(entries.values())} if entries else {})

    def _rendered(
        self,
        looker: Looker,
        row: DocumentRow,
        document: Document,
        whom: Person,
        base: str,
        kinds: Collection[str] = OF_DOCUMENTS,
    ) -> list[dict[str, Any]]:
        """The resources of a document; to a professional with the marks they must be told (VIS-06, VIS-07, VIS-10)."""
        made = resources_of(row, document, f"Patient/{self.seals.id_of(whom.id)}", base, kinds)
        marks = self._marks(looker, row, whom)
        tags = [{"system": MARK, "code": one, "display": MARKS[one]} for one in marks]
        for one in made if tags else ():
            one["meta"]["tag"] = tags
        return made

    def _marks(self, looker: Looker, row: DocumentRow, whom: Person) -> tuple[str, ...]:
        if looker.viewer.kind != "professional":
            return ()
        return self.deciding.marks(row, whom.traits, looker.now)


def _is_of(mark: str, place: Place | None) -> bool:
    return place is not None and place.document.startswith(mark)


def _is_asked(asked: Question, one: Json, other: Json) -> bool:
    """Whether `_include` brings `other` with `one`: a type that was asked for, which `one` refers to."""
    if other is one or other["resourceType"] not in asked.includes:
        return False
    name = f"{other['resourceType']}/{other['id']}"
    listed = [*one.get("result", []), *(entry.get("item", {}) for entry in one.get("entry", []))]
    return any(reference.get("reference") == name for reference in listed)
