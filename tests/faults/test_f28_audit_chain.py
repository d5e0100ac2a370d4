"""F28: a trail that somebody edited by hand names its first bad line, in the database and in an export offline."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from broker.audit import export, seal, trail, verify
from broker.audit.forms import JsonLines
from broker.audit.trail import Entry
from broker.database import migrate
from broker.database.engine import open_engine, reading, writing
from broker.errors import SetupError

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
SEALED, TAIL = 12, 3


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A trail of 12 entries in three segments, and three entries after the last seal."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'carnet.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    opened = open_engine(url)
    migrate.upgrade(opened, NOW)
    fill(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The same trail, exported from SQLite."""
    opened = open_engine(f"sqlite:///{tmp_path / 'source.db'}")
    migrate.upgrade(opened, NOW)
    fill(opened)
    path = tmp_path / "audit.jsonl"
    export.export(opened, path)
    opened.dispose()
    return path


def fill(engine: Engine) -> None:
    for start in range(0, SEALED, 4):
        write(engine, start, 4)
        seal.seal(engine, NOW)
    write(engine, SEALED, TAIL)


def write(engine: Engine, start: int, count: int) -> None:
    entries = [
        Entry(
            act="filed",
            at=NOW,
            actor_kind="machine",
            actor="ward",
            subject=f"subject {start + n}",
            patient=start + n,
        )
        for n in range(count)
    ]
    with writing(engine) as connection:
        trail.write(connection, entries, NOW)


def number(engine: Engine, position: int) -> int:
    with reading(engine) as connection:
        return int(
            connection.execute(
                text("SELECT n FROM audit_entry ORDER BY n LIMIT 1 OFFSET :k"), {"k": position}
            ).scalar_one()
        )


def run(engine: Engine, *statements: str, **given: object) -> None:
    with writing(engine) as connection:
        for statement in statements:
            connection.execute(
                text(statement), {k: v for k, v in given.items() if f":{k}" in statement}
            )


def test_an_untouched_trail_is_proved(engine: Engine) -> None:
    result = verify.verify(engine)

    assert (result.is_good, result.segments, result.entries, result.unsealed) == (
        True,
        3,
        SEALED,
        TAIL,
    )


@pytest.mark.parametrize(
    "column", ["subject", "actor", "outcome", "patient", "at", "details", "act"]
)
def test_aud_06_an_edited_entry_is_named(engine: Engine, column: str) -> None:
    n = number(engine, 5)
    value = "7" if column in ("patient", "at") else "'edited'"
    run(engine, f"UPDATE audit_entry SET {column} = {value} WHERE n = :n", n=n)

    bad = verify.verify(engine).bad

    assert bad is not None
    assert (bad.kind, bad.n, bad.segment) == ("edited", n, 2)


