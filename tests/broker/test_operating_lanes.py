"""Lanes under an operator's hand: order is kept, the balance closes, and nothing happens twice."""

from __future__ import annotations

import threading
from datetime import timedelta

from broker import operating
from broker.database.engine import reading
from broker.records import lane_reading, lanes
from tests.broker.lane_site import DELETION, LaneSite, adt


def lines(site: LaneSite, **filters: object) -> list[lane_reading.Line]:
    with reading(site.engine) as connection:
        return list(lane_reading.listing(connection, **filters).lines)  # type: ignore[arg-type]


def two_patients(site: LaneSite) -> None:
    """Both known, so that a message naming both is held."""
    site.receive(adt("1", "A0"), adt("2", "B0"))
    site.work()


def test_a_batch_with_more_of_one_lane_than_of_another_is_processed_in_one_go(
    lane_site: LaneSite,
) -> None:
    a1, a2, b1 = lane_site.receive(adt("1", "A1"), adt("1", "A2"), adt("2", "B1"))
    (b2,) = lane_site.receive(adt("2", "B2"), to_queue=False)
    numbers = [lane_site.detail(one).line.seq for one in (a1, a2, b1)]

    lane_site.pipeline.process(numbers)

    assert lane_site.states(a1, a2, b1, b2) == ["filed", "filed", "filed", "received"]


def test_one_patients_held_message_stops_that_patient_alone_and_is_skipped_with_a_reason(
    lane_site: LaneSite,
) -> None:
    """F13, in filing."""
    two_patients(lane_site)
    (stuck,) = lane_site.receive(adt("1", "A1", also="2"))
    behind = lane_site.receive(adt("1", "A2"), adt("1", "A3"))
    others = lane_site.receive(*(adt(str(n), f"O{n}") for n in range(2, 42)))
    lane_site.work()

    assert lane_site.states(stuck, *behind) == ["held", "waiting", "waiting"]
    assert set(lane_site.states(*others)) == {"filed"}
    (line,) = lines(lane_site)
    assert (line.state, line.head, line.head_state, line.reason) == (
        "held", stuck, "held", "identity.conflict",
    )  # fmt: skip
    assert lane_site.prove().findings == []

    done = operating.skip(
        lane_site.engine, line.name, lane_site.detail(stuck).line.seq, lane_site.act()
    )
    assert (done.outcome, done.taken) == ("skipped", [stuck])
    assert [line.state for line in lines(lane_site)] == ["skipped"]
    lane_site.put(done.inbound)
    lane_site.work()

    assert lane_site.states(stuck, *behind) == ["skipped", "filed", "filed"]
    assert lane_site.detail(stuck).line.reason == "operator.skipped"
    assert lane_site.detail(stuck).reason_args == '{"was":"identity.conflict"}'
    assert lines(lane_site) == []
    assert lane_site.prove().findings == []
    (entry,) = lane_site.rows(
        "SELECT actor, motive, outcome FROM audit_entry WHERE act = 'skipped'"
    )
    assert tuple(entry) == ("jd", "ticket 4711", "identity.conflict")
    (flow,) = lane_site.rows(
        "SELECT source, n FROM flow_minute WHERE measure = 'skipped' AND writer = 'command'"
    )
    assert tuple(flow) == ("ward", 1)


def test_a_lane_that_a_person_holds_files_nothing_until_it_is_released(lane_site: LaneSite) -> None:
    (first,) = lane_site.receive(adt("1", "A0"))
    lane_site.work()
    name = lane_site.lane(first)

    held = operating.hold(lane_site.engine, name, lane_site.act("identity team looks", by="anne"))
    later = lane_site.receive(adt("1", "A1"), adt("1", "A2"), adt("2", "B1"))
    lane_site.work()

    assert held.outcome == "held"
    assert lane_site.states(*later) == ["waiting", "waiting", "filed"]
    assert lane_site.detail(later[0]).line.reason == "lane.held"
    (line,) = lines(lane_site)
    assert (line.name, line.state, line.head, line.held_by, line.hold_reason) == (
        name, "held", later[0], "anne", "identity team looks",
    )  # fmt: skip
    assert operating.hold(lane_site.engine, name, lane_site.act()).outcome == "already"
    lane_site.sweep()
    assert lane_site.queue.depth("inbound") == 0, "the sweep leaves a held lane alone"

    done = operating.release(lane_site.engine, name, lane_site.act())
    again = operating.release(lane_site.engine, name, lane_site.act())
    lane_site.put(done.inbound)
    lane_site.work()

    assert (done.outcome, again.outcome) == ("lifted", "flows")
    assert lane_site.states(*later) == ["filed"] * 3
    assert lines(lane_site) == []
    assert lane_site.prove().findings == []


