"""HL7v2 data types to model types: the knowledge a mapping never has to write. For the HL7v2 source.

Long because it holds one small function for each data type and nothing else.

Each shape takes (run, raw, level): the raw text of a field repetition (level 0) or of a component (level 1).
Source: HL7 v2.5.1 chapter 2A (data types); French use of CX, XCN and XON from IHE PAM France 2.11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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
    ResultValue,
    Telecom,
    When,
)
from broker.mapping.readers_hl7v2 import NULL, text_of
from broker.mapping.values import base64_bytes, compared, hl7_when, number, text_range
from broker.values import cut

Typed = Callable[[Any, str, int], Any]

NAME_USES = {
    "L": "birth",
    "B": "birth",
    "D": "usual",
    "C": "usual",
    "M": "maiden",
    "N": "nickname",
    "A": "alias",
    "S": "pseudonym",
    "U": "",
    "": "",
}
ADDRESS_USES = {
    "H": "home",
    "B": "work",
    "O": "work",
    "C": "temporary",
    "M": "mailing",
    "P": "permanent",
    "BDL": "birth",
    "N": "birth",
    "BA": "bad",
}


def parts(run: Any, raw: str, level: int) -> list[str]:
    """The components of a field repetition, or the subcomponents of a component."""
    return cut(raw, run.subcomponent if level else run.component)


def leaves(run: Any, raw: str, level: int, least: int) -> list[str]:
    """The parts as `leaf` reads them, at least so many; a raw text without marks is only cut and trimmed."""
    p = raw.split(run.subcomponent if level else run.component)
    if run.subcomponent in raw or run.escape in raw or NULL in raw:
        p = [leaf(run, part) for part in p]
    else:
        p = [part.strip() for part in p]
    if len(p) < least:
        p += [""] * (least - len(p))
    return p


def leaf(run: Any, text: str) -> str:
    """A code or identifier part: decoded once, trimmed; HL7 null and its lower parts are nothing."""
    if run.subcomponent in text:
        text = text.split(run.subcomponent, 1)[0]
    if run.escape in text:
        text = run.unescape(text)
    text = text.strip()
    return "" if text == NULL else text


def free(run: Any, text: str) -> str:
    """A text for people: decoded once, inner blanks kept."""
    if run.escape in text:
        text = run.unescape(text)
    return "" if text == NULL else text.rstrip("\r\n ")


def _get(run: Any, p: list[str], i: int) -> str:
    if len(p) <= i or not p[i]:
        return ""
    return leaf(run, p[i])


def _authority(run: Any, text: str) -> tuple[str, str]:
    """(namespace, universal id) of an HD written as a component."""
    if not text:
        return "", ""
    sub = text.split(run.subcomponent)
    return leaf(run, sub[0]), leaf(run, sub[1]) if len(sub) > 1 else ""


class _Issuer(NamedTuple):
    """What an identifier has of who gave it: everything but its value and its dates."""

    name: str
    kind: str
    oid: str
    uri: str
    authority_name: str
    type_code: str


def _issuer(namespace: str, universal: str, type_code: str) -> _Issuer:
    is_oid = universal[:2] in {"1.", "2.", "0."}
    is_uri = "://" in universal or universal[:4] == "urn:"
    return _Issuer(
        name=universal or namespace,
        kind=_kind(type_code, namespace),
        oid=universal if is_oid else "",
        uri=universal if is_uri else "",
        authority_name=namespace if is_oid or is_uri or not universal else (namespace or universal),
        type_code=type_code,
    )


def _issued(
    run: Any, value: str, issuer: _Issuer, start: When | None = None, end: When | None = None
) -> Identifier:
    name, kind, oid, uri, authority_name, type_code = issuer
    system, known_kind, plain = run.systems.identify(name, value)
    return Identifier(
        value=plain,
        system=system,
        kind=known_kind or kind,
        oid=oid,
        uri=uri,
        authority_name=authority_name,
        type_code=type_code,
        start=start,
        end=end,
    )


def _identifier(
    run: Any, value: str, namespace: str, universal: str, type_code: str
) -> Identifier | None:
    return _issued(run, value, _issuer(namespace, universal, type_code)) if value else None


_KINDS = {"IDNPS": "", "IDNST": "", "FINEG": "FINESS", "FINEJ": "FINESS"}


def _kind(type_code: str, namespace: str) -> str:
    if type_code == "INS":
        return "INS-NIA" if namespace.endswith("NIA") else "INS-NIR"
    return _KINDS.get(type_code, type_code)


_ISSUERS: dict[tuple[str, str], _Issuer] = {}
"""By the data type, or for a CX the mapping's default authority, and the text behind the value: a site has few of them."""
_MOST_ISSUERS = 1024
_LONGEST_ISSUER = 200


