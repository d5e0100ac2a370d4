"""Builds CDA R2 documents with the header that CI-SIS asks for, for `simulation` and the samples. Pure.

Header: CI-SIS volet "Structuration minimale des documents de santé"; bodies: LDL-SES 2022.01 (discharge letter),
CR-BIO 2021.01 (IHE PALM laboratory report), and a level 1 PDF (IHE XDS-SD) for imaging. Text, to be encoded as UTF-8.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

from broker.simulation_hl7v2 import Analysis, stamp
from broker.simulation_people import (
    INS_TEST_OID,
    IPP_OID,
    PERSON_OID,
    STRUCTURE_OID,
    Person,
    Professional,
)

DISCHARGE = ("11490-0", "Lettre de liaison à la sortie d'un établissement de soins")
BIOLOGY = ("11502-2", "CR d'examens biologiques")
IMAGING = ("18748-4", "CR d'imagerie médicale")

LOINC = "2.16.840.1.113883.6.1"
_ACROSS = 256
"""Width of a picture, in points and in bytes."""
_CHAPTER = ("18719-5", "Biochimie")


@dataclass(frozen=True, slots=True)
class Act:
    """What the document is about: its service event and encounter."""

    code: str
    display: str
    system: str
    start: datetime
    end: datetime
    encounter: str = "IMP"
    encounter_display: str = "Hospitalisation (établissement, y compris HAD)"


@dataclass(frozen=True, slots=True)
class Title:
    """The document's own names: id (an OID without extension), series, version, what it replaces."""

    id: str
    set_id: str
    title: str
    at: datetime
    version: int = 1
    replaces: str = ""


def discharge(
    who: Person, author: Professional, title: Title, stay: tuple[datetime, datetime], text: str
) -> str:
    """A discharge letter, level 3 header with narrative sections."""
    act = Act(
        "IMP", "Hospitalisation (établissement, y compris HAD)", "2.16.840.1.113883.5.4", *stay
    )
    body = "".join(
        (
            _section(("1.3.6.1.4.1.19376.1.5.3.1.3.1", "1.2.250.1.213.1.1.2.127"), "42349-1",
                     "Raison de la recommandation", "Motif de l'hospitalisation",
                     "Fracture de l'extrémité inférieure du radius gauche."),
            _section(("1.3.6.1.4.1.19376.1.7.3.1.1.13.7", "1.2.250.1.213.1.1.2.163"), "42545-4",
                     "Évènements observés", "Synthèse médicale du séjour", text),
            _section(("1.3.6.1.4.1.19376.1.5.3.1.3.22", "1.2.250.1.213.1.1.2.146"), "10183-2",
                     "Traitements à la sortie", "Traitements à la sortie",
                     "Paracétamol 1 g, trois fois par jour si douleur, pendant cinq jours."),
            _section(("1.3.6.1.4.1.19376.1.5.3.1.3.36", "1.2.250.1.213.1.1.2.158"), "18776-5",
                     "Plan de soins", "Suite à donner",
                     "Contrôle radiographique à J8. Ablation du plâtre à six semaines."),
        )
    )  # fmt: skip
    templates = ('<templateId root="1.2.250.1.213.1.1.1.29" extension="2022.01"/>',)
    return _document(
        who, author, title, DISCHARGE, templates, act, f"<structuredBody>{body}</structuredBody>"
    )


def biology(
    who: Person, author: Professional, title: Title, taken: datetime, analyses: Sequence[Analysis]
) -> str:
    """A laboratory report, level 3: one chapter with a table and one observation for each analysis."""
    act = Act(*_CHAPTER, LOINC, taken, title.at, "AMB", "Ambulatoire (hors établissement)")
    rows = "".join(
        f'<tr><td><content ID="a{n}">{escape(one.label)}</content></td>'
        f"<td>{escape(one.value)} {escape(one.unit)}</td><td>{escape(one.normal)}</td></tr>"
        for n, one in enumerate(analyses, start=1)
    )
    observations = "".join(_observation(n, one, taken) for n, one in enumerate(analyses, start=1))
    code = f'<code code="{_CHAPTER[0]}" displayName="{_CHAPTER[1]}" codeSystem="{LOINC}" codeSystemName="LOINC"/>'
    body = (
        '<structuredBody><component><section><templateId root="1.3.6.1.4.1.19376.1.3.3.2.1"/>'
        f'<templateId root="1.2.250.1.213.1.1.2.70"/>{code}<title>Biochimie</title>'
        "<text><table><thead><tr><th>Analyse</th><th>Résultat</th><th>Valeurs de référence</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></text>"
        '<entry typeCode="DRIV"><templateId root="1.3.6.1.4.1.19376.1.3.1"/>'
        '<templateId root="1.2.250.1.213.1.1.3.21"/><act classCode="ACT" moodCode="EVN">'
        f'{code}<statusCode code="completed"/>'
        '<entryRelationship typeCode="COMP"><organizer classCode="BATTERY" moodCode="EVN">'
        '<templateId root="1.3.6.1.4.1.19376.1.3.1.4"/><templateId root="1.2.250.1.213.1.1.3.78"/>'
        f'<statusCode code="completed"/><effectiveTime value="{stamp(taken)}"/>{observations}'
        "</organizer></entryRelationship></act></entry></section></component></structuredBody>"
    )
    templates = (
        '<templateId root="1.3.6.1.4.1.19376.1.3.3"/>',
        '<templateId root="1.2.250.1.213.1.1.1.55"/>',
    )
    return _document(who, author, title, BIOLOGY, templates, act, body)


