"""From a hospital's socket to the patient's record: every format, one patient, two readers, and the proofs."""

from __future__ import annotations

import hl7.client
import pytest

from tests.story.site import SAMPLES, Site

DISCHARGE = "11490-0"


def the_patient(site: Site) -> str:
    """The internal number of the patient of the samples, found by the INS on standard input."""
    code, lines = site.carnet(
        "patient", "show", "--patient", "-", "--system", "1.2.250.1.213.1.4.10", stdin=_ins()
    )
    assert code == 0
    return str(lines[0]["patient"])


def _ins() -> str:
    first = (SAMPLES / "01-adt-a01.hl7").read_text(encoding="utf-8").replace("\n", "\r")
    pid = next(segment for segment in first.split("\r") if segment.startswith("PID|"))
    return pid.split("|")[3].split("^")[0]


def send_everything(site: Site) -> int:
    """Send through independent clients; returns how many messages that is."""
    names = ["01-adt-a01", "02-adt-a08", "04-oru-utf8", "08-mdm-t02-discharge"]
    codes = site.send_mllp(*((SAMPLES / f"{name}.hl7").read_bytes() for name in names))
    assert codes == ["AA"] * 4
    assert site.send_curl("/cda", "application/cda+xml", SAMPLES / "10-cda-imaging.xml") in (
        200,
        201,
        202,
    )
    fhir = SAMPLES / "11-fhir-document.json"
    assert site.send_curl("/fhir", "application/fhir+json", fhir) in (200, 201, 202)
    site.move_in(SAMPLES / "13-laboratory-batch.hl7")
    return 4 + 1 + 1 + 3


@pytest.mark.parametrize("site", ["services", pytest.param("embedded", marks=pytest.mark.drill)], indirect=True)  # fmt: skip
def test_every_format_lands_in_one_record_and_each_reader_sees_their_part(site: Site) -> None:
    with site.serving():
        sent = send_everything(site)
        balance = site.await_settled(sent)

        assert balance["received"] == balance["filed"] == sent
        patient = the_patient(site)
        _, seen = site.carnet(
            "record", "list", "--as", "physician,consent=explicit", "--patient", patient
        )
        discharge = next(line for line in seen if line.get("type_code") == DISCHARGE)
        kinds = {line.get("type_code") for line in seen if "id" in line}
        assert {DISCHARGE, "18748-4", "11488-4"} <= kinds
        assert sum(line.get("kind") == "result_report" for line in seen) == 4

        code, read = site.carnet(
            "record", "read", discharge["id"], "--as", "physician,consent=explicit"
        )
        assert code == 0
        assert read[0]["id"] == discharge["id"]

        code, listed = site.carnet(
            "record", "list", "--as", "podiatrist,consent=explicit", "--patient", patient
        )
        assert code == 0
        assert all(line.get("type_code") != DISCHARGE for line in listed)
        hidden = site.carnet(
            "record", "read", discharge["id"], "--as", "podiatrist,consent=explicit"
        )
        absent = site.carnet(
            "record",
            "read",
            "01a00000-0000-7000-8000-000000000000",
            "--as",
            "podiatrist,consent=explicit",
        )
        assert hidden == absent
        assert hidden[0] == 1

        code, said = site.carnet(
            "decide", "--document", discharge["id"], "--as", "podiatrist,consent=explicit"
        )
        assert code == 1
        assert said[0]["rule"].startswith("MAT-")
        assert "11490-0" in said[0]["en"]

    assert site.carnet("reconcile")[0] == 0
    code, verified = site.carnet("audit", "verify")
    assert code == 0
    assert verified[0]["good"]
    assert verified[0]["unsealed"] == 0


def test_a_message_sent_again_gets_the_first_answer_again_and_is_filed_once(site: Site) -> None:
    body = (SAMPLES / "01-adt-a01.hl7").read_bytes()
    with site.serving():
        first = _raw_answer(site, body)

        again = _raw_answer(site, body)

        balance = site.await_settled(1)
        assert again == first
        assert balance["received"] == balance["filed"] == 1


def _raw_answer(site: Site, body: bytes) -> bytes:

    with hl7.client.MLLPClient("127.0.0.1", site.mllp) as client:
        return bytes(client.send(b"\x0b" + body + b"\x1c\r"))


def test_an_opposed_patient_is_not_filed_and_the_reason_is_said(site: Site) -> None:
    with site.serving():
        codes = site.send_mllp(
            (SAMPLES / "15-adt-a01-opposition.hl7").read_bytes(),
            (SAMPLES / "16-oru-opposed-patient.hl7").read_bytes(),
        )

        balance = site.await_settled(2)

        assert codes == ["AA", "AA"]
        assert balance["filtered"] == 2
        _, lines = site.carnet("messages", "list")
        assert {line["reason"] for line in lines if "id" in line} == {"account.opposed"}
