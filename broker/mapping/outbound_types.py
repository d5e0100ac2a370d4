"""Model types to HL7v2 data types: what `shapes_hl7v2` reads, written back. For outbound mappings.

Long because it holds one small function for each data type and nothing else. Each takes (run, value) and gives a
repetition, or None. Source: HL7 v2.5.1 chapter 2A (data types), tables 0190, 0191, 0200, 0201 and 0202; French use
of CX, XPN, XAD and XCN from IHE PAM France 2.11.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from broker.document import (
    Address,
    Attachment,
    Author,
    Coded,
    Coding,
    Contact,
    Device,
    Identifier,
    Location,
    Organization,
    Participant,
    Period,
    Person,
    PersonName,
    Quantity,
    Range,
    Ratio,
    Recipient,
    Telecom,
    When,
)
from broker.er7 import Component, Repetition, repetition
from broker.mapping.paths_document import texts
from broker.mapping.values import PARIS, iso_when

Written = Callable[[Any, Any], Repetition | None]

NAME_USES = {
    "birth": "L",
    "official": "L",
    "usual": "D",
    "married": "D",
    "maiden": "M",
    "nickname": "N",
    "alias": "A",
    "anonymous": "S",
    "pseudonym": "S",
}
ADDRESS_USES = {
    "home": "H",
    "work": "B",
    "temporary": "C",
    "temp": "C",
    "mailing": "M",
    "permanent": "P",
    "birth": "BDL",
    "bad": "BA",
}
TELECOM_USES = {
    "home": "PRN",
    "work": "WPN",
    "vacation": "VHN",
    "emergency": "EMR",
    "secondary": "ORN",
}
EQUIPMENT = {"phone": "PH", "fax": "FX", "mobile": "CP", "pager": "BP"}
MEDIA = {
    "application/pdf": ("AP", "PDF"),
    "image/jpeg": ("IM", "JPEG"),
    "image/png": ("IM", "PNG"),
    "image/gif": ("IM", "GIF"),
    "image/tiff": ("IM", "TIFF"),
    "application/rtf": ("AP", "RTF"),
    "text/rtf": ("AP", "RTF"),
    "text/html": ("TEXT", "HTML"),
    "text/xml": ("TEXT", "XML"),
    "application/xml": ("TEXT", "XML"),
    "application/cda+xml": ("TEXT", "XML"),
    "text/plain": ("TEXT", "PLAIN"),
    "application/dicom": ("IM", "DICOM"),
}


_MOST_DECIMALS = 4
"""Of a second, in a DTM (HL7 v2.5.1 chapter 2A)."""


def when_text(value: When) -> str:
    """A time stamp at its precision, with the offset it came with; never one that was assumed."""
    digits, mark, fraction = re.sub(r"[-:T]", "", value.value).partition(".")
    digits += mark + fraction[:_MOST_DECIMALS]
    offset = value.offset.replace(":", "") if "T" in value.value else ""
    return digits + ("+0000" if offset == "Z" else offset) if digits else ""


def when(run: Any, value: When) -> Repetition | None:
    """TS, DTM."""
    text = when_text(value)
    if not text and value.original:
        run.issue("warning", "not-a-date")
    return repetition(text)


def iso_text(run: Any, value: str) -> Repetition | None:
    """TS of a time that the document holds as text (`source.received_at`)."""
    return when(run, iso_when(value[:19] + value[26:] if value[19:20] == "." else value, PARIS))


def day(_run: Any, value: When) -> Repetition | None:
    """DT: the day at most."""
    return repetition(when_text(When(value=value.value[:10])))


def time(_run: Any, value: When) -> Repetition | None:
    """TM: the time alone."""
    return repetition(when_text(value)[8:])


def period(_run: Any, value: Period) -> Repetition | None:
    """DR."""
    return repetition(*(when_text(end) if end else "" for end in (value.start, value.end)))


def moment(_run: Any, value: When) -> Repetition | None:
    """DR of one moment."""
    return repetition(when_text(value))


def period_start(_run: Any, value: Period) -> Repetition | None:
    """TS of a period's beginning."""
    return repetition(when_text(value.start)) if value.start else None


