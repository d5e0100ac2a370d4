"""A1: entities, external references and blow-ups in CDA, XDM metadata and FHIR XML are refused, fast and mute."""

from __future__ import annotations

import io
import resource
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.errors import ParseError
from broker.parsing import cda, fhir, xdm

CANARY = "CANARY-7d1f"


def as_cda(doctype: str, inside: str, attributes: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?>{doctype}<ClinicalDocument xmlns="urn:hl7-org:v3"{attributes}>'
        f"<title>{inside}</title></ClinicalDocument>"
    ).encode()


def as_fhir(doctype: str, inside: str, attributes: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?>{doctype}<Patient xmlns="http://hl7.org/fhir"{attributes}>'
        f'<text><div xmlns="http://www.w3.org/1999/xhtml">{inside}</div></text></Patient>'
    ).encode()


def as_xdm(doctype: str, inside: str, attributes: str = "") -> bytes:
    metadata = (
        f'<?xml version="1.0"?>{doctype}<SubmitObjectsRequest{attributes}><ExtrinsicObject id="a">'
        f'<Slot name="URI"><ValueList><Value>{inside}</Value></ValueList></Slot>'
        "</ExtrinsicObject></SubmitObjectsRequest>"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("IHE_XDM/SUBSET01/METADATA.XML", metadata)
        archive.writestr("IHE_XDM/SUBSET01/DOC0001.TXT", "invented text")
    return buffer.getvalue()


Build = Callable[..., bytes]
Read = Callable[[bytes], object]

DOORS = [
    pytest.param(as_cda, cda.parse, id="cda"),
    pytest.param(as_fhir, fhir.parse, id="fhir-xml"),
    pytest.param(as_xdm, xdm.parse, id="xdm-metadata"),
]

LAUGHS = "<!DOCTYPE x [<!ENTITY l0 'lol'>{}]>".format(
    "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 10))
)
QUADRATIC = f"<!DOCTYPE x [<!ENTITY a '{'a' * 100_000}'>]>"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def refused(read: Read, body: bytes) -> ParseError:
    """The refusal, having checked that it took under a second and 100 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    with pytest.raises(ParseError) as caught:
        read(body)
    assert time.perf_counter() - started < 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    return caught.value


@pytest.mark.parametrize(("build", "read"), DOORS)
def test_a1_a_file_entity_is_refused_and_its_content_never_shown(
    build: Build, read: Read, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(CANARY)

    error = refused(read, build(f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>', "&e;"))

    assert error.code == "xml.doctype"
    assert CANARY not in str(error)


@pytest.mark.parametrize(("build", "read"), DOORS)
@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY e SYSTEM "{url}">]>',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "{url}"> %p;]>',
        '<!DOCTYPE x SYSTEM "{url}">',
        '<!DOCTYPE x PUBLIC "-//x//y" "{url}">',
    ],
    ids=["general entity", "parameter entity", "external subset", "public subset"],
)
def test_a1_nothing_is_fetched_from_the_network(
    build: Build, read: Read, doctype: str, listener: socket.socket
) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.dtd"

    error = refused(
        read, build(doctype.replace("{url}", url), "&e;" if "ENTITY e" in doctype else "")
    )

    assert error.code == "xml.doctype"
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(("build", "read"), DOORS)
def test_a1_schema_location_and_xinclude_are_not_followed(
    build: Build, read: Read, listener: socket.socket
) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    attributes = (
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        f' xsi:schemaLocation="urn:hl7-org:v3 {url}/x.xsd"'
    )
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{url}/x.xml"/>'

    read(build(f'<?xml-stylesheet type="text/xsl" href="{url}/x.xsl"?>', include, attributes))

    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(("build", "read"), DOORS)
@pytest.mark.parametrize(
    ("doctype", "inside"),
    [(LAUGHS, "&l9;"), (QUADRATIC, "&a;" * 10_000)],
    ids=["billion laughs", "quadratic blow-up"],
)
def test_a1_entity_blow_ups_are_refused_before_they_are_read(
    build: Build, read: Read, doctype: str, inside: str
) -> None:
    assert refused(read, build(doctype, inside)).code == "xml.doctype"


@pytest.mark.parametrize(("build", "read"), DOORS[:2])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a1_another_encoding_hides_no_doctype(build: Build, read: Read, encoding: str) -> None:
    doctype = '<!DOCTYPE x [<!ENTITY e "boo">]>'
    hidden = build(doctype, "&e;").decode().replace('<?xml version="1.0"?>', "").encode(encoding)

    assert refused(read, hidden).code == "xml.doctype"


@pytest.mark.parametrize("encoding", ["UTF-7", "IBM037", "UTF-32", "x-mac-roman"])
def test_a1_encodings_that_do_not_share_ascii_are_refused(encoding: str) -> None:
    body = f'<?xml version="1.0" encoding="{encoding}"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'

    assert refused(cda.parse, body.encode()).code == "xml.encoding"


def test_a1_a_doctype_behind_comments_and_instructions_is_still_seen() -> None:
    prolog = "<!-- <a> -->\n<?p a<b?>" * 1000

    error = refused(cda.parse, f"{prolog}<!DOCTYPE x><ClinicalDocument/>".encode())

    assert error.code == "xml.doctype"


def test_a1_megabytes_of_blanks_and_comments_before_the_root_cost_little() -> None:
    body = b" " * 5_000_000 + b"<!---->" * 500_000 + b" " * 5_000_000 + b"<!DOCTYPE x><x/>"

    assert refused(cda.parse, body).code == "xml.doctype"


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("<a>" * 101 + "</a>" * 101, "xml.too_deep"),
        ("<a>" * 5_000 + "</a>" * 5_000, "xml.malformed"),
        ("<a/>" * 200_001, "xml.too_many_elements"),
        (f'<a b="{"x" * 11_000_000}"/>', "xml.malformed"),
        ("<a" + "".join(f" b{n}=''" for n in range(20_000)), "xml.malformed"),
    ],
    ids=["too deep", "far too deep", "too many", "huge attribute", "unclosed attributes"],
)
def test_a1_sizes_counts_and_depths_are_bounded(inside: str, code: str) -> None:
    assert refused(cda.parse, as_cda("", inside)).code == code


def test_a1_a_stylesheet_around_a_document_is_never_run(listener: socket.socket) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.xml"
    body = (
        '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
        f'<xsl:import href="{url}"/><xsl:variable name="d" select="document(\'{url}\')"/>'
        '<ClinicalDocument xmlns="urn:hl7-org:v3"><title>t</title></ClinicalDocument>'
        "</xsl:stylesheet>"
    )

    document = cda.parse(body.encode())

    assert document.root.tag == "{urn:hl7-org:v3}ClinicalDocument"
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a1_deep_json_is_refused_as_well() -> None:
    body = b'{"resourceType":"Basic","extension":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    assert refused(fhir.parse, body).code == "fhir.too_deep"
