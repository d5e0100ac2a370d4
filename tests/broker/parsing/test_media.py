from __future__ import annotations

import pytest

from broker.parsing.media import recognise

CDA = b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>'
FHIR_XML = b'<Patient xmlns="http://hl7.org/fhir"/>'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"MSH|^~\\&|A", "hl7v2"),
        (b"\xef\xbb\xbfMSH|^~\\&|A", "hl7v2"),
        (b"\x0bMSH|^~\\&|A\x1c\r", "hl7v2"),
        (b"MSH#!@%*#A", "hl7v2"),
        (b"FHS|^~\\&|\rBHS|^~\\&|\r", "hl7v2"),
        (b"a comment first\r\nMSH|^~\\&|A", "hl7v2"),
        (CDA, "cda"),
        (b'<?xml version="1.0"?>\n<!-- < -->\n<?p q?>' + CDA, "cda"),
        (b"<ClinicalDocument>", "cda"),
        (b'<n1:ClinicalDocument xmlns:n1="urn:hl7-org:v3">', "cda"),
        (b"<!DOCTYPE x [<!ENTITY e 'v'> ]>" + CDA, "cda"),
        (b'<xsl:stylesheet xmlns:xsl="x"><c:ClinicalDocument xmlns:c="y">', "cda"),
        (CDA.decode().encode("utf-16"), "cda"),
        (b'{"resourceType": "Patient"}', "fhir-r4"),
        (b'\xef\xbb\xbf {"id": "1", "resourceType": "Patient"}', "fhir-r4"),
        (FHIR_XML, "fhir-r4"),
        (b"PK\x03\x04rest", "xdm"),
        (b"", ""),
        (b"From: somebody\r\nTo: another\r\n\r\nhello", ""),
        (b"<html><body/></html>", ""),
        (b'<xsl:stylesheet xmlns:xsl="x"/>', ""),
        (b'{"name": "value"}', ""),
        (b"MSHOULD be no message", ""),
        (bytes(range(256)), ""),
    ],
)
def test_the_bytes_tell_the_format(body: bytes, expected: str) -> None:
    assert recognise(body) == expected


def test_the_declared_type_decides_what_the_bytes_leave_open() -> None:
    assert recognise(b'{"name": "value"}', "application/fhir+json") == "fhir-r4"
    assert recognise(b"<ClinicalDoc/>", "application/cda+xml") == "cda"


def test_the_declared_type_does_not_overrule_the_bytes() -> None:
    assert recognise(CDA, "application/fhir+xml") == "cda"
    assert recognise(b"%PDF-1.4", "application/fhir+json") == ""
    assert recognise(b'{"name": "value"}', "application/cda+xml") == ""
