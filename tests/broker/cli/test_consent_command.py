"""`carnet consent` and the questions of `carnet decide`."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
from sqlalchemy import text

from broker.database.engine import open_engine, reading
from tests.broker.cli.command import carnet
from tests.broker.cli.conftest import Place
from tests.broker.records import record


@pytest.fixture(scope="module")
def patient(place: Place) -> str:
    """A patient of the place, by number."""
    engine = open_engine(place.url)
    number = record.person(engine)
    engine.dispose()
    return str(number)


def test_each_word_is_an_event_and_an_entry_of_the_trail(place: Place, patient: str) -> None:
    commands = (
        ("give", "--to", "structure:990000001#V1"),
        ("block", "899900000029"),
        ("team", "899900000037"),
        ("traitant", "899900000037"),
        ("oppose-emergency", "centre_15"),
        ("mandate", "p-1", "--until", "2027-12-31"),
        ("application", "vaccines"),
        ("minor-act", "L.1111-5"),
    )

    for command in commands:
        ended = carnet("consent", *command, "--patient", patient, "--json", *place.config)
        assert ended.code == 0, ended.err

    (shown,) = carnet("consent", "show", "--patient", patient, "--json", *place.config).lines
    told = {one["kind"]: (one["scope"], one["value"]) for one in shown["said"]}
    assert told["consultation"] == ("structure:990000001#V1", "IC")
    assert told["block"] == ("ps|899900000029", "blocked")
    assert told["mandate"] == ("p-1", "parent/all//2027-12-31")
    assert [one["member"] for one in shown["team"]] == ["ps|899900000037"]
    assert "p-1" in carnet("consent", "show", "--patient", patient, *place.config).out


@pytest.mark.parametrize(
    "command",
    [
        ("mandate", "p-1", "--kind", "king"),
        ("mandate", " "),
        ("minor-act", "L.1"),
        ("oppose-emergency", "soon"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    place: Place, patient: str, command: tuple[str, ...]
) -> None:
    ended = carnet("consent", *command, "--patient", patient, *place.config)

    assert ended.code == 2
    assert "consent.unknown" in ended.err


def test_a_change_of_a_document_that_is_not_there_is_refused(place: Place) -> None:
    nowhere = "0192f0c4-0000-7000-8000-00000000dead"

    ended = carnet(
        "consent", "document", "mask", nowhere, "--as", "patient:1", "--json", *place.config
    )

    assert ended.code == 1
    assert ended.lines[0]["allowed"] is False


def test_a_supposed_cell_and_a_past_day_answer_otherwise() -> None:
    asked = ("decide", "--profession", "podiatrist", "--type", "34112-3", "--json")
    past = (
        "decide",
        "--profession",
        "physician",
        "--type",
        "34112-3",
        "--if",
        "team=none",
        "--json",
    )

    refused = carnet(*asked)
    allowed = carnet(*asked, "--if", "matrix:PEDICURE_PODOLOGUE/34112-3=O")
    assert (refused.code, refused.lines[0]["rule"]) == (1, "MAT-08")
    assert (allowed.code, allowed.lines[0]["rule"]) == (0, "MAT-02")
    assert refused.lines[0]["path"][-1] == {"step": "closed", "rule": "MAT-08", "said": "deny"}
    assert carnet(*past).lines[0]["rule"] == "CON-03"
    assert carnet(*past, "--at", "2024-06-01").code == 0
    assert carnet(*asked, "--if", "moon=full").code == 2
    assert carnet(*asked, "--at", "soon").code == 2
    assert record.RULES.matrix.version in refused.lines[0]["matrix_version"]


def trail_of(place: Place, act: str) -> list[dict[str, object]]:
    """The entries of an act, oldest first, their JSON read."""
    engine = open_engine(place.url)
    with reading(engine) as connection:
        rows = connection.execute(
            text("SELECT * FROM audit_entry WHERE act = :act ORDER BY n"), {"act": act}
        )
        found = [dict(row) for row in rows.mappings()]
    engine.dispose()
    for one in found:
        one |= {name: json.loads(str(one[name] or "{}")) for name in ("actor_snapshot", "details")}
    return found


def test_aud_01_aud_03_a_grant_a_block_and_a_mask_leave_who_what_how_and_by_which_rule(
    place: Place,
) -> None:
    engine = open_engine(place.url)
    number = record.person(engine, "77002")
    paper = record.paper()
    record.put(engine, number, paper)
    engine.dispose()
    patient = ("--patient", str(number), "--by", "jdupont", "--channel", "phone", *place.config)
    before = len(trail_of(place, "consent_changed"))

    given = ("--to", "structure:990000001#V1", "--on-behalf-of", "899900000029")
    carnet("consent", "give", *given, *patient)
    carnet("consent", "block", "899900000029", *patient)
    carnet("consent", "document", "mask", paper.id, "--as", f"patient:{number}", *place.config)
    stranger = "profession=G15_80,id=899900000011,structure=990000001,structure_name=CABINET"
    carnet("consent", "document", "delete", paper.id, "--as", stranger, *place.config)

    grant, block, mask = trail_of(place, "consent_changed")[before:]
    (refused,) = trail_of(place, "refused")[-1:]
    for one in (grant, block):
        assert (one["actor_kind"], one["actor"], one["patient"]) == ("operator", "jdupont", number)
    assert grant["details"] == {
        "change": "consent given", "about": "structure:990000001#V1", "channel": "phone",
        "on_behalf_of": "899900000029",
    }  # fmt: skip
    assert block["details"] == {"change": "block", "about": "ps|899900000029", "channel": "phone"}
    versions = {"rules": record.RULES.version, "matrix": record.RULES.matrix.version}
    assert (mask["actor_kind"], mask["actor"], mask["mode"]) == ("patient", str(number), "normal")
    assert (mask["subject"], mask["patient"]) == (paper.id, number)
    assert mask["details"] == {
        "rule": "VIS-01", **versions, "change": "mask", "channel": "counter", "type": "34112-3",
    }  # fmt: skip
    assert refused["actor_snapshot"] == {
        "kind": "professional", "id": "899900000011", "profession": "G15_80", "structure": "990000001",
        "structure_name": "CABINET",
    }  # fmt: skip
    assert isinstance(refused["details"], dict)
    assert refused["details"]["rule"] == str(refused["outcome"]).partition(" ")[2]
    assert {one["software"] for one in (grant, block, mask, refused)} == {
        f"carnet/{version('carnet')}"
    }
