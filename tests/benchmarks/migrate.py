"""How fast former records are taken over: `scripts/bench migrate --people 100000`. Killed halfway and resumed, then counted.

    python -m tests.benchmarks.migrate --people 2000 --documents 2 --bytes 20000 [--json FILE]

The manifest and its documents are invented and written first; that time is not counted. The database is SQLite in a
folder of its own. Exit code: 0 good; 1 somebody was lost or taken twice.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from broker.database import migrate
from broker.database.engine import open_engine, reading
from broker.identity import ins

PROJECT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--documents", type=int, default=2, help="of each person")
    parser.add_argument("--bytes", type=int, default=20_000, help="of each document")
    parser.add_argument("--folder", type=Path, default=None, help="where to work; default TMPDIR")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="carnet-bench-", dir=given.folder) as name:
        return _measure(Path(name), given)


def _measure(folder: Path, given: argparse.Namespace) -> int:
    manifest = _write(folder, given)
    (folder / "carnet.toml").write_text('[site]\ndata_folder = "."\n[telemetry]\nlisten = ""\n')
    engine = open_engine(f"sqlite:///{folder / 'carnet.db'}")
    migrate.upgrade(engine, datetime.now(UTC))
    command = [
        sys.executable, "-m", "broker", "account", "migrate", str(manifest), "--json", "--config",
        str(folder / "carnet.toml"),
    ]  # fmt: skip
    begun = time.monotonic()
    first = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    while first.poll() is None and _count(engine, "patient") < given.people // 2:
        time.sleep(0.2)
    if first.poll() is None:
        os.kill(first.pid, signal.SIGKILL)
    first.wait()
    at_kill = _count(engine, "patient")
    last = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=False)
    seconds = time.monotonic() - begun
    people, documents = _count(engine, "patient"), _count(engine, "document")
    engine.dispose()
    result = {
        "people": people, "documents": documents, "killed_at": at_kill, "seconds": round(seconds, 1),
        "people_per_second": round(people / seconds, 1), "documents_per_second": round(documents / seconds, 1),
    }  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")
    if given.json:
        given.json.write_text(json.dumps(result))
    is_whole = (people, documents) == (given.people, given.people * given.documents)
    return 0 if is_whole and last.returncode == 0 else 1


def _write(folder: Path, given: argparse.Namespace) -> Path:
    """Invented people with test numbers, each document with bytes of its own."""
    documents = folder / "documents"
    documents.mkdir()
    manifest = documents / "former.jsonl"
    with manifest.open("w", encoding="utf-8") as file:
        for n in range(given.people):
            first = f"25401{n // 10_000_000 + 10:02d}{n % 1_000_000:06d}"
            papers = []
            for k in range(given.documents):
                name = f"{n}-{k}.pdf"
                (documents / name).write_bytes(f"%PDF {n} {k}".encode().ljust(given.bytes, b" "))
                unique = f"1.2.250.1.999.7.{n}.{k}"
                papers.append({"id": unique, "file": name, "filed": "2019-05-04T10:00:00+02:00", "type": "34112-3"})  # fmt: skip
            line = {
                "system": ins.TEST, "value": f"{first}{ins.key_of(first):02d}", "family": "EXEMPLE", "documents": papers,
                "access": [{"id": "899900000011", "at": "2020-01-02T09:00:00+01:00", "read": 2}],
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    return manifest


def _count(engine: Engine, table: str) -> int:
    with reading(engine) as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


if __name__ == "__main__":
    sys.exit(main())
