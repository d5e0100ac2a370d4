"""Repetitions are read as the mapping says: the first, all, or all as lines of one text; never lost unsaid."""

from __future__ import annotations

from pathlib import Path

from engine import document, mapping_set

from broker.mapping.catalogue import examine


def _codes(folder: Path) -> list[str]:
    return [problem.code for problem in examine(folder).problems.found]


def test_all_repetitions_as_text_are_lines(tmp_path: Path) -> None:
    rules = "document:\n  comments:\n    from: NTE[*]-3[*]\n    as: text\n"

    found = document(tmp_path, rules, "NTE|1||one~two", "NTE|2||three\\.br\\four")

    assert found.comments == "one\ntwo\nthree\nfour"


def test_the_first_repetition_is_read_without_a_warning_when_it_is_asked_for(
    tmp_path: Path,
) -> None:
    rules = "document:\n  patient:\n    birth_date: PID-7\n    names: PID-5[1]\n"

    found = document(tmp_path, rules, "PID|1||||A~B||1979")

    assert found.patient is not None
    assert [name.family for name in found.patient.names] == ["A"]
    assert _codes(tmp_path) == []


def test_a_warning_is_no_obstacle(tmp_path: Path) -> None:
    mapping_set(tmp_path, "document:\n  patient:\n    names: PID-5\n")

    assert _codes(tmp_path) == ["W310"]


def test_a_result_value_reads_all_repetitions_by_itself(tmp_path: Path) -> None:
    rules = (
        "groups:\n  observation:\n    starts: OBX\n"
        "document:\n  observations:\n    each: observation\n    fields:\n      value: OBX-5\n"
    )

    found = document(tmp_path, rules, "OBX|1|TX|X||one~two")

    assert found.observations[0].value is not None
    assert found.observations[0].value.text == "one\ntwo"
    assert _codes(tmp_path) == []


def test_a_result_whose_first_repetition_is_empty_keeps_the_others(tmp_path: Path) -> None:
    rules = (
        "groups:\n  observation:\n    starts: OBX\n"
        "document:\n  observations:\n    each: observation\n    fields:\n      value: OBX-5\n"
    )

    found = document(tmp_path, rules, "OBX|1|TX|X||~two~three")

    assert found.observations[0].value is not None
    assert found.observations[0].value.text == "two\nthree"


def test_many_repetitions_are_told_and_none_is_dropped(tmp_path: Path) -> None:
    rules = "document:\n  patient:\n    identifiers: PID-3[*]\n"

    found = document(tmp_path, rules, "PID|1||" + "~".join(str(number) for number in range(65)))

    assert found.patient is not None
    assert len(found.patient.identifiers) == 65
    assert [(issue.code, issue.source_path) for issue in found.issues] == [
        ("many-repetitions", "PID-3")
    ]
