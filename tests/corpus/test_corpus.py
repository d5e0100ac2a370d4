"""The public corpus, when it lies beside the project: no traceback, and what is valid is mapped."""

from __future__ import annotations

import pytest
from fhir.resources.R4B.bundle import Bundle

from broker.mapper import Given, Mapper
from broker.mapping.catalogue import load
from broker.writing.fhir import Form, to_bytes
from tests.corpus.survey import (
    CORPUS,
    FORMATS,
    MESSAGE_ID,
    PROJECT,
    Outcome,
    files,
    invalid,
    survey,
    table,
)

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the public corpus is not beside the project"
)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return survey()


def test_nothing_but_our_own_errors_is_raised(outcomes: list[Outcome]) -> None:
    crashes = [f"{one.file}#{one.index}: {one.crash}" for one in outcomes if one.crash]

    assert crashes == []


def test_every_rejection_has_a_code_and_a_reason(outcomes: list[Outcome]) -> None:
    assert [one.file for one in outcomes if one.error and len(one.error.split()) < 2] == []


@pytest.mark.parametrize("kind", FORMATS)
def test_of_what_is_valid_97_percent_are_mapped(kind: str, outcomes: list[Outcome]) -> None:
    bad = invalid()
    valid = [one for one in outcomes if one.format == kind and one.file not in bad]

    mapped = sum(one.is_mapped for one in valid)

    assert mapped >= 0.97 * len(valid), table(outcomes)


@pytest.mark.parametrize("form", ["transaction", "document"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_document_has_a_valid_fhir_form(kind: str, form: Form) -> None:
    mapper = Mapper(load(PROJECT / "mappings"))
    given = Given(message_id=MESSAGE_ID, source="corpus", sha256="00" * 32)
    wrong: list[str] = []
    for path in files(CORPUS):
        if path.relative_to(CORPUS).parts[0] != kind:
            continue
        body = path.read_bytes()
        reading = mapper.read(body, given)
        store = {**reading.attachments, given.sha256: body}
        for document in reading.documents[:3]:
            try:
                Bundle.model_validate_json(to_bytes(document, store.__getitem__, form))
            except ValueError as error:
                wrong.append(f"{path.name}: {str(error)[:300]}")

    assert wrong == []


def test_the_list_of_invalid_files_names_files_that_are_there_and_says_why() -> None:
    known = {path.relative_to(CORPUS).as_posix() for path in files(CORPUS)}

    assert set(invalid()) <= known
    assert all(len(reason) > 10 for reason in invalid().values())
