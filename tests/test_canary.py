"""A marked patient goes through every door, well and badly formed, and appears in no output (attack A7).

The broker runs as an operator runs it. Afterwards its log, its metrics, the files it names, the claim checks of its
queue and everything the command prints are searched for the patient's marks.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from typer.testing import CliRunner

from broker import simulation_cda as cda
from broker import simulation_hl7v2 as hl7v2
from broker.cli import assembled
from broker.database.engine import open_engine, reading
from broker.errors import CarnetError
from broker.records import messages_reading
from broker.simulation import CDA, FHIR
from broker.simulation_cda import Title
from broker.simulation_fhir import document
from broker.simulation_hl7v2 import Analysis, Header, Stay
from broker.simulation_people import PHYSICIAN, Person, ins_key

COMMAND = [sys.executable, "-c", "from broker.cli import main; main()"]
AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
CANARY = Person(
    family="ZZCANARI", used="ZZSEREIN", given=("ZZPLUME", "ZZAILE"), birth="19841215", sex="M", birthplace="63999",
    ins="1841263999077" + ins_key("1841263999077"), ipp="987654321", street="7 IMPASSE DU ZZNID",
    postal="99240", town="ZZVOLIERE",
)  # fmt: skip
MARKS = ("zzcanari", "zzserein", "zzplume", "zzaile", "zznid", "zzvoliere", "zztexte", "1841263999077", "987654321",
         "19841215", "1984-12-15")  # fmt: skip

SETTINGS = """
[source.hospital]
adapter = "mllp"
port = 0

[source.portal]
adapter = "http"
port = 0
allow_anonymous = true

[source.laboratory]
adapter = "file_drop"
folder = "drop"
stable_time = "50ms"
scan_interval = "100ms"

[destination.archive]
adapter = "file_drop"
folder = "archive"

[destination.partner]
adapter = "file_drop"
folder = "partner"
sends = "cda"

[destination.mailbox]
adapter = "file_drop"
folder = "mailbox"
sends = "xdm"

[destination.letters]
adapter = "smtp"
host = "127.0.0.1"
port = 1
tls = "none"
sender = "carnet@hospital.invalid"
sends = "xdm"
per_recipient = true
recipient_domains = ["mssante.fr"]

[[route]]
name = "all"
to = ["archive", "partner", "mailbox", "letters"]

[telemetry]
listen = "127.0.0.1:{port}"
log_level = "debug"

