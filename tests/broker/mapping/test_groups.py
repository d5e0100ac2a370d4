"""Segment groups and static scoping: nothing lost, nothing borrowed."""

from __future__ import annotations

from pathlib import Path

from engine import document, mapped

GROUPS = """groups:
  order:
    starts: ORC, OBR
    contains: NTE
    groups:
      specimen:
        starts: SPM
      observation:
        starts: OBX
        contains: NTE
document:
  reports:
    each: order
    fields:
      code: OBR-4
      placer_order: ORC-2
      notes: NTE-3[*]
      specimens:
        each: specimen
        fields:
          type: SPM-4
      observations:
        each: observation
        fields:
          code: OBX-3
          notes: NTE-3[*]
          observed_at: OBR-7
"""


def test_an_orc_opens_and_the_obr_after_it_joins(tmp_path: Path) -> None:
    found = document(
        tmp_path, GROUPS, "ORC|RE|1", "OBR|1|||A", "OBR|2|||B", "ORC|RE|2", "OBR|3|||C"
    )

    codes = [r.code.codings[0].code for r in found.reports if r.code]
    placers = [r.placer_order.value if r.placer_order else "" for r in found.reports]
    assert codes == ["A", "B", "C"]
    assert placers == ["1", "", "2"]


def test_an_observation_without_note_never_borrows_the_orders(tmp_path: Path) -> None:
    found = document(
        tmp_path, GROUPS, "OBR|1|||A", "NTE|1||order", "OBX|1|ST|X", "OBX|2|ST|Y", "NTE|1||own"
    )

    (report,) = found.reports
    assert report.notes == ("order",)
    assert [o.notes for o in report.observations] == [(), ("own",)]


def test_a_name_no_inner_group_lists_is_read_from_the_enclosing_one(tmp_path: Path) -> None:
    found = document(
        tmp_path, GROUPS, "OBR|1|||A|||2023", "OBX|1|ST|X", "OBR|2|||B|||2024", "OBX|1|ST|Y"
    )

    times = [o.observed_at.value for r in found.reports for o in r.observations if o.observed_at]
    assert times == ["2023", "2024"]


def test_an_obx_after_a_specimen_still_counts(tmp_path: Path) -> None:
    found = document(tmp_path, GROUPS, "OBR|1|||A", "OBX|1|ST|X", "SPM|1|||BLD", "OBX|2|ST|Y")

    assert [len(r.observations) for r in found.reports] == [2]
    assert len(found.reports[0].specimens) == 1


def test_an_observation_without_order_opens_its_group_implicitly(tmp_path: Path) -> None:
    found = document(tmp_path, GROUPS, "OBX|1|ST|X")

    assert [len(r.observations) for r in found.reports] == [1]


def test_a_segment_nobody_expected_is_shown_by_coverage(tmp_path: Path) -> None:
    result = mapped(tmp_path, GROUPS, "OBR|1|||A", "ZXX|1|v", coverage=True)

    assert "ZXX-2" in result.unread


def test_records_get_an_id_that_is_stable_inside_the_document(tmp_path: Path) -> None:
    found = document(tmp_path, GROUPS, "OBR|1|||A", "OBX|1|ST|X", "OBX|2|ST|Y")

    assert [o.id for o in found.reports[0].observations] == ["obs-1-1", "obs-1-2"]
