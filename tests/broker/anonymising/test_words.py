"""Replacements keep shape and bytes, are the same for the same, and never the same as what they replace."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.anonymising.permutation import permuted
from broker.anonymising.words import Words
from broker.identity import ins

WORDS = Words(b"a key")
CODECS = ("utf-8", "cp1252", "iso8859-15", "iso8859-2")
LATIN = st.text(
    st.sampled_from("abcdexyzABCDEXYZ0123456789éèêëçñùüÉÈÇÜßœŒ .,;-'@&|^~\\/()\r\n"), max_size=40
)


@given(LATIN)
@pytest.mark.parametrize("codec", CODECS)
def test_length_in_characters_and_in_bytes_is_kept(codec: str, text: str) -> None:
    text = text.encode(codec, "ignore").decode(codec)

    for new in (WORDS.text(text, codec), WORDS.free(text, codec)):
        assert len(new) == len(text)
        assert len(new.encode(codec)) == len(text.encode(codec))


@given(st.text(max_size=30).filter(lambda text: text.isprintable()))
def test_letters_of_any_script_keep_their_width_and_their_case(text: str) -> None:
    new = WORDS.text(text)

    assert [len(c.encode()) for c in new] == [len(c.encode()) for c in text]
    assert [c.isupper() for c in new] == [c.isupper() for c in text]


@given(LATIN)
def test_what_is_no_letter_and_no_digit_stays(text: str) -> None:
    new = WORDS.text(text, "cp1252")

    assert [c for c in text if not c.isalnum()] == [c for c in new if not c.isalnum()]
    assert [c.isdecimal() for c in text] == [c.isdecimal() for c in new]
    assert [c.isascii() for c in text] == [c.isascii() for c in new]


@given(st.from_regex(r"[A-Z]{2,20}|[A-Z][a-z]{2,20}|[1-9][0-9]{2,12}", fullmatch=True))
def test_no_word_stays_what_it_was(word: str) -> None:
    assert WORDS.text(word) != word


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.data())
def test_the_permutation_is_one_to_one_and_moves_everything(
    sizes: list[int], data: st.DataObject
) -> None:
    first, second = (
        [data.draw(st.integers(0, size - 1)) for size in sizes] for _ in ("first", "second")
    )

    new = permuted(first, sizes, b"key", b""), permuted(second, sizes, b"key", b"")

    assert (new[0] == new[1]) == (first == second)
    assert all(0 <= place < size for place, size in zip(new[0], sizes, strict=True))
    assert max(sizes) == 1 or new[0] != first


def test_a_small_domain_is_permuted_without_a_fixed_point() -> None:
    found = {n: permuted([n // 10, n % 10], [10, 10], b"key", b"") for n in range(100)}

    assert len({tuple(places) for places in found.values()}) == 100
    assert all(places != [n // 10, n % 10] for n, places in found.items())


def test_a_name_is_the_same_name_without_its_accents_and_in_capitals() -> None:
    plain = WORDS.text("HELENE")

    assert WORDS.text("Helene") == plain.capitalize()
    assert len(WORDS.text("Hélène")) == 6
    assert WORDS.text("Hélène")[0] == plain[0]


def test_another_key_gives_other_people() -> None:
    assert Words(b"one").text("DUPONT") != Words(b"two").text("DUPONT")
    assert Words(b"one").text("DUPONT") == Words(b"one").text("DUPONT")


def test_words_of_a_free_text_cannot_be_counted_over_texts() -> None:
    one, two = WORDS.free("le patient va bien"), WORDS.free("le patient va mal")

    assert one.split()[1] != two.split()[1]
    assert WORDS.free("le patient va bien") == one


@given(st.from_regex(r"[1278][0-9]{2}(0[1-9]|1[0-2])([0-8][1-9]|2A|2B)[0-9]{6}", fullmatch=True))
def test_an_ins_keeps_a_key_that_fits_wherever_it_stands(matricule: str) -> None:
    number = f"{matricule}{ins.key_of(matricule):02}"

    new = WORDS.text(f"INS {number}")[4:]

    assert ins.is_valid(new)
    assert new != number
    assert new[:13] == WORDS.text(matricule)


def test_a_key_that_does_not_fit_still_does_not() -> None:
    assert not ins.is_valid(WORDS.text("279035121518988"))


def test_the_authority_of_the_ins_becomes_the_one_for_tests() -> None:
    assert WORDS.authority(f"urn:oid:{ins.NIR}") == f"urn:oid:{ins.TEST}"
    assert WORDS.authority(ins.NIA) == ins.TEST
    assert WORDS.authority("1.2.250.1.213.1.4.81") == "1.2.250.1.213.1.4.81"


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)))
def test_a_date_moves_by_whole_weeks_in_every_form(day: date) -> None:
    moved = day + WORDS.shift

    assert moved.weekday() == day.weekday()
    assert moved < day
    assert WORDS.date(f"{day:%Y%m%d}") == f"{moved:%Y%m%d}"
    assert WORDS.date(f"{day:%Y%m%d}101112.5+0100") == f"{moved:%Y%m%d}101112.5+0100"
    assert WORDS.date(f"{day:%Y-%m-%d}T10:11:12Z") == f"{moved:%Y-%m-%d}T10:11:12Z"
    assert WORDS.date(f"{day:%d/%m/%Y}") == f"{moved:%d/%m/%Y}"
    assert len(WORDS.date(f"{day:%Y%m}")) == 6


@pytest.mark.parametrize("text", ["00000000", "20261399", "0000", "", "19790332"])
def test_an_impossible_date_stays_impossible(text: str) -> None:
    assert WORDS.date(text) == text


def test_a_day_or_month_of_zero_stays_zero_and_its_year_goes() -> None:
    assert WORDS.date("19790000") == WORDS.date("1979") + "0000"
    assert WORDS.date("19790300") == WORDS.date("197903") + "00"
    assert not WORDS.date("19790000").startswith("1979")


def test_what_is_no_date_in_the_place_of_one_is_replaced() -> None:
    assert WORDS.date("279035121518989") == WORDS.text("279035121518989")


def test_schemes_of_identifiers_stay_and_their_numbers_go() -> None:
    for text in (
        "urn:uuid:3f2a1111-2222-4333-8444-555566667777",
        "urn:oid:1.2.250.1.71.4.2.2.120456789",
        "mailto:jean@dupont.fr",
        "tel:0612345678",
    ):
        new = WORDS.text(text)

        assert new != text
        assert new[: text.index(":") + 1] == text[: text.index(":") + 1]
    assert WORDS.text("3f2a1111-2222-4333-8444-555566667777")[14] == "4"


def test_a_display_loses_only_the_people_of_its_file() -> None:
    words = Words(b"k")
    words.person("Jean DUPONT")

    shown = words.display("Compte rendu de Dupont né le 28/03/1979, INS 279035121518989")

    assert shown.startswith("Compte rendu de ")
    assert "Dupont" not in shown
    assert "1979" not in shown
    assert "279035121518989" not in shown
    words.forget_people()
    assert words.display("Compte rendu de Dupont") == "Compte rendu de Dupont"
