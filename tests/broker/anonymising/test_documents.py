"""CDA, FHIR and XDM: other people; codes, numbers, layout and what points to what as it was."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from broker.anonymising import markup, placeholders
from broker.anonymising.anonymise import anonymise
from broker.anonymising.words import Words
from broker.errors import ParseError
from broker.parsing import fhir, xdm

WORDS = Words(b"a key")

CDA = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!-- of M. DUPONT -->
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <templateId root="1.2.250.1.213.1.1.1.1" extension="2015-08-01"/>
  <id root="1.2.250.1.71.4.2.2.120456789"/>
  <title>CR de Jean Dupont</title>
  <effectiveTime value='20260309093500+0100' />
  <relatedDocument><parentDocument><id root="1.2.250.1.71.4.2.2.120456789"/></parentDocument></relatedDocument>
  <recordTarget><patientRole><id root="1.2.250.1.213.1.4.8" extension="279035121518989"/>
    <addr><city>Besan\u00e7on</city><country>FRANCE</country></addr><telecom value="tel:0612345678" use="H"/>
    <patient><name><prefix>M.</prefix><given>Jean</given><family>DUPONT</family></name><birthTime value="19790328"/></patient>
  </patientRole></recordTarget>
  <component><structuredBody><component><section><code code="1-8" displayName="Bilan"/>
    <text><content ID="a1">Hb 15 chez M. Dupont &amp; fils</content></text>
    <entry><observation classCode="OBS" moodCode="EVN"><code code="718-7" codeSystem="2.16.840.1.113883.6.1"/>
      <text><reference value="#a1"/></text><effectiveTime><low value="20260309"/></effectiveTime>
      <value xsi:type="PQ" value="15.3" unit="g/dL"/><value xsi:type="IVL_PQ"><low value="1990" unit="g"/></value>
    </observation></entry></section></component></structuredBody></component>
</ClinicalDocument>"""


def test_a_cda_keeps_its_codes_numbers_and_layout() -> None:
    body = CDA.encode("iso8859-1")

    made = anonymise(body, WORDS).body.decode("cp1252")

    for value in (
        "DUPONT",
        "Dupont",
        "Jean",
        "Besan",
        "0612345678",
        "19790328",
        "20260309",
        "120456789",
    ):
        assert value not in made, value
    for kept in (
        '<templateId root="1.2.250.1.213.1.1.1.1" extension="2015-08-01"/>', "<country>FRANCE</country>",
        "<prefix>M.</prefix>", '<code code="1-8" displayName="Bilan"/>', '<reference value="#a1"/>', 'ID="a1"',
        'value="15.3" unit="g/dL"', '<low value="1990" unit="g"/>', "&amp;", 'root="1.2.250.1.213.1.4.10"',
    ):  # fmt: skip
        assert kept in made, kept
    assert len(made) == len(body) + 1
    old, new = etree.fromstring(body), etree.fromstring(made.encode("iso8859-1"))
    assert [e.tag for e in old.iter()] == [e.tag for e in new.iter()]


def test_a_document_and_the_reference_to_it_still_match() -> None:
    root = etree.fromstring(anonymise(CDA.encode("iso8859-1"), WORDS).body)

    first, second = (e.get("root") for e in root.iter("{*}id") if e.get("extension") is None)
    assert first == second


RESOURCE = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {
            "fullUrl": "http://here.fr/fhir/Patient/dupont-1",
            "resource": {
                "resourceType": "Patient",
                "id": "dupont-1",
                "identifier": [
                    {"system": "urn:oid:1.2.250.1.213.1.4.8", "value": "279035121518989"},
                    {"value": "12345"},
                ],
                "name": [{"family": "DUPONT", "given": ["Jean"], "text": "Jean DUPONT"}],
                "telecom": [{"system": "phone", "value": "0612345678"}],
                "gender": "male",
                "birthDate": "1979-03-28",
            },
        },
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "text": {"status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'><p>M. Dupont</p></div>"},
                "code": {
                    "coding": [{"system": "http://loinc.org", "code": "718-7", "display": "Hemoglobin"}],
                    "text": "Hemoglobin",
                },
                "subject": {"reference": "Patient/dupont-1", "display": "Jean Dupont"},
                "effectiveDateTime": "2026-03-09T08:25:00+01:00",
                "valueQuantity": {"value": 15.30, "unit": "g/dL"},
                "note": [{"text": "vu avec M. Dupont"}],
            },
        },
    ],
}  # fmt: skip


