"""Who gave an identifier is remembered by the text behind its value, and that changes no identifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine import CONTEXT
from hypothesis import given
from hypothesis import strategies as st

from broker.mapping import shapes_hl7v2, systems
from broker.mapping.run import Run
from broker.parsing import hl7v2

SYSTEMS = systems.parse(
    (Path(__file__).resolve().parents[3] / "mappings/tables/systems.csv").read_text("utf-8")
)
_PARTS = st.sampled_from(
    ["", "HOPITAL", "HOPITAL&1.2.3&ISO", "ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.8&ISO", "INS", "PI",
     "20240309", "not a date", r"A\T\B", '""', "&urn:x&"]
)  # fmt: skip
_VALUES = st.sampled_from(["1", " 279035121518989 ", r"a\S\b", '""', "", "1&2"])
_HEADS = st.sampled_from([r"|^~\&", "|$~*!"])


@pytest.mark.parametrize("shape", [shapes_hl7v2.cx, shapes_hl7v2.ei])
@given(
    head=_HEADS,
    value=_VALUES,
    parts=st.lists(_PARTS, max_size=8),
    level=st.sampled_from([0, 1]),
    authority=st.sampled_from(["", "1.2.250.1.999.1"]),
)
def test_the_second_identifier_of_an_issuer_is_read_as_the_first(
    shape: Any, head: str, value: str, parts: list[str], level: int, authority: str
) -> None:
    message = hl7v2.parse(f"MSH{head}|A|B|C|D|20240309||ADT^A01|1|P|2.5".encode())
    text = "^".join([value, *parts])

    def read() -> tuple[Any, Any]:
        run = Run(message, CONTEXT, SYSTEMS)
        run.assigning_authority = authority
        return shape(run, text, level), run.issues

    shapes_hl7v2._ISSUERS.clear()
    first = read()

    assert read() == first
