"""A set is proved before it runs, is kept as it was, and is taken up whole; a code that waits goes on when it is known."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
import pytest
from sqlalchemy import Engine, text

from broker import app, mapping_sets, settings
from broker.cli import held_codes, opened
from broker.contracts import Work
from broker.database.engine import reading, writing
from broker.encryption import sealed
from broker.envelope import Envelope
from broker.errors import SetupError, TransientError
from broker.intake import Intake
from broker.mapping import catalogue
from broker.pipeline import Pipeline
from broker.records import coverage, holds, payloads
from broker.records import mapping_sets as used
from broker.telemetry import Telemetry
from broker.unpacking import unpack
from broker.values import State

PROJECT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass
class Site:
    """An installation without processes: its settings, its ledger, and mapping folders of its own to change."""

    config: Path
    mappings: Path
    engine: Engine
    remarks: str = ""

    @property
    def settings(self) -> settings.Settings:
        return settings.load(self.config, adapters={}, queues=None)

    @property
    def oru(self) -> Path:
        return self.mappings / "sites" / "chu-exemple" / "oru.yaml"

    @property
    def table(self) -> Path:
        return self.oru.parent / "tables" / "lab-local-to-loinc.csv"

    def pipeline(self) -> Pipeline:
        return app.pipeline_of(
            self.settings, self.engine, Telemetry("worker", strict=True, level="error"), "worker-0"
        )

    def receive(self, *bodies: bytes) -> list[Work]:
        """Take messages in; returns the work there is to do."""
        handed: list[Work] = []

        async def whole() -> None:
            intake = Intake(
                self.engine,
                writer="gateway-0",
                zone=ZoneInfo("Europe/Paris"),
                key=b"k" * 32,
                on_conflict=lambda _: "accept",
                hand_over=handed.extend,
                telemetry=Telemetry("gateway", strict=True, level="error"),
                clock=lambda: datetime.now(UTC),
            )
            running = asyncio.create_task(intake.run())
            for body in bodies:
                receipt = await intake.accept(
                    Envelope(source="lab", body=body, received_at=datetime.now(UTC))
                )
                assert receipt.outcome == "accepted"
            intake.close()
            await running
            intake.stop()

        asyncio.run(whole())
        return handed

    def states(self) -> list[tuple[str, int, str | None]]:
        """(control id, state, reason) of the ledger, in order."""
        unpack(self.engine, "test")
        with reading(self.engine) as connection:
            rows = connection.execute(
                text("SELECT control_id, state, reason FROM message ORDER BY seq")
            )
            return [(row[0], row[1], row[2]) for row in rows]

    def ids(self) -> list[str]:
        return [str(one) for one in self._column("SELECT id FROM message ORDER BY seq")]

    def unsettled(self) -> list[int]:
        """The numbers of the messages that are still to be worked on."""
        return self._column("SELECT seq FROM message WHERE state < 10 ORDER BY seq")

    def read_with(self) -> list[str]:
        """The beginning of the set each message was read with, in order."""
        return self._column("SELECT mapping_set FROM message ORDER BY seq")

    def _column(self, query: str) -> list[Any]:
        unpack(self.engine, "test")
        with reading(self.engine) as connection:
            return list(connection.execute(text(query)).scalars())

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run `carnet`; its exit code and what it said."""
        command = [sys.executable, "-m", "broker", *arguments, "--config", str(self.config)]
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, cwd=PROJECT
        )
        self.remarks = ended.stderr
        return ended.returncode, ended.stdout


@pytest.fixture
def site(empty_ledger: Engine, tmp_path: Path) -> Iterator[Site]:
    # Without CDA and FHIR, whose mappings take most of the time of a load.
    mappings = tmp_path / "mappings"
    without = shutil.ignore_patterns("cda", "fhir", "out")
    shutil.copytree(PROJECT / "mappings", mappings, ignore=without)
    config = tmp_path / "carnet.toml"
    url = empty_ledger.url.render_as_string(hide_password=False)
    (tmp_path / "url").write_text(url, encoding="utf-8")
    config.write_text(
        f'[site]\ndata_folder = "{tmp_path / "data"}"\n[database]\nurl = {{ file = "{tmp_path / "url"}" }}\n'
        f'[mappings]\nfolders = ["{mappings}"]\n',
        encoding="utf-8",
    )
    return Site(config, mappings, empty_ledger)


