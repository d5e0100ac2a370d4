"""Whatever is sent, replaced, read again and read with other mappings, in any order: the record has the newest, once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.broker.replay_site import ReplaySite, mappings, mdm

pytestmark = pytest.mark.drill

PATIENTS = ("1", "2")
CHAINS = ("D", "E")


class Replays(RuleBasedStateMachine):
    """One installation on SQLite. The model is what each sender sent last of each document, and nothing else."""

    folder: Path
    sets: dict[str, Path]

    def __init__(self) -> None:
        super().__init__()
        self.own = Path(tempfile.mkdtemp())
        self.site = ReplaySite(self.own, f"sqlite:///{self.own / 'carnet.db'}", self.sets["first"])
        self.word = "first"
        self.newest: dict[tuple[str, str], tuple[str, str]] = {}
        self.ids: list[str] = []
        self.count = 0

    def teardown(self) -> None:
        self.site.close()
        shutil.rmtree(self.own)

    @rule(patient=st.sampled_from(PATIENTS), chain=st.sampled_from(CHAINS))
    def send(self, patient: str, chain: str) -> None:
        """The first of a document, or what replaces the one sent before."""
        self.count += 1
        before = self.newest.get((patient, chain), ("", ""))[0]
        name, text = f"{chain}{patient}.{self.count}", f"text {self.count}"
        body = mdm(patient, f"M{self.count}", name, text, replaces=before)
        self.ids += self.site.receive(body)
        self.newest[patient, chain] = (name, text)

    @rule()
    def work(self) -> None:
        self.site.work()

    @rule(word=st.sampled_from(["first", "second"]))
    def change_the_mappings(self, word: str) -> None:
        self.site.use(self.sets[word])
        self.word = word

    @rule(data=st.data())
    def replay_some(self, data: st.DataObject) -> None:
        if self.ids:
            self.site.replay(
                data.draw(st.lists(st.sampled_from(self.ids), unique=True, min_size=1))
            )

    @rule()
    def replay_all_and_again(self) -> None:
        """All is read with the set of now, and another time changes nothing."""
        self.site.work()
        self.site.replay()
        self.site.work()
        expected = sorted((name, text, self.word) for name, text in self.newest.values())
        assert self.site.current() == expected
        before = self.site.documents()

        self.site.replay()
        self.site.work()

        assert self.site.documents() == before

    @invariant()
    def no_series_has_two_current_versions(self) -> None:
        twice = self.site.rows(
            "SELECT series FROM document WHERE availability = 'current' GROUP BY series HAVING count(*) > 1"
        )
        assert twice == []

    @invariant()
    def what_is_current_was_sent_last_of_what_was_read(self) -> None:
        """No document that another one replaced is ever current again."""
        open_now = self.site.rows("SELECT seq FROM message WHERE state < 10")
        if not open_now:
            assert [(name, text) for name, text, _ in self.site.current()] == sorted(
                self.newest.values()
            )

    @invariant()
    def a_lane_keeps_its_order(self) -> None:
        rows = self.site.rows(
            "SELECT lane, state_since, replay_of FROM message WHERE state >= 10 ORDER BY lane, seq"
        )
        last: dict[int, int] = {}
        for row in rows:
            assert last.get(row.lane, 0) <= row.state_since
            last[row.lane] = row.state_since

    @invariant()
    def the_balance_closes(self) -> None:
        assert self.site.prove().findings == []
        assert self.site.balance().closes


def test_replays_in_any_order(tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("sets")
    Replays.sets = {word: mappings(folder, word) for word in ("first", "second")}
    machine = Replays.TestCase()
    machine.settings = settings(
        max_examples=8,
        stateful_step_count=18,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine.runTest()
