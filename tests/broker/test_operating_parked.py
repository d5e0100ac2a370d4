"""Parked work: released, discarded, edited; deliveries that may have arrived. Nothing twice, everything counted."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from broker import editing, operating
from broker.database.engine import reading
from broker.errors import AmbiguousError, PermanentError, SetupError, TransientError
from broker.records import editing as originals
from broker.records import lane_names, lane_reading, orphans, parked
from broker.unpacking import unpack
from tests.broker.lane_site import DELETION, LaneSite, Partner, adt


def seqs(site: LaneSite, *ids: str) -> list[int]:
    return [site.detail(one).line.seq for one in ids]


def acts(site: LaneSite, subject: str) -> list[tuple[str, ...]]:
    rows = site.rows(
        "SELECT act, actor_kind, actor, coalesce(motive, ''), coalesce(outcome, '') FROM audit_entry "
        "WHERE subject = :subject ORDER BY n",
        subject=subject,
    )
    return [tuple(row) for row in rows]


# --- messages -----------------------------------------------------------------------------------------------------


def test_a_released_message_is_taken_up_from_the_start_and_its_trail_tells(
    lane_site: LaneSite,
) -> None:
    (bad,) = lane_site.receive(adt("1", "A1", kind=DELETION))
    lane_site.work()
    (number,) = seqs(lane_site, bad)

    done = operating.release_parked(lane_site.engine, [number], lane_site.act())
    again = operating.release_parked(lane_site.engine, [number], lane_site.act())

    assert (done.taken, again.taken, again.left) == ([bad], [], {bad: "changed"})
    assert lane_site.states(bad) == ["received"]
    assert lane_site.balance().fates == {"in_flight": 1}
    lane_site.put(done.inbound)
    lane_site.work()
    assert lane_site.states(bad) == ["parked"], "the cause is still there"
    assert [act for act, *_ in acts(lane_site, bad)] == ["received", "parked", "released", "parked"]
    assert acts(lane_site, bad)[2] == (
        "released", "operator", "jd", "ticket 4711", "identity.event_unsupported",
    )  # fmt: skip
    assert '"released",0,"identity.event_unsupported"' in lane_site.detail(bad).trail
    assert lane_site.prove().findings == []


def test_a_released_message_goes_before_what_is_not_settled_and_what_was_filed_stays(
    lane_site: LaneSite,
) -> None:
    bad, filed = lane_site.receive(adt("1", "A1", kind=DELETION), adt("1", "A2"))
    lane_site.work()
    (later,) = lane_site.receive(adt("1", "A3"), to_queue=False)

    operating.release_parked(lane_site.engine, seqs(lane_site, bad), lane_site.act())
    lane_site.pipeline.process(seqs(lane_site, later))

    assert lane_site.states(bad, filed, later) == ["received", "filed", "waiting"]
    lane_site.sweep()
    lane_site.work()
    assert lane_site.states(bad, filed, later) == ["parked", "filed", "filed"]
    assert lane_site.prove().findings == []


def test_what_is_parked_for_a_reason_is_chosen_oldest_first_and_of_one_source(
    lane_site: LaneSite,
) -> None:
    merges = lane_site.receive(*(adt(str(n), f"M{n}", kind=DELETION) for n in range(1, 4)))
    nameless = lane_site.receive(adt("", "N1"))
    lane_site.work()

    with reading(lane_site.engine) as connection:
        by_code = parked.selected(connection, reason="identity.event_unsupported")
        everything = parked.selected(connection)
        none = parked.selected(connection, source="lab")
        page = parked.messages(connection, reason="identity.event_unsupported", limit=2)

    assert lane_site.states(*merges, *nameless) == ["parked"] * 4
    assert by_code == seqs(lane_site, *merges)
    assert everything == seqs(lane_site, *merges, *nameless)
    assert none == []
    assert [line.id for line in page.lines] == [merges[2], merges[1]]


def test_a_discarded_message_is_counted_and_told_and_its_bytes_stay(lane_site: LaneSite) -> None:
    (bad,) = lane_site.receive(adt("1", "A1", kind=DELETION))
    lane_site.work()

    done = operating.discard_parked(lane_site.engine, seqs(lane_site, bad), lane_site.act("a test"))

    assert (done.taken, lane_site.states(bad)) == ([bad], ["discarded"])
    assert lane_site.detail(bad).line.reason == "operator.discarded"
    assert lane_site.detail(bad).reason_args == '{"was":"identity.event_unsupported"}'
    assert acts(lane_site, bad)[-1] == (
        "discarded", "operator", "jd", "a test", "identity.event_unsupported",
    )  # fmt: skip
    assert lane_site.balance().fates == {"discarded": 1}
    assert lane_site.prove().findings == []


def edit(site: LaneSite, message_id: str, body: bytes) -> editing.Edited:
    with reading(site.engine) as connection:
        original = originals.original(connection, site.detail(message_id).line.seq)
    assert original is not None
    return editing.edit(
        site.engine, original, body, site.act(), zone=site.settings.site.zone, key=site.key
    )


def test_an_edited_message_is_received_anew_and_the_original_is_kept_as_edited(
    lane_site: LaneSite,
) -> None:
    (bad,) = lane_site.receive(adt("1", "A1", kind=DELETION))
    lane_site.work()
    corrected = adt("1", "A1").replace(b"\r", b"\n")

    made = edit(lane_site, bad, corrected)
    again = edit_of_settled(lane_site, bad)

    assert made.message_id is not None
    assert again.message_id is None
    assert again.done.left == {bad: "changed"}
    assert lane_site.states(bad, made.message_id) == ["discarded", "received"]
    assert lane_site.detail(bad).line.reason == "edited"
    new = lane_site.detail(made.message_id)
    assert (new.edited_from, new.line.control_id, new.line.source) == (
        seqs(lane_site, bad)[0], "A1", "ward",
    )  # fmt: skip
    lane_site.put(made.done.inbound)
    lane_site.work()
    assert lane_site.states(made.message_id) == ["filed"]
    assert [act for act, *_ in acts(lane_site, made.message_id)] == ["received", "edited"]
    assert acts(lane_site, bad)[-1][0::4] == ("discarded", "edited")
    kept = lane_site.rows("SELECT count(*) FROM message_body")[0][0]
    assert (kept, lane_site.balance().fates) == (2, {"filed": 1, "discarded": 1})
    assert lane_site.prove().findings == []


def edit_of_settled(site: LaneSite, message_id: str) -> editing.Edited:
    return edit(site, message_id, adt("1", "A1").replace(b"JEANNE", b"JEANNETTE"))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (adt("1", "A1", kind=DELETION), "edit.unchanged"),
        (adt("1", "A1", kind=DELETION).replace(b"\r", b"\r\n"), "edit.unchanged"),
        (adt("2", "B1"), "edit.known"),
        (b"no message at all", "media.unknown"),
    ],
)
def test_an_edit_that_is_none_changes_nothing(lane_site: LaneSite, body: bytes, code: str) -> None:
    (bad, _) = lane_site.receive(adt("1", "A1", kind=DELETION), adt("2", "B1"))
    lane_site.work()

    with pytest.raises(SetupError) as raised:
        edit(lane_site, bad, body)

    assert raised.value.code == code
    assert lane_site.states(bad) == ["parked"]
    assert lane_site.balance().received == 2
    assert lane_site.prove().findings == []


def test_the_sender_who_sends_the_original_again_gets_its_first_answer(lane_site: LaneSite) -> None:
    (bad,) = lane_site.receive(adt("1", "A1", kind=DELETION))
    lane_site.work()
    edit(lane_site, bad, adt("1", "A1"))

    assert lane_site.receive(adt("1", "A1", kind=DELETION)) == [bad]


def test_of_two_operators_one_releases_and_the_other_is_told(lane_site: LaneSite) -> None:
    ids = lane_site.receive(*(adt(str(n), f"M{n}", kind=DELETION) for n in range(1, 21)))
    lane_site.work()
    numbers = seqs(lane_site, *ids)
    start, results = threading.Barrier(2), []

    def one(by: str) -> None:
        act = lane_site.act(by=by)
        start.wait()
        results.append(operating.release_parked(lane_site.engine, numbers, act))

    people = [threading.Thread(target=one, args=(by,)) for by in ("anne", "bob")]
    for person in people:
        person.start()
    for person in people:
        person.join()

    assert sorted(name for done in results for name in done.taken) == sorted(ids)
    assert lane_site.balance().fates == {"in_flight": 20}
    released = lane_site.rows("SELECT count(*) FROM audit_entry WHERE act = 'released'")
    assert released[0][0] == 20
    assert lane_site.prove().findings == []


# --- deliveries ---------------------------------------------------------------------------------------------------


def send(site: LaneSite, partner: Partner) -> None:
    """Let a courier send all that is due, in order, whatever the queue has of it."""
    courier = site.courier(partner)
    while (lease := site.queue.take("outbound.dmp", 50, timedelta())) is not None:
        courier.serve(lease, threading.Event())


def filed(site: LaneSite, *bodies: bytes) -> list[int]:
    """Receive and file; the numbers of what is owed to the partner, in order."""
    ids = site.receive(*bodies)
    site.work()
    rows = [
        site.rows("SELECT id FROM delivery WHERE message_seq = :seq", seq=seq)[0]
        for seq in seqs(site, *ids)
    ]
    return [int(row.id) for row in rows]


def delivery_states(site: LaneSite) -> list[str]:
    return [row.state for row in site.rows("SELECT state FROM delivery ORDER BY id")]


def lost(control_id: bytes) -> Partner:
    """A partner whose answer to one message never comes."""
    return Partner(lambda body: AmbiguousError("mllp.no_answer") if control_id in body else None)


def refused(control_id: bytes) -> Partner:
    return Partner(lambda body: PermanentError("mllp.refused") if control_id in body else None)


def test_one_patients_delivery_that_may_have_arrived_stops_that_patient_alone(
    lane_site: LaneSite,
) -> None:
    """F12 and F13, outward: the others flow, and a person says what became of it."""
    first, second, *others = filed(
        lane_site, adt("1", "A1"), adt("1", "A2"), *(adt(str(n), f"O{n}") for n in range(2, 30))
    )
    partner = lost(b"|A1|")
    send(lane_site, partner)

    assert delivery_states(lane_site) == ["unknown", "owed", *["sent"] * len(others)]
    with reading(lane_site.engine) as connection:
        (line,) = lane_reading.listing(connection, kind="outbound").lines
        (stuck,) = parked.deliveries(connection, state="unknown").lines
    assert (line.state, line.head, stuck.id) == ("waiting", f"delivery:{first}", first)
    assert operating.release(lane_site.engine, line.name, lane_site.act()).outcome == "unknown"

    done = operating.confirm_deliveries(lane_site.engine, [first], lane_site.act("they have it"))
    again = operating.confirm_deliveries(lane_site.engine, [first], lane_site.act())
    assert (done.taken, again.taken) == ([f"delivery:{first}"], [])
    assert [work.id for work in done.outbound["dmp"]] == [second]
    lane_site.queue.put("outbound.dmp", done.outbound["dmp"])
    send(lane_site, Partner())

    assert set(delivery_states(lane_site)) == {"sent"}
    assert not any(b"|A1|" in body for body in partner.taken), "nothing was sent again"
    assert lane_site.prove().findings == []
    (entry,) = lane_site.rows(
        "SELECT actor, motive, details FROM audit_entry WHERE act = 'delivery_confirmed'"
    )
    assert tuple(entry) == ("jd", "they have it", f'{{"delivery":{first},"destination":"dmp"}}')


@pytest.mark.parametrize("verb", ["skip", "discard", "send again"])
def test_a_person_ends_the_wait_of_an_unknown_outcome(lane_site: LaneSite, verb: str) -> None:
    first, second = filed(lane_site, adt("1", "A1"), adt("1", "A2"))
    send(lane_site, lost(b"|A1|"))
    name = lane_names.outbound("dmp", lane_site.rows("SELECT lane FROM delivery")[0].lane)

    if verb == "skip":
        done = operating.skip(lane_site.engine, name, first, lane_site.act())
    elif verb == "discard":
        done = operating.discard_deliveries(lane_site.engine, [first], lane_site.act())
    else:
        done = operating.release_deliveries(lane_site.engine, [first], lane_site.act())
    partner = Partner()
    lane_site.queue.put("outbound.dmp", done.outbound["dmp"])
    send(lane_site, partner)

    assert done.taken == [f"delivery:{first}"]
    expected = {"skip": "skipped", "discard": "discarded", "send again": "sent"}[verb]
    assert delivery_states(lane_site) == [expected, "sent"]
    order = [body.split(b"|")[9] for body in partner.taken]
    assert order == ([b"A1", b"A2"] if verb == "send again" else [b"A2"])
    (row,) = lane_site.rows("SELECT attempts, settled_at FROM delivery WHERE id = :id", id=first)
    assert row.attempts == (2 if verb == "send again" else 1)
    assert row.settled_at is not None
    assert lane_site.prove().findings == []
    assert second == first + 1


def test_a_parked_delivery_is_sent_once_more_and_its_attempts_go_on(lane_site: LaneSite) -> None:
    first, _ = filed(lane_site, adt("1", "A1"), adt("1", "A2"))
    send(lane_site, refused(b"|A1|"))
    assert delivery_states(lane_site) == ["parked", "sent"]
    with reading(lane_site.engine) as connection:
        (one,) = parked.deliveries(connection, destination="dmp", source="ward").lines
        assert parked.selected_deliveries(connection, reason="mllp.refused") == [first]
        assert parked.deliveries(connection, source="lab").lines == []
    assert (one.id, one.reason, one.attempts) == (first, "mllp.refused", 1)

    done = operating.release_deliveries(lane_site.engine, [first], lane_site.act())
    lane_site.queue.put("outbound.dmp", done.outbound["dmp"])
    send(lane_site, Partner())

    assert delivery_states(lane_site) == ["sent", "sent"]
    with reading(lane_site.engine) as connection:
        tries = parked.attempts(connection, first)
    assert [(one.number, one.outcome) for one in tries] == [(1, "refused"), (2, "sent")]
    assert lane_site.prove().findings == []


def test_a_delivery_that_never_had_a_form_is_not_owed_again(lane_site: LaneSite) -> None:
    (first,) = filed(lane_site, adt("1", "A1"))
    send(lane_site, refused(b"|A1|"))
    lane_site.spoil(
        "UPDATE delivery SET document_id = (SELECT id FROM document LIMIT 1) WHERE id = :id",
        id=first,
    )

    done = operating.release_deliveries(lane_site.engine, [first], lane_site.act())

    assert (done.taken, done.left) == ([], {f"delivery:{first}": "never_rendered"})
    assert delivery_states(lane_site) == ["parked"]


def test_a_lane_that_is_tried_again_is_tried_at_once_or_skipped(lane_site: LaneSite) -> None:
    first, second = filed(lane_site, adt("1", "A1"), adt("1", "A2"))
    down = Partner(lambda _: TransientError("mllp.down"))
    send(lane_site, down)
    with reading(lane_site.engine) as connection:
        (line,) = lane_reading.listing(connection, kind="outbound", destination="dmp").lines
    assert (line.state, line.head, line.attempts) == ("retrying", f"delivery:{first}", 1)

    tried = operating.release(lane_site.engine, line.name, lane_site.act())
    flows = operating.release(lane_site.engine, line.name, lane_site.act())
    assert (tried.outcome, flows.outcome) == ("tried_now", "flows")
    lane_site.queue.put("outbound.dmp", tried.outbound["dmp"])
    send(lane_site, down)
    skipped = operating.skip(lane_site.engine, line.name, first, lane_site.act())
    lane_site.queue.put("outbound.dmp", skipped.outbound["dmp"])
    send(lane_site, Partner())

    assert delivery_states(lane_site) == ["skipped", "sent"]
    assert [work.id for work in skipped.outbound["dmp"]] == [second]
    assert lane_site.prove().findings == []


def test_a_held_lane_of_deliveries_sends_nothing_until_it_is_released(lane_site: LaneSite) -> None:
    first, second, other = filed(lane_site, adt("1", "A1"), adt("1", "A2"), adt("2", "B1"))
    name = lane_names.outbound(
        "dmp", lane_site.rows("SELECT lane FROM delivery ORDER BY id")[0].lane
    )
    operating.hold(lane_site.engine, name, lane_site.act())
    partner = Partner()
    send(lane_site, partner)
    assert [body.split(b"|")[9] for body in partner.taken] == [b"B1"]
    with reading(lane_site.engine) as connection:
        (line,) = lane_reading.listing(connection).lines
    assert (line.name, line.state, line.head) == (name, "held", f"delivery:{first}")

    done = operating.release(lane_site.engine, name, lane_site.act())
    lane_site.queue.put("outbound.dmp", done.outbound["dmp"])
    send(lane_site, partner)

    assert [work.id for work in done.outbound["dmp"]] == [first, second]
    assert [body.split(b"|")[9] for body in partner.taken] == [b"B1", b"A1", b"A2"]
    assert other == second + 1


def test_a_delivery_in_a_couriers_hands_is_not_skipped(lane_site: LaneSite) -> None:
    (first,) = filed(lane_site, adt("1", "A1"))
    name = lane_names.outbound("dmp", lane_site.rows("SELECT lane FROM delivery")[0].lane)
    operating.hold(lane_site.engine, name, lane_site.act())
    lane_site.spoil(
        "UPDATE delivery SET attempts = 1, claimed_by = 'courier', claimed_at = 0 WHERE id = :id",
        id=first,
    )

    assert operating.skip(lane_site.engine, name, first, lane_site.act()).outcome == "being_sent"


def test_lists_of_deliveries_page_on_within_a_window(lane_site: LaneSite) -> None:
    numbers = filed(lane_site, *(adt(str(n), f"A{n}") for n in range(1, 7)))
    send(lane_site, refused(b"|A"))

    with reading(lane_site.engine) as connection:
        first = parked.deliveries(connection, limit=4)
        rest = parked.deliveries(connection, limit=4, before=first.before)

    assert [one.id for one in (*first.lines, *rest.lines)] == numbers[::-1]
    assert rest.before is None


def test_a_gateway_that_dies_behind_its_first_message_leaves_the_name_of_its_source(
    lane_site: LaneSite,
) -> None:
    """What is left of a source is looked for by its name; the rates of that second are lost, and nothing else."""
    lane_site.receive(adt("1", "A1"), to_queue=False)
    unpack(lane_site.engine, "test")

    with reading(lane_site.engine) as connection:
        found = orphans.find(connection, sources=["another"], destinations=["dmp"])

    assert [(one.name, one.open) for one in found if one.kind == "source"] == [("ward", 1)]