def imaging(
    who: Person,
    author: Professional,
    title: Title,
    done: datetime,
    lines: Sequence[str],
    picture: bytes = b"",
) -> str:
    """An imaging report, level 1: a PDF inside, with the bytes of a picture where some are given."""
    act = Act(
        "36643-5",
        "Radiographie du thorax",
        LOINC,
        done,
        title.at,
        "AMB",
        "Ambulatoire (hors établissement)",
    )
    shown = _b64(pdf(lines, picture))
    body = f'<nonXMLBody><text mediaType="application/pdf" representation="B64">{shown}</text></nonXMLBody>'
    return _document(
        who, author, title, IMAGING, ('<templateId root="1.3.6.1.4.1.19376.1.2.20"/>',), act, body
    )


def pdf(lines: Sequence[str], picture: bytes = b"") -> bytes:
    """A one-page PDF 1.4 with lines of text in Helvetica; characters outside WinAnsi are replaced.

    `picture` is shown below them, a byte a grey, 256 in a row.
    """
    shown = "".join(f"({_pdf_text(line)}) Tj T* " for line in lines)
    content = f"BT /F1 12 Tf 14 TL 72 770 Td {shown}ET".encode("cp1252", errors="replace")
    pictures = b""
    rows = len(picture) // _ACROSS
    if rows:
        content += b"\nq 256 0 0 %d 72 72 cm /P1 Do Q" % min(rows, 600)
        pictures = b" /XObject << /P1 7 0 R >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Font << /F1 5 0 R >>%s >>" % pictures,
    ]
    if rows:
        objects.append(
            b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 "
            b"/Length %d >>\nstream\n%s\nendstream"
            % (_ACROSS, rows, rows * _ACROSS, picture[: rows * _ACROSS])
        )
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, one in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        table,
    )
    return bytes(out)


def _document(
    who: Person,
    author: Professional,
    title: Title,
    kind: tuple[str, str],
    templates: Sequence[str],
    act: Act,
    body: str,
) -> str:
    at = stamp(title.at)
    parent = (
        f'<relatedDocument typeCode="RPLC"><parentDocument><id root="{title.replaces}"/></parentDocument>'
        "</relatedDocument>"
        if title.replaces
        else ""
    )
    return "".join(
        (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ClinicalDocument xmlns="urn:hl7-org:v3">\n<realmCode code="FR"/>',
            '<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>',
            '<templateId root="2.16.840.1.113883.2.8.2.1"/><templateId root="1.2.250.1.213.1.1.1.1"/>',
            *templates,
            f'\n<id root="{title.id}"/>',
            f'<code code="{kind[0]}" displayName={quoteattr(kind[1])} codeSystem="{LOINC}" codeSystemName="LOINC"/>',
            f'<title>{escape(title.title)}</title><effectiveTime value="{at}"/>',
            '<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25" displayName="Normal"/>',
            f'<languageCode code="fr-FR"/><setId root="{title.set_id}"/><versionNumber value="{title.version}"/>\n',
            _record_target(who),
            _author(author, at),
            _custodian(author),
            f'\n<legalAuthenticator><time value="{at}"/><signatureCode code="S"/><assignedEntity>',
            f"{_id(author)}{_name(author)}{_organisation(author)}</assignedEntity></legalAuthenticator>",
            _service(author, act),
            parent,
            _encounter(author, act),
            f"\n<component>{body}</component>\n</ClinicalDocument>\n",
        )
    )


def _record_target(who: Person) -> str:
    used = f'<family qualifier="CL">{escape(who.used)}</family><given qualifier="CL">{escape(who.given[0].title())}</given>'
    number, _, street = who.street.partition(" ")
    return (
        f'\n<recordTarget><patientRole><id root="{INS_TEST_OID}" extension="{who.ins}"/>'
        f'<id root="{IPP_OID}" extension="{who.ipp}"/>'
        f"<addr><houseNumber>{number}</houseNumber><streetName>{escape(street)}</streetName>"
        f"<postalCode>{who.postal}</postalCode><city>{escape(who.town)}</city><country>FRANCE</country></addr>"
        f'<telecom value="mailto:{who.mail}"/><patient><name>'
        f'<family qualifier="BR">{escape(who.family)}</family><given>{escape(" ".join(who.given))}</given>'
        f'<given qualifier="BR">{escape(who.given[0])}</given>{used}</name>'
        f'<administrativeGenderCode code="{who.sex}" codeSystem="2.16.840.1.113883.5.1"/>'
        f'<birthTime value="{who.birth}"/><birthplace><place><addr><county>{who.birthplace}</county></addr></place>'
        "</birthplace></patient></patientRole></recordTarget>"
    )


