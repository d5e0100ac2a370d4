"""Un-merging: both records exactly as if the merge had never been, and who saw the wrong one is listed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker import identity_acts
from broker.access import Viewer
from broker.audit import trail
from broker.records import reading
from broker.rules import decide
from tests.broker.identity_site import a04, a40, adt, cx, members, oru, person, reasons, rows
from tests.broker.lane_site import MAPPINGS, LaneSite

RULES = decide.load(MAPPINGS / "rules")
TABLES = (
    "patient", "patient_identifier", "consent_event", "document", "document_payload", "content",
    "identity_link", "identity_candidate",
)  # fmt: skip
"""All that makes up records. What is left out tells that the merge was: journal, trail, visits, decisions, ledger."""

READERS = [
    Viewer(
        kind="professional",
        id=f"89990000002{n}",
        name=f"Dr Essai {n}",
        profession="G15_10",
        consent="explicit",
    )
    for n in range(3)
]


def site_of(request: pytest.FixtureRequest, folder: Path, database: str, url: str) -> LaneSite:
    folder.mkdir()
    if database == "postgresql":
        return LaneSite(folder, request.getfixturevalue(url))
    return LaneSite(folder, f"sqlite:///{folder / 'carnet.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
def two_sites(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Two installations: in one of them the merge happens, in the other it never does."""
    made = [
        site_of(request, tmp_path / name, request.param, url)
        for name, url in (("merged", "postgres_url"), ("never", "other_postgres_url"))
    ]
    yield made
    for one in made:
        one.close()


def take(site: LaneSite, *bodies: bytes) -> None:
    site.receive(*bodies)
    site.work()


