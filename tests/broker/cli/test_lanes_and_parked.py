"""`carnet lanes` and `carnet parked`, run as their user does; what people read is kept as golden files."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from broker.errors import AmbiguousError, PermanentError
from tests.broker.cli.command import Result, carnet, same_as_golden
from tests.broker.lane_site import DELETION, LaneSite, Partner, adt


class Place:
    """A site with one patient's message held, another's parked, and a delivery that may have arrived."""

    def __init__(self, folder: Path) -> None:
        self.site = LaneSite(folder, f"sqlite:///{folder / 'carnet.db'}")
        self.site.receive(adt("1", "K1"), adt("2", "K2"))
        self.site.work()
        (self.held,) = self.site.receive(adt("1", "H1", also="2"))
        (self.behind,) = self.site.receive(adt("1", "H2"))
        (self.parked,) = self.site.receive(adt("3", "P1", kind=DELETION))
        (self.parked2,) = self.site.receive(adt("4", "P2", kind=DELETION))
        self.site.work()
        partner = Partner(
            lambda body: AmbiguousError("mllp.no_answer") if b"|K1|" in body else None
        )
        courier = self.site.courier(partner)
        while (lease := self.site.queue.take("outbound.dmp", 50, timedelta())) is not None:
            courier.serve(lease, threading.Event())
        self.lane = str(self.site.lane(self.held))
        (row,) = self.site.rows("SELECT id, lane FROM delivery WHERE state = 'unknown'")
        self.delivery, self.out = f"delivery:{row.id}", f"outbound:dmp:{row.lane:016x}"

    def carnet(self, *arguments: str, stdin: str = "") -> Result:
        return carnet(*arguments, "--config", str(self.site.file), stdin=stdin)

    def plain(self, text: str) -> str:
        """What differs from run to run, by its role."""
        names = {
            self.held: "HELD-MESSAGE",
            self.behind: "MESSAGE-BEHIND",
            self.parked: "PARKED-MESSAGE",
            self.parked2: "PARKED-MESSAGE-2",
            self.lane: "filing:LANE",
            self.out: "outbound:dmp:LANE",
            self.delivery: "delivery:NUMBER",
        }
        for value, name in names.items():
            text = text.replace(value, name)
        text = re.sub(r"\b\d+ (s|min) ago", "N s ago", text)
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ANOTHER-MESSAGE", text)
        text = re.sub(r"filing:[0-9a-f]{16}", "filing:ANOTHER", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)?", "INSTANT", text)
        return re.sub(r" {2,}", "  ", text)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.site.close()


def test_lists_and_details_are_for_people(place: Place) -> None:
    shown = {
        "lanes-list": place.carnet("lanes", "list"),
        "lanes-show": place.carnet("lanes", "show", place.lane),
        "lanes-show-outbound": place.carnet("lanes", "show", place.out),
        "parked-list": place.carnet("parked", "list"),
        "parked-show": place.carnet("parked", "show", place.parked),
        "parked-show-delivery": place.carnet("parked", "show", place.delivery),
    }

    assert [(name, one.code) for name, one in shown.items() if one.code == 2] == []
    assert [shown[name].code for name in ("lanes-list", "parked-list", "lanes-show")] == [1, 1, 0]
    for name, one in shown.items():
        same_as_golden(place.plain(one.out), f"{name}.txt")
        for person in ("EXEMPLE", "JEANNE", "19540201"):
            assert person not in one.out + one.err


def test_what_programs_read_has_stable_keys(place: Place) -> None:
    (filing, outbound) = place.carnet("lanes", "list", "--json").lines
    messages = place.carnet("parked", "list", "--kind", "message", "--limit", "1", "--json").lines
    (delivery,) = place.carnet("parked", "list", "--kind", "delivery", "--json").lines

    assert filing["lane"] == place.lane
    assert (filing["state"], filing["head"], filing["reason"]) == (
        "held", place.held, "identity.conflict",
    )  # fmt: skip
    assert (outbound["lane"], outbound["state"], outbound["head"]) == (
        place.out, "waiting", place.delivery,
    )  # fmt: skip
    assert [one["kind"] for one in messages] == ["message", "message"]
    before = str(messages[1]["before"])
    rest = place.carnet("parked", "list", "--kind", "message", "--before", before, "--json").lines
    assert [messages[0]["id"], rest[0]["id"]] == [place.parked2, place.parked]
    assert (delivery["id"], delivery["lane"], delivery["state"]) == (
        place.delivery, place.out, "unknown",
    )  # fmt: skip
    behind = place.carnet("lanes", "show", place.lane, "--json").lines[0]["behind"]
    assert [one["name"] for one in behind] == [place.held, place.behind]


def test_a_head_is_skipped_and_the_queue_is_told(place: Place) -> None:
    done = place.carnet("lanes", "skip", place.lane, "--reason", "withdrawn", "--by", "jd")
    place.site.work()

    assert (done.code, done.out) == (0, f"skipped {place.held}\n")
    assert place.site.states(place.held, place.behind) == ["skipped", "filed"]
    (entry,) = [e for e in place.carnet("audit", "tail", "--json").lines if e["act"] == "skipped"]
    assert (entry["actor"], entry["motive"]) == ("jd", "withdrawn")
    assert place.carnet("lanes", "skip", place.lane, "--reason", "x").code == 1
    assert place.carnet("reconcile").code == 0


def test_a_lane_is_held_and_released(place: Place) -> None:
    other = str(place.site.lane(place.parked))

    held = place.carnet("lanes", "hold", other, "--reason", "identity team")
    again = place.carnet("lanes", "hold", other, "--reason", "me too", "--json")
    show = place.carnet("lanes", "show", other)
    freed = place.carnet("lanes", "release", other)
    gone = place.carnet("lanes", "show", other)

    assert (held.code, held.out) == (0, f"held {other}\n")
    assert (again.code, again.lines) == (1, [{"id": other, "done": False, "outcome": "already"}])
    assert "identity team" in show.out
    assert (freed.code, gone.code) == (0, 1)


def test_many_need_a_yes_and_filters_choose(place: Place) -> None:
    everything = ("parked", "discard", "--all", "--kind", "message", "--reason", "a test")

    asked = place.carnet(*everything)
    none = place.carnet(*everything, "--code", "mapping.none", "--yes")
    done = place.carnet(
        *everything, "--code", "identity.event_unsupported", "--source", "ward", "--yes"
    )

    assert (asked.code, asked.out) == (2, "")
    assert "2 messages and 0 deliveries are to be discarded: nothing was done" in asked.err
    assert (none.code, none.out) == (0, "")
    assert (done.code, done.out) == (0, f"discarded {place.parked}\ndiscarded {place.parked2}\n")
    assert place.carnet("parked", "list", "--kind", "message").code == 0
    assert place.carnet("reconcile").code == 0


def test_what_is_parked_is_released_in_the_order_it_came(place: Place) -> None:
    done = place.carnet("parked", "release", "--all", "--kind", "message", "--yes", "--json")
    place.site.work()

    assert [line["id"] for line in done.lines] == [place.parked, place.parked2]
    assert place.site.states(place.parked, place.parked2) == ["parked", "parked"]
    assert place.carnet("reconcile").code == 0


def test_a_delivery_the_partner_has_is_noted_as_sent(place: Place) -> None:
    without = place.carnet("parked", "release", place.delivery, "--as-sent")
    message = place.carnet("parked", "release", place.parked, "--as-sent", "--reason", "x")
    done = place.carnet(
        "parked", "release", place.delivery, "--as-sent", "--reason", "they have it"
    )

    assert (without.code, message.code, done.code) == (2, 1, 0)
    assert done.out == f"confirmed {place.delivery}\n"
    assert place.carnet("lanes", "list", "--kind", "outbound").code == 0
    assert place.carnet("reconcile").code == 0


def test_what_a_partner_answered_is_shown_with_a_reason_that_stands_in_the_trail(
    place: Place,
) -> None:
    refusal = (
        b"MSH|^~\\&|LIS|L|||20261201||ACK|1|P|2.5\rMSA|AE|R1\r"
        b"ERR||PID^1^3|204^Unknown key identifier^HL70357|E|||4711 of EXEMPLE is unknown\r"
    )
    place.site.receive(adt("9", "R1"))
    place.site.work()
    partner = Partner(lambda _: PermanentError("mllp.AE", where="PID^1^3", answer=refusal))
    lease = place.site.queue.take("outbound.dmp", 50, timedelta())
    assert lease is not None
    place.site.courier(partner).serve(lease, threading.Event())
    (row,) = place.site.rows("SELECT id FROM delivery WHERE reason = 'mllp.AE'")
    name = f"delivery:{row.id}"

    without = place.carnet("parked", "show", name, "--reveal")
    plain = place.carnet("parked", "show", name)
    seen = place.carnet("parked", "show", name, "--reveal", "--motive", "ticket 4711", "--by", "jd")
    read = place.carnet("parked", "show", name, "--reveal", "--motive", "x", "--json").lines

    assert (without.code, seen.code) == (2, 0)
    assert "EXEMPLE" not in plain.out
    assert seen.out == "attempt 1\n" + refusal.decode().replace("\r", "\n")
    assert read == [{"number": 1, "answer": refusal.decode(), "unreadable": ""}]
    entry, _ = place.site.rows(
        "SELECT actor, motive FROM audit_entry WHERE act = 'body_revealed' AND subject = :name ORDER BY n",
        name=name,
    )
    assert (entry.actor, entry.motive) == ("jd", "ticket 4711")


def test_a_message_is_edited_and_sent_again(place: Place, tmp_path: Path) -> None:
    seen = place.carnet("messages", "show", place.parked, "--reveal", "--motive", "ticket 4711")
    file = tmp_path / "corrected.hl7"
    file.write_text(seen.out.replace(DELETION, "ADT^A04"), encoding="utf-8")

    done = place.carnet(
        "parked", "edit", place.parked, str(file), "--reason", "merge was meant as update", "--json"
    )
    place.site.work()

    new = done.lines[0]["message_id"]
    assert place.site.states(place.parked, new) == ["discarded", "filed"]
    assert place.carnet("messages", "show", new, "--json").lines[0]["edited_from"]
    again = place.carnet("parked", "edit", place.parked, str(file), "--reason", "x")
    assert again.code == 1
    assert place.carnet("reconcile").code == 0


def test_a_held_message_can_be_named_by_its_id(place: Place) -> None:
    behind = place.carnet("lanes", "skip", place.behind, "--reason", "x")
    done = place.carnet("lanes", "release", place.held)
    filed = place.carnet("lanes", "release", place.parked)

    assert (behind.code, done.code, filed.code) == (1, 0, 1)
    assert place.site.states(place.held) == ["received"]


def test_all_held_lanes_of_a_reason_are_released(place: Place) -> None:
    done = place.carnet("lanes", "release", "--all", "--code", "identity.conflict")

    assert (done.code, done.out) == (0, f"released {place.held}\n")


def test_all_that_is_parked_leaves_deliveries_that_may_have_arrived(place: Place) -> None:
    done = place.carnet("parked", "release", "--all", "--yes", "--json")
    narrowed = place.carnet("parked", "release", place.parked, "--code", "mapping.none")
    asked = place.carnet("parked", "discard", "--all", "--state", "unknown", "--reason", "x")

    assert [line["id"] for line in done.lines] == [place.parked, place.parked2]
    assert narrowed.code == 2, "a name and a filter contradict each other"
    assert asked.out == f"discarded {place.delivery}\n"


def test_of_several_names_one_that_is_none_stops_all(place: Place) -> None:
    result = place.carnet("lanes", "release", place.lane, "nonsense", "--yes")

    assert result.code == 2
    assert place.site.states(place.held) == ["held"]


ERRORS = {
    "lane": ("lanes", "show", "ward"),
    "lane-zero": ("lanes", "hold", "filing:0000000000000000", "--reason", "x"),
    "lanes-nothing-named": ("lanes", "skip", "--reason", "x"),
    "skip-without-reason": ("lanes", "skip", "filing:0000000000000001"),
    "parked-id": ("parked", "show", "17"),
    "parked-nothing-named": ("parked", "discard", "--reason", "x"),
    "parked-edit-delivery": ("parked", "edit", "delivery:17", "carnet.toml", "--reason", "x"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_says_what_to_do(name: str, tmp_path: Path) -> None:
    (tmp_path / "carnet.toml").write_text('[site]\ndata_folder = "."\n', encoding="utf-8")
    from tests.broker import ledger

    ledger.new(f"sqlite:///{tmp_path / 'carnet.db'}").dispose()

    result = carnet(*ERRORS[name], cwd=tmp_path)

    assert (result.code, result.out) == (2, "")
    same_as_golden(result.err, f"error-{name}.txt")