def test_fhir_json_keeps_codes_numbers_and_references() -> None:
    text = json.dumps(RESOURCE, indent=3).replace("15.3", "15.30")

    made = anonymise(text.encode(), WORDS).body.decode()

    lower = made.lower()
    for value in ("dupont", "jean", "12345", "0612345678", "1979-03-28", "2026-03-09"):
        assert value not in lower
    assert '"value": 15.30' in made
    assert made.count("\n") == text.count("\n")
    patient, observation = (entry["resource"] for entry in json.loads(made)["entry"])
    assert observation["subject"]["reference"] == f"Patient/{patient['id']}"
    assert json.loads(made)["entry"][0]["fullUrl"] == f"http://here.fr/fhir/Patient/{patient['id']}"
    assert observation["code"] == RESOURCE["entry"][1]["resource"]["code"]  # type: ignore[index]
    assert patient["identifier"][0]["system"] == "urn:oid:1.2.250.1.213.1.4.10"
    assert patient["gender"] == "male"


def test_fhir_xml_is_replaced_like_fhir_json() -> None:
    text = (
        '<Patient xmlns="http://hl7.org/fhir"><id value="dupont-1"/><identifier><value value="12345"/></identifier>'
        '<name><family value="DUPONT"/></name><birthDate value="1979-03-28"/></Patient>'
    )

    made = fhir.parse(anonymise(text.encode(), WORDS).body).resource

    assert made["id"] == WORDS.text("dupont-1")
    assert made["identifier"] == [{"value": WORDS.text("12345")}]
    assert made["name"] == [{"family": WORDS.text("DUPONT")}]
    assert made["birthDate"] == WORDS.date("1979-03-28")


METADATA = """<SubmitObjectsRequest xmlns="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0">
<ExtrinsicObject id="Document01" mimeType="text/xml" objectType="urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1">
<Slot name="URI"><ValueList><Value>DOC1.XML</Value></ValueList></Slot>
<Slot name="size"><ValueList><Value>{size}</Value></ValueList></Slot>
<Slot name="creationTime"><ValueList><Value>20260309</Value></ValueList></Slot>
<Slot name="sourcePatientInfo"><ValueList><Value>PID-5|DUPONT^Jean</Value><Value>PID-7|19790328</Value></ValueList></Slot>
<ExternalIdentifier identificationScheme="urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427" value="12345^^^&amp;1.2.3&amp;ISO"/>
</ExtrinsicObject></SubmitObjectsRequest>"""


def test_an_archive_is_replaced_with_its_metadata() -> None:
    document = CDA.encode("iso8859-1")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("IHE_XDM/SUBSET01/DOC1.XML", document)
        archive.writestr("IHE_XDM/SUBSET01/METADATA.XML", METADATA.format(size=len(document)))

    made = xdm.parse(anonymise(out.getvalue(), WORDS).body)

    (found,) = made.documents
    assert found.name == "IHE_XDM/SUBSET01/DOC1.XML"
    assert b"DUPONT" not in found.body
    assert found.metadata["size"] == str(len(found.body))
    assert found.metadata["creationTime"] == WORDS.date("20260309")
    info = "".join(found.metadata["sourcePatientInfo"])
    assert "DUPONT" not in info
    assert "19790328" not in info
    assert WORDS.text("12345") + "^^^&1.2.3&ISO" in found.metadata.values()


@given(st.text(st.sampled_from("<>&'\"ab é\n"), max_size=30))
def test_markup_that_is_not_edited_comes_back_byte_for_byte(text: str) -> None:
    written = markup.rewrite(f"<a b='x'>{text}</a>", lambda _, __, value: value)

    assert written == f"<a b='x'>{text}</a>"


def test_the_placeholders_are_whole_files() -> None:
    png = placeholders.png()
    size = struct.unpack(">I", png[33:37])[0]
    assert zlib.decompress(png[41 : 41 + size]) == b"\0\x80"
    assert placeholders.jpeg()[-2:] == b"\xff\xd9"
    pdf = placeholders.pdf()
    start = int(pdf.split()[-2])
    assert pdf[start : start + 4] == b"xref"
    for number, line in enumerate(pdf[start:].splitlines()[3:6], 1):
        assert pdf[int(line[:10]) :].startswith(b"%d 0 obj" % number)


@pytest.mark.parametrize("media", ["application/pdf", "image/png", "image/tiff"])
def test_an_attachment_of_fhir_is_replaced_by_its_type(media: str) -> None:
    resource = {"resourceType": "Binary", "contentType": media, "data": base64.b64encode(b"DUPONT").decode()}  # fmt: skip

    made = json.loads(anonymise(json.dumps(resource).encode(), WORDS).body)

    assert base64.b64decode(made["data"]) == placeholders.of(b"", media)


def test_an_entity_of_html_stays_in_a_narrative() -> None:
    made = markup.rewrite("<p>M.&nbsp;Dupont &amp; fils</p>", lambda _, __, text: WORDS.text(text))

    assert "&nbsp;" in made
    assert "&amp;" in made
    assert "Dupont" not in made


def test_a_resource_nested_too_deeply_is_refused() -> None:
    deep = '{"resourceType":"Basic","extension":' + "[" * 5000 + "]" * 5000 + "}"

    with pytest.raises(ParseError):
        anonymise(deep.encode(), WORDS)
