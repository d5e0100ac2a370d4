"""What is received in one form leaves in another: results and letters go to partners as they want them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import hl7

from tests.story.site import SAMPLES, Site

DESTINATIONS = """
[destination.{name}]
adapter = "file_drop"
folder = "{folder}/{name}"
sends = "{sends}"
mapping = "{mapping}"

[[route]]
name = "to-{name}"
to = ["{name}"]
when = {{ kind = ["{kind}"] }}
"""


def _partner(site: Site, name: str, sends: str, kind: str, mapping: str = "") -> str:
    (site.folder / name).mkdir()
    return DESTINATIONS.format(
        name=name, folder=site.folder, sends=sends, mapping=mapping, kind=kind
    )


def _files(folder: Path, count: int, seconds: float = 30.0) -> list[bytes]:
    deadline = time.monotonic() + seconds
    while True:
        found = sorted(p for p in folder.glob("*") if p.is_file() and p.suffix in {".hl7", ".json"})
        if len(found) >= count:
            return [path.read_bytes() for path in found]
        assert time.monotonic() < deadline, f"{len(found)} of {count} files"
        time.sleep(0.2)


def test_a_document_leaves_in_the_form_each_destination_asks_for(site: Site) -> None:
    site.write(
        _partner(site, "results", "hl7v2", "result_report")
        + _partner(site, "letters", "hl7v2", "clinical_document", "out/hl7v2-mdm")
        + _partner(site, "fhir", "fhir-document", "clinical_document")
    )
    with site.serving():
        site.send_mllp((SAMPLES / "04-oru-utf8.hl7").read_bytes())
        site.send_curl("/cda", "application/cda+xml", SAMPLES / "10-cda-imaging.xml")
        site.await_settled(2)

        (result,) = _files(site.folder / "results", 1)
        (letter,) = _files(site.folder / "letters", 1)
        (bundle,) = _files(site.folder / "fhir", 1)

    oru, mdm = hl7.parse(result.decode()), hl7.parse(letter.decode())
    assert len(oru.segments("OBX")) == 20
    assert str(mdm.segment("MSH")[9]).startswith("MDM^T02")
    assert json.loads(bundle)["entry"][0]["resource"]["resourceType"] == "Composition"


def test_a_destination_that_names_a_mapping_of_another_format_does_not_start(site: Site) -> None:
    site.write(_partner(site, "results", "fhir", "result_report", "out/hl7v2-oru"))

    code, _ = site.carnet("serve")

    assert code == 2
