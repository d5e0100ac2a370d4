"""Of a set that was proved before, a mapping is compiled when a message first needs it; of any other, all when it is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from engine import CONTEXT, MSH, mapping_set
from msgspec.structs import replace

from broker.errors import SetupError
from broker.mapping import catalogue, proved
from broker.parsing import hl7v2

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
ADMISSION = hl7v2.parse(f"{MSH.replace('ADT^A08', 'ADT^A08^ADT_A01')}\rPID|||1^^^H^PI\r".encode())
WRONG = "document:\n  titel: PID-3\n"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the mappings that are compiled from here on."""
    names: list[str] = []
    compile_entries = catalogue.compile_entries

    def watched(file, compiler, problems):  # type: ignore[no-untyped-def]
        names.append(file.name)
        return compile_entries(file, compiler, problems)

    monkeypatch.setattr(catalogue, "compile_entries", watched)
    return names


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """The set that comes with Carnet, elsewhere."""
    return Path(shutil.copytree(MAPPINGS, tmp_path / "mappings"))


def test_what_a_message_needs_is_compiled_and_nothing_else(
    shipped: Path, compiled: list[str]
) -> None:
    loaded = catalogue.load(shipped)
    assert loaded.hash == proved.SHIPPED
    assert compiled == []

    first = loaded.apply(ADMISSION, CONTEXT)
    again = loaded.apply(ADMISSION, CONTEXT)

    assert compiled == [first.mapping]
    assert again.documents == first.documents


def test_what_is_compiled_later_is_what_is_compiled_at_once(shipped: Path, tmp_path: Path) -> None:
    later = catalogue.load(shipped).apply(ADMISSION, CONTEXT, coverage=True)
    other = shutil.copytree(shipped, tmp_path / "other" / "mappings")
    (other / "tables" / "mine.csv").write_text("from,to\na,b\n")
    at_once = catalogue.load(other).apply(ADMISSION, CONTEXT, coverage=True)

    assert (later.mapping, later.unread, later.provenance, later.issues) == (
        at_once.mapping, at_once.unread, at_once.provenance, at_once.issues,
    )  # fmt: skip
    assert [replace(one, mapping=None) for one in later.documents] == [
        replace(one, mapping=None) for one in at_once.documents
    ]


def test_what_is_read_was_read_when_the_set_was_loaded(shipped: Path) -> None:
    """Between the hash of a set and the compilation of a mapping its files may be changed: they are not read again."""
    before = catalogue.load(shipped).apply(ADMISSION, CONTEXT)
    loaded = catalogue.load(shipped)
    for path in shipped.rglob("*.*"):
        if path.is_file():
            path.write_text("changed")

    assert loaded.apply(ADMISSION, CONTEXT).documents == before.documents


def test_a_set_with_one_more_file_is_compiled_whole(shipped: Path, compiled: list[str]) -> None:
    (shipped / "tables" / "mine.csv").write_text("from,to\na,b\n")

    loaded = catalogue.load(shipped)

    assert sorted(compiled) == sorted(loaded.mappings)


def test_lint_compiles_whatever_was_proved(shipped: Path, compiled: list[str]) -> None:
    found = catalogue.examine(shipped)

    assert found.hash == proved.SHIPPED
    assert sorted(compiled) == sorted(found.mappings)


def test_a_mistake_in_a_set_that_was_taken_as_proved_is_told_and_nothing_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, same = tmp_path / "wrong", tmp_path / "same"
    wrong.mkdir()
    with pytest.raises(SetupError, match="E102"):
        mapping_set(wrong, WRONG)
    shutil.copytree(wrong, same)
    monkeypatch.setattr(proved, "SHIPPED", catalogue.examine(wrong).hash)
    loaded = catalogue.load(same)

    for _ in range(2):
        with pytest.raises(SetupError, match="E102"):
            loaded.apply(ADMISSION, CONTEXT)
