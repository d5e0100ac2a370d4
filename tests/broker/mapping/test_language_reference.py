"""What the reference of the language shows as an example is one: each path and condition compiles."""

from __future__ import annotations

import pytest

from broker.document import Document
from broker.mapping import language, language_reference, language_schema
from broker.mapping.conditions import Operand, compile_condition
from broker.mapping.groups import Group
from broker.mapping.paths import PathError
from broker.mapping.paths_cda import compile_path as cda_path
from broker.mapping.paths_document import compile_path as document_path
from broker.mapping.paths_fhir import compile_path as fhir_path
from broker.mapping.paths_hl7v2 import ROOT, Level, PathCompiler

ORDER = Group("order", ("ORC", "OBR"), frozenset(), None)
ORDER.groups["observation"] = Group("observation", ("OBX",), frozenset(), ORDER)
GROUPS = {"order": ORDER}
REPETITION = (*ROOT, Level("repetition", "PID-3", type="CX"))

COMPILERS = {
    "hl7v2": lambda text: PathCompiler({} if text.startswith("OBX") else GROUPS).compile(
        text, ROOT
    ),
    "hl7v2, in `each: PID-3[*]`": lambda text: PathCompiler({}).compile(text, REPETITION),
    "cda": lambda text: cda_path(text, {}),
    "fhir-r4": fhir_path,
    "document": lambda text: document_path(text, (Document,)),
}


@pytest.mark.parametrize(
    ("kind", "path"),
    [(kind, path) for kind, rows in language_reference.PATHS.items() for path, _ in rows],
)
def test_each_path_of_the_page_is_one(kind: str, path: str) -> None:
    assert COMPILERS[kind](path).text == path


@pytest.mark.parametrize("kind", COMPILERS)
def test_what_is_no_path_is_told(kind: str) -> None:
    with pytest.raises(PathError):
        COMPILERS[kind]("id[")


def operand(path: str, _offset: int) -> Operand:
    read = PathCompiler({}).compile(path, ROOT)
    return Operand(
        values=read.texts, present=lambda *_: True, null=lambda *_: False, missing=lambda *_: False
    )


@pytest.mark.parametrize("condition", [text for text, _ in language_reference.CONDITIONS])
def test_each_condition_of_the_page_is_one(condition: str) -> None:
    compile_condition(condition, operand)


def test_every_key_of_the_grammar_has_a_meaning_on_the_page() -> None:
    page = language_reference.page()

    known = (
        (language_schema.TOP, language.TOP_KEYS),
        (language_schema.DEFAULTS, language.DEFAULT_KEYS),
        (language_schema.RULE, language.RULE_KEYWORDS),
        (language_schema.ENTRY, language.ENTRY_KEYWORDS),
        (language_schema.SEGMENT, language.SEGMENT_KEYWORDS),
    )
    for table, names in known:
        assert set(table) == names
        assert all(f"| `{name}` | {meaning} |" in page for name, (meaning, _) in table.items())
