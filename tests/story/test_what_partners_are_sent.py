"""What a destination is sent in the format it asked for: CDA, and XDM archives, from HL7v2 and CDA alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.parsing import media, xdm
from tests.broker.writing.documents import problems
from tests.story.site import SAMPLES, Site

DESTINATIONS = """
[destination.partner]
adapter = "file_drop"
folder = "{folder}/partner"
sends = "cda"

[destination.mailbox]
adapter = "file_drop"
folder = "{folder}/mailbox"
sends = "xdm"

[[route]]
name = "documents"
to = ["partner", "mailbox"]

[route.when]
kind = ["result_report", "clinical_document"]
"""


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".tmp"]


@pytest.mark.parametrize("site", ["services", pytest.param("embedded", marks=pytest.mark.drill)], indirect=True)  # fmt: skip
def test_partners_are_sent_documents_in_the_format_they_asked_for(site: Site) -> None:
    for name in ("partner", "mailbox"):
        (site.folder / name).mkdir()
    site.write(DESTINATIONS.format(folder=site.folder))

    with site.serving():
        site.move_in(SAMPLES / "04-oru-utf8.hl7")
        site.move_in(SAMPLES / "10-cda-imaging.xml")
        site.await_settled(2)
        site.await_balance(lambda _: len(files(site.folder / "mailbox")) == 2, 30)
        site.await_balance(lambda _: len(files(site.folder / "partner")) == 2, 30)

    sent = files(site.folder / "partner")
    archives = [xdm.parse(data) for data in files(site.folder / "mailbox")]
    assert {media.recognise(data) for data in sent} == {"cda"}
    assert [found for data in sent for found in problems(data)] == []
    assert (SAMPLES / "10-cda-imaging.xml").read_bytes() in sent
    assert {archive.documents[0].body for archive in archives} == set(sent)


@pytest.mark.parametrize("site", ["services", pytest.param("embedded", marks=pytest.mark.drill)], indirect=True)  # fmt: skip
def test_a_character_the_format_cannot_hold_parks_the_delivery_and_nothing_else(site: Site) -> None:
    (site.folder / "partner").mkdir()
    (site.folder / "mailbox").mkdir()
    site.write(DESTINATIONS.format(folder=site.folder))
    sample = (SAMPLES / "04-oru-utf8.hl7").read_bytes()
    (site.folder / "beside").mkdir()
    odd = site.folder / "beside" / "odd.hl7"
    odd.write_bytes(sample.replace(b"Leucocytes", b"Leuco\x01cytes").replace(b"SIL000101", b"ODD1"))

    with site.serving():
        site.move_in(odd)
        site.await_settled(1)
        site.move_in(SAMPLES / "10-cda-imaging.xml")
        site.await_settled(2)
        site.await_balance(lambda _: len(files(site.folder / "partner")) == 1, 30)
        _, messages = site.carnet("messages", "list")
        (odd_one,) = (one for one in messages if one["control_id"] == "ODD1")
        _, steps = site.carnet("messages", "timeline", odd_one["id"])

    assert odd_one["state"] == "filed"
    assert {(one["step"], one["outcome"]) for one in steps} >= {
        (f"owed to {name}", "parked: writing.character") for name in ("partner", "mailbox")
    }
    assert files(site.folder / "partner") == [(SAMPLES / "10-cda-imaging.xml").read_bytes()]
