"""`carnet consent` and the questions of `carnet decide`."""

from __future__ import annotations

import pytest

from broker.database.engine import open_engine
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
