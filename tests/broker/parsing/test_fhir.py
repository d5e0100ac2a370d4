from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from broker.errors import ParseError
from broker.parsing import fhir
from broker.parsing.fhir_types import element_table

OBSERVATION_XML = b"""<Observation xmlns="http://hl7.org/fhir">
  <id value="o1"/>
  <text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">a <b>b</b></div></text>
  <contained><Patient><id value="p"/><active value="true"/></Patient></contained>
  <status value="final"/>
  <category><coding><code value="laboratory"/></coding></category>
  <code><coding><system value="http://loinc.org"/><code value="718-7"/></coding></code>
  <subject><reference value="#p"/></subject>
  <effectiveDateTime value="2024-03-09"><extension url="urn:x"><valueCode value="approx"/></extension>
  </effectiveDateTime>
  <valueQuantity><value value="1.950"/><unit value="g/dL"/></valueQuantity>
</Observation>"""


def bundle(*entries: dict[str, object]) -> bytes:
    return msgspec.json.encode(
        {"resourceType": "Bundle", "type": "collection", "entry": list(entries)}
    )


def test_decimals_keep_their_digits() -> None:
    read = fhir.parse(b'{"resourceType":"Observation","valueQuantity":{"value":1.950}}')

    value = read.resource["valueQuantity"]["value"]
    assert isinstance(value, Decimal)
    assert str(value) == "1.950"


def test_a_single_resource_is_its_own_entry() -> None:
    read = fhir.parse(b'{"resourceType":"Patient","id":"a"}')

    assert read.entries == [read.resource]
    assert read.resolve("Patient/a") is read.resource
    assert (read.format_name, read.version_guess) == ("fhir-r4", "R4")


def test_references_resolve_by_full_url_by_type_and_id_and_by_version() -> None:
    read = fhir.parse(
        bundle(
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "a"}},
            {"fullUrl": "http://h/Organization/b", "resource": {"resourceType": "Organization"}},
        )
    )

    patient, organization = read.entries
    assert read.resolve("urn:uuid:1") is patient
    assert read.resolve("Patient/a/_history/3") is patient
    assert read.resolve("http://elsewhere/Patient/a") is patient
    assert read.resolve("Organization/b") is organization
    assert read.resolve("Patient/none") is None


def test_a_conditional_reference_is_answered_by_the_message_or_by_what_it_says() -> None:
    identifier = {"system": "urn:oid:1.2", "value": "P1"}
    read = fhir.parse(bundle({"resource": {"resourceType": "Patient", "identifier": [identifier]}}))

    assert read.resolve("Patient?identifier=urn:oid:1.2|P1") is read.entries[0]
    assert read.resolve("http://h/fhir/Patient?identifier=urn:oid:1.2%7CP2") == {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:oid:1.2", "value": "P2"}],
    }
    assert read.resolve("Patient?identifier=") is None


def test_contained_resources_belong_to_their_own_container() -> None:
    def report(name: str) -> dict[str, object]:
        inner = {"resourceType": "Practitioner", "id": "p", "name": [{"family": name}]}
        return {"resource": {"resourceType": "DocumentReference", "contained": [inner]}}

    read = fhir.parse(bundle(report("ONE"), report("TWO")))

    found = [read.resolve("#p", entry) for entry in read.entries]
    assert [item["name"][0]["family"] for item in found if item] == ["ONE", "TWO"]


def test_entries_without_resource_and_bundles_in_bundles_are_read() -> None:
    inner = {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}]}

    read = fhir.parse(
        bundle({"fullUrl": "x"}, {"response": {"status": "201"}}, {"resource": inner})
    )

    assert [entry["resourceType"] for entry in read.entries] == ["Patient"]


