"""Commands that need no ledger: map, mapping, decide, explain, doctor."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.broker.cli.command import PROJECT, SAMPLES, carnet, same_as_golden


def test_a_message_is_mapped_to_one_json_line(tmp_path: Path) -> None:
    result = carnet("map", str(SAMPLES / "01-adt-a01.hl7"), cwd=tmp_path)

    assert result.code == 0
    (line,) = result.lines
    assert (line["index"], line["status"], line["reason"]) == (0, "mapped", None)
    assert line["documents"][0]["kind"] == "encounter_event"
    assert list(tmp_path.iterdir()) == []


def test_the_same_bytes_map_to_the_same_line_twice(tmp_path: Path) -> None:
    runs = [carnet("map", str(SAMPLES / "01-adt-a01.hl7"), cwd=tmp_path).out for _ in range(2)]

    assert runs[0] == runs[1]


def test_a_batch_gives_a_line_for_each_of_its_messages() -> None:
    result = carnet("map", str(SAMPLES / "13-laboratory-batch.hl7"))

    assert [line["index"] for line in result.lines] == [0, 1, 2]


def test_what_is_no_message_is_rejected_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("Bonjour", encoding="utf-8")

    result = carnet("map", "note.txt", cwd=tmp_path)

    assert result.code == 1
    assert (result.lines[0]["status"], result.lines[0]["reason"]) == ("rejected", "media.unknown")


def test_the_summary_counts_by_folder(tmp_path: Path) -> None:
    for name in ("01-adt-a01.hl7", "13-laboratory-batch.hl7", "19-not-hl7.hl7"):
        (tmp_path / name).write_bytes((SAMPLES / name).read_bytes())

    result = carnet("map", str(tmp_path), "--summary", "--json")

    assert result.code == 1
    (line,) = result.lines
    assert (line["files"], line["messages"], line["mapped"]) == (3, 5, 4)
    assert line["reasons"] == {"media.unknown message": 1}


def test_a_field_is_explained_by_its_rule() -> None:
    result = carnet(
        "map", str(SAMPLES / "01-adt-a01.hl7"), "--explain", "patient.birth_date", "--json"
    )

    assert result.lines[0]["rules"][0]["source"] == "PID-7"


def test_a_message_is_shown_as_a_destination_would_get_it() -> None:
    result = carnet("map", str(SAMPLES / "04-oru-utf8.hl7"), "--to", "hl7v2")

    assert result.code == 0
    assert result.out.startswith("MSH|^~\\&|CARNET|")
    assert result.out.count("OBX|") == 20


def test_a_document_without_a_form_is_told_and_found(tmp_path: Path) -> None:
    message = b"MSH|^~\\&|A|B|C|D|2024||ORM^O01|1|P|2.5\rPID|||1\rORC|NW|1\r"
    (tmp_path / "orm.hl7").write_bytes(message)

    result = carnet("map", "orm.hl7", "--to", "hl7v2", cwd=tmp_path)

    assert result.code == 1
    assert "mapping.none" in result.err


def test_a_message_that_is_rejected_has_no_form_and_its_reason_is_told() -> None:
    result = carnet("map", str(SAMPLES / "19-not-hl7.hl7"), "--to", "fhir")

    assert (result.code, result.out) == (1, "")
    assert "media.unknown" in result.err


def test_an_outbound_mapping_is_listed_and_shown() -> None:
    listed = carnet("mapping", "show", "--json")
    shown = carnet("mapping", "show", "out/hl7v2-oru", "--json")

    assert {"mapping": "out/hl7v2-oru"} in listed.lines
    assert {"PID-7", "OBX-5"} <= {line["target"] for line in shown.lines}


def test_the_coverage_names_places_and_no_values() -> None:
    result = carnet("map", str(SAMPLES / "04-oru-utf8.hl7"), "--coverage", "--json")

    assert result.code == 0
    assert all(set(line) == {"place", "messages"} for line in result.lines)


def test_a_document_is_printed_as_a_destination_is_sent_it() -> None:
    result = carnet("map", str(SAMPLES / "04-oru-utf8.hl7"), "--to", "cda")

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("<?xml version='1.0' encoding='UTF-8'?>\n<ClinicalDocument ")


def test_a_cda_is_printed_byte_for_byte() -> None:
    sample = SAMPLES / "10-cda-imaging.xml"

    result = carnet("map", str(sample), "--to", "cda")

    assert result.out == sample.read_text(encoding="utf-8")


def test_metadata_are_printed_with_what_they_lack() -> None:
    result = carnet("map", str(SAMPLES / "04-oru-utf8.hl7"), "--to", "xds")

    assert result.code == 1
    assert "SubmitObjectsRequest" in result.out
    assert (
        "document 0: missing DocumentEntry.classCode, nothing at class_code"
        in result.err.splitlines()
    )


def test_one_document_of_several_is_chosen_by_number() -> None:
    sample = str(SAMPLES / "13-laboratory-batch.hl7")

    whole = carnet("map", sample, "--to", "fhir")
    one = carnet("map", sample, "--to", "fhir", "--document", "1")
    none = carnet("map", sample, "--to", "fhir", "--document", "99")

    assert one.out.splitlines() == whole.out.splitlines()[1:2]
    assert none.code == 2
    assert "there are 3 documents" in none.err


def test_a_format_that_is_none_is_refused_with_those_that_are() -> None:
    result = carnet("map", str(SAMPLES / "04-oru-utf8.hl7"), "--to", "pdf")

    assert result.code == 2
    same_as_golden(result.err, "error-map-to.txt")


def test_an_archive_is_printed_alone(tmp_path: Path) -> None:
    sample = str(SAMPLES / "13-laboratory-batch.hl7")
    command = [sys.executable, "-m", "broker", "map", sample, "--to", "xdm"]

    one = subprocess.run([*command, "--document", "0"], capture_output=True, check=False)
    all_of_them = subprocess.run(command, capture_output=True, check=False)

    assert zipfile.is_zipfile(io.BytesIO(one.stdout))
    assert all_of_them.returncode == 2
    assert b"one archive cannot follow another" in all_of_them.stderr


def test_the_installed_mappings_have_no_errors() -> None:
    result = carnet("mapping", "lint", "--json")

    assert result.code == 0
    assert result.lines[0]["mappings"]


def test_the_golden_tests_of_the_installed_mappings_hold() -> None:
    result = carnet("mapping", "test", "--json")

    assert result.code == 0
    assert len(result.lines) >= 16
    assert all(line["good"] for line in result.lines)


def test_a_golden_test_that_fails_names_the_value_and_update_writes_it(tmp_path: Path) -> None:
    for name in ("tables", "hl7v2"):
        shutil.copytree(PROJECT / "mappings" / name, tmp_path / name)
    (expectation,) = tmp_path.rglob("01-a01-admission.expect.yaml")
    good = expectation.read_text(encoding="utf-8")
    expectation.write_text(good.replace("patient.sex: female", "patient.sex: male"))
    test = ("mapping", "test", str(tmp_path), "--only", "adt.tests/*")

    failed = carnet(*test)
    assert failed.code == 1
    assert "patient.sex: 'female' instead of 'male'" in failed.out
    updated = carnet(*test, "--update")
    assert updated.code == 0
    assert "-  patient.sex: male\n+  patient.sex: female\n" in updated.out
    assert expectation.read_text(encoding="utf-8") == good


def test_what_a_changed_rule_does_to_messages_is_grouped_by_kind_of_change(tmp_path: Path) -> None:
    new = tmp_path / "next"
    shutil.copytree(PROJECT / "mappings", new)
    changed = new / "hl7v2" / "fr" / "patient.yaml"
    text = changed.read_text(encoding="utf-8")
    assert text.count(" birth_date:") == 1
    changed.write_text(re.sub(r"\n *birth_date:.*", "", text), encoding="utf-8")
    messages = [str(SAMPLES / name) for name in ("01-adt-a01.hl7", "04-oru-utf8.hl7")]

    grouped = carnet("mapping", "diff", "--new", str(new), *messages, "--json")
    valued = carnet("mapping", "diff", "--new", str(new), *messages, "--values", "--json")
    same = carnet("mapping", "diff", "--new", str(PROJECT / "mappings"), *messages)

    assert grouped.code == 1
    found = {(line["kind"], line["path"]): line for line in grouped.lines}
    assert set(found) == {
        ("removed", "documents.patient.birth_date.value"),
        ("added", "unread PID-7"),
    }
    assert found["added", "unread PID-7"]["messages"] == 2
    assert all("old" not in line for line in grouped.lines)
    lost = [line for line in valued.lines if line["path"].endswith("birth_date.value")]
    assert [line["message"] for line in lost] == messages
    assert all(line["old"] for line in lost)
    assert same.code == 0
    assert "2 messages, 0 with differences" in same.out


def test_a_diff_without_messages_says_how_to_name_them(tmp_path: Path) -> None:
    result = carnet("mapping", "diff", "--new", str(tmp_path))

    assert result.code == 2
    assert "--ledger N" in result.err


def test_a_mapping_is_shown_as_it_takes_effect() -> None:
    name = carnet("mapping", "show", "--json").lines[0]["mapping"]

    result = carnet("mapping", "show", name, "--effective", "--json")

    assert {"target", "source", "table", "rule"} == set(result.lines[0])


def test_a_podiatrist_is_refused_the_discharge_report_by_a_named_rule() -> None:
    result = carnet("decide", "--profession", "podiatrist", "--type", "11490-0", "--json")

    assert result.code == 1
    (line,) = result.lines
    assert line["allowed"] is False
    assert line["rule"].startswith("MAT-")
    assert line["rules_version"]
    assert "11490-0" in line["en"]
    assert "11490-0" in line["fr"]


def test_a_physician_is_allowed_it_unless_it_is_masked() -> None:
    asked = ("decide", "--profession", "physician", "--type", "11490-0")

    assert carnet(*asked).code == 0
    assert carnet(*asked, "--masked").code == 1


def test_the_settings_of_an_adapter_are_explained_from_its_docstrings() -> None:
    result = carnet("explain", "mllp", "--json")

    meanings = {(line["table"], line["setting"]): line["meaning"] for line in result.lines}
    assert all(meanings.values())
    assert "loopback" in meanings["source.NAME", "host"]


def test_the_doctor_finds_plaintext_a_missing_certificate_and_what_production_must_not_have(
    tmp_path: Path,
) -> None:
    (tmp_path / "carnet.toml").write_text(
        """