def _author(who: Professional, at: str) -> str:
    return (
        f'\n<author><time value="{at}"/><assignedAuthor>{_id(who)}'
        f'<code code="{who.code}" displayName={quoteattr(who.display)} codeSystem="1.2.250.1.213.1.1.4.5"/>'
        f'<telecom value="tel:0199000000" use="WP"/>{_name(who)}'
        f'<representedOrganization><id root="{STRUCTURE_OID}" extension="1{who.finess}"/>'
        f"<name>{escape(who.structure)}</name></representedOrganization></assignedAuthor></author>"
    )


def _custodian(who: Professional) -> str:
    return (
        "\n<custodian><assignedCustodian><representedCustodianOrganization>"
        f'<id root="{STRUCTURE_OID}" extension="1{who.finess}"/><name>{escape(who.structure)}</name>'
        '<telecom value="tel:0199000000" use="WP"/><addr><postalCode>99240</postalCode><city>SAINT-EXEMPLE</city></addr>'
        "</representedCustodianOrganization></assignedCustodian></custodian>"
    )


def _service(who: Professional, act: Act) -> str:
    return (
        f'\n<documentationOf><serviceEvent><code code="{act.code}" displayName={quoteattr(act.display)} '
        f'codeSystem="{act.system}"/><effectiveTime><low value="{stamp(act.start)}"/>'
        f'<high value="{stamp(act.end)}"/></effectiveTime><performer typeCode="PRF"><assignedEntity>{_id(who)}'
        f"{_name(who)}{_organisation(who)}</assignedEntity></performer></serviceEvent></documentationOf>"
    )


def _encounter(who: Professional, act: Act) -> str:
    return (
        f'\n<componentOf><encompassingEncounter><code code="{act.encounter}" '
        f'displayName={quoteattr(act.encounter_display)} codeSystem="2.16.840.1.113883.5.4"/>'
        f'<effectiveTime><low value="{stamp(act.start)}"/><high value="{stamp(act.end)}"/></effectiveTime>'
        f'<location><healthCareFacility><code code="{who.facility}" displayName={quoteattr(who.facility_display)} '
        'codeSystem="1.2.250.1.71.4.2.4"/></healthCareFacility></location></encompassingEncounter></componentOf>'
    )


def _id(who: Professional) -> str:
    return f'<id root="{PERSON_OID}" extension="{who.rpps}"/>'


def _name(who: Professional) -> str:
    return (
        f"<assignedPerson><name><given>{escape(who.given)}</given><family>{escape(who.family)}</family>"
        "<suffix>DR</suffix></name></assignedPerson>"
    )


def _organisation(who: Professional) -> str:
    return (
        f'<representedOrganization><id root="{STRUCTURE_OID}" extension="1{who.finess}"/>'
        f"<name>{escape(who.structure)}</name>"
        f'<standardIndustryClassCode code="{who.setting}" displayName={quoteattr(who.setting_display)} '
        'codeSystem="1.2.250.1.213.1.1.4.9"/></representedOrganization>'
    )


def _section(templates: Sequence[str], code: str, display: str, title: str, text: str) -> str:
    ids = "".join(f'<templateId root="{root}"/>' for root in templates)
    return (
        f"<component><section>{ids}"
        f'<code code="{code}" displayName={quoteattr(display)} codeSystem="{LOINC}" codeSystemName="LOINC"/>'
        f"<title>{escape(title)}</title><text><paragraph>{escape(text)}</paragraph></text></section></component>"
    )


def _observation(number: int, one: Analysis, at: datetime) -> str:
    low, _, high = one.normal.partition("-")
    return (
        '<component><observation classCode="OBS" moodCode="EVN"><templateId root="1.3.6.1.4.1.19376.1.3.1.6"/>'
        f'<code code="{one.code}" displayName={quoteattr(one.label)} codeSystem="{LOINC}" codeSystemName="LOINC">'
        f'<originalText><reference value="#a{number}"/></originalText></code><statusCode code="completed"/>'
        f'<effectiveTime value="{stamp(at)}"/>'
        f'<value xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="PQ" value="{one.value}" '
        f"unit={quoteattr(one.unit)}/>"
        f'<interpretationCode code="{one.flag}" codeSystem="2.16.840.1.113883.5.83"/>'
        '<referenceRange><observationRange><value xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:type="IVL_PQ"><low value="{low}" unit={quoteattr(one.unit)}/><high value="{high}" '
        f"unit={quoteattr(one.unit)}/></value></observationRange></referenceRange></observation></component>"
    )


def _pdf_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _b64(body: bytes) -> str:
    return base64.b64encode(body).decode()
