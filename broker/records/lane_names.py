"""The name of a lane, as an operator copies it: `filing:9c2f…`, `outbound:dmp:…`. Pure.

Stable, and without a patient's identifier: the number of a filing lane is a keyed digest, that of an outbound lane the
record's internal number. A destination that writes to recipients has a lane for each of them, whose name ends in a
digest of the address: `outbound:mssante:…:…`. Without it the name means all of the patient's lanes there.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from broker.errors import SetupError
from broker.values import Lane

Kind = Literal["filing", "outbound"]

_NAME = re.compile(r"(?:(filing)|(outbound):([^:]+)):([0-9a-f]{16})(?::([0-9a-f]{16}))?")
_TURN = 1 << 64


@dataclass(frozen=True, slots=True, order=True)
class LaneName:
    """One lane: of filing (`destination` is empty), or of deliveries to a destination.

    recipient: the mark of the recipient (see `mark`) whose lane it is; empty where there are none, or for all of them
    """

    kind: Kind
    destination: str
    number: Lane
    recipient: str = ""

    def __str__(self) -> str:
        digits = f"{self.number % _TURN:016x}"
        if self.kind == "filing":
            return f"filing:{digits}"
        ends = f":{self.recipient}" if self.recipient else ""
        return f"outbound:{self.destination}:{digits}{ends}"


def filing(number: int) -> LaneName:
    """The lane in which a patient's messages are filed."""
    return LaneName("filing", "", Lane(number))


def outbound(destination: str, number: int, recipient: str = "") -> LaneName:
    """The lane in which a patient's deliveries to one destination leave, to one recipient where it writes to those."""
    return LaneName("outbound", destination, Lane(number), mark(recipient) if recipient else "")


def mark(recipient: str) -> str:
    """What stands for a recipient's address in a name: 16 hexadecimal digits."""
    return hashlib.sha256(recipient.encode()).hexdigest()[:16]


def parse(text: str) -> LaneName:
    """The lane of a name. Raises: SetupError("usage.lane") when it is none."""
    found = _NAME.fullmatch(text.strip())
    if found is None or (found[1] and found[5]):
        raise SetupError(
            "usage.lane",
            where="LANE",
            reason="not the name of a lane",
            hint="`carnet lanes list` and `carnet messages show ID` show names: filing:…, outbound:DESTINATION:…",
        )
    number = int(found[4], 16)
    signed = number - _TURN if number >= _TURN // 2 else number
    if found[1]:
        return filing(signed)
    return LaneName("outbound", found[3], Lane(signed), found[5] or "")
