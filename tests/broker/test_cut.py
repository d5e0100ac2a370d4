"""Long texts are cut as `str.split` cuts them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker import values
from broker.values import cut

PIECES = st.lists(
    st.one_of(st.text("ab^é|", max_size=5), st.builds("x".__mul__, st.integers(0, 40_000))),
    max_size=60,
)


@given(PIECES)
def test_any_text_is_cut_as_split_does(pieces: list[str]) -> None:
    text = "|".join(pieces)

    assert cut(text, "|") == text.split("|")


def test_a_long_text_of_short_pieces_and_one_of_long_ones() -> None:
    short, long = "ab|" * 20_000, "|".join("x" * 30_000 for _ in range(9))

    assert len(short) > values._LONG_CHARACTERS
    assert cut(short, "|") == short.split("|")
    assert cut(long, "|") == long.split("|")
