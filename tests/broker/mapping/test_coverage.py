"""Coverage of HL7v2: what is populated and not read is listed; what is read under a false `when` counts as unread."""

from __future__ import annotations

from pathlib import Path

from engine import CONTEXT, MSH, mapped, mapping_set
from hypothesis import given
from hypothesis import strategies as st

from broker.mapping.coverage import Suspects, reads_of, unread, unread_fast
from broker.parsing import hl7v2

MSH_FIELDS = "ignore:\n  - path: MSH\n    reason: not looked at here\n"


def _unread(folder: Path, rules: str, *segments: str) -> list[str]:
    return mapped(folder, MSH_FIELDS + rules, *segments, coverage=True).unread


def test_a_field_under_a_false_when_is_unread(tmp_path: Path) -> None:
    rules = "document:\n  title:\n    from: PID-18\n    when: PID-8 = 'F'\n"

    assert _unread(tmp_path, rules, "PID|1|||||||M||||||||||N") == ["PID-18"]


def test_a_segment_that_no_loop_reaches_is_unread(tmp_path: Path) -> None:
    rules = "document:\n  comments: NTE-3[1]\n"

    assert _unread(tmp_path, rules, "NTE|1||one", "NTE|2||two") == ["NTE-3"]


def test_an_alternative_that_was_not_needed_is_read(tmp_path: Path) -> None:
    rules = "document:\n  title:\n    first_of:\n      - PID-18\n      - PID-19\n"

    assert _unread(tmp_path, rules, "PID|1|||||||||||||||||A|B") == []


def test_a_second_repetition_that_no_rule_reads_is_unread(tmp_path: Path) -> None:
    rules = "document:\n  patient:\n    names: PID-5[1]\n    phones: PID-13[*]\n"

    assert _unread(tmp_path, rules, "PID|1||||A^B~C^D||||||||1~2") == ["PID-5[2]"]


def test_components_of_a_field_read_in_part_are_unread(tmp_path: Path) -> None:
    rules = "document:\n  title: OBR-4.2\n"

    assert _unread(tmp_path, rules, "OBR|1|||X^Y^L") == ["OBR-4.1", "OBR-4.3"]


def test_an_ignored_field_hides_its_components_and_repetitions(tmp_path: Path) -> None:
    rules = "  - path: OBR-4\n    reason: test\n  - path: OBR-16[2]\n    reason: test\n"
    rules += "document:\n  title: OBR-4.2\n  authors: OBR-16[1]\n"

    assert _unread(tmp_path, rules, "OBR|1|||X^Y^L||||||||||||A~B") == []


def test_what_is_unread_is_kept_where_the_mapping_says_so(tmp_path: Path) -> None:
    rules = MSH_FIELDS + "defaults:\n  keep_unread: true\ndocument:\n  title: PID-18\n"
    message = hl7v2.parse(f"{MSH}\rPID|1|||||||||||||||||A|B\\T\\C".encode())

    (found,) = mapping_set(tmp_path, rules).apply(message, CONTEXT).documents

    assert [(extra.source_path, extra.value) for extra in found.extras] == [("PID-19", "B&C")]


def test_nothing_of_one_patient_is_kept_in_the_document_of_another(tmp_path: Path) -> None:
    rules = MSH_FIELDS + (
        "defaults:\n  keep_unread: true\ngroups:\n  patient:\n    starts: PID\n"
        "documents:\n  - name: p\n    each: patient\n    fields:\n      title: PID-18\n"
    )
    message = hl7v2.parse(f"{MSH}\rPID|1|||||||||||||||||A|B\rPID|2|||||||||||||||||C|D".encode())

    documents = mapping_set(tmp_path, rules).apply(message, CONTEXT).documents

    assert [found.extras for found in documents] == [(), ()]


@given(st.lists(st.sampled_from(["", "a", "a~b", "^", "a^b", '""']), max_size=12))
def test_a_populated_field_is_read_or_listed(fields: list[str]) -> None:
    message = hl7v2.parse("\r".join([MSH, "|".join(["ZXX", *fields])]).encode())

    found = unread(message, reads_of({("ZXX", 1, 0)}, {("ZXX", 1)}), {"MSH"})

    wanted = [f"ZXX-{n}" for n, raw in enumerate(fields, 1) if n > 1 and raw.strip("^")]
    assert found == wanted


def test_a_message_that_becomes_nothing_on_purpose_keeps_nothing(tmp_path: Path) -> None:
    rules = MSH_FIELDS + (
        "defaults:\n  keep_unread: true\ndocuments:\n  - name: p\n    when: PID is present\n"
        "    allow_none: true\n    fields:\n      title: PID-18\n"
    )
    message = hl7v2.parse(f"{MSH}\rNTE|1||x".encode())

    assert mapping_set(tmp_path, rules).apply(message, CONTEXT).documents == []


def test_names_of_segments_that_nobody_knows_fill_no_memory() -> None:
    suspects = Suspects(reads_of([("PID", 3, 0)]), ())
    names = [f"Z{a}{b}" for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    body = MSH.encode() + b"".join(f"\r{name}|1|odd".encode() for name in names)

    found = unread_fast(hl7v2.parse(body), suspects, ())

    assert [path for path in found if path.endswith("-2")] == [f"{name}-2" for name in names]
    assert len(suspects) < len(names)
