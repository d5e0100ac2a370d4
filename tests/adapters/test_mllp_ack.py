"""What a sender hears: goldens for each mode and fate, and what must hold for any request."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mllp_ack import acknowledge
from broker.envelope import Receipt

GOLDENS = Path(__file__).parent / "goldens"
FIRST = datetime(2026, 3, 1, 9, 30, 0, 125000, tzinfo=UTC)
ID = "01937e5c-1a2b-7abc-8def-0123456789ab"
ACCEPTED = Receipt(outcome="accepted", message_id=ID, first_received_at=FIRST)
NOT_NOW = Receipt(
    outcome="refused",
    code="database.unavailable",
    text="The database cannot be written now; the sender was asked to come back.",
    retry_after=timedelta(seconds=5),
    first_received_at=FIRST,
)
NEVER = Receipt(
    outcome="refused",
    code="hl7v2.missing",
    where="PID[2]-3.1",
    text="A required field is empty.",
    first_received_at=FIRST,
)
UNKNOWN = Receipt(
    outcome="refused",
    code="media.unknown",
    where="message",
    text="Not HL7v2 | not CDA.",
    first_received_at=FIRST,
)
HEAD = rb"MSH|^~\&|SIL|LABO|CARNET|CHU|20260301093000+0100||ORU^R01^ORU_R01|12345|T|2.5"
REQUESTS = {
    "original": HEAD + b"\rPID|1\r",
    "charset": HEAD + b"|||||FRA|UNICODE UTF-8|||2.1^CISIS_CDA_HL7_V2\rPID|1\r",
    "enhanced": HEAD + b"|||AL|NE\rPID|1\r",
    "old": HEAD.replace(b"2.5", b"2.3.1") + b"\nPID|1\n",
    "delimiters": HEAD.replace(b"|", b"#").replace(b"^~\\&", b"!@%*").replace(b"^", b"!")
    + b"\rPID#1\r",
    "bare": b"\xef\xbb\xbfMSH|^~\\&|||||||ORU|\rPID|1\r",
    "no_msh": b"PID|1\r",
}
RECEIPTS = {"accepted": ACCEPTED, "not_now": NOT_NOW, "never": NEVER, "unknown": UNKNOWN}


@pytest.mark.parametrize("receipt", RECEIPTS)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_an_answer_is_its_golden(request_name: str, receipt: str) -> None:
    golden = GOLDENS / f"ack_{request_name}_{receipt}.hl7"

    answer = acknowledge(REQUESTS[request_name], RECEIPTS[receipt])

    if os.environ.get("CARNET_RENEW_GOLDENS"):
        golden.write_bytes(answer.replace(b"\r", b"\r\n"))
    assert answer.replace(b"\r", b"\r\n") == golden.read_bytes()


@pytest.mark.parametrize(
    ("accept", "application", "accepted", "refused"),
    [
        (b"", b"", b"AA", b"AE"),
        (b'""', b"", b"AA", b"AE"),
        (b"AL", b"", b"CA", b"CE"),
        (b"AL", b"AL", b"CA", b"CE"),
        (b"AL", b"NE", b"CA", b"CE"),
        (b"ER", b"NE", b"", b"CE"),
        (b"SU", b"NE", b"CA", b""),
        (b"SU", b"ER", b"CA", b"AE"),
        (b"NE", b"NE", b"", b""),
        (b"NE", b"AL", b"AA", b"AE"),
        (b"NE", b"ER", b"", b"AE"),
        (b"", b"AL", b"AA", b"AE"),
        (b"", b"NE", b"CA", b"CE"),
        (b"odd", b"", b"CA", b"CE"),
    ],
)
def test_msh_15_and_16_choose_the_mode(
    accept: bytes, application: bytes, accepted: bytes, refused: bytes
) -> None:
    request = HEAD + b"|||" + accept + b"|" + application + b"\r"

    codes = [_code(acknowledge(request, receipt)) for receipt in (ACCEPTED, NEVER)]

    assert codes == [accepted, refused]


def test_a_duplicate_hears_the_first_answer_byte_for_byte() -> None:
    again = Receipt(outcome="accepted", message_id=ID, first_received_at=FIRST, duplicate=True)

    assert acknowledge(REQUESTS["original"], again) == acknowledge(REQUESTS["original"], ACCEPTED)


def test_the_own_control_id_fits_the_field() -> None:
    fields = acknowledge(REQUESTS["original"], ACCEPTED).split(b"\r")[0].split(b"|")

    assert len(fields[9]) == 20


TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
HEADERS = st.lists(st.binary(max_size=6).map(lambda b: b.replace(b"|", b"")), max_size=20)


@given(
    HEADERS,
    TEXTS,
    TEXTS,
    st.sampled_from([b"^~\\&", b"!@%*", b"^~", b"", b"^~\\&#", b"\xc3\xa9^~\\"]),
)
def test_no_request_and_no_text_can_add_a_segment_or_end_the_frame(
    fields: list[bytes], code: str, text: str, encoding: bytes
) -> None:
    request = b"|".join([b"MSH", encoding, *fields]) + b"\r"
    receipt = Receipt(outcome="refused", code=code, where=text, text=text, first_received_at=FIRST)

    answer = acknowledge(request, receipt)

    segments = answer.split(b"\r")
    assert [segment[:3] for segment in segments] in ([b"MSH", b"MSA", b"ERR", b""], [b""])
    assert not any(byte < 0x20 and byte != 0x0D for byte in answer)
    if answer:
        assert len(segments[2].split(b"|")) == 9


@given(st.text(max_size=30))
def test_an_independent_parser_reads_the_text_back(text: str) -> None:
    said = "".join(c for c in text if c.isprintable() and c.isascii() and c not in "|^~\\&").strip()
    receipt = Receipt(outcome="refused", code="x", text=said, first_received_at=FIRST)

    message = hl7.parse(acknowledge(REQUESTS["original"], receipt).decode())

    assert str(message.segment("ERR")(8)) == said
    assert str(message.segment("MSA")(2)) == "12345"


def test_delimiters_in_a_text_are_escaped() -> None:
    receipt = Receipt(outcome="refused", code="x", text="a|b^c~d\\e&f", first_received_at=FIRST)

    answer = acknowledge(REQUESTS["original"], receipt)

    assert answer.split(b"\r")[2].split(b"|")[8] == rb"a\F\b\S\c\R\d\E\e\T\f"


def _code(answer: bytes) -> bytes:
    return answer.split(b"\rMSA|")[1][:2] if answer else b""