[site]
data_folder = "."
production = true
[telemetry]
listen = ""
[source.open]
adapter = "mllp"
host = "0.0.0.0"
port = 0
allow_plaintext = true
[source.web]
adapter = "http"
port = 0
tokens = [{token = {env = "WEB_TOKEN"}}]
tls_certificate = "missing.pem"
""".replace('{env = "WEB_TOKEN"}', '"demo-token-demo-token"'),
        encoding="utf-8",
    )

    result = carnet("doctor", "--json", cwd=tmp_path)

    assert result.code in (1, 2), result.err
    if result.code == 2:
        # A secret written into the file is refused before anything is looked at.
        assert "token" in result.err
        return
    failed = {line["name"] for line in result.lines if line["level"] == "fail"}
    assert {"production", "tls_certificate of source.web"} <= failed


def test_the_doctor_of_a_fresh_folder_warns_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "carnet.toml").write_text(
        '[site]\ndata_folder = "."\n[telemetry]\nlisten = ""\n', encoding="utf-8"
    )

    result = carnet("doctor", "--json", cwd=tmp_path)

    levels = {line["name"]: line["level"] for line in result.lines}
    assert result.code == 0
    assert levels["settings"] == "warn"
    assert levels["database"] == "ok"


def test_the_doctor_says_when_the_database_is_away(tmp_path: Path) -> None:
    (tmp_path / "carnet.toml").write_text(
        '[site]\ndata_folder = "."\n[telemetry]\nlisten = ""\n'
        '[database]\nurl = "postgresql+psycopg://127.0.0.1:1/none"\n',
        encoding="utf-8",
    )

    result = carnet("doctor", "--json", cwd=tmp_path)

    assert result.code == 1
    assert {line["name"] for line in result.lines if line["level"] == "fail"} >= {"database"}
