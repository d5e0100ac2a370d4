"""Code tables as people and programs write them: rows added, FHIR ConceptMaps in and out, nothing lost on the way."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import MappingError
from broker.mapping import tables
from broker.mapping.code_tables import (
    Translation,
    from_concept_map,
    table_of,
    to_concept_map,
    translations,
    with_row,
)
from broker.mapping.problems import Place, Problems

PROJECT = Path(__file__).resolve().parents[3]
TABLES = set(PROJECT.glob("mappings/**/tables/*.csv")) - {PROJECT / "mappings/tables/systems.csv"}
"""The tables that come with Carnet; systems.csv says who assigns codes and translates none."""
WORDS = st.lists(
    st.text(string.ascii_letters + string.digits + "#,\"'/*-éÀµ[]{};", min_size=1, max_size=8),
    min_size=1,
    max_size=3,
).map(" ".join)
"""A code or name as FHIR has them: single spaces within, none around."""
SYSTEMS = st.sampled_from(["", "http://loinc.org", "urn:oid:1.2.250.1.999.7", "L"])
ROWS = st.lists(
    st.builds(
        Translation,
        source_code=WORDS,
        target_code=WORDS,
        source_system=SYSTEMS,
        target_system=SYSTEMS,
        target_display=st.just("") | WORDS,
        equivalence=st.sampled_from(["equivalent", "wider", "narrower", "inexact"]),
        comment=st.just("") | WORDS,
    ),
    max_size=8,
    unique_by=lambda row: (row.source_system, row.source_code),
)


def grouped(rows: list[Translation]) -> list[Translation]:
    """The rows as a ConceptMap orders them: by the group they first appear in."""
    order = list(dict.fromkeys((row.source_system, row.target_system) for row in rows))
    return sorted(rows, key=lambda row: order.index((row.source_system, row.target_system)))


@given(ROWS)
def test_a_table_that_became_a_concept_map_is_the_same_table_again(rows: list[Translation]) -> None:
    text = table_of(rows)

    made = to_concept_map(text, url="urn:carnet:table:t", name="T")

    assert list(translations(from_concept_map(made))) == grouped(rows)


@given(ROWS)
def test_the_engine_finds_every_row_that_was_written(rows: list[Translation]) -> None:
    problems = Problems()

    table = tables.parse(table_of(rows), "t.csv", problems, Place("m.yaml", 1, 1))

    assert [p.code for p in problems.found] == ([] if rows else ["E302"])
    for row in rows:
        assert table is not None
        found = table.lookup(row.source_code, row.source_system)
        assert found is not None
        assert (found.code, found.system, found.display) == (
            row.target_code,
            row.target_system,
            row.target_display,
        )


@given(ROWS, st.sampled_from(["from,to,display,comment\n", "# a remark\nfrom,to,display,comment"]))
def test_rows_added_one_by_one_to_a_short_table_are_all_there(
    rows: list[Translation], text: str
) -> None:
    added: dict[str, str] = {}
    for row in rows:
        if row.source_code not in added:
            added[row.source_code] = row.target_code
            short = Translation(row.source_code, row.target_code, target_display=row.target_display)
            text = with_row(text, short)

    assert {row.source_code: row.target_code for row in translations(text)} == added


def test_words_on_several_lines_stay_one_row() -> None:
    """Comments of real ConceptMaps run over lines; a table has one row a line."""
    resource = concept_map({"code": "A", "target": [{"code": "B", "comment": "first\r\n  second"}]})

    (row,) = translations(from_concept_map(resource))

    assert row.comment == "first second"


def test_what_matches_nothing_is_left_out_and_of_several_targets_the_first_is_taken() -> None:
    resource = concept_map(
        {"code": "A", "target": [{"code": "X", "equivalence": "disjoint"}, {"code": "Y"}, {"code": "Z"}]},
        {"code": "B", "target": [{"equivalence": "unmatched"}]},
        {"code": "C"},
    )  # fmt: skip

    assert [(r.source_code, r.target_code) for r in translations(from_concept_map(resource))] == [
        ("A", "Y")
    ]


@pytest.mark.parametrize(
    ("relationship", "equivalence"),
    [
        ("equivalent", "equivalent"),
        ("related-to", "relatedto"),
        ("source-is-narrower-than-target", "wider"),
        ("source-is-broader-than-target", "narrower"),
    ],
)
def test_relationships_of_r5_are_told_in_the_words_of_r4(
    relationship: str, equivalence: str
) -> None:
    resource = concept_map(
        {"code": "A", "target": [{"code": "B", "relationship": relationship}]},
        {"code": "N", "target": [{"code": "M", "relationship": "not-related-to"}]},
    )

    (row,) = translations(from_concept_map(resource))

    assert (row.source_code, row.equivalence) == ("A", equivalence)


def test_where_a_concept_map_comes_from_stands_above_its_rows() -> None:
    resource = {**concept_map(), "url": "urn:x", "version": "3", "copyright": "Somebody\n2026"}

    assert from_concept_map(resource).startswith("# urn:x\n# 3\n# Somebody 2026\nsource_system,")


@pytest.mark.parametrize(
    ("resource", "where"),
    [
        ({"resourceType": "ValueSet"}, "resourceType"),
        ({"resourceType": "ConceptMap", "group": {}}, "ConceptMap.group"),
        ({"resourceType": "ConceptMap", "group": ["x"]}, "ConceptMap.group"),
        ({"resourceType": "ConceptMap", "group": [{"element": [{"code": "A"}, {}]}]}, "group[0].element[1].code"),
        ({"resourceType": "ConceptMap", "group": [{}, {"element": [{"code": "A", "target": "B"}]}]}, "group[1].element[0].target"),
    ],
)  # fmt: skip
def test_a_concept_map_that_is_none_is_refused_with_the_place(
    resource: dict[str, Any], where: str
) -> None:
    with pytest.raises(MappingError) as raised:
        from_concept_map(resource)

    assert (raised.value.code, raised.value.where) == ("conceptmap.invalid", where)


def test_a_code_that_has_a_row_is_refused_with_its_line() -> None:
    text = "# a remark\nsource_system,source_code,target_code\n,A,B\nL,A,C\n"

    with pytest.raises(MappingError) as raised:
        with_row(text, Translation("A", "D", source_system="L"))

    assert (raised.value.code, raised.value.where) == ("table.translated", "line 4")


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("from,to", Translation("A", "B", target_system="http://loinc.org")),
        ("from,to", Translation("A", "B", target_display="a name")),
        ("from,to", Translation("A", "B", comment="why")),
        ("source_code,target_code", Translation("A", "B", target_system="http://loinc.org")),
        ("source_code,target_code", Translation("A", "B", source_system="L")),
        ("source_code,target_code,comment", Translation("A", "B", target_display="a name")),
    ],
)
def test_what_a_table_has_no_column_for_is_refused_and_not_lost(
    header: str, row: Translation
) -> None:
    with pytest.raises(MappingError) as raised:
        with_row(f"{header}\nX,Y{',' * (header.count(',') - 1)}\n", row)

    assert (raised.value.code, raised.value.where) == ("table.columns", "header")


@pytest.mark.parametrize("text", ["", "# nothing\n", "code,meaning\nA,B\n"])
def test_a_file_that_is_no_table_is_no_concept_map(text: str) -> None:
    with pytest.raises(MappingError) as raised:
        to_concept_map(text, url="urn:x", name="X")

    assert (raised.value.code, raised.value.where) == ("table.invalid", "header")


@pytest.mark.parametrize("path", sorted(TABLES), ids=lambda path: path.stem)
def test_each_table_that_comes_with_carnet_survives_the_way_out_and_in(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    rows = [row for row in translations(text) if row.target_code]

    made = to_concept_map(text, url="urn:x", name="X")

    back = translations(from_concept_map(made))
    assert [(r.source_code, r.target_code) for r in back] == [
        (r.source_code, r.target_code) for r in grouped(rows)
    ]


def concept_map(*elements: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "ConceptMap",
        "group": [{"target": "http://loinc.org", "element": list(elements)}],
    }
