from __future__ import annotations

import hashlib
import io
import zipfile

import pytest

from broker.errors import ParseError
from broker.parsing import xdm

CDA = b'<ClinicalDocument xmlns="urn:hl7-org:v3"><title>invented</title></ClinicalDocument>'

UNIQUE_ID = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
PATIENT_ID = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427"
TYPE_CODE = "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983"
CONFIDENTIALITY = "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f"
AUTHOR = "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d"


def slot(name: str, *values: str) -> str:
    inside = "".join(f"<Value>{value.replace('&', '&amp;')}</Value>" for value in values)
    return f'<Slot name="{name}"><ValueList>{inside}</ValueList></Slot>'


def coded(scheme: str, code: str, system: str) -> str:
    return (
        f'<Classification classificationScheme="{scheme}" nodeRepresentation="{code}">'
        f'{slot("codingScheme", system)}<Name><LocalizedString value="shown"/></Name></Classification>'
    )


def entry(*parts: str, ident: str = "Document01", media: str = "text/xml") -> str:
    return f'<ExtrinsicObject id="{ident}" mimeType="{media}">{"".join(parts)}</ExtrinsicObject>'


def metadata(
    *entries: str, namespace: str = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
) -> bytes:
    return (
        f'<SubmitObjectsRequest xmlns="{namespace}">{"".join(entries)}</SubmitObjectsRequest>'
    ).encode()


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def test_a_document_is_found_with_its_metadata() -> None:
    described = entry(slot("URI", "DOC0001.XML"), slot("languageCode", "fr-FR"))

    read = xdm.parse(
        archive(
            {
                "INDEX.HTM": b"<html/>",
                "README.TXT": b"read me",
                "IHE_XDM/SUBSET01/METADATA.XML": metadata(described),
                "IHE_XDM/SUBSET01/DOC0001.XML": CDA,
            }
        )
    )

    (document,) = read.documents
    assert document.name == "IHE_XDM/SUBSET01/DOC0001.XML"
    assert (document.media, document.body) == ("text/xml", CDA)
    assert document.metadata["languageCode"] == "fr-FR"
    assert (read.format_name, read.missing) == ("xdm", ())


@pytest.mark.parametrize(
    ("folder", "index", "uri", "file"),
    [
        ("IHE_XDM/SUBSET01/", "metadata.xml", "DOC.XML", "Doc.xml"),
        ("SUBSET01\\", "METADATA.xml", "DOC.XML", "DOC.XML"),
        ("top/IHE_XDM/LUCY_0/", "METADATA.XML", "doc.xml", "DOC.XML"),
        ("", "METADATA.XML", "DOC.XML", "DOC.XML"),
        ("IHE_XDM/SUBSET01/", "METADATA.XML", "SUB\\DOC.XML", "SUB\\DOC.XML"),
    ],
)
def test_case_backslashes_and_other_folders_are_understood(
    folder: str, index: str, uri: str, file: str
) -> None:
    read = xdm.parse(
        archive({folder + index: metadata(entry(slot("URI", uri))), folder + file: CDA})
    )

    (document,) = read.documents
    assert document.metadata["URI"] == uri
    assert "\\" not in document.name


def test_without_a_uri_the_only_document_is_meant() -> None:
    read = xdm.parse(
        archive({"S/METADATA.XML": metadata(entry()), "S/A.XML": CDA, "S/A.xsl": b"<x/>"})
    )

    assert [(d.name, bool(d.metadata)) for d in read.documents] == [("S/A.XML", True)]


def test_without_a_uri_the_hash_tells_which_document() -> None:
    digest = hashlib.sha1(b"two", usedforsecurity=False).hexdigest().upper()
    described = entry(slot("hash", digest), media="text/plain")

    read = xdm.parse(
        archive({"S/METADATA.XML": metadata(described), "S/1.TXT": b"one", "S/2.TXT": b"two"})
    )

    assert [(d.name, bool(d.metadata)) for d in read.documents] == [
        ("S/1.TXT", False),
        ("S/2.TXT", True),
    ]


def test_without_metadata_the_documents_are_still_found() -> None:
    read = xdm.parse(archive({"INDEX.HTM": b"<html/>", "A.XML": CDA, "B.PDF": b"%PDF-1.4"}))

    assert [(d.name, d.media) for d in read.documents] == [
        ("A.XML", "application/cda+xml"),
        ("B.PDF", "application/pdf"),
    ]


def test_what_systems_leave_behind_is_no_document() -> None:
    read = xdm.parse(
        archive(
            {
                "__MACOSX/IHE_XDM/._A.XML": b"x",
                "IHE_XDM/.DS_Store": b"x",
                "IHE_XDM/.svn/entries": b"x",
                "IHE_XDM/.METADATA.XML.swp": b"x",
                "IHE_XDM/A.XML": CDA,
            }
        )
    )

    assert [document.name for document in read.documents] == ["IHE_XDM/A.XML"]


