"""What CDA says of names and intervals, read through the shipped mappings."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.document import Document, PersonName, Quantity
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
GIVEN = Given(message_id="018f0000-0000-7000-8000-000000000000", source="test")


@pytest.fixture(scope="module")
def mapper() -> Mapper:
    return Mapper(load(MAPPINGS))


def read(mapper: Mapper, *, name: str = "", value: str = "") -> Document:
    observation = f"""
      <component><structuredBody><component><section>
        <templateId root="1.3.6.1.4.1.19376.1.3.3.2.1"/>
        <entry><observation classCode="OBS" moodCode="EVN">
          <templateId root="1.3.6.1.4.1.19376.1.3.1.6"/>
          <code code="718-7" codeSystem="2.16.840.1.113883.6.1"/>{value}
        </observation></entry>
      </section></component></structuredBody></component>"""
    body = f"""<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
      <templateId root="1.3.6.1.4.1.19376.1.3.3"/>
      <recordTarget><patientRole><id root="1.2.3" extension="1"/>
        <patient><name>{name}</name></patient></patientRole></recordTarget>{observation}
    </ClinicalDocument>"""
    reading = mapper.read(body.encode(), GIVEN)
    assert reading.failure is None
    return reading.documents[0]


def names(document: Document) -> tuple[PersonName, ...]:
    assert document.patient is not None
    return document.patient.names


def test_birth_and_used_name_of_one_element_are_two_names(mapper: Mapper) -> None:
    found = read(
        mapper,
        name="<family qualifier='BR'>PAT-TROIS</family><given>DOMINIQUE MARIE-LOUISE</given>"
        "<given qualifier='BR'>DOMINIQUE</given>"
        "<family qualifier='CL'>USUELLE</family><given qualifier='CL'>Domi</given>",
    )

    assert names(found) == (
        PersonName(
            family="PAT-TROIS",
            given=("DOMINIQUE MARIE-LOUISE",),
            birth_given="DOMINIQUE",
            use="birth",
        ),
        PersonName(family="USUELLE", given=("Domi",), use="usual"),
    )


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("<family qualifier='BR'>A</family><given qualifier='BR'>B</given>", ("B",)),
        ("<family qualifier='CL'>A</family><given qualifier='BR'>B</given>", ("B",)),
        (
            "<family qualifier='CL'>A</family><given>B</given><given qualifier='CL'>C</given>",
            ("C",),
        ),
        ("<family>A</family><given>B</given><given>C</given>", ("B", "C")),
        (
            "<family qualifier='BR'>A</family><given qualifier='BR'>B</given><given>C</given>",
            ("B", "C"),
        ),
        (
            "<family qualifier='BR'>A</family><given>Jean Paul</given><given qualifier='BR'>Jean</given>",
            ("Jean Paul",),
        ),
        (
            "<family qualifier='BR'>A</family><given>Jean-Paul M</given><given qualifier='BR'>Jean-Paul</given>",
            ("Jean-Paul M",),
        ),
    ],
)
def test_a_name_has_the_given_names_that_are_its_own(
    mapper: Mapper, name: str, given: tuple[str, ...]
) -> None:
    assert names(read(mapper, name=name))[0].given == given


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (
            "<high value='0.128' unit='ug/mL' inclusive='false'/>",
            Quantity(value="0.128", comparator="<", unit="ug/mL", ucum="ug/mL"),
        ),
        (
            "<low value='0.512' unit='ug/mL' inclusive='true'/>",
            Quantity(value="0.512", comparator=">=", unit="ug/mL", ucum="ug/mL"),
        ),
        ("<high value='5'/>", Quantity(value="5")),
    ],
)
def test_a_bound_says_whether_it_belongs_to_the_interval(
    mapper: Mapper, bound: str, expected: Quantity
) -> None:
    found = read(mapper, value=f"<value xsi:type='IVL_PQ'>{bound}</value>")

    value = found.reports[0].observations[0].value
    assert value is not None
    assert value.range is not None
    assert (value.range.low or value.range.high) == expected