@pytest.mark.parametrize("position", [0, 5, 7, 11])
def test_aud_06_a_deleted_entry_is_named(engine: Engine, position: int) -> None:
    n = number(engine, position)
    run(engine, "DELETE FROM audit_entry WHERE n = :n", n=n)

    bad = verify.verify(engine).bad

    assert bad is not None
    assert (bad.kind, bad.n, bad.segment) == ("deleted", n, position // 4 + 1)


def test_an_inserted_entry_is_named(engine: Engine) -> None:
    # There is no free number inside a month, so a forger has to move the last ones up to make room.
    first, last = number(engine, 6), number(engine, SEALED + TAIL - 1)
    for n in range(last, first - 1, -1):
        run(engine, "UPDATE audit_entry SET n = n + 1 WHERE n = :n", n=n)
    run(
        engine,
        "INSERT INTO audit_entry (n, at, act, actor_kind, actor, subject) VALUES (:n, 0, 'read', 'operator', 'x', 'y')",
        n=first,
    )

    bad = verify.verify(engine).bad

    assert bad is not None
    assert (bad.n, bad.segment) == (first, 2)


def test_an_entry_put_before_the_first_one_is_named(engine: Engine) -> None:
    run(
        engine,
        "INSERT INTO audit_entry (n, at, act, actor_kind, actor, subject) VALUES (:n, 0, 'read', 'operator', 'x', 'y')",
        n=number(engine, 0) - 1,
    )

    bad = verify.verify(engine).bad

    assert bad is not None
    assert (bad.kind, bad.segment, bad.n) == ("inserted", 1, number(engine, 0))


def test_swapped_entries_are_named(engine: Engine) -> None:
    a, b = number(engine, 5), number(engine, 6)
    run(
        engine,
        "UPDATE audit_entry SET n = :spare WHERE n = :a",
        "UPDATE audit_entry SET n = :a WHERE n = :b",
        "UPDATE audit_entry SET n = :b WHERE n = :spare",
        a=a,
        b=b,
        spare=b + 1000,
    )

    bad = verify.verify(engine).bad

    assert bad is not None
    assert (bad.n, bad.segment) == (a, 2)


def test_a_truncated_tail_is_named_although_nothing_sealed_it(engine: Engine) -> None:
    n = number(engine, SEALED + 1)
    run(engine, "DELETE FROM audit_entry WHERE n >= :n", n=n)

    bad = verify.verify(engine).bad

    assert bad is not None
    assert (bad.kind, bad.n) == ("truncated", n)


def test_a_hole_in_the_tail_is_named(engine: Engine) -> None:
    n = number(engine, SEALED + 1)
    run(engine, "DELETE FROM audit_entry WHERE n = :n", n=n)

    bad = verify.verify(engine).bad

    assert bad is not None
    assert (bad.kind, bad.n) == ("deleted", n)


def test_an_entry_appended_by_hand_is_named(engine: Engine) -> None:
    n = number(engine, SEALED + TAIL - 1) + 1
    run(
        engine,
        "INSERT INTO audit_entry (n, at, act, actor_kind, actor, subject) VALUES (:n, 0, 'read', 'operator', 'x', 'y')",
        n=n,
    )

    bad = verify.verify(engine).bad

    assert bad is not None
    assert (bad.kind, bad.n) == ("inserted", n)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_seal WHERE segment = 2",
        "DELETE FROM audit_seal WHERE segment = 1",
        "UPDATE audit_seal SET sealed_at = sealed_at + 1 WHERE segment = 2",
        "UPDATE audit_seal SET from_n = from_n - 1 WHERE segment = 2",
        "UPDATE audit_seal SET digests = previous_head WHERE segment = 2",
    ],
)
def test_a_changed_seal_is_named(engine: Engine, statement: str) -> None:
    run(engine, statement)

    bad = verify.verify(engine).bad

    assert bad is not None
    assert bad.kind == "seal"


def test_an_edit_that_seals_its_own_segment_again_breaks_the_next_one(engine: Engine) -> None:
    n = number(engine, 1)
    run(
        engine,
        "UPDATE audit_entry SET subject = 'edited' WHERE n = :n",
        "CREATE TABLE kept AS SELECT * FROM audit_seal WHERE segment > 1",
        "DELETE FROM audit_seal",
        n=n,
    )
    seal.seal(engine, NOW, limit=4)
    run(engine, "INSERT INTO audit_seal SELECT * FROM kept")

    bad = verify.verify(engine).bad

    assert bad is not None
    assert (bad.kind, bad.segment) == ("seal", 2)


def test_a_restored_backup_is_found_by_the_head_somebody_noted(engine: Engine) -> None:
    noted = verify.verify(engine).head
    # An old backup: the last segment and all later entries are gone, counter included. By itself it is consistent.
    n = number(engine, 8)
    run(
        engine,
        "DELETE FROM audit_entry WHERE n >= :n",
        "DELETE FROM audit_seal WHERE segment = 3",
        "UPDATE counter SET value = :n - 1 WHERE name = 'audit'",
        n=n,
    )
    assert verify.verify(engine).is_good

    bad = verify.verify(engine, noted).bad
    assert bad is not None
    assert (bad.kind, bad.segment) == ("restored", 3)

    write(engine, 100, 4)
    seal.seal(engine, NOW)
    rewritten = verify.verify(engine, noted).bad
    assert rewritten is not None
    assert (rewritten.kind, rewritten.segment) == ("restored", 3)


def test_the_head_somebody_noted_stays_provable_while_the_trail_grows(engine: Engine) -> None:
    noted = verify.verify(engine).head
    seal.seal(engine, NOW)

    assert verify.verify(engine, noted).is_good


def test_an_export_proves_itself_with_no_network(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_socket(*_: object, **__: object) -> socket.socket:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_socket)
    result = verify.verify_export(exported)

    assert (result.is_good, result.segments, result.entries) == (True, 3, SEALED)