def test_the_sweep_finds_what_the_queue_lost_of_a_released_lane(lane_site: LaneSite) -> None:
    (first,) = lane_site.receive(adt("1", "A0"))
    lane_site.work()
    name = lane_site.lane(first)
    operating.hold(lane_site.engine, name, lane_site.act())
    later = lane_site.receive(adt("1", "A1"), adt("1", "A2"))
    lane_site.work()

    operating.release(lane_site.engine, name, lane_site.act())  # and the queue never hears of it
    lane_site.sweep()
    lane_site.work()

    assert lane_site.states(*later) == ["filed", "filed"]
    assert lines(lane_site) == []


def test_in_a_held_lane_whatever_is_first_may_be_skipped_and_the_hold_stays(
    lane_site: LaneSite,
) -> None:
    (first,) = lane_site.receive(adt("1", "A0"))
    lane_site.work()
    name = lane_site.lane(first)
    one, two = lane_site.receive(adt("1", "A1"), adt("1", "A2"), to_queue=False)
    head = lane_site.detail(one).line.seq

    flows = operating.skip(lane_site.engine, name, head, lane_site.act())
    operating.hold(lane_site.engine, name, lane_site.act())
    done = operating.skip(lane_site.engine, name, head, lane_site.act())
    again = operating.skip(lane_site.engine, name, head, lane_site.act())

    assert [flows.outcome, done.outcome, again.outcome] == ["flows", "skipped", "changed"]
    assert lane_site.states(one, two) == ["skipped", "received"]
    assert [line.state for line in lines(lane_site)] == ["held"]
    assert lane_site.prove().findings == []


def test_a_released_head_is_taken_up_again_and_those_behind_follow(lane_site: LaneSite) -> None:
    two_patients(lane_site)
    stuck, behind = lane_site.receive(adt("1", "A1", also="2"), adt("1", "A2"))
    lane_site.work()

    done = operating.release(lane_site.engine, lane_site.lane(stuck), lane_site.act())
    assert lane_site.states(stuck, behind) == ["received", "waiting"]
    assert [line.state for line in lines(lane_site)] == ["released"]
    lane_site.put(done.inbound)
    lane_site.work()

    assert lane_site.states(stuck, behind) == ["held", "waiting"], "the cause is still there"
    assert [(line.state, line.reason) for line in lines(lane_site)] == [
        ("held", "identity.conflict")
    ]
    assert lane_site.prove().findings == []


def test_a_hold_over_a_held_message_is_taken_back_and_the_message_is_still_held(
    lane_site: LaneSite,
) -> None:
    two_patients(lane_site)
    (stuck,) = lane_site.receive(adt("1", "A1", also="2"))
    lane_site.work()
    name = lane_site.lane(stuck)
    operating.hold(lane_site.engine, name, lane_site.act())

    first = operating.release(lane_site.engine, name, lane_site.act())
    second = operating.release(lane_site.engine, name, lane_site.act())

    assert (first.outcome, second.outcome) == ("still_held", "released")
    assert lane_site.states(stuck) == ["received"]


def test_a_message_held_at_the_door_keeps_its_lane_when_an_earlier_one_is_settled(
    lane_site: LaneSite,
) -> None:
    """The earlier one frees what waits before the held one, and not the lane."""
    lane_site.receive(adt("9", "SAME"))
    first, held, last = lane_site.receive(adt("1", "A1"), adt("1", "SAME"), adt("1", "A3"))
    lane_site.work()

    assert lane_site.states(first, held, last) == ["filed", "held", "waiting"]
    assert [(line.state, line.head) for line in lines(lane_site)] == [("held", held)]


def test_lists_go_by_kind_state_and_reason_and_page_on(lane_site: LaneSite) -> None:
    names = []
    for n in range(1, 6):
        (one,) = lane_site.receive(adt(str(n), f"A{n}"))
        lane_site.work()
        names.append(lane_site.lane(one))
        operating.hold(lane_site.engine, names[-1], lane_site.act())

    with reading(lane_site.engine) as connection:
        first = lane_reading.listing(connection, limit=3)
        rest = lane_reading.listing(connection, limit=3, after=first.after)

    assert [line.name for line in (*first.lines, *rest.lines)] == sorted(names)
    assert rest.after is None
    assert len(lines(lane_site, kind="filing", state="held")) == 5
    assert lines(lane_site, kind="outbound") == lines(lane_site, reason="mapping.none") == []


