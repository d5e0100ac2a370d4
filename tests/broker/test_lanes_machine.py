"""Whatever operators, senders, workers and couriers do, in any order: no illegal step, order kept, the balance closes."""

from __future__ import annotations

import shutil
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from broker import operating
from broker.acts import Done
from broker.database.engine import reading
from broker.errors import AmbiguousError, PermanentError, TransientError
from broker.records import lane_names, lane_reading
from broker.values import State
from tests.broker.lane_site import DELETION, LaneSite, Partner, adt

PATIENTS = ("1", "2", "3")

EDGES: dict[str, set[str]] = {
    "received": {"waiting", "held", "parked", "filed", "filtered", "skipped"},
    "waiting": {"received", "held", "parked", "filed", "filtered", "skipped"},
    "held": {"received", "skipped", "waiting", "held", "filed", "parked"},
    "parked": {"received", "discarded", "waiting", "parked"},
    "filed": set(),
    "filtered": set(),
    "skipped": set(),
    "discarded": set(),
}
"""What a message may be after one act of somebody, beside what it was before. From a settled state only a person leads away,
and only where it is parked."""

DELIVERY_EDGES: dict[str, set[str]] = {
    "owed": {"sent", "parked", "unknown", "skipped"},
    "unknown": {"owed", "sent", "skipped", "discarded"},
    "parked": {"owed", "discarded", "sent"},
    "sent": set(),
    "skipped": set(),
    "discarded": set(),
}


class Lanes(RuleBasedStateMachine):
    """One installation on SQLite; every rule is one act of somebody."""

    messages: Bundle[str] = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.site = LaneSite(self.folder, f"sqlite:///{self.folder / 'carnet.db'}")
        self.count = 0
        self.seen: dict[str, str] = {}
        self.owed: dict[int, str] = {}
        self.held: set[str] = set()
        self.released: set[str] = set()

    def teardown(self) -> None:
        self.site.close()
        shutil.rmtree(self.folder)

    @initialize(target=messages)
    def known_patients(self) -> object:
        """All are known, so that naming two of them is a conflict."""
        ids = self.site.receive(*(adt(one, f"K{one}") for one in PATIENTS))
        self.site.work()
        return multiple(*ids)

    # --- senders, workers, couriers ---

    @rule(
        target=messages,
        patient=st.sampled_from(PATIENTS),
        kind=st.sampled_from(["good", "held", "parked"]),
    )
    def receive(self, patient: str, kind: str) -> str:
        self.count += 1
        other = PATIENTS[PATIENTS.index(patient) - 1]
        also = other if kind == "held" else ""
        body = adt(
            patient, f"M{self.count}", also=also, kind=DELETION if kind == "parked" else "ADT^A04"
        )
        return self.site.receive(body)[0]

    @rule()
    def work(self) -> None:
        self.site.work()

    @rule()
    def sweep(self) -> None:
        self.site.sweep()

    @rule(says=st.sampled_from([None, AmbiguousError, PermanentError, TransientError]))
    def send(self, says: type[Exception] | None) -> None:
        """One round of the courier, over all there is in the queue at this moment."""
        failed = [] if says is None else [says("partner.says")]  # type: ignore[call-arg]
        partner = Partner(lambda _: failed.pop() if failed else None)
        lease = self.site.queue.take("outbound.dmp", 50, timedelta())
        if lease is not None:
            self.site.courier(partner).serve(lease, threading.Event())

    # --- operators ---

    def follow(self, done: Done) -> None:
        self.site.put(done.inbound)
        for destination, work in done.outbound.items():
            self.site.queue.put(f"outbound.{destination}", work)

    @rule(message=messages)
    def hold(self, message: str) -> None:
        name = self.site.lane(message)
        self.follow(operating.hold(self.site.engine, name, self.site.act()))
        self.held.add(str(name))

    @rule(message=messages)
    def release_lane(self, message: str) -> None:
        name = self.site.lane(message)
        self.follow(operating.release(self.site.engine, name, self.site.act()))
        self.held.discard(str(name))

    @rule(message=messages)
    def skip(self, message: str) -> None:
        name = self.site.lane(message)
        with reading(self.site.engine) as connection:
            head = lane_reading.head_number(connection, name)
        self.follow(operating.skip(self.site.engine, name, head or 0, self.site.act()))

    @rule(message=messages)
    def release_parked(self, message: str) -> None:
        if self.site.state(message) == State.PARKED:
            self.released.add(message)
        number = self.site.detail(message).line.seq
        self.follow(operating.release_parked(self.site.engine, [number], self.site.act()))

    @rule(message=messages)
    def discard_parked(self, message: str) -> None:
        number = self.site.detail(message).line.seq
        operating.discard_parked(self.site.engine, [number], self.site.act())

    @rule(
        message=messages,
        what=st.sampled_from(["release", "confirm", "discard", "hold", "free", "skip"]),
    )
    def deliveries(self, message: str, what: str) -> None:
        number = self.site.detail(message).line.seq
        for row in self.site.rows(
            "SELECT id, lane FROM delivery WHERE message_seq = :seq", seq=number
        ):
            name = lane_names.outbound("dmp", row.lane)
            engine, act = self.site.engine, self.site.act()
            if what == "hold":
                done = operating.hold(engine, name, act)
            elif what == "free":
                done = operating.release(engine, name, act)
            elif what == "skip":
                done = operating.skip(engine, name, row.id, act)
            else:
                take = {
                    "release": operating.release_deliveries,
                    "confirm": operating.confirm_deliveries,
                    "discard": operating.discard_deliveries,
                }[what]
                done = take(engine, [row.id], act)
            self.follow(done)

    # --- what always holds ---

    @invariant()
    def no_illegal_edge(self) -> None:
        for row in self.site.rows("SELECT id, state FROM message"):
            now, before = State(row.state).name.lower(), self.seen.get(str(row.id), "received")
            assert now == before or now in EDGES[before], (before, now)
            self.seen[str(row.id)] = now
        for row in self.site.rows("SELECT id, state FROM delivery"):
            was = self.owed.get(row.id, row.state)
            assert row.state == was or row.state in DELIVERY_EDGES[was], (was, row.state)
            self.owed[row.id] = row.state

    @invariant()
    def a_lane_is_filed_in_order(self) -> None:
        """Of those never taken up again after they were parked, none is filed while an earlier one is open."""
        rows = self.site.rows(
            "SELECT id, seq, lane, state, state_since FROM message ORDER BY lane, seq"
        )
        filed: dict[int, int] = {}
        for row in rows:
            if row.state != State.FILED or str(row.id) in self.released:
                continue
            assert filed.get(row.lane, 0) <= row.state_since, "filed before an earlier one"
            filed[row.lane] = row.state_since

    @invariant()
    def a_held_lane_files_nothing(self) -> None:
        for name in self.held:
            (row,) = self.site.rows(
                "SELECT since, held_by FROM lane WHERE kind = 'filing' AND lane = :lane",
                lane=int(lane_names.parse(name).number),
            )
            assert row.held_by is not None
            late = self.site.rows(
                "SELECT seq FROM message WHERE lane = :lane AND state = 10 AND state_since > :since",
                lane=int(lane_names.parse(name).number), since=row.since,
            )  # fmt: skip
            assert late == []

    @invariant()
    def the_balance_closes(self) -> None:
        assert self.site.prove().findings == []
        assert self.site.balance().closes


Lanes.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLanes = Lanes.TestCase
