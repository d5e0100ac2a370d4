"""The bounds of one message: what exceeds them is refused with its reason, never cut."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from engine import mapped, mapping_set

from broker.mapper import Given, Mapper

RULES = (
    "document:\n  observations:\n    each: OBX[*]\n    fields:\n      code: OBX-3\n  title: PID-3\n"
)
GIVEN = Given(message_id="0192f0c1-7c1a-7000-8000-000000000001")


def message(results: int) -> bytes:
    lines = [r"MSH|^~\&|A|B|C|D|20240309073500||ADT^A08|1|P|2.5", "PID|1||T"]
    lines += [f"OBX|{n}|NM|K{n}||1" for n in range(1, results + 1)]
    return "\r".join(lines).encode()


def test_a_message_that_takes_too_long_is_refused_and_not_cut(tmp_path: Path) -> None:
    ticking = count()
    mapper = Mapper(mapping_set(tmp_path, RULES), clock=lambda: float(next(ticking)))

    slow = mapper.read(message(64 * 10), GIVEN)
    quick = mapper.read(message(63), GIVEN)

    assert slow.failure is not None
    assert slow.failure.code == "mapping.too_long"
    assert slow.documents == []
    assert quick.failure is None
    assert len(quick.documents[0].observations) == 63


@pytest.mark.parametrize(
    ("text", "kept", "noted"),
    [
        (r"50\T\50", "50&50", False),
        (r"a\.br\b", "a\nb", False),
        (r"a\Q1\b", r"a\Q1\b", True),
        (r"a\b", r"a\b", True),
        ("\\E\\", "\\", False),
    ],
)
def test_an_unknown_escape_is_kept_and_noted(
    tmp_path: Path, text: str, kept: str, noted: bool
) -> None:
    found = mapped(tmp_path, "document:\n  title: PID-3\n", f"PID|1||{text}")

    assert found.documents[0].title == kept
    assert ("unknown-escape" in {issue.code for issue in found.issues}) is noted
