"""Tests of `broker/writing/cda_text.py`: the words of what senders wrote in mark-up, whatever it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.writing.cda_text import words_of


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        ("", []),
        ("Un texte\n  simple", ["Un texte simple"]),
        ("<p>Un</p><p>deux<br/>trois</p>", ["Un", "deux", "trois"]),
        ("<div>a <b>gr</b>as</div>", ["a gras"]),
        ("<tr><td>a</td><td/><td>b</td></tr><tr><td>c</td></tr>", ["a | b", "c"]),
        ("<list><item>un</item><item>deux</item></list>", ["un", "deux"]),
        ("<v3:paragraph xmlns:v3='x'>a</v3:paragraph>b", ["a", "b"]),
        ("&lt;b&gt; &amp; &eacute;", ["<b> & é"]),
        ("a<!-- <p>non</p> > -->b", ["ab"]),
        ("a<script>x < 1</script>b<style/>c", ["abc"]),
        ("<![CDATA[a & b]]>", ["a & b"]),
        ("5 < 6 et <b>7</b>", ["5 < 6 et 7"]),
        ("<!-- jamais fermé", ["<!-- jamais fermé"]),
    ],
)
def test_words_of_mark_up(fragment: str, words: list[str]) -> None:
    assert words_of(fragment) == words


@given(st.text("<>/!-&#;ab \n\"'=[]", max_size=60))
def test_any_fragment_has_words_on_one_line_each(fragment: str) -> None:
    assert all(line == " ".join(line.split()) and line for line in words_of(fragment))


@pytest.mark.parametrize(
    "mark", ["<!--", "<a ", "<a b='", "<![CDATA[", "</", "<", "<script>", "&#", "<a"]
)
def test_a_hostile_fragment_takes_no_more_time_than_its_length(mark: str) -> None:
    begun = time.process_time()

    words_of(mark * 100_000)

    assert time.process_time() - begun < 5
