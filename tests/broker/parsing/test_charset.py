"""Whatever a message says of its characters, its bytes become text: a wrong word is named, never an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.parsing.charset import decode
from broker.parsing.hl7v2 import parse
from broker.parsing.hl7v2_separators import STANDARD, unescape


@pytest.mark.parametrize("declared", ["HEX", "rot13", "idna", "undefined", "no\0such", "8859/15"])
@given(body=st.binary(max_size=60))
def test_any_bytes_under_any_name_are_text_that_can_be_written(declared: str, body: bytes) -> None:
    for marks in (b"", b"\xff\xfe", b"\xfe\xff"):
        decode(marks + body, declared).text.encode()


def test_a_name_that_is_no_character_set_is_noted_and_the_bytes_are_read() -> None:
    message = parse(b"MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.5||||||HEX\rPID|1||7||\xc9LISE\r")

    assert message.segments[1].fields[5] == "ÉLISE"
    assert message.repairs == ("charset_differs",)


def test_an_escaped_sequence_of_bytes_that_are_no_text_does_not_stop_a_message() -> None:
    assert unescape("a\\XFFFE00\\b", STANDARD) == "a\ufffdb"
