"""Invented people, places and professionals for synthetic traffic. Nobody here exists.

Family names are trees and birds. Every number is impossible on purpose: INS keys are right, but under the test
authority and with commune 999, which no département has; RPPS numbers begin with the test range 8999; FINESS numbers
lie in département 99; local authorities are OIDs below 1.2.250.1.999, which is assigned to nobody.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

INS_TEST_OID = "1.2.250.1.213.1.4.10"
PERSON_OID = "1.2.250.1.71.4.2.1"
STRUCTURE_OID = "1.2.250.1.71.4.2.2"
SITE_OID = "1.2.250.1.999"
IPP_OID = f"{SITE_OID}.2"
STAY_OID = f"{SITE_OID}.3"
VISIT_OID = f"{SITE_OID}.4"

_FAMILIES = (
    "TILLEUL", "GENÊT", "ÉRABLE", "CHÂTAIGNIER", "LE FRÊNE", "D'AUBÉPINE", "NOISETIER", "BOULEAU-BLANC", "MÉLÈZE",
    "ALOUETTE", "GRÈBE", "HÉRON-CENDRÉ", "MÉSANGE", "PLUVIER", "RÂLE", "SARCELLE", "TOURTERELLE", "VANNEAU",
)  # fmt: skip
_WOMEN = (
    "ÉLODIE",
    "ANAÏS",
    "CHLOÉ",
    "INÈS",
    "MARIE-LOUISE",
    "NOÉMIE",
    "ZOÉ",
    "ANNE",
    "HÉLÈNE",
    "JOSÉPHINE",
)
_MEN = (
    "FRANÇOIS",
    "JÉRÔME",
    "LOÏC",
    "NOËL",
    "JEAN-BAPTISTE",
    "RENÉ",
    "THÉO",
    "PAUL",
    "ÉTIENNE",
    "ANDRÉ",
)
_STREETS = (
    "RUE DES ÉGLANTIERS",
    "ALLÉE DU CHÂTEAU D'EAU",
    "PLACE DE LA FORÊT",
    "CHEMIN DE L'ÎLE",
    "QUAI DES SORBIERS",
)
_TOWNS = (
    ("99100", "VILLENEUVE-L'INVENTÉE"),
    ("99240", "SAINT-EXEMPLE"),
    ("99370", "FONTAINE-LÈS-MODÈLES"),
)


@dataclass(frozen=True, slots=True)
class Person:
    """One invented patient: strict traits of the INS, and what a hospital adds."""

    family: str
    used: str
    given: tuple[str, ...]
    birth: str
    sex: str
    birthplace: str
    ins: str
    ipp: str
    street: str
    postal: str
    town: str

    @property
    def mail(self) -> str:
        """Address of the patient's secure mailbox: the INS is its name."""
        return f"{self.ins}@patient.mssante.fr"


@dataclass(frozen=True, slots=True)
class Professional:
    """One invented professional and the structure they work in."""

    rpps: str
    family: str
    given: str
    code: str
    display: str
    structure: str
    finess: str
    facility: str
    facility_display: str
    setting: str
    setting_display: str


PHYSICIAN = Professional(
    "899900000011", "SORBIER", "Anne", "G15_10/SM26", "Médecin - Qualifié en Médecine Générale (SM)",
    "Hôpital de Saint-Exemple", "990000017", "SA01", "Etablissement public de santé",
    "ETABLISSEMENT", "Etablissement de santé",
)  # fmt: skip
BIOLOGIST = Professional(
    "899900000029", "CORMIER", "Luc", "G15_10/SM03", "Médecin - Biologie médicale (SM)",
    "Laboratoire des Modèles", "990000025", "SA25", "Laboratoire de biologie médicale",
    "AMBULATOIRE", "Ambulatoire",
)  # fmt: skip
RADIOLOGIST = Professional(
    "899900000037", "ALISIER", "Maud", "G15_10/SM44", "Médecin - Radio-diagnostic (SM)",
    "Hôpital de Saint-Exemple", "990000017", "SA01", "Etablissement public de santé",
    "ETABLISSEMENT", "Etablissement de santé",
)  # fmt: skip


def ins_key(thirteen: str) -> str:
    """The two-digit key of a 13-character NIR: 97 - (n mod 97), with 2A read as 19 and 2B as 18."""
    number = int(thirteen.replace("2A", "19").replace("2B", "18"))
    return f"{97 - number % 97:02d}"


def person(number: int) -> Person:
    """Patient number `number`; the same number is the same person, in every run."""
    chance = random.Random(number * 7919 + 1)  # noqa: S311 invented people are no secret
    sex = chance.choice("MF")
    names = _WOMEN if sex == "F" else _MEN
    given = tuple(chance.sample(names, 2))
    year, month, day = chance.randint(1931, 2020), chance.randint(1, 12), chance.randint(1, 28)
    department = (*range(1, 20), *range(21, 96))[
        number // 1000 % 94
    ]  # 94,000 people without a shared INS
    place = f"{department:02d}999"
    thirteen = f"{2 if sex == 'F' else 1}{year % 100:02d}{month:02d}{place}{number % 1000:03d}"
    family = chance.choice(_FAMILIES)
    postal, town = chance.choice(_TOWNS)
    return Person(
        family=family,
        used=chance.choice(_FAMILIES) if sex == "F" and chance.random() < 0.4 else family,
        given=given,
        birth=f"{year}{month:02d}{day:02d}",
        sex=sex,
        birthplace=place,
        ins=thirteen + ins_key(thirteen),
        ipp=f"7{number:08d}",
        street=f"{chance.randint(1, 120)} {chance.choice(_STREETS)}",
        postal=postal,
        town=town,
    )
