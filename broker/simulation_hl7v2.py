"""Builds the HL7v2 messages that French hospitals and laboratories send, for `simulation` and the samples. Pure.

Shapes follow IHE PAM France 2.11 (ADT), HL7 v2.5 chapter 7 (results) and the CI-SIS volet "Transmission d'un document
CDA-R2 en HL7v2" 2.1 (ORU and MDM with a document). Text is returned with segments ended by CR, not yet encoded.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from broker.simulation_people import (
    INS_TEST_OID,
    IPP_OID,
    PERSON_OID,
    STAY_OID,
    STRUCTURE_OID,
    VISIT_OID,
    Person,
    Professional,
)

UTF8 = "UNICODE UTF-8"
INS_NAMESPACE = "ASIP-SANTE-INS-NIR"


@dataclass(frozen=True, slots=True)
class Analysis:
    """One result line: code, label, value as text, unit, range, flag."""

    code: str
    label: str
    value: str
    unit: str
    normal: str
    flag: str = "N"


@dataclass(frozen=True, slots=True)
class Filing:
    """The ten orders that go with a document to the DMP and the secure mailboxes, as Y or N; two may follow."""

    masked: str = "N"
    hidden_from_patient: str = "N"
    hidden_from_representatives: str = "N"
    secret: str = "N"  # noqa: S105 an order, not a secret
    visibility_only: str = "N"
    to_dmp: str = "Y"
    to_professionals: str = "Y"
    to_patient: str = "Y"
    receipt: str = "Y"
    read_receipt: str = "N"

    def rows(self) -> Sequence[tuple[str, str, str]]:
        """(code, label, Y or N) in the order the volet demands."""
        return (
            ("MASQUE_PS", "Masqué aux professionnels de Santé", self.masked),
            ("INVISIBLE_PATIENT", "Document Non Visible par le patient", self.hidden_from_patient),
            (
                "INVISIBLE_REP_LEGAUX",
                "Non visible par les représentants Légaux du patient",
                self.hidden_from_representatives,
            ),
            ("CONNEXION_SECRETE", "Connexion Secrete", self.secret),
            ("MODIF_CONF_CODE", "Modification Confidentiality Code", self.visibility_only),
            ("DESTDMP", "Destinataire DMP", self.to_dmp),
            (
                "DESTMSSANTEPS",
                "Destinataire (Professionnel de Santé, organisation ou BAL applicative)",
                self.to_professionals,
            ),
            ("DESTMSSANTEPAT", "Destinataire Patient", self.to_patient),
            ("ACK_RECEPTION", "Accusé de réception", self.receipt),
            ("ACK_LECTURE_MSS", "Accusé de lecture", self.read_receipt),
        )


@dataclass(frozen=True, slots=True)
class Header:
    """Who sends, when, under which control id."""

    control_id: str
    at: datetime
    application: str = "GAM"
    facility: str = "HOPITAL_DEMO"
    charset: str = UTF8
    version: str = "2.5"
    profile: str = ""
    processing: str = "T"


@dataclass(frozen=True, slots=True)
class Stay:
    """Where the patient is: class, ward and bed, since when and until when."""

    number: str
    at: datetime
    end: datetime | None = None
    patient_class: str = "I"
    place: str = "CHIR^201^2"
    extra: Mapping[int, str] = field(default_factory=dict)


def stamp(at: datetime) -> str:
    """HL7 time to the second with its offset (`20261104083000+0100`)."""
    return at.strftime("%Y%m%d%H%M%S%z")


def segment(name: str, fields: Mapping[int, str]) -> str:
    """A segment from its fields by number, trailing empty fields left out, ended by CR."""
    values = [fields.get(number, "") for number in range(1, max(fields) + 1)]
    return "|".join((name, *values)).rstrip("|") + "\r"


def adt(
    event: str,
    who: Person,
    header: Header,
    stay: Stay,
    *,
    opposition: str = "INO",
    consultation: str = "IC",
) -> str:
    """An ADT of PAM France: A01, A08 and A03 with ZBE and, on A01, the DMP consents in ZFA."""
    structure = {"A01": "ADT_A01", "A08": "ADT_A01", "A03": "ADT_A03"}[event]
    parts = [
        _msh(header, f"ADT^{event}^{structure}", profile="2.11^IHE_FRANCE-2.11-PAM", version="2.5^FRA^2.11"),
        segment("EVN", {2: stamp(header.at), 6: stamp(header.at)}),
        pid(who, stay.number),
        pv1(stay),
        segment("ZBE", {1: f"{header.control_id}^HOPITAL_DEMO^{IPP_OID}^ISO", 2: stamp(header.at),
                        4: "INSERT", 5: "N", 7: "Chirurgie^^^^^HOPITAL_DEMO&1.2.250.1.999.5&ISO^UF^^^6268",
                        9: "HMS"}),
    ]  # fmt: skip
    if event == "A01":
        since = stamp(header.at)[:14]
        parts.append(
            segment(
                "ZFA",
                {1: "ACTIF", 2: since, 9: opposition, 10: since, 11: consultation, 12: since},
            )
        )
    return "".join(parts)


def oru(
    who: Person,
    header: Header,
    stay: Stay,
    analyses: Sequence[Analysis],
    *,
    comment: str = "",
    report: str = "",
) -> str:
    """A laboratory report with its results as OBX lines, one OBR; `report` numbers it (default: the control id)."""
    at = stamp(header.at)
    report = report or header.control_id
    parts = [
        _msh(header, "ORU^R01^ORU_R01"),
        pid(who, stay.number),
        pv1(stay),
        segment("ORC", {1: "RE", 2: f"P{report}", 3: f"F{report}", 5: "CM", 9: at}),
        segment("OBR", {1: "1", 2: f"P{report}", 3: f"F{report}",
                        4: "58410-2^Hémogramme et chimie du sang^LN", 7: at, 14: at,
                        16: f"899900000011^SORBIER^Anne^^^^^^ASIP-SANTE-PS&{PERSON_OID}&ISO^D^^^IDNPS",
                        22: at, 24: "LAB", 25: "F"}),
    ]  # fmt: skip
    for number, one in enumerate(analyses, start=1):
        parts.append(
            segment("OBX", {1: str(number), 2: "NM", 3: f"{one.code}^{one.label}^LN", 5: one.value,
                            6: f"{one.unit}^{one.unit}^UCUM", 7: one.normal, 8: one.flag, 11: "F", 14: at})
        )  # fmt: skip
    if comment:
        parts.append(segment("NTE", {1: "1", 2: "L", 3: comment}))
    return "".join(parts)


def document_orders(
    document_type: tuple[str, str],
    cda: str,
    sender: Professional,
    who: Person,
    *,
    intent: str = "F",
    filing: Filing = Filing(),
    obx_type: str = "CE",
    media: str = "TEXT",
) -> str:
    """The OBX with the CDA, the PRT of sender and recipients, and the ten orders (volet 2.1, in this order)."""
    code, label = document_type
    body = base64.b64encode(cda.encode()).decode()
    parts = [
        segment(
            "OBX",
            {1: "1", 2: "ED", 3: f"{code}^{label}^LN", 5: f"^{media}^XML^Base64^{body}", 11: intent},
        ),
        segment("PRT", {2: "UC", 4: "SB^Send by^participation", 5: _person(sender),
                        8: f"{sender.structure}^^^^^ASIP-SANTE-ST&{STRUCTURE_OID}&ISO^FINEG^^^{sender.finess}"}),
        segment("PRT", {2: "UC", 4: "RCT^Result Copies To^participation",
                        5: f"899900000045^NÉFLIER^Jean^^^^^^ASIP-SANTE-PS&{PERSON_OID}&ISO^D^^^IDNPS",
                        15: "^^X.400^jean.neflier@exemple.mssante.fr"}),
        segment("PRT", {2: "UC", 4: "RCT^Result Copies To^participation", 15: f"^^X.400^{who.mail}"}),
    ]  # fmt: skip
    for number, (name, words, answer) in enumerate(filing.rows(), start=2):
        value = f"{answer}^^expandedYes-NoIndicator"
        parts.append(
            segment(
                "OBX",
                {1: str(number), 2: obx_type, 3: f"{name}^{words}^MetaDMPMSS", 5: value, 11: "F"},
            )
        )
        if name == "DESTMSSANTEPAT" and answer == "Y":
            parts.append(segment("NTE", {1: "1", 4: "FIN"}))
    return "".join(parts)


def oru_document(
    who: Person, header: Header, stay: Stay, kind: tuple[str, str], orders: str
) -> str:
    """An ORU^R01 that carries a CDA document (CI-SIS)."""
    return "".join(
        (
            _msh(header, "ORU^R01^ORU_R01", profile="2.1^CISIS_CDA_HL7_V2"),
            pid(who, stay.number, short=True),
            pv1(stay),
            segment("ORC", {1: "NW"}),
            segment("OBR", {1: "1", 4: f"{kind[0]}^{kind[1]}^LN"}),
            orders,
        )
    )


def mdm(
    event: str,
    who: Person,
    header: Header,
    stay: Stay,
    kind: tuple[str, str],
    document: str,
    orders: str,
    *,
    replaces: str = "",
) -> str:
    """An MDM (T02 new, T10 replacement) that carries a CDA document (CI-SIS). `document` and `replaces` are OIDs."""
    return "".join(
        (
            _msh(header, f"MDM^{event}^MDM_T02", profile="2.1^CISIS_CDA_HL7_V2", version="2.6"),
            segment("EVN", {2: stamp(header.at)}),
            pid(who, stay.number, short=True),
            pv1(stay),
            segment("ORC", {1: "RO" if replaces else "NW"}),
            segment("OBR", {1: "1", 4: f"{kind[0]}^{kind[1]}^LN"}),
            segment("TXA", {1: "1", 2: kind[0], 3: "TEXT", 12: document, 13: replaces, 17: "AU"}),
            orders,
        )
    )


def batch(messages: Sequence[str], at: datetime, name: str) -> str:
    """A batch file (HL7 v2.5 §2.10.3): FHS, BHS, the messages, and trailers with true counts."""
    head = f"^~\\&|SIL|LABO_DEMO|CARNET|HOPITAL_DEMO|{stamp(at)}||{name}"
    return "".join(
        (f"FHS|{head}\r", f"BHS|{head}\r", *messages, f"BTS|{len(messages)}\r", "FTS|1\r")
    )


def pid(who: Person, stay_number: str, *, short: bool = False) -> str:
    """The PID of PAM France: INS of test and local number, names L and D, birthplace, PID-32 = VALI."""
    first = who.given[0]
    names = f"{who.family}^{first}^{' '.join(who.given)}^^^^L"
    if who.used != who.family:
        names += f"~{who.used}^{first.title()}^^^^^D"
    home = "" if short else f"{who.street}^^{who.town}^^{who.postal}^FRA^H~"
    return segment(
        "PID",
        {
            1: "1",
            3: f"{who.ins}^^^{INS_NAMESPACE}&{INS_TEST_OID}&ISO^INS~{who.ipp}^^^HOPITAL_DEMO&{IPP_OID}&ISO^PI",
            5: names,
            7: who.birth,
            8: who.sex,
            11: f"{home}^^^^^^BDL^^{who.birthplace}",
            18: f"D{stay_number}^^^HOPITAL_DEMO&{STAY_OID}&ISO^AN",
            32: "VALI",
        },
    )


def pv1(stay: Stay) -> str:
    """The visit: class, place, visit number, since and until when."""
    fields = {
        1: "1",
        2: stay.patient_class,
        3: stay.place,
        19: f"V{stay.number}^^^HOPITAL_DEMO&{VISIT_OID}&ISO^VN",
        44: stamp(stay.at),
        **stay.extra,
    }
    if stay.end is not None:
        fields[45] = stamp(stay.end)
    return segment("PV1", fields)


def _msh(header: Header, kind: str, *, profile: str = "", version: str = "") -> str:
    return "MSH|^~\\&" + segment(
        "",
        {
            1: header.application,
            2: header.facility,
            3: "CARNET",
            4: "HOPITAL_DEMO",
            5: stamp(header.at),
            7: kind,
            8: header.control_id,
            9: header.processing,
            10: version or header.version,
            15: "FRA",
            16: header.charset,
            19: profile or header.profile,
        },
    )


def _person(who: Professional) -> str:
    return f"{who.rpps}^{who.family}^{who.given}^^^^^^ASIP-SANTE-PS&{PERSON_OID}&ISO^D^^^IDNPS"
