"""Paths, nulls and values of CDA and FHIR as the language describes them (sections 5.3, 5.4, 6 and 7)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from broker.document import Document, Observation
from broker.mapping.catalogue import load
from broker.mapping.run import Context, Mapped, ids_from
from broker.parsing import cda, fhir

CONTEXT = Context(document_id=ids_from("018f0000-0000-7000-8000-000000000000"))
HEAD = "mapping: test\nversion: 1.0.0\nlanguage: 1\n"


def of_cda(folder: Path, rules: str, inner: str) -> Mapped:
    head = HEAD + "from: cda\napplies_when: language is missing\n"
    (folder / "one.yaml").write_text(head + rules)
    body = (
        '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"{inner}</ClinicalDocument>"
    )
    return load(folder).apply(cda.parse(body.encode()), CONTEXT, coverage=False)


def of_fhir(folder: Path, rules: str, resource: dict[str, Any]) -> Mapped:
    head = HEAD + "from: fhir-r4\napplies_when: resourceType is present\n"
    (folder / "one.yaml").write_text(head + rules)
    return load(folder).apply(fhir.parse(json.dumps(resource).encode()), CONTEXT, coverage=False)


def title_of(mapped: Mapped) -> str:
    document: Document = mapped.documents[0]
    return document.title


SECTIONS = """<component><structuredBody>
<component><section ID="a"><templateId root="1.1"/><title>A</title><code code="x"/></section></component>
<component><section ID="b"><title>B</title><component><section ID="c"><title>C</title></section></component></section>
</component></structuredBody></component>"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("//section/title", "A"),
        ("//section[2]/title", "B"),
        ("//section[template='1.1']/title", "A"),
        ("//section[title!='A']/title", "B"),
        ("//section[template='1.1'][title='B']/title", ""),
        ("//section[template='1.1'][title='A']/title", "A"),
        ("//section[title='B' and component]/component/section/title", "C"),
        ("component/structuredBody/component[2]/section/title", "B"),
        ("component/structuredBody/component/section[code/@code='x']/@ID", "a"),
        ("component/structuredBody/component/section/component/section/../../@ID", "b"),
        ("component/structuredBody/component[1]/section[title='B']/title", ""),
        ("component/structuredBody/component[9]/section/title", ""),
    ],
)
def test_a_cda_path_finds_what_it_says(tmp_path: Path, path: str, found: str) -> None:
    assert title_of(of_cda(tmp_path, f'document:\n  title: "{path}"\n', SECTIONS)) == found


@pytest.mark.parametrize(("filters", "found"), [("[1][title='B']", ""), ("[title='B'][1]", "B")])
def test_a_number_counts_where_it_stands(tmp_path: Path, filters: str, found: str) -> None:
    inner = "<section><title>A</title></section><section><title>B</title></section>"
    body = f"<component><structuredBody><component>{inner}</component></structuredBody></component>"
    path = f"component/structuredBody/component/section{filters}/title"

    assert title_of(of_cda(tmp_path, f'document:\n  title: "{path}"\n', body)) == found


@pytest.mark.parametrize(
    ("title", "state"),
    [
        ("", "missing"),
        ("<title/>", "missing"),
        ('<title nullFlavor="MSK"/>', "null"),
        ("<title>x</title>", "present"),
        ('<title nullFlavor="OTH">x</title>', "present"),
    ],
)
def test_a_condition_tells_null_from_missing_and_present_in_cda(
    tmp_path: Path, title: str, state: str
) -> None:
    rules = """document:
  language: = fr
  title:
    choose:
      - when: title is null
        constant: 'null'
      - when: title is missing
        constant: missing
      - when: title is empty
        constant: empty
      - when: title is present
        constant: present
"""
    found = title_of(of_cda(tmp_path, rules, title))

    assert found == state