def test_an_export_of_postgresql_and_of_sqlite_verify_alike(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "out.zip"
    assert export.export(engine, path) == export.Exported(3, SEALED)

    result = verify.verify_export(path, verify.verify(engine).head)

    assert (result.is_good, result.entries) == (True, SEALED)
    assert path.stat().st_mode & 0o077 == 0


def edited(lines: list[str]) -> list[str]:
    return [*lines[:7], lines[7].replace("filed", "field"), *lines[8:]]


def deleted(lines: list[str]) -> list[str]:
    return [*lines[:7], *lines[8:]]


def inserted(lines: list[str]) -> list[str]:
    forged = json.loads(lines[7])
    forged["entry"][4] = "forged"
    return [*lines[:7], json.dumps(forged, separators=(",", ":")) + "\n", *lines[7:]]


def swapped(lines: list[str]) -> list[str]:
    return [*lines[:7], lines[8], lines[7], *lines[9:]]


def respelled(lines: list[str]) -> list[str]:
    return [*lines[:7], lines[7].replace('{"entry":[1,', '{"entry":[2,'), *lines[8:]]


def not_json(lines: list[str]) -> list[str]:
    return [*lines[:7], lines[7][:-3] + "\n", *lines[8:]]


@pytest.mark.parametrize("change", [edited, deleted, inserted, swapped, respelled, not_json])
def test_a_changed_line_of_an_export_is_named(
    exported: Path, change: Callable[[list[str]], list[str]]
) -> None:
    # Line 1 is the header, 2-5 entries, 6 a seal, 7-10 entries, 11 a seal: index 7 is line 8.
    lines = exported.read_text(encoding="utf-8").splitlines(keepends=True)
    exported.write_text("".join(change(lines)), encoding="utf-8")

    bad = verify.verify_export(exported).bad

    assert bad is not None
    assert bad.line == 8
    assert bad.segment == 2


@pytest.mark.parametrize("kept", range(1, 17))
def test_a_truncated_export_is_named(exported: Path, kept: int) -> None:
    lines = exported.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == 17
    exported.write_text("".join(lines[:kept]), encoding="utf-8")

    bad = verify.verify_export(exported).bad

    assert bad is not None
    assert (bad.kind, bad.line) == ("truncated", kept + 1)


def test_an_export_cut_at_both_ends_is_found_by_the_noted_head(exported: Path) -> None:
    noted = verify.verify_export(exported).head
    lines = exported.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(lines[:11])
    end = {"end": 2, "sha256": hashlib.sha256(kept.encode()).hexdigest()}
    exported.write_bytes(kept.encode() + JsonLines().other("end", end, 0))

    assert verify.verify_export(exported).is_good
    bad = verify.verify_export(exported, noted).bad
    assert bad is not None
    assert bad.kind == "restored"


def test_an_export_from_a_day_on_continues_the_chain(engine: Engine, tmp_path: Path) -> None:
    run(engine, "UPDATE counter SET value = value WHERE name = 'audit'")
    later = NOW.replace(day=12)
    seal.seal(engine, later)
    path = tmp_path / "since.jsonl"

    assert export.export(engine, path, later) == export.Exported(1, TAIL)

    assert verify.verify_export(path, verify.verify(engine).head).is_good
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(
        "".join([lines[0].replace('"first_segment":4', '"first_segment":5'), *lines[1:]]),
        encoding="utf-8",
    )
    assert not verify.verify_export(path).is_good


def test_what_is_no_export_is_said_to_be_none(tmp_path: Path) -> None:
    for name, body in (("a.jsonl", b"hello"), ("b.jsonl", b""), ("c.jsonl", b"{}\n")):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(SetupError, match=r"audit\.export_invalid"):
            verify.verify_export(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("other.txt", "x")
    with pytest.raises(SetupError, match=r"audit\.export_invalid"):
        verify.verify_export(tmp_path / "d.zip")


def test_a_file_copied_back_over_the_database_is_found(tmp_path: Path) -> None:
    """A real old backup: the SQLite file itself."""
    path = tmp_path / "carnet.db"
    opened = open_engine(f"sqlite:///{path}")
    migrate.upgrade(opened, NOW)
    fill(opened)
    run(opened, "UPDATE counter SET value = value")
    opened.dispose()
    shutil.copy(path, tmp_path / "backup.db")
    opened = open_engine(f"sqlite:///{path}")
    write(opened, 50, 5)
    noted = seal.seal(opened, NOW).head
    opened.dispose()
    for left in (tmp_path / "carnet.db-wal", tmp_path / "carnet.db-shm"):
        left.unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", path)

    opened = open_engine(f"sqlite:///{path}")
    bad = verify.verify(opened, noted).bad
    opened.dispose()

    assert bad is not None
    assert bad.kind == "restored"
