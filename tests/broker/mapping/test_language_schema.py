"""The schema that editors use takes every mapping there is, knows the whole grammar, and refuses common mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from broker.mapping import language_schema
from broker.mapping.language import ENTRY_KEYWORDS, RULE_KEYWORDS, SEGMENT_KEYWORDS, TOP_KEYS
from broker.mapping.problems import Problems
from broker.mapping.strict_yaml import Block, Item, Sequence, load

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
FILES = sorted(path for path in MAPPINGS.rglob("*.yaml") if ".tests" not in path.parent.name)
HEAD = "mapping: a\nversion: 1.0.0\nlanguage: 1\nfrom: hl7v2\n"

Validate = Callable[[Any], Any]


@pytest.fixture(scope="module")
def validate() -> Validate:
    made: Validate = fastjsonschema.compile(language_schema.schema())
    return made


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(MAPPINGS).as_posix())
def test_every_mapping_fits_it(path: Path, validate: Validate) -> None:
    validate(_plain_file(path.read_text(encoding="utf-8")))


def test_it_describes_every_keyword_of_the_grammar() -> None:
    schema = language_schema.schema()

    assert set(schema["properties"]) == TOP_KEYS
    assert set(schema["definitions"]["Document rule"]["properties"]) == RULE_KEYWORDS
    assert set(schema["definitions"]["entry"]["properties"]) == ENTRY_KEYWORDS
    assert set(schema["definitions"]["segments"]["items"]["properties"]) == SEGMENT_KEYWORDS


@pytest.mark.parametrize(
    "rules",
    [
        "documents:\n  - fields:\n      title: PID-5\n",
        "document:\n  titel: PID-5\n",
        "document:\n  title:\n    form: PID-5\n",
        "document:\n  title:\n    from: PID-5\n    as: name\n",
        "document:\n  title:\n    from: PID-5\n    unmapped: ignore\n",
        "document:\n  title:\n    from: PID-5\n    required: maybe\n",
        "document:\n  title:\n    - PID-5\n",
        "document:\n  title+: PID-5\n",
        "document:\n  patient:\n    birth_dat: PID-7\n",
        "document:\n  patient:\n    when: PID-7 is present\n    birth_date: PID-7\n",
        "document:\n  reports:\n    each: order\n    fields:\n      observations:\n        each: observation\n        fields: {val: OBX-5}\n",
        "defaults:\n  time_zone: Europe/Paris\n",
        "tables:\n  sex: {file: a.csv, unmaped: keep}\n",
        "groups:\n  order: {contains: OBX}\n",
        "ignore:\n  - path: PID-1\n",
        "extend: a.yaml\n",
        "segments:\n  - segment: pid\n",
        "resources:\n  Patiant:\n    birthDate: patient.birth_date\n",
        "resources:\n  Patient:\n    Birth: patient.birth_date\n",
        "segments:\n  - segment: PID\n    PID-3: title\n",
        "segments:\n  - segment: PID\n    fields:\n      PID.3: title\n",
        "segments:\n  - segment: PID\n    fields:\n      PID-3:\n        form: title\n",
        "segments:\n  - each: reports\n    segment: OBR\n    field:\n      OBR-4: code\n",
    ],
)
def test_it_refuses_what_lint_would_refuse(rules: str, validate: Validate) -> None:
    with pytest.raises(fastjsonschema.JsonSchemaException):
        validate(_plain_file(HEAD + rules))


def _plain_file(text: str) -> Any:
    root = load(text, "x", problems := Problems())
    assert problems.found == []
    assert root is not None
    return _plain(root)


def _plain(item: Item) -> Any:
    if isinstance(item, Block):
        return {key: _plain(value) for key, value in item.items.items()}
    if isinstance(item, Sequence):
        return [_plain(value) for value in item.items]
    return item.value