def result(control_id: str, code: str = "NA", *, facility: str = "CHU-EXEMPLE") -> bytes:
    lines = (
        f"MSH|^~\\&|SIL|{facility}|DPI|H|20261120101500||ORU^R01^ORU_R01|{control_id}|P|2.5",
        "PID|1||SPEC0042^^^CHU-EXEMPLE&1.2.250.1.999.1.1&ISO^PI||TESTSITE^LOUISE^^^^^L||19810203|F",
        f"ORC|RE|P-{control_id}|F-{control_id}",
        f"OBR|1|P-{control_id}|F-{control_id}|IONO^Ionogramme^L|||||||||||||||||||||F",
        f"OBX|1|NM|{code}^Analyse^L||139|mmol/L|136-145|N|||F",
        "ZXX|1|something a rule does not know",
    )
    return "".join(line + "\r" for line in lines).encode()


def test_a_set_is_kept_as_it_was_and_its_files_make_the_same_set(
    site: Site, tmp_path: Path
) -> None:
    done = mapping_sets.activate(site.engine, [site.mappings], "engineer", NOW)

    with reading(site.engine) as connection:
        active = used.active(connection)
        files = used.files(connection, done.hash[:12])
    assert active is not None
    assert active.hash == done.hash
    assert active.activated_by == "engineer"
    assert files == mapping_sets.packed([site.mappings])
    again = mapping_sets.unpacked(files, tmp_path / "again")
    assert catalogue.load(again).hash == done.hash
    assert not mapping_sets.activate(site.engine, [site.mappings], "engineer", NOW).changed


def test_a_set_that_does_not_hold_changes_nothing(site: Site) -> None:
    before = mapping_sets.activate(site.engine, [site.mappings], "engineer", NOW).hash
    good = site.oru.read_text(encoding="utf-8")

    site.oru.write_text(good.replace("from: OBX-3", "from: OBX-333"), encoding="utf-8")
    with pytest.raises(SetupError, match=r"OBX-333"):
        mapping_sets.activate(site.engine, [site.mappings], "engineer", NOW)
    site.oru.write_text(good.replace("default: final", "default: unknown"), encoding="utf-8")
    with pytest.raises(SetupError, match=r"mapping\.tests_failed"):
        mapping_sets.activate(site.engine, [site.mappings], "engineer", NOW)

    with reading(site.engine) as connection:
        active = used.active(connection)
    assert active is not None
    assert active.hash == before


def test_a_worker_takes_up_the_set_that_is_active(site: Site) -> None:
    pipeline = site.pipeline()
    first = site.receive(result("C1"))
    pipeline.process([work.id for work in first])
    text_before = site.oru.read_text(encoding="utf-8")
    site.oru.write_text(text_before.replace("version: 1.0.0", "version: 1.1.0"), encoding="utf-8")

    assert not pipeline.renew(at_once=True)
    code, said = site.command("mapping", "activate")
    assert code == 0
    assert "is active" in said
    assert pipeline.renew(at_once=True)

    pipeline.process([work.id for work in site.receive(result("C2"))])
    with reading(site.engine) as connection:
        kept = connection.execute(
            text(
                "SELECT p.payload FROM document d JOIN document_payload p ON p.id = d.id ORDER BY d.message_seq"
            )
        ).scalars()
        made = [
            msgspec.json.decode(sealed.plain_of(payloads.TABLE, bytes(one)))["mapping"]
            for one in kept
        ]
    assert [one["version"] for one in made] == ["1.0.0", "1.1.0"]
    assert made[0]["set"] != made[1]["set"] == catalogue.load(site.mappings).hash


@pytest.mark.parametrize("again", ["replay", "release"])
def test_what_is_read_again_is_read_with_the_set_that_was_activated_just_before(
    site: Site, again: str
) -> None:
    pipeline = site.pipeline()
    (work,) = site.receive(result("C1"))
    (message_id,) = site.ids()
    if again == "release":
        pipeline.park(work.id, ValueError("whatever was done"))
    else:
        pipeline.process([work.id])
    before = site.oru.read_text(encoding="utf-8")
    site.oru.write_text(before.replace("version: 1.0.0", "version: 1.1.0"), encoding="utf-8")

    assert site.command("mapping", "activate")[0] == 0
    arguments = {
        "replay": ("messages", "replay", message_id, "--yes", "--because", "mapping of 1.1.0"),
        "release": ("parked", "release", message_id),
    }[again]
    assert site.command(*arguments)[0] == 0, site.remarks
    pipeline.process(site.unsettled())

    assert site.read_with()[-1] == catalogue.load(site.mappings).hash[:16]