def _remember(run: Any, level: int, key: tuple[str, str], issuer: _Issuer) -> None:
    """Where the same text always means the same, and nothing about it was to be noted."""
    if run.is_standard and not level and len(key[1]) < _LONGEST_ISSUER and run.escape not in key[1]:
        if len(_ISSUERS) >= _MOST_ISSUERS:
            _ISSUERS.clear()
        _ISSUERS[key] = issuer


def cx(run: Any, raw: str, level: int) -> Identifier | None:
    """CX: value, authority (4, or the mapping's default), type (5), dates (7, 8)."""
    value, _, behind = raw.partition(run.subcomponent if level else run.component)
    value = leaf(run, value)
    if not value:
        return None
    key = (run.assigning_authority, behind)
    if run.is_standard and not level and (known := _ISSUERS.get(key)) is not None:
        return _issued(run, value, known)
    p = parts(run, raw, level)
    n = len(p)
    namespace, universal = _authority(run, p[3]) if n > 3 else ("", "")
    if not namespace and not universal:
        universal = run.assigning_authority
    type_code = leaf(run, p[4]) if n > 4 else ""
    start = when(run, leaf(run, p[6]), 2) if n > 6 and p[6] else None
    end = when(run, leaf(run, p[7]), 2) if n > 7 and p[7] else None
    issuer = _issuer(namespace, universal, type_code)
    if start is None and end is None:
        _remember(run, level, key, issuer)
    return _issued(run, value, issuer, start, end)


def ei(run: Any, raw: str, level: int) -> Identifier | None:
    """EI: value, namespace, universal id."""
    value, _, behind = raw.partition(run.subcomponent if level else run.component)
    value = leaf(run, value)
    if not value:
        return None
    key = ("EI", behind)
    if run.is_standard and not level and (known := _ISSUERS.get(key)) is not None:
        return _issued(run, value, known)
    p = parts(run, raw, level)
    issuer = _issuer(_get(run, p, 1), _get(run, p, 2), "")
    _remember(run, level, key, issuer)
    return _issued(run, value, issuer)


def eip(run: Any, raw: str, level: int) -> Identifier | None:
    """EIP: the placer's EI or, without one, the filler's; each is written with subcomponents."""
    for part in parts(run, raw, level)[:2]:
        found = ei(run, part, level + 1)
        if found is not None:
            return found
    return None


def hd(run: Any, raw: str, level: int) -> Identifier | None:
    """HD: an application or facility named by namespace, universal id, or both."""
    p = parts(run, raw, level)
    namespace, universal = _get(run, p, 0), _get(run, p, 1)
    value = namespace or universal
    if not value:
        return None
    return Identifier(
        value=value,
        oid=universal if universal[:2] in {"1.", "2."} else "",
        authority_name=universal,
    )


def xon_identifier(run: Any, raw: str, level: int) -> Identifier | None:
    """XON: id in 10 (or 3), authority in 6, type in 7."""
    p = parts(run, raw, level)
    namespace, universal = _authority(run, p[5]) if len(p) > 5 else ("", "")
    value = _get(run, p, 9) or _get(run, p, 2)
    return _identifier(run, value, namespace, universal, _get(run, p, 6))


