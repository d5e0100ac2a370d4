"""Tests of `broker/writing/xdm.py`: an archive our own reader takes, and nobody is named outside the document."""

from __future__ import annotations

import io
import zipfile

import msgspec
import pytest
from lxml import etree

from broker.document import PersonName
from broker.parsing import xdm
from broker.parsing.xdm_metadata import document_reference
from broker.writing import cda
from broker.writing.xdm import to_bytes
from tests.broker.writing.documents import LETTER, PATIENT, PDF, STORE, attachment, read


def names(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_archive_has_the_files_of_xdm_with_names_for_any_medium() -> None:
    found = names(to_bytes(LETTER, STORE))

    assert list(found) == [
        "INDEX.HTM", "README.TXT", "IHE_XDM/SUBSET01/METADATA.XML", "IHE_XDM/SUBSET01/DOC0001.XML",
    ]  # fmt: skip
    assert found["IHE_XDM/SUBSET01/DOC0001.XML"] == cda.to_bytes(LETTER, STORE)


def test_the_same_document_gives_the_same_archive() -> None:
    assert to_bytes(LETTER, STORE) == to_bytes(msgspec.structs.replace(LETTER), STORE)


def test_an_archive_comes_back_with_what_only_its_metadata_say() -> None:
    data = to_bytes(LETTER, STORE)

    found = read(data)

    assert xdm.parse(data).missing == ()
    assert found.unique_id is not None
    assert LETTER.unique_id is not None
    assert found.unique_id.value == LETTER.unique_id.value
    assert [code.codings[0].code for code in found.confidentiality] == ["N", "MASQUE_PS"]
    assert found.format_code is not None
    assert found.format_code.codings[0].code == "urn:ihe:iti:xds-sd:pdf:2008"
    assert attachment(PDF, "").sha256 in {item.sha256 for item in found.attachments}


def test_the_lane_of_an_archive_is_that_of_its_patient() -> None:
    assert xdm.patient_keys(to_bytes(LETTER, STORE))[0] == (
        "1.2.250.1.213.1.4.10",
        "279035121518989",
    )


def test_nobody_is_named_outside_the_document_and_its_metadata() -> None:
    found = names(to_bytes(LETTER, STORE))

    for name in ("INDEX.HTM", "README.TXT"):
        assert b"PATIENT" not in found[name]
        assert b"279035121518989" not in found[name]


@pytest.mark.parametrize("title", ["<script>alert(1)</script>", 'a"b&c', "]]>"])
def test_a_title_is_no_mark_up_of_the_page(title: str) -> None:
    page = names(to_bytes(msgspec.structs.replace(LETTER, title=title), STORE))["INDEX.HTM"]

    root = etree.fromstring(page, etree.XMLParser(load_dtd=False, no_network=True))
    assert root.findtext(".//{*}h1") == title
    assert not list(root.iter("{*}script"))


@pytest.mark.parametrize("family", ["O^NEIL", "A&B", "x|y", "a~b", "back\\slash", "\\S\\"])
def test_delimiters_inside_a_name_come_back(family: str) -> None:
    patient = msgspec.structs.replace(PATIENT, names=(PersonName(family=family, use="birth"),))
    document = msgspec.structs.replace(LETTER, patient=patient)
    archived = xdm.parse(to_bytes(document, STORE)).documents[0]

    described = document_reference(archived.metadata, archived.media)

    (person,) = [one for one in described["contained"] if one["resourceType"] == "Patient"]
    assert person["name"][0]["family"] == family
