"""A text stays the one leaf it was given as, whatever is in it, for our parser and for two that are not ours."""

from __future__ import annotations

import hl7
import pytest
from hl7apy.parser import parse_message
from hypothesis import given
from hypothesis import strategies as st

from broker.er7 import NULL, Formatted, Repetition, Segment, repetition
from broker.errors import MappingError
from broker.parsing import hl7v2 as reader
from broker.writing.hl7v2 import control_id, escaped, to_bytes

DOCUMENT = "0192f0c1-7c1a-7000-8000-000000000001"
MSH = {9: [(("ORU",), ("R01",), ("ORU_R01",))], 11: [(("P",),)], 12: [(("2.5",),)]}
DANGEROUS = '\r\n|^~&\\"\x0b\x1c\x00\x7f\t EFSTRX.br0DMSHé€'
texts = st.one_of(st.text(min_size=1), st.text(alphabet=DANGEROUS, min_size=1))


def _message(*segments: Segment, **header: list[Repetition]) -> bytes:
    fields = {**MSH, **{int(name[3:]): value for name, value in header.items()}}
    return to_bytes([Segment("MSH", fields), *segments], DOCUMENT)


def _with(text: str) -> bytes:
    """The text twice in a field, in a component and a subcomponent, and alone in the next field."""
    leaves = (("a",), ("b", text), (text,))
    return _message(
        Segment("PID", {5: [leaves, leaves], 6: [((text,),)], 8: [(("F",),)]}),
        Segment("NTE", {3: [((text,),)], 4: [(("end",),)]}),
    )


@given(texts)
def test_our_parser_gives_the_same_text_back(text: str) -> None:
    message = reader.parse(_with(text))

    assert [segment.name for segment in message.segments] == ["MSH", "PID", "NTE"]
    pid, nte = message.segments[1:]
    assert len(pid.fields) == 9
    first, second = pid.fields[5].split("~")
    assert first == second
    assert message.unescape(first.split("^")[1].split("&")[1]) == text
    assert message.unescape(first.split("^")[2]) == text
    assert message.unescape(pid.fields[6]) == text
    assert message.unescape(nte.fields[3]) == text


@given(texts)
def test_python_hl7_gives_the_same_text_back(text: str) -> None:
    message = hl7.parse(_with(text).decode())

    assert [str(segment[0]) for segment in message] == ["MSH", "PID", "NTE"]
    assert len(message[1]) == 9
    assert len(message[1][5]) == 2
    for found in (message[1][5][0][1][1], message[1][5][1][2], message[1][6], message[2][3]):
        assert message.unescape(str(found)) == text


@given(texts.filter(str.strip))  # to hl7apy nothing but blanks is nothing
def test_hl7apy_gives_the_same_text_back(text: str) -> None:
    body = _with(text)
    message = parse_message(body.decode(), find_groups=False)
    unescape = reader.parse(body).unescape

    assert [child.name for child in message.children] == ["MSH", "PID", "NTE"]
    names = message.pid.pid_5
    assert len(names) == 2
    leaves = [
        message.nte.nte_3.children[0].children[0],
        *(name.xpn_3.children[0] for name in names),
    ]
    # Its own writer would escape the escapes again, so the value is taken as it was parsed.
    assert [unescape(leaf.value.value) for leaf in leaves] == [text] * 3


def test_a_line_break_of_formatted_text_is_a_command_and_reads_as_a_line_break() -> None:
    body = _message(Segment("OBX", {5: [((Formatted("one\r\ntwo|\n"),),)]}))

    message = reader.parse(body)

    assert message.segments[1].fields[5] == r"one\.br\two\F\\.br" + "\\"
    assert message.unescape(message.segments[1].fields[5]) == "one\ntwo|\n"


def test_two_quotes_as_a_text_do_not_delete_what_the_receiver_has() -> None:
    body = _message(Segment("PID", {13: [NULL], 14: [(('""',),)]}))

    fields = reader.parse(body).segments[1].fields

    assert fields[13] == '""'
    assert fields[14] != '""'
    assert hl7.parse(body.decode()).unescape(fields[14]) == '""'


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("8859/1", "iso8859-1"), ("8859/15", "iso8859-15"), ("UNICODE UTF-8", "utf-8")],
)
def test_the_bytes_are_of_the_character_set_that_msh_18_names(charset: str, codec: str) -> None:
    body = _message(Segment("PID", {5: [(("Élodie ç",),)]}), MSH18=[((charset,),)])

    assert f"|{charset}\r".encode() in body
    assert "Élodie ç".encode(codec) in body
    assert reader.parse(body).segments[1].fields[5] == "Élodie ç"


def test_without_a_word_on_it_the_message_is_utf_8_and_says_so() -> None:
    message = reader.parse(_message(Segment("PID", {5: [(("œuvre",),)]})))

    assert message.declared == "UNICODE UTF-8"
    assert message.repairs == ()


def test_a_character_the_set_does_not_have_is_refused_with_its_place() -> None:
    with pytest.raises(MappingError) as told:
        _message(Segment("PID", {5: [(("Œuvré",),)]}), MSH18=[(("8859/1",),)])

    assert told.value.code == "writing.charset"
    assert told.value.where == "PID-5"
    assert "Œ" not in str(told.value)


def test_a_character_set_that_is_not_written_here_is_refused() -> None:
    with pytest.raises(MappingError) as told:
        _message(MSH18=[(("ISO IR87",),)])

    assert told.value.where == "MSH-18"


def test_the_control_id_is_that_of_the_document_and_fits_its_field() -> None:
    first, again, other = (
        control_id("018f0000-0000-7000-8000-000000000000"),
        control_id("018f0000-0000-7000-8000-000000000000"),
        control_id("018f0000-0000-7000-8000-000000000001"),
    )

    assert first == again != other
    assert len(first) == 20
    assert reader.header(_message()).control_id == control_id(DOCUMENT)


def test_a_control_id_that_the_mapping_gives_stays() -> None:
    assert reader.header(_message(MSH10=[(("OWN-1",),)])).control_id == "OWN-1"


def test_empty_components_at_the_end_are_left_out() -> None:
    assert repetition("a", "", ("b", ""), "", "") == (("a",), (), ("b",))
    assert repetition("", ("", "")) is None


def test_nothing_but_what_has_a_meaning_is_escaped() -> None:
    assert escaped("Prélèvement à jeun ; 5 > 3 {ok} 'x'") == "Prélèvement à jeun ; 5 > 3 {ok} 'x'"