def xcn_identifier(run: Any, raw: str, level: int) -> Identifier | None:
    """XCN: id in 1, authority in 9, type in 13."""
    p = parts(run, raw, level)
    namespace, universal = _authority(run, p[8]) if len(p) > 8 else ("", "")
    return _identifier(run, leaf(run, p[0]), namespace, universal, _get(run, p, 12))


def pln(run: Any, raw: str, level: int) -> Identifier | None:
    """PLN: number, type; the rest says for which state a licence holds."""
    p = parts(run, raw, level)
    return _identifier(run, _get(run, p, 0), "", "", _get(run, p, 1))


def plain_identifier(run: Any, raw: str, level: int) -> Identifier | None:
    """A bare value without authority."""
    value = text_of(run, raw, level)
    return Identifier(value=value) if value and value != NULL else None


def coded(run: Any, raw: str, level: int) -> Coded | None:
    """CE, CWE, CNE, CF: both triplets and the original text; a bare code of an IS or ID likewise."""
    p = leaves(run, raw, level, 9)
    codings = _triplet(run, p, 0, p[6], "original") + _triplet(run, p, 3, p[7], "alternate")
    text = p[8]
    return Coded(codings=codings, text=text) if codings or text else None


def _triplet(run: Any, p: list[str], at: int, version: str, role: Any) -> tuple[Coding, ...]:
    code, display, system = p[at : at + 3]
    if not code and not display:
        return ()
    return (
        Coding(
            code=code,
            system=run.systems.code_system(system) if system else "",
            system_as_received=system,
            display=display,
            version=version,
            role=role,
        ),
    )


def xpn(run: Any, raw: str, level: int) -> PersonName | None:
    """XPN: family (1), given (2, 3), suffix (4), prefix (5), use (7)."""
    return _name(leaves(run, raw, level, 7), 0, 6)


def _name(p: list[str], at: int, use_at: int) -> PersonName | None:
    family, first, others, suffix, prefix = p[at : at + 5]
    if not (family or first or others or suffix or prefix):
        return None
    given: tuple[str, ...] = (first,) if first else ()
    if others:
        if first and others.startswith(first) and others[len(first) :][:1] in {"", " ", ","}:
            others = others[len(first) :].strip(
                " ,"
            )  # France: all given names, the first one again
        given += tuple(g.strip() for g in others.split(",") if g.strip())
    use = p[use_at]
    use = NAME_USES.get(use, use)
    return PersonName(
        family=family,
        given=given,
        prefix=prefix,
        suffix=suffix,
        use=use,
        birth_given=first if use == "birth" and use_at == 6 else "",
    )


def ppn(run: Any, raw: str, level: int) -> PersonName | None:
    """The name inside an XCN or PPN (2 to 6, use in 10)."""
    return _name(leaves(run, raw, level, 10), 1, 9)


def xcn(run: Any, raw: str, level: int) -> Person | None:
    """XCN: identifier and name; a person known by either."""
    p = parts(run, raw, level)
    namespace, universal = _authority(run, p[8]) if len(p) > 8 else ("", "")
    found = _identifier(run, leaf(run, p[0]), namespace, universal, _get(run, p, 12))
    name = _name(leaves(run, raw, level, 10), 1, 9) if len(p) > 1 else None
    if found is None and name is None:
        return None
    return Person(identifiers=(found,) if found else (), name=name)


def ndl(run: Any, raw: str, level: int) -> Person | None:
    """NDL: its first component is a CNN with subcomponents; many senders write an XCN there instead."""
    first = raw if level else raw.split(run.component, 1)[0]
    return cnn(run, first, 1) if run.subcomponent in first else xcn(run, raw, level)


def cnn(run: Any, raw: str, level: int) -> Person | None:
    """CNN: id, name (2 to 6), degree, source table, authority (9, 10)."""
    p = [leaf(run, part) for part in parts(run, raw, level)]
    p += [""] * (11 - len(p))
    found = _identifier(run, p[0], p[8], p[9], "")
    name = _name([*p[:6], ""], 1, 6)
    if found is None and name is None:
        return None
    return Person(identifiers=(found,) if found else (), name=name)


