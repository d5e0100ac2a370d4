"""What makes synthetic documents as long as those of hospitals, and nearly as hard to pack: sentences, and grain of a picture.

Pure. A sentence has as much chance in it as makes Zstandard's first level keep a quarter of a letter; of real CDA it
keeps a third. Both are cut from a stock that is made once, since a benchmark wants hundreds a second.
"""

from __future__ import annotations

import random
import uuid
from functools import cache

_SENTENCES = 20_000
_GRAIN = 1 << 20

_WHAT = (
    "L'examen clinique", "La palpation abdominale", "L'auscultation pulmonaire", "L'auscultation cardiaque",
    "Le bilan biologique", "La radiographie de contrôle", "L'échographie", "Le scanner thoracique", "L'électrocardiogramme",
    "La tension artérielle", "La saturation", "La douleur", "La cicatrice", "Le drain", "La marche", "L'appétit",
    "Le sommeil", "Le transit", "La diurèse", "La température", "La fréquence cardiaque", "Le poids", "La mobilité de la hanche",
    "La force musculaire", "La sensibilité", "Le pansement", "La glycémie capillaire", "La surveillance infirmière",
)  # fmt: skip
_HOW = (
    "ne montre pas d'anomalie", "est sans particularité", "s'améliore nettement", "reste stable", "retrouve une gêne modérée",
    "est comparable à l'examen précédent", "évolue favorablement", "montre une diminution de l'œdème", "demande un contrôle",
    "a été vérifié deux fois", "est conforme à ce qui était attendu", "justifie la poursuite du traitement",
    "permet la reprise de l'alimentation", "autorise le lever", "ne contre-indique pas la sortie", "a motivé un avis spécialisé",
)  # fmt: skip
_THEN = (
    "le traitement antalgique est poursuivi", "les bas de contention sont conservés", "la rééducation débute le lendemain",
    "un contrôle biologique est prévu", "le patient a été informé", "la famille a été reçue", "l'antibiotique est arrêté",
    "la perfusion est retirée", "le régime est élargi", "une consultation est programmée", "les fils seront retirés en ville",
    "l'infirmière passera à domicile", "le médecin traitant est prévenu", "l'ordonnance est remise",
)  # fmt: skip
_UNITS = ("mmHg", "/min", "%", "mmol/L", "g/dL", "mg/L", "kg", "mL", "cm", "mm", "degrés")


def told(chance: random.Random, size: int) -> list[str]:
    """Sentences of about so many bytes in all, without blanks around them; none, and no chance drawn, for 0."""
    if size <= 0:
        return []
    stock = _stock()
    at, found, left = chance.randrange(len(stock)), [], size
    while left > 0:
        sentence = stock[at % len(stock)]
        found.append(sentence)
        left -= len(sentence) + 1
        at += 1
    return found


def grain(chance: random.Random, size: int) -> bytes:
    """So many bytes that nothing packs, as those of a compressed picture are; none, and no chance drawn, for 0."""
    if size <= 0:
        return b""
    stock = _noise()
    at = chance.randrange(len(stock))
    return (stock[at:] + stock * (1 + size // len(stock)))[:size]


@cache
def _stock() -> tuple[str, ...]:
    chance = random.Random(20_000)  # noqa: S311 synthetic text is no secret
    return tuple(_sentence(chance) for _ in range(_SENTENCES))


def _sentence(chance: random.Random) -> str:
    value = f"{chance.uniform(1, 180):.1f}".replace(".", ",")
    return (
        f"J{chance.randint(1, 30)} à {chance.randint(7, 21)} h {chance.randint(0, 59):02d} : {chance.choice(_WHAT)} "
        f"{chance.choice(_HOW)} ({value} {chance.choice(_UNITS)}), {chance.choice(_THEN)} "
        f"[acte {uuid.UUID(int=chance.getrandbits(128))}]."
    )


@cache
def _noise() -> bytes:
    return random.Random(20_001).randbytes(_GRAIN)  # noqa: S311 synthetic bytes are no secret
