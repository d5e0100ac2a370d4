"""The French national health identity (INS): its OIDs and the check of its number.

An INS is a 15-character matricule (NIR or NIA with its key) plus the OID that says which kind it is.
Source: référentiel INS (ANS); layout and key of the NIR (INSEE).
"""

from __future__ import annotations

import re

NIR = "1.2.250.1.213.1.4.8"
NIA = "1.2.250.1.213.1.4.9"
TEST = "1.2.250.1.213.1.4.10"
DEMONSTRATION = "1.2.250.1.213.1.4.11"
ARC = "1.2.250.1.213.1.4."
"""All INS authorities, among them old and unlisted ones (`.2` was the calculated INS-C)."""

KINDS = {NIR: "INS-NIR", NIA: "INS-NIA", TEST: "INS-NIR", DEMONSTRATION: "INS-NIR"}
SYSTEM_KEYS = {
    "ins_nir": NIR,
    "ins_nia": NIA,
    "ins_nir_test": TEST,
    "ins_test": TEST,
    "ins_nir_demo": DEMONSTRATION,
}
_LAYOUT = re.compile(r"[1-8]\d{4}(?:\d{2}|2[AB])\d{8}", re.ASCII)


def kind(oid: str) -> str:
    """`INS-NIR` or `INS-NIA` for the OIDs of the INS (test and demonstration ones too), else empty."""
    return KINDS.get(oid, "")


def is_test(oid: str) -> bool:
    """Whether numbers of this authority name nobody real: refused in production."""
    return oid in (TEST, DEMONSTRATION)


def key_of(matricule13: str) -> int:
    """The key of the first 13 characters: 97 - (n mod 97), Corsica's 2A read as 19 and 2B as 18 (INSEE)."""
    department = {"2A": "19", "2B": "18"}.get(matricule13[5:7], matricule13[5:7])
    return 97 - int(matricule13[:5] + department + matricule13[7:]) % 97


def is_valid(matricule15: str) -> bool:
    """Whether these are 15 characters in the right layout with the right key.

    Sex, month and place in the number are not compared with the traits: people change sex, and are born abroad.
    """
    if _LAYOUT.fullmatch(matricule15) is None:
        return False
    return key_of(matricule15[:13]) == int(matricule15[13:])