def xpn_person(run: Any, raw: str, level: int) -> Person | None:
    """A person known by name only."""
    name = xpn(run, raw, level)
    return Person(name=name) if name else None


def xon(run: Any, raw: str, level: int) -> Organization | None:
    """XON: name and identifier."""
    p = parts(run, raw, level)
    name = _get(run, p, 0)
    found = xon_identifier(run, raw, level)
    if not name and found is None:
        return None
    return Organization(name=name, identifiers=(found,) if found else ())


def hd_organization(run: Any, raw: str, level: int) -> Organization | None:
    """An organisation named by an HD."""
    found = hd(run, raw, level)
    return (
        Organization(name=found.value, identifiers=(found,) if found.oid else ()) if found else None
    )


def xad(run: Any, raw: str, level: int) -> Address | None:
    """XAD (and AD): street (1), other (2), city, state, postal code, country, use (7), county (9)."""
    p = leaves(run, raw, level, 9)
    street, other, city, state, postal, country, use, _, district = p[:9]
    more: tuple[str, ...] = ()
    if not level and run.subcomponent in raw:
        street, more = _street(run, raw.split(run.component, 1)[0])
    elif run.escape in raw:
        street = free(run, parts(run, raw, level)[0])
    if not (street or other or city or state or postal or country or district or more):
        return None
    is_birth = use == "BDL"
    return Address(
        lines=(street, other)
        if street and other
        else (street or other,)
        if street or other
        else (),
        parts=more,
        city=city,
        postal_code=postal,
        district="" if is_birth else district,
        state=state,
        country=country,
        insee_code=district if is_birth else "",
        use=ADDRESS_USES.get(use, use),
    )


def _street(run: Any, text: str) -> tuple[str, tuple[str, ...]]:
    """SAD: the street line, and its name and number when sent apart."""
    sub = text.split(run.subcomponent)
    named = zip(("street_name", "house_number"), sub[1:3], strict=False)
    return free(run, sub[0]), tuple(f"{name}={leaf(run, part)}" for name, part in named if part)


def xtn(run: Any, raw: str, level: int) -> Telecom | None:
    """XTN: number (1 or 12), address (4), local number (7), use (2), equipment (3)."""
    p = leaves(run, raw, level, 12)
    use, equipment = p[1], p[2]
    value = p[3] or p[0] or p[11]
    if not value:
        country, area, local = p[4:7]
        value = local and f"{'+' + country + ' ' if country else ''}{area}{local}"
    if not value:
        return None
    return Telecom(value=value, kind=_telecom_kind(equipment, use, value), use=_USES.get(use, use))


_USES = {
    "PRN": "home",
    "ORN": "home",
    "WPN": "work",
    "VHN": "vacation",
    "NET": "",
    "EMR": "emergency",
}
_EQUIPMENT = {
    "PH": "phone",
    "FX": "fax",
    "CP": "mobile",
    "BP": "pager",
    "INTERNET": "email",
    "INTERNET ": "email",
    "X.400": "email",
}


def _telecom_kind(equipment: str, use: str, value: str) -> str:
    if "@" in value:
        return "mssante" if value.lower().rstrip(" .").endswith(".mssante.fr") else "email"
    return _EQUIPMENT.get(equipment.upper(), "email" if use == "NET" else "phone")


def when(run: Any, raw: str, level: int) -> When | None:
    """TS, DTM, DT at their precision."""
    text = text_of(run, raw, level) if level < 2 else raw
    if not text or text == NULL:
        return None
    found = hl7_when(text, run.zone, run.midnight_is_unknown)
    if not found.value:
        run.issue("warning", "not-a-date")
    return found


def period(run: Any, raw: str, level: int) -> Period | None:
    """DR: start and end; a single time is a start."""
    p = parts(run, raw, level)
    start = when(run, p[0], 1) if p[0] else None
    end = when(run, p[1], 1) if len(p) > 1 and p[1] else None
    return Period(start=start, end=end) if start or end else None


