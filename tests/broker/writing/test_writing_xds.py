"""Tests of `broker/writing/xds.py` and its slots: metadata that a registry and our own reader understand."""

from __future__ import annotations

import hashlib
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from broker.document import (
    Attachment,
    Author,
    Coded,
    Coding,
    Document,
    Encounter,
    Identifier,
    Organization,
    PersonName,
    Relation,
    When,
)
from broker.errors import PermanentError
from broker.parsing.xdm_metadata import read_entries
from broker.writing import cda, xds
from broker.writing.xds import Missing, missing, to_bytes
from broker.writing.xds_slots import escaped, utc
from tests.broker.writing.documents import (
    HOSPITAL,
    LABORATORY,
    LETTER,
    PATIENT,
    REPLACEMENT,
    STORE,
    attachment,
    coded,
    full_of,
    same_as_golden,
    store,
)

RIM = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}"


def entry(document: Document, content: Any = STORE) -> dict[str, Any]:
    """The document entry as our reader of METADATA.XML has it."""
    (found,) = read_entries(to_bytes(document, content), "IHE_XDM/SUBSET01")
    return found.metadata


def slots(document: Document) -> dict[str, list[str]]:
    root = etree.fromstring(to_bytes(document, STORE))
    return {
        slot.get("name", ""): [value.text or "" for value in slot.iter(f"{RIM}Value")]
        for slot in root.iter(f"{RIM}Slot")
    }


@pytest.mark.parametrize(
    ("document", "name"),
    [(LETTER, "metadata-letter.xml"), (REPLACEMENT, "metadata-replacement.xml")],
    ids=["letter", "replacement"],
)
def test_metadata_are_what_was_reviewed(document: Document, name: str) -> None:
    same_as_golden(to_bytes(document, STORE), name)


def test_the_same_document_has_the_same_metadata() -> None:
    assert to_bytes(LETTER, STORE) == to_bytes(msgspec.structs.replace(LETTER), STORE)


def test_hash_and_size_are_those_of_the_cda() -> None:
    body = cda.to_bytes(LETTER, STORE)

    found = entry(LETTER)

    assert found["hash"] == hashlib.sha1(body, usedforsecurity=False).hexdigest()
    assert found["size"] == str(len(body))


def test_hash_and_size_of_an_original_are_those_it_came_with() -> None:
    body = b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>'
    main = attachment(body, "application/cda+xml", role="main")
    document = msgspec.structs.replace(LETTER, attachments=(main,), format_code=None)

    found = entry(document, store(body))

    assert (found["hash"], found["size"]) == (main.sha1, str(main.size))
    assert "formatCode" not in found


def test_a_complete_document_misses_nothing() -> None:
    assert missing(LETTER) == []


