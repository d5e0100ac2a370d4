"""Commands against a running broker: real sockets, real processes."""

from __future__ import annotations

import socket
import time
from typing import Any
from urllib.parse import urlsplit

from broker.cli import demo_site, opened
from broker.cli.demo_site import Site, settled
from tests.broker.cli.command import SAMPLES, carnet
from tests.broker.cli.conftest import Place

Running = tuple[Site, Place]


def rest(running: Running, wanted: int) -> None:
    """Wait until `wanted` messages are received and nothing moves any more."""
    site, place = running
    ledger = opened.Ledger(site.settings)
    for _ in settled(site, ledger, wanted, time.monotonic() + 60):
        pass
    ledger.engine.dispose()
    assert carnet("reconcile", *place.config).code == 0


def test_a_site_at_work_from_the_first_message_to_the_proof(running: Running) -> None:
    site, place = running
    mllp = site.address_of("mllp")

    sent = carnet("send", str(SAMPLES / "01-adt-a01.hl7"), "--to", mllp, "--json")
    letter = carnet("send", str(SAMPLES / "08-mdm-t02-discharge.hl7"), "--to", mllp)
    cda = carnet(
        "send", str(SAMPLES / "10-cda-imaging.xml"), "--to", site.address_of("http"), "--json"
    )
    traffic = carnet("simulate", "--rate", "20", "--seconds", "1", "--to", mllp, "--json")

    assert (sent.code, sent.lines[0]["outcome"]) == (0, "accepted")
    assert "MSA|" in sent.lines[0]["answer"]
    assert letter.code == 0
    assert (cda.code, cda.lines[0]["outcome"]) == (0, "accepted")
    assert (traffic.code, traffic.lines[0]["outcomes"]) == (0, {"accepted": 20})
    rest(running, 23)
    assert carnet("status", *place.config).code == 0
    deadline = time.monotonic() + 30
    while last_hour(place) != {"hospital": 22, "portal": 1}:  # written once a second
        assert time.monotonic() < deadline, last_hour(place)
        time.sleep(0.2)
    assert carnet("audit", "verify", *place.config).code == 0

    export = str(place.folder / "audit.zip")
    assert carnet("audit", "export", export, *place.config).code == 0
    assert carnet("audit", "verify", export).code == 0


def last_hour(place: Place) -> dict[str, int]:
    (status,) = carnet("status", "--json", *place.config).lines
    return {one["source"]: one["last_hour"] for one in status["sources"]}


def test_who_is_connected_and_who_was_refused_stands_in_the_status(running: Running) -> None:
    site, place = running
    address = urlsplit(site.address_of("mllp"))
    deadline = time.monotonic() + 60

    def hospital() -> dict[str, Any]:
        (status,) = carnet("status", "--json", *place.config).lines
        found = [one for one in status["sources"] if one["source"] == "hospital"]
        return found[0] if found else {"connections": 0, "error": None}

    with socket.create_connection((address.hostname, address.port or 0), 10) as connection:
        connection.sendall(b"\x0bno message at all\x1c\r")
        while not (hospital()["connections"] and hospital()["error"]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        shown = hospital()
    while hospital()["connections"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)

    assert shown["connections"] == 1
    assert shown["error"] in ("media.unknown", "hl7v2.no_msh", "frame.unreadable")
    assert shown["error_at"]


def test_the_record_differs_by_profession_and_says_nothing_of_it(running: Running) -> None:
    site, place = running
    for sample in ("01-adt-a01.hl7", "08-mdm-t02-discharge.hl7"):
        carnet("send", str(SAMPLES / sample), "--to", site.address_of("mllp"))
    rest(running, 2)
    ins = demo_ins()

    lists = {
        who: carnet(
            "record",
            "list",
            "--as",
            f"{who},consent=explicit",
            "--patient",
            "-",
            "--json",
            *place.config,
            stdin=ins,
        )
        for who in ("physician", "podiatrist")
    }

    (letter,) = [line for line in lists["physician"].lines if line["type_code"] == "11490-0"]
    assert letter["id"] not in lists["podiatrist"].out
    assert all("title" not in line for line in lists["physician"].lines)

    read = carnet(
        "record",
        "read",
        letter["id"],
        "--as",
        "physician,consent=explicit",
        "--json",
        *place.config,
    )
    hidden = carnet(
        "record", "read", letter["id"], "--as", "podiatrist,consent=explicit", *place.config
    )
    absent = carnet(
        "record",
        "read",
        letter["id"][:-4] + "0000",
        "--as",
        "podiatrist,consent=explicit",
        *place.config,
    )
    assert read.code == 0
    assert (
        (hidden.code, hidden.out, hidden.err)
        == (absent.code, absent.out, absent.err)
        == (1, "", hidden.err)
    )

    told = carnet(
        "decide",
        "--document",
        letter["id"],
        "--as",
        "podiatrist,consent=explicit",
        "--json",
        *place.config,
    )
    kept = carnet("decide", "--reference", read.lines[0]["decision"], "--json", *place.config)
    assert told.lines[0]["rule"].startswith("MAT-")
    assert kept.lines[0]["same_today"] is True


def test_an_opposition_is_an_event_with_its_entry(running: Running) -> None:
    site, place = running
    carnet("send", str(SAMPLES / "01-adt-a01.hl7"), "--to", site.address_of("mllp"))
    rest(running, 1)
    who = ("--patient", "-", *place.config)

    opposed = carnet("account", "oppose-filing", "--by", "jd", "--json", *who, stdin=demo_ins())
    withdrawn = carnet(
        "account", "oppose-filing", "--withdraw", "--by", "jd", "--json", *who, stdin=demo_ins()
    )

    assert opposed.lines[0]["filing_opposed"] is True
    assert withdrawn.lines[0]["filing_opposed"] is False
    entries = carnet("audit", "tail", "--limit", "100", "--json", *place.config).lines
    assert len([e for e in entries if e["act"] == "consent_changed" and e["actor"] == "jd"]) == 2


def test_a_refusal_and_a_dead_address_are_findings(running: Running) -> None:
    site, _ = running
    refused = carnet(
        "send", str(SAMPLES / "19-not-hl7.hl7"), "--to", site.address_of("http"), "--json"
    )
    dead = carnet("send", str(SAMPLES / "01-adt-a01.hl7"), "--to", "mllp://127.0.0.1:1", "--json")

    assert (refused.code, refused.lines[0]["outcome"]) == (1, "refused")
    assert (dead.code, dead.lines[0]["outcome"]) == (1, "unsent")


def demo_ins() -> str:
    """The invented patient's number, as the first sample names it."""
    from broker.parsing import hl7v2

    (_, value), *_ = hl7v2.patient_keys(demo_site.samples()[0].path.read_bytes())
    return f"{value}\n"
