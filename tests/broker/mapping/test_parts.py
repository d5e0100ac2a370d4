"""Parts: one named block of fields, used where several rules need it, overridden once for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.errors import SetupError
from broker.mapping.catalogue import load
from broker.mapping.run import Context, Mapped, ids_from
from broker.parsing import cda

BASE = """
mapping: base
version: 1.0.0
language: 1
from: cda
parts:
  result:
    code: code
    value: value
    components:
      each: entryRelationship/observation
      part: component
  component:
    code: code
"""
MAPPING = """
mapping: test
version: 1.0.0
language: 1
from: cda
applies_when: id is present
extends:
  - base.yaml
document:
  observations:
    each: component/structuredBody/component/section/entry/observation
    part: result
    fields:
      sub_id: id/@extension
"""
BODY = b"""<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<id root="1.2.3"/><component><structuredBody><component><section><entry>
<observation><id extension="7"/><code code="A"/><value xsi:type="ST">high</value>
<entryRelationship><observation><code code="B"/></observation></entryRelationship></observation>
</entry></section></component></structuredBody></component></ClinicalDocument>"""


def applied(folder: Path, **files: str) -> Mapped:
    for name, text in {"base": BASE, "test": MAPPING, **files}.items():
        (folder / f"{name}.yaml").write_text(text)
    context = Context(document_id=ids_from("018f0000-0000-7000-8000-000000000000"))
    return load(folder).apply(cda.parse(BODY), context, coverage=False)


def test_a_part_stands_for_its_fields_with_those_beside_it_laid_over(tmp_path: Path) -> None:
    found = applied(tmp_path).documents[0].observations[0]

    assert (found.sub_id, found.value.text if found.value else "") == ("7", "high")
    assert [c.code.codings[0].code for c in found.components if c.code] == ["B"]


def test_an_heir_overrides_a_field_of_a_part_wherever_the_part_is_used(tmp_path: Path) -> None:
    site = MAPPING.replace("document:", "parts:\n  component:\n    sub_id: code/@code\ndocument:")

    found = applied(tmp_path, test=site).documents[0].observations[0]

    assert found.components[0].sub_id == "B"
    assert found.components[0].code is not None


def test_an_heir_says_only_what_differs_of_a_rule_made_with_a_part(tmp_path: Path) -> None:
    site = """
mapping: site
version: 1.0.0
language: 1
from: cda
applies_when: id is present
extends:
  - test.yaml
document:
  observations:
    fields:
      sub_id: code/@code
"""
    found = applied(tmp_path, site=site).documents[0].observations[0]

    assert (found.sub_id, found.value.text if found.value else "") == ("A", "high")


def test_each_alone_moves_an_inherited_block_and_keeps_its_fields(tmp_path: Path) -> None:
    site = """
mapping: site
version: 1.0.0
language: 1
from: cda
applies_when: id is present
extends:
  - test.yaml
document:
  observations:
    each: //observation
"""
    found = applied(tmp_path, site=site).documents[0].observations

    assert [o.code.codings[0].code for o in found if o.code] == ["A", "B"]


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("part: resullt", "E408 unknown part 'resullt'"),
        ("part: loop", "E409"),
    ],
)
def test_a_part_that_is_not_there_or_holds_itself_is_told(
    tmp_path: Path, part: str, code: str
) -> None:
    broken = MAPPING.replace("part: result", part).replace(
        "document:",
        "parts:\n  loop:\n    components:\n      each: code\n      part: loop\ndocument:",
    )

    with pytest.raises(SetupError) as raised:
        applied(tmp_path, test=broken)

    assert code in str(raised.value)


def test_an_entry_removes_a_common_rule_it_does_not_want(tmp_path: Path) -> None:
    two = MAPPING + "documents:\n  - name: all\n  - name: bare\n    remove:\n      - observations\n"

    made = applied(tmp_path, test=two).documents

    assert [len(document.observations) for document in made] == [1, 0]
