"""Commands that look at the ledger, run as processes on a small one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from broker.database.engine import open_engine, reading, writing
from broker.records import messages_reading
from tests.broker.cli.command import PROJECT, SAMPLES, carnet
from tests.broker.cli.conftest import Place


def test_the_newest_messages_are_listed_as_json_lines(place: Place) -> None:
    result = carnet("messages", "list", "--json", *place.config)

    assert result.code == 0
    assert [(line["source"], line["state"], line["reason"]) for line in result.lines] == [
        ("lab01", "parked", "mapping.none"),
        ("lab01", "filtered", "account.opposed"),
        ("lab00", "filed", None),
    ]


def test_a_list_goes_on_where_it_stopped(place: Place) -> None:
    first = carnet("messages", "list", "--limit", "2", "--json", *place.config)
    before = first.lines[-1]["before"]

    rest = carnet("messages", "list", "--before", str(before), "--json", *place.config)

    assert [line["control_id"] for line in first.lines[:2] + rest.lines] == ["C3", "C2", "C1"]


def test_a_message_is_shown_with_its_reason_in_words(place: Place) -> None:
    result = carnet("messages", "show", "C3", *place.config)

    assert result.code == 0
    assert "mapping.none: No mapping applies to this kind of message." in result.out


def test_an_unknown_message_is_a_finding(place: Place) -> None:
    assert carnet("messages", "show", "C99", *place.config).code == 1


def test_bytes_are_revealed_only_with_a_reason_that_stands_in_the_trail(place: Place) -> None:
    result = carnet(
        "messages",
        "show",
        "C1",
        "--reveal",
        "--motive",
        "ticket 4711",
        "--operator",
        "jd",
        *place.config,
    )

    assert (result.code, result.out) == (0, "x")
    entries = carnet("audit", "tail", "--json", *place.config).lines
    (entry,) = [e for e in entries if e["act"] == "body_revealed"]
    assert (entry["actor"], entry["motive"]) == ("jd", "ticket 4711")


def test_the_status_shows_the_balance_of_a_day(place: Place) -> None:
    result = carnet("status", "--day", "2026-11-10", *place.config)

    assert result.code == 0
    assert (
        "20261110  received 3 = filed 1 + filtered 1 + parked 1 ✓ · duplicates 0 · refused at the door 0"
        in result.out
    )


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_reconcile_is_good_until_something_is_spoilt(place: Place, output: tuple[str, ...]) -> None:
    def spoil(statement: str) -> None:
        engine = open_engine(place.url)
        with writing(engine) as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    assert carnet("reconcile", *output, *place.config).code == 0

    spoil("UPDATE tally_day SET n = n + 1 WHERE fate = 'parked'")
    result = carnet("reconcile", "--day", "20261110", *output, *place.config)
    spoil("UPDATE tally_day SET n = n - 1 WHERE fate = 'parked'")

    assert result.code == 1
    assert "the tally of 'parked' says 2, the rows say 1" in result.out


def test_a_day_without_messages_reconciles(place: Place) -> None:
    result = carnet("reconcile", "--day", "2026-11-09", "--json", *place.config)

    assert (result.code, result.lines[0]["received"]) == (0, 0)


def test_the_timeline_begins_with_the_reception(place: Place) -> None:
    result = carnet("messages", "timeline", "C1", "--json", *place.config)

    assert (result.code, result.lines[0]["step"]) == (0, "received")


def test_a_search_reads_its_value_from_standard_input(place: Place) -> None:
    result = carnet("messages", "find", "ins", *place.config, stdin="000000000000000\n")

    assert result.code == 1


def test_the_commands_left_the_ledger_as_it_was(place: Place) -> None:
    carnet("status", *place.config)
    engine = open_engine(place.url)

    with reading(engine) as connection:
        balance = messages_reading.balance(connection)

    engine.dispose()
    assert (balance.received, balance.closes) == (3, True)


def test_a_changed_set_is_compared_over_the_newest_messages_without_their_values(
    place: Place, tmp_path: Path
) -> None:
    mine = Place(tmp_path / "site")
    shutil.copytree(place.folder, mine.folder)
    engine = open_engine(mine.url)
    body = (SAMPLES / "01-adt-a01.hl7").read_bytes()
    with writing(engine) as connection:
        connection.execute(text("UPDATE message_body SET body = :body"), {"body": body})
    engine.dispose()
    new = tmp_path / "next"
    shutil.copytree(PROJECT / "mappings", new)
    patient = new / "hl7v2" / "fr" / "patient.yaml"
    rules = patient.read_text(encoding="utf-8")
    patient.write_text(rules.replace("    birth_date: PID-7\n", ""), encoding="utf-8")
    diff = ("mapping", "diff", "--new", str(new), "--ledger", "10", *mine.config)

    everything = carnet(*diff)
    of_one = carnet(*diff, "--source", "lab01", "--json")
    with_values = carnet(*diff, "--values")

    assert everything.code == 1
    assert "3 messages, 3 with differences" in everything.out
    found = {line["path"]: line["messages"] for line in of_one.lines}
    assert found == {"documents.patient.birth_date.value": 2, "unread PID-7": 2}
    assert with_values.code == 2
    assert "leave --values out" in with_values.err