def test_nothing_of_a_lane_overtakes_even_if_a_worker_asks_for_the_last_first(
    lane_site: LaneSite,
) -> None:
    (first,) = lane_site.receive(adt("1", "A0"))
    lane_site.work()
    one, two = lane_site.receive(adt("1", "A1"), adt("1", "A2"), to_queue=False)

    lane_site.pipeline.process([lane_site.detail(two).line.seq])
    with reading(lane_site.engine) as connection:
        overdue = lanes.overdue(connection, lane_site.now + timedelta(hours=1), 10)

    assert lane_site.states(one, two) == ["received", "waiting"]
    assert [seq for seq, _ in overdue] == [lane_site.detail(one).line.seq]
    assert lane_site.states(first) == ["filed"]


def test_a_parked_message_does_not_stop_its_lane(lane_site: LaneSite) -> None:
    bad, good = lane_site.receive(adt("1", "A1", kind=DELETION), adt("1", "A2"))
    lane_site.work()

    assert lane_site.states(bad, good) == ["parked", "filed"]
    assert lines(lane_site) == []


def test_a_held_message_without_a_patient_has_no_lane_and_is_released_or_skipped_alone(
    lane_site: LaneSite,
) -> None:
    lane_site.receive(adt("1", "SAME"), adt("1", "SAME2"))
    one, two = lane_site.receive(adt("", "SAME"), adt("", "SAME2"))
    lane_site.work()
    numbers = [lane_site.detail(name).line.seq for name in (one, two)]
    assert lane_site.states(one, two) == ["held", "held"]
    assert lines(lane_site) == []

    skipped = operating.skip_message(lane_site.engine, numbers[0], lane_site.act())
    again = operating.skip_message(lane_site.engine, numbers[0], lane_site.act())
    released = operating.release_message(lane_site.engine, numbers[1], lane_site.act())

    assert (skipped.taken, again.left, released.taken) == ([one], {one: "changed"}, [two])
    assert lane_site.states(one, two) == ["skipped", "received"]
    assert lane_site.prove().findings == []


def test_of_two_people_who_skip_the_same_head_one_does(lane_site: LaneSite) -> None:
    two_patients(lane_site)
    stuck, behind = lane_site.receive(adt("1", "A1", also="2"), adt("1", "A2", also="2"))
    lane_site.work()
    name, head = lane_site.lane(stuck), lane_site.detail(stuck).line.seq
    start, outcomes = threading.Barrier(2), []

    def one(by: str) -> None:
        act = lane_site.act(by=by)
        start.wait()
        outcomes.append(operating.skip(lane_site.engine, name, head, act).outcome)

    people = [threading.Thread(target=one, args=(by,)) for by in ("anne", "bob")]
    for person in people:
        person.start()
    for person in people:
        person.join()

    assert outcomes.count("skipped") == 1
    assert set(outcomes) <= {"skipped", "changed", "flows"}
    assert lane_site.states(stuck, behind) == ["skipped", "waiting"]
    assert lane_site.prove().findings == []


def test_a_worker_and_an_operator_at_the_same_message_settle_it_once(lane_site: LaneSite) -> None:
    (first,) = lane_site.receive(adt("1", "A0"))
    lane_site.work()
    name = lane_site.lane(first)
    ids = lane_site.receive(*(adt("1", f"A{n}") for n in range(1, 9)), to_queue=False)
    numbers = [lane_site.detail(one).line.seq for one in ids]
    operating.hold(lane_site.engine, name, lane_site.act())
    start = threading.Barrier(2)

    def skip_all() -> None:
        start.wait()
        for number in numbers:
            operating.skip(lane_site.engine, name, number, lane_site.act())

    person = threading.Thread(target=skip_all)
    person.start()
    start.wait()
    for _ in range(5):
        lane_site.pipeline.process(numbers)
    person.join()

    assert set(lane_site.states(*ids)) == {"skipped"}
    skipped = lane_site.rows(
        "SELECT count(*), count(DISTINCT subject) FROM audit_entry WHERE act = 'skipped'"
    )
    assert tuple(skipped[0]) == (8, 8)
    assert lane_site.prove().findings == []
