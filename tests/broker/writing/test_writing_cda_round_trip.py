"""Written, then read by the shipped mappings: the same patient, codes, values; and no text ever becomes an element."""

from __future__ import annotations

import string
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from broker.document import (
    Coded,
    Event,
    Identifier,
    Observation,
    Patient,
    PersonName,
    Quantity,
    Range,
    Report,
    ResultValue,
    When,
)
from broker.errors import PermanentError
from broker.writing.cda import to_bytes
from tests.broker.writing.documents import (
    LABORATORY,
    LETTER,
    PATIENT,
    STORE,
    coded,
    full_of,
    problems,
    read,
)

XML = st.characters(
    exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff", include_characters="\t\n\r"
)
TEXT = st.one_of(
    st.text(XML, min_size=1, max_size=20),
    st.text("<>&\"'[]!-/?;# a\u00e9", min_size=1, max_size=20),
    st.sampled_from(
        [
            "]]>",
            "<!--",
            "&amp;",
            "&#60;script&#62;",
            "<script>alert(1)</script>",
            "<![CDATA[",
            "%PDF",
        ]
    ),
).filter(lambda text: bool(text.split()))
CODE = st.text(string.ascii_letters + string.digits + "-_./<&\"'é", min_size=1, max_size=12)
OID = st.lists(st.integers(0, 99_999), min_size=2, max_size=8).map(
    lambda arcs: "1.2." + ".".join(map(str, arcs))
)
NUMBER = st.from_regex(r"[+-]?[0-9]{1,6}(\.[0-9]{1,6})?", fullmatch=True)
UNIT = st.sampled_from(["", "g/L", "mmol/L", "10*9/L", "m[IU]/L", "%", "mm[Hg]"])


def plain(text: str) -> str:
    """A text as a reader of narrative has it: blanks collapsed."""
    return " ".join(text.split())


def codes(item: Coded | None) -> list[tuple[str, str, str]]:
    return [(one.code, one.system, plain(one.display)) for one in item.codings] if item else []


identifiers = st.builds(lambda oid, value: Identifier(value=value, system=oid, oid=oid), OID, CODE)
quantities = st.builds(
    lambda value, unit: Quantity(value=value, unit=unit, ucum=unit), NUMBER, UNIT
)
codings = st.builds(lambda code, text: coded(code, display=text), CODE, TEXT)
flags = st.lists(
    st.sampled_from(["L", "H", "LL", "HH", "N", "A", "<", ">"]).map(
        lambda code: coded(code, "urn:oid:2.16.840.1.113883.5.83")
    ),
    max_size=2,
)
values = st.one_of(
    quantities.map(lambda item: ResultValue(quantity=item)),
    codings.map(lambda item: ResultValue(coded=item)),
    TEXT.map(lambda text: ResultValue(text=text)),
    st.tuples(quantities, quantities).map(
        lambda ends: ResultValue(range=Range(low=ends[0], high=ends[1]))
    ),
)
observations = st.builds(
    lambda code, value, found: Observation(
        code=code, value=value, flags=tuple(found), status="final"
    ),
    codings,
    values,
    flags,
)
patients = st.builds(
    lambda ids, family, given, used, sex, day: Patient(
        identifiers=tuple({(i.system, i.value): i for i in ids}.values()),
        identity_status="validated",
        names=(
            PersonName(family=family, given=(given,), use="birth", birth_given=given),
            PersonName(family=used, given=(given,), use="usual"),
        ),
        sex=sex,
        birth_date=When(value=day.isoformat()),
    ),
    st.lists(identifiers, min_size=1, max_size=3),
    TEXT,
    TEXT,
    TEXT,
    st.sampled_from(["male", "female", "other", "unknown"]),
    st.dates(),
)


def written(item: ResultValue) -> Any:
    """What of a value must come back."""
    if item.text is not None:
        return plain(item.text)
    if item.coded:
        return codes(item.coded)
    if item.quantity:
        return (item.quantity.value, item.quantity.unit)
    assert item.range
    return [(end.value, end.unit) for end in (item.range.low, item.range.high) if end]


@settings(max_examples=60, deadline=None)
@given(patients)
def test_the_patient_comes_back(patient: Patient) -> None:
    data = to_bytes(msgspec.structs.replace(LETTER, patient=patient), STORE)

    found = read(data).patient
    assert found is not None
    assert problems(data) == []
    assert [(i.system, i.value) for i in found.identifiers] == [
        (i.system, i.value) for i in patient.identifiers
    ]
    assert [(n.family, n.given, n.use) for n in found.names] == [
        (plain(n.family), tuple(map(plain, n.given)), n.use) for n in patient.names
    ]
    assert found.names[0].birth_given == plain(patient.names[0].birth_given)
    assert (found.sex, found.birth_date) == (patient.sex, patient.birth_date)


