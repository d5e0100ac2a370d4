"""A rule that is left out because its field is empty gives the same as if it had run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from engine import CONTEXT, MSH, mapping_set
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.mapping.catalogue import MappingSet
from broker.parsing import hl7v2

RULES = """groups:
  visit:
    starts: PV1
    contains: PV2
document:
  title:
    from: PID-18
    default: none
  patient:
    identifiers:
      - PID-3[*]
      - PID-4[*]
    birth_date: PID-7
    sex:
      choose:
        - when: PID-8 is missing
          constant: unknown
        - from: PID-8
    living_will: PD1-7
    occupations:
      - ZFP-1
      - ZFP-2
  encounters:
    each: visit
    fields:
      class: PV1-2
      reason:
        first_of:
          - PV2-3
          - PV1-18
      identifier: PID-18
      participants:
        - each: PV1-7[*]
          fields:
            role: = attending
            person: .
        - when: PD1-7 is present
          fields:
            function: PD1-7
"""

_FIELD = st.sampled_from(["", "", "A", "A~B", "A^B", '""', " ", "19790328"])


def _segment(name: str, size: int) -> st.SearchStrategy[str]:
    return st.lists(_FIELD, max_size=size).map(lambda fields: "|".join([name, *fields]))


_MESSAGES = st.lists(
    st.one_of(
        _segment("PID", 19),
        _segment("PD1", 8),
        _segment("PV1", 19),
        _segment("PV2", 4),
        _segment("ZFP", 3),
    ),
    max_size=6,
).map(lambda segments: "\r".join([MSH, *segments]).encode())


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> MappingSet:
    return mapping_set(tmp_path_factory.mktemp("set"), RULES)


@given(body=_MESSAGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_message_becomes_the_same_watched_or_not(rules: MappingSet, body: bytes) -> None:
    plain = rules.apply(hl7v2.parse(body), CONTEXT)
    watched = rules.apply(hl7v2.parse(body), CONTEXT, coverage=True)

    assert msgspec.json.encode(plain.documents) == msgspec.json.encode(watched.documents)
    assert plain.provenance == watched.provenance
    assert plain.issues == watched.issues


def test_what_is_cleared_is_told_in_the_order_of_its_paths(tmp_path: Path) -> None:
    found = mapping_set(tmp_path, RULES).apply(
        hl7v2.parse(f'{MSH}\rPID|1||""|""|||""\rPV1|1|""\rPD1|||||||""'.encode()), CONTEXT
    )

    assert found.documents[0].cleared == (
        "encounters[1].class",
        "patient.birth_date",
        "patient.identifiers",
        "patient.living_will",
    )
