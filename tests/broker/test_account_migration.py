"""Former records taken over with their content: once each, whatever is killed, on both databases."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from broker.account_migration import Migration, examine
from broker.database import migrate
from broker.database.engine import open_engine, reading, writing
from broker.identity import ins
from broker.records import account_rows, patients
from tests.broker.accounts_site import BY, Spaces, ins_number

PROJECT = Path(__file__).parents[2]


def former(n: int, **more: Any) -> dict[str, Any]:
    return {
        "system": ins.TEST, "value": ins_number(n), "family": "EXEMPLE", "given": "Jeanne",
        "documents": [
            {
                "id": f"1.2.250.1.999.7.{n}.{k}", "file": f"{n}-{k}.pdf", "filed": "2019-05-04T10:00:00+02:00",
                "type": "34112-3", "title": "Compte rendu", "codes": ["N", "MASQUE_PS"] if k else ["N"],
                "author": {"id": "899900000011", "family": "TEST", "profession": "G15_10/SM26"},
            }
            for k in range(2)
        ],
        "blocked": ["899900000029"],
        "access": [{"id": "899900000011", "at": "2020-01-02T09:00:00+01:00", "name": "TEST", "read": 2}],
        **more,
    }  # fmt: skip


def write(folder: Path, records: list[dict[str, Any]]) -> Path:
    for one in records:
        for document in one["documents"]:
            (folder / document["file"]).write_bytes(f"%PDF of {document['id']}".encode())
    manifest = folder / "former.jsonl"
    manifest.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return manifest


def take(spaces: Spaces, manifest: Path, **more: Any) -> Any:
    migration = Migration(spaces.engine, production=False, clock=lambda: spaces.now, **more)
    return migration.run(examine(manifest, manifest.parent), "jd", threading.Event())


def count(engine: Engine, table: str) -> int:
    with reading(engine) as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@pytest.fixture
def spaces(empty_ledger: Engine) -> Spaces:
    return Spaces(empty_ledger)


def test_content_masks_blocks_and_the_access_list_are_kept(spaces: Spaces, tmp_path: Path) -> None:
    manifest = write(tmp_path, [former(n) for n in (1, 2, 3)])

    done = take(spaces, manifest)

    assert (done.taken, done.documents, done.left_out, done.is_over) == (3, 6, 0, True)
    masks = spaces.rows(
        "SELECT masked_ps, count(*) AS n FROM document GROUP BY masked_ps ORDER BY 1"
    )
    assert [(bool(row.masked_ps), row.n) for row in masks] == [(False, 3), (True, 3)]
    assert count(spaces.engine, "attachment") == 6
    visits = spaces.rows("SELECT actor, read, shown_to FROM visit".replace("read", '"read"'))
    assert {(row.actor, row.read) for row in visits} == {("professional:899900000011", 2)}
    blocked = spaces.rows("SELECT scope FROM consent_event WHERE kind = 'block'")
    assert {row.scope for row in blocked} == {"ps|899900000029"}
    number = int(spaces.rows("SELECT min(id) AS id FROM patient")[0].id)
    assert (spaces.state(number), spaces.column(number)) == ("not_eligible", "open_unactivated")
    acts = spaces.rows("SELECT act FROM audit_entry")
    assert [row.act for row in acts] == ["record_taken_over"] * 3


def test_t3_integrates_a_former_record_and_t2_archives_it(spaces: Spaces, tmp_path: Path) -> None:
    take(spaces, write(tmp_path, [former(1), former(2)]))
    one, other = (int(row.id) for row in spaces.rows("SELECT id FROM patient ORDER BY id"))
    for number in (one, other):
        spaces.inform(number)
        assert spaces.column(number) == "open_unactivated", "it goes on as before"

    spaces.bring(other, "oppose")
    spaces.later(days=43)

    assert (spaces.state(one), spaces.space(one).is_attached) == ("open_unactivated", True)
    assert (spaces.state(other), spaces.space(other).is_attached) == ("opposed", False)
    assert set(spaces.space(other).due) == {"T12"}
    spaces.later(days=3660)
    left = spaces.rows("SELECT DISTINCT patient FROM document WHERE availability = 'current'")
    assert [row.patient for row in left] == [one]


def test_the_same_manifest_and_another_with_the_same_people_take_nothing_twice(
    spaces: Spaces, tmp_path: Path
) -> None:
    records = [former(n) for n in (1, 2)]
    first = take(spaces, write(tmp_path, records))
    again = take(spaces, write(tmp_path, records))
    other = take(spaces, write(tmp_path, [*records, former(3)]))

    assert (first.documents, again.documents, other.documents) == (4, 4, 2)
    assert count(spaces.engine, "document") == 6
    assert count(spaces.engine, "patient") == 3


def test_a_line_that_cannot_be_taken_is_named_and_stops_no_other(
    spaces: Spaces, tmp_path: Path
) -> None:
    outside = former(2)
    outside["documents"][0]["file"] = "../outside.pdf"
    manifest = write(tmp_path, [former(1), former(4, value="254099999999901"), former(3)])
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*lines, json.dumps(outside), "{not json", lines[0]]) + "\n")
    left: list[tuple[int, str]] = []

    done = take(spaces, manifest, leave=lambda line, why: left.append((line, why)))

    assert (done.taken, done.left_out) == (2, 4)
    assert [line for line, _ in left] == [2, 4, 5, 6]
    assert "254099999999901" not in str(left)


def test_a_run_that_dies_between_two_batches_goes_on_behind_the_last_one(
    spaces: Spaces, tmp_path: Path
) -> None:
    manifest = write(tmp_path, [former(n) for n in range(1, 21)])

    class Killed(BaseException):
        """As SIGKILL."""

    def dies(lines: int) -> None:
        if lines >= 9:
            raise Killed

    with pytest.raises(Killed):
        take(spaces, manifest, progress=dies, at_once=3)
    assert count(spaces.engine, "patient") == 9
    done = take(spaces, manifest, at_once=3)

    assert (done.taken, done.documents) == (20, 40)
    assert count(spaces.engine, "document") == 40
    assert count(spaces.engine, "visit") == 20
    assert count(spaces.engine, "audit_entry") == 20


@pytest.mark.timeout(300)
def test_killed_with_sigkill_and_started_again_nobody_is_lost_or_taken_twice(tmp_path: Path) -> None:  # fmt: skip
    people = 40
    manifest = write(tmp_path, [former(n) for n in range(1, people + 1)])
    (tmp_path / "carnet.toml").write_text('[site]\ndata_folder = "."\n[telemetry]\nlisten = ""\n')
    engine = open_engine(f"sqlite:///{tmp_path / 'carnet.db'}")
    migrate.upgrade(engine, Spaces(engine).now)
    command = [
        sys.executable, "-m", "broker", "account", "migrate", str(manifest), "--batch", "1", "--json", "--config",
        str(tmp_path / "carnet.toml"),
    ]  # fmt: skip
    killed = 0
    for goal in (5, 15):
        running = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while count(engine, "patient") < goal and running.poll() is None:
            assert time.monotonic() < deadline
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
    last = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert killed == 2
    assert last.returncode == 0, last.stderr
    said = json.loads(last.stdout.splitlines()[-1])
    assert (said["taken"], said["documents"], said["over"]) == (people, 2 * people, True)
    assert count(engine, "patient") == people
    assert count(engine, "document") == 2 * people
    assert count(engine, "visit") == people
    assert count(engine, "audit_entry") == people
    engine.dispose()


def test_a_closed_former_record_is_archived_and_comes_back_on_request(
    spaces: Spaces, tmp_path: Path
) -> None:
    closed = "2024-02-29T12:00:00+01:00"
    take(spaces, write(tmp_path, [former(1, status="FERME", closed=closed)]))
    number = int(spaces.rows("SELECT id FROM patient")[0].id)

    assert spaces.state(number) == "closed"
    with reading(spaces.engine) as connection:
        due = account_rows.load(connection, [number])[number].due["T12"]
    assert (due + timedelta(hours=1)).date().isoformat() == "2034-03-01"
    spaces.accounts.bring([number], "reopen", BY, spaces.now)
    assert spaces.column(number) == "active"


def test_nothing_comes_back_to_a_deleted_space(spaces: Spaces, tmp_path: Path) -> None:
    (number,) = spaces.people(1)
    spaces.bring(number, "ask_deletion")
    spaces.later(minutes=1)
    assert spaces.state(number) == "deleted"

    done = take(spaces, write(tmp_path, [former(1)]))

    assert (done.taken, done.documents, done.left_out) == (0, 0, 1)
    with writing(spaces.engine) as connection:
        assert patients.load(connection, [number])[number].account == "deleted"
