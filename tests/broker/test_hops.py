"""A message is known again by what it says, whoever wrote the header it comes back with."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.hops import content_digest

MESSAGE = (
    b"MSH|^~\\&|A|B|C|D|20261125||ADT^A08|1|P|2.5\r"
    b"EVN||20261125100000|||MARTIN^PAUL|20261125095500|HOP\r"
    b"PID|1||7\r"
    b"ZBE|M1||20261125|INSERT\r"
)


def test_another_header_and_other_line_ends_are_the_same_content() -> None:
    sent_on = MESSAGE.replace(
        b"|A|B|C|D|20261125||ADT^A08|1|", b"|C|D|A|B|20261126||ADT^A08^ADT_A01|99|"
    )

    assert content_digest(sent_on) == content_digest(MESSAGE)
    assert content_digest(MESSAGE.replace(b"\r", b"\r\n")) == content_digest(MESSAGE)


def test_what_a_relay_writes_anew_is_the_same_content() -> None:
    later = MESSAGE.replace(
        b"EVN||20261125100000|||MARTIN^PAUL|20261125095500|HOP",
        b"EVN|A08|20261201070000|||MARTIN^PAUL|20261201065900|HOP",
    )
    marked = MESSAGE.replace(b"\rEVN", b"\rSFT|ENGINE|7.1\rEVN") + b"ZXR|EAST|20261201\r"

    assert content_digest(later) == content_digest(MESSAGE)
    assert content_digest(marked) == content_digest(MESSAGE)


def test_empty_fields_at_the_end_of_the_event_do_not_count() -> None:
    bare = b"MSH|^~\\&|A||||||ADT^A08|1|P|2.5\rEVN||2026\rPID|1\r"

    assert content_digest(bare.replace(b"EVN||2026", b"EVN|||||")) == content_digest(bare)


def test_separators_are_those_of_the_header() -> None:
    other = MESSAGE.replace(b"|", b"#").replace(b"^", b"$")

    assert content_digest(other.replace(b"EVN##20261125100000", b"EVN##2027")) == content_digest(
        other
    )


def test_another_word_is_another_content() -> None:
    assert content_digest(MESSAGE.replace(b"|7", b"|8")) != content_digest(MESSAGE)
    assert content_digest(MESSAGE + b"PV1|1\r") != content_digest(MESSAGE)
    assert content_digest(MESSAGE.replace(b"|HOP", b"|ANNEXE")) != content_digest(MESSAGE)


def test_an_event_and_a_french_segment_are_content() -> None:
    cancelled = MESSAGE.replace(b"ADT^A08", b"ADT^A11")
    moved = MESSAGE.replace(b"ZBE|M1", b"ZBE|M2")

    assert len({content_digest(one) for one in (MESSAGE, cancelled, moved)}) == 3


def test_a_letter_is_known_again_like_a_short_message() -> None:
    letter = MESSAGE + b"OBX|1|ED|||" + b"QUJD" * 20_000 + b"\r"
    later = letter.replace(b"EVN||20261125100000", b"EVN||20261201070000") + b"ZXR|EAST\r"

    assert content_digest(later) == content_digest(letter)
    assert content_digest(letter.replace(b"|7", b"|8")) != content_digest(letter)


def test_anything_else_is_known_by_all_of_its_bytes() -> None:
    assert content_digest(b"<ClinicalDocument/>") != content_digest(b"<ClinicalDocument />")


@given(st.binary(max_size=200))
def test_a_torn_message_has_a_digest_too(rest: bytes) -> None:
    assert content_digest(b"MSH" + rest) != 0
