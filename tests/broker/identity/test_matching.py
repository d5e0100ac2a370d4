"""Which identifiers name a patient, and whom. All numbers are invented or published test vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.document import Identifier, Patient
from broker.identity import ins
from broker.identity.matching import Key, PatientKeys, keys_of, match

INS = Identifier(
    value="184126322000143", system="ins_nir", kind="INS-NIR", oid=ins.NIR, type_code="INS"
)
OTHER_INS = Identifier(value="279035121518989", oid=ins.NIR, type_code="INS")
IPP = Identifier(value="77001", system="1.2.250.1.999.2", oid="1.2.250.1.999.2", type_code="PI")


def patient(*identifiers: Identifier, status: str = "validated") -> Patient:
    return Patient(identifiers=identifiers, identity_status=status)


def reasons(keys: PatientKeys) -> list[str]:
    return [one.reason for one in keys.ignored]


def test_a_validated_ins_comes_before_the_local_number() -> None:
    keys = keys_of(patient(IPP, INS), "hl7v2", "ward", production=True)

    assert [key.pair for key in keys.usable] == [(ins.NIR, INS.value), ("1.2.250.1.999.2", "77001")]


@pytest.mark.parametrize("status", ["provisional", "unknown", "doubtful", "fictitious", ""])
def test_in_hl7v2_an_ins_without_validation_is_not_used(status: str) -> None:
    keys = keys_of(patient(INS, IPP, status=status), "hl7v2", "ward", production=True)

    assert [key.strength for key in keys.usable] == ["local"]
    assert reasons(keys) == ["identity.ins_not_qualified"]


@pytest.mark.parametrize("fmt", ["cda", "fhir-r4"])
def test_cda_and_fhir_carry_only_qualified_ins_unless_they_say_otherwise(fmt: str) -> None:
    assert keys_of(patient(INS, status=""), fmt, production=True).usable[0].strength == "ins"
    assert not keys_of(patient(INS, status="provisional"), fmt, production=True).usable


def test_the_same_ins_has_one_key_in_every_format() -> None:
    fhir = Identifier(value="184126322000143", system="ins_nir", uri="urn:oid:1.2.250.1.213.1.4.8")
    bare = Identifier(value="184126322000143", system="urn:oid:1.2.250.1.213.1.4.8")

    pairs = {
        keys_of(patient(one), "cda", production=True).usable[0].pair for one in (INS, fhir, bare)
    }

    assert pairs == {(ins.NIR, "184126322000143")}


def test_a_test_identity_is_refused_in_production_and_never_equals_a_real_one() -> None:
    test = Identifier(value="184126322000143", oid=ins.TEST, type_code="INS")

    assert reasons(keys_of(patient(test), "hl7v2", production=True)) == ["identity.ins_test"]
    outside = keys_of(patient(test), "hl7v2", production=False).usable[0]
    assert outside.pair != keys_of(patient(INS), "hl7v2", production=False).usable[0].pair


@pytest.mark.parametrize("type_code", ["NH", "SS", "INS-C", "AN", "VN"])
def test_billing_and_stay_numbers_never_name_a_patient(type_code: str) -> None:
    billing = Identifier(value="184126322000143", oid=ins.NIR, type_code=type_code)

    keys = keys_of(patient(billing), "hl7v2", "ward", production=False)

    assert not keys.usable
    assert match(keys, {}).outcome == "missing"


@pytest.mark.parametrize(
    "value", ["", " ", '""', "REDACTED", "unknown", "0", "000000000", "999999", "XXXX"]
)
def test_placeholders_name_nobody(value: str) -> None:
    keys = keys_of(
        patient(Identifier(value=value, oid="1.2.3", type_code="PI")),
        "hl7v2",
        "ward",
        production=False,
    )

    assert not keys.usable
    assert match(keys, {}).reason == "identity.missing"


def test_a_wrong_key_or_an_unknown_ins_authority_is_refused() -> None:
    wrong = Identifier(value="184126322000144", oid=ins.NIR, type_code="INS")
    strange = Identifier(value="184126322000143", oid="1.2.250.1.213.1.4.13")

    keys = keys_of(patient(wrong, strange), "hl7v2", "ward", production=False)

    assert reasons(keys) == ["identity.ins_invalid", "identity.ins_authority"]


def test_a_number_without_authority_counts_only_within_its_source() -> None:
    bare = Identifier(value="12345", type_code="MR")

    ward = keys_of(patient(bare), "hl7v2", "ward", production=False).usable[0]
    lab = keys_of(patient(bare), "hl7v2", "lab", production=False).usable[0]

    assert ward.pair == ("source:ward", "12345")
    assert ward.pair != lab.pair
    assert reasons(keys_of(patient(bare), "hl7v2", production=False)) == ["identity.no_authority"]


@pytest.mark.parametrize(
    ("number", "system"), [("9" * 200 + "X" * 51, "1.2.3"), ("12345", "urn:x:" + "y" * 250)]
)
def test_a_number_that_no_index_takes_names_nobody(number: str, system: str) -> None:
    far = Identifier(value=number, system=system, type_code="PI")
    near = Identifier(value="N" * 249 + "X", system="urn:x:" + "y" * 244, type_code="PI")

    assert reasons(keys_of(patient(far), "hl7v2", production=False)) == ["identity.too_long"]
    assert len(keys_of(patient(near), "hl7v2", production=False).usable) == 1


def test_a_licence_and_a_record_number_of_one_source_do_not_meet() -> None:
    licence = Identifier(value="12345", type_code="DL")
    record = Identifier(value="12345", type_code="MR")

    keys = keys_of(patient(licence, record), "hl7v2", "ward", production=False)

    assert len({key.pair for key in keys.usable}) == 2


def test_unknown_keys_make_a_new_patient_and_known_ones_find_it() -> None:
    keys = keys_of(patient(INS, IPP), "hl7v2", "ward", production=False)

    assert match(keys, {}).outcome == "new"
    found = match(keys, {(ins.NIR, INS.value): 7})
    assert (found.outcome, found.patient) == ("found", 7)
    assert [key.pair for key in found.new_keys] == [("1.2.250.1.999.2", "77001")]


def test_keys_of_two_patients_are_a_conflict_and_never_a_merge() -> None:
    keys = keys_of(patient(INS, IPP), "hl7v2", "ward", production=False)

    made = match(keys, {(ins.NIR, INS.value): 7, ("1.2.250.1.999.2", "77001"): 8})

    assert (made.outcome, made.reason) == ("conflict", "identity.conflict")


def test_another_ins_for_a_known_local_number_is_a_conflict() -> None:
    keys = keys_of(patient(OTHER_INS, IPP), "hl7v2", "ward", production=False)

    made = match(keys, {("1.2.250.1.999.2", "77001"): 7}, {7: [(ins.NIR, INS.value)]})

    assert (made.outcome, made.reason) == ("conflict", "identity.ins_differs")


def test_a_nir_beside_a_known_nia_is_the_same_person() -> None:
    keys = keys_of(patient(INS, IPP), "hl7v2", "ward", production=False)

    made = match(keys, {("1.2.250.1.999.2", "77001"): 7}, {7: [(ins.NIA, "184126322000143")]})

    assert made.outcome == "found"


def test_two_ins_in_one_message_are_a_conflict() -> None:
    keys = keys_of(patient(INS, OTHER_INS), "hl7v2", "ward", production=False)

    assert match(keys, {}).outcome == "conflict"


@given(
    st.permutations([INS, IPP, OTHER_INS, Identifier(value="9", type_code="MR")]),
    st.integers(0, 15),
)
def test_the_order_of_identifiers_never_decides_whose_message_it_is(
    order: list[Identifier], known: int
) -> None:
    pairs = [key.pair for key in keys_of(patient(*order), "hl7v2", "ward", production=False).usable]
    found = {pair: 1 + (known >> n & 1) for n, pair in enumerate(sorted(pairs)) if known & (1 << n)}

    one = match(keys_of(patient(*order), "hl7v2", "ward", production=False), found)
    other = match(keys_of(patient(*reversed(order)), "hl7v2", "ward", production=False), found)

    assert (one.outcome, one.patient, one.reason) == (other.outcome, other.patient, other.reason)


def test_no_patient_is_missing() -> None:
    assert match(keys_of(None, "hl7v2", "ward", production=True), {}).reason == "identity.missing"
    assert Key("a", "b", "PI", "local").pair == ("a", "b")
