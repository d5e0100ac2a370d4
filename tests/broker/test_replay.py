"""Messages read again: new versions and never duplicates, nothing newer undone, one run takes each message once."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from broker import operating, replay
from broker.contracts import Work
from broker.errors import SetupError
from broker.records import replaying
from broker.values import State
from tests.broker.lane_site import DELETION, adt
from tests.broker.replay_site import ReplaySite, mappings, mdm

PDF = base64.b64encode(b"%PDF-1.4 invented").decode()


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return {word: mappings(folder, word) for word in ("first", "second")}


@pytest.fixture(params=["sqlite", "postgresql"])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, sets: dict[str, Path]
) -> Iterator[ReplaySite]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'carnet.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    made = ReplaySite(tmp_path, url, sets["first"])
    yield made
    made.close()


def closes(site: ReplaySite) -> None:
    assert site.prove().findings == []
    assert site.balance().closes
    twice = site.rows(
        "SELECT series FROM document WHERE availability = 'current' GROUP BY series HAVING count(*) > 1"
    )
    assert twice == []


def test_a_replay_between_two_receptions_that_nobody_has_read_yet_leaves_the_trail_whole(
    site: ReplaySite,
) -> None:
    ids = site.receive(mdm("1", "A", "D1", "one"))
    site.work()
    site.receive(adt("2", "B"))
    site.replay(ids)
    site.receive(adt("3", "C"), adt("4", "D"))

    site.work()

    entries = site.rows(
        "SELECT subject, count(*) AS n FROM audit_entry WHERE act = 'received' GROUP BY subject"
    )
    assert [one.n for one in entries] == [1] * 5
    (last,) = site.rows("SELECT max(n) AS n FROM audit_entry")
    (counted,) = site.rows("SELECT value FROM counter WHERE name = 'audit'")
    assert last.n == counted.value, "the next entry has a number of its own"
    closes(site)


def test_what_is_read_the_same_is_filtered(site: ReplaySite) -> None:
    ids = site.receive(mdm("1", "A", "D1", "one"), adt("1", "B"))
    site.work()
    before = site.documents()

    done = site.replay()
    site.work()

    assert (done.taken, done.is_over) == (2, True)
    for one in ids:
        (again,) = site.replays_of(one)
        line = site.detail(again).line
        assert (line.state, line.reason) == (State.FILTERED, "replay.unchanged")
    assert site.documents() == before
    closes(site)


def test_what_is_read_otherwise_is_a_new_version(site: ReplaySite, sets: dict[str, Path]) -> None:
    (original,) = site.receive(mdm("1", "A", "D1", "one"))
    site.work()
    site.use(sets["second"])

    site.replay([original])
    site.work()

    (again,) = site.replays_of(original)
    assert site.state(again) == State.FILED
    first, second = site.documents()
    assert (first["availability"], second["availability"]) == ("superseded", "current")
    assert second["series"] == first["series"]
    assert second["replaces"] == first["id"]
    assert site.current() == [("D1", "one", "second")]
    assert (
        site.rows("SELECT act FROM audit_entry WHERE subject = :id", id=second["id"])[0].act
        == "replaced"
    )
    closes(site)


def test_a_change_beside_shared_bytes_is_a_new_version_too(
    site: ReplaySite, sets: dict[str, Path]
) -> None:
    site.receive(mdm("1", "A", "D1", "", pdf=PDF))
    site.work()
    site.use(sets["second"])

    site.replay()
    site.work()

    assert site.current() == [("D1", "", "second")]
    closes(site)


def test_replaying_twice_is_replaying_once(site: ReplaySite, sets: dict[str, Path]) -> None:
    (original,) = site.receive(mdm("1", "A", "D1", "one"))
    site.work()
    site.use(sets["second"])
    site.replay()
    site.work()
    before = site.documents()

    site.replay()
    site.work()

    _, second = site.replays_of(original)
    assert site.detail(second).line.reason == "replay.unchanged"
    assert site.documents() == before
    closes(site)


def test_two_runs_whose_replays_meet_in_one_batch_make_one_version(
    site: ReplaySite, sets: dict[str, Path]
) -> None:
    (original,) = site.receive(mdm("1", "A", "D1", "one"))
    site.work()
    site.use(sets["second"])

    site.replay()
    site.replay()
    site.work()

    assert [site.detail(one).line.reason for one in site.replays_of(original)] == [
        None,
        "replay.unchanged",
    ]
    assert len(site.documents()) == 2
    closes(site)


def test_later_content_is_never_rolled_back(site: ReplaySite, sets: dict[str, Path]) -> None:
    (old,) = site.receive(mdm("1", "A", "D1", "one"))
    site.work()
    (new,) = site.receive(mdm("1", "B", "D2", "two", replaces="D1"))
    site.work()
    site.use(sets["second"])

    site.replay()
    site.work()

    (again,) = site.replays_of(old)
    assert site.detail(again).line.reason == "replay.superseded"
    (newer,) = site.replays_of(new)
    assert site.state(newer) == State.FILED
    assert site.current() == [("D2", "two", "second")]
    closes(site)


def test_what_was_deleted_since_stays_deleted(site: ReplaySite, sets: dict[str, Path]) -> None:
    ids = site.receive(mdm("1", "A", "D1", "one"), mdm("1", "B", "D1", "one", deletes=True))
    site.work()
    assert site.states(*ids) == ["filed", "filed"]
    site.use(sets["second"])

    site.replay()
    site.work()

    assert site.current() == []
    (again,) = site.replays_of(ids[0])
    assert site.detail(again).line.reason == "replay.superseded"
    closes(site)


def test_an_old_deletion_does_not_take_back_what_came_after_it(site: ReplaySite) -> None:
    site.receive(mdm("1", "A", "D1", "one"))
    (deletion,) = site.receive(mdm("1", "B", "D1", "one", deletes=True))
    site.work()
    site.receive(mdm("1", "C", "D1", "other"))
    site.work()
    assert site.current() == [("D1", "other", "first")]

    site.replay([deletion])
    site.work()

    assert site.current() == [("D1", "other", "first")]
    (again,) = site.replays_of(deletion)
    assert site.detail(again).line.reason == "replay.superseded"
    closes(site)


def test_a_message_that_comes_after_a_replay_replaces_its_version(
    site: ReplaySite, sets: dict[str, Path]
) -> None:
    site.receive(mdm("1", "A", "D1", "one"))
    site.work()
    site.use(sets["second"])
    site.replay()
    site.receive(mdm("1", "B", "D2", "two", replaces="D1"))
    site.work()

    assert site.current() == [("D2", "two", "second")]
    closes(site)


def test_the_same_document_sent_twice_gets_one_new_version(
    site: ReplaySite, sets: dict[str, Path]
) -> None:
    site.receive(mdm("1", "A", "D1", "one"))
    (twin,) = site.receive(mdm("1", "B", "D1", "one"))
    site.work()
    assert site.detail(twin).line.reason == "document.duplicate"
    site.use(sets["second"])

    site.replay([twin])
    site.replay()
    site.work()

    assert site.current() == [("D1", "one", "second")]
    assert len(site.documents()) == 2
    closes(site)


def test_what_was_never_filed_is_filed(site: ReplaySite) -> None:
    (first,) = site.receive(_opposing("1", "A", "IO", "20261101"))
    (letter,) = site.receive(mdm("1", "B", "D1", "one"))
    (taken_back,) = site.receive(_opposing("1", "C", "IN", "20261102"))
    site.work()
    assert site.states(first, letter, taken_back) == ["delivered_only", "delivered_only", "filed"]

    site.replay([letter])
    site.work()

    (again,) = site.replays_of(letter)
    assert site.state(again) == State.FILED
    assert site.current() == [("D1", "one", "first")]
    closes(site)


def _opposing(patient: str, control_id: str, word: str, day: str) -> bytes:
    """An admission with a word on filing (ZFA-9) and when it was said."""
    return adt(patient, control_id) + f"ZFA|||||||||{word}|{day}\r".encode()


@pytest.mark.parametrize("later", ["20261102", "20261101"])
def test_an_old_opposition_does_not_come_back(site: ReplaySite, later: str) -> None:
    (opposed,) = site.receive(_opposing("1", "A", "IO", "20261101"))
    site.work()
    site.receive(_opposing("1", "B", "IN", later))
    site.work()
    said = "SELECT kind, value FROM consent_event ORDER BY patient, n"
    before = site.rows(said)
    assert [row.value for row in before] == ["IO", "IN"]

    site.replay([opposed])
    site.work()
    site.receive(mdm("1", "C", "D1", "one"))
    site.work()

    assert site.rows(said) == before
    assert site.current() == [("D1", "one", "first")]
    closes(site)


def test_old_traits_do_not_come_back(site: ReplaySite) -> None:
    (maiden,) = site.receive(adt("1", "A"))
    site.work()
    site.receive(adt("1", "B").replace(b"EXEMPLE^JEANNE", b"EXEMPLE^JEANNETTE"))
    site.work()
    before = site.rows("SELECT traits FROM patient")

    site.replay([maiden])
    site.work()

    assert site.rows("SELECT traits FROM patient") == before


def test_nothing_is_delivered_again_unless_it_is_asked_for(
    site: ReplaySite, sets: dict[str, Path]
) -> None:
    site.receive(mdm("1", "A", "D1", "one"), mdm("2", "B", "D2", "two"))
    site.work()
    count = "SELECT count(*) AS n FROM delivery"
    assert site.rows(count)[0].n == 2
    site.use(sets["second"])

    site.replay(type="ORU")
    site.replay()
    site.work()
    assert site.rows(count)[0].n == 2

    site.use(sets["first"])
    site.replay(deliver=True)
    site.work()
    assert site.rows(count)[0].n == 4

    site.replay(deliver=True)
    site.work()
    assert site.rows(count)[0].n == 4
    closes(site)


def test_order_is_kept_in_each_lane(site: ReplaySite) -> None:
    ids = [
        one
        for n in range(12)
        for one in site.receive(mdm(str(n % 3 + 1), f"M{n}", f"D{n}", f"{n}"))
    ]
    site.work()

    site.replay(rate=5)
    rows = site.rows(
        "SELECT r.seq, r.lane, m.seq AS original, m.lane AS first_lane FROM message r "
        "JOIN message m ON m.seq = r.replay_of ORDER BY r.seq"
    )

    assert len(rows) == len(ids)
    assert [row.original for row in rows] == sorted(row.original for row in rows)
    assert all(row.lane == row.first_lane for row in rows)


def test_held_waiting_and_parked_messages_are_left(site: ReplaySite) -> None:
    site.receive(adt("1", "K1"), adt("2", "K2"))
    site.work()
    ids = site.receive(
        adt("1", "held", also="2"), adt("1", "behind"), adt("3", "merge", kind=DELETION), adt("4", "gone", kind=DELETION)
    )  # fmt: skip
    site.work()
    operating.discard_parked(site.engine, [site.detail(ids[3]).line.seq], site.act())

    done = site.replay(ids)

    assert done.taken == 0
    assert dict(done.left) == {"unsettled": 2, "parked": 1, "discarded": 1}
    assert all(site.replays_of(one) == [] for one in ids)


def test_a_replay_is_not_replayed_itself(site: ReplaySite) -> None:
    (original,) = site.receive(mdm("1", "A", "D1", "one"))
    site.work()
    site.replay()
    site.work()
    (again,) = site.replays_of(original)

    by_time = site.replay(until=site.clock())
    by_id = site.replay([again])

    assert by_time.taken == 1
    assert dict(by_id.left) == {"is_replay": 1}


def test_the_filters_choose(site: ReplaySite, sets: dict[str, Path]) -> None:
    ids = site.receive(mdm("1", "A", "D1", "one"), adt("1", "B"))
    site.work()
    low = site.clock()
    site.use(sets["second"])
    ids += site.receive(mdm("1", "C", "D2", "two"))
    site.work()
    beginning = str(site.detail(ids[2]).mapping_set)[:8]

    def taken(**chosen: object) -> int:
        before = {one: len(site.replays_of(one)) for one in ids}
        site.replay(**chosen)  # type: ignore[arg-type]
        return sum(10**n for n, one in enumerate(ids) if len(site.replays_of(one)) > before[one])

    assert taken(type="MDM") == 101
    assert taken(type="MDM^T02") == 101
    assert taken(type="ADT^A04") == 10
    assert taken(source="ward") == 111
    assert taken(source="elsewhere") == 0
    assert taken(state="filtered") == 0
    assert taken(state="filed", since=low) == 100
    assert taken(until=low) == 11
    assert taken(mapping_set=beginning) == 100
    with pytest.raises(SetupError):
        replay.walk(site.engine, replay.Selection(source="ward"), site.now)


def test_a_run_that_is_stopped_goes_on_where_it_was(site: ReplaySite) -> None:
    ids = site.receive(*(mdm("1", f"M{n}", f"D{n}", str(n)) for n in range(9)))
    site.work()
    since = site.now - timedelta(hours=1)
    stop = threading.Event()

    def stopping(work: Sequence[Work]) -> None:
        site.put(work)
        stop.set()

    first = site.replay(since=since, rate=4, stop=stop, hand_over=stopping)
    second = site.replay(since=since)

    assert (first.taken, first.is_over) == (4, False)
    assert (second.run, second.taken, second.is_over) == (first.run, 5, True)
    assert [len(site.replays_of(one)) for one in ids] == [1] * 9
    assert site.replay(since=since).run == first.run + 1
    site.work()
    closes(site)


class KilledError(BaseException):
    """What ends a run as SIGKILL does."""


def test_a_run_that_is_killed_goes_on_where_it_was(
    site: ReplaySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = site.receive(*(mdm("1", f"M{n}", f"D{n}", str(n)) for n in range(9)))
    site.work()
    since = site.now - timedelta(hours=1)

    def dies(_: Sequence[Work]) -> None:
        raise KilledError

    with pytest.raises(KilledError):  # committed, and the queue was not told
        site.replay(since=since, rate=4, hand_over=dies)
    with monkeypatch.context() as patch:
        patch.setattr(replaying, "advance", lambda *_: (_ for _ in ()).throw(KilledError()))
        with pytest.raises(KilledError):  # before the commit
            site.replay(since=since, rate=4)
    site.replay(since=since, rate=1_000)
    site.work()
    site.sweep()
    site.work()

    assert [len(site.replays_of(one)) for one in ids] == [1] * 9
    assert {
        row.state for row in site.rows("SELECT state FROM message WHERE replay_of IS NOT NULL")
    } == {int(State.FILTERED)}
    closes(site)


def test_a_run_waits_for_room(site: ReplaySite) -> None:
    site.receive(mdm("1", "A", "D1", "one"))
    site.work()
    reasons = ["pressure.disk", "replay.busy", ""]
    asked: list[str] = []

    def gate() -> str:
        asked.append(reasons.pop(0))
        return asked[-1]

    done = site.replay(gate=gate)

    assert asked == ["pressure.disk", "replay.busy", ""]
    assert done.taken == 1


def test_who_asked_and_why_stands_in_the_trail(site: ReplaySite) -> None:
    (original,) = site.receive(mdm("1", "A", "D1", "one"))
    site.work()

    site.replay([original])

    (again,) = site.replays_of(original)
    entries = site.rows(
        "SELECT act, actor, motive, details FROM audit_entry WHERE actor = 'jd' ORDER BY n"
    )
    assert [(row.act, row.actor) for row in entries] == [
        ("replay_started", "jd"), ("replayed", "jd"), ("replay_ended", "jd"),
    ]  # fmt: skip
    assert {row.motive for row in entries} == {"ticket 4711"}
    assert original in entries[1].details
    assert (
        site.rows("SELECT act FROM audit_entry WHERE subject = :id", id=again)[0].act == "received"
    )


def test_a_replay_that_names_another_patient_waits_for_a_person(
    site: ReplaySite, sets: dict[str, Path]
) -> None:
    (original,) = site.receive(mdm("1", "A", "D1", "one"))
    site.receive(adt("2", "B"))
    site.work()
    (row,) = site.rows("SELECT patient FROM patient_identifier WHERE value = '2'")
    site.spoil("UPDATE patient_identifier SET patient = :p WHERE value = '1'", p=row.patient)
    site.use(sets["second"])

    site.replay([original])
    site.work()

    (again,) = site.replays_of(original)
    line = site.detail(again).line
    assert (line.state, line.reason) == (State.PARKED, "replay.other_patient")
    assert site.current() == [("D1", "one", "first")]
    closes(site)
