"""A page of 50 out of a record of 500 documents: searched, decided, audited, over HTTP: `scripts/bench read`.

    python -m tests.benchmarks.read [--clients 16] [--requests 400] [--documents 500] [--database URL] [--json FILE]

Clients are threads that keep their connection and check every answer (50 entries, a link to go on). The API is the
role itself, in a process of its own, with a signed token for each client. Without --database it is SQLite in TMPDIR.
Exit code: 0 the goal is met (p99 of 100 ms), 1 it is missed or an answer was wrong.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import msgspec

from broker.database.engine import open_engine
from broker.settings import Settings
from broker.settings_tables import Database, Issuer, Web
from broker.telemetry import Telemetry
from broker.web import listener
from broker.web.sealed import Seals
from tests.broker import ledger
from tests.broker.records import record
from tests.web import papers
from tests.web.issuer import AUDIENCE
from tests.web.issuer import Issuer as Signer

GOAL_MS = 100.0
PAGE = 50
SECRET = bytes(32)


def serve(url: str, folder: str, issuer: str, said: Connection) -> None:
    """The role, until the parent ends it."""
    settings = msgspec.structs.replace(
        Settings.default(Path(folder)),
        database=Database(url=url),
        web=Web(port=0, issuer=(Issuer(url=issuer, audience=AUDIENCE),)),
    )
    telemetry = Telemetry("web", level="error")
    listener.run(
        settings, open_engine(url), telemetry, SECRET, lambda: datetime.now(UTC), threading.Event(), said.send,
    )  # fmt: skip


def measure(address: str, signer: Signer, patient: str, clients: int, requests: int) -> list[float]:
    """Seconds of each request. Raises: AssertionError for a wrong answer."""
    taken: list[float] = []
    wrong: list[str] = []

    def client(number: int) -> None:
        token = signer.professional(f"8999000{number:05d}", "10/SM26")
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=120) as http:
            for turn in range(requests // clients + 1):
                began = time.perf_counter()
                answer = http.post(
                    f"{address}/fhir/DocumentReference/_search",
                    data={"patient": patient, "_count": str(PAGE)},
                )
                if turn:  # the first one opens connection and visit
                    taken.append(time.perf_counter() - began)
                if answer.status_code != 200 or len(answer.json().get("entry", ())) != PAGE:
                    wrong.append(f"status {answer.status_code}")

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong, wrong[:3]
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--database", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    signer = Signer()
    with tempfile.TemporaryDirectory(prefix="carnet-read") as folder:
        url = given.database or f"sqlite:///{folder}/carnet.db"
        engine = ledger.new(url)
        patient = record.person(engine)
        written = [papers.letter(n, unique_id=f"1.2.{n}") for n in range(given.documents)]
        record.put(engine, patient, *written)
        engine.dispose()
        reference = f"Patient/{Seals(SECRET, timedelta(minutes=1)).id_of(patient)}"
        hears, says = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(url, folder, signer.url, says), daemon=True
        )
        process.start()
        try:
            address = hears.recv()["web"]
            began = time.perf_counter()
            taken = measure(address, signer, reference, given.clients, given.requests)
            seconds = time.perf_counter() - began
        finally:
            process.kill()
            process.join()
            signer.stop()
    cuts = quantiles(taken, n=100)
    told: dict[str, Any] = {
        "database": url.partition(":")[0], "clients": given.clients, "documents": given.documents,
        "requests": len(taken), "per_second": round(len(taken) / seconds, 1),
        "p50_ms": round(cuts[49] * 1_000, 1), "p99_ms": round(cuts[98] * 1_000, 1), "goal_p99_ms": GOAL_MS,
    }  # fmt: skip
    print(json.dumps(told))
    if given.json:
        given.json.write_text(json.dumps(told), encoding="utf-8")
    return 0 if told["p99_ms"] <= GOAL_MS else 1


if __name__ == "__main__":
    sys.exit(main())
