"""What rows, rules and routes read off a document's header: instants, codes, authors, visibility. Pure.

The model keeps what the sender wrote; these say which of it decides. Shared by rules and records, which do not
import each other.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from broker.access import particulars, professional_key
from broker.document import Attachment, Coded, Document, Identifier, When

_SHARED_SYSTEMS = ("loinc.org", "tre_a05", "1.2.250.1.213.1.1.4.12", "2.16.840.1.113883.6.1")
_CLASS_SYSTEMS = ("tre_a03", "1.2.250.1.213.1.1.4.1")
MASKS = ("MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX")
SHORT_FORMS = {"INVISIBLE_REP_LEGAUX": "INVISIBLE_REPRESENTANTS_LEGAUX"}
"""HL7v2 short forms of the visibility codes. Source: ANS HL7v2 volet, TRE_A07."""


def earliest(when: When | None) -> datetime | None:
    """The first instant a partial date may mean, in UTC; None when there is none. No offset is read as UTC."""
    if when is None or len(when.value) < 4:
        return None
    text = when.value
    padded = text + "0001-01-01T00:00:00"[len(text) :] if len(text) < 19 else text
    try:
        instant = datetime.fromisoformat(padded)
        return instant.replace(tzinfo=_zone(when.offset or when.assumed_offset)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _zone(offset: str) -> timezone:
    if len(offset) < 3 or offset[0] not in "+-":
        return UTC
    digits = offset[1:].replace(":", "")
    delta = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4] or 0))
    return timezone(-delta if offset[0] == "-" else delta)


def month_after(instant: datetime) -> datetime:
    """The same moment one calendar month later; the last day where the next month is shorter."""
    year, month = divmod(instant.year * 12 + instant.month, 12)
    day = min(instant.day, calendar.monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def type_code(document: Document) -> tuple[str, str]:
    """(code, system) of the type by which documents are shared (LOINC, TRE_A05), else as the sender wrote it."""
    return _code(document.type_code, _SHARED_SYSTEMS)


def class_code(document: Document) -> str:
    """Code of the document's class (TRE_A03), else as the sender wrote it."""
    return _code(document.class_code, _CLASS_SYSTEMS)[0]


def _code(coded: Coded | None, preferred: tuple[str, ...]) -> tuple[str, str]:
    if coded is None or not coded.codings:
        return "", ""
    for coding in coded.codings:
        system = coding.system.lower()
        if coding.code and any(name in system for name in preferred):
            return coding.code, coding.system
    for coding in reversed(coded.codings):
        if coding.code and coding.role == "translation":
            return coding.code, coding.system
    return coded.codings[0].code, coded.codings[0].system


def confidentiality(document: Document) -> frozenset[str]:
    """All codes of confidentiality and visibility, short forms written out, upper case."""
    codes = {coding.code.upper() for coded in document.confidentiality for coding in coded.codings}
    return frozenset(SHORT_FORMS.get(code, code) for code in codes if code)


def author_keys(document: Document) -> tuple[str, ...]:
    """Ids of those who wrote or deposited it, as `access.professional_key` writes them, sorted."""
    people = [*document.authors, *([document.sender] if document.sender is not None else [])]
    return tuple(
        sorted(
            {
                professional_key(identifier.oid or identifier.system, identifier.value)
                for author in people
                if author.person is not None
                for identifier in author.person.identifiers
                if identifier.value and (identifier.oid or identifier.system)
            }
        )
    )


def told_of(document: Document) -> str | None:
    """What an entry of the trail says of a document that is filed (AUD-01, AUD-03): which it is, who wrote it, where.

    No title, no name of a person, nothing the document says; its internal id is the entry's subject.
    """
    place = next((one.organization for one in document.authors if one.organization), None)
    place = place or document.custodian
    ids = place.identifiers if place is not None else ()
    return particulars(
        type=type_code(document)[0],
        **{"class": class_code(document)},
        unique_id=written(document.unique_id),
        set_id=written(document.set_id),
        author=" ".join(author_keys(document)),
        structure=written(ids[0]) if ids else None,
        structure_name=place.name if place is not None else None,
    )


def software_of(document: Document) -> str | None:
    """The software that fed it, as the message names it; the model of the author's device where none is named."""
    sending = document.source.application
    if sending is not None and sending.value:
        return sending.value
    devices = [one.device for one in document.authors if one.device is not None]
    return next((one.software or one.model for one in devices if one.software or one.model), None)


def written(one: Identifier | None) -> str | None:
    """`root^extension`, as XDS writes a uniqueId; an id that needs no root as it is."""
    if one is None or not one.value:
        return None
    root = one.oid or one.system
    return f"{root}^{one.value}" if root and root != one.value else one.value


def main_attachment(document: Document) -> Attachment | None:
    """The shared document itself, when the message carried its bytes."""
    return next((one for one in document.attachments if one.role == "main" and one.sha256), None)


def sort_instant(document: Document, otherwise: datetime) -> datetime:
    """Where the document stands in time: when it was written, the act, the event, or when it came."""
    event = document.event
    for when in (
        document.created_at,
        document.service_end,
        document.service_start,
        event.occurred_at if event is not None else None,
        document.source.sent_at,
    ):
        instant = earliest(when)
        if instant is not None:
            return instant
    return otherwise


@dataclass(frozen=True, slots=True)
class Visibility:
    """What a document's codes mean for the record.

    `visible_from` is the instant from which the patient sees it: no job and no race makes it appear.
    `code` is N, R, V as sent, or `unstated`; `is_cumulated` that both masks were asked for at once (VIS-05).
    """

    masked_ps: bool
    visible_from: datetime
    hidden_from_reps: bool
    code: str
    is_cumulated: bool = False


def visibility(document: Document, filed_at: datetime) -> Visibility:
    """Read the masks off a document.

    Invisible to the patient: until one month after filing (R.1111-53, VIS-02). R and V should not be shared at all
    (VIS-00): they are kept masked, so that only their author among professionals sees them. A code of another
    system says nothing, and nothing said is not "public": the matrix always applies.
    """
    codes = confidentiality(document)
    is_invisible = "INVISIBLE_PATIENT" in codes
    is_masked = "MASQUE_PS" in codes
    level = next((code for code in ("V", "R", "N") if code in codes), "unstated")
    return Visibility(
        masked_ps=is_masked or level in ("R", "V"),
        visible_from=month_after(filed_at) if is_invisible else filed_at,
        hidden_from_reps="INVISIBLE_REPRESENTANTS_LEGAUX" in codes,
        code=level,
        is_cumulated=is_masked and is_invisible,
    )