def test_a_document_the_metadata_names_and_nobody_packed_is_reported() -> None:
    described = entry(slot("URI", "A.XML")), entry(slot("URI", "GONE.XML"), ident="Document02")

    read = xdm.parse(archive({"S/METADATA.XML": metadata(*described), "S/A.XML": CDA}))

    assert read.missing == ("GONE.XML",)


def test_an_archive_without_document_is_refused() -> None:
    with pytest.raises(ParseError) as caught:
        xdm.parse(archive({"INDEX.HTM": b"<html/>"}))

    assert caught.value.code == "xdm.no_document"


@pytest.mark.parametrize(
    "namespace",
    ["urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0", "urn:oasis:names:tc:ebxml-regrep:rim:xsd:2.1"],
)
def test_the_metadata_is_said_as_a_document_reference(namespace: str) -> None:
    author = (
        f'<Classification classificationScheme="{AUTHOR}">'
        + slot(
            "authorPerson", "801234567890^DOCTEUR^INVENTE^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS"
        )
        + slot(
            "authorInstitution", "CLINIQUE INVENTEE^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^1750000001"
        )
        + slot("authorSpecialty", "G15_10/SM26^Médecine générale^1.2.250.1.213.1.1.4.5")
        + "</Classification>"
    )
    described = entry(
        slot("URI", "A.PDF"),
        slot("creationTime", "20240309073500"),
        slot("serviceStartTime", "20240309"),
        slot("sourcePatientId", "IPP1^^^&1.2.3&ISO^PI"),
        slot("sourcePatientInfo", "PID-5|PATIENT^INVENTEE", "PID-7|19790328", "PID-8|F"),
        "<Name><LocalizedString value='Lettre'/></Name>",
        coded(TYPE_CODE, "11490-0", "2.16.840.1.113883.6.1"),
        coded(CONFIDENTIALITY, "N", "2.16.840.1.113883.5.25"),
        coded(CONFIDENTIALITY, "MASQUE_PS", "1.2.250.1.213.1.1.4.13"),
        f'<ExternalIdentifier identificationScheme="{UNIQUE_ID}" value="1.2.9"/>',
        f'<ExternalIdentifier identificationScheme="{PATIENT_ID}"'
        ' value="INS1^^^&amp;1.2.250.1.213.1.4.8&amp;ISO^NH"/>',
        author,
        media="application/pdf",
    )
    replaced = (
        '<Association associationType="urn:ihe:iti:2007:AssociationType:RPLC"'
        ' sourceObject="Document01" targetObject="urn:uuid:old"/>'
    )
    body = archive(
        {
            "S/METADATA.XML": metadata(described, replaced, namespace=namespace),
            "S/A.PDF": b"%PDF-1.4",
        }
    )

    message = xdm.parse(body).documents[0].described(with_content=True)

    resource = message.resource
    patient = message.resolve(resource["subject"]["reference"], resource)
    role = message.resolve(resource["author"][0]["reference"], resource)
    assert patient
    assert role
    assert patient["identifier"][0] == {"system": "urn:oid:1.2.250.1.213.1.4.8", "value": "INS1"}
    assert patient["name"] == [{"family": "PATIENT", "given": ["INVENTEE"]}]
    assert (patient["birthDate"], patient["gender"]) == ("1979-03-28", "female")
    practitioner = message.resolve(role["practitioner"]["reference"], resource)
    assert practitioner
    assert practitioner["identifier"][0]["value"] == "801234567890"
    assert role["code"][0]["coding"][0]["code"] == "G15_10/SM26"
    assert resource["masterIdentifier"]["value"] == "urn:oid:1.2.9"
    assert [label["coding"][0]["code"] for label in resource["securityLabel"]] == ["N", "MASQUE_PS"]
    assert resource["relatesTo"][0]["code"] == "replaces"
    assert resource["context"]["period"] == {"start": "2024-03-09"}
    assert resource["date"] == "2024-03-09T07:35:00Z"
    assert resource["content"][0]["attachment"]["data"] == "JVBERi0xLjQ="
    assert xdm.patient_keys(body) == (("1.2.250.1.213.1.4.8", "INS1"), ("1.2.3", "IPP1"))


def test_the_described_document_is_a_valid_document_reference() -> None:
    from fhir.resources.R4B.documentreference import DocumentReference

    described = entry(slot("URI", "A.XML"), coded(TYPE_CODE, "11490-0", "2.16.840.1.113883.6.1"))
    body = archive({"S/METADATA.XML": metadata(described), "S/A.XML": CDA})

    resource = xdm.parse(body).documents[0].described(with_content=True).resource

    DocumentReference.model_validate(resource)
