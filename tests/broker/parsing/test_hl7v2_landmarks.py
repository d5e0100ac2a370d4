"""What is seen in HL7v2 bytes that nobody could read: never an error, and no more than is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.parsing.hl7v2_landmarks import LOOKED_AT, landmarks

BODY = (
    "MSH|^~\\&|SIL^1.2.3^ISO|LABO|CARNET|CHU|20261123||ORU^R01|1|P|2.5\r"
    "PID|1||2790538999042^^^ASIP&1.2.250.1.213.1.4.10&ISO^INS~7000^^^CHU||GENÊT^ÉLODIE~BOULEAU^É||19790528|F"
    "||||||||||D2026\r"
    "PV1|1|I|CHIR^201||||||||||||||||V2026\rORC|RE|P4711^SIL|F4711\rOBR|1|P4711|F4711\rOBX|1|NM|X||1\r"
)


def test_the_numbers_people_search_by_are_found() -> None:
    found = landmarks(BODY.encode())

    assert list(found.senders) == ["SIL"]
    assert (list(found.ins), list(found.local)) == (["2790538999042"], ["7000"])
    assert list(found.names) == [("GENÊT", "1979-05-28"), ("BOULEAU", "1979-05-28")]
    assert (list(found.stays), list(found.wards)) == (["D2026", "V2026"], ["CHIR"])
    assert (list(found.placers), list(found.fillers)) == (["P4711"], ["F4711"])
    assert list(found.documents) == ["F4711"]


@pytest.mark.parametrize(
    "body",
    [
        b"\n".join(BODY.encode().split(b"\r")),
        b"FHS|^~\\&|X\r" + BODY.encode(),
        BODY.encode("utf-16"),
        BODY.encode("cp1252"),
        BODY.replace("|", "#").replace("^", "!").encode(),
        BODY.encode()[BODY.index("PID") :],
        BODY.encode().replace(b"^~\\&", b""),
    ],
    ids=["LF", "batch", "UTF-16", "cp1252", "other separators", "without MSH", "empty MSH-2"],
)
def test_an_order_is_seen_however_the_message_is_written(body: bytes) -> None:
    found = landmarks(body)

    assert (list(found.placers), list(found.local)) == (["P4711"], ["7000"])
    assert ("GENÊT", "1979-05-28") in found.names


@pytest.mark.parametrize("number", ["", '""', " "])
def test_a_number_that_says_nothing_is_none(number: str) -> None:
    found = landmarks(f"MSH|^~\\&|A|B\rPID|||{number}^^^CHU\rPV1||I\rORC|NW|{number}\r".encode())

    assert [*found.local, *found.placers, *found.stays] == []


def test_an_older_number_counts_where_the_list_of_numbers_is_empty() -> None:
    assert list(landmarks(b"MSH|^~\\&|A|B\rPID||77^^^CHU|\r").local) == ["77"]


def test_escaped_characters_are_read_as_the_mappings_read_them() -> None:
    assert list(landmarks(b"MSH|^~\\&|A|B\rORC|NW|A\\S\\B\r").placers) == ["A^B"]


@pytest.mark.parametrize("charset", ["HEX", "rot13", "no\0such", "8859/15", "UNICODE UTF-8"])
@given(tail=st.binary(max_size=200))
def test_whatever_the_bytes_are_nothing_is_raised(charset: str, tail: bytes) -> None:
    for head in (
        b"MSH|^~\\&|",
        b"PID|||",
        b"MSH",
        b"\xff\xfe",
        b"MSH|^~\\&|\\XFFFE00\\|\xe9\rPID|",
    ):
        landmarks(head + tail, charset)


def test_what_comes_after_a_megabyte_is_not_looked_at() -> None:
    body = b"MSH|^~\\&|A|B\rOBX|" + b"x" * LOOKED_AT + b"\rORC|NW|P1\r"

    assert not landmarks(body).placers