def test_a_null_of_cda_stops_alternatives_and_defaults_and_is_told(tmp_path: Path) -> None:
    rules = """document:
  language: = fr
  title:
    first_of:
      - title
      - id/@root
    default: nothing
"""
    made = of_cda(tmp_path, rules, '<title nullFlavor="MSK"/><id root="1.2"/>').documents[0]

    assert (made.title, made.absent) == ("", {"title": "MSK"})


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ('<value xsi:type="PQ" value="1.950" unit="g"/>', "quantity", ""),
        ('<value xsi:type="PQ" value="&lt;0,5"/>', "text", "<0,5"),
        ('<value xsi:type="REAL" value="neg"/>', "text", "neg"),
        ('<value xsi:type="IVL_PQ"><low value="1" unit="g"/></value>', "range", ""),
        (
            '<value xsi:type="RTO"><numerator value="1"/><denominator value="128"/></value>',
            "ratio",
            "",
        ),
        ('<value xsi:type="RTO_QTY_QTY"><numerator value="1"/><denominator value="2"/></value>', "ratio", ""),
        ('<value xsi:type="CD" code="A"/>', "coded", ""),
        ('<value xsi:type="CD"><originalText>mots</originalText></value>', "coded", ""),
        ('<value xsi:type="ST">mots</value>', "text", "mots"),
        ('<value xsi:type="BL" value="false"/>', "boolean", ""),
        ('<value xsi:type="TS" value="2024"/>', "when", ""),
        ('<value xsi:type="IVL_TS"><low value="2024"/></value>', "period", ""),
        ('<value xsi:type="II" root="1.2" extension="3"/>', "identifier", ""),
        ('<value xsi:type="ED" mediaType="text/plain">mots</value>', "attachment", ""),
        ('<value xsi:type="PN"><family>X</family></value>', "text", "X"),
    ],
)  # fmt: skip
def test_a_value_of_cda_is_kept_by_its_type(
    tmp_path: Path, value: str, kind: str, text: str
) -> None:
    rules = "document:\n  observations:\n    each: //observation\n    fields:\n      value: value\n"
    inner = f"<component><structuredBody><component><section><entry><observation>{value}"
    outer = "</observation></entry></section></component></structuredBody></component>"

    (made,) = of_cda(tmp_path, rules, inner + outer).documents[0].observations

    assert made.value is not None
    assert getattr(made.value, kind) is not None
    assert not text or made.value.text == text


PATIENT = {
    "resourceType": "Patient",
    "name": [{"use": "usual", "family": "U"}, {"use": "official", "family": "O"}],
    "birthDate": "1979",
    "_birthDate": {"extension": [{"url": "http://x/time", "valueString": "07:35"}]},
    "_gender": {
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                "valueCode": "masked",
            }
        ]
    },
    "deceasedBoolean": False,
    "extension": [{"url": "http://x/place", "valueAddress": {"city": "PARIS"}}],
    "managingOrganization": {"reference": "#o"},
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Hôpital"}],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Patient.name[1].family", "O"),
        ("name.where(use='official').family", "O"),
        ("name.where(use!='official').family", "U"),
        ("name.first().family", "U"),
        ("name.last().family", "O"),
        ("name[7].family", ""),
        ("deceased.ofType(boolean)", "false"),
        ("deceased.ofType(dateTime)", ""),
        ("extension('http://x/place').value.city", "PARIS"),
        ("birthDate.extension('http://x/time').value", "07:35"),
        ("managingOrganization.resolve().name", "Hôpital"),
        ("managingOrganization.resolve().ofType(Organization).name", "Hôpital"),
        ("name.exclude(name.where(use='usual')).family", "O"),
    ],
)
def test_a_fhir_path_finds_what_it_says(tmp_path: Path, path: str, found: str) -> None:
    rules = f'document:\n  language: = fr\n  title: "{path}"\n'

    assert title_of(of_fhir(tmp_path, rules, PATIENT)) == found


@pytest.mark.parametrize(
    ("path", "state"), [("gender", "null"), ("maritalStatus", "missing"), ("birthDate", "present")]
)
def test_a_condition_tells_null_from_missing_and_present_in_fhir(
    tmp_path: Path, path: str, state: str
) -> None:
    rules = f"""document:
  language: = fr
  title:
    choose:
      - when: {path} is null
        constant: 'null'
      - when: {path} is missing
        constant: missing
      - when: {path} is present
        constant: present
"""
    assert title_of(of_fhir(tmp_path, rules, PATIENT)) == state


def test_blanks_are_nothing_and_codes_are_trimmed(tmp_path: Path) -> None:
    rules = "document:\n  language: = fr\n  title: title\n  type_code: type\n"
    body = {"resourceType": "Composition", "title": "  ", "type": {"coding": [{"code": " A "}]}}

    made = of_fhir(tmp_path, rules, body).documents[0]

    assert made.title == ""
    assert made.type_code is not None
    assert made.type_code.codings[0].code == "A"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"valueQuantity": {"value": 1.5}}, "quantity"),
        ({"valueInteger": 3}, "quantity"),
        ({"valueString": "mots"}, "text"),
        ({"valueTime": "07:35:00"}, "text"),
        ({"valueSampledData": {"data": "1 2 3", "period": 1}}, "text"),
        ({"valuePeriod": {"start": "2024"}}, "period"),
        ({"valueDateTime": "2024-01"}, "when"),
        ({"valueBoolean": False}, "boolean"),
        ({"valueCodeableConcept": {"text": "mots"}}, "coded"),
        ({"valueRange": {"low": {"value": 1}}}, "range"),
        ({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 2}}}, "ratio"),
    ],
)
def test_a_value_of_fhir_is_kept_by_its_type(
    tmp_path: Path, value: dict[str, Any], kind: str
) -> None:
    rules = "document:\n  observations:\n    each: Observation\n    fields:\n      value: value\n"

    (made,) = (
        of_fhir(tmp_path, rules, {"resourceType": "Observation", **value}).documents[0].observations
    )

    assert isinstance(made, Observation)
    assert made.value is not None
    assert getattr(made.value, kind) is not None