def test_xml_becomes_the_json_form() -> None:
    read = fhir.parse(OBSERVATION_XML)

    assert read.resource == {
        "resourceType": "Observation",
        "id": "o1",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">a <b>b</b></div>',
        },
        "contained": [{"resourceType": "Patient", "id": "p", "active": True}],
        "status": "final",
        "category": [{"coding": [{"code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}]},
        "subject": {"reference": "#p"},
        "effectiveDateTime": "2024-03-09",
        "_effectiveDateTime": {"extension": [{"url": "urn:x", "valueCode": "approx"}]},
        "valueQuantity": {"value": Decimal("1.950"), "unit": "g/dL"},
    }
    assert str(read.resource["valueQuantity"]["value"]) == "1.950"
    assert read.resolve("#p", read.resource) == read.resource["contained"][0]


def test_extensions_of_repeated_primitives_stay_at_their_place() -> None:
    read = fhir.parse(
        b'<Patient xmlns="http://hl7.org/fhir"><name><given value="A"/><given value="B">'
        b'<extension url="urn:x"><valueString value="q"/></extension></given><given value="C"/>'
        b"</name></Patient>"
    )

    name = read.resource["name"][0]
    assert name["given"] == ["A", "B", "C"]
    assert name["_given"] == [None, {"extension": [{"url": "urn:x", "valueString": "q"}]}, None]


def test_the_element_table_agrees_with_the_published_models() -> None:
    from fhir.resources.R4B import get_fhir_model_class

    for name, elements in element_table().items():
        fields = get_fhir_model_class(name).model_fields
        by_alias = {field.alias or key: field for key, field in fields.items()}
        for element, (repeats, _kind) in elements.items():
            annotation = str(by_alias[element].annotation)
            assert ("List[" in annotation or "list[" in annotation) == repeats, (name, element)


@pytest.mark.parametrize(
    ("body", "media", "version"),
    [
        (b'{"resourceType":"ProcedureRequest"}', "", "STU3"),
        (b'{"resourceType":"DocumentReference","indexed":"2013"}', "", "STU3"),
        (b'{"resourceType":"Encounter","actualPeriod":{}}', "", "R5"),
        (b'{"resourceType":"Patient"}', "application/fhir+json; fhirVersion=3.0", "STU3"),
        (b'{"resourceType":"Patient"}', "application/fhir+json; fhirVersion=4.3", "R4"),
    ],
)
def test_other_versions_are_read_and_noted(body: bytes, media: str, version: str) -> None:
    assert fhir.parse(body, media).version_guess == version


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        (b'{"resourceType":"Patient", ...}', "fhir.malformed", "byte 27"),
        (b'{"resourceType":"Patient"', "fhir.malformed", "end"),
        (b'{"name":"SECRET"}', "fhir.no_resource", "resourceType"),
        (b"[1,2]", "fhir.no_resource", "resourceType"),
        (b'{"resourceType":"Patient","x":"\xff"}', "fhir.malformed", ""),
        (b'<a xmlns="urn:other"/>', "fhir.no_resource", "root"),
        (b'<Patient xmlns="http://hl7.org/fhir"><a></Patient>', "xml.malformed", "line 1"),
    ],
)
def test_an_error_names_the_place_and_never_the_value(body: bytes, code: str, where: str) -> None:
    with pytest.raises(ParseError) as caught:
        fhir.parse(body)

    assert caught.value.code == code
    assert caught.value.where == where or not where
    assert "SECRET" not in str(caught.value)


def test_two_resources_in_one_file_are_split() -> None:
    one, two = b'{"resourceType":"Bundle","type":"batch"}', b'{"resourceType":"Patient"}'

    assert fhir.split(one + b"\r\n" + two + b"\n") == [one, two]
    assert fhir.split(one) == [one]


def test_braces_inside_a_text_are_no_seam() -> None:
    body = b'{"resourceType":"Basic","id":"} {"}'

    assert fhir.split(body) == [body]


def test_patient_keys_put_the_ins_first_and_drop_the_urn() -> None:
    body = bundle(
        {
            "resource": {
                "resourceType": "Practitioner",
                "identifier": [{"system": "x", "value": "1"}],
            }
        },
        {
            "resource": {
                "resourceType": "Patient",
                "identifier": [
                    {"system": "urn:oid:1.2.3", "value": "IPP1"},
                    {"system": "urn:oid:1.2.250.1.213.1.4.8", "value": "INS1"},
                    {"system": "urn:oid:1.2.4"},
                ],
            }
        },
    )

    assert fhir.patient_keys(body) == (("1.2.250.1.213.1.4.8", "INS1"), ("1.2.3", "IPP1"))


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient?identifier=urn:oid:1.2.250.1.213.1.4.8|INS1"},
        {"reference": "Patient?identifier=urn%3Aoid%3A1.2.250.1.213.1.4.8%7CINS1"},
        {"identifier": {"system": "urn:oid:1.2.250.1.213.1.4.8", "value": "INS1"}},
    ],
)
def test_patient_keys_come_from_the_subject_when_no_patient_is_sent(subject: object) -> None:
    body = msgspec.json.encode({"resourceType": "DocumentReference", "subject": subject})

    assert fhir.patient_keys(body) == (("1.2.250.1.213.1.4.8", "INS1"),)


def test_patient_keys_of_anything_else_are_none() -> None:
    assert fhir.patient_keys(b"MSH|") == ()
    assert fhir.patient_keys(b'{"resourceType":"Slot"}') == ()


@pytest.mark.parametrize("version", ["1.0", "0.5", "6.0"])
def test_a_declared_version_that_is_not_read_is_refused_with_a_remedy(version: str) -> None:
    media = f"application/fhir+json; fhirVersion={version}"

    with pytest.raises(ParseError) as raised:
        fhir.parse(b'{"resourceType": "Patient"}', media)

    assert (raised.value.code, raised.value.where) == ("fhir.version", "fhirVersion")
    assert "R4" in raised.value.reason
