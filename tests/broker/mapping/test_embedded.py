"""A CDA inside a message is a document of its own, and must be about the same patient."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from broker.errors import MappingError
from broker.mapping.catalogue import MappingSet, load
from broker.mapping.run import Context, Mapped, ids_from
from broker.parsing import cda, hl7v2

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
CDA = """<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3">
  <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
  <id root="1.2.3.4.5"/>
  <code code="11502-2" codeSystem="2.16.840.1.113883.6.1"/>
  <title>Exemple</title>
  <effectiveTime value="20240309"/>
  <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>
  <recordTarget><patientRole>
    <id root="1.2.250.1.213.1.4.10" extension="299019999999999"/>
    <patient><name><family>EXEMPLE</family><given>ALICE</given></name>
      <administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/>
      <birthTime value="19990115"/></patient>
  </patientRole></recordTarget>
</ClinicalDocument>
"""


@pytest.fixture(scope="module")
def mapping_set() -> MappingSet:
    return load(MAPPINGS)


def _mapped(
    mappings: MappingSet, content: str, *, pid: str = "", orc1: str = "NW", obx11: str = "F"
) -> Mapped:
    pid = pid or "299019999999999^^^X&1.2.250.1.213.1.4.10&ISO^INS||EXEMPLE^ALICE||19990115|F"
    segments = [
        r"MSH|^~\&|SIL|LABO|PFI|ORG|20240309||ORU^R01^ORU_R01|1|P|2.5",
        f"PID|1||{pid}",
        f"ORC|{orc1}|O1",
        "OBR|1|O1||11502-2^CR^LN",
        f"OBX|1|ED|11502-2^CR^LN||^TEXT^XML^Base64^{content}||||||{obx11}",
        "OBX|2|CE|MASQUE_PS^Masqué^MetaDMPMSS||Y||||||F",
    ]
    message = hl7v2.parse("\r".join(segments).encode())
    context = Context(document_id=ids_from("1"), parsers={"cda": cda.parse})
    return mappings.apply(message, context)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_document_is_the_cda_with_the_orders_around_it(mapping_set: MappingSet) -> None:
    result = _mapped(mapping_set, _base64(CDA), orc1="RO", obx11="C")

    (document,) = result.documents
    assert document.unique_id is not None
    assert document.unique_id.value == "1.2.3.4.5"
    assert document.event is not None
    assert document.event.operation == "replace"
    codes = [c.codings[-1].code for c in document.confidentiality]
    assert codes == ["N", "MASQUE_PS"]
    assert document.source.format == "hl7v2"


def test_the_bytes_of_the_cda_are_kept_exactly(mapping_set: MappingSet) -> None:
    result = _mapped(mapping_set, _base64(CDA))

    (main,) = [a for a in result.documents[0].attachments if a.role == "main"]
    assert result.attachments[main.sha256] == CDA.encode()


def test_base64_without_its_padding_is_read_as_meant(mapping_set: MappingSet) -> None:
    padded = next(text for n in range(3) if (text := _base64(CDA + " " * n)).endswith("="))

    result = _mapped(mapping_set, padded.rstrip("="))

    assert result.documents[0].title == "Exemple"
    assert "base64-repaired" in {issue.code for issue in result.issues}


@pytest.mark.parametrize(
    ("pid", "where"),
    [
        ("111111111111111^^^X&1.2.250.1.213.1.4.10&ISO^INS||E^A||19990115|F", "PID-3"),
        ("299019999999999^^^X&1.2.250.1.213.1.4.10&ISO^INS||E^A||19980115|F", "PID-7"),
        ("299019999999999^^^X&1.2.250.1.213.1.4.10&ISO^INS||E^A||19990115|M", "PID-8"),
    ],
)
def test_another_patient_in_the_document_refuses_the_message(
    mapping_set: MappingSet, pid: str, where: str
) -> None:
    with pytest.raises(MappingError) as caught:
        _mapped(mapping_set, _base64(CDA), pid=pid)

    assert (caught.value.code, caught.value.where) == ("embedded.patient_mismatch", where)
    assert "1999" not in str(caught.value)


def test_words_where_a_cda_was_announced_are_kept_with_a_warning(mapping_set: MappingSet) -> None:
    result = _mapped(mapping_set, _base64("Document médical au format CDA"))

    (document,) = result.documents
    assert document.patient is not None
    assert document.attachments[0].role == "main"
    assert "embedded-not-cda" in {issue.code for issue in document.issues}


@pytest.mark.parametrize(
    ("orc1", "obx11", "operation"),
    [
        ("NW", "F", "create"), ("RO", "C", "replace"), ("CA", "D", "delete"),
        ("SC", "F", "create"), ("SC", "C", "replace"), ("SC", "D", "delete"),
    ],
)  # fmt: skip
def test_what_is_asked_is_what_both_fields_say(
    mapping_set: MappingSet, orc1: str, obx11: str, operation: str
) -> None:
    result = _mapped(mapping_set, _base64(CDA), orc1=orc1, obx11=obx11)

    (event,) = [found.event for found in result.documents]
    assert event is not None
    assert event.operation == operation


@pytest.mark.parametrize(("orc1", "obx11"), [("NW", "C"), ("NW", "D"), ("RO", "F"), ("CA", "C")])
def test_an_order_and_a_result_status_that_contradict_are_refused(
    mapping_set: MappingSet, orc1: str, obx11: str
) -> None:
    with pytest.raises(MappingError) as caught:
        _mapped(mapping_set, _base64(CDA), orc1=orc1, obx11=obx11)

    assert (caught.value.code, caught.value.where) == ("mapping.required", "OBX-11, ORC-1")
    assert "have to say the same" in str(caught.value)


LOCAL_ID = '<id root="1.2.250.1.999.2" extension="IPP-1"/><id root="1.2.250.1.213.1.4.10"'
BIRTH_NAME = '<family qualifier="BR">EXEMPLÉ-DU TEST</family>'


@pytest.mark.parametrize(("sent", "where"), [("IPP-1", ""), ("ipp-1 ", ""), ("IPP-2", "PID-3")])
def test_a_number_of_an_authority_both_name_is_the_same(
    mapping_set: MappingSet, sent: str, where: str
) -> None:
    content = CDA.replace('<id root="1.2.250.1.213.1.4.10"', LOCAL_ID)
    pid = f"{sent}^^^CHU&1.2.250.1.999.2&ISO^PI||EXEMPLE^ALICE||19990115|F"

    assert _refused_at(mapping_set, content, pid) == where


@pytest.mark.parametrize(
    ("sent", "where"),
    [("Exemple du Test", ""), ("EXEMPLE-DU-TEST", ""), ("AUTRE", "PID-5")],
)
def test_a_birth_name_is_the_same_but_for_accents_case_and_marks(
    mapping_set: MappingSet, sent: str, where: str
) -> None:
    content = CDA.replace("<family>EXEMPLE</family>", BIRTH_NAME)
    pid = f"299019999999999^^^X&1.2.250.1.213.1.4.10&ISO^INS||{sent}^ALICE^^^^^L||19990115|F"

    assert _refused_at(mapping_set, content, pid) == where


def test_a_name_that_is_no_birth_name_is_not_compared(mapping_set: MappingSet) -> None:
    pid = "299019999999999^^^X&1.2.250.1.213.1.4.10&ISO^INS||MARIEE^ALICE^^^^^D||19990115|F"

    assert _refused_at(mapping_set, CDA, pid) == ""


def _refused_at(mappings: MappingSet, content: str, pid: str) -> str:
    try:
        _mapped(mappings, _base64(content), pid=pid)
    except MappingError as error:
        assert error.code == "embedded.patient_mismatch"
        return error.where
    return ""