@settings(max_examples=60, deadline=None)
@given(st.lists(observations, min_size=1, max_size=3), codings, TEXT)
def test_results_come_back(items: list[Observation], code: Coded, title: str) -> None:
    report = Report(code=code, title=title, status="final", observations=tuple(items))
    data = to_bytes(msgspec.structs.replace(LABORATORY, reports=(report,)), STORE)

    (found,) = read(data).reports
    assert problems(data) == []
    assert (codes(found.code), plain(found.title)) == (codes(code), plain(title))
    assert found.status == "final"
    assert [codes(one.code) for one in found.observations] == [codes(one.code) for one in items]
    assert [written(one.value) for one in found.observations if one.value] == [
        written(one.value) for one in items if one.value
    ]
    assert [[codes(flag) for flag in one.flags] for one in found.observations] == [
        [codes(flag) for flag in one.flags] for one in items
    ]


@settings(max_examples=80, deadline=None)
@given(TEXT)
def test_no_text_of_the_model_becomes_an_element(text: str) -> None:
    def tags(written_text: str) -> list[str]:
        data = to_bytes(full_of(written_text), STORE)
        return [str(element.tag) for element in etree.fromstring(data).iter(etree.Element)]

    breaks = f"{{{'urn:hl7-org:v3'}}}br"
    assert [tag for tag in tags(text) if tag != breaks] == tags("x")


@settings(max_examples=80, deadline=None)
@given(st.text(min_size=1, max_size=8))
def test_any_text_survives_or_is_refused_with_its_place(text: str) -> None:
    document = msgspec.structs.replace(LETTER, title=text)

    try:
        data = to_bytes(document, STORE)
    except PermanentError as error:
        assert (error.code, error.where) == ("writing.character", "ClinicalDocument/title")
        return

    assert (etree.fromstring(data).findtext("{urn:hl7-org:v3}title")) == text
    assert plain(read(data).title) == plain(text)


def test_the_header_comes_back() -> None:
    found = read(to_bytes(LETTER, STORE))

    for name in (
        "unique_id", "set_id", "version_number", "title", "language", "type_code", "created_at", "service_start",
        "service_end", "facility_type", "practice_setting", "event_codes", "status",
    ):  # fmt: skip
        mine, theirs = getattr(LETTER, name), getattr(found, name)
        assert _essence(theirs) == _essence(mine), name
    assert found.patient is not None
    assert [address.city for address in found.patient.addresses] == ["PARIS"]
    assert found.patient.birth_place == PATIENT.birth_place
    assert found.custodian is not None
    assert found.custodian.name == "Hôpital inventé"
    assert _essence(found.custodian.identifiers) == [("finess", "750000042")]
    (physician, device) = found.authors
    assert physician.person is not None
    assert _essence(physician.person.identifiers) == [("rpps", "99900000011")]
    assert physician.person.role_code is not None
    assert physician.person.role_code.codings[0].code == "G15_10/SM26"
    assert device.device is not None
    assert device.device.software == "Éditeur 1.0"
    assert {p.role.codings[0].code for p in found.participants if p.role} >= {
        "REF", "PRF", "AUTHEN", "ENT", "PART",
    }  # fmt: skip
    assert _essence(found.reference_ids) == [("1.2.250.1.999.5", "ACC1")]
    assert found.encounters[0].identifier is not None
    assert found.encounters[0].identifier.value == "V1"


def test_a_replacement_comes_back_as_one() -> None:
    document = msgspec.structs.replace(
        LETTER, relations=(_replaces("1.2.250.1.999.1.41"),), version_number=2
    )

    found = read(to_bytes(document, STORE))

    assert found.event is not None
    assert found.event.operation == "replace"
    assert [(one.kind, one.target and one.target.value) for one in found.relations] == [
        ("replaces", "1.2.250.1.999.1.41")
    ]


@pytest.mark.parametrize(
    ("status", "operation", "read_as"),
    [
        ("preliminary", None, "preliminary"),
        ("entered_in_error", None, "entered_in_error"),
        ("final", "cancel", "cancelled"),
        ("final", "delete", "entered_in_error"),
        ("final", "replace", "final"),
        ("amended", "update", "final"),
    ],
)
def test_what_is_not_valid_is_never_read_as_final(
    status: Any, operation: Any, read_as: str
) -> None:
    document = msgspec.structs.replace(LETTER, status=status, event=Event(operation=operation))

    data = to_bytes(document, STORE)

    assert problems(data) == []
    assert read(data).status == read_as


@pytest.mark.parametrize("comparator", ["<", "<=", ">", ">="])
def test_a_result_beyond_a_limit_comes_back_with_its_comparator(comparator: str) -> None:
    beyond = Quantity(value="5", comparator=comparator, unit="mg/L", ucum="mg/L")
    report = Report(observations=(Observation(value=ResultValue(quantity=beyond)),))

    found = read(to_bytes(msgspec.structs.replace(LABORATORY, reports=(report,)), STORE))

    value = found.reports[0].observations[0].value
    assert value is not None
    assert value.range is not None
    assert (value.range.low or value.range.high) == beyond


def _replaces(value: str) -> Any:
    from broker.document import Relation

    return Relation(kind="replaces", target=Identifier(value=value))


def _essence(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_essence(one) for one in value]
    if isinstance(value, Coded):
        return codes(value)
    if isinstance(value, Identifier):
        return (value.system, value.value)
    return value
