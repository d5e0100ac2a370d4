"""Makes the sample messages again, byte for byte: `python samples/make.py`. All people in them are invented.

The files are committed, so that nobody needs to run this; a test compares.
"""

# ruff: noqa: INP001 - a folder of data with one script, not a package

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from broker import simulation_cda as cda
from broker import simulation_fhir as fhir
from broker import simulation_hl7v2 as hl7v2
from broker.simulation import analyses
from broker.simulation_cda import Title
from broker.simulation_hl7v2 import Filing, Header, Stay
from broker.simulation_people import BIOLOGIST, PHYSICIAN, RADIOLOGIST, SITE_OID, Person, ins_key

PARIS = timezone(timedelta(hours=1))
ADMITTED = datetime(2026, 3, 9, 7, 35, tzinfo=PARIS)
LEFT = datetime(2026, 3, 12, 14, 0, tzinfo=PARIS)
LAB = ("SIL", "LABO_DEMO")

ELODIE = Person(
    family="GENÊT", used="BOULEAU-BLANC", given=("ÉLODIE", "ANAÏS"), birth="19790528", sex="F", birthplace="38999",
    ins="2790538999042" + ins_key("2790538999042"), ipp="700000042", street="12 ALLÉE DU CHÂTEAU D'EAU",
    postal="99240", town="SAINT-EXEMPLE",
)  # fmt: skip
"""The patient of the tour: everything of hers must land in one record."""

RENE = Person(
    family="HÉRON-CENDRÉ", used="HÉRON-CENDRÉ", given=("RENÉ", "PAUL"), birth="19510317", sex="M", birthplace="69999",
    ins="1510369999017" + ins_key("1510369999017"), ipp="700000017", street="3 QUAI DES SORBIERS",
    postal="99100", town="VILLENEUVE-L'INVENTÉE",
)  # fmt: skip
"""A patient who opposes filing."""


def samples() -> Mapping[str, bytes]:
    """Every sample by file name."""
    return {**_admissions(), **_results(), **_documents(), **_fhir(), **_troubles()}


def main() -> None:
    """Write the samples beside this file."""
    folder = Path(__file__).parent
    for name, body in samples().items():
        (folder / name).write_bytes(body)


def _stay(end: datetime | None = None, *, place: str = "CHIR^201^2") -> Stay:
    return Stay("2026030901", ADMITTED, end, place=place)


def _admissions() -> dict[str, bytes]:
    admission = hl7v2.adt("A01", ELODIE, Header("GAM000001", ADMITTED), _stay())
    update = hl7v2.adt(
        "A08", ELODIE, Header("GAM000002", ADMITTED + timedelta(hours=5)), _stay(place="CHIR^214^1")
    )
    leave = hl7v2.adt("A03", ELODIE, Header("GAM000003", LEFT), _stay(LEFT, place="CHIR^214^1"))
    return {
        "01-adt-a01.hl7": admission.encode(),
        "02-adt-a08.hl7": update.encode(),
        "03-adt-a03.hl7": leave.encode(),
    }


def _lab(control: str, day: int, charset: str, comment: str, report: str = "") -> str:
    header = Header(control, ADMITTED + timedelta(days=day, minutes=50), *LAB, charset=charset)
    return hl7v2.oru(
        ELODIE, header, _stay(), analyses(_chance(day), 20), comment=comment, report=report
    )


def _results() -> dict[str, bytes]:
    utf8 = _lab(
        "SIL000101", 0, hl7v2.UTF8, "Prélèvement à jeun. Sérum légèrement hémolysé ; à contrôler."
    )
    latin1 = _lab(
        "SIL000102",
        1,
        "8859/1",
        "Contrôle demandé par le Dr SORBIER : sérum limpide, à jeun, 37,5 °C.",
    )
    latin9 = _lab(
        "SIL000103", 2, "8859/15", "Prélèvement au Sacré-Cœur ; acte non remboursé : 12 €."
    )
    named = Title(_oid(31), _oid(32), "CR d'examens biologiques", ADMITTED + timedelta(hours=9))
    report = cda.biology(
        ELODIE, BIOLOGIST, named, ADMITTED + timedelta(hours=1), analyses(_chance(9), 8)
    )
    orders = hl7v2.document_orders(cda.BIOLOGY, report, BIOLOGIST, ELODIE)
    header = Header("SIL000104", named.at, *LAB)
    lone = Stay("2026030901", ADMITTED, patient_class="O", place="")
    batch = [
        _lab("SIL000201", 3, hl7v2.UTF8, "Lot de nuit, 1 sur 3."),
        _lab("SIL000202", 4, hl7v2.UTF8, "Lot de nuit, 2 sur 3."),
        _lab("SIL000203", 5, hl7v2.UTF8, "Lot de nuit, 3 sur 3."),
    ]
    return {
        "04-oru-utf8.hl7": utf8.encode(),
        "05-oru-8859-1.hl7": latin1.encode("iso-8859-1"),
        "06-oru-8859-15.hl7": latin9.encode("iso-8859-15"),
        "07-oru-cda-biology.hl7": hl7v2.oru_document(
            ELODIE, header, lone, cda.BIOLOGY, orders
        ).encode(),
        "13-laboratory-batch.hl7": hl7v2.batch(
            batch, ADMITTED + timedelta(days=5, hours=15), "LOT0001"
        ).encode(),
    }


