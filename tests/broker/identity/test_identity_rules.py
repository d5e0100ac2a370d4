"""What the published tables say of INS and PID-32, row by row, against the code and the mappings that are used."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from broker.document import Document, Identifier, Patient
from broker.identity import ins
from broker.identity.matching import keys_of
from broker.mapper import Given, Mapper
from broker.mapping import catalogue
from broker.records.patients import PatientRow
from broker.rules import decide
from tests.broker.identity_site import ONE_INS, a04, cx

MAPPINGS = Path(__file__).parents[3] / "mappings"
RULES = decide.load(MAPPINGS / "rules")


def table(*kinds: str) -> list[dict[str, str]]:
    with (MAPPINGS / "rules" / "identity-rules.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["kind"] in kinds]


STATUSES = table("pid32_status", "pid32_attribute")


@pytest.fixture(scope="module")
def mapper() -> Mapper:
    return Mapper(catalogue.load(MAPPINGS))


def read(mapper: Mapper, status: str) -> Document:
    given = Given(
        message_id="019a0000-0000-7000-8000-000000000001", source="ward", media="", charset="",
        received_at="2026-11-23T10:00:00+00:00", sha256="00" * 32,
    )  # fmt: skip
    made = mapper.read(a04("1", cx("A", ONE_INS), status=status), given)
    (document,) = made.documents
    return document


@pytest.mark.parametrize("row", STATUSES, ids=[row["code"] for row in STATUSES])
def test_only_a_validated_identity_brings_its_ins(mapper: Mapper, row: dict[str, str]) -> None:
    document = read(mapper, row["code"])

    keys = keys_of(document.patient, "hl7v2", "ward", production=False)

    has_ins = any(key.strength == "ins" for key in keys.usable)
    assert has_ins == row["file_dmp_mes"].startswith("Y")


REFUSED = {
    "DESA", "DOUA", "DOUB", "DPOT", "COLP", "COLV", "CACH", "ANOM", "USUR", "INVA", "FICT", "DOUT",
}  # fmt: skip
"""Identities on which nothing is filed at all; the others of the table are filed under their local number only."""


@pytest.mark.parametrize("row", STATUSES, ids=[row["code"] for row in STATUSES])
def test_what_may_be_filed_by_pid32(mapper: Mapper, row: dict[str, str]) -> None:
    document = read(mapper, row["code"])

    decision = RULES.filing(PatientRow(1), document)

    assert decision.allowed == (row["code"] not in REFUSED)
    if row["code"] in REFUSED:
        assert (decision.rule, decision.reason) == ("IDT-01", "identity.doubtful")
        assert row["file_dmp_mes"] == "N"
    forbids = ("refuse", "never file", "freeze", "follow A40", "human queue")
    if row["broker_action"].startswith(forbids):
        assert not decision.allowed


@pytest.mark.parametrize("row", table("key_test_vector"), ids=lambda row: row["code"])
def test_the_key_of_the_table_is_the_key_we_compute(row: dict[str, str]) -> None:
    assert f"{ins.key_of(row['code']):02d}" == row["value"]
    assert ins.is_valid(row["code"] + row["value"])


@pytest.mark.parametrize(
    "row",
    [row for row in table("oid") if row["code"].startswith("INS")],
    ids=lambda row: row["code"],
)
def test_a_production_installation_takes_no_number_of_test_or_demonstration(
    row: dict[str, str],
) -> None:
    number = Identifier(value=ONE_INS, oid=row["value"], type_code="INS")
    who = Patient(identifiers=(number,), identity_status="validated")

    inside = keys_of(who, "hl7v2", "ward", production=True)
    outside = keys_of(who, "hl7v2", "ward", production=False)

    is_real = row["code"] in ("INS-NIR", "INS-NIA")
    assert bool(inside.usable) == is_real
    assert outside.usable
    if not is_real:
        assert inside.ignored[0].reason == "identity.ins_test"
