"""Whatever holders, operators and the clock do, in any order: rows go where the table says, and the history tells it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.accounts import machine
from broker.database.engine import reading
from broker.records import account_rows
from tests.broker import ledger
from tests.broker.accounts_site import Spaces

pytestmark = pytest.mark.drill

BY_HAND = sorted(set(machine.EVENTS) - set(machine.TIMED.values()) - {"attach", "detach"})


class Life(RuleBasedStateMachine):
    """Two people of one installation on SQLite; what a step leaves is looked for in the table of the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.spaces = Spaces(ledger.new(f"sqlite:///{self.folder / 'carnet.db'}"))
        self.people = self.spaces.people(2)

    def teardown(self) -> None:
        self.spaces.engine.dispose()
        shutil.rmtree(self.folder)

    @rule(who=st.integers(0, 1), event=st.sampled_from(BY_HAND))
    def somebody_says(self, who: int, event: str) -> None:
        number = self.people[who]
        before = self.spaces.state(number)
        bring = self.spaces.inform if event == "inform" else None
        done = bring(number) if bring else self.spaces.bring(number, event)
        is_legal = (before, event) in machine.TABLE
        assert bool(done.steps) != bool(done.left)
        assert is_legal or not done.steps

    @rule(days=st.sampled_from([1, 41, 42, 43, 400, 3700]))
    def time_passes(self, days: int) -> None:
        self.spaces.later(days=days)

    @invariant()
    def each_step_of_the_history_is_an_edge_and_the_last_one_is_where_it_stands(self) -> None:
        for number in self.people:
            with reading(self.spaces.engine) as connection:
                steps = account_rows.history(connection, number)
                space = account_rows.load(connection, [number])[number]
            state = machine.PRESUMED
            for n, step in enumerate(steps, start=1):
                assert (step.n, step.before) == (n, state)
                edges = [edge for edge in machine.TRANSITIONS if edge.id == step.transition]
                assert step.after in {edge.leads_to(state) for edge in edges}
                state = step.after
            assert space.state == state
            assert self.spaces.column(number) == machine.column_of(state, False)

    @invariant()
    def what_is_due_fits_the_state_and_is_not_in_the_past(self) -> None:
        fits: dict[str, list[set[str]]] = {
            "informed": [{"T3"}], "suspended": [{"T10"}, set()], "closed": [{"T12"}], "deleted": [set()],
        }  # fmt: skip
        for number in self.people:
            space = self.spaces.space(number)
            timed = set(space.due) - {"T13"}
            assert timed in fits.get(space.state, [set()])


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
