"""`carnet codes import` and `export`: files in, text out; what cannot be read is told with its place."""

from __future__ import annotations

import json
from pathlib import Path

from tests.broker.cli.command import PROJECT, carnet

UNITS = PROJECT / "mappings" / "tables" / "units-to-ucum.csv"


def test_a_table_goes_out_as_a_concept_map_and_comes_back(tmp_path: Path) -> None:
    out = carnet("codes", "export", str(UNITS), "--url", "https://chu.exemple.invalid/units")
    (tmp_path / "units.json").write_text(out.out, encoding="utf-8")

    back = carnet("codes", "import", "units.json", cwd=tmp_path)

    assert (out.code, back.code) == (0, 0)
    made = json.loads(out.out)
    assert (made["resourceType"], made["name"]) == ("ConceptMap", "UnitsToUcum")
    rows = [line for line in UNITS.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert len(back.out.splitlines()) == len(rows) + 1, "a row more: the URL, as a comment"
    assert ",µmol/L,,umol/L,,equivalent," in back.out


def test_bytes_that_are_no_text_are_told_and_not_traced(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"from,to\n\xff,B\n")
    (tmp_path / "t.json").write_bytes(b"\xff{}")

    for command, name in (("export", "t.csv"), ("import", "t.json")):
        result = carnet("codes", command, name, cwd=tmp_path)

        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error ")
        assert name in result.err


def test_a_concept_map_that_is_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("[]", encoding="utf-8")

    result = carnet("codes", "import", "t.json", cwd=tmp_path)

    assert result.code == 2
    assert "conceptmap.invalid" in result.err
