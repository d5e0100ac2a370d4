"""Every document of the public corpus as an XDM archive, taken in again by Carnet itself."""

from __future__ import annotations

import pytest

from broker.errors import CarnetError
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from broker.writing import xdm
from tests.corpus.survey import CORPUS, MESSAGE_ID, PROJECT, files, messages_in

pytestmark = [
    pytest.mark.corpus_full,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the public corpus is not beside the project"),
]

EMPTY = {
    "Bundle-example-td2-1-remplacement.json",
    "DocumentReference-example-td2-iti105-publication-simplifiee.json",
}
"""Files whose document is a ClinicalDocument without anything in it: no mapping takes that."""


def test_every_document_comes_back_from_its_archive() -> None:
    mapper = Mapper(load(PROJECT / "mappings"))
    given = Given(message_id=MESSAGE_ID, source="corpus", sha256="00" * 32)
    compared, lost = 0, set()
    for path in files(CORPUS):
        try:
            bodies = messages_in(mapper, path.read_bytes())
        except CarnetError:
            continue
        for body in bodies:
            reading = mapper.read(body, given)
            content = {**reading.attachments, given.sha256: body}.__getitem__
            for document in reading.documents:
                again = mapper.read(xdm.to_bytes(document, content), given)
                compared += 1
                if again.failure is not None or len(again.documents) != 1:
                    lost.add(path.name)

    assert compared > 1300
    assert lost == EMPTY