def authority(run: Any, value: Identifier) -> Component:
    """HD as a component: namespace, universal id and its type."""
    if value.system == _URN:
        return ()
    listed = run.systems.by_key.get(value.system)
    if not value.oid and value.system in _NATIONAL:
        listed = run.systems.by_key.get(_NATIONAL[value.system], listed)
        if listed is not None and listed.oid:
            return (listed.hl7v2, listed.oid, "ISO")
    oid = value.oid or (listed.oid if listed else "") or _oid(value.system)
    if oid:
        named = value.authority_name if value.authority_name != oid else ""
        return (named, oid, "ISO")
    uri = value.uri or (listed.uri if listed else "")
    if uri or "://" in value.system:
        return (value.authority_name, uri or value.system, "URI")
    return (value.authority_name or value.system,)


_URN = "urn:ietf:rfc:3986"
"""The system of an identifier that is an OID or UUID by itself."""
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+")


def _oid(text: str) -> str:
    return text if _OID.fullmatch(text) else ""


def identifier_type(value: Identifier) -> str:
    """CX-5 (table 0203): as received, else by the kind."""
    if value.type_code:
        return value.type_code
    return "INS" if value.kind.startswith("INS-") else value.kind


_NATIONAL = {
    "rpps": "idnat_ps",
    "adeli": "idnat_ps",
    "finess": "idnat_struct",
    "siret": "idnat_struct",
}
"""Numbers that HL7v2 knows under the authority of all French professionals, or of all structures."""
_TYPE_DIGITS = {("IDNPS", "RPPS"): "8", ("IDNPS", "ADELI"): "0", ("IDNST", "FINESS"): "1", ("IDNST", "SIRET"): "3"}  # fmt: skip
"""The national id repeats what kind of number follows; the model keeps the bare number."""


def identifier_value(value: Identifier) -> str:
    """The value, with the type digit where its type asks for the national form."""
    if value.system == _URN:
        return value.value.removeprefix("urn:oid:").removeprefix("urn:uuid:")
    return _TYPE_DIGITS.get((value.type_code, value.kind), "") + value.value


def cx(run: Any, value: Identifier) -> Repetition | None:
    """CX: value, authority (4), type (5), validity (7, 8)."""
    start, end = (when_text(t)[:8] if t else "" for t in (value.start, value.end))
    return repetition(
        identifier_value(value), "", "", authority(run, value), identifier_type(value), "", start, end
    )  # fmt: skip


def ei(run: Any, value: Identifier) -> Repetition | None:
    """EI: value, namespace, universal id and its type."""
    return repetition(identifier_value(value), *authority(run, value))


def eip(run: Any, value: Identifier) -> Repetition | None:
    """EIP: the identifier as the filler's."""
    found = ei(run, value)
    return repetition("", _flat(found)) if found else None


def _flat(found: Repetition) -> Component:
    return tuple(part[0] if part else "" for part in found)


def hd(_run: Any, value: Identifier) -> Repetition | None:
    """HD of an application or facility: its name, and its OID when it has one."""
    oid = _oid(value.oid) or _oid(value.authority_name)
    return repetition(value.value if value.value != oid else "", oid, "ISO" if oid else "")


def coded(run: Any, value: Coded, later: bool = False) -> Repetition | None:
    """CE: the sender's own code, and the first other one as its alternate; `later` CWE with versions and text."""
    codings = list(value.codings)
    first = codings[0] if codings else Coding()
    other = next((c for c in codings[1:] if (c.code, c.system) != (first.code, first.system)), None)
    display = first.display or ("" if later and first.code else value.text)
    second = (other.code, other.display, coding_system(run, other)) if other else ("", "", "")
    parts = (first.code, display, coding_system(run, first), *second)
    if not later:
        return repetition(*parts)
    return repetition(*parts, first.version, other.version if other else "", value.text)


def cwe(run: Any, value: Coded) -> Repetition | None:
    """CWE, CNE: both triplets, their versions and the original text."""
    return coded(run, value, later=True)


def coding_system(run: Any, coding: Coding) -> str:
    """The name of a code system in table 0396, or its OID; as received when it was no URI."""
    received = coding.system_as_received
    if received and ":" not in received and not _oid(received):
        return received
    listed = run.systems.find(coding.system) if coding.system else None
    if listed is not None and (listed.hl7v2 or listed.oid):
        return str(listed.hl7v2 or listed.oid)
    return coding.system.removeprefix("urn:oid:")


