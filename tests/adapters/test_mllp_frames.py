"""MLLP frames survive every way a network can hand them over (F17)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mllp_frames import FrameDecoder, Oversize, encode

# Bytes of a message: no EB before CR or SB, and neither SB nor EB at the edges, where they would be doubled marks.
BODIES = st.lists(
    st.sampled_from(
        [b"MSH|^~\\&|A", b"\r", b"\n", b"PID|1", b"\xe9", b"\x1cx", b"x\x0b", b"|", b"\x00"]
    ),
    min_size=1,
    max_size=12,
).map(lambda parts: b"M" + b"".join(parts) + b"Z")
JUNK = st.sampled_from([b"", b"\r\n", b"junk", b"\r", b"\x1c\r"])


def decode(stream: list[bytes], max_bytes: int = 1000) -> tuple[list[bytes], FrameDecoder]:
    decoder = FrameDecoder(max_bytes)
    frames = [frame for data in stream for frame in decoder.feed(data)]
    return frames, decoder


@given(st.lists(st.tuples(JUNK, BODIES), min_size=1, max_size=5), st.data())
def test_frames_survive_any_split_of_the_stream_and_any_junk_between(
    sent: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(junk + encode(body) for junk, body in sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))

    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    frames, decoder = decode(pieces)

    assert frames == [body for _, body in sent]
    assert decoder.junk_bytes == sum(len(junk.strip(b"\r\n")) for junk, _ in sent)
    assert not decoder.is_open


@given(BODIES)
def test_one_byte_at_a_time_gives_the_same_message(body: bytes) -> None:
    frames, _ = decode([bytes([byte]) for byte in encode(body)])

    assert frames == [body]


def test_a_missing_final_cr_is_made_up_for_by_the_next_start() -> None:
    frames, _ = decode([b"\x0bMSH|1\r\x1c\x0bMSH|2\r\x1c\r"])

    assert frames == [b"MSH|1\r", b"MSH|2\r"]


def test_a_missing_final_cr_at_the_end_waits_for_the_flush() -> None:
    frames, decoder = decode([b"\x0bMSH|1\r\x1c"])

    assert (frames, decoder.ending, decoder.flush(), decoder.is_open) == (
        [],
        True,
        [b"MSH|1\r"],
        False,
    )


def test_an_eb_inside_a_field_is_data_and_no_flush_cuts_there() -> None:
    frames, decoder = decode([b"\x0bMSH|1\x1c"])

    assert not decoder.ending
    assert decoder.feed(b"2\r\x1c\r") == [b"MSH|1\x1c2\r"]
    assert frames == []


def test_doubled_frame_bytes_do_not_belong_to_the_message() -> None:
    frames, _ = decode([b"\x0b\x0bMSH|1\r\x1c\x1c\r"])

    assert frames == [b"MSH|1\r"]


def test_a_frame_begun_anew_replaces_the_one_broken_off() -> None:
    frames, decoder = decode([b"\x0bMSH|1\rPID|", b"1\r\x0bMSH|2\r\x1c\r"])

    assert (frames, decoder.broken_frames) == ([b"MSH|2\r"], 1)


def test_empty_frames_are_no_messages() -> None:
    assert decode([b"\x0b\x1c\r\x0b\r\x1c\r"])[0] == []


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_frame_too_long_is_skipped_to_its_end_and_the_next_one_is_whole(size: int) -> None:
    stream = encode(b"MSH|" + b"x" * 5000) + encode(b"MSH|2")
    decoder = FrameDecoder(100)

    frames, most = [], 0
    for start in range(0, len(stream), size):
        frames += decoder.feed(stream[start : start + size])
        most = max(most, decoder.held_bytes)

    assert [type(frame) for frame in frames] == [Oversize, bytes]
    assert frames[0].startswith(b"MSH|xx")
    assert frames[1] == b"MSH|2"
    assert most <= 100 + size + 1


def test_a_frame_of_exactly_the_limit_is_taken() -> None:
    assert decode([encode(b"M" * 100)], max_bytes=100)[0] == [b"M" * 100]
    assert isinstance(decode([encode(b"M" * 101)], max_bytes=100)[0][0], Oversize)
