"""A mapping that cannot apply is not tried, and one that can is never left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine import CONTEXT
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.mapping.catalogue import load
from broker.mapping.run import Run
from broker.mapping.selection import Types, looks_at_kind_only, types_of
from broker.parsing import hl7v2

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
SET = load(MAPPINGS)


@pytest.mark.parametrize(
    ("condition", "types"),
    [
        ("MSH-9.1 = 'ADT' and PID is present", Types(frozenset(["ADT"]))),
        ("MSH-9.1 in ('A', 'B') and MSH-9.1 != 'B'", Types(frozenset("AB"), frozenset("B"))),
        ("PID is missing and MSH-9.1 not in ('A', 'B')", Types(None, frozenset("AB"))),
        ("MSH-9.1 = 'A' or MSH-9.1 = 'B'", Types()),
        ("not MSH-9.1 = 'A'", Types()),
        ("(MSH-9.1 = 'A' or PID is present) and MSH-9.1 = 'B'", Types(frozenset("B"))),
        ("MSH-9.1 like 'A*'", Types()),
        ("PID-8 = 'MSH-9.1'", Types()),
        ("MSH-9.1 = '", Types()),
    ],
)
def test_only_what_every_message_must_satisfy_narrows(condition: str, types: Types) -> None:
    assert types_of(condition) == types


@pytest.mark.parametrize(
    ("condition", "is_so"),
    [
        ("MSH-9.1 = 'ADT' and MSH-9.2 != 'A17' and PID is present", True),
        ("MSH-9.1 = 'ADT' and MSH-4.1 = 'HOPITAL_ESSAI'", False),
        ("PID is present and PID-3 is present", False),
        ("MSH-91 = '1'", False),
    ],
)
def test_a_verdict_is_remembered_where_messages_of_one_kind_are_the_same(
    condition: str, is_so: bool
) -> None:
    assert looks_at_kind_only(condition) is is_so


_TYPES = st.sampled_from(
    ["ADT", "ORU", "ORM", "OML", "OUL", "MDM", "RSP", "VXU", "SIU", "ZAM", "MFN", "ACK", "", "XXX"]
)
_EVENTS = st.sampled_from(["A01", "R01", "R22", "R24", "O21", "O33", "K22", "Z01", ""])
_SEGMENTS = st.lists(
    st.sampled_from(["PID|1||1", "OBR|1|||X", "OBX|1|ST|X||v", "RXA|0|1|2024||140", "SPM|1"]),
    max_size=4,
)


@settings(deadline=None)  # a set compiles a mapping when it is first asked for
@given(kind=_TYPES, event=_EVENTS, segments=_SEGMENTS)
def test_every_mapping_that_applies_is_a_candidate(
    kind: str, event: str, segments: list[str]
) -> None:
    head = rf"MSH|^~\&|A|B|C|D|20240309||{kind}^{event}|1|P|2.5"
    message = hl7v2.parse("\r".join([head, *segments]).encode())
    run = Run(message, CONTEXT)

    applying = {
        mapping.name
        for mapping in SET.mappings.values()
        if mapping.format == "hl7v2" and mapping.applies(run, mapping.selector.start(run, message))
    }
    candidates = {
        mapping.name
        for mapping in SET.mappings.values()
        if mapping.format == "hl7v2" and mapping.types.can_be(kind)
    }

    assert applying <= candidates
    assert SET.mapper.select(run, message).name in applying
