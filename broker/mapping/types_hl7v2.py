"""Which HL7v2 data types a model type can be made from, so that a name read as a date is a mistake and not silence.

For the HL7v2 source. Only whole fields are judged: the tables do not tell the type of each component.
Source: HL7 v2.5.1 chapter 2A; the older types (CM, CN, PN, TN, AD) are those of versions 2.1 to 2.3.
"""

from __future__ import annotations

from typing import Any

from broker.document import (
    Address,
    Attachment,
    Author,
    Coded,
    Contact,
    Device,
    Identifier,
    Location,
    Organization,
    Participant,
    Period,
    Person,
    PersonName,
    Quantity,
    Range,
    Recipient,
    Telecom,
    When,
)

_ANY = frozenset({"", "-", "varies", "CM"})
"""A field of a Z segment, one the tables leave open, or one withdrawn: its sender decides."""
_WORDS = ("ID", "IS", "ST", "NM", "SI")
_PEOPLE = ("XCN", "CNN", "CN", "PPN", "NDL", "XPN")

_MADE_FROM: dict[Any, frozenset[str]] = {
    wanted: _ANY.union(types)
    for wanted, types in {
        Identifier: ("CX", "EI", "EIP", "HD", "XON", "XCN", "CK", "DLN", "CWE", "CE", *_WORDS),
        Coded: ("CE", "CWE", "CNE", "CF", "TX", "FT", "FC", "DLD", "CCD", "SPS", "JCC", *_WORDS),
        PersonName: (*_PEOPLE, "PN"),
        Person: _PEOPLE,
        Organization: ("XON", "HD", "ST", "IS", "EI", "CE", "CWE"),
        Address: ("XAD", "AD", "SAD", "LA1", "LA2"),
        Telecom: ("XTN", "TN", "ST"),
        When: ("TS", "DTM", "DT", "TM", "DR", "DTN"),
        Period: ("DR", "TS", "DTM", "DT"),
        Quantity: ("NM", "CQ", "SN", "SI", "ST", "CP", "MO"),
        Range: ("ST", "TX", "NR", "SN", "NM"),
        Location: ("PL", "LA1", "LA2", "CM", "ST", "IS"),
        Attachment: ("ED", "RP"),
        Author: _PEOPLE,
        Participant: _PEOPLE,
        Recipient: _PEOPLE,
        Contact: ("XPN", "PN"),
        Device: ("EI", "CE", "CWE", "ST"),
        bool: ("ID", "IS", "ST", "NM", "CE", "CWE", "CNE"),
        int: ("SI", "NM", "ST", "ID", "IS"),
    }.items()
}


def can_be(data_type: str, wanted: Any) -> bool:
    """Whether a field of this data type can become a value of this model type; a text can be made of any."""
    accepted = _MADE_FROM.get(wanted)
    return accepted is None or data_type in accepted
