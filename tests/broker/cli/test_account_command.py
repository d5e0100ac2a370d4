"""`carnet account`: what is asked of a space, what the command shows of it, and what the clock then does."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from sqlalchemy import text

from broker.accounts import days
from broker.database.engine import open_engine, reading
from tests.broker.cli.command import carnet
from tests.broker.cli.conftest import Place
from tests.broker.records import record


def person(place: Place, value: str) -> int:
    """A patient of the place with a paper."""
    engine = open_engine(place.url)
    number = record.person(engine, value)
    record.put(engine, number, record.paper())
    engine.dispose()
    return number


def test_ret_04_a_deletion_is_shown_with_its_last_day_until_it_is_done(place: Place) -> None:
    number = person(place, "77101")
    patient = ("--patient", str(number), *place.config)
    asked = days.day_of(datetime.now(UTC), days.PARIS)

    asking = carnet("account", "delete", *patient, "--channel", "letter", "--json")
    (before,) = carnet("account", "show", *patient, "--json").lines
    words = carnet("account", "show", *patient).out
    french = carnet("account", "show", *patient, "--language", "fr").out
    listed = carnet("account", "list", "--json", *place.config).lines
    table = carnet("account", "list", *place.config).out
    ran = carnet("account", "run-due", "--json", *place.config)
    (after,) = carnet("account", "show", *patient, "--json").lines

    assert asking.lines == [{"patient": number, "done": True, "transitions": ["T13"], "reason": ""}]
    last = date.fromisoformat(before["delete_by"])
    assert 89 <= (last - asked).days <= 92
    assert (last.month - asked.month) % 12 == 3
    assert f"is deleted as asked, at the latest on {last} (T13)" in words
    assert f"suppression demandée, au plus tard le {last} (T13)" in french
    assert [(one["transition"], one["latest"]) for one in listed] == [("T13", str(last))]
    assert str(last) in table
    assert ran.lines == [{"transitions": 1}]
    assert (after["state"], after["due"], after["delete_by"]) == ("deleted", {}, None)
    assert [step["channel"] for step in after["history"]] == ["letter", "automatic"]


def test_ret_06_an_objection_is_noted_and_the_closing_by_the_clock_is_off(place: Place) -> None:
    patient = ("--patient", str(person(place, "77102")), *place.config)
    carnet("account", "suspend", *patient, "--reason", "card reported stolen")
    (suspended,) = carnet("account", "show", *patient, "--json").lines

    ended = carnet("account", "object", *patient, "--channel", "letter")

    assert ended.code == 0
    assert "T10a objected to the suspension within six weeks" in ended.out
    (shown,) = carnet("account", "show", *patient, "--json").lines
    assert set(suspended["due"]) == {"T10"}
    assert (shown["state"], shown["due"]) == ("suspended", {})
    assert carnet("account", "resume", *patient).code == 0
    assert carnet("account", "object", *patient).code == 1


def test_aud_01_aud_03_a_closing_is_an_entry_with_who_how_why_and_by_which_text(place: Place) -> None:  # fmt: skip
    number = person(place, "77103")
    patient = ("--patient", str(number), *place.config)

    said = ("--by", "jdupont", "--channel", "letter", "--reason", "the holder wrote")
    carnet("account", "close", *patient, *said)
    carnet("account", "oppose-filing", *patient, "--by", "jdupont", "--channel", "phone")

    engine = open_engine(place.url)
    with reading(engine) as connection:
        closed, opposed = connection.execute(
            text("SELECT * FROM audit_entry WHERE patient = :n ORDER BY n"), {"n": number}
        ).all()
    engine.dispose()
    assert (closed.act, closed.outcome, closed.subject) == ("account_moved", "T7", f"patient:{number}")  # fmt: skip
    assert (closed.actor_kind, closed.actor) == ("operator", "jdupont")
    assert closed.motive == "the holder wrote"
    assert json.loads(closed.details) == {
        "from": "presumed", "to": "closed", "channel": "letter", "rule": "L.1111-13-1",
    }  # fmt: skip
    assert (opposed.act, opposed.outcome) == ("consent_changed", "filing opposition")
    assert json.loads(opposed.details) == {"change": "filing opposition", "channel": "phone"}