def test_a_worker_asks_seldom(site: Site) -> None:
    now = [NOW]
    watch = mapping_sets.Watch(site.engine, site.mappings.parent / "sets", lambda: now[0])
    mapping_sets.activate(site.engine, [site.mappings], "engineer", NOW)

    assert watch.newer("other") is None
    now[0] += timedelta(seconds=2)
    mapper = watch.newer("other")
    assert mapper is not None
    assert mapper.set_hash == catalogue.load(site.mappings).hash
    assert watch.newer("other") is None


def test_a_code_that_is_to_be_translated_holds_its_lane_and_releases_it_in_order(
    site: Site,
) -> None:
    pipeline = site.pipeline()
    work = site.receive(result("C1", "GLU"), result("C2"), result("C3", "GLU"), result("C4", "HB"))

    pipeline.process([one.id for one in work])

    assert [(one, state) for one, state, _ in site.states()] == [
        ("C1", 4), ("C2", 2), ("C3", 2), ("C4", 2),
    ]  # fmt: skip
    assert site.states()[0][2] == "mapping.code_held"
    pipeline.note_seen(at_once=True)
    code, said = site.command("codes", "list", "--json")
    listed = [msgspec.json.decode(line) for line in said.splitlines()]
    assert code == 1
    assert [(one["code"], one["display"], one["n"]) for one in listed] == [("GLU", "Analyse", 2)]

    code, said = site.command(
        "codes",
        "map",
        listed[0]["table"],
        "GLU",
        "2345-7",
        "--to-system",
        "http://loinc.org",
        "--json",
    )

    assert code == 0
    assert msgspec.json.decode(said)["released"] == 1
    assert site.table.read_text(encoding="utf-8").endswith(
        ",GLU,http://loinc.org,2345-7,,equivalent,\n"
    )
    outcome = pipeline.process([work[0].id])
    while outcome.freed:
        outcome = pipeline.process([one.id for one in outcome.freed])
    assert {state for _, state, _ in site.states()} == {10}
    with reading(site.engine) as connection:
        filed = connection.execute(
            text("SELECT control_id FROM audit_entry WHERE act = 'filed' ORDER BY n")
        ).scalars()
        assert list(filed) == ["C1", "C2", "C3", "C4"]
    pipeline.note_seen(at_once=True)
    with reading(site.engine) as connection:
        assert coverage.codes(connection) == [], (
            "what the old set said of a released message counts"
        )
        assert coverage.looked_at(connection) == 4, "a message that waited was counted twice"
    code, said = site.command("reconcile")
    assert code == 0, said


def test_a_table_that_was_changed_by_hand_releases_what_waits_for_it_when_it_is_activated(
    site: Site,
) -> None:
    pipeline = site.pipeline()
    work = site.receive(result("C1", "GLU"), result("C2", "TSH"))
    pipeline.process([one.id for one in work])
    pipeline.note_seen(at_once=True)
    with site.table.open("a", encoding="utf-8") as table:
        table.write(",GLU,http://loinc.org,2345-7,,equivalent,\n")

    code, said = site.command("mapping", "activate", "--json")

    assert code == 0
    assert msgspec.json.decode(said)["released"] == 1
    with reading(site.engine) as connection:
        assert [one.code for one in coverage.codes(connection)] == ["TSH"]
    outcome = pipeline.process([work[0].id])
    pipeline.process([one.id for one in outcome.freed])
    assert [state for _, state, _ in site.states()] == [10, 4]