def holdings(site: LaneSite) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the records, without what differs between any two runs: times, random ids, sequence numbers."""
    names = {
        row.id: row.control_id
        for row in rows(
            site.engine,
            "SELECT d.id, m.control_id FROM document d JOIN message m ON m.seq = d.message_seq",
        )
    }
    left_out = {
        "created_at", "updated_at", "account_since", "since", "filed_at", "visible_from", "at", "found_at",
        "message_seq", "series", "payload", "traits_digest",
    }  # fmt: skip
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table in TABLES:
        lines = []
        for row in rows(site.engine, f"SELECT * FROM {table}"):
            line = {key: value for key, value in row._mapping.items() if key not in left_out}
            lines.append(
                tuple(
                    names.get(value, str(value)) if key in ("id", "replaces") else str(value)
                    for key, value in sorted(line.items())
                )
            )
        found[table] = sorted(lines)
    return found


def histories() -> tuple[list[bytes], list[bytes]]:
    """What arrives before the merge, and what arrives while the two are one."""
    before = [a04("1", cx("A")), a04("2", cx("B")), oru("R1", cx("A")), oru("R2", cx("B"))]
    meanwhile = [
        a04("5", cx("A")),
        adt("A04^ADT_A01", "6", cx("B"), more="PV1|1|O\rZFA|||||||||IO|20261101\r"),
        a04("7", cx("A"), name="EXEMPLE^JEANNE MARIE"),
        oru("R3", cx("A")),
    ]
    return before, meanwhile


@pytest.mark.parametrize("by", ["message", "command"])
def test_merge_read_by_three_professionals_unmerge_is_as_if_it_had_never_been(
    two_sites: list[LaneSite], by: str
) -> None:
    merged, never = two_sites
    before, meanwhile = histories()
    for site in two_sites:
        take(site, *before)
    a, b = person(merged.engine, "A"), person(merged.engine, "B")
    if by == "message":
        take(merged, a40("4", cx("B"), cx("A")))
    else:
        identity_acts.merge(merged.engine, a, b, merged.act())
    assert members(merged.engine, "A") == {a, b}

    pages = [
        reading.listing(
            merged.engine, viewer, person_, decide=RULES.reading, trail=trail.write,
            now=merged.clock() + timedelta(seconds=n),
        )
        for n, (viewer, person_) in enumerate(zip(READERS, (a, b, a), strict=True))
    ]  # fmt: skip
    for site in two_sites:
        for body in meanwhile[:1] + meanwhile[2:]:
            take(site, body)
    merged.now += timedelta(seconds=10)
    effect = identity_acts.unmerge(merged.engine, a, merged.act("wrong patient"))

    assert len({len(page.items) for page in pages}) == 1, "each saw both as one"
    assert len(pages[0].items) == 2
    assert [look.viewer.name for look in effect.looks] == [one.name for one in READERS]
    assert holdings(merged) == holdings(never)
    assert members(merged.engine, "A") == {a}
    (line,) = rows(merged.engine, "SELECT * FROM identity_event WHERE kind = 'unmerge'")
    assert (line.because, line.reverts is not None) == ("wrong patient", True)


def test_what_somebody_said_of_one_is_said_of_the_other_only_while_they_are_one(
    lane_site: LaneSite,
) -> None:
    before, meanwhile = histories()
    take(lane_site, *before, a40("4", cx("B"), cx("A")))
    take(lane_site, meanwhile[1], a04("8", cx("A")))
    assert reasons(lane_site.engine)["8"] == "account.opposed"

    identity_acts.unmerge(lane_site.engine, person(lane_site.engine, "A"), lane_site.act())
    take(lane_site, a04("9", cx("A")), a04("10", cx("B")))

    found = reasons(lane_site.engine)
    assert (found["9"], found["10"]) == (None, "account.opposed")


def test_only_the_span_between_merge_and_unmerge_counts(lane_site: LaneSite) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("B")))
    a, b = person(lane_site.engine, "A"), person(lane_site.engine, "B")
    look: Callable[[int, Viewer], Any] = lambda one, viewer: reading.listing(  # noqa: E731
        lane_site.engine,
        viewer,
        one,
        decide=RULES.reading,
        trail=trail.write,
        now=lane_site.clock(),
    )
    look(a, READERS[0])
    identity_acts.merge(lane_site.engine, a, b, lane_site.act())
    look(a, READERS[1])

    would = identity_acts.unmerge(lane_site.engine, a, lane_site.act(), dry_run=True)
    assert members(lane_site.engine, "A") == {a, b}, "a dry run does nothing"
    did = identity_acts.unmerge(lane_site.engine, a, lane_site.act())
    look(b, READERS[2])

    assert [one.viewer.id for one in would.looks] == [READERS[1].id]
    assert would.looks == did.looks


def test_a_merge_that_a_person_took_back_is_held_when_a_message_says_it_again(
    lane_site: LaneSite,
) -> None:
    take(lane_site, a04("1", cx("A")), a04("2", cx("B")), a40("3", cx("B"), cx("A")))
    a, b = person(lane_site.engine, "A"), person(lane_site.engine, "B")
    identity_acts.unmerge(lane_site.engine, a, lane_site.act())

    take(lane_site, a40("4", cx("B"), cx("A")))

    assert reasons(lane_site.engine)["4"] == "identity.parted"
    assert members(lane_site.engine, "A") == {a}
    identity_acts.merge(lane_site.engine, a, b, lane_site.act())
    assert members(lane_site.engine, "A") == {a, b}, "a person may"


def test_in_a_chain_the_part_below_goes_with_whom_it_was_merged_into(lane_site: LaneSite) -> None:
    take(lane_site, a40("1", cx("B"), cx("A")), a40("2", cx("C"), cx("B")))
    a, b, c = (person(lane_site.engine, one) for one in "ABC")

    identity_acts.unmerge(lane_site.engine, b, lane_site.act())

    assert members(lane_site.engine, "A") == {a, b}
    assert members(lane_site.engine, "C") == {c}
    assert identity_acts.unmerge(lane_site.engine, c, lane_site.act()).problem == (
        "identity.not_merged"
    )


def test_two_ins_are_not_merged_by_command_either(lane_site: LaneSite) -> None:
    from tests.broker.identity_site import ONE_INS, OTHER_INS

    take(lane_site, a04("1", cx("A", ONE_INS)), a04("2", cx("B", OTHER_INS)))
    a, b = person(lane_site.engine, "A"), person(lane_site.engine, "B")

    assert (
        identity_acts.merge(lane_site.engine, a, b, lane_site.act()).problem == "identity.two_ins"
    )
    assert members(lane_site.engine, "A") == {a}
