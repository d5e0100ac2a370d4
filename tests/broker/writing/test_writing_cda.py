"""Tests of `broker/writing/cda.py` and its parts: what stands where, and what a reader makes of it."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from lxml import etree

from broker.document import (
    Allergy,
    Attachment,
    AttachmentRef,
    Coded,
    Coding,
    Document,
    Identifier,
    Immunization,
    Medication,
    Observation,
    Organization,
    Participant,
    Period,
    Problem,
    Procedure,
    Quantity,
    Range,
    Ratio,
    ResultValue,
    Section,
    Source,
    Telecom,
    When,
)
from broker.errors import PermanentError
from broker.writing.cda import to_bytes
from tests.broker.writing.documents import (
    LABORATORY,
    LETTER,
    PATIENT,
    PDF,
    REPLACEMENT,
    REPORT,
    STORE,
    TEXT,
    V3,
    attachment,
    coded,
    observation,
    problems,
    read,
    same_as_golden,
    store,
)

CDA = b'<?xml version="1.0"?>\n<!-- a comment -->\n<ClinicalDocument xmlns="urn:hl7-org:v3"  />\n'
NS = {"c": "urn:hl7-org:v3"}


def tree(document: Document, content: Any = STORE) -> etree._Element:
    data = to_bytes(document, content)
    assert problems(data) == []
    return etree.fromstring(data)


def at(element: etree._Element, path: str) -> list[Any]:
    """XPath over unprefixed CDA names: `recordTarget//id/@root`."""
    steps = [
        step if not step or step[0] in "@.*" or "(" in step else f"c:{step}"
        for step in path.split("/")
    ]
    found = element.xpath("/".join(steps), namespaces=NS)
    assert isinstance(found, list)
    return found


def results(*observations: Observation) -> Document:
    report = msgspec.structs.replace(REPORT, observations=observations, specimens=())
    return msgspec.structs.replace(LABORATORY, reports=(report,))


@pytest.mark.parametrize(
    ("document", "name"),
    [
        (LETTER, "letter-with-pdf.xml"),
        (REPLACEMENT, "replacement-with-text.xml"),
        (LABORATORY, "laboratory-report.xml"),
        (Document(id="018f0000-0000-7000-8000-000000000004"), "nothing-but-an-id.xml"),
    ],
    ids=["pdf", "text", "laboratory", "empty"],
)
def test_a_written_document_is_what_was_reviewed_and_valid(document: Document, name: str) -> None:
    data = to_bytes(document, STORE)

    assert problems(data) == []
    same_as_golden(data, name)


def test_the_same_document_is_always_the_same_bytes() -> None:
    assert to_bytes(LETTER, STORE) == to_bytes(msgspec.structs.replace(LETTER), STORE)


# -- what came as a CDA -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media", ["application/cda+xml", "text/xml", "application/xml", ""])
def test_what_came_as_a_cda_goes_out_byte_for_byte(media: str) -> None:
    document = msgspec.structs.replace(LETTER, attachments=(attachment(CDA, media, role="main"),))

    assert to_bytes(document, store(CDA)) == CDA


def test_a_cda_inside_its_style_sheet_goes_out_whole() -> None:
    whole = (
        b'<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
        b'<c:ClinicalDocument xmlns:c="urn:hl7-org:v3"/></xsl:stylesheet>'
    )
    document = msgspec.structs.replace(
        LETTER, attachments=(attachment(whole, "application/cda+xml", role="main"),)
    )

    assert to_bytes(document, store(whole)) == whole


def test_a_cda_that_is_only_the_original_goes_out_too() -> None:
    digest = attachment(CDA, "").sha256
    document = Document(
        id=LETTER.id, original=AttachmentRef(sha256=digest), source=Source(format="cda")
    )

    assert to_bytes(document, store(CDA)) == CDA


def test_content_that_only_claims_to_be_a_cda_is_enclosed() -> None:
    claimed = b"<report>ClinicalDocument</report>"
    document = msgspec.structs.replace(
        LETTER, attachments=(attachment(claimed, "application/xml", role="main"),)
    )

    (text,) = at(tree(document, store(claimed)), "component/nonXMLBody/text")

    assert base64.b64decode(text.text) == claimed
    assert text.get("mediaType") == "application/xml"


# -- identity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["provisional", "doubtful", "unknown", ""])
def test_the_national_identity_leaves_only_when_it_is_validated(status: str) -> None:
    patient = msgspec.structs.replace(PATIENT, identity_status=status)
    document = msgspec.structs.replace(LETTER, patient=patient)

    roots = at(tree(document), "recordTarget/patientRole/id/@root")

    assert roots == ["1.2.250.1.999.2"]
    assert b"279035121518989" not in to_bytes(document, STORE)


def test_an_authority_without_oid_is_named_and_its_root_unknown() -> None:
    local = Identifier(value="42", system="CHU-X", authority_name="CHU-X", type_code="PI")
    patient = msgspec.structs.replace(PATIENT, identifiers=(local,))

    (written,) = at(tree(msgspec.structs.replace(LETTER, patient=patient)), "recordTarget//id")

    assert dict(written.attrib) == {
        "extension": "42", "assigningAuthorityName": "CHU-X", "nullFlavor": "UNK",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("system", "value", "root", "extension"),
    [
        ("rpps", "99900000011", "1.2.250.1.71.4.2.1", "899900000011"),
        ("adeli", "750000001", "1.2.250.1.71.4.2.1", "0750000001"),
        ("idnat_ps", "3750000001/123", "1.2.250.1.71.4.2.1", "3750000001/123"),
        ("finess", "750000042", "1.2.250.1.71.4.2.2", "1750000042"),
        ("siret", "12345678901234", "1.2.250.1.71.4.2.2", "312345678901234"),
        ("urn:oid:1.2.3", "x", "1.2.3", "x"),
        ("urn:ietf:rfc:3986", "urn:oid:1.2.3", "1.2.3", None),
    ],
)
def test_french_national_ids_have_their_long_form(
    system: str, value: str, root: str, extension: str | None
) -> None:
    custodian = Organization(identifiers=(Identifier(value=value, system=system),))

    (written,) = at(tree(msgspec.structs.replace(LETTER, custodian=custodian)), "custodian//id")

    assert (written.get("root"), written.get("extension")) == (root, extension)


def test_a_document_without_global_id_has_the_oid_of_its_uuid() -> None:
    (root,) = at(tree(LABORATORY), "id/@root")

    assert root == f"2.25.{int(LABORATORY.id.replace('-', ''), 16)}"
    assert len(root) <= 64


# -- header -------------------------------------------------------------------------------------------------------


def test_masking_codes_are_no_level_of_confidentiality() -> None:
    codes = (coded("MASQUE_PS", ""), coded("R", ""))

    (written,) = at(
        tree(msgspec.structs.replace(LETTER, confidentiality=codes)), "confidentialityCode"
    )

    assert (written.get("code"), written.get("codeSystem")) == ("R", "2.16.840.1.113883.5.25")


def test_nobody_is_made_legally_responsible() -> None:
    document = msgspec.structs.replace(LETTER, legal_authenticator=None)

    assert at(tree(document), "legalAuthenticator") == []


def test_a_role_cda_does_not_know_is_the_function_of_one_who_takes_part() -> None:
    found = at(tree(LETTER), "participant")

    assert [item.get("typeCode") for item in found] == ["REF", "PART", "IND"]
    assert at(found[1], "functionCode/@code") == ["PCP"]


def test_the_asker_of_a_report_is_the_one_who_referred_the_patient() -> None:
    document = tree(LABORATORY)

    assert at(document, "participant/@typeCode") == ["REF", "IND"]
    assert at(document, "inFulfillmentOf/order/id/@extension") == ["P1"]


def test_signs_is_no_relation_of_cda() -> None:
    assert at(tree(REPLACEMENT), "relatedDocument/@typeCode") == ["RPLC", "APND"]


def test_the_practice_setting_is_said_once_of_the_performers_structure() -> None:
    document = msgspec.structs.replace(
        LETTER,
        event_codes=(coded("A"), coded("B")),
        participants=(
            Participant(role=coded("PRF", "")),
            Participant(role=coded("SPRF", "")),
        ),
    )

    element = tree(document)

    assert at(element, "documentationOf/serviceEvent/performer/@typeCode") == ["PRF", "SPRF"]
    assert at(element, "documentationOf//standardIndustryClassCode/@code") == ["ETABLISSEMENT"]


@pytest.mark.parametrize(
    ("when", "written"),
    [
        (When(value="2024"), "2024"),
        (When(value="2024-03"), "202403"),
        (When(value="2024-03-09", offset="+01:00"), "20240309"),
        (When(value="2024-03-09T07", offset="+01:00"), "2024030907+0100"),
        (When(value="2024-03-09T07:35", assumed_offset="+01:00"), "202403090735+0100"),
        (When(value="2024-03-09T07:35:00.123", offset="-05:00"), "20240309073500.123-0500"),
        (When(value="2024-03-09T07:35"), "202403090735"),
        (When(original="hier"), None),
    ],
)
def test_a_time_keeps_its_precision(when: When, written: str | None) -> None:
    (element,) = at(tree(msgspec.structs.replace(LETTER, created_at=when)), "effectiveTime")

    assert element.get("value") == written
    assert (element.get("nullFlavor") is None) == (written is not None)


def test_a_telephone_number_is_a_url_without_blanks() -> None:
    patient = msgspec.structs.replace(
        PATIENT,
        phones=(
            Telecom(value="01 02 03", kind="phone", use="home"),
            Telecom(value="a@patient.mssante.fr", kind="mssante"),
            Telecom(value="https://x.example/", kind="url"),
        ),
    )

    values = at(
        tree(msgspec.structs.replace(LETTER, patient=patient)),
        "recordTarget/patientRole/telecom/@value",
    )

    assert values == ["tel:010203", "mailto:a@patient.mssante.fr", "https://x.example/"]


# -- body ---------------------------------------------------------------------------------------------------------


def test_enclosed_content_keeps_every_byte() -> None:
    data = b"\ttexte \r\n avec bords \n"
    document = msgspec.structs.replace(
        LETTER, attachments=(attachment(data, "text/plain", role="main"),)
    )

    found = read(to_bytes(document, store(data)))

    assert attachment(data, "").sha256 in {item.sha256 for item in found.attachments}


def test_text_that_xml_can_hold_is_written_as_text() -> None:
    (text,) = at(tree(REPLACEMENT), "component/nonXMLBody/text")

    assert (text.get("representation"), text.text) == ("TXT", TEXT)


def test_content_that_is_elsewhere_is_referred_to() -> None:
    link = Attachment(url="https://x.example/doc.pdf", media_type="application/pdf", role="main")

    element = tree(msgspec.structs.replace(LETTER, attachments=(link,)))

    assert at(element, "component/nonXMLBody/text/reference/@value") == [
        "https://x.example/doc.pdf"
    ]


def test_several_contents_are_sections_of_one_document() -> None:
    more = (attachment(PDF, "application/pdf", title="Image"), *REPLACEMENT.attachments)
    document = msgspec.structs.replace(LETTER, attachments=more)

    found = read(to_bytes(document, STORE))

    wanted = {item.sha256 for item in more}
    assert problems(to_bytes(document, STORE)) == []
    assert wanted <= {item.sha256 for item in found.attachments}


def test_a_report_with_an_enclosed_image_has_both() -> None:
    document = msgspec.structs.replace(
        LABORATORY, attachments=(attachment(PDF, "application/pdf"),)
    )

    element = tree(document)

    assert len(at(element, "component/structuredBody/component/section")) == 2
    assert at(element, "component//observationMedia/@ID") == ["m1"]


def test_a_section_of_another_format_is_written_by_its_words() -> None:
    narrative = (
        '<div xmlns="http://www.w3.org/1999/xhtml"><p onclick="x()">Un &amp; deux</p>'
        "<script>alert(1)</script><table><tr><td>a</td><td>b &lt; c</td></tr></table></div>"
    )
    section = Section(title="Synthèse", code=coded("60591-5"), narrative=narrative)
    document = msgspec.structs.replace(LETTER, attachments=(), sections=(section,))

    element = tree(document)

    assert [p.text for p in at(element, "component//text/paragraph")] == ["Un & deux", "a | b < c"]


def test_a_report_of_another_discipline_claims_no_laboratory_template() -> None:
    radiology = msgspec.structs.replace(REPORT, category=coded("RAD", ""))

    element = tree(msgspec.structs.replace(LABORATORY, reports=(radiology,)))

    assert at(element, "templateId/@root") == ["2.16.840.1.113883.2.8.2.1", "1.2.250.1.213.1.1.1.1"]
    assert at(element, "component//templateId") == []
    assert len(at(element, "component//observation")) == len(REPORT.observations)


@pytest.mark.parametrize(
    ("status", "code"), [("final", "completed"), ("preliminary", "active"), ("unknown", None)]
)
def test_a_laboratory_says_whether_all_results_are_there(status: Any, code: str | None) -> None:
    element = tree(msgspec.structs.replace(LABORATORY, status=status))

    found = element.find(".//{urn:oid:1.3.6.1.4.1.19376.1.3.2}statusCode")

    assert (None if found is None else found.get("code")) == code


def test_observations_outside_a_report_are_written_as_one() -> None:
    document = msgspec.structs.replace(LETTER, attachments=(), observations=REPORT.observations[:2])

    assert len(at(tree(document), "component//organizer/component/observation")) == 2


# -- results ------------------------------------------------------------------------------------------------------


def test_every_entry_refers_to_words_that_are_there() -> None:
    element = tree(LABORATORY)

    names = {item.get("ID") for item in element.iter() if item.get("ID")}
    wanted = {item.get("value").removeprefix("#") for item in element.iter(f"{V3}reference")}
    assert wanted <= names
    assert len(names) == len([item for item in element.iter() if item.get("ID")])


@pytest.mark.parametrize(
    ("value", "kind", "attributes"),
    [
        (ResultValue(quantity=Quantity(value="1.950", unit="g/L", ucum="g/L")), "PQ",
         {"value": "1.950", "unit": "g/L"}),
        (ResultValue(quantity=Quantity(value="3.90", unit="10*6/uL")), "PQ",
         {"value": "3.90", "unit": "10*6/uL"}),
        (ResultValue(quantity=Quantity(value="environ 3", unit="g")), "ST", {}),
        (ResultValue(quantity=Quantity(value="3", unit="par champ")), "ST", {}),
        (ResultValue(quantity=Quantity(value="3", comparator="ad")), "ST", {}),
        (ResultValue(quantity=Quantity(value="5", comparator="<")), "IVL_PQ", {}),
        (ResultValue(range=Range(low=Quantity(value="1"), high=Quantity(value="2"))), "IVL_PQ", {}),
        (ResultValue(ratio=Ratio(numerator=Quantity(value="1"), denominator=Quantity(value="128"))),
         "RTO_PQ_PQ", {}),
        (ResultValue(coded=coded("X")), "CD", {"code": "X"}),
        (ResultValue(text="neg"), "ST", {}),
        (ResultValue(when=When(value="2024-03")), "TS", {"value": "202403"}),
        (ResultValue(period=Period(start=When(value="2024"))), "IVL_TS", {}),
        (ResultValue(boolean=False), "BL", {"value": "false"}),
        (ResultValue(identifier=Identifier(value="X1", system="1.2.3")), "II",
         {"root": "1.2.3", "extension": "X1"}),
        (ResultValue(original="3..4"), "ST", {}),
    ],
)  # fmt: skip
def test_every_kind_of_value_has_its_type(
    value: ResultValue, kind: str, attributes: dict[str, str]
) -> None:
    (written,) = at(tree(results(observation("1", value))), "component//observation/value")

    assert written.get("{http://www.w3.org/2001/XMLSchema-instance}type") == kind
    assert attributes.items() <= dict(written.attrib).items()


def test_the_bounds_of_a_range_have_the_unit_of_the_result() -> None:
    value = ResultValue(quantity=Quantity(value="1", unit="g/dL", ucum="g/dL"))
    ranges = (Range(low=Quantity(value="12.0"), high=Quantity(value="16.0")),)

    element = tree(results(observation("1", value, reference_range=ranges)))

    assert at(element, "component//observationRange/value/low/@unit") == ["g/dL"]


def test_the_unit_as_received_stands_beside_the_one_of_ucum() -> None:
    value = ResultValue(quantity=Quantity(value="7.63", unit="G/L", ucum="10*9/L"))

    element = tree(results(observation("1", value)))

    assert at(element, "component//observation/value/@unit") == ["10*9/L"]
    assert at(element, "component//value/translation/originalText/text()") == ["G/L"]


def test_a_result_that_is_absent_says_why() -> None:
    (value,) = at(
        tree(results(observation("1", None, absent_reason="asked-unknown"))),
        "component//observation/value",
    )

    assert value.get("nullFlavor") == "ASKU"


def test_components_are_observations_inside_their_observation() -> None:
    parts = tuple(observation(n, ResultValue(text=n)) for n in ("8480", "8462"))
    whole = observation("85354", None, components=parts)

    data = to_bytes(results(whole), STORE)

    assert problems(data) == []
    (item,) = read(data).reports[0].observations
    codes = [one.code for one in (item, *item.components)]
    assert [code.codings[0].code for code in codes if code] == ["85354-1", "8480-1", "8462-1"]


def test_a_code_with_blanks_is_kept_as_words() -> None:
    local = Coded(codings=(Coding(code="GLU A JEUN", display="Glucose"),))

    (value,) = at(
        tree(results(observation("1", ResultValue(coded=local)))), "component//observation/value"
    )

    assert (value.get("nullFlavor"), value.get("displayName")) == ("OTH", "Glucose")
    assert at(value, "originalText/text()") == ["GLU A JEUN"]


def test_a_code_with_blanks_is_kept_beside_the_words_of_the_table() -> None:
    local = Coded(codings=(Coding(code="GLU A JEUN", display="Glucose"),), text="Glycémie")

    (code,) = at(
        tree(results(Observation(code=local, value=ResultValue(text="x")))),
        "component//observation/code",
    )

    assert at(code, "translation/originalText/text()") == ["GLU A JEUN"]
    assert code.get("displayName") == "Glucose"


def test_the_code_of_a_known_system_comes_first() -> None:
    both = Coded(
        codings=(Coding(code="L1", system="LOCAL"), Coding(code="718-7", system="http://loinc.org"))
    )

    (code,) = at(
        tree(results(Observation(code=both, value=ResultValue(text="x")))),
        "component//observation/code",
    )

    assert (code.get("code"), code.get("codeSystem")) == ("718-7", "2.16.840.1.113883.6.1")
    assert at(code, "translation/@code") == ["L1"]
    assert at(code, "translation/@codeSystemName") == ["LOCAL"]


# -- what XML cannot say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1b", "\ufffe", "\ud800"])
def test_a_character_xml_has_no_place_for_is_refused_with_its_place(character: str) -> None:
    document = msgspec.structs.replace(LETTER, title=f"secret{character}")

    with pytest.raises(PermanentError) as caught:
        to_bytes(document, STORE)

    assert (caught.value.code, caught.value.where) == (
        "writing.character",
        "ClinicalDocument/title",
    )
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_place_of_an_attribute_is_named_too() -> None:
    custodian = Organization(identifiers=(Identifier(value="a\x01", system="1.2.3"),))

    with pytest.raises(PermanentError) as caught:
        to_bytes(msgspec.structs.replace(LETTER, custodian=custodian), STORE)

    assert caught.value.where.endswith("/representedCustodianOrganization/id/@extension")


# -- records without entries --------------------------------------------------------------------------------------


def with_records(**records: Any) -> Document:
    return msgspec.structs.replace(LETTER, attachments=(), **records)


RECORDS = {
    "problems": (
        Problem(code=coded("E11", display="Diabète"), onset=When(value="2020"), status="active"),
        Problem(code=coded("X", display="Erreur"), status="entered_in_error"),
    ),
    "allergies": (
        Allergy(no_known=True),
        Allergy(code=coded("PEN", display="Pénicilline"), reactions=(Coded(text="urticaire"),)),
    ),
    "medications": (
        Medication(
            kind="prescribed",
            product=coded("PARA", display="Paracétamol"),
            dose=Quantity(value="1.0", unit="g"),
            timing="3 fois par jour",
            as_needed=True,
            notes=("À jeun",),
        ),
    ),
    "immunizations": (
        Immunization(
            vaccine=coded("ROR", display="ROR"),
            status="not_done",
            reason_not_done=Coded(text="refus"),
        ),
    ),
    "procedures": (
        Procedure(
            code=coded("APP", display="Appendicectomie"), performed=Period(start=When(value="2001"))
        ),
    ),
}


def test_records_are_sections_for_people() -> None:
    element = tree(with_records(**RECORDS))

    assert at(element, "component//section/title/text()") == [
        "Problèmes", "Allergies et intolérances", "Traitements", "Vaccinations", "Actes",
    ]  # fmt: skip
    cells = [[cell.text or "" for cell in row] for row in at(element, "component//tbody/tr")]
    assert cells == [
        ["Diabète", "2020", "", "actif", ""],
        ["Pénicilline", "urticaire", "", "", "", ""],
        ["Paracétamol", "1.0 g, 3 fois par jour, si besoin", "", "", "prescrit", "À jeun"],
        ["ROR", "", "", "", "non fait, refus", ""],
        ["Appendicectomie", "2001", "", "", ""],
    ]
    assert at(element, "component//paragraph/text()") == ["Aucune allergie connue."]


def test_what_was_entered_in_error_is_not_shown() -> None:
    assert b"Erreur" not in to_bytes(with_records(**RECORDS), STORE)


def test_sections_in_words_are_written_beside_results_and_instead_of_records() -> None:
    told = Section(title="Antécédents", narrative="<p>Diabète</p>")
    empty = Section(title="Traitements", empty_reason="NASK")
    document = msgspec.structs.replace(
        with_records(**RECORDS), sections=(told, empty), reports=(REPORT,)
    )

    element = tree(document)

    assert at(element, "component//section/title/text()") == [
        "Chimie",
        "Antécédents",
        "Traitements",
    ]
    assert at(element, "component//section/@nullFlavor") == ["NASK"]


def test_an_image_beside_records_does_not_hide_them() -> None:
    document = msgspec.structs.replace(
        with_records(**RECORDS), attachments=(attachment(PDF, "image/jpeg"),)
    )

    assert len(at(tree(document), "component/structuredBody/component/section")) == 6
