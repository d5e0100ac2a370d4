"""`carnet messages find` finds what is stuck, as what was filed: by the order, the stay, the patient, who sent it."""

from __future__ import annotations

import pytest

from broker import operating, search_keys
from broker.database.engine import reading
from broker.errors import ParseError
from broker.parsing.hl7v2 import MAX_SEGMENTS
from broker.records import messages_reading
from tests.broker.lane_site import DELETION, LaneSite, adt


def oru(patient: str, control_id: str, order: str, *, also: str = "") -> bytes:
    """A result of an invented patient; naming `also` another known patient's number has it held."""
    head, _, tail = adt(patient, control_id, also=also, kind="ORU^R01").partition(b"PV1||O\r")
    assert not tail
    return (
        head
        + (
            f"PV1|1|I|CHIR^201||||||||||||||||V{order}\rORC|RE|P{order}|F{order}\r"
            f"OBR|1|P{order}|F{order}|GLU^Glucose^L|||20261123100000\rOBX|1|NM|GLU^Glucose^L||5|mmol/L|||||F\r"
        ).encode()
    )


def find(site: LaneSite, **wanted: str) -> list[str]:
    """The control ids of what has all of these, newest first."""
    digests = [search_keys.digests_of(kind, value, site.key) for kind, value in wanted.items()]
    with reading(site.engine) as connection:
        page = messages_reading.by_keys(connection, digests)
    return [line.control_id or "" for line in page.lines]


@pytest.fixture
def held(lane_site: LaneSite) -> LaneSite:
    """A site with two patients, and a message of the first that is held."""
    lane_site.receive(adt("1", "K1"), adt("2", "K2"))
    lane_site.work()
    lane_site.receive(oru("1", "H1", "4710", also="2"))
    lane_site.work()
    return lane_site


def test_a_message_behind_a_held_one_is_found_and_after_its_release_once(held: LaneSite) -> None:
    (behind,) = held.receive(oru("1", "H2", "4711"))
    held.work()
    assert held.states(behind) == ["waiting"]

    assert find(held, order="P4711") == find(held, order="F4711") == ["H2"]
    assert find(held, stay="V4711") == ["H2"]
    assert find(held, patient="1", ward="CHIR") == ["H2", "H1"]

    head = held.rows("SELECT seq FROM message WHERE control_id = 'H1'")[0].seq
    done = operating.skip(held.engine, held.lane(behind), head, held.act())
    held.put(done.inbound)
    held.work()
    assert held.states(behind) == ["filed"]
    assert find(held, order="P4711") == ["H2"]


def test_what_waits_is_not_keyed_again_each_time_it_is_looked_at(held: LaneSite) -> None:
    (behind,) = held.receive(oru("1", "H2", "4711"))
    held.work()
    number = held.detail(behind).line.seq
    held.spoil("DELETE FROM business_key WHERE seq = :seq", seq=number)

    held.pipeline.process([number])

    assert held.states(behind) == ["waiting"]
    assert find(held, order="P4711") == []


def test_a_message_without_a_document_is_found_by_what_stands_in_its_bytes(
    lane_site: LaneSite,
) -> None:
    no_end = b"NTE|1||x\r" * (MAX_SEGMENTS + 1)
    lane_site.receive(oru("1", "N1", "4711") + no_end)
    lane_site.work()
    (parked,) = lane_site.rows("SELECT state, reason FROM message WHERE control_id = 'N1'")
    assert (parked.state, parked.reason) == (13, "hl7v2.too_large")

    assert find(lane_site, order="P4711") == find(lane_site, order="F4711") == ["N1"]
    assert find(lane_site, stay="V4711") == find(lane_site, ward="chir") == ["N1"]
    assert (
        find(lane_site, patient="1") == find(lane_site, name_birth="Exemple|1954-02-01") == ["N1"]
    )
    assert find(lane_site, sender="GAM") == ["N1"]


def test_a_message_at_fault_that_is_parked_by_hand_is_found(lane_site: LaneSite) -> None:
    (at_fault,) = lane_site.receive(oru("1", "N1", "4711"), to_queue=False)

    lane_site.pipeline.park(
        lane_site.detail(at_fault).line.seq, ParseError("internal", where="message", reason="")
    )

    assert lane_site.states(at_fault) == ["parked"]
    assert find(lane_site, order="P4711") == ["N1"]


def test_a_message_held_at_the_door_for_its_reused_number_is_found(lane_site: LaneSite) -> None:
    (first,) = lane_site.receive(oru("1", "C1", "4711"))
    (second,) = lane_site.receive(oru("1", "C1", "4712"))
    lane_site.work()
    assert lane_site.states(first, second) == ["filed", "held"]

    assert find(lane_site, order="P4712") == ["C1"]
    assert find(lane_site, patient="1") == ["C1", "C1"]


def test_a_message_is_found_by_who_sent_it(lane_site: LaneSite) -> None:
    lane_site.receive(adt("1", "A1"), adt("2", "A2", kind=DELETION))
    lane_site.work()

    assert find(lane_site, sender="gam") == ["A2", "A1"]
    assert find(lane_site, patient="2", sender="GAM") == ["A2"]
    assert find(lane_site, sender="SIL") == []
