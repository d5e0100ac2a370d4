from __future__ import annotations

from broker.document import Coded, Coding, Document, Identifier, Patient, When
from broker.parsing.xdm_header import lay_under


def code(value: str) -> Coded:
    return Coded(codings=(Coding(code=value),))


def test_metadata_fill_only_what_the_document_leaves_open() -> None:
    document = Document(id="d", title="own title")
    header = Document(id="h", title="other title", created_at=When(value="2024"), language="fr-FR")

    filled = lay_under(document, header)

    assert (filled.id, filled.title) == ("d", "own title")
    assert (filled.created_at, filled.language) == (When(value="2024"), "fr-FR")


def test_a_masking_code_of_either_holds() -> None:
    document = Document(id="d", confidentiality=(code("N"),))
    header = Document(id="h", confidentiality=(code("N"), code("MASQUE_PS")))

    assert lay_under(document, header).confidentiality == (code("N"), code("MASQUE_PS"))


def test_the_patient_of_the_document_stays_its_own() -> None:
    own = Patient(identifiers=(Identifier(value="1", system="a"),))
    other = Patient(identifiers=(Identifier(value="2", system="a"),))

    assert lay_under(Document(id="d", patient=own), Document(id="h", patient=other)).patient == own
    assert lay_under(Document(id="d"), Document(id="h", patient=other)).patient == other


def test_a_header_that_adds_nothing_changes_nothing() -> None:
    document = Document(id="d", title="t")

    assert lay_under(document, Document(id="h", title="u")) is document
