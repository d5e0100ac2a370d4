"""Documents that come while a space is not decided on: they wait, and are filed or dropped with it. Both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker import app
from broker.account_jobs import AccountJobs
from broker.contracts import Work
from broker.database.engine import writing
from broker.identity import ins
from broker.records import account_rows, patients
from broker.records.account_moves import By
from broker.values import State
from tests.broker.accounts_site import ins_number
from tests.broker.lane_site import LaneSite, adt

BY = By("jd", channel="phone")


class Key:
    """An INS, as `patients` keeps it."""

    system, value, kind = ins.TEST, ins_number(1), "INS-NIR"


def informed(site: LaneSite) -> int:
    """A patient whose six weeks are running."""
    site.receive(adt("1", "A1"))
    site.work()
    number = int(site.rows("SELECT id FROM patient")[0].id)
    with writing(site.engine) as connection:
        patients.add_keys(connection, [patients.NewKey(number, Key)], site.now)
    app.accounts_of(site.settings, site.engine).inform([number], BY, site.clock())
    return number


def documents(site: LaneSite) -> int:
    return int(site.rows("SELECT count(*) AS n FROM document")[0].n)


def test_t3_what_came_in_the_six_weeks_is_filed_when_they_end_and_sent_on_once(
    lane_site: LaneSite,
) -> None:
    number = informed(lane_site)
    before = documents(lane_site)
    waiting = lane_site.receive(adt("1", "A2"), adt("1", "A3"))
    lane_site.work()
    assert lane_site.states(*waiting) == ["delivered_only"] * 2
    assert documents(lane_site) == before
    work: list[Work] = []
    jobs = AccountJobs(
        lane_site.engine,
        app.accounts_of(lane_site.settings, lane_site.engine),
        lane_site.telemetry,
        lane_site.clock,
        work.extend,
    )

    lane_site.spoil("UPDATE account_due SET due_at = 1 WHERE name = 'T3'")
    assert jobs.move() == 1
    lane_site.put(work)
    lane_site.work()

    assert documents(lane_site) == before + 2
    assert lane_site.rows("SELECT count(*) AS n FROM account_wait")[0].n == 0
    owed = lane_site.rows("SELECT message_seq, count(*) AS n FROM delivery GROUP BY message_seq")
    assert [row.n for row in owed] == [1, 1, 1], "each message is sent on once"
    replays = lane_site.rows("SELECT state FROM message WHERE replay_of IS NOT NULL")
    assert [row.state for row in replays] == [State.FILED] * 2
    with writing(lane_site.engine) as connection:
        assert account_rows.load(connection, [number])[number].state == "open_unactivated"
    assert lane_site.prove().findings == []


@pytest.mark.parametrize(
    ("event", "reason"), [("oppose", "account.opposed"), ("death", "account.closed")]
)
def test_t2_t8_what_waited_is_dropped_with_its_reason(
    lane_site: LaneSite, event: str, reason: str
) -> None:
    number = informed(lane_site)
    before = documents(lane_site)
    (waiting,) = lane_site.receive(adt("1", "A2"))
    lane_site.work()

    accounts = app.accounts_of(lane_site.settings, lane_site.engine)
    done = accounts.bring([number], event, BY, lane_site.clock())

    assert done.dropped == 1
    assert done.work == []
    assert documents(lane_site) == before
    line = lane_site.detail(waiting).line
    assert (line.state, line.reason) == (State.DELIVERED_ONLY, reason)
    dropped = lane_site.rows("SELECT subject FROM audit_entry WHERE act = 'wait_dropped'")
    assert [row.subject for row in dropped] == [waiting]
    assert lane_site.prove().findings == []


def test_t9_t10b_what_comes_during_a_suspension_is_filed_when_it_is_lifted(
    lane_site: LaneSite,
) -> None:
    number = informed(lane_site)
    accounts = app.accounts_of(lane_site.settings, lane_site.engine)
    accounts.activate(number, "", "", BY, lane_site.clock(), is_identified=True)
    before = documents(lane_site)
    accounts.bring([number], "suspend", BY, lane_site.clock())
    lane_site.receive(adt("1", "A2"))
    lane_site.work()
    assert documents(lane_site) == before

    done = accounts.bring([number], "resume", BY, lane_site.clock() + timedelta(seconds=1))
    lane_site.put(done.work)
    lane_site.work()

    assert documents(lane_site) == before + 1