@pytest.mark.parametrize(
    ("changes", "attribute", "place"),
    [
        ({"patient": msgspec.structs.replace(PATIENT, identity_status="")},
         "DocumentEntry.patientId", "patient.identifiers"),
        ({"class_code": None}, "DocumentEntry.classCode", "class_code"),
        ({"class_code": Coded(codings=(Coding(code="10", system="LOCAL"),))},
         "DocumentEntry.classCode", "class_code"),
        ({"confidentiality": ()}, "DocumentEntry.confidentialityCode", "confidentiality"),
        ({"facility_type": None}, "DocumentEntry.healthcareFacilityTypeCode", "facility_type"),
        ({"practice_setting": None}, "DocumentEntry.practiceSettingCode", "practice_setting"),
        ({"legal_authenticator": None}, "DocumentEntry.legalAuthenticator", "legal_authenticator"),
        ({"authors": (Author(organization=HOSPITAL),)}, "DocumentEntry.authorPerson", "authors"),
        ({"created_at": When(original="hier")}, "DocumentEntry.creationTime", "created_at"),
        ({"service_start": None}, "DocumentEntry.serviceStartTime", "service_start"),
        ({"language": ""}, "DocumentEntry.languageCode", "language"),
        ({"title": ""}, "DocumentEntry.title", "title"),
        ({"unique_id": Identifier(value="42", system="1.2.3")},
         "DocumentEntry.uniqueId", "unique_id"),
        ({"sender": None}, "SubmissionSet.authorPerson", "sender"),
        ({"encounters": ()}, "SubmissionSet.contentTypeCode", "encounters"),
        ({"relations": REPLACEMENT.relations[:1]},
         "Association.targetObject", "relations[0].target"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_its_place(
    changes: dict[str, Any], attribute: str, place: str
) -> None:
    assert missing(msgspec.structs.replace(LETTER, **changes)) == [Missing(attribute, place)]


def test_an_empty_document_misses_everything_and_is_still_described() -> None:
    document = Document(id=LETTER.id)

    names = [one.attribute for one in missing(document)]

    assert len(names) == len(set(names)) == 18
    assert entry(document)["entryUUID"] == f"urn:uuid:{LETTER.id}"


def test_the_national_identity_is_typed_as_the_dmp_wants() -> None:
    found = entry(LETTER)

    assert found["patientId"] == "279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH"
    assert found["sourcePatientId"] == "IPP-0042^^^&1.2.250.1.999.2&ISO^PI"


def test_no_identity_leaves_that_is_not_validated() -> None:
    patient = msgspec.structs.replace(PATIENT, identity_status="provisional")

    data = to_bytes(msgspec.structs.replace(LETTER, patient=patient), STORE)

    assert b"279035121518989" not in data


def test_masks_and_levels_have_their_schemes() -> None:
    document = msgspec.structs.replace(
        LETTER, confidentiality=(coded("N", ""), coded("MASQUE_PS", ""))
    )

    assert [(one["code"], one["system"]) for one in entry(document)["confidentialityCode"]] == [
        ("N", "2.16.840.1.113883.5.25"),
        ("MASQUE_PS", "1.2.250.1.213.1.1.4.13"),
    ]


def test_a_class_made_by_a_table_is_written_alone() -> None:
    made = Coding(code="10", system="urn:oid:1.2.250.1.213.1.1.4.1", role="translation")
    both = Coded(codings=(Coding(code="11490-0", system="http://loinc.org"), made))

    found = entry(msgspec.structs.replace(LETTER, class_code=both))

    assert (found["classCode"]["code"], found["classCode"]["system"]) == (
        "10",
        "1.2.250.1.213.1.1.4.1",
    )


@pytest.mark.parametrize(
    ("media", "code"),
    [
        ("application/pdf", "urn:ihe:iti:xds-sd:pdf:2008"),
        ("text/plain", "urn:ihe:iti:xds-sd:text:2008"),
    ],
)
def test_the_format_of_a_level_one_document_made_here_is_known(media: str, code: str) -> None:
    document = msgspec.structs.replace(
        LETTER, format_code=None, attachments=(attachment(b"x", media, role="main"),)
    )

    assert entry(document, store(b"x"))["formatCode"]["code"] == code
    assert missing(document) == []


def test_the_author_has_person_structure_role_and_speciality() -> None:
    (author, device) = entry(LETTER)["authors"]

    assert author == {
        "authorPerson": ["899900000011^SORBIER^Anne^^^DR^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS"],
        "authorInstitution": ["Hôpital inventé^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^1750000042"],
        "authorRole": ["Médecin traitant"],
        "authorSpecialty": ["G15_10/SM26^^1.2.250.1.213.1.1.4.5"],
    }
    assert device["authorPerson"] == ["^Éditeur 1.0"]


def test_relations_are_associations_of_their_kind() -> None:
    relations = (
        Relation(
            kind="replaces",
            target=Identifier(value="urn:uuid:018F0000-0000-7000-8000-00000000000A"),
        ),
        *REPLACEMENT.relations[1:],
    )
    root = etree.fromstring(to_bytes(msgspec.structs.replace(LETTER, relations=relations), STORE))

    found = [
        (one.get("associationType", "").rpartition(":")[2], one.get("targetObject"))
        for one in root.iter(f"{RIM}Association")
        if one.get("sourceObject") == f"urn:uuid:{LETTER.id}"
    ]

    assert found == [
        ("RPLC", "urn:uuid:018f0000-0000-7000-8000-00000000000a"),
        ("APND", "urn:oid:1.2.250.1.999.1.7"),
        ("signs", "urn:oid:1.2.250.1.999.1.8"),
    ]


def test_every_object_refers_to_one_that_is_there() -> None:
    root = etree.fromstring(to_bytes(LETTER, STORE))

    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        for name in ("classifiedObject", "registryObject", "sourceObject"):
            assert element.get(name) is None or element.get(name) in ids


@pytest.mark.parametrize(
    ("availability", "status"),
    [
        ("current", "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"),
        ("superseded", "urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated"),
        ("archived", "urn:asip:ci-sis:2010:StatusType:Archived"),
        ("deleted", "urn:asip:ci-sis:2010:StatusType:Deleted"),
    ],
)
def test_the_life_of_a_document_is_its_status(availability: Any, status: str) -> None:
    root = etree.fromstring(
        to_bytes(msgspec.structs.replace(LETTER, availability=availability), STORE)
    )

    assert [one.get("status") for one in root.iter(f"{RIM}ExtrinsicObject")] == [status]


@pytest.mark.parametrize(
    ("encounter", "code"), [("I", "03"), ("IMP", "03"), ("O", "07"), ("EMER", "07"), ("R", "19"), ("N", "97")]
)  # fmt: skip
def test_the_class_of_the_encounter_is_the_type_of_the_submission(
    encounter: str, code: str
) -> None:
    document = msgspec.structs.replace(LETTER, encounters=(Encounter(class_=coded(encounter, "")),))

    root = etree.fromstring(to_bytes(document, STORE))

    scheme = "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500"
    assert [
        one.get("nodeRepresentation")
        for one in root.iter(f"{RIM}Classification")
        if one.get("classificationScheme") == scheme
    ] == [code]


def test_an_accession_number_is_typed_as_one() -> None:
    document = msgspec.structs.replace(
        LETTER,
        reference_ids=(
            Identifier(value="A1", system="1.2.3", type_code="ACSN"),
            Identifier(value="1.2.840.1", system="urn:ietf:rfc:3986"),
        ),
    )

    assert slots(document)["urn:ihe:iti:xds:2013:referenceIdList"] == [
        "A1^^^&1.2.3&ISO^urn:ihe:iti:xds:2013:accession",
        "1.2.840.1^^^^urn:ihe:iti:xds:2016:studyInstanceUID",
    ]


@pytest.mark.parametrize(
    ("when", "written"),
    [
        (When(value="2024"), "2024"),
        (When(value="2024-03"), "202403"),
        (When(value="2024-03-09", offset="+01:00"), "20240309"),
        (When(value="2024-03-09T00:10", offset="+01:00"), "202403082310"),
        (When(value="2024-03-09T07", assumed_offset="+01:00"), "2024030906"),
        (When(value="2024-12-31T23:30:15.5", offset="-05:00"), "20250101043015"),
        (When(value="2024-03-09T07:35"), "20240309"),
        (When(value="2016-12-31T23:59:60", offset="+00:00"), "20161231235959"),
        (When(value="0001-01-01T00:00", offset="+01:00"), "00010101"),
        (When(original="hier"), ""),
        (None, ""),
    ],
)
def test_a_time_is_in_utc_at_its_precision(when: When | None, written: str) -> None:
    assert utc(when) == written


@settings(max_examples=60, deadline=None)
@given(st.text(string.printable + "éà|^&~\\", min_size=1, max_size=20))
def test_no_text_becomes_a_component_of_another(text: str) -> None:
    if any(ord(char) < 32 and char not in "\t\n\r" for char in text) or not text.split():
        return
    patient = msgspec.structs.replace(
        PATIENT, names=(PersonName(family=text, given=("Anne",), use="birth"),)
    )
    document = msgspec.structs.replace(
        LETTER, patient=patient, custodian=Organization(name=text), title=text,
        authors=(Author(device=None, organization=Organization(name=text)),),
    )  # fmt: skip

    info = dict(value.split("|", 1) for value in entry(document)["sourcePatientInfo"])

    assert len(info["PID-5"].split("~")) == 1
    assert info["PID-5"].split("^") == [escaped(text), "Anne", "", "", "", "", "L"]
    assert info["PID-8"] == "F"


@settings(max_examples=60, deadline=None)
@given(
    st.text("<>&\"'[]!-/?; aé^|~\\", min_size=1, max_size=20).filter(
        lambda text: text.split() != []
    )
)
def test_no_text_of_the_model_becomes_an_element(text: str) -> None:
    def tags(written: str) -> list[str]:
        return [str(one.tag) for one in etree.fromstring(to_bytes(full_of(written), STORE)).iter()]

    assert tags(text) == tags("x")


def test_a_character_xml_has_no_place_for_is_refused_with_its_place() -> None:
    document = msgspec.structs.replace(LETTER, comments="secret\x00")

    with pytest.raises(PermanentError) as caught:
        to_bytes(document, STORE)

    assert caught.value.where.endswith("ExtrinsicObject/Description/LocalizedString/@value")


def test_a_laboratory_report_says_what_it_lacks() -> None:
    attributes = [one.attribute.partition(".")[2] for one in missing(LABORATORY)]

    assert attributes == [
        "authorPerson", "legalAuthenticator", "classCode", "confidentialityCode", "formatCode",
        "healthcareFacilityTypeCode", "practiceSettingCode", "serviceStartTime", "authorPerson", "contentTypeCode",
        "sourceId",
    ]  # fmt: skip


def test_a_link_is_no_reason_to_invent_content() -> None:
    link = Attachment(url="https://x.example/a.pdf", media_type="application/pdf", role="main")

    found = entry(msgspec.structs.replace(LETTER, attachments=(link,)))

    assert found["size"] == str(
        len(cda.to_bytes(msgspec.structs.replace(LETTER, attachments=(link,)), STORE))
    )


def test_the_uri_is_said_only_inside_an_archive() -> None:
    body = cda.to_bytes(LETTER, STORE)

    (found,) = read_entries(xds.metadata(LETTER, body, STORE, uri="DOC0001.XML"), "x")

    assert found.uri == "DOC0001.XML"
    assert "URI" not in entry(LETTER)
