"""Endless invented HL7v2 messages for the load generator, at about a microsecond each.

Everything that can be is rendered once: a patient's segments, a block of observations. A message is then one join of
some ready pieces around its control id. Structure: HL7 v2.5 chapters 3 and 7 with the French profile's fields
(IHE PAM France: ZBE, PID-32, qualified INS). Patients, stays and results are invented; the INS has the authority
reserved for tests (1.2.250.1.213.1.4.10) and a valid key.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

Message = tuple[bytes, bytes, tuple[int, int]]
"""Control id, MLLP frame, (patient, the patient's own count: 1, 2, …)."""

Next = Callable[[], Message | None]
"""The next message of a connection; None when there is no more."""

_SEED = 20_261_123
_START, _END = b"\x0b", b"\x1c\r"
_SYLLABLES = (
    "BA",
    "CO",
    "DU",
    "FRE",
    "GI",
    "LA",
    "MON",
    "NE",
    "PRO",
    "RI",
    "SAN",
    "TOU",
    "VAL",
    "ZE",
)
_GIVEN = ("ANNE", "BRUNO", "CHLOE", "DENIS", "ELISE", "FABIEN", "GAELLE", "HUGO", "INES", "JULIEN")
_WARDS = ("CARDIO", "CHIR", "GERIA", "MATER", "NEURO", "PNEUMO", "URGENCES")

# LOINC code, text, unit, reference range, lowest and highest invented value, decimals.
_TESTS = (
    ("718-7", "Hémoglobine", "g/dL", "12.0-16.0", 9, 18, 1),
    ("789-8", "Erythrocytes", "10*12/L", "4.00-5.20", 3, 6, 2),
    ("4544-3", "Hématocrite", "%", "36-46", 30, 52, 1),
    ("787-2", "VGM", "fL", "80-100", 74, 108, 1),
    ("785-6", "TCMH", "pg", "27-32", 24, 36, 1),
    ("786-4", "CCMH", "g/dL", "32-36", 30, 38, 1),
    ("6690-2", "Leucocytes", "10*9/L", "4.0-10.0", 2, 18, 1),
    ("751-8", "Polynucléaires neutrophiles", "10*9/L", "1.8-7.5", 1, 12, 2),
    ("731-0", "Lymphocytes", "10*9/L", "1.0-4.0", 0, 6, 2),
    ("742-7", "Monocytes", "10*9/L", "0.2-1.0", 0, 2, 2),
    ("777-3", "Plaquettes", "10*9/L", "150-400", 90, 520, 0),
    ("2951-2", "Sodium", "mmol/L", "136-145", 125, 152, 0),
    ("2823-3", "Potassium", "mmol/L", "3.5-5.1", 3, 6, 1),
    ("2075-0", "Chlorures", "mmol/L", "98-107", 90, 115, 0),
    ("2160-0", "Créatinine", "umol/L", "45-84", 35, 240, 0),
    ("3094-0", "Urée", "mmol/L", "2.5-7.8", 2, 20, 1),
    ("2345-7", "Glucose", "mmol/L", "3.9-5.8", 3, 14, 1),
    ("1742-6", "ALAT", "U/L", "7-35", 5, 180, 0),
    ("1920-8", "ASAT", "U/L", "13-35", 8, 170, 0),
    ("1988-5", "Protéine C réactive", "mg/L", "0-5", 0, 160, 1),
)
_BLOCKS = 64


_ID = b"%ID"
"""Stands in a ready text wherever the message's own number goes: `control_id.join(text.split(_ID))` fills all."""


@dataclass(frozen=True, slots=True)
class _Patient:
    """One invented patient: segments that stay the same."""

    pid: Callable[[str], bytes] = field(repr=False)
    plain_pid: bytes = field(repr=False)
    ward: str


class Shared:
    """Messages of one kind spread over all patients; all connections draw from it. Each is a new stay or report."""

    def __init__(self, run: str, limit: int, heads: list[bytes], tails: list[bytes]) -> None:
        self._run = run.encode()
        self._limit = limit
        self._sent = 0
        self._heads = [head.split(_ID) for head in heads]
        self._tails = tails

    def __call__(self) -> Message | None:
        number = self._sent
        if number >= self._limit:
            return None
        self._sent = number + 1
        # A stride through the patients: the messages of one are far apart, as they are between a hospital's wards.
        patient = number * 7919 % len(self._heads)
        control_id = b"%b%08d" % (self._run, number)
        frame = control_id.join(self._heads[patient]) + self._tails[number % len(self._tails)]
        return control_id, frame, (patient, number // len(self._heads) + 1)


def adt(run: str, patients: int, limit: int, now: datetime) -> Shared:
    """ADT^A01 of about 1 KB, each opening a new stay."""
    at = _stamp(now)
    heads = [
        _START
        + _msh("ADT^A01^ADT_A01", at)
        + _line("EVN", {2: at, 6: at})
        + patient.plain_pid
        + _line("PV1", _stay(patient.ward, at))
        + _line("PV2", {3: "^Surveillance après malaise", 8: at})
        + _line("ZBE", _movement(patient.ward, at))
        for patient in _patients(patients)
    ]
    return Shared(run, limit, heads, [_END])


def oru(run: str, patients: int, limit: int, now: datetime) -> Shared:
    """ORU^R01 with 20 OBX, about 3.1 KB, each a new report."""
    at = _stamp(now)
    placer = "%ID^HOPITAL_ESSAI^1.2.250.1.999.2^ISO"
    filler = "%ID^LABO_ESSAI^1.2.250.1.999.3^ISO"
    order = _line("ORC", {1: "RE", 2: placer, 3: filler, 5: "CM", 9: at})
    battery = {4: "58410-2^Hémogramme et ionogramme^LN", 7: at, 14: at, 22: at, 24: "LAB", 25: "F"}
    request = _line("OBR", {1: "1", 2: placer, 3: filler, **battery})
    heads = [
        _START
        + _msh("ORU^R01^ORU_R01", at)
        + patient.plain_pid
        + _line("PV1", {1: "1", 2: "I", 3: patient.ward})
        + order
        + request
        for patient in _patients(patients)
    ]
    return Shared(run, limit, heads, [block + _END for block in _observation_blocks(at)])


class A08Sequence:
    """ADT^A08 updates of some patients, numbered from 1 for each patient and sent in that order by one connection.

    The number of an update stands in PID-11 (`<n> RUE DE L'ESSAI`), in PV1-3.2 (the room) and, with the patient's
    number, in MSH-10: `<run>P<patient>N<n>`. A connection owns the patients whose number leaves its own index when
    divided by the number of connections, and goes round them.
    """

    def __init__(
        self, run: str, patients: int, limit: int, now: datetime, index: int, connections: int
    ) -> None:
        self._run = run
        self._mine = list(range(index, patients, connections))
        known = _patients(patients)
        self._patients = [known[number] for number in self._mine]
        share, left = divmod(limit, connections)
        self._limit = (share + (index < left)) if self._mine else 0
        self._sent = 0
        self._at = now

    def __call__(self) -> Message | None:
        if self._sent >= self._limit:
            return None
        turn, place = divmod(self._sent, len(self._mine))
        self._sent += 1
        number, patient = self._mine[place], self._patients[place]
        count = turn + 1
        control_id = f"{self._run}P{number:04d}N{count:05d}".encode()
        at = _stamp(self._at + timedelta(seconds=count))
        text = (
            _START
            + _msh("ADT^A08^ADT_A01", at)
            + _line("EVN", {2: at, 6: at})
            + patient.pid(f"{count} RUE DE L'ESSAI")
            + _line("PV1", {1: "1", 2: "I", 3: f"{patient.ward}^{count}", 19: f"S{number:06d}"})
            + _END
        )
        frame = control_id.join(text.split(_ID))
        return control_id, frame, (number, count)


def sources(
    kind: str, *, run: str, patients: int, limit: int, connections: int, now: datetime
) -> list[Next]:
    """One `Next` for each connection: `adt` and `oru` share one, `a08-sequence` has one each.

    `run` (at most 6 letters and digits) keeps the control ids of runs apart.
    """
    if kind == "a08-sequence":
        return [
            A08Sequence(run, patients, limit, now, index, connections)
            for index in range(connections)
        ]
    shared = (oru if kind == "oru" else adt)(run, patients, limit, now)
    return [shared] * connections


def _patients(count: int) -> list[_Patient]:
    """The same invented patients for the same count, whoever asks."""
    chance = random.Random(_SEED)
    return [_patient(number, chance) for number in range(count)]


def _patient(number: int, chance: random.Random) -> _Patient:
    male = chance.random() < 0.5
    born = date(1930, 1, 1) + timedelta(days=chance.randrange(33_000))
    name = "".join(chance.choices(_SYLLABLES, k=3))
    given = chance.choice(_GIVEN)
    department, town = chance.randrange(1, 96), chance.randrange(1, 900)
    body = f"{1 if male else 2}{born:%y%m}{department:02d}{town:03d}{number % 1000:03d}"
    ins = f"{body}{97 - int(body) % 97:02d}"
    fields = {
        1: "1",
        3: f"{ins}^^^ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.10&ISO^INS"
        f"~{number:08d}^^^HOPITAL_ESSAI&1.2.250.1.999.1&ISO^PI",
        5: f"{name}^{given}^{given}^^^^L",
        7: f"{born:%Y%m%d}",
        8: "M" if male else "F",
        13: f"^PRN^PH^^^^^^^^^01990000{number % 100:02d}",
        18: f"D{number:08d}^^^HOPITAL_ESSAI&1.2.250.1.999.4&ISO^AN",
        32: "VALI",
    }

    def pid(street: str) -> bytes:
        address = f"{street}^^VILLE-ESSAI^^{department:02d}000^FRA^H~^^^^^^BDL^^{department:02d}{town:03d}"
        return _line("PID", {**fields, 11: address})

    ward = chance.choice(_WARDS)
    return _Patient(pid, pid(f"{chance.randrange(1, 120)} RUE DE L'ESSAI"), ward)


def _stay(ward: str, at: str) -> dict[int, str]:
    return {
        1: "1",
        2: "I",
        3: f"{ward}^101^1^HOPITAL_ESSAI&1.2.250.1.999.5&ISO",
        4: "R",
        7: "10100000017^ESSAI^CAMILLE^^^DR^^^ASIP-SANTE-PS&1.2.250.1.71.4.2.1&ISO^L^^^RPPS",
        10: "CARD",
        14: "8",
        19: "S%ID^^^HOPITAL_ESSAI&1.2.250.1.999.6&ISO^VN",
        44: at,
    }


def _movement(ward: str, at: str) -> dict[int, str]:
    unit = f"UM {ward}^^^^^HOPITAL_ESSAI&1.2.250.1.999.8&ISO^UF^^^4001"
    return {
        1: "MVT%ID^HOPITAL_ESSAI^1.2.250.1.999.7^ISO",
        2: at,
        4: "INSERT",
        5: "N",
        7: unit,
        9: "HMS",
    }


def _observation_blocks(at: str) -> list[bytes]:
    """Blocks of 20 OBX with invented values; reports take them in turn."""
    chance = random.Random(_SEED)
    return [
        b"".join(_observation(number, test, chance, at) for number, test in enumerate(_TESTS, 1))
        for _ in range(_BLOCKS)
    ]


def _observation(
    number: int,
    test: tuple[str, str, str, str, int, int, int],
    chance: random.Random,
    at: str,
) -> bytes:
    code, name, unit, usual, low, high, decimals = test
    value = round(chance.uniform(low, high), decimals)
    least, most = (float(part) for part in usual.split("-"))
    flag = "L" if value < least else "H" if value > most else "N"
    return _line(
        "OBX",
        {
            1: str(number),
            2: "NM",
            3: f"{code}^{name}^LN",
            5: f"{value:.{decimals}f}",
            6: f"{unit}^^UCUM",
            7: usual,
            8: flag,
            11: "F",
            14: at,
            15: "LABO_ESSAI^Laboratoire d'essai",
        },
    )


def _msh(kind: str, at: str) -> bytes:
    sender = "CHARGE|HOPITAL_ESSAI|CARNET|REGION_ESSAI"
    return f"MSH|^~\\&|{sender}|{at}||{kind}|%ID|P|2.5^FRA^2.11|||||FRA|UNICODE UTF-8\r".encode()


def _line(segment: str, fields: dict[int, str]) -> bytes:
    """One segment from its fields by number, ended by CR."""
    values = [fields.get(number, "") for number in range(1, max(fields) + 1)]
    return f"{segment}|{'|'.join(values)}\r".encode()


def _stamp(instant: datetime) -> str:
    return instant.strftime("%Y%m%d%H%M%S")