def _documents() -> dict[str, bytes]:
    first = Title(_oid(11), _oid(10), "Lettre de liaison à la sortie de l'hôpital", LEFT)
    second = Title(
        _oid(12), _oid(10), first.title, LEFT + timedelta(hours=3), version=2, replaces=first.id
    )
    stay = (ADMITTED, LEFT)
    letter = cda.discharge(
        ELODIE, PHYSICIAN, first, stay, "Ostéosynthèse par plaque le 10 mars. Suites simples."
    )
    corrected = cda.discharge(
        ELODIE,
        PHYSICIAN,
        second,
        stay,
        "Ostéosynthèse par plaque le 10 mars. Suites simples. Allergie au latex notée.",
    )
    filing = Filing(read_receipt="Y")
    imaging = Title(
        _oid(21), _oid(20), "Radiographie du poignet gauche", ADMITTED + timedelta(hours=2)
    )
    lines = ["Compte rendu d'imagerie médicale (patiente inventée)", "GENÊT Élodie, née le 28/05/1979", "",
             "Radiographie du poignet gauche, face et profil.",
             "Fracture de l'extrémité inférieure du radius, peu déplacée."]  # fmt: skip
    return {
        "08-mdm-t02-discharge.hl7": _mdm("T02", "DPI000301", first, letter, filing),
        "09-mdm-t10-discharge-corrected.hl7": _mdm("T10", "DPI000302", second, corrected, filing),
        "10-cda-imaging.xml": cda.imaging(ELODIE, RADIOLOGIST, imaging, imaging.at, lines).encode(),
    }


def _mdm(event: str, control: str, title: Title, text: str, filing: Filing) -> bytes:
    orders = hl7v2.document_orders(
        cda.DISCHARGE, text, PHYSICIAN, ELODIE, intent="C" if title.replaces else "F", filing=filing,
        obx_type="CWE", media="text",
    )  # fmt: skip
    header = Header(control, title.at, application="DPI")
    message = hl7v2.mdm(
        event, ELODIE, header, _stay(LEFT), cda.DISCHARGE, title.id, orders, replaces=title.replaces
    )
    return message.encode()


def _fhir() -> dict[str, bytes]:
    visit = Title(_oid(41), _oid(40), "Consultation de contrôle à J8", LEFT + timedelta(days=8))
    order = Title(_oid(51), _oid(50), "Ordonnance de sortie", LEFT)
    return {
        "11-fhir-document.json": fhir.document(
            ELODIE,
            PHYSICIAN,
            visit,
            "Évolution favorable, plâtre bien toléré.",
            analyses(_chance(3), 3),
        ),
        "12-fhir-transaction.json": fhir.transaction(
            ELODIE,
            PHYSICIAN,
            order,
            ["Ordonnance (patiente inventée)", "Paracétamol 1 g, 3 fois par jour, 5 jours"],
        ),
    }


def _troubles() -> dict[str, bytes]:
    opposed = Stay("2026031001", ADMITTED + timedelta(days=1), place="MED^118^1")
    opposition = hl7v2.adt(
        "A01", RENE, Header("GAM000017", opposed.at), opposed, opposition="IO", consultation="INC"
    )
    result = hl7v2.oru(
        RENE,
        Header("SIL000117", opposed.at + timedelta(hours=2), *LAB),
        opposed,
        analyses(_chance(17), 5),
    )
    reused = _lab(
        "SIL000101",
        6,
        hl7v2.UTF8,
        "Autre compte rendu, identifiant de contrôle déjà employé.",
        "SIL000119",
    )
    nameless = _lab("SIL000118", 7, hl7v2.UTF8, "Patient sans identifiant.").replace(
        next(
            line
            for line in _lab("SIL000118", 7, hl7v2.UTF8, "").split("\r")
            if line.startswith("PID")
        ),
        "PID|1||||GENÊT^ÉLODIE^^^^^L||19790528|F",
    )
    return {
        "14-adt-a01-again.hl7": _admissions()["01-adt-a01.hl7"],
        "15-adt-a01-opposition.hl7": opposition.encode(),
        "16-oru-opposed-patient.hl7": result.encode(),
        "17-oru-control-id-reused.hl7": reused.encode(),
        "18-oru-no-identifier.hl7": nameless.encode(),
        "19-not-hl7.hl7": b"Bonjour, ceci n'est pas un message.\r",
    }


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 invented results are no secret


def _oid(number: int) -> str:
    return f"{SITE_OID}.1.2026.{number}"


if __name__ == "__main__":
    main()
