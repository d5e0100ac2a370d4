"""What is replaced in each HL7v2 data type, component by component, and in the fields whose type says too little.

Data only. One letter a component; the last one holds for further components:
`K` kept (code, number, type); `V` kept but for names of people of the same file; `Y` a country, kept; `P` a title, kept
when it is short; `C` a coded value written in one component; `X` use or equipment of table 0201 or 0202, else words;
`W` words (names, identifiers, addresses); `F` free text; `D` date; `O` application, organisation or place; `A` universal
id of an authority; `U` unknown: only what is obviously no person is kept.
Source: HL7 v2.5.1 chapter 2A (components), with the withdrawn types of 2.1 to 2.3 (AD, CN, CK, PN, TN).
"""

from __future__ import annotations

_PLACE = "OOOOKKOOFWOAK"
_ADDRESS = "WWWWWYKWWWKDDDW"

COMPONENTS: dict[str, str] = {
    "AD": _ADDRESS,
    "AUI": "WDW",
    "CCD": "KD",
    "CF": "C",
    "CK": "WWKO",
    "CN": "WWWWWPPKO",
    "CNN": "WWWWWPPKOAK",
    "CX": "WWVOKODDCCWWU",
    "DDI": "KKK",
    "DIN": "DC",
    "DLD": "KD",
    "DLN": "WKD",
    "DR": "D",
    "DT": "D",
    "DTM": "D",
    "DTN": "KK",
    "EI": "WOAKU",
    "EIP": "WWU",
    "FC": "KD",
    "FT": "F",
    "HD": "OAK",
    "ICD": "KKD",
    "JCC": "KKF",
    "LA1": "OOOOKKOOW",
    "LA2": "OOOOKKOO" + _ADDRESS,
    "NDL": "WDDOOOOKOOO",
    "OCD": "KD",
    "OSP": "KDD",
    "PL": _PLACE,
    "PLN": "WKKD",
    "PN": "WWWWPP",
    "PPN": "WWWWWPPKOKWKKODKDKDDWCC",
    "PRL": "KWF",
    "QIP": "KU",
    "RP": "WOKK",
    "SAD": "W",
    "SPS": "CFFCCCC",
    "ST": "U",
    "TM": "K",
    "TN": "W",
    "TQ": "KKKDDKFFKKKK",
    "TS": "DU",
    "TX": "F",
    "UVC": "KK",
    "XAD": _ADDRESS,
    "XCN": "WWWWWPPKOKWKKOKCDKDDPCC",
    "XON": "OVOOVOVOKO",
    "XPN": "WWWWPPKKCDKDDKW",
    "XTN": "WXXWWWWWFWWWFCCDDC",
}
"""Types that are not here (`SN`, `CQ`, `MO`, `MSG`, ...) hold numbers and codes of the standard: `V`."""

CODED = frozenset({"CE", "CWE", "CNE", "CF"})
PEOPLE = frozenset({"CN", "CNN", "NDL", "PN", "PPN", "XCN", "XPN"})
CODES = frozenset({"ID", "IS"})

FIELDS: dict[str, str] = {
    **{f"{name}-{n}": "O" for name in ("MSH", "FHS", "BHS") for n in (3, 4, 5, 6)},
    **{f"{name}-{n}": "W" for name in ("FHS", "BHS") for n in (9, 11, 12)},
    **{f"{name}-10": "F" for name in ("FHS", "BHS")},
    "AL1-5": "F",
    "BTS-2": "F",
    "DG1-4": "F",
    "ERR-8": "F",
    "IAM-5": "F",
    "MSA-2": "W",
    "MSA-3": "F",
    "MSH-8": "K",
    "MSH-9": "K",
    "MSH-10": "W",
    "MSH-11": "K",
    "MSH-12": "K",
    "MSH-21": "V",
    "OBX-4": "K",
    "OBX-7": "K",
    "PID-12": "W",
    "PID-19": "W",
    "PID-23": "W",
    "PR1-4": "F",
    "QPD-2": "W",
    "SFT-1": "OVOOVOVOKO",
    "SFT-2": "K",
    "SFT-3": "K",
    "SFT-4": "K",
    "SFT-5": "K",
    "TXA-25": "F",
}
"""What holds for these fields instead of their type."""

_TELECOM_CODES = (
    "PRN ORN WPN VHN ASN EMR NET BPN PRS PH FX MD CP BP INTERNET X.400 TDD TTY SAT FAX CELL"
)
TELECOM = frozenset(_TELECOM_CODES.split())
"""Codes of tables 0201 and 0202, and two words senders use in their place."""

NATIONAL = frozenset(
    {
        "ASIP-SANTE-INS-NIR", "ASIP-SANTE-INS-NIA", "ASIP-SANTE-INS-C", "ASIP-SANTE-PS", "ASIP-SANTE-ST",
        "ASIP-SANTE", "ANS", "INS-NIR", "INS-NIA", "RPPS", "ADELI", "FINESS", "SIRET", "SSA", "SSN", "NPI", "CLIA",
        "USSSA",
    }
)  # fmt: skip
"""Authorities of a whole country: they say what a number is, not whose hospital it comes from."""
