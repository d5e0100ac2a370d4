"""Values of XDS metadata: HL7 v2.5 data types in slots, times in UTC, one code for each attribute. For `xds`.

Source: IHE ITI TF-3 table 4.2.3.1.7-2 (CX, XCN, XON, DTM in metadata); HL7 v2.5.1 §2.7 for the escapes; for the types
of French identifiers (NH, IDNPS, IDNST) the DMP's rules as CI-SIS publishes them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from broker.document import (
    Address,
    Author,
    Coded,
    Coding,
    Identifier,
    Organization,
    Patient,
    Person,
    PersonName,
    When,
)
from broker.writing import cda_people, systems
from broker.writing.cda_text import label

_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"})
_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.\d+)?)?)?)?)?)?", re.ASCII
)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII)
_SEXES = {"male": "M", "female": "F", "other": "O", "unknown": "U"}
_LEVELS = frozenset("NRV")
_MASKS = frozenset({"MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX"})
_REFERENCE_TYPES = {"ACSN": "urn:ihe:iti:xds:2013:accession"}
_ORDER = "urn:ihe:iti:xds:2013:order"


def escaped(text: str) -> str:
    """A text as one component of an HL7v2 value: on one line, its delimiters escaped."""
    return " ".join(text.split()).translate(_ESCAPES)


def utc(when: When | None) -> str:
    """DTM in UTC, cut at its precision. A day is not shifted; a time of unknown offset is said as its day."""
    found = _TIME.fullmatch(when.value) if when else None
    if when is None or found is None:
        return ""
    digits = "".join(part for part in found.groups() if part)
    offset = _OFFSET.fullmatch(when.offset or when.assumed_offset)
    if len(digits) <= 8:
        return digits
    if offset is None:
        return digits[:8]
    shift = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        zone = timezone(-shift if offset[1] == "-" else shift)
        local = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
        moment = local.astimezone(UTC)
    except (ValueError, OverflowError):
        return digits[:8]
    return f"{moment:%Y%m%d%H%M%S}".rjust(14, "0")[: len(digits)]


def instant(text: str) -> str:
    """DTM of an instant in ISO form; empty for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return f"{moment.astimezone(UTC):%Y%m%d%H%M%S}" if moment.tzinfo else ""


def unique_id(item: Identifier) -> str:
    """uniqueId of a CDA: its root, and after a caret its extension when it has one."""
    found = systems.instance(item)
    if not found.root:
        return ""
    return f"{found.root}^{found.extension}" if found.extension else found.root


def patient_id(patient: Patient | None) -> str:
    """CX of the national identity, of the type the DMP asks; empty when it may not leave."""
    for item in cda_people.identifiers_of(patient) if patient else ():
        found = systems.instance(item)
        if systems.is_ins(item) and systems.is_oid(found.root):
            return _cx(found, "NH")
    return ""


def source_patient_id(patient: Patient | None) -> str:
    """CX of the local identifier; of the national one when there is no other."""
    for item in patient.identifiers if patient else ():
        found = systems.instance(item)
        if not systems.is_ins(item) and systems.is_oid(found.root) and found.extension:
            return _cx(found, "PI")
    return patient_id(patient)


def source_patient_info(patient: Patient | None) -> list[str]:
    """The traits, one PID field a value."""
    if patient is None:
        return []
    ids = [(systems.instance(i), i) for i in cda_people.identifiers_of(patient)]
    fields = {
        "PID-3": [
            _cx(found, "INS" if systems.is_ins(i) else "PI")
            for found, i in ids
            if systems.is_oid(found.root) and found.extension
        ],
        "PID-5": [name for item in patient.names if (name := _xpn(item))],
        "PID-7": [day for day in (utc(patient.birth_date)[:8],) if day],
        "PID-8": [_SEXES[patient.sex]] if patient.sex in _SEXES else [],
        "PID-11": [place for item in patient.addresses if (place := _xad(item))],
    }
    return [f"{name}|{'~'.join(values)}" for name, values in fields.items() if values]