def test_a_translation_that_breaks_the_set_is_taken_back(site: Site) -> None:
    mapping_sets.activate(site.engine, [site.mappings], "engineer", NOW)
    site.table.write_bytes(site.table.read_bytes().replace(b"\n", b"\r\n"))
    before = site.table.read_bytes()
    expected = site.oru.parent / "oru.tests" / "01-local-codes.expect.yaml"
    expected.write_text(
        expected.read_text(encoding="utf-8").replace("2951-2", "0000-0"), encoding="utf-8"
    )

    table = "mappings/sites/chu-exemple/tables/lab-local-to-loinc.csv"
    code, _ = site.command("codes", "map", table, "X", "1-1")

    assert code == 2
    assert "mapping.tests_failed" in site.remarks
    assert site.table.read_bytes() == before


def test_however_many_messages_wait_for_a_code_all_are_released(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [
        result(f"C{n}", "GLU").replace(b"SPEC0042", b"SPEC%d" % n).replace(b"LOUISE", b"LOU%d" % n)
        for n in range(3)
    ]
    site.pipeline().process([one.id for one in site.receive(*bodies)])
    assert [state for _, state, _ in site.states()] == [4, 4, 4]
    monkeypatch.setattr(holds, "AT_ONCE", 2)

    ledger = opened.Ledger(site.settings)
    try:
        assert held_codes.release(ledger, {}, "engineer", NOW) == 3
    finally:
        ledger.engine.dispose()

    assert {state for _, state, _ in site.states()} == {int(State.RECEIVED)}


def test_what_was_seen_is_kept_while_it_cannot_be_written(site: Site) -> None:
    pipeline = site.pipeline()
    pipeline.process([one.id for one in site.receive(result("C1"))])
    with writing(site.engine) as connection:
        connection.execute(text("ALTER TABLE coverage RENAME TO away"))
    with pytest.raises((TransientError, psycopg.Error)):
        pipeline.note_seen(at_once=True)
    with writing(site.engine) as connection:
        connection.execute(text("ALTER TABLE away RENAME TO coverage"))

    pipeline.note_seen(at_once=True)

    with reading(site.engine) as connection:
        assert coverage.looked_at(connection) == 1


def test_what_no_rule_reads_is_counted_by_source_and_mapping_without_values(site: Site) -> None:
    pipeline = site.pipeline()
    work = site.receive(result("C1"), result("C2"), result("C3", facility="OTHER"))
    pipeline.process([one.id for one in work])
    pipeline.note_seen(at_once=True)

    code, said = site.command("mapping", "coverage", "--source", "lab", "--json")

    found = {
        (one["mapping"], one["path"]): (one["n"], one["messages"])
        for one in map(msgspec.json.decode, said.splitlines())
    }
    assert code == 1
    assert found["sites/chu-exemple/oru", "ZXX-2"] == (2, 2)
    assert found["hl7v2/fr/oru", "ZXX-2"] == (1, 1)
    assert "something" not in said
    assert site.command("mapping", "coverage")[1].count("never mapped, first seen") == len(found)
    site.command("mapping", "coverage", "--mapping", "hl7v2/fr/oru")
    assert "; 1 messages looked at" in site.remarks


def test_the_engine_of_a_message_is_the_one_of_its_row(site: Site) -> None:
    pipeline = site.pipeline()
    pipeline.process([one.id for one in site.receive(result("C1"))])

    with reading(site.engine) as connection:
        (named,) = connection.execute(text("SELECT mapping_set FROM message")).scalars()
    assert catalogue.load(site.mappings).hash.startswith(named)


def test_two_sets_side_by_side_are_listed_with_the_active_one_first(site: Site) -> None:
    mapping_sets.activate(site.engine, [site.mappings], "engineer", NOW)
    site.oru.write_text(
        site.oru.read_text(encoding="utf-8").replace("1.0.0", "1.0.1"), encoding="utf-8"
    )

    code, said = site.command("mapping", "sets")
    assert code == 1
    assert "active" in said
    mapping_sets.activate(site.engine, [site.mappings], "engineer", NOW + timedelta(hours=1))
    code, said = site.command("mapping", "sets", "--json")
    assert code == 0
    assert [msgspec.json.decode(line)["active"] for line in said.splitlines()] == [True, False]


def test_the_same_files_are_packed_to_the_same_bytes_whenever(tmp_path: Path) -> None:
    folder = tmp_path / "mappings"
    shutil.copytree(PROJECT / "mappings" / "sites", folder)

    first = mapping_sets.packed([folder])
    for path in folder.rglob("*"):
        path.touch()

    assert mapping_sets.packed([folder]) == first