[scheduler]
sweep_seconds = 1
seal_seconds = 1
"""


def hl7_messages() -> dict[str, str]:
    """HL7v2 that carries the marks: one good message, and the ways in which others go wrong."""
    stay = Stay("ZZTEXTE1", AT)
    results = [Analysis("718-7", "ZZTEXTE", "13.1", "g/dL", "12.0-16.0")]
    admission = hl7v2.adt("A01", CANARY, Header("C1", AT), stay)
    result = hl7v2.oru(CANARY, Header("C2", AT), stay, results, comment="ZZTEXTE libre")
    pid = next(line for line in admission.split("\r") if line.startswith("PID"))
    nameless = "PID|1||||ZZCANARI^ZZPLUME||19841215|M"
    letter = "PENsaW5pY2FsRG9jdW1lbnQ+WlpDQU5BUkk8L0NsaW5pY2FsRG9jdW1lbnQ="
    orders = hl7v2.document_orders(
        cda.DISCHARGE, "<ZZCANARI>&zztexte;", PHYSICIAN, CANARY, obx_type="CWE"
    )
    return {
        "admission": admission,
        "result": result,
        "birth date of letters": admission.replace("|C1|", "|C3|").replace("19841215", "ZZCANARI"),
        "no identifier": admission.replace("|C1|", "|C4|").replace(pid, nameless),
        "value of letters": result.replace("|C2|", "|C5|").replace("|13.1|", "|ZZTEXTE|"),
        "type of letters": admission.replace("|C1|", "|C6|").replace(
            "ADT^A01^ADT_A01", "ZZGENRE^ZZGENRE"
        ),
        "segment of letters": admission.replace("|C1|", "|C7|") + "ZZC|ZZCANARI^19841215\r",
        "document that is none": hl7v2.mdm(
            "T02", CANARY, Header("C8", AT), stay, cda.DISCHARGE, "1.2.3", orders
        ),
        "document of letters": hl7v2.mdm(
            "T02",
            CANARY,
            Header("C9", AT),
            stay,
            cda.DISCHARGE,
            "1.2.4",
            orders.replace("Base64^", f"Base64^{letter}#"),
        ),
        "charset of letters": admission.replace("|C1|", "|C10|").replace(
            "UNICODE UTF-8", "ZZGENRE"
        ),
        "reused control id": admission.replace("CHIR^201^2", "CHIR^202^1"),
        "character of no format": result.replace("|C2|", "|C11|").replace(
            "ZZTEXTE libre", "ZZTEXTE \x01 libre"
        ),
        "no message": "ZZCANARI ZZPLUME 19841215 " + CANARY.ins + "\r",
        "half a header": "MSH|ZZCANARI\r",
    }


def http_bodies() -> dict[str, tuple[str, bytes]]:
    """CDA and FHIR that carry the marks, good and bad."""
    title = Title("1.2.250.1.999.1.77.1", "1.2.250.1.999.1.77.2", "ZZTEXTE", AT)
    letter = cda.discharge(CANARY, PHYSICIAN, title, (AT, AT), "ZZTEXTE").encode()
    visit = document(CANARY, PHYSICIAN, title, "ZZTEXTE", [])
    dtd = b'<!DOCTYPE ZZCANARI [<!ENTITY zztexte "ZZPLUME">]>'
    return {
        "letter": (CDA, letter),
        "half a letter": (CDA, letter[: len(letter) // 2]),
        "letter with a DTD": (CDA, letter.replace(b"?>\n", b"?>\n" + dtd, 1)),
        "birth time of letters": (CDA, letter.replace(b'"19841215"', b'"ZZCANARI"')),
        "visit": (FHIR, visit),
        "half a visit": (FHIR, visit[: len(visit) // 2]),
        "resource of letters": (FHIR, visit.replace(b'"Composition"', b'"ZZCANARI"')),
        "birth date of letters": (FHIR, visit.replace(b'"1984-12-15"', b'"ZZCANARI"')),
        "media of letters": ("application/zzcanari", b"ZZCANARI"),
    }


@contextmanager
def broker(folder: Path, out: IO[bytes], log: IO[bytes]) -> Iterator[dict[str, str]]:
    """`carnet serve` in `folder`; yields the addresses of its sources and ends it by SIGTERM."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--config", "carnet.toml", "--json"], cwd=folder, stdout=out, stderr=log
    )
    try:
        deadline = time.monotonic() + 60
        while not (lines := Path(out.name).read_text(encoding="utf-8").splitlines()):
            assert process.poll() is None, Path(log.name).read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "carnet serve did not come up"
            time.sleep(0.05)  # the process has no other sign for a stranger than its own output
        yield json.loads(lines[0])["ready"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def send_mllp(address: str, messages: Mapping[str, str]) -> None:
    """Each message on a connection of its own, since a bad one may cost its connection."""
    host, _, port = address.removeprefix("mllp://").rpartition(":")
    for text in messages.values():
        with socket.create_connection((host, int(port)), timeout=30) as link:
            link.sendall(b"\x0b" + text.encode() + b"\x1c\r")
            link.shutdown(socket.SHUT_WR)
            while link.recv(65_536):
                pass


def send_http(address: str, bodies: Mapping[str, tuple[str, bytes]]) -> None:
    for media, body in bodies.values():
        request = urllib.request.Request(
            f"{address}/?who=ZZCANARI", data=body, headers={"Content-Type": media}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()


def page(url: str) -> str:
    """What a page says, whatever its status."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def settle(folder: Path, received: int) -> None:
    """Wait until as many were received, every file was taken, and nothing is on its way."""
    engine = open_engine(f"sqlite:///{folder}/data/carnet.db")
    deadline = time.monotonic() + 60
    try:
        while True:
            with reading(engine) as connection:
                balance = messages_reading.balance(connection)
            waiting = [
                path
                for path in (folder / "drop").rglob("*.hl7")
                if path.parent.name in ("drop", ".working")
            ]
            if balance.received >= received and not balance.in_flight and not waiting:
                return
            assert time.monotonic() < deadline, (
                f"{balance.received} received, {balance.in_flight} in flight"
            )
            time.sleep(0.1)  # another process's progress is only in its database
    finally:
        engine.dispose()


def carnet(folder: Path, *words: str) -> str:
    """What a command prints, on both outputs."""
    done = CliRunner().invoke(assembled(), [*words, "--config", str(folder / "carnet.toml")])
    assert done.exception is None or isinstance(done.exception, SystemExit | CarnetError), (
        done.exception
    )
    return done.output


def printed(folder: Path) -> dict[str, str]:
    """What an operator's commands print who asked for no body and no record."""
    newest = [
        json.loads(line) for line in carnet(folder, "messages", "list", "--json").splitlines()
    ]
    ids = [line["id"] for line in newest if "id" in line]
    shown = {f"messages timeline {one}": carnet(folder, "messages", "timeline", one) for one in ids}
    shown |= {f"messages show {one}": carnet(folder, "messages", "show", one) for one in ids}
    shown |= {f"parked show {one}": carnet(folder, "parked", "show", one) for one in ids}
    lines = (
        ("status",), ("status", "--json"), ("messages", "list"), ("messages", "list", "--json"),
        ("lanes", "list"), ("lanes", "list", "--json"), ("parked", "list"), ("parked", "list", "--json"),
        ("reconcile",), ("reconcile", "--json"), ("audit", "tail"), ("audit", "tail", "--json"),
        ("audit", "verify"), ("doctor",), ("doctor", "--json"),
    )  # fmt: skip
    return shown | {" ".join(words): carnet(folder, *words) for words in lines}


def claim_checks(folder: Path) -> str:
    """Everything in the tables of the embedded queue."""
    with closing(sqlite3.connect(folder / "data" / "carnet.db")) as base:
        names = [
            row[0]
            for row in base.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%queue%'"
            )
        ]
        return str([base.execute(f"SELECT * FROM {name}").fetchall() for name in names])


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every output of a broker that met the canary, by name."""
    folder = tmp_path_factory.mktemp("canary")
    for name in ("drop", "archive", "partner", "mailbox"):
        (folder / name).mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "carnet.toml").write_text(SETTINGS.format(port=port), encoding="utf-8")
    messages = hl7_messages()
    found: dict[str, Any] = {}
    with (
        (folder / "out.txt").open("wb") as out,
        (folder / "log.txt").open("wb") as log,
        broker(folder, out, log) as addresses,
    ):
        send_mllp(addresses["hospital"], messages)
        send_http(addresses["portal"], http_bodies())
        for number, text in enumerate(messages.values()):
            draft = folder / f"file-{number}.hl7"
            draft.write_bytes(text.replace("|C", "|F").encode())
            draft.rename(folder / "drop" / draft.name)
        settle(folder, received=len(messages))
        found["claim checks"] = claim_checks(folder)
        found |= printed(folder)
        found |= {name: page(f"http://127.0.0.1:{port}/{name}") for name in ("metrics", "ready")}
    found["log"] = (folder / "log.txt").read_text(encoding="utf-8")
    found["standard output"] = (folder / "out.txt").read_text(encoding="utf-8")
    found["file names"] = "\n".join(str(path.relative_to(folder)) for path in folder.rglob("*"))
    found["reasons of failed files"] = "\n".join(
        path.read_text(encoding="utf-8") for path in folder.rglob("*.reason.txt")
    )
    found["snapshots"] = "\n".join(path.read_text() for path in folder.rglob("telemetry/*.json"))
    return found


def _the_canary_came_in_and_its_troubles_were_told(outputs: dict[str, str]) -> None:
    assert '"event":"refused_at_door"' in outputs["log"]
    assert "carnet_filed_total{" in outputs["metrics"]
    assert "carnet_parked_total{" in outputs["metrics"]
    timelines = [said for name, said in outputs.items() if name.startswith("messages timeline")]
    assert any("parked: writing.character" in said for said in timelines)
    assert "partner/" in outputs["file names"]
    assert outputs["reasons of failed files"] != ""
    assert len(outputs["log"].splitlines()) > 20


def _a_recipient_is_shown_to_operators_only(outputs: dict[str, str]) -> None:
    """The letter is owed to a professional, whom a mail server that is not there keeps waiting, and never to the patient."""
    told = [said for name, said in outputs.items() if name.startswith("messages timeline")]
    assert any("jean.neflier@exemple.mssante.fr" in said.replace("\n", "") for said in told)
    left_out = r'carnet_recipient_left_out_total\{destination="letters",reason="recipient.patient"'
    assert re.search(left_out, outputs["metrics"])
    for name in ("log", "metrics", "claim checks", "file names", "snapshots", "standard output"):
        assert "neflier" not in outputs[name].lower(), name


def _no_output_shows_the_canary(outputs: dict[str, str]) -> None:
    leaks = [
        f"{mark} in {name}: …{text[max(0, text.lower().find(mark) - 100) : text.lower().find(mark) + 40]}…"
        for name, text in outputs.items()
        for mark in MARKS
        if mark in text.lower()
    ]

    assert leaks == []


def _a_message_type_or_charset_that_is_none_is_not_shown(outputs: dict[str, str]) -> None:
    assert [name for name, text in outputs.items() if "zzgenre" in text.lower()] == []


def _no_log_line_is_anything_but_an_event_of_the_catalogue(outputs: dict[str, str]) -> None:
    for line in outputs["log"].splitlines():
        assert set(json.loads(line)) >= {"at_time", "level", "event", "role"}, line


def _nothing_was_dropped_by_telemetry(outputs: dict[str, str]) -> None:
    dropped = [
        line
        for line in outputs["metrics"].splitlines()
        if line.startswith("carnet_telemetry_dropped_total{")
    ]

    assert dropped == []


def test_nothing_that_comes_out_shows_the_canary(outputs: dict[str, str]) -> None:
    """One test, so that the broker is run once however many tests run at a time."""
    for claim in (
        _the_canary_came_in_and_its_troubles_were_told,
        _a_recipient_is_shown_to_operators_only,
        _no_output_shows_the_canary,
        _a_message_type_or_charset_that_is_none_is_not_shown,
        _no_log_line_is_anything_but_an_event_of_the_catalogue,
        _nothing_was_dropped_by_telemetry,
    ):
        claim(outputs)
