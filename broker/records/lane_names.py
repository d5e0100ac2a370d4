"""The name of a lane, as an operator copies it: `filing:9c2f…`, `outbound:dmp:…`. Pure.

Stable, and without a patient's identifier: the number of a filing lane is a keyed digest, that of an outbound lane the
record's internal number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from broker.errors import SetupError
from broker.values import Lane

Kind = Literal["filing", "outbound"]

_NAME = re.compile(r"(?:(filing)|(outbound):(.+)):([0-9a-f]{16})")
_TURN = 1 << 64


@dataclass(frozen=True, slots=True, order=True)
class LaneName:
    """One lane: of filing (`destination` is empty), or of deliveries to a destination."""

    kind: Kind
    destination: str
    number: Lane

    def __str__(self) -> str:
        digits = f"{self.number % _TURN:016x}"
        return (
            f"filing:{digits}" if self.kind == "filing" else f"outbound:{self.destination}:{digits}"
        )


def filing(number: int) -> LaneName:
    """The lane in which a patient's messages are filed."""
    return LaneName("filing", "", Lane(number))


def outbound(destination: str, number: int) -> LaneName:
    """The lane in which a patient's deliveries to one destination leave."""
    return LaneName("outbound", destination, Lane(number))


def parse(text: str) -> LaneName:
    """The lane of a name. Raises: SetupError("usage.lane") when it is none."""
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise SetupError(
            "usage.lane",
            where="LANE",
            reason="not the name of a lane",
            hint="`carnet lanes list` and `carnet messages show ID` show names: filing:…, outbound:DESTINATION:…",
        )
    number = int(found[4], 16)
    signed = number - _TURN if number >= _TURN // 2 else number
    return filing(signed) if found[1] else outbound(found[3], signed)