def person(author: Author | None) -> str:
    """XCN of a professional, or of the device that wrote in their place; empty when neither is known."""
    if author is None:
        return ""
    if author.person is not None:
        return _xcn(author.person)
    device = author.device
    if device is None:
        return ""
    found = [systems.instance(item) for item in device.identifiers]
    first = next((one for one in found if systems.is_oid(one.root)), None)
    named = escaped(device.software or device.model)
    if first is None:
        return f"^{named}" if named else ""
    return f"{escaped(first.extension)}^{named}^^^^^^^&{first.root}&ISO"


def institution(item: Organization | None) -> str:
    """XON; a structure without a national id by its name."""
    if item is None:
        return ""
    found = [systems.instance(one) for one in item.identifiers]
    first = next((one for one in found if systems.is_oid(one.root) and one.extension), None)
    name = escaped(item.name)
    if first is None:
        return name
    kind = "IDNST" if first.root == systems.STRUCTURES else ""
    return f"{name}^^^^^&{first.root}&ISO^{kind}^^^{escaped(first.extension)}"


def role(author: Author) -> str:
    """authorRole: the function in words."""
    return escaped(label(author.function))


def speciality(author: Author) -> str:
    """authorSpecialty: `code^display^system`."""
    code = first(cda_people.role_code(author.person)) if author.person else None
    if code is None or not code.code:
        return ""
    return "^".join(map(escaped, (code.code, code.display, systems.code_system(code))))


def reference_id(item: Identifier) -> str:
    """CXi of referenceIdList."""
    found = systems.instance(item)
    kind = _REFERENCE_TYPES.get(item.type_code or item.kind, _ORDER)
    if not found.extension:
        return f"{found.root}^^^^urn:ihe:iti:xds:2016:studyInstanceUID"
    authority = f"&{found.root}&ISO" if systems.is_oid(found.root) else ""
    return f"{escaped(found.extension)}^^^{authority}^{kind}"


def first(item: Coded | None) -> Coding | None:
    """The coding an attribute takes: one made by a table, else one of a system with an OID, else the first."""
    codings = [one for one in item.codings if one.code] if item else []
    made = [one for one in codings if one.role == "translation" and systems.code_system(one)]
    known = [one for one in codings if systems.code_system(one)]
    return next(iter((*made, *known, *codings)), None)


def scheme(coding: Coding) -> str:
    """The coding scheme: the OID of the system; those of levels and masks are known from their codes."""
    found = systems.code_system(coding)
    if not found and coding.code in _LEVELS:
        return systems.CONFIDENTIALITY
    return systems.MASKING if not found and coding.code in _MASKS else found


def _cx(found: systems.Id, kind: str) -> str:
    return f"{escaped(found.extension)}^^^&{found.root}&ISO^{kind}"


def _xcn(item: Person) -> str:
    found = [systems.instance(one) for one in item.identifiers]
    known = next((one for one in found if systems.is_oid(one.root) and one.extension), None)
    name = item.name or PersonName()
    given = [part for part in name.given if part]
    family = escaped(name.family or name.text)
    parts = [family, *map(escaped, (given[0] if given else "", " ".join(given[1:])))]
    parts += [escaped(name.suffix), escaped(name.prefix)]
    if known is None:
        return f"^{'^'.join(parts)}".rstrip("^")
    kind = "IDNPS" if known.root == systems.PROFESSIONALS else ""
    return f"{escaped(known.extension)}^{'^'.join(parts)}^^^&{known.root}&ISO^D^^^{kind}".rstrip(
        "^"
    )


def _xpn(item: PersonName) -> str:
    kind = {"birth": "L", "usual": "D", "pseudonym": "S"}.get(item.use, "")
    given = [part for part in item.given if part]
    parts = [item.family or item.text, given[0] if given else "", " ".join(given[1:])]
    parts += [item.suffix, item.prefix, "", kind]
    return "^".join(map(escaped, parts)).rstrip("^")


def _xad(item: Address) -> str:
    named = [part.partition("=")[2] for part in item.parts]
    parts = [" ".join(named) or " ".join(item.lines[:1])]
    parts += [" ".join(item.lines if named else item.lines[1:]), item.city, item.state]
    return "^".join(map(escaped, (*parts, item.postal_code, item.country))).rstrip("^")