def code(_run: Any, value: Coded) -> Repetition | None:
    """ID, IS: the code alone."""
    found = next((c.code for c in value.codings if c.code), "")
    return repetition(found or value.text)


def label(_run: Any, value: Coded) -> Repetition | None:
    """ST: what people call it, else its code."""
    named = next((c.display for c in value.codings if c.display), "")
    return repetition(value.text or named or next(iter(texts(value)), ""))


def _name_parts(value: PersonName) -> tuple[str, str, str, str, str]:
    given = value.given or ((value.birth_given,) if value.birth_given else ())
    if not value.family and not given:
        return value.text, "", "", value.suffix, value.prefix
    return value.family, given[0] if given else "", ",".join(given[1:]), value.suffix, value.prefix


def name_use(value: PersonName) -> str:
    """Table 0200; nothing for a use it does not have."""
    return NAME_USES.get(value.use, value.use if len(value.use) == 1 else "")


def xpn(_run: Any, value: PersonName) -> Repetition | None:
    """XPN: family, given, further given names, suffix, prefix, use (7)."""
    found = repetition(*_name_parts(value))
    return repetition(*_name_parts(value), "", name_use(value)) if found else None


def xcn(run: Any, value: Person) -> Repetition | None:
    """XCN: id, name, authority (9), name use (10), identifier type (13)."""
    own = value.identifiers[0] if value.identifiers else None
    name = value.name or PersonName()
    return repetition(
        identifier_value(own) if own else "",
        *_name_parts(name),
        "",
        "",
        authority(run, own) if own else "",
        name_use(name),
        "",
        "",
        identifier_type(own) if own else "",
    )


def ndl(run: Any, value: Person) -> Repetition | None:
    """NDL of an interpreter: the person as a CNN, whose parts are subcomponents."""
    own = value.identifiers[0] if value.identifiers else None
    parts = _name_parts(value.name or PersonName())
    named = (identifier_value(own) if own else "", *parts, "", "")
    return repetition((*named, *(authority(run, own) if own else ())))


def interpreter(run: Any, value: Author | Participant) -> Repetition | None:
    """NDL of the person somebody acts through."""
    return ndl(run, value.person) if value.person else None


def ppn(run: Any, value: PersonName) -> Repetition | None:
    """The name inside an XCN or PPN."""
    return xcn(run, Person(name=value))


def person_name(run: Any, value: Person) -> Repetition | None:
    """XPN of a person."""
    return xpn(run, value.name) if value.name else None


def xon(run: Any, value: Organization) -> Repetition | None:
    """XON: name, authority (6), type (7), id (10)."""
    own = value.identifiers[0] if value.identifiers else None
    if own is None:
        return repetition(value.name)
    return repetition(
        value.name, "", "", "", "", authority(run, own), identifier_type(own), "", "", identifier_value(own)
    )  # fmt: skip


def organization_code(_run: Any, value: Organization) -> Repetition | None:
    """CE of a manufacturer: id and name."""
    own = value.identifiers[0] if value.identifiers else None
    return repetition(own.value if own else "", value.name)


def xad(_run: Any, value: Address, birth: bool = False) -> Repetition | None:
    """XAD: street (1), other (2), city, state, postal code, country, use (7), county or INSEE code (9)."""
    lines = value.lines or ((_street(value),) if value.parts else ())
    place = (value.city, value.state, value.postal_code, value.country)
    if not any((*lines, *place)):
        lines = (value.text,) if value.text else ()
    district = value.insee_code or value.district
    parts = (lines[0] if lines else "", ", ".join(lines[1:]), *place)
    if not any((*parts, district)):
        return None
    own = value.use if len(value.use) < 4 else ""
    use = "BDL" if birth else ADDRESS_USES.get(value.use.lower(), own)
    return repetition(*parts, use, "", district)


def birth_place(run: Any, value: Address) -> Repetition | None:
    """XAD of type BDL."""
    return xad(run, value, birth=True)


def _street(value: Address) -> str:
    return " ".join(part.partition("=")[2] for part in value.parts)


