"""Tests of `broker/writing/systems.py`: its numbers are those of the mappings' table."""

from __future__ import annotations

import csv

import pytest

from broker.document import Coding, Identifier
from broker.writing import systems
from broker.writing.systems import Id, code_system, instance, is_ins, of_uuid
from tests.broker.writing.documents import PROJECT

TABLE = PROJECT / "mappings" / "tables" / "systems.csv"


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(line for line in text if not line.startswith("#")))


def test_every_code_system_of_the_table_is_written_by_its_oid() -> None:
    for row in rows():
        if row["uri"].startswith("http") and row["oid"]:
            assert code_system(Coding(code="x", system=row["uri"])) == row["oid"], row["key"]


def test_every_identity_of_the_table_is_written_by_its_oid() -> None:
    ins = {row["key"]: row["oid"] for row in rows() if row["kind"].startswith("INS-")}

    assert ins == systems.INS


def test_national_ids_of_the_table_stand_under_its_oids() -> None:
    oids = {row["key"]: row["oid"] for row in rows()}

    assert oids["idnat_ps"] == systems.PROFESSIONALS
    assert oids["idnat_struct"] == systems.STRUCTURES


@pytest.mark.parametrize(
    ("coding", "oid"),
    [
        (Coding(system="urn:oid:1.2.250.1.213.1.1.4.12"), "1.2.250.1.213.1.1.4.12"),
        (Coding(system="http://terminology.hl7.org/CodeSystem/v2-0074"), "2.16.840.1.113883.12.74"),
        (Coding(system="LOCAL", system_as_received="1.2.3"), "1.2.3"),
        (Coding(system="https://chu.example/codes"), ""),
        (Coding(system="1.02.3"), ""),
    ],
)
def test_a_system_without_oid_has_none(coding: Coding, oid: str) -> None:
    assert code_system(coding) == oid


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Identifier(value="1.2.3.4"), Id("1.2.3.4", "")),
        (
            Identifier(value="urn:uuid:018f0000-0000-7000-8000-000000000001"),
            Id("018f0000-0000-7000-8000-000000000001", ""),
        ),
        (Identifier(value="1.2.3.4", system="1.2.9"), Id("1.2.9", "1.2.3.4")),
        (Identifier(value="42", system="https://x.example"), Id("", "42", "https://x.example")),
        (Identifier(value="99900000011", kind="RPPS"), Id("1.2.250.1.71.4.2.1", "899900000011")),
    ],
)
def test_an_identifier_has_the_root_of_its_authority(item: Identifier, expected: Id) -> None:
    assert instance(item) == expected


@pytest.mark.parametrize(
    "item",
    [
        Identifier(value="1", system="ins_nia"),
        Identifier(value="1", oid="1.2.250.1.213.1.4.8"),
        Identifier(value="1", type_code="INS"),
        Identifier(value="1", kind="INS-NIR"),
    ],
)
def test_a_national_identity_is_known_by_any_of_its_names(item: Identifier) -> None:
    assert is_ins(item)


def test_the_oid_of_a_uuid_is_its_integer() -> None:
    assert of_uuid("00000000-0000-0000-0000-000000000010") == "2.25.16"