def quantity(run: Any, raw: str, level: int) -> Quantity | None:
    """NM, CQ (amount and units), SN (comparator and number)."""
    p = parts(run, raw, level)
    if leaf(run, p[0]) in {"<", ">", "<=", ">=", "="} and len(p) > 1:
        sign = leaf(run, p[0])
        return Quantity(value=_get(run, p, 1), comparator="" if sign == "=" else sign)
    text = leaf(run, p[0])
    if not text and len(p) < 2:
        return None
    sign, rest = compared(text)
    value = number(rest, run.decimal_comma)
    if not value:
        return None
    unit = p[1].split(run.subcomponent)[0] if len(p) > 1 else ""
    return Quantity(value=value, comparator=sign, unit=leaf(run, unit))


def range_(run: Any, raw: str, level: int) -> Range | None:
    """A reference range as text, or an NR of two components."""
    p = parts(run, raw, level)
    if len(p) > 1 and number(_get(run, p, 0)) and number(_get(run, p, 1)):
        return Range(low=Quantity(value=_get(run, p, 0)), high=Quantity(value=_get(run, p, 1)))
    text = free(run, raw).strip()
    return text_range(text) if text else None


def pl(run: Any, raw: str, level: int) -> Location | None:
    """PL: point of care, room, bed, facility, status, type, building, floor, description."""
    p = parts(run, raw, level)
    point, room, bed = _get(run, p, 0), _get(run, p, 1), _get(run, p, 2)
    facility = None
    if len(p) > 3 and p[3]:
        namespace, universal = _authority(run, p[3])
        value = universal or namespace
        if value:
            facility = Identifier(value=value, authority_name=namespace)
    name = _get(run, p, 8)
    if not (point or room or bed or facility or name):
        return None
    if len(p) <= 4:
        return Location(point_of_care=point, room=room, bed=bed, facility=facility)
    return Location(
        point_of_care=point,
        room=room,
        bed=bed,
        facility=facility,
        status=_get(run, p, 4),
        kind=_get(run, p, 5),
        building=_get(run, p, 6),
        floor=_get(run, p, 7),
        name=name,
    )


def attachment(run: Any, raw: str, level: int) -> Attachment | None:
    """ED (content) or RP (a pointer). Base64 is decoded here, once; the bytes go to the run's attachments."""
    data, media, encoding = ed_content(run, raw, level)
    if data is None:
        p = parts(run, raw, level)
        url = _get(run, p, 0)
        if url and len(p) > 1 and ("/" in url or "." in url) and len(url) < 2000:
            return Attachment(url=url, media_type=media)
        run.issue("warning", "attachment-unreadable")
        return None
    found: Attachment = run.attach(
        data, Attachment(media_type=media, encoding_as_received=encoding)
    )
    return found


_MEDIA = {
    "PDF": "application/pdf",
    "JPEG": "image/jpeg",
    "JPG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "RTF": "application/rtf",
    "HTML": "text/html",
    "XML": "application/xml",
    "TEXT": "text/plain",
    "PLAIN": "text/plain",
    "DICOM": "application/dicom",
}


def ed_content(run: Any, raw: str, level: int) -> tuple[bytes | None, str, str]:
    """(content, media type, encoding) of an ED; the whole of it in component 1 is Base64 all the same."""
    p = parts(run, raw, level)
    if len(p) < 5:
        longest = max(p, key=len)
        if len(longest) < 20:
            return None, "", ""
        data, _ = base64_bytes(longest)
        return (data, "", "Base64") if data and len(data) > 10 else (None, "", "")
    main, sub, encoding = _get(run, p, 1), _get(run, p, 2), _get(run, p, 3)
    media = _MEDIA.get(sub.upper(), _MEDIA.get(main.upper(), ""))
    if not media and main and sub:
        media = f"{main.lower()}/{sub.lower()}"
    content = run.component.join(p[4:])
    if encoding.lower() in {"a", ""} and not _looks_base64(content):
        return run.unescape(content).encode("utf-8", "surrogateescape"), media, encoding
    if encoding.lower() == "hex":
        try:
            return bytes.fromhex(content), media, encoding
        except ValueError:
            return None, media, encoding
    if run.escape in content:
        content = run.unescape(content)
    data, repaired = base64_bytes(content)
    if repaired and data is not None:
        run.issue("warning", "base64-repaired")
    return data, media, encoding