def xtn(_run: Any, value: Telecom) -> Repetition | None:
    """XTN: an address (4), or a number as a whole (12) and as versions before 2.7 had it (1)."""
    use = TELECOM_USES.get(value.use, "")
    if value.kind == "mssante":
        return repetition("", "", "X.400", value.value)
    if value.kind in {"email", "url"}:
        return repetition("", "NET", "Internet", value.value)
    equipment = EQUIPMENT.get(value.kind, "PH")
    return repetition(value.value, use, equipment, *[""] * 8, value.value)


def pl(_run: Any, value: Location) -> Repetition | None:
    """PL: point of care, room, bed, facility, status, type, building, floor, description."""
    own = value.facility
    facility: Component = ()
    if own is not None:
        oid = _oid(own.value) or _oid(own.oid)
        named = own.authority_name or ("" if oid else own.value)
        facility = (named, oid, "ISO") if oid else (named,)
    return repetition(
        value.point_of_care,
        value.room,
        value.bed,
        facility,
        value.status,
        value.kind,
        value.building,
        value.floor,
        value.name,
    )


def number(run: Any, value: Quantity) -> Repetition | None:
    """NM: the number; one with a comparator has no form there."""
    if value.comparator:
        run.issue("warning", "comparator-has-no-place")
        return None
    return repetition(value.value)


def cq(_run: Any, value: Quantity) -> Repetition | None:
    """CQ: amount and unit."""
    return repetition(value.comparator + value.value, value.unit or value.ucum)


def sn(_run: Any, value: Quantity) -> Repetition | None:
    """SN: comparator and number."""
    return repetition(value.comparator, value.value)


def sn_range(_run: Any, value: Range) -> Repetition | None:
    """SN: low - high."""
    if not value.low or not value.high:
        return None
    return repetition("", value.low.value, "-", value.high.value)


def sn_ratio(_run: Any, value: Ratio) -> Repetition | None:
    """SN: n : d."""
    if not value.numerator or not value.denominator:
        return None
    return repetition("", value.numerator.value, ":", value.denominator.value)


def quantity_text(_run: Any, value: Quantity) -> Repetition | None:
    """ST: `<5 mg`."""
    return repetition(f"{value.comparator}{value.value} {value.unit or value.ucum}".strip())


def range_text(_run: Any, value: Range) -> Repetition | None:
    """OBX-7: the text as received, else its bounds."""
    if value.text:
        return repetition(value.text)
    low = value.low.value if value.low else ""
    high = value.high.value if value.high else ""
    if low and high:
        return repetition(f"{low}-{high}")
    return repetition(f">={low}" if low else f"<={high}" if high else "")


def nr(_run: Any, value: Range) -> Repetition | None:
    """NR: low and high."""
    return repetition(value.low.value if value.low else "", value.high.value if value.high else "")


def ed(run: Any, value: Attachment) -> Repetition | None:
    """ED: type, subtype and the content as Base64; content that was only referred to has no ED."""
    if not value.sha256:
        return None
    media = value.media_type or value.detected_type or "application/octet-stream"
    main, _, sub = media.partition(";")[0].strip().partition("/")
    kind = MEDIA.get(f"{main}/{sub}".lower(), (main, sub))
    data = base64.b64encode(run.message.content(value.sha256)).decode("ascii")
    return repetition("", *kind, "Base64", data)


def rp(_run: Any, value: Attachment) -> Repetition | None:
    """RP: the address of content that stays where it is."""
    media = value.media_type.partition(";")[0].strip()
    main, _, sub = media.partition("/")
    kind = MEDIA.get(media.lower(), (main, sub))
    return repetition(value.url, "URI", *kind)


def plain(_run: Any, value: Any) -> Repetition | None:
    """A type of one component: the value's main text; a truth value as Y or N."""
    if isinstance(value, bool):
        return repetition("Y" if value else "N")
    return repetition(next(iter(texts(value)), ""))


def named_by(run: Any, value: Author | Participant | Recipient) -> Repetition | None:
    """XCN of the person somebody acts through."""
    return xcn(run, value.person) if value.person else None


def contact_name(run: Any, value: Contact) -> Repetition | None:
    """XPN of a contact."""
    return xpn(run, value.name) if value.name else None


def device(run: Any, value: Device) -> Repetition | None:
    """EI of a device."""
    if value.identifiers:
        return ei(run, value.identifiers[0])
    return repetition(value.model or value.software)
