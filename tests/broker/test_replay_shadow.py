"""A dry run says what a replay would do, by groups and without a value, and touches nothing; the command replays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.records.messages import day_of
from tests.broker.cli.command import Result, carnet
from tests.broker.lane_site import DELETION, PARIS, adt
from tests.broker.replay_site import ReplaySite, mappings, mdm


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


def command(site: ReplaySite, *arguments: str) -> Result:
    """The command; where connections of the database outlive it, in a process of its own."""
    words = ["messages", *arguments, "--config", str(site.file)]
    if site.url.startswith("sqlite"):
        return carnet(*words)
    done = subprocess.run(
        [sys.executable, "-m", "broker", *words],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


def replay(site: ReplaySite, *arguments: str) -> Result:
    return command(site, "replay", *arguments)


def told(result: Result) -> tuple[list[Any], dict[str, Any]]:
    """The groups and the sums of a dry run."""
    *groups, summary = result.lines
    return groups, summary


def today(site: ReplaySite) -> str:
    return str(day_of(site.now, PARIS))


def test_a_shadow_of_a_day_shows_exactly_the_planted_change(
    site: ReplaySite, sets: dict[str, Path]
) -> None:
    ids = site.receive(
        mdm("1", "A", "D1", "one"), mdm("1", "B", "D2", "two", replaces="D1"), adt("2", "C"),
        adt("3", "merge", kind=DELETION),
    )  # fmt: skip
    site.work()

    result = replay(site, "--day", today(site), "--with", str(sets["second"]), "--json")

    groups, summary = told(result)
    assert result.code == 1
    assert groups == [
        {
            "kind": "change", "change": "changed", "path": "documents.comments",
            "messages": 2, "times": 2, "samples": ids[1:3],
        }
    ]  # fmt: skip
    assert summary["compared"] == 3
    assert summary["outcomes"] == {"new_version": 2, "replay.superseded": 1}
    assert summary["left"] == {"parked": 1}
    assert (summary["owed"], summary["would_owe"]) == ({}, {"dmp": 2})
    assert "second" not in result.out.replace(str(sets["second"]), "")


def test_a_dry_run_with_the_set_in_use_finds_nothing_to_change(site: ReplaySite) -> None:
    site.receive(mdm("1", "A", "D1", "one"), adt("2", "C"))
    site.work()

    result = replay(site, "--day", today(site), "--dry-run", "--json")

    groups, summary = told(result)
    assert (result.code, groups, summary["outcomes"]) == (0, [], {"unchanged": 2})


def test_a_dry_run_touches_nothing(site: ReplaySite, sets: dict[str, Path]) -> None:
    site.receive(mdm("1", "A", "D1", "one"), adt("2", "C"), adt("3", "merge", kind=DELETION))
    site.work()
    before = site.dump()

    replay(site, "--day", today(site), "--with", str(sets["second"]), "--deliver")
    replay(site, "--day", today(site), "--dry-run", "--rules-with", str(rules(site)))

    assert site.dump() == before


def rules(site: ReplaySite) -> Path:
    return Path(site.settings.rules.folder)


def test_what_was_not_filed_is_compared_with_what_its_own_set_makes_of_it(
    site: ReplaySite, sets: dict[str, Path]
) -> None:
    site.receive(adt("1", "A") + b"ZFA|||||||||IO|20261101\r")
    (letter,) = site.receive(mdm("1", "B", "D1", "one"))
    site.work()

    _, same = told(replay(site, letter, "--dry-run", "--json"))
    groups, summary = told(replay(site, letter, "--with", str(sets["second"]), "--json"))

    assert same["outcomes"] == {site.detail(letter).line.reason: 1}
    assert [one["path"] for one in groups if one["kind"] == "change"] == ["documents.comments"]
    assert summary["incomparable"] == 0


def test_a_decision_that_would_be_another_one_is_told_with_its_rule(site: ReplaySite) -> None:
    site.receive(adt("1", "A"), mdm("1", "B", "D1", "one"))
    site.work()
    site.receive(adt("1", "C") + b"ZFA|||||||||IO|20261101\r")
    site.work()

    result = replay(site, "--day", today(site), "--type", "MDM", "--dry-run", "--json")

    groups, _ = told(result)
    (decision,) = (one for one in groups if one["kind"] == "decision")
    assert decision["then"].startswith("CON-07 allow ")
    assert decision["now"].startswith("CON-07 deny ")
    assert decision["messages"] == 1


def test_routes_that_would_differ_are_told(site: ReplaySite, tmp_path: Path) -> None:
    site.file.write_text(
        site.file.read_text(encoding="utf-8").replace(
            'name = "all"\n', 'name = "all"\nwhen = { type_code = ["CN"] }\n'
        ),
        encoding="utf-8",
    )
    (letter,) = site.receive(mdm("1", "B", "D1", "one"))
    site.work()
    other = mappings(tmp_path, "other")
    own = other / "sites" / "mine" / "mdm.yaml"
    own.write_text(
        own.read_text(encoding="utf-8").replace(
            "comments: = other",
            "comments: = first\n      type_code:\n        codings:\n          - code: = OTHER",
        ),
        encoding="utf-8",
    )

    groups, _ = told(replay(site, letter, "--with", str(other), "--json"))

    assert [one for one in groups if one["kind"] == "route"] == [
        {
            "kind": "route", "change": "owed_no_more", "destination": "dmp", "route": "all",
            "messages": 1, "samples": [letter],
        }
    ]  # fmt: skip


def test_the_command_replays_and_the_timeline_tells_both_ways(
    site: ReplaySite, sets: dict[str, Path]
) -> None:
    (original,) = site.receive(mdm("1", "A", "D1", "one"))
    site.work()
    site.use(sets["second"])

    result = replay(site, "--day", today(site), "--because", "ticket 4711", "--yes", "--json")
    site.work()

    assert (result.code, result.lines) == (
        0,
        [{"run": 1, "replayed": 1, "left": {}, "left_ids": {}, "is_over": True}],
    )
    (again,) = site.replays_of(original)
    first = command(site, "timeline", original).out
    second = command(site, "timeline", again).out
    assert f"replayed as {again}" in first
    assert f"received again: a replay of {original}" in second
    assert site.current() == [("D1", "one", "second")]


def test_a_parked_message_is_refused_with_what_to_do_instead(site: ReplaySite) -> None:
    (parked,) = site.receive(adt("3", "merge", kind=DELETION))
    site.work()

    result = replay(site, parked, "--because", "ticket 4711")

    assert result.code == 1
    assert "carnet parked release" in result.out
    assert parked in result.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--reason"),
        (("--because", "x"), "--since"),
        (("--because", "x", "--since", "yesterday"), "--since"),
        (("--because", "x", "--day", "today", "--since", "2026-11-23"), "--day"),
        (("--because", "x", "--day", "today"), "--yes"),
        (("--because", "x", "--day", "today", "--state", "lost"), "--state"),
    ],
)
def test_a_run_that_is_not_clear_is_refused(
    site: ReplaySite, arguments: tuple[str, ...], says: str
) -> None:
    before = site.dump()

    result = replay(site, *arguments)

    assert (result.code, says in result.err) == (2, True), result.err
    assert site.dump() == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_stopped_or_killed_is_run_again(
    site: ReplaySite, how: signal.Signals
) -> None:
    ids = site.receive(*(mdm("1", f"M{n}", f"D{n}", str(n)) for n in range(8)))
    site.work()
    words = ["--since", site.now.date().isoformat(), "--because", "x", "--yes"]
    program = [sys.executable, "-m", "broker", "messages", "replay", *words, "--rate", "2"]
    process = subprocess.Popen([*program, "--config", str(site.file)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    taken = 0
    while not taken:
        assert time.monotonic() < deadline
        taken = site.rows("SELECT count(*) AS n FROM message WHERE replay_of IS NOT NULL")[0].n
        time.sleep(0.02)

    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    again = replay(site, *words, "--json")

    if how == signal.SIGINT:
        assert process.returncode == 1
        assert b"the same command goes on" in said
    assert again.code == 0
    assert 0 < again.lines[0]["replayed"] < 8
    assert [len(site.replays_of(one)) for one in ids] == [1] * 8
    site.work()
    site.sweep()
    site.work()
    assert site.prove().findings == []
