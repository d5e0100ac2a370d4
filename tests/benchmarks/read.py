"""A page of 50 out of a record of 500 documents: searched, decided, audited, over HTTP: `scripts/bench read`.

    python -m tests.benchmarks.read [--patients 1000 1000000] [--rounds 5] [--clients 16] [--requests 1600]
                                  [--set-up postgres] [--written-mb 64] [--encrypted]

Clients keep their connection and check every answer (50 entries, a link to go on); they are a process of their own.
The API is the role itself, in another one, with a signed token for each client: the patient is there and agrees. A
store holds as many other patients as `--patients` says, each with a document, its content and a visit. Several stores
stand side by side and are read in turns, so that a slow minute of the machine meets each; of the rounds of a store the
medians count.
Exit code: 0 the goals are met (p99 of 100 ms, within 1.3 times from the smallest store to the largest); 1 one is
missed or an answer was wrong; 2 it could not run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from sqlalchemy import Engine, text

from broker import at_rest, memory
from broker.database.engine import is_sqlite, open_engine
from broker.database.schema import metadata
from broker.encryption import keyring
from broker.settings import Settings
from broker.settings_tables import Database, Issuer, Web
from broker.telemetry import Telemetry
from broker.web import listener
from broker.web.endpoint import FORM
from broker.web.sealed import Seals
from tests.benchmarks import report
from tests.benchmarks.deployment import BenchError, SetUp, database, free_port, set_ups
from tests.broker import ledger
from tests.broker.records import record
from tests.web import papers
from tests.web.issuer import AUDIENCE
from tests.web.issuer import Issuer as Signer
from tests.web.site import CONSENTED

GOAL_MS = 100.0
GROWTH = 1.3
"""Most that a page may cost more in the largest store than in the smallest."""
PAGE = 50
_FIRST_OTHER = 1_000_000_000
SECRET = bytes(32)


def serve(
    url: str,
    folder: str,
    issuer: str,
    port: int,
    index: int,
    given: argparse.Namespace,
    said: Connection,
) -> None:
    """One process of the role, until the parent ends it."""
    settings = msgspec.structs.replace(
        _settings(url, folder),
        web=Web(
            port=port,
            processes=given.processes,
            written_mb=given.written_mb,
            issuer=(Issuer(url=issuer, audience=AUDIENCE),),
        ),
    )
    telemetry = Telemetry("web", level="error")
    engine = open_engine(url)
    at_rest.attach(engine, settings)
    memory.settled()
    listener.run(
        settings, engine, telemetry, SECRET, lambda: datetime.now(UTC), threading.Event(), said.send, index,
    )  # fmt: skip


def _settings(url: str, folder: str) -> Settings:
    return msgspec.structs.replace(Settings.default(Path(folder)), database=Database(url=url))


def measure(address: str, tokens: list[str], patient: str, requests: int) -> list[float]:
    """Seconds of each request. Raises: AssertionError for a wrong answer."""
    taken: list[float] = []
    together = threading.Barrier(len(tokens))
    wrong: list[str] = []

    def client(token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", **CONSENTED, "Content-Type": FORM}
        form = urlencode({"patient": patient, "_count": str(PAGE)})
        with closing(HTTPConnection(urlsplit(address).netloc, timeout=120)) as http:
            for turn in range(requests // len(tokens) + 1):
                began = time.perf_counter()
                http.request("POST", "/fhir/DocumentReference/_search", form, headers)
                answer = http.getresponse()
                body = answer.read()
                if turn:
                    taken.append(time.perf_counter() - began)
                else:
                    # Everybody's first one opens connection and visit: none of the others waits behind those.
                    together.wait(timeout=120)
                if answer.status != 200 or _entries(body) != PAGE:
                    wrong.append(f"status {answer.status}")

    threads = [threading.Thread(target=client, args=(token,)) for token in tokens]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong, wrong[:3]
    return taken


def _entries(body: bytes) -> int:
    return len(msgspec.json.decode(body, type=_Bundle).entry)


class _Bundle(msgspec.Struct):
    entry: list[msgspec.Raw]


def ask(*load: Any, said: Connection) -> None:
    """The clients, in their own process: what they cost is not the API's."""
    memory.settled()
    said.send(measure(*load))


def fill(engine: Engine, template: int, first: int, last: int) -> None:
    """Give the store patients `first` to `last`, each with one of the template's documents, its content and a visit."""
    with engine.begin() as connection:
        if is_sqlite(connection):
            numbers = f"(WITH RECURSIVE s(g) AS (SELECT {first} UNION ALL SELECT g + 1 FROM s WHERE g < {last}) SELECT g FROM s)"
            name = "'00000000-0000-7000-8000-' || printf('%012x', s.g)"
        else:
            numbers = f"(SELECT generate_series({first}, {last}) AS g)"
            name = "('00000000-0000-7000-8000-' || lpad(to_hex(s.g), 12, '0'))::uuid"
        number = f"{_FIRST_OTHER} + s.g"
        one = f"(SELECT id FROM document WHERE patient = {template} LIMIT 1)"
        copies = (
            ("patient", f"t.id = {template}", {"id": number}),
            ("patient_identifier", f"t.patient = {template}", {"patient": number, "value": "'X' || s.g"}),
            ("document", f"t.id = {one}", {"id": name, "patient": number, "series": number, "unique_key": number}),
            ("document_payload", f"t.id = {one}", {"id": name}),
            ("visit", f"t.id = (SELECT min(id) FROM visit WHERE patient = {template})", {"id": number, "patient": number}),
        )  # fmt: skip
        for table, where, changed in copies:
            columns = metadata.tables[table].columns.keys()
            values = ", ".join(changed.get(one, f't."{one}"') for one in columns)
            names = ", ".join(f'"{one}"' for one in columns)
            connection.execute(
                text(
                    f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} t, {numbers} s WHERE {where}"
                )
            )
    ledger.settle_statistics(engine)