def _looks_base64(content: str) -> bool:
    return len(content) > 40 and content[:40].isalnum() and " " not in content[:200]


def result_value(
    run: Any, raws: list[str], declared: str, unit: str, ucum: str
) -> ResultValue | None:
    """OBX-5 by OBX-2, with the unit of OBX-6. What is not of its declared type is kept as text, never dropped.

    Source: HL7 v2.5.1 table 0125 (value types).
    """
    present = [r for r in raws if r and not r.isspace()]
    if not present or present[0] == NULL:
        return None
    raw = present[0]
    if declared in _TEXT_TYPES or not declared:
        text = "\n".join(free(run, r) for r in present)
        if not declared:
            run.issue("warning", "value-type-missing", source="OBX-2")
        return ResultValue(text=text, declared_type=declared)
    if declared in {"ED", "RP"}:
        found = attachment(run, raw, 0)
        return ResultValue(attachment=found, declared_type=declared) if found else None
    if len(present) > 1:
        run.issue("information", "value-repeats", source="OBX-5")
        original = run.repetition.join(free(run, r) for r in present)
        if declared in {"NM", "SN"}:
            return ResultValue(text=original, declared_type=declared)
    else:
        original = ""
    if declared in _CODED_TYPES:
        return ResultValue(coded=coded(run, raw, 0), declared_type=declared, original=original)
    maker = _RESULTS.get(declared)
    if maker is None:
        run.issue("warning", "unknown-value-type", source="OBX-2")
        return ResultValue(text=free(run, raw), declared_type=declared)
    return maker(run, raw, declared, unit, ucum)


_TEXT_TYPES = frozenset({"ST", "TX", "FT", "NA", "MA", "CK", "CN", "PN", "TN", "AD"})
_CODED_TYPES = frozenset({"CE", "CWE", "CNE", "CF", "IS", "ID"})


def _numeric(run: Any, raw: str, declared: str, unit: str, ucum: str) -> ResultValue:
    text = text_of(run, raw, 0)
    value = number(text, run.decimal_comma)
    if value:
        return ResultValue(
            quantity=Quantity(value=value, unit=unit, ucum=ucum), declared_type=declared
        )
    sign, rest = compared(text)
    bounded = number(rest, run.decimal_comma) if sign else ""
    run.issue("information", "value-not-numeric", source="OBX-5")
    if bounded:
        amount = Quantity(value=bounded, comparator=sign, unit=unit, ucum=ucum)
        return ResultValue(quantity=amount, declared_type=declared, original=text)
    return ResultValue(text=free(run, raw), declared_type=declared)


def _structured(run: Any, raw: str, declared: str, unit: str, ucum: str) -> ResultValue:
    p = parts(run, raw, 0)
    sign, first, mark, second = (_get(run, p, i) for i in range(4))
    low = Quantity(value=first, unit=unit, ucum=ucum)
    high = Quantity(value=second, unit=unit, ucum=ucum)
    if first and number(first) and not mark:
        amount = Quantity(value=first, comparator="" if sign == "=" else sign, unit=unit, ucum=ucum)
        return ResultValue(quantity=amount, declared_type=declared)
    if number(first) and number(second) and mark == "-":
        return ResultValue(range=Range(low=low, high=high), declared_type=declared)
    if number(first) and number(second) and mark in {":", "/"}:
        return ResultValue(ratio=Ratio(numerator=low, denominator=high), declared_type=declared)
    if number(first) and mark == "+":
        return ResultValue(quantity=low, declared_type=declared, original=f"{first}+")
    run.issue("information", "value-not-numeric", source="OBX-5")
    return ResultValue(text=free(run, raw.replace(run.component, "")), declared_type=declared)


