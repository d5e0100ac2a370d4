"""The document model: its JSON, its strictness, its words."""

from __future__ import annotations

import msgspec
import pytest

from broker import document
from broker.document import (
    Consent,
    Document,
    Encounter,
    Identifier,
    Patient,
    Quantity,
    Value,
    decode,
    encode,
)
from broker.mapping.language import RULE_KEYWORDS
from broker.mapping.targets import targets_of

STRUCTS = [v for v in vars(document).values() if isinstance(v, type) and issubclass(v, Value)]


def test_a_document_survives_its_json() -> None:
    found = Document(
        id="1",
        patient=Patient(identifiers=(Identifier(value="x", system="s"),)),
        consents=(Consent(scope="filing", value="INO"),),
        absent={"patient.birth_date": "MSK"},
    )

    assert decode(encode(found)) == found


def test_defaults_stay_out_of_the_json() -> None:
    assert encode(Document(id="1")) == b'{"id":"1"}'


def test_digits_are_kept_as_written() -> None:
    assert b'"1.950"' in msgspec.json.encode(Quantity(value="1.950"))


def test_the_class_of_an_encounter_is_written_in_the_models_word() -> None:
    assert msgspec.json.decode(b'{"class":{"text":"x"}}', type=Encounter).class_ is not None


@pytest.mark.parametrize(
    "data", [b'{"id":"1","colour":"blue"}', b'{"id":1}', b'{"kind":"other"}', b"[]"]
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"Object|Expected|missing"):
        decode(data)


def test_a_document_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Document(id="1").title = "x"  # type: ignore[misc]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: s.__name__)
def test_no_field_is_named_like_a_keyword_of_the_mapping_language(struct: type[Value]) -> None:
    assert RULE_KEYWORDS.isdisjoint(targets_of(struct))


def test_a_class_docstring_describes_only_fields_that_exist() -> None:
    for struct in STRUCTS:
        lines = [line.strip() for line in (struct.__doc__ or "").splitlines()[1:]]
        named = {
            n for line in lines if (n := line.partition(": ")[0]).isidentifier() and ": " in line
        }
        assert named <= set(targets_of(struct)), struct.__name__
