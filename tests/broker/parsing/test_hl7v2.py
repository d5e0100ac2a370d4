"""HL7v2 as it really comes: lossless, lazy, tolerant with a name for each repair."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ParseError
from broker.parsing.hl7v2 import header, parse, patient_keys, split_batch, split_messages
from broker.parsing.hl7v2_separators import Separators, escape, unescape

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus" / "hl7v2"
MSH = rb"MSH|^~\&|APP|FAC|RAPP|RFAC|20240309||ADT^A01^ADT_A01|42|P|2.5|||AL|NE||UNICODE UTF-8"


@given(st.binary(max_size=400))
def test_any_bytes_that_begin_with_msh_are_given_back_unchanged(tail: bytes) -> None:
    body = b"MSH|^~\\&|" + tail

    assert parse(body).to_bytes() == body


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_parsed_or_refused_with_a_reason(body: bytes) -> None:
    for reader in (parse, header):
        with suppress(ParseError):
            reader(body)

    assert b"".join(split_messages(body)) in body or len(split_messages(body)) > 1
    assert all(value for _, value in patient_keys(body))


@given(st.lists(st.text(alphabet="ab|^~&\\é ", max_size=20), max_size=8))
def test_the_fields_joined_again_are_the_segment(fields: list[str]) -> None:
    line = "|".join(["ZZZ", *fields])

    message = parse(MSH + b"\r" + line.encode())

    assert "|".join(message.segments[1].fields) == line


@given(st.text(max_size=60), st.sampled_from(["|^~\\&", "#!@%*", "^~|\\&"]))
def test_unescape_is_the_inverse_of_escape(text: str, marks: str) -> None:
    separators = Separators(*marks)
    plain = text.replace("\r\n", "\n").replace("\r", "\n")

    assert unescape(escape(plain, separators), separators) == plain


@given(st.text(max_size=60))
def test_escaped_text_holds_no_separator(text: str) -> None:
    separators = Separators()

    escaped = escape(text, separators)

    assert not set("|^~&\r\n") & set(escaped)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"one\.br\two", "one\ntwo"),
        (r"\H\bold\N\ text", "bold text"),
        (r"\X41\\X42\ ", "AB "),
        (r"\XC3A9\ ", "é "),
        (r"C:\temp\x", r"C:\temp\x"),
        ("open \\", "open \\"),
    ],
)
def test_escapes_are_decoded_and_unknown_ones_kept(text: str, wanted: str) -> None:
    assert unescape(text, Separators()) == wanted


def test_the_header_reads_msh_only() -> None:
    found = header(MSH + b"\rPID|\xff\xff")

    assert (found.message_type, found.control_id, found.version) == ("ADT^A01", "42", "2.5")
    assert (found.accept_ack, found.application_ack) == ("AL", "NE")
    assert (found.sending_application, found.receiving_facility) == ("APP", "RFAC")


@pytest.mark.parametrize(
    ("pid", "keys"),
    [
        (
            "PID|1||IPP^^^NS&000897406&M^PI~2790^^^X&1.2.250.1.213.1.4.8&ISO^INS",
            (("1.2.250.1.213.1.4.8", "2790"), ("000897406", "IPP")),
        ),
        ("PID|1||^^^NS^PI~7^^^NS", (("NS", "7"),)),
        ("PID|1|22^^^NS||44", (("NS", "22"), ("", "44"))),
        ('PID|1||""^^^NS', ()),
        ("EVN|A01", ()),
    ],
)
def test_the_patients_keys_come_from_pid_with_the_ins_first(
    pid: str, keys: tuple[tuple[str, str], ...]
) -> None:
    for end in (b"\r", b"\n", b"\r\n"):
        assert patient_keys(MSH + end + pid.encode() + end) == keys


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        (b"", "hl7v2.no_msh", "message"),
        (b"PID|1", "hl7v2.no_msh", "MSH"),
        (b"<ClinicalDocument/>", "hl7v2.no_msh", "MSH"),
        (b"MSH", "hl7v2.separators", "MSH-1"),
        (b"FHS|^~\\&\rFTS|0", "hl7v2.empty_batch", "BHS"),
    ],
)
def test_what_is_no_message_is_refused_at_its_place(body: bytes, code: str, where: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(body)

    assert (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize(
    ("body", "repair"),
    [
        (b"\xef\xbb\xbf" + MSH, "byte_order_mark"),
        (MSH + b"\nPID|1", "line_ends"),
        (MSH + b"\r\nPID|1", "line_ends"),
        (MSH + b"\nPID|1\rPV1|1", "line_ends_mixed"),
        (MSH.replace(b"~", "˜".encode()) + b"\rPID|1", "separators_typographic"),
        (rb"MSH|^~\\&|A" + b"\rPID|1", "separators_doubled"),
        (b"MSH|^~|A\rPID|1", "separators_completed"),
        (MSH + b"\rPID|1||a\nb|c", "folded_lines"),
        (b"junk\r" + MSH, "leading_bytes"),
        (MSH.replace(b"UNICODE UTF-8", b"8859/1") + "\rPID|é".encode(), "charset_differs"),
        (MSH + b"\rPID|\xe9", "charset_differs"),
        (MSH.replace(b"UNICODE UTF-8", b"") + b"\rPID|\xe9", "charset_guessed"),
    ],
)
def test_a_tolerated_defect_has_a_name_and_the_bytes_stay(body: bytes, repair: str) -> None:
    message = parse(body)

    assert repair in message.repairs
    assert message.to_bytes() == body


@pytest.mark.parametrize(
    ("declared", "raw"),
    [
        (b"8859/1", b"\xe9"),
        (b"8859/15", b"\xe9"),
        (b"UNICODE UTF-8", "é".encode()),
        (b"8859/1", "é".encode()),
        (b"", b"\xe9"),
    ],
)
def test_an_accent_is_an_accent_whatever_is_declared(declared: bytes, raw: bytes) -> None:
    message = parse(MSH.replace(b"UNICODE UTF-8", declared) + b"\rPID|||||" + raw)

    assert message.segments[1].fields[5] == "é"


def test_the_euro_of_8859_15_is_not_a_currency_sign() -> None:
    message = parse(MSH.replace(b"UNICODE UTF-8", b"8859/15") + b"\rNTE|1||\xa4")

    assert message.segments[1].fields[3] == "€"


def test_a_file_of_messages_is_cut_at_each_msh() -> None:
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + MSH + b"\rPID|1\r" + MSH + b"\rPID|2\rBTS|2\rFTS|1\r"

    found = split_batch(batch)

    assert [m.split(b"\r")[1] for m in found.messages] == [b"PID|1", b"PID|2"]
    assert found.repairs == ()


def test_a_batch_that_counts_wrong_says_so() -> None:
    batch = b"BHS|^~\\&\r" + MSH + b"\rPID|1\rBTS|25\r"

    assert split_batch(batch).repairs == ("batch_count",)


def test_one_message_is_its_file() -> None:
    assert split_messages(MSH + b"\rPID|1\r") == [MSH + b"\rPID|1\r"]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the public corpus does not lie beside the project")
@pytest.mark.parametrize(
    "name",
    [
        "ansforge__hl7V2-exemples/SGL__admission.er7",
        "ansforge__hl7V2-exemples/SGL__sortie.er7",
        "ansforge__hl7V2-exemples/MDM__message-2.hl7",
        "microsoft__FHIR-Converter/ADT01-23.hl7",
        "microsoft__FHIR-Converter/LAB-ORU-2.hl7",
    ],
)
def test_fields_are_those_python_hl7_finds(name: str) -> None:
    path = CORPUS / name
    if not path.is_file():
        pytest.skip("not in this corpus")
    body = (
        path.read_bytes()
        .removeprefix(b"\xef\xbb\xbf")
        .replace(b"\r\n", b"\r")
        .replace(b"\n", b"\r")
        .strip()
    )

    ours = parse(body)
    theirs = hl7.parse(body.decode())

    assert [s.name for s in ours.segments] == [str(s[0]) for s in theirs]
    for mine, their in zip(ours.segments[1:], theirs[1:], strict=True):
        assert mine.fields == [str(field) for field in their]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the public corpus does not lie beside the project")
def test_the_corpus_is_read_without_a_traceback() -> None:
    read = 0
    for path in sorted(CORPUS.glob("*/*")):
        for body in split_messages(path.read_bytes()):
            assert parse(body).to_bytes() == body
            header(body)
            patient_keys(body)
            read += 1

    assert read > 500
