from __future__ import annotations

import timeit

import pytest

from broker.errors import ParseError
from broker.parsing import cda

V3 = "{urn:hl7-org:v3}"


def document(inside: str, attributes: str = 'xmlns="urn:hl7-org:v3"') -> bytes:
    return f"<ClinicalDocument {attributes}>{inside}</ClinicalDocument>".encode()


def patient(ids: str, before: str = "", after: str = "<addr/>") -> bytes:
    role = f"<recordTarget><patientRole>{before}{ids}{after}</patientRole></recordTarget>"
    return document(role)


def test_the_root_and_the_template_index_are_in_document_order() -> None:
    read = cda.parse(
        document(
            '<component><section ID="a"><templateId root="1.2"/><templateId root="1.3"/></section>'
            '</component><component><section ID="b"><templateId root="1.2" extension="x"/>'
            '<templateId root="1.2" extension="y"/></section></component>'
        )
    )

    assert read.root.tag == f"{V3}ClinicalDocument"
    assert [e.get("ID") for e in read.by_template["1.2"]] == ["a", "b"]
    assert [e.get("ID") for e in read.by_template["1.3"]] == ["a"]
    assert [e.get("ID") for e in read.by_name["section"]] == ["a", "b"]
    assert (read.format_name, read.repairs) == ("cda", ())


def test_a_document_inside_a_self_presenting_stylesheet_is_found() -> None:
    body = (
        b'<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0">'
        b'<xsl:template match="/c:ClinicalDocument/c:recordTarget/c:patientRole" xmlns:c="x"/>'
        b'<c:ClinicalDocument xmlns:c="urn:hl7-org:v3"><c:recordTarget><c:patientRole>'
        b'<c:id root="1.2" extension="P1"/></c:patientRole></c:recordTarget></c:ClinicalDocument>'
        b"</xsl:stylesheet>"
    )

    read = cda.parse(body)

    assert read.root.tag == f"{V3}ClinicalDocument"
    assert cda.patient_keys(body) == (("1.2", "P1"),)


def test_utf16_is_read() -> None:
    text = '<?xml version="1.0" encoding="UTF-16"?><ClinicalDocument xmlns="urn:hl7-org:v3">'
    body = (
        text + '<title>é</title><recordTarget><patientRole><id root="1.2" extension="P1"/>'
        "</patientRole></recordTarget></ClinicalDocument>"
    ).encode("utf-16")

    read = cda.parse(body)

    assert read.root.findtext(f"{V3}title") == "é"
    assert cda.patient_keys(body) == (("1.2", "P1"),)


def test_latin1_is_read_as_declared() -> None:
    body = b'<?xml version="1.0" encoding="ISO-8859-1"?>' + document("<title>\xe9</title>").decode(
        "utf-8"
    ).encode("latin-1")

    assert cda.parse(body).root.findtext(f"{V3}title") == "é"


def test_a_byte_order_mark_is_no_content() -> None:
    assert cda.parse(b"\xef\xbb\xbf" + document("")).root.tag == f"{V3}ClinicalDocument"


def test_well_known_prefixes_may_be_used_undeclared() -> None:
    read = cda.parse(document('<value xsi:type="CD"/><sdtc:raceCode/>'))

    value = read.root.find(f"{V3}value")
    assert value is not None
    assert value.get("{http://www.w3.org/2001/XMLSchema-instance}type") == "CD"
    assert read.repairs == ("undeclared-prefix",)


def test_any_other_undeclared_prefix_is_refused() -> None:
    with pytest.raises(ParseError) as caught:
        cda.parse(document("<zz:value/>"))

    assert caught.value.code == "xml.malformed"


def test_a_document_without_namespace_is_read_as_cda() -> None:
    read = cda.parse(document('<title>t</title><section ID="s"/>', ""))

    assert read.root.findtext(f"{V3}title") == "t"
    assert len(read.by_name["section"]) == 1
    assert read.repairs == ("no-namespace",)


def test_an_error_names_the_line_and_never_the_content() -> None:
    with pytest.raises(ParseError) as caught:
        cda.parse(document("\n\n<name>SECRETNAME</nam>"))

    assert caught.value.where == "line 3"
    assert "SECRET" not in str(caught.value)


def test_an_undefined_entity_is_refused_without_its_name() -> None:
    with pytest.raises(ParseError) as caught:
        cda.parse(document("<name>&SECRETNAME;</name>"))

    assert caught.value.code == "xml.malformed"
    assert "SECRET" not in str(caught.value)


def test_other_xml_is_no_cda() -> None:
    with pytest.raises(ParseError) as caught:
        cda.parse(b'<html xmlns="http://www.w3.org/1999/xhtml"/>')

    assert caught.value.code == "cda.no_document"


def test_patient_keys_put_the_ins_first() -> None:
    body = patient(
        '<id root="1.2.3" extension="IPP1"/><id root="1.2.250.1.213.1.4.8" extension="INS1"/>'
    )

    assert cda.patient_keys(body) == (("1.2.250.1.213.1.4.8", "INS1"), ("1.2.3", "IPP1"))


def test_patient_keys_stop_at_the_patients_own_identifiers() -> None:
    body = patient(
        '<id root="1.2" extension="P"/>',
        before='<!-- <id root="9" extension="comment"/> -->',
        after='<providerOrganization><id root="1.2.3" extension="ORG"/></providerOrganization>',
    )

    assert cda.patient_keys(body) == (("1.2", "P"),)


def test_patient_keys_agree_with_the_parsed_document() -> None:
    body = patient(
        """<id  extension='a&amp;b "c"' root='1.2'/><id nullFlavor="UNK"/><id root="1.9"/>"""
    )

    parsed = cda.parse(body).root.iter(f"{V3}id")

    expected = tuple((e.get("root", ""), e.get("extension", "")) for e in parsed if e.get("root"))
    assert cda.patient_keys(body) == expected


def test_patient_keys_of_anything_else_are_none() -> None:
    assert cda.patient_keys(b"MSH|^~\\&|") == ()
    assert cda.patient_keys(document("<title>patientRole</title>")) == ()


def test_patient_keys_of_a_40_kb_document_take_microseconds() -> None:
    body = patient('<id root="1.2.250.1.213.1.4.8" extension="1"/>') + b" " * 40_000

    best = min(timeit.repeat(lambda: cda.patient_keys(body), number=100, repeat=5)) / 100

    assert best < 200e-6, "the target is 50 us; four times that on a busy machine"