def settle(engine: Engine) -> None:
    """What filling left to be written is written now, not while pages are measured."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))


def _cell(address: str, signer: Signer, patient: str, given: argparse.Namespace) -> dict[str, Any]:
    # A token of its own for each client, of a professional who was not here before.
    tokens = [
        signer.professional(f"8999{secrets.randbelow(10**8):08d}", "10/SM26")
        for _ in range(given.clients)
    ]
    hears, says = multiprocessing.Pipe(duplex=False)
    clients = multiprocessing.get_context("spawn").Process(
        target=ask, args=(address, tokens, patient, given.requests), kwargs={"said": says}
    )
    clients.start()
    says.close()
    began = time.perf_counter()
    try:
        taken = hears.recv()
    except EOFError:
        raise BenchError("an answer was wrong: see above") from None
    finally:
        clients.join()
    cuts = quantiles(taken, n=100)
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "p50_ms": round(cuts[49] * 1_000, 1),
        "p99_ms": round(cuts[98] * 1_000, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--set-up", choices=("sqlite", "postgres"), default="postgres")
    parser.add_argument("--patients", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--processes", type=int, default=2, help="of the API, as web.processes")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=1_600, help="in each store and round")
    parser.add_argument("--rounds", type=int, default=5, help="over all stores")
    parser.add_argument("--documents", type=int, default=500, help="in the record that is read")
    parser.add_argument("--written-mb", type=int, default=Web().written_mb, help="as web.written_mb; 0 opens and writes each document for each page")  # fmt: skip
    parser.add_argument("--encrypted", action="store_true", help="with everything sealed that is filed")  # fmt: skip
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    try:
        (set_up,) = set_ups([given.set_up], os.environ)
        with ExitStack() as standing:
            rows = _run(given, set_up, standing)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    growth = rows[-1]["p99_ms"] / rows[0]["p99_ms"]
    is_met = all(row["p99_ms"] <= GOAL_MS for row in rows) and growth <= GROWTH
    told = {
        "set_up": given.set_up, "processes": given.processes, "clients": given.clients, "written_mb": given.written_mb, "encrypted": given.encrypted, "documents": given.documents, "goal_p99_ms": GOAL_MS,
        "stores": rows, "growth": round(growth, 2), "goal_growth": GROWTH, "is_met": is_met,
    }  # fmt: skip
    print(json.dumps(told))
    if given.json:
        given.json.write_text(json.dumps(told), encoding="utf-8")
    return 0 if is_met else 1


@dataclass(frozen=True, slots=True)
class Store:
    """An installation that stands: how many other patients it holds, where its API is, and the patient to ask for."""

    patients: int
    address: str
    signer: Signer
    patient: str


def _run(given: argparse.Namespace, set_up: SetUp, standing: ExitStack) -> list[dict[str, Any]]:
    """A row for each store, the smallest first."""
    stores = [standing.enter_context(_store(given, set_up, n)) for n in sorted(given.patients)]
    rounds: dict[int, list[dict[str, Any]]] = {one.patients: [] for one in stores}
    for turn in range(1, given.rounds + 1):
        for one in stores:
            report.progress(f"{one.patients:,} patients: round {turn} of {given.rounds}")
            rounds[one.patients].append(_cell(one.address, one.signer, one.patient, given))
    return [
        {
            "patients": patients,
            "p50_ms": median(cell["p50_ms"] for cell in cells),
            "p99_ms": median(cell["p99_ms"] for cell in cells),
            "rounds": cells,
        }
        for patients, cells in rounds.items()
    ]


@contextmanager
def _store(given: argparse.Namespace, set_up: SetUp, patients: int) -> Iterator[Store]:
    """An installation with its API, filled and warm."""
    with ExitStack() as behind:
        folder = behind.enter_context(tempfile.TemporaryDirectory(prefix="carnet-read"))
        name = f"read_{secrets.token_hex(4)}"
        url = behind.enter_context(database(set_up, name, Path(folder)))
        signer = Signer()
        behind.callback(signer.stop)
        engine = ledger.new(url)
        behind.callback(engine.dispose)
        if given.encrypted:
            settings = _settings(url, folder)
            keyring.make(Path(at_rest.place(settings)))
            at_rest.attach(engine, settings, datetime.now(UTC))
        patient = record.person(engine)
        letters = [papers.letter(n, unique_id=f"1.2.{n}") for n in range(given.documents)]
        record.put(engine, patient, *letters)
        reference = f"Patient/{Seals(SECRET, timedelta(minutes=1)).id_of(patient)}"
        address = _serving(given, url, folder, signer.url, behind)
        token = signer.professional("899900009999", "10/SM26")
        measure(address, [token], reference, 20)  # warm, and a visit to copy
        report.progress(f"{patients:,} patients: filling")
        fill(engine, patient, 1, patients)
        settle(engine)
        yield Store(patients, address, signer, reference)


def _serving(
    given: argparse.Namespace, url: str, folder: str, issuer: str, behind: ExitStack
) -> str:
    """Start the processes of the API and return their address; `behind` ends them."""
    hears, says = multiprocessing.Pipe(duplex=False)
    port = free_port()
    for index in range(given.processes):
        role = multiprocessing.get_context("spawn").Process(
            target=serve, args=(url, folder, issuer, port, index, given, says), daemon=True
        )
        role.start()
        behind.callback(role.join)
        behind.callback(role.kill)
    for _ in range(given.processes):
        address = str(hears.recv()["web"])
    return address


if __name__ == "__main__":
    sys.exit(main())
