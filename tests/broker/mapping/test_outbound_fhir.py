"""Mappings that adjust the FHIR writer's result, as its receiver sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from fhir.resources.R4B.bundle import Bundle

from broker import rendering
from broker.document import Coded, Coding, Document, Identifier, Patient, Telecom, When
from broker.errors import MappingError
from broker.mapping.catalogue import load

HEAD = (
    "mapping: test\nversion: 1.0.0\nlanguage: 1\nfrom: document\nto: fhir-r4\n"
    "extends:\n  - builtin:fhir-r4\napplies_when: kind = 'clinical_document'\n"
)
LETTER = Document(
    id="018f0000-0000-7000-8000-000000000000",
    kind="clinical_document",
    title="Lettre",
    type_code=Coded(codings=(Coding(code="11490-0", system="http://loinc.org"),)),
    class_code=Coded(codings=(Coding(code="10", system="urn:oid:1.2.3"),)),
    reference_ids=(Identifier(value="ACC1", system="1.2.4"), Identifier(value="ACC2")),
    created_at=When(value="2024-03-09T07:35", offset="+01:00"),
    patient=Patient(
        identifiers=(
            Identifier(value="IPP1", system="1.2.5"),
            Identifier(value="1", kind="INS-NIR", system="ins_nir"),
        ),
        phones=(Telecom(value="0102"),),
    ),
)


def _written(
    folder: Path, rules: str, document: Document = LETTER, form: str = "fhir", **files: str
) -> dict[str, Any]:
    (folder / "test.yaml").write_text(HEAD + rules, encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    _, body, _ = rendering.render(load(folder), document, form, {}.__getitem__)
    Bundle.model_validate_json(body)
    return {
        entry["resource"]["resourceType"]: entry["resource"]
        for entry in msgspec.json.decode(body)["entry"]
    }


def test_an_element_has_the_value_that_the_mapping_gives(tmp_path: Path) -> None:
    rules = "resources:\n  Patient:\n    identifier:\n      from: patient.identifiers[kind='INS-NIR']\n      required: true\n"

    patient = _written(tmp_path, rules)["Patient"]

    assert [one["value"] for one in patient["identifier"]] == ["1"]
    assert patient["telecom"]


def test_an_element_is_removed(tmp_path: Path) -> None:
    found = _written(
        tmp_path, "remove:\n  - Patient.telecom\n  - DocumentReference.context.related\n"
    )

    assert "telecom" not in found["Patient"]
    assert "related" not in found["DocumentReference"]["context"]


def test_a_plus_adds_to_what_the_writer_made(tmp_path: Path) -> None:
    rules = "resources:\n  DocumentReference:\n    context.related+:\n      from: reference_ids[2]\n    category+: = X\n"

    reference = _written(tmp_path, rules)["DocumentReference"]

    assert [r["identifier"]["value"] for r in reference["context"]["related"]] == ["ACC1", "ACC2", "ACC2"]  # fmt: skip
    assert [c["coding"][0]["code"] for c in reference["category"]] == ["10", "X"]


def test_an_inner_element_is_made_where_there_was_none(tmp_path: Path) -> None:
    rules = (
        "resources:\n  DocumentReference:\n    content.format.code: = urn:ihe:iti:xds-sd:pdf:2008\n"
        "    content.attachment.creation: created_at\n"
    )

    (content,) = _written(tmp_path, rules)["DocumentReference"]["content"]

    assert content["format"] == {"code": "urn:ihe:iti:xds-sd:pdf:2008"}
    assert content["attachment"]["creation"] == "2024-03-09T07:35:00+01:00"


def test_a_table_gives_the_receivers_code_or_refuses(tmp_path: Path) -> None:
    rules = (
        "tables:\n  classes: classes.csv\nresources:\n  DocumentReference:\n    category:\n"
        "      from: class_code\n      table: classes\n      unmapped: reject\n"
    )

    found = _written(tmp_path, rules, classes_csv="from,to\n10,letter\n")["DocumentReference"]

    assert found["category"][0]["coding"][0]["code"] == "letter"
    with pytest.raises(MappingError) as told:
        _written(tmp_path, rules, classes_csv="from,to\n11,other\n")
    assert told.value.code == "mapping.unmapped_code"


def test_what_is_required_and_missing_stops_the_document(tmp_path: Path) -> None:
    rules = "resources:\n  Patient:\n    birthDate:\n      from: patient.birth_date\n      required: true\n"

    with pytest.raises(MappingError) as told:
        _written(tmp_path, rules)

    assert told.value.where == "patient.birth_date"


def test_a_site_builds_on_another_adjustment(tmp_path: Path) -> None:
    base = (
        HEAD.replace("mapping: test", "mapping: base").replace("applies_when: kind = 'clinical_document'\n", "")
        + "resources:\n  Patient:\n    gender: = other\n    maritalStatus: = M\nremove:\n  - Patient.telecom\n"
    )  # fmt: skip
    site = (
        HEAD.replace("builtin:fhir-r4", "base.yaml")
        + "resources:\n  Patient:\n    gender: = female\n"
    )
    (tmp_path / "base.yaml").write_text(base, encoding="utf-8")

    patient = _site(tmp_path, site)

    assert patient["gender"] == "female"
    assert patient["maritalStatus"]["coding"][0]["code"] == "M"
    assert "telecom" not in patient


def _site(folder: Path, text: str) -> dict[str, Any]:
    (folder / "test.yaml").write_text(text, encoding="utf-8")
    _, body, _ = rendering.render(load(folder), LETTER, "fhir", {}.__getitem__)
    entries = msgspec.json.decode(body)["entry"]
    found: dict[str, Any] = next(
        e["resource"] for e in entries if e["resource"]["resourceType"] == "Patient"
    )
    return found


def test_it_holds_for_the_document_form_too_and_only_where_it_applies(tmp_path: Path) -> None:
    rules = "resources:\n  Composition:\n    title: = Autre titre\n"

    changed = _written(tmp_path, rules, form="fhir-document")["Composition"]
    other = _written(
        tmp_path, rules, msgspec.structs.replace(LETTER, kind="other"), form="fhir-document"
    )["Composition"]

    assert (changed["title"], other["title"]) == ("Autre titre", "Lettre")
