"""Dates keep their precision, numbers their digits, identifiers their authority."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.mapping import systems
from broker.mapping.values import PARIS, base64_bytes, hl7_when, iso_when, text_range

SYSTEMS = Path(__file__).resolve().parents[3] / "mappings" / "tables" / "systems.csv"


@pytest.mark.parametrize(
    ("text", "value", "offset", "assumed"),
    [
        ("1979", "1979", "", ""),
        ("197903", "1979-03", "", ""),
        ("19790328", "1979-03-28", "", ""),
        ("202403090735", "2024-03-09T07:35", "", "+01:00"),
        ("20240709073512.123", "2024-07-09T07:35:12.123", "", "+02:00"),
        ("19641028000000-0600", "1964-10-28T00:00:00", "-06:00", ""),
        ("20240309073500Z", "2024-03-09T07:35:00", "+00:00", ""),
    ],
)
def test_a_time_stamp_is_cut_where_the_sender_cut_it(
    text: str, value: str, offset: str, assumed: str
) -> None:
    found = hl7_when(text, PARIS)

    assert (found.value, found.offset, found.assumed_offset) == (value, offset, assumed)


def test_an_unknown_day_written_as_zeros_shortens_the_precision() -> None:
    found = hl7_when("19790000", PARIS)

    assert (found.value, found.original) == ("1979", "19790000")


@pytest.mark.parametrize("text", ["20241301", "20240230", "F", "12345678901234567", "2024-13-01"])
def test_what_is_no_date_is_kept_as_it_was(text: str) -> None:
    found = hl7_when(text, PARIS)

    assert (found.value, found.original) == ("", text)


@given(st.datetimes())
def test_a_date_of_birth_is_never_moved(moment: object) -> None:
    digits = f"{moment:%Y%m%d}".zfill(8)

    assert hl7_when(digits, PARIS).value == f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"


def test_midnight_can_be_declared_unknown() -> None:
    assert hl7_when("20240309000000", PARIS, midnight_is_unknown=True).value == "2024-03-09"


def test_an_iso_instant_keeps_its_offset_beside_it() -> None:
    found = iso_when("2024-03-09T07:35:00.5+05:30", PARIS)

    assert (found.value, found.offset) == ("2024-03-09T07:35:00.5", "+05:30")


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("12-16", "12", "16"), ("<5", "", "5"), (">=3,5", "3.5", ""), ("négatif", "", "")],
)
def test_a_reference_range_keeps_its_text(text: str, low: str, high: str) -> None:
    found = text_range(text)

    assert found.text == text
    assert (found.low.value if found.low else "") == low
    assert (found.high.value if found.high else "") == high


@given(st.binary(min_size=1), st.integers(0, 2))
def test_base64_survives_blanks_and_lost_padding(data: bytes, cut: int) -> None:
    text = base64.b64encode(data).decode()
    while cut and text.endswith("="):
        text, cut = text[:-1], cut - 1

    assert base64_bytes(f" {text[:5]}\n{text[5:]} ")[0] == data


@given(st.text(alphabet="AB+/=_- \n\u00e9", max_size=12))
def test_base64_that_is_read_without_repair_is_what_the_standard_library_reads(text: str) -> None:
    data, repaired = base64_bytes(text)

    if data is not None and not repaired:
        assert data == base64.b64decode("".join(text.split()), validate=True)


def test_too_much_padding_is_read_as_meant_and_said() -> None:
    assert base64_bytes("QUJD=") == (b"ABC", True)


@pytest.mark.parametrize(
    ("authority", "value", "wanted"),
    [
        ("1.2.250.1.71.4.2.1", "801234534765", ("rpps", "RPPS", "01234534765")),
        ("1.2.250.1.71.4.2.1", "10000023084", ("rpps", "RPPS", "10000023084")),
        ("1.2.250.1.71.4.2.2", "1120459876", ("finess", "FINESS", "120459876")),
        ("1.2.250.1.71.4.2.2", "300017985", ("finess", "FINESS", "300017985")),
        ("1.2.250.1.213.1.4.8", "279035121518989", ("ins_nir", "INS-NIR", "279035121518989")),
        (
            "urn:oid:1.2.250.1.213.1.4.10",
            "279035121518989",
            ("ins_nir_test", "INS-NIR", "279035121518989"),
        ),
        ("https://rpps.esante.gouv.fr", "10000023084", ("rpps", "RPPS", "10000023084")),
        ("1.9.9", "x", ("1.9.9", "", "x")),
    ],
)
def test_an_identifier_is_the_same_under_oid_uri_and_prefix(
    authority: str, value: str, wanted: tuple[str, str, str]
) -> None:
    table = systems.parse(SYSTEMS.read_text(encoding="utf-8"))

    assert table.identify(authority, value) == wanted


def test_a_test_ins_is_never_a_production_one() -> None:
    table = systems.parse(SYSTEMS.read_text(encoding="utf-8"))

    real, _, _ = table.identify("1.2.250.1.213.1.4.8", "279035121518989")
    test, _, _ = table.identify("1.2.250.1.213.1.4.10", "279035121518989")
    bare, _, _ = table.identify("ASIP-SANTE-INS-NIR", "279035121518989")

    assert len({real, test, bare}) == 3
