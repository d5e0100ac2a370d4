"""The rule keywords of the language, each by the smallest mapping that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine import CONTEXT, MSH, document, mapped, mapping_set

from broker.errors import MappingError
from broker.parsing import hl7v2

SEX = "from,to\nF,female\nM,male\n"


def test_first_of_takes_the_first_path_with_a_value(tmp_path: Path) -> None:
    rules = "document:\n  title:\n    first_of:\n      - PID-3\n      - PID-4\n"

    assert document(tmp_path, rules, "PID|||  |second").title == "second"


def test_null_stops_first_of_and_default_and_is_recorded_as_cleared(tmp_path: Path) -> None:
    rules = (
        "document:\n  title:\n    first_of:\n      - PID-3\n      - PID-4\n"
        "  patient:\n    sex:\n      from: PID-8\n      default: unknown\n    birth_date: PID-7\n"
    )

    found = document(tmp_path, rules, 'PID|||""|second|||19790328|""')

    assert found.title == ""
    assert found.patient is not None
    assert found.patient.sex == ""
    assert found.cleared == ("patient.sex", "title")


def test_a_null_component_is_nothing_and_never_two_quotes(tmp_path: Path) -> None:
    found = document(
        tmp_path, "document:\n  patient:\n    names: PID-5[*]\n", 'PID|||||""^Anne^^^^^D'
    )

    assert found.patient is not None
    assert found.patient.names[0].family == ""
    assert found.patient.names[0].given == ("Anne",)


def test_a_null_inside_a_loop_names_its_item(tmp_path: Path) -> None:
    rules = (
        "groups:\n  visit:\n    starts: PV1\n"
        "document:\n  encounters:\n    each: visit\n    fields:\n      class: PV1-2\n      location: PV1-3\n"
    )

    found = document(tmp_path, rules, "PV1|1|I|W1", 'PV1|2|I|""')

    assert found.cleared == ("encounters[2].location",)


def test_default_fills_a_missing_value(tmp_path: Path) -> None:
    rules = "document:\n  patient:\n    sex:\n      from: PID-8\n      default: unknown\n"

    found = document(tmp_path, rules, "PID|1")

    assert found.patient is not None
    assert found.patient.sex == "unknown"


def test_a_required_field_refuses_the_message_and_names_its_place(tmp_path: Path) -> None:
    rules = "document:\n  title:\n    from: PID-3\n    required: true\n"

    with pytest.raises(MappingError) as caught:
        document(tmp_path, rules, "PID|1||||SECRET")

    assert (caught.value.code, caught.value.where) == ("mapping.required", "PID-3")
    assert "SECRET" not in str(caught.value)


def test_a_wanted_field_that_is_missing_is_an_issue(tmp_path: Path) -> None:
    rules = "document:\n  title:\n    from: PID-3\n    required: warn\n"

    (issue,) = mapped(tmp_path, rules, "PID|1").issues

    assert (issue.code, issue.source_path, issue.target_path) == ("missing", "PID-3", "title")
    assert issue.rule.endswith("test.yaml:8:5")


@pytest.mark.parametrize(
    ("policy", "wanted"), [("keep", "X"), ("drop", ""), ("use unknown", "unknown")]
)
def test_a_code_without_a_row_follows_its_policy(tmp_path: Path, policy: str, wanted: str) -> None:
    rules = (
        "tables:\n  sex: sex.csv\ndocument:\n  language: = fr\n  patient:\n    sex:\n"
        f"      from: PID-8\n      table: sex\n      unmapped: {policy}\n"
    )

    result = mapped(tmp_path, rules, "PID||||||||X", sex_csv=SEX)

    patient = result.documents[0].patient
    assert (patient.sex if patient else "") == wanted
    assert [issue.code for issue in result.issues] == ["unmapped-code"]


def test_a_code_without_a_row_can_refuse_the_message_without_telling_it(tmp_path: Path) -> None:
    rules = (
        "tables:\n  sex: sex.csv\ndocument:\n  patient:\n    sex:\n      from: PID-8\n      table: sex\n"
        "      unmapped: reject\n"
    )

    with pytest.raises(MappingError) as caught:
        document(tmp_path, rules, "PID||||||||VALUE", sex_csv=SEX)

    assert caught.value.code == "mapping.unmapped_code"
    assert caught.value.where == "PID-8"
    assert "VALUE" not in str(caught.value)


def test_a_table_adds_a_translation_and_keeps_the_original_first(tmp_path: Path) -> None:
    rules = "tables:\n  lab: lab.csv\ndocument:\n  type_code:\n    from: OBR-4\n    table: lab\n"
    lab = (
        "source_system,source_code,target_system,target_code,target_display\n"
        "L,NA,http://loinc.org,2951-2,Sodium\n"
    )

    found = document(tmp_path, rules, "OBR||||NA^Natrémie^L", lab_csv=lab)

    assert found.type_code is not None
    assert [(c.code, c.role) for c in found.type_code.codings] == [
        ("NA", "original"),
        ("2951-2", "translation"),
    ]


def test_choose_takes_the_first_branch_that_fits(tmp_path: Path) -> None:
    rules = (
        "document:\n  title:\n    choose:\n      - when: PID-8 = 'F'\n        constant: she\n"
        "      - when: PID-8 in ('M', 'H')\n        from: PID-3\n      - constant: other\n"
    )

    assert document(tmp_path, rules, "PID|||x|||||F").title == "she"
    assert document(tmp_path, rules, "PID|||he|||||H").title == "he"
    assert document(tmp_path, rules, "PID|||x|||||").title == "other"


def test_a_template_is_missing_only_when_all_its_parts_are(tmp_path: Path) -> None:
    rules = 'document:\n  title:\n    template: "{PID-3} / {PID-4}"\n'

    assert document(tmp_path, rules, "PID|||a").title == "a /"
    assert document(tmp_path, rules, "PID|1").title == ""


def test_distinct_drops_identifiers_that_are_equal(tmp_path: Path) -> None:
    rules = "document:\n  patient:\n    identifiers:\n      from: PID-3[*]\n      distinct: true\n"

    found = document(tmp_path, rules, "PID|||1^^^A^PI~1^^^A^MR~1^^^B^PI")

    assert found.patient is not None
    assert [(i.system, i.value) for i in found.patient.identifiers] == [("A", "1"), ("B", "1")]


def test_not_equal_holds_for_a_missing_value(tmp_path: Path) -> None:
    rules = "document:\n  title:\n    when: PID-8 != 'F'\n    constant: kept\n"

    assert document(tmp_path, rules, "PID|1").title == "kept"
    assert document(tmp_path, rules, "PID||||||||F").title == ""


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("PID-8 = 'F' and PID-7 is present", True),
        ("PID-8 = 'M' or PID-7 like '1979*'", True),
        ("not (PID-8 = 'F')", False),
        ("PID-9 is missing and PID-10 is null and PID-10 is empty", True),
        ("PID-25 >= 2", True),
        ("PID-25 < 2", False),
        ("PID-3[*] = 'b'", True),
        ("PID-3[*] not in ('a', 'z')", False),
    ],
)
def test_conditions_say_what_they_read_like(tmp_path: Path, condition: str, holds: bool) -> None:
    rules = f"document:\n  title:\n    when: {condition}\n    constant: 'yes'\n"

    found = document(tmp_path, rules, 'PID|||a~b||||19790328|F||""' + "|" * 15 + "2")

    assert (found.title == "yes") is holds


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("PID-3", "a"),
        ("PID-3[2]", "b"),
        ("PID-3[last]", "c"),
        ("PID-3[9]", ""),
        ("PID-3[.5='PI']", "b"),
        ("PID-3[2].4.2", "1.2.3"),
        ("OBX[-3.1='K']-5", "found"),
        ("OBX[2]-5", "found"),
        ("MSH-1", "|"),
        ("MSH-9.2", "A08"),
        ("ZZZ-7", ""),
    ],
)
def test_paths_count_from_one_and_out_of_range_is_missing(
    tmp_path: Path, path: str, wanted: str
) -> None:
    rules = f'document:\n  title: "{path}"\n'
    pid = "PID|||a~b^^^N&1.2.3&ISO^PI~c"

    assert document(tmp_path, rules, pid, "OBX|1|ST|J||x", "OBX|2|ST|K||found").title == wanted


def test_odd_separators_are_used_as_declared(tmp_path: Path) -> None:
    message = hl7v2.parse(b"MSH#!@%*#A#B#C#D#2024##ADT!A08#1#P#2.5\rPID###x!!!N*1.2*ISO!PI@y")
    rules = "document:\n  patient:\n    identifiers: PID-3[*]\n"

    (found,) = mapping_set(tmp_path, rules).apply(message, CONTEXT).documents

    assert found.patient is not None
    assert [(i.value, i.oid) for i in found.patient.identifiers] == [("x", "1.2"), ("y", "")]


def test_a_result_that_is_not_of_its_type_is_kept_as_text_with_an_issue(tmp_path: Path) -> None:
    rules = (
        "groups:\n  observation:\n    starts: OBX\n"
        "document:\n  observations:\n    each: observation\n    fields:\n      value: OBX-5\n"
    )

    result = mapped(tmp_path, rules, "OBX|1|NM|X||neg", "OBX|2|NM|X||1.950", "OBX|3|NM|X||<5")

    values = [o.value for o in result.documents[0].observations]
    assert values[0] is not None
    assert values[0].text == "neg"
    assert values[1] is not None
    assert values[1].quantity is not None
    assert values[1].quantity.value == "1.950"
    assert values[2] is not None
    assert values[2].quantity is not None
    assert (values[2].quantity.comparator, values[2].original) == ("<", "<5")
    assert [issue.code for issue in result.issues] == ["value-not-numeric"]


def test_provenance_leads_to_the_rule_and_its_source(tmp_path: Path) -> None:
    rules = "document:\n  patient:\n    sex: PID-8\n"
    mappings = mapping_set(tmp_path, rules)
    result = mappings.apply(hl7v2.parse(f"{MSH}\rPID||||||||F".encode()), CONTEXT)

    (trace,) = mappings.explain(result, 0, "patient.sex")

    assert trace.source == "PID-8"
    assert trace.rule.endswith("test.yaml:8:10")


def test_coverage_lists_what_no_rule_reads_and_no_values(tmp_path: Path) -> None:
    rules = (
        "document:\n  patient:\n    birth_place: PID-11.3\n    names: PID-5[*]\n"
        "ignore:\n  - path: PID-2\n    reason: the old number\n"
    )

    result = mapped(
        tmp_path, rules, "PID|1|OLD|ID||N^G||||||street^^city|^^", "ZZZ|1|x", coverage=True
    )

    assert [p for p in result.unread if not p.startswith("MSH")] == [
        "PID-3",
        "PID-11.1",
        "ZZZ-1",
        "ZZZ-2",
    ]


def test_no_mapping_for_a_message_is_said_at_msh_9(tmp_path: Path) -> None:
    mappings = mapping_set(tmp_path, "document:\n  title: PID-3\n")

    with pytest.raises(MappingError) as caught:
        mappings.apply(hl7v2.parse(b"MSH|^~\\&|A|B|C|D|||"), CONTEXT)

    assert (caught.value.code, caught.value.where) == ("mapping.none", "MSH-9")


def test_the_same_message_and_set_make_the_same_document(tmp_path: Path) -> None:
    rules = "document:\n  patient:\n    names: PID-5[*]\n"

    assert document(tmp_path, rules, "PID|||||N^G") == document(tmp_path, rules, "PID|||||N^G")


def test_what_has_to_agree_is_a_choice_that_is_required(tmp_path: Path) -> None:
    rules = (
        "document:\n  event:\n    operation:\n      required: true\n"
        "      comment: PID-8 and PID-15 have to say the same\n      choose:\n"
        "        - when: PID-8 = 'M' and PID-15 != 'F'\n          constant: create\n"
        "        - when: PID-8 = 'F' and PID-15 != 'M'\n          constant: update\n"
    )

    with pytest.raises(MappingError) as caught:
        document(tmp_path, rules, "PID|1|||||||M|||||||F")

    assert (caught.value.code, caught.value.where) == ("mapping.required", "PID-8, PID-15")
    assert "needed for event.operation: PID-8 and PID-15 have to say the same" in str(caught.value)


def test_a_table_in_block_form_has_a_default_of_its_own(tmp_path: Path) -> None:
    rules = (
        "tables:\n  sex:\n    file: sex.csv\n    unmapped: drop\n    default: unknown\n"
        "document:\n  title: PID-18\n  patient:\n    sex:\n      from: PID-8\n      table: sex\n"
    )

    found = document(tmp_path, rules, "PID|1", sex_csv=SEX)

    assert found.patient is not None
    assert found.patient.sex == "unknown"


def test_an_identifier_without_authority_takes_the_default_one(tmp_path: Path) -> None:
    rules = (
        "defaults:\n  assigning_authority: 1.2.3.4\n"
        "document:\n  patient:\n    identifiers: PID-3[*]\n"
    )

    found = document(tmp_path, rules, "PID|1||77~8^^^B")

    assert found.patient is not None
    assert [(one.value, one.system) for one in found.patient.identifiers] == [
        ("77", "1.2.3.4"),
        ("8", "B"),
    ]


def test_the_separators_themselves_can_be_read(tmp_path: Path) -> None:
    found = document(tmp_path, "document:\n  title: MSH-2\n  comments: MSH-1\n", "PID|1")

    assert (found.title, found.comments) == ("^~\\&", "|")
