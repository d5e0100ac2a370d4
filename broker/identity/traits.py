"""The strict traits of an identity, as a keyed digest: who might be the same person is looked up, never compared.

Pure. Birth name, first given name of birth, birth date and sex; the birthplace is left out, since half of the
senders leave it out. A digest names nobody and decides nothing: it only makes candidates for a person to look at.
Source: référentiel INS (traits stricts); RNIV.
"""

from __future__ import annotations

import re
import unicodedata

from broker.document import Patient
from broker.values import digest64

_NOT_A_LETTER = re.compile(r"[^A-Z]+")


def strict_digest(patient: Patient | None, secret: bytes) -> int | None:
    """The digest of a patient's strict traits under the installation's secret; None where one is missing."""
    if patient is None or patient.birth_date is None or len(patient.birth_date.value) < 10:
        return None
    if patient.sex not in ("male", "female"):
        return None
    name = next((one for one in patient.names if one.use == "birth" and one.family), None)
    if name is None:
        return None
    given = name.birth_given or next(iter(name.given), "")
    family, first = written(name.family), written(given)
    if not family or not first:
        return None
    traits = f"{family}|{first}|{patient.birth_date.value[:10]}|{patient.sex}"
    return digest64(traits.encode(), secret)


def written(name: str) -> str:
    """A name as the INSi service compares it: capitals, no accents, one blank for whatever stands between letters."""
    if name.isascii():
        plain = name.upper()
    else:
        plain = unicodedata.normalize("NFKD", name.replace("œ", "oe").replace("æ", "ae"))
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter)).upper()
    return _NOT_A_LETTER.sub(" ", plain).strip()
