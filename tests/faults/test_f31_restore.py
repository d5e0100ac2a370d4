"""F31: a backup is restored. Lanes, chain and ledger agree, the fork is named, and what is sent again is known."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from broker.audit import seal, verify
from broker.audit.keys import KeyFolder
from broker.database.engine import reading
from broker.schedule import Sweep
from tests.broker.lane_site import LaneSite, Partner, adt

PATIENTS = ("4711", "4712")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'carnet.db'}"
    return str(request.getfixturevalue("postgres_url"))


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
    return [adt(PATIENTS[n % 2], f"M{n}") for n in range(first, first + count)]


def take_in(site: LaneSite, bodies: list[bytes]) -> None:
    """Receive, file and seal."""
    site.receive(*bodies)
    site.work()
    signer = KeyFolder(site.folder / "audit-keys").signer(site.clock())
    seal.seal(site.engine, site.clock(), signer=signer)


def deliver(site: LaneSite) -> list[str]:
    """Put back what is owed, as the scheduler does, and let a courier do all of it; the control ids that arrived."""
    Sweep(site.engine, site.queue, site.telemetry, lambda: site.now + timedelta(hours=1)).outbound()
    partner = Partner()
    courier = site.courier(partner)
    while (lease := site.queue.take("outbound.dmp", 50, timedelta(seconds=1))) is not None:
        courier.serve(lease, threading.Event())
    return [body.split(b"|")[9].decode() for body in partner.taken]


def proved(site: LaneSite, expect: str = "") -> verify.Verified:
    return verify.verify(site.engine, expect, KeyFolder(site.folder / "audit-keys").public())


def test_f31_a_restored_backup_agrees_with_itself_and_names_where_it_forked(
    url: str, tmp_path: Path
) -> None:
    backup = Backup(url, tmp_path)
    site = LaneSite(tmp_path, url)
    take_in(site, batch(0, 4))
    arrived = deliver(site)
    # Three are filed and owed when the backup is taken; then they are delivered, and two more come.
    take_in(site, batch(4, 3))
    backup.take()
    arrived += deliver(site)
    take_in(site, batch(7, 2))
    arrived += deliver(site)
    with reading(site.engine) as connection:
        noted = seal.checkpoint(seal.last_seal(connection))
    assert proved(site, noted).is_good
    then = site.now
    site.close()
    assert arrived == [f"M{n}" for n in range(9)]

    # The data folder is restored as well: the journals of the couriers are as old as the database.
    backup.restore()
    shutil.rmtree(tmp_path / "couriers")
    site = LaneSite(tmp_path, url)

    assert proved(site).bad is None
    bad = proved(site, noted).bad
    assert bad is not None
    assert (bad.kind, bad.segment) == ("restored", int(noted.partition(":")[0]))
    assert not site.prove().findings
    # What was owed at the backup is owed again, what was delivered before it is not.
    assert Counter(row[0] for row in site.rows("SELECT state FROM delivery")) == {
        "sent": 4,
        "owed": 3,
    }
    # ... and goes out again, once and in order: its receiver knows it by its control id. The queue was restored as well,
    # and whoever read it then is gone, unlike this process.
    site.now = then
    site.spoil("UPDATE carnet_queue_reader SET owner = ''")
    assert deliver(site) == ["M4", "M5", "M6"]
    assert Counter(row[0] for row in site.rows("SELECT state FROM delivery")) == {"sent": 7}
    site.close()
