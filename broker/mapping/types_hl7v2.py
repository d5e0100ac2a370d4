"""Which HL7v2 data types a model type can be made from, so that a name read as a date is a mistake and not silence.

For the HL7v2 source. Whole fields are judged, and the components whose type matters to a shape.
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
        Identifier: (
            "CX",
            "EI",
            "EIP",
            "HD",
            "XON",
            "XCN",
            "CK",
            "DLN",
            "PLN",
            "CWE",
            "CE",
            *_WORDS,
        ),
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


_COMPONENTS = {
    "CX": {4: "HD", 6: "HD", 9: "CWE", 10: "CWE"},
    "EIP": {1: "EI", 2: "EI"},
    "NDL": {1: "CNN", 2: "TS", 3: "TS"},
    "PRL": {1: "CE", 2: "ST", 3: "TX"},
    "SPS": {1: "CWE", 2: "CWE", 3: "TX", 4: "CWE", 5: "CWE", 6: "CWE", 7: "CWE"},
    "DLD": {1: "CWE", 2: "TS"},
    "TQ": {1: "CQ", 4: "TS", 5: "TS"},
    "XON": {6: "HD"},
}
"""Types of components, by the type of the field."""


def component_type(data_type: str, component: int) -> str:
    """The type of a component; empty where it is not needed or not known."""
    return _COMPONENTS.get(data_type, {}).get(component, "")


def made_from(wanted: Any) -> frozenset[str]:
    """The data types a model type can be made from; none where any will do."""
    return _MADE_FROM.get(wanted, frozenset())


def can_be(data_type: str, wanted: Any) -> bool:
    """Whether a value of this data type can become a value of this model type; a text can be made of any."""
    accepted = _MADE_FROM.get(wanted)
    return accepted is None or data_type in accepted