def _dated(run: Any, raw: str, declared: str, _unit: str, _ucum: str) -> ResultValue:
    if declared == "TM":
        return ResultValue(text=text_of(run, raw, 0), declared_type=declared)
    return ResultValue(when=when(run, raw, 0), declared_type=declared)


def _other(kind: str, shape: Typed) -> Callable[[Any, str, str, str, str], ResultValue]:
    def make(run: Any, raw: str, declared: str, _unit: str, _ucum: str) -> ResultValue:
        found = shape(run, raw, 0)
        if found is None:
            return ResultValue(text=free(run, raw), declared_type=declared)
        return ResultValue(declared_type=declared, **{kind: found})

    return make


def _person_text(run: Any, raw: str, declared: str, _unit: str, _ucum: str) -> ResultValue:
    text = " ".join(t for t in (leaf(run, p) for p in parts(run, raw, 0)) if t)
    return ResultValue(text=text, declared_type=declared)


_RESULTS: dict[str, Callable[[Any, str, str, str, str], ResultValue]] = {
    "NM": _numeric,
    "SI": _numeric,
    "SN": _structured,
    "DT": _dated,
    "TM": _dated,
    "TS": _dated,
    "DTM": _dated,
    "DR": _other("period", period),
    "NR": _other("range", range_),
    "CQ": _other("quantity", quantity),
    "EI": _other("identifier", ei),
    "CX": _other("identifier", cx),
    "XCN": _person_text,
    "XPN": _person_text,
    "XON": _person_text,
    "XAD": _person_text,
    "XTN": _person_text,
}


def boolean(run: Any, raw: str, level: int) -> bool | None:
    """Y and N (table 0136), and what senders write instead."""
    text = text_of(run, raw, level).upper()
    if text in {"Y", "YES", "O", "OUI", "1", "TRUE"}:
        return True
    if text in {"N", "NO", "NON", "0", "FALSE"}:
        return False
    if text and text != NULL:
        run.issue("warning", "not-a-boolean")
    return None


def integer(run: Any, raw: str, level: int) -> int | None:
    """SI or NM read as a whole number."""
    text = text_of(run, raw, level)
    try:
        return int(text)
    except ValueError:
        if text and text != NULL:
            run.issue("warning", "not-an-integer")
        return None


def _author(run: Any, raw: str, level: int) -> Author | None:
    person = xcn(run, raw, level)
    return Author(person=person) if person else None


def _participant(run: Any, raw: str, level: int) -> Participant | None:
    person = xcn(run, raw, level)
    return Participant(person=person) if person else None


def _recipient(run: Any, raw: str, level: int) -> Recipient | None:
    person = xcn(run, raw, level)
    return Recipient(person=person) if person else None


def _contact(run: Any, raw: str, level: int) -> Contact | None:
    name = xpn(run, raw, level)
    return Contact(name=name) if name else None


def _device(run: Any, raw: str, level: int) -> Device | None:
    found = ei(run, raw, level)
    return Device(identifiers=(found,)) if found else None


SHAPES: dict[type, dict[str, Typed]] = {
    Identifier: {
        "": cx,
        "CX": cx,
        "EI": ei,
        "EIP": eip,
        "HD": hd,
        "XON": xon_identifier,
        "XCN": xcn_identifier,
        "PLN": pln,
        "ST": plain_identifier,
        "ID": plain_identifier,
        "IS": plain_identifier,
        "NM": plain_identifier,
    },
    Coded: {"": coded},
    PersonName: {"": xpn, "XPN": xpn, "XCN": ppn, "PPN": ppn},
    Person: {"": xcn, "XPN": xpn_person, "NDL": ndl, "CNN": cnn},
    Organization: {"": xon, "HD": hd_organization},
    Address: {"": xad},
    Telecom: {"": xtn},
    When: {"": when},
    Period: {"": period},
    Quantity: {"": quantity},
    Range: {"": range_},
    Location: {"": pl},
    Attachment: {"": attachment},
    Author: {"": _author},
    Participant: {"": _participant},
    Recipient: {"": _recipient},
    Contact: {"": _contact},
    Device: {"": _device},
    bool: {"": boolean},
    int: {"": integer},
}
