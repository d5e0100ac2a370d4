"""F40: a file is as many messages as it holds, whatever wraps them, and every message keeps its bytes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7_batch import Batch, split

A = b"MSH|^~\\&|A\rPID|1\r"
B = b"MSH|^~\\&|B\rPID|2\r"
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "hl7v2"


@pytest.mark.parametrize("line_end", [b"\r", b"\n", b"\r\n"])
def test_a_batch_with_its_envelopes_is_its_messages(line_end: bytes) -> None:
    data = b"FHS|^~\\&|X\rBHS|^~\\&|X\r" + A + B + b"BTS|2\rFTS|1\r"

    batch = split(data.replace(b"\r", line_end))

    assert batch == Batch(tuple(m.replace(b"\r", line_end) for m in (A, B)))


def test_messages_without_envelope_are_cut_at_their_msh() -> None:
    assert split(A + b"\n\n" + B) == Batch((A + b"\n\n", B))


def test_a_bom_stays_with_the_message_it_stands_before() -> None:
    assert split(b"\xef\xbb\xbf" + A) == Batch((b"\xef\xbb\xbf" + A,))
    assert split(b"\xef\xbb\xbfFHS|^~\\&\r" + A + b"FTS|1\r") == Batch((A,))


def test_bytes_of_mllp_frames_saved_along_are_left_out() -> None:
    assert split(b"\x0b" + A + b"\x1c\r\x0b" + B + b"\x1c\r\n") == Batch((A, B))


def test_wrong_counts_are_said_and_cost_no_message() -> None:
    batch = split(b"BHS|^~\\&\r" + A + B + b"BTS|25\r")

    assert batch == Batch((A, B), ("batch.count",))


def test_each_batch_of_a_file_is_counted_alone() -> None:
    batch = split(b"FHS|^~\\&\rBHS|^~\\&\r" + A + b"BTS|1\rBHS|^~\\&\r" + B + b"BTS|1\rFTS|2\r")

    assert batch == Batch((A, B))


@pytest.mark.parametrize("data", [b"FHS|^~\\&\r" + A, b"FHS|^~\\&\rBHS|^~\\&\r" + A + b"BTS|1\r"])
def test_a_header_without_its_trailer_may_be_a_cut_file(data: bytes) -> None:
    batch = split(data)

    assert batch == Batch((A,), ("batch.no_trailer",))


def test_an_envelope_may_be_empty() -> None:
    assert split(b"FHS|^~\\&\rBHS|^~\\&\rBTS|0\rFTS|1\r") == Batch(())


def test_bare_trailers_and_odd_delimiters_are_known() -> None:
    odd = b"MSH#!@%*#A\rPID#1\r"

    assert split(b"BHS\r" + odd + b"BTS\r") == Batch((odd,))


def test_text_that_begins_like_a_segment_begins_no_message() -> None:
    text = A + b"OBX|1|TX|||line\nMSH of the patient\nMSH|x|y\nBTSomething\r"

    assert split(text) == Batch((text,))


def test_text_before_the_first_segment_is_said() -> None:
    assert split(b"# exported\n" + A) == Batch((A,), ("batch.preamble",))


def test_a_broken_msh_is_one_message_for_the_broker_to_judge() -> None:
    assert split(b"MSH|broken\rPID|1\r") == Batch((b"MSH|broken\rPID|1\r",))


@pytest.mark.parametrize(
    "data", [b"", b"<ClinicalDocument/>", b'{"resourceType":"Bundle"}', b"PK\x03\x04MSH"]
)
def test_other_files_are_not_hl7v2(data: bytes) -> None:
    assert split(data) is None


LINES = st.lists(
    st.binary(max_size=8).map(lambda b: b"OBX|" + re.sub(rb"[\r\n\x0b\x1c]", b"", b)), max_size=4
)


@given(st.lists(LINES, min_size=1, max_size=6), st.sampled_from([b"\r", b"\n", b"\r\n"]))
def test_what_was_joined_is_split_again(contents: list[list[bytes]], line_end: bytes) -> None:
    messages = [line_end.join([b"MSH|^~\\&|A", *lines]) + line_end for lines in contents]
    head = line_end.join([b"FHS|^~\\&", b"BHS|^~\\&", b""])
    tail = line_end.join([b"BTS|%d" % len(messages), b"FTS|1", b""])

    assert split(b"".join(messages)) == Batch(tuple(messages))
    assert split(head + b"".join(messages) + tail) == Batch(tuple(messages))


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the public corpus does not lie beside the project")
def test_every_message_of_the_corpus_is_found_and_no_byte_of_it_is_lost() -> None:
    for path in sorted(CORPUS.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        batch = split(data)
        if batch is None:
            continue
        starts = re.findall(
            rb"(?:\A(?:\xef\xbb\xbf)?|[\r\n\x0b\x1c])[ \t]*MSH([^\w\s])[^\w\s]{1,5}\1", data
        )
        assert len(batch.messages) == max(len(starts), not re.search(rb"(?m)^(FHS|BHS)", data)), (
            path.name
        )
        assert all(message in data for message in batch.messages), path.name
