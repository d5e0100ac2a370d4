"""The samples are what they say: repeatable, well formed, of one invented patient, and with their settings valid."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from lxml import etree

from broker import plugins
from broker.settings import load
from broker.simulation_people import INS_TEST_OID, ins_key

PROJECT = Path(__file__).resolve().parents[2]
SAMPLES = PROJECT / "samples"
SCHEMA = PROJECT.parent / "shared" / "reference" / "cda-xsd" / "CDA_extended.xsd"

with (SAMPLES / "samples.csv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table))
INS = "279053899904288"
CHARSETS = {"05-oru-8859-1.hl7": "iso-8859-1", "06-oru-8859-15.hl7": "iso-8859-15"}


def text(name: str) -> str:
    return (SAMPLES / name).read_bytes().decode(CHARSETS.get(name, "utf-8"))


def documents() -> dict[str, bytes]:
    """Every CDA in the samples, alone or inside a message."""
    found = {path.name: path.read_bytes() for path in SAMPLES.glob("*.xml")}
    for path in SAMPLES.glob("*.hl7"):
        for body in re.findall(rb"XML\^Base64\^([A-Za-z0-9+/=]+)", path.read_bytes()):
            found[path.name] = base64.b64decode(body, validate=True)
    return found


def test_the_committed_files_are_what_the_script_makes() -> None:
    made: Callable[[], Mapping[str, bytes]] = runpy.run_path(str(SAMPLES / "make.py"))["samples"]

    for name, body in made().items():
        assert (SAMPLES / name).read_bytes() == body, f"{name}: run python samples/make.py"


def test_the_table_and_the_readme_name_every_file_and_no_other() -> None:
    files = {path.name for path in SAMPLES.iterdir() if re.match(r"\d\d-", path.name)}

    assert [row["file"] for row in ROWS] == sorted(files)
    assert (
        set(
            re.findall(
                r"^\| `([^`]+)`", (SAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE
            )
        )
        == files
    )


def test_the_demo_settings_are_valid_for_the_installed_adapters() -> None:
    settings = load(
        SAMPLES / "carnet.toml", adapters=plugins.adapters(), queues=plugins.queues(), environ={}
    )

    assert {source.adapter for source in settings.sources.values()} == {
        row["send_by"] for row in ROWS
    }


def test_everything_of_the_tours_patient_carries_the_same_two_identifiers() -> None:
    assert ins_key(INS[:13]) == INS[13:]
    for row in ROWS:
        body = text(row["file"])
        if row["patient"] == "elodie":
            assert INS in body, row["file"]
            assert "700000042" in body, row["file"]
        else:
            assert INS not in body, row["file"]


@pytest.mark.parametrize("name", list(documents()))
def test_the_patient_of_a_document_is_the_one_of_its_message(name: str) -> None:
    root = etree.fromstring(documents()[name])

    ids = {
        e.get("root"): e.get("extension")
        for e in root.iterfind(".//{*}recordTarget/{*}patientRole/{*}id")
    }
    assert ids == {INS_TEST_OID: INS, "1.2.250.1.999.2": "700000042"}


def test_every_document_is_valid_by_the_french_cda_schema() -> None:
    if not SCHEMA.exists():
        pytest.skip("the CDA schemas do not lie beside the project")
    schema = etree.XMLSchema(etree.parse(str(SCHEMA)))

    for name, body in documents().items():
        assert schema.validate(etree.fromstring(body)), f"{name}: {schema.error_log}"


def test_header_and_orders_of_the_letter_agree_as_the_volet_demands() -> None:
    message = text("08-mdm-t02-discharge.hl7")
    root = etree.fromstring(documents()["08-mdm-t02-discharge.hl7"])
    lines = [line.split("|") for line in message.split("\r") if line]

    code = root.find("{*}code")
    number = root.find("{*}id")
    assert code is not None
    assert number is not None
    txa = next(line for line in lines if line[0] == "TXA")
    obx = [line for line in lines if line[0] == "OBX"]
    assert txa[2] == code.get("code") == "11490-0"
    assert txa[12] == number.get("root")
    assert {line[3].split("^")[0] for line in obx[:1]} == {"11490-0"}
    assert [line[3].split("^")[0] for line in obx[1:]] == [
        "MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REP_LEGAUX", "CONNEXION_SECRETE", "MODIF_CONF_CODE",
        "DESTDMP", "DESTMSSANTEPS", "DESTMSSANTEPAT", "ACK_RECEPTION", "ACK_LECTURE_MSS",
    ]  # fmt: skip


def test_the_replacement_names_the_version_it_replaces_and_keeps_the_series() -> None:
    first = etree.fromstring(documents()["08-mdm-t02-discharge.hl7"])
    second = etree.fromstring(documents()["09-mdm-t10-discharge-corrected.hl7"])

    def at(root: etree._Element, path: str, name: str) -> str | None:
        found = root.find(path)
        return None if found is None else found.get(name)

    assert at(second, "{*}setId", "root") == at(first, "{*}setId", "root")
    assert at(second, "{*}relatedDocument/{*}parentDocument/{*}id", "root") == at(
        first, "{*}id", "root"
    )
    assert at(second, "{*}id", "root") != at(first, "{*}id", "root")
    assert at(second, "{*}versionNumber", "value") == "2"


def test_each_charset_is_declared_and_used() -> None:
    for name, declared, sign in (
        ("04-oru-utf8.hl7", "UNICODE UTF-8", "à contrôler"),
        ("05-oru-8859-1.hl7", "8859/1", "37,5 °C"),
        ("06-oru-8859-15.hl7", "8859/15", "12 €"),
    ):
        assert text(name).split("\r")[0].split("|")[17] == declared
        assert sign in text(name)
    with pytest.raises(UnicodeDecodeError):
        (SAMPLES / "06-oru-8859-15.hl7").read_bytes().decode("utf-8")


def test_the_batch_counts_its_messages_rightly() -> None:
    body = text("13-laboratory-batch.hl7")

    assert body.count("\rMSH|") == 3
    assert "\rBTS|3\rFTS|1\r" in body


def test_the_transaction_describes_its_own_pdf() -> None:
    bundle = json.loads(text("12-fhir-transaction.json"))
    by_type = {entry["resource"]["resourceType"]: entry["resource"] for entry in bundle["entry"]}
    attachment = by_type["DocumentReference"]["content"][0]["attachment"]
    body = base64.b64decode(by_type["Binary"]["data"])

    assert body.startswith(b"%PDF-1.4")
    assert attachment["size"] == len(body)
    assert base64.b64decode(attachment["hash"]) == hashlib.sha1(body).digest()


def test_the_fhir_samples_are_valid_by_the_r4_models() -> None:
    from fhir.resources.R4B.bundle import Bundle

    for name in ("11-fhir-document.json", "12-fhir-transaction.json"):
        bundle = Bundle.model_validate_json((SAMPLES / name).read_bytes())
        assert len(bundle.entry or ()) > 2


def test_the_duplicate_is_the_same_bytes_and_the_reused_control_id_is_not() -> None:
    assert text("14-adt-a01-again.hl7") == text("01-adt-a01.hl7")
    old, new = text("04-oru-utf8.hl7"), text("17-oru-control-id-reused.hl7")
    assert old.split("|")[9] == new.split("|")[9]
    assert old != new
