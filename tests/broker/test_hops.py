"""A message is known again by what it says, whoever wrote the header it comes back with."""

from __future__ import annotations

from broker.hops import content_digest

MESSAGE = b"MSH|^~\\&|A|B|C|D|20261125||ADT^A08|1|P|2.5\rEVN||2026\rPID|1||7\r"


def test_another_header_and_other_line_ends_are_the_same_content() -> None:
    sent_on = MESSAGE.replace(b"|A|B|C|D|20261125||ADT^A08|1|", b"|C|D|A|B|20261126||ADT^A08|99|")

    assert content_digest(sent_on) == content_digest(MESSAGE)
    assert content_digest(MESSAGE.replace(b"\r", b"\r\n")) == content_digest(MESSAGE)


def test_another_word_is_another_content() -> None:
    assert content_digest(MESSAGE.replace(b"|7", b"|8")) != content_digest(MESSAGE)
    assert content_digest(MESSAGE + b"PV1|1\r") != content_digest(MESSAGE)


def test_anything_else_is_known_by_all_of_its_bytes() -> None:
    assert content_digest(b"<ClinicalDocument/>") != content_digest(b"<ClinicalDocument />")
