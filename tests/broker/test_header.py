"""What is read off a document's header for the trail."""

from __future__ import annotations

import json

from broker import header
from broker.document import Author, Device, Identifier, Organization, Person, PersonName, Source
from tests.broker.records import record

AUTHOR = Author(
    person=Person(
        identifiers=(Identifier(value="899900000777", oid="1.2.250.1.71.4.2.1", system="rpps"),),
        name=PersonName(family="MODELE", given=("Paul",)),
    ),
    organization=Organization(
        identifiers=(Identifier(value="990000001", oid="1.2.250.1.71.4.2.2", kind="FINESS"),),
        name="Hôpital d'essai",
    ),
)


def test_aud_01_aud_03_what_is_filed_stands_with_its_ids_its_author_and_their_structure() -> None:
    paper = record.paper(
        "Title", unique_id="L-1", set_id=Identifier(value="1.2.250.1.999.8.1"), authors=(AUTHOR,)
    )

    told = header.told_of(paper)

    assert told is not None
    assert json.loads(told) == {
        "type": "34112-3", "unique_id": "1.2.250.1.999.7^L-1", "set_id": "1.2.250.1.999.8.1",
        "author": "ps|899900000777", "structure": "1.2.250.1.71.4.2.2^990000001",
        "structure_name": "Hôpital d'essai",
    }  # fmt: skip
    assert "Title" not in told
    assert "MODELE" not in told


def test_aud_03_the_software_is_the_one_the_message_names_else_the_authors_device() -> None:
    device = Author(device=Device(software="Logiciel d'essai 2.1", model="poste"))
    sent = Source(application=Identifier(value="SIL"))

    assert header.software_of(record.paper(authors=(device,), source=sent)) == "SIL"
    assert header.software_of(record.paper(authors=(AUTHOR, device))) == "Logiciel d'essai 2.1"
    assert header.software_of(record.paper(authors=(AUTHOR,))) is None
