"""F31: a backup is restored. Lanes, chain and ledger agree, the fork is named, and what is sent again is known."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from broker.drill.partner import Partner
from tests.faults.house import a08
from tests.story.site import Site

PATIENTS = ("4711", "4712")


@pytest.fixture
def partner() -> Iterator[Partner]:
    made = Partner(seed=31, longest_ms=1.0)
    yield made
    made.close()


class Backup:
    """A backup of the running ledger by the database's own means, and its restore."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = make_url(url)
        self._file = folder / "backup"

    def take(self) -> None:
        if self._url.drivername == "sqlite":
            source, copy = sqlite3.connect(str(self._url.database)), sqlite3.connect(self._file)
            source.backup(copy)
            source.close()
            copy.close()
            return
        self._run("pg_dump", "-Fc", "-f", str(self._file))

    def restore(self) -> None:
        if self._url.drivername == "sqlite":
            path = Path(str(self._url.database))
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            path.write_bytes(self._file.read_bytes())
            return
        plain = self._plain()
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        self._run("pg_restore", "--no-owner", str(self._file), option="-d")

    def _plain(self) -> str:
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def _run(self, name: str, *arguments: str, option: str = "-d") -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        if not programs:
            pytest.skip(f"{name} is needed")
        command = [str(programs[-1]), *arguments, option, self._plain()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def batch(first: int, count: int) -> list[bytes]:
    return [a08(f"M{n}", PATIENTS[n % 2]) for n in range(first, first + count)]


@pytest.mark.timeout(400)
def test_f31_a_restored_backup_agrees_with_itself_and_names_where_it_forked(
    site: Site, partner: Partner, tmp_path: Path
) -> None:
    site.write(f"""
[destination.partner]
adapter = "mllp"
port = {partner.port}
host = "127.0.0.1"

[[route]]
name = "all"
to = ["partner"]
""")
    backup = Backup(site.database_url, tmp_path)
    heads = tmp_path / "heads.txt"
    with site.serving():
        assert set(site.send_mllp(*batch(0, 4))) == {"AA"}
        _await(lambda: len(partner.arrivals) == 4)
        site.await_settled(4)
    with ExitStack() as running:
        for role in ("gateway", "worker", "scheduler"):
            running.enter_context(site.serving(role))
        # Three are filed and owed when the backup is taken; then they are delivered, and two more come.
        assert set(site.send_mllp(*batch(4, 3))) == {"AA"}
        site.await_settled(7)
        _await(lambda: site.carnet("audit", "verify")[1][0]["unsealed"] == 0)
        backup.take()
        running.enter_context(site.serving("courier"))
        _await(lambda: len(partner.arrivals) == 7)
        assert set(site.send_mllp(*batch(7, 2))) == {"AA"}
        site.await_settled(9)
        _await(lambda: len(partner.arrivals) == 9)
    _, (noted,) = site.carnet("audit", "head")
    heads.write_text(noted["head"] + "\n")
    assert site.carnet("audit", "verify", "--head", str(heads))[0] == 0

    backup.restore()

    assert site.carnet("audit", "verify")[0] == 0
    code, (found,) = site.carnet("audit", "verify", "--head", str(heads))
    assert (code, found["bad"]["kind"]) == (1, "restored")
    assert site.carnet("reconcile")[0] == 0
    with site.serving():
        # What was owed at the backup is sent again; the partner knows it by its control id.
        _await(lambda: len(partner.arrivals) == 12)
        # What came after the backup is unknown here: its sender sends it again, as it would any that is lost.
        assert set(site.send_mllp(*batch(7, 4))) == {"AA"}
        site.await_settled(11)
        _await(lambda: len(partner.arrivals) == 16)
        _await(lambda: site.carnet("audit", "verify")[1][0]["unsealed"] == 0)

    times = Counter(partner.arrivals)
    assert [times[key] for key in sorted(times, key=lambda key: int(key[1:]))] == [1] * 4 + [2] * 5 + [1] * 2  # fmt: skip
    assert site.carnet("reconcile")[0] == 0
    code, (found,) = site.carnet("audit", "verify", "--head", str(heads))
    assert (code, found["bad"]["kind"]) == (1, "restored")
    assert found["bad"]["segment"] == int(noted["head"].partition(":")[0])
    export = str(tmp_path / "audit.jsonl")
    assert site.carnet("audit", "export", export)[0] == 0
    assert site.carnet("audit", "verify", export, "--head", str(heads))[0] == 1
    assert site.carnet("audit", "verify", export)[0] == 0


def _await(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)
