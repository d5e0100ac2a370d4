"""Mappings that write HL7v2: paths of the document, the data types of fields, and everything a rule may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.document import (
    Address,
    Attachment,
    Coded,
    Coding,
    Document,
    Encounter,
    Event,
    Identifier,
    Observation,
    Participant,
    Patient,
    Period,
    Person,
    PersonName,
    Procedure,
    Quantity,
    Range,
    Ratio,
    Report,
    ResultValue,
    Source,
    Telecom,
    When,
)
from broker.errors import MappingError
from broker.mapping.catalogue import MappingSet, load
from broker.writing.hl7v2 import to_bytes

HEAD = "mapping: test\nversion: 1.0.0\nlanguage: 1\nfrom: document\nto: hl7v2\napplies_when: kind is present\n"
MSH = "segments:\n  - segment: MSH\n    fields:\n      MSH-12: = 2.5\n"
SYSTEMS = (
    "key,kind,oid,uri,hl7v2_names,value_rule,name\n"
    "loinc,,2.16.840.1.113883.6.1,http://loinc.org,LN;LOINC,,LOINC\n"
    "ins_nir,INS-NIR,1.2.250.1.213.1.4.8,,,,INS\n"
)
CONTENT = {"ab": b"%PDF-1.4"}


def _set(folder: Path, rules: str, **files: str) -> MappingSet:
    (folder / "tables").mkdir()
    (folder / "tables" / "systems.csv").write_text(SYSTEMS, encoding="utf-8")
    text = rules if rules.startswith("mapping:") else HEAD + MSH + rules
    (folder / "test.yaml").write_text(text, encoding="utf-8")
    for name, other in files.items():
        (folder / name.replace("_", ".")).write_text(other, encoding="utf-8")
    return load(folder)


def _lines(folder: Path, rules: str, mapping: str = "", **document_and_files: Any) -> list[str]:
    """The message of a document as lines, without its MSH."""
    files = {k: v for k, v in document_and_files.items() if k.endswith(("_csv", "_yaml"))}
    fields = {k: v for k, v in document_and_files.items() if k not in files}
    document = Document(id="d-1", **fields)
    written = _set(folder, rules, **files).writers.write(
        document, "hl7v2", CONTENT.__getitem__, mapping=mapping
    )
    return to_bytes(written.segments, document.id).decode().split("\r")[1:-1]


def _field(folder: Path, rule: str, place: str = "ZZZ-2", **document: Any) -> str:
    """What one rule writes at a place, in a segment that is always written."""
    rules = (
        f"  - segment: {place[:3]}\n    when: id is present\n    fields:\n      {place}: {rule}\n"
    )
    (line,) = _lines(folder, rules, **document)
    number = int(place[4:].partition("[")[0].partition(".")[0])
    cells = line.split("|")
    return cells[number] if number < len(cells) else ""


def _patient(**fields: Any) -> Patient:
    return Patient(**fields)


PEOPLE = _patient(
    identifiers=(
        Identifier(value="1", type_code="PI", authority_name="A"),
        Identifier(value="2", kind="INS-NIR", system="ins_nir"),
        Identifier(value="3", kind="INS-NIR", system="ins_nir"),
    )
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("patient.identifiers", "1^^^A^PI"),
        ("patient.identifiers[2]", "2^^^&1.2.250.1.213.1.4.8&ISO^INS"),
        ("patient.identifiers[kind='INS-NIR']", "2^^^&1.2.250.1.213.1.4.8&ISO^INS"),
        ("patient.identifiers[kind!='INS-NIR']", "1^^^A^PI"),
        ("patient.identifiers[kind='INS-NIR'][2].value", "3"),
        ("patient.identifiers[kind='INS-NIR' and value='3'].value", "3"),
        ("patient.identifiers[9]", ""),
        ("patient.identifiers[kind='RPPS'].value", ""),
        ("document.patient.identifiers[*].value", "1"),
    ],
)
def test_a_path_leads_to_one_value(tmp_path: Path, path: str, text: str) -> None:
    assert _field(tmp_path, path, patient=PEOPLE) == text


def test_every_item_of_a_list_is_a_repetition(tmp_path: Path) -> None:
    assert _field(tmp_path, "patient.identifiers", "PID-3[*]", patient=PEOPLE).count("~") == 2


WHENS = [
    ("1979", "", "1979"),
    ("1979-03", "", "197903"),
    ("1979-03-28", "", "19790328"),
    ("2024-03-09T07:35", "", "202403090735"),
    ("2024-03-09T07:35:10.123", "+01:00", "20240309073510.123+0100"),
    ("2024-03-09T07:35:10.123456", "Z", "20240309073510.1234+0000"),
]


@pytest.mark.parametrize(("value", "offset", "text"), WHENS)
def test_a_time_keeps_its_precision_and_the_offset_it_came_with(
    tmp_path: Path, value: str, offset: str, text: str
) -> None:
    when = When(value=value, offset=offset, assumed_offset="" if offset else "+01:00")

    assert _field(tmp_path, "created_at", "OBX-14", created_at=when) == text


CODED = Coded(
    codings=(
        Coding(code="X", display="Local", system_as_received="L", system="L", version="2"),
        Coding(code="718-7", display="Hb", system="http://loinc.org", role="translation"),
    ),
    text="Hémoglobine",
)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("OBR-4", "X^Local^L^718-7^Hb^LN"),
        ("ZBE-9", "X^Local^L^718-7^Hb^LN^2^^Hémoglobine"),
        ("PV1-2", "X"),
        ("NTE-3", "Hémoglobine"),
        ("OBR-4.2", "X"),
    ],
)
def test_a_code_is_written_as_its_field_has_it(tmp_path: Path, place: str, text: str) -> None:
    cell = _field(tmp_path, "type_code", place, type_code=CODED)

    assert cell.strip("^") == text


def test_from_version_2_6_on_a_code_is_a_cwe_with_its_text(tmp_path: Path) -> None:
    rules = (
        HEAD + MSH.replace("2.5", "2.6") + "  - segment: OBR\n    fields:\n      OBR-4: type_code\n"
    )

    (line,) = _lines(tmp_path, rules, type_code=CODED)

    assert line == "OBR|1|||X^Local^L^718-7^Hb^LN^2^^Hémoglobine"


def test_people_places_and_numbers_to_reach_have_their_types(tmp_path: Path) -> None:
    person = Person(
        identifiers=(Identifier(value="10000023084", kind="RPPS", type_code="IDNPS", oid="1.2.250.1.71.4.2.1"),),
        name=PersonName(family="MARTIN", given=("Luc", "Jean"), prefix="Dr", use="usual"),
    )  # fmt: skip
    patient = _patient(
        names=(PersonName(family="A", given=("B", "C", "D"), use="birth"),),
        addresses=(Address(lines=("1 rue", "bât. 2"), city="PARIS", postal_code="75001", country="FRA", use="home"),),
        birth_place=Address(insee_code="38999"),
        phones=(Telecom(value="0102", kind="mobile", use="home"), Telecom(value="a@b.fr", kind="email")),
    )  # fmt: skip
    rules = (
        "  - segment: PID\n    fields:\n      PID-5[*]: patient.names\n      PID-13[*]: patient.phones\n"
        "      PID-11[*]:\n        - patient.addresses\n        - patient.birth_place\n"
        "  - each: encounters.participants\n    segment: ROL\n    fields:\n      ROL-3: role\n      ROL-4[*]: person\n"
    )

    lines = _lines(
        tmp_path,
        rules,
        patient=patient,
        encounters=(Encounter(participants=(Participant(role=Coded(text="PCP"), person=person),)),),
    )

    assert lines == [
        "PID|1||||A^B^C,D^^^^L||||||1 rue^bât. 2^PARIS^^75001^FRA^H~^^^^^^BDL^^38999||0102^PRN^CP^^^^^^^^^0102~^NET^Internet^a@b.fr",
        "ROL|||^PCP|810000023084^MARTIN^Luc^Jean^^Dr^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS",
    ]


RESULTS = [
    (ResultValue(quantity=Quantity(value="1.950", unit="mmol/L", ucum="mmol/L")), "NM", "1.950", "mmol/L^^UCUM"),
    (ResultValue(quantity=Quantity(value="5", comparator="<", unit="G/L", ucum="10*9/L")), "SN", "<^5", "G/L^^^10*9/L^^UCUM"),
    (ResultValue(quantity=Quantity(value="3"), original="3+", declared_type="SN"), "SN", "^3^+", ""),
    (ResultValue(range=Range(low=Quantity(value="1", unit="g"), high=Quantity(value="2"))), "SN", "^1^-^2", "g"),
    (ResultValue(range=Range(low=Quantity(value="1", unit="g"))), "SN", ">=^1", "g"),
    (ResultValue(ratio=Ratio(numerator=Quantity(value="1"), denominator=Quantity(value="128"))), "SN", "^1^:^128", ""),
    (ResultValue(coded=Coded(codings=(Coding(code="P", display="Positif", system="urn:oid:1.2.3"),))), "CE", "P^Positif^1.2.3", ""),
    (ResultValue(text="bien"), "ST", "bien", ""),
    (ResultValue(text="a\nb", declared_type="FT"), "FT", r"a\.br\b", ""),
    (ResultValue(text="a\nb"), "TX", r"a\X0A" + "\\b", ""),
    (ResultValue(when=When(value="2024-03-09")), "DT", "20240309", ""),
    (ResultValue(when=When(value="2024-03-09T07:00")), "TS", "202403090700", ""),
    (ResultValue(period=Period(start=When(value="2024"), end=When(value="2025"))), "DR", "2024^2025", ""),
    (ResultValue(boolean=True), "ID", "Y", ""),
    (ResultValue(identifier=Identifier(value="7", authority_name="A")), "CX", "7^^^A", ""),
    (ResultValue(attachment=Attachment(sha256="ab", media_type="application/pdf")), "ED", "^AP^PDF^Base64^JVBERi0xLjQ=", ""),
    (ResultValue(attachment=Attachment(url="https://a/b.pdf", media_type="application/pdf")), "RP", "https://a/b.pdf^URI^AP^PDF", ""),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind", "text", "unit"), RESULTS, ids=lambda v: str(v)[:20])
def test_a_result_says_its_type_and_unit(
    tmp_path: Path, value: ResultValue, kind: str, text: str, unit: str
) -> None:
    rules = "  - each: observations\n    segment: OBX\n    fields:\n      OBX-5: value\n"

    (line,) = _lines(tmp_path, rules, observations=(Observation(value=value),))

    cells = [*line.split("|"), ""]
    assert (cells[2], cells[5], cells[6]) == (kind, text, unit)


def test_what_is_inside_a_loop_reads_its_item_first_and_then_outward(tmp_path: Path) -> None:
    rules = (
        "  - each: reports\n    segments:\n"
        "      - segment: OBR\n        fields:\n          OBR-3: filler_order\n          OBR-4: title\n"
        "      - each: observations\n        segment: OBX\n        when: status != 'cancelled'\n"
        "        fields:\n          OBX-3.1: status\n          OBX-14: collected_at\n          OBX-15.1: document.title\n"
        "      - each: notes\n        segment: NTE\n        fields:\n          NTE-3: .\n"
    )
    reports = tuple(
        Report(
            title=name,
            status="whole",
            filler_order=Identifier(value=name),
            collected_at=When(value="2024"),
            notes=("x", "y"),
            observations=(
                Observation(status="a"),
                Observation(status="cancelled"),
                Observation(status="b"),
            ),
        )
        for name in ("R1", "R2")
    )

    lines = _lines(tmp_path, rules, title="T", reports=reports)

    assert lines == [
        line
        for number, name in enumerate(("R1", "R2"), 1)
        for line in (
            f"OBR|{number}||{name}|{name}",
            "OBX|1||a|||||||||||2024|T",
            "OBX|2||b|||||||||||2024|T",
            "NTE|1||x",
            "NTE|2||y",
        )
    ]


def test_every_keyword_of_a_rule_means_what_it_means_inbound(tmp_path: Path) -> None:
    rules = (
        "tables:\n  sex: sex.csv\n" + MSH.replace("segments:\n", "segments:\n") +
        "  - segment: PID\n    fields:\n"
        "      PID-2.1: = fixed\n"
        "      PID-3[*]:\n        from: patient.identifiers\n        distinct: true\n"
        "      PID-4[*]:\n        each: patient.identifiers\n        when: kind = 'INS-NIR'\n        from: value\n"
        "      PID-7:\n        first_of:\n          - patient.birth_date\n          - created_at\n"
        "      PID-8:\n        from: patient.sex\n        table: sex\n        unmapped: use U\n        default: U\n"
        '      PID-19:\n        template: "{title} ({patient.sex})"\n'
        "      PID-23:\n        choose:\n          - when: kind = 'other'\n            constant: o\n          - constant: x\n"
        "      PID-24:\n        when: title is missing\n        constant: Y\n"
        "      PID-25:\n        from: patient.birth_order\n        default: 1\n        comment: for people\n"
    )  # fmt: skip
    twice = Identifier(value="2", kind="INS-NIR", system="ins_nir")

    (line,) = _lines(
        tmp_path,
        HEAD + rules,
        title="T|1",
        created_at=When(value="2024"),
        patient=_patient(identifiers=(twice, twice), sex="female"),
        sex_csv="from,to\nfemale,F\n",
    )

    ins = "2^^^&1.2.250.1.213.1.4.8&ISO^INS"
    assert line == f"PID|1|fixed|{ins}|2~2|||2024|F|||||||||||T\\F\\1 (female)||||o||1"


def test_a_required_field_that_is_missing_stops_the_message(tmp_path: Path) -> None:
    rules = "  - segment: PID\n    fields:\n      PID-3[*]:\n        from: patient.identifiers\n        required: true\n"

    with pytest.raises(MappingError) as told:
        _lines(tmp_path, rules, title="T")

    assert (told.value.code, told.value.where) == ("mapping.required", "patient.identifiers")


def test_the_receivers_code_leads_and_the_documents_own_follows(tmp_path: Path) -> None:
    rules = (
        "tables:\n  lab: lab.csv\n"
        + MSH
        + (
            "  - segment: OBR\n    fields:\n      OBR-4:\n        from: type_code\n        table: lab\n"
        )
    )

    (line,) = _lines(
        tmp_path, HEAD + rules, type_code=CODED, lab_csv="from,to\n718-7,HGB\n"
    )  # fmt: skip

    assert line == "OBR|1|||HGB^Hémoglobine^^X^Local^L"


def test_what_the_source_emptied_is_the_null_value_and_a_text_of_quotes_is_not(
    tmp_path: Path,
) -> None:
    rules = (
        "  - segment: PID\n    fields:\n      PID-13[*]: patient.phones\n      PID-23: title\n"
        "      PID-7:\n        from: patient.birth_date\n        default: '1900'\n"
    )

    (line,) = _lines(
        tmp_path, rules, title='""', patient=_patient(sex="x"),
        cleared=("patient.phones", "patient.birth_date"),
    )  # fmt: skip

    assert line == 'PID|1||||||""||||||""||||||||||\\X22\\"'


def test_a_segment_of_nothing_or_of_constants_alone_is_left_out(tmp_path: Path) -> None:
    rules = (
        "  - segment: PV2\n    fields:\n      PV2-8: service_start\n"
        "  - segment: PV1\n    fields:\n      PV1-2: = N\n      PV1-44: service_start\n"
        "  - segment: PR1\n    when: id is present\n    fields:\n      PR1-2: = X\n"
    )

    assert _lines(tmp_path, rules) == ["PR1|1|X"]


def test_no_text_of_a_document_begins_a_segment_a_field_or_a_repetition(tmp_path: Path) -> None:
    rules = "  - segment: NTE\n    fields:\n      NTE-3[*]: title\n      NTE-4: type_code\n"
    evil = "x\rPID|1||9^^^A~8&7\\"

    lines = _lines(tmp_path, rules, title=evil, type_code=Coded(text=evil))

    assert len(lines) == 1
    assert lines[0].count("|") == 4
    assert "~" not in lines[0]


BASE = (
    HEAD.replace("mapping: test", "mapping: base") + MSH +
    "  - segment: PID\n    fields:\n      PID-7: patient.birth_date\n      PID-8: patient.sex\n"
    "  - segment: PV1\n    when: id is present\n    fields:\n      PV1-2: = I\n"
    "  - each: reports\n    segments:\n      - segment: OBR\n        fields:\n          OBR-4: title\n          OBR-24.1: = LAB\n"
    "      - each: notes\n        segment: NTE\n        fields:\n          NTE-3: .\n"
)  # fmt: skip
SITE = HEAD.replace("mapping: test", "mapping: site").replace("kind is present", "kind = 'other'")


def test_a_site_changes_a_field_drops_a_segment_and_adds_its_own(tmp_path: Path) -> None:
    site = SITE + (
        "extends:\n  - base.yaml\n"
        "segments:\n"
        "  - segment: ZPV\n    after: PID\n    fields:\n      ZPV-3: title\n"
        "  - each: reports\n    segments:\n      - segment: OBR\n        fields:\n"
        '          OBR-4:\n            template: "X-{title}"\n'
        "remove:\n  - PV1\n  - PID-8\n  - NTE\n"
    )  # fmt: skip

    lines = _lines(
        tmp_path,
        site,
        base_yaml=BASE,
        title="T",
        patient=_patient(birth_date=When(value="1999"), sex="female"),
        reports=(Report(title="R", notes=("n",)),),
    )

    assert lines == ["PID|1||||||1999", "ZPV|||T", "OBR|1|||X-R||||||||||||||||||||LAB"]


def test_of_two_that_apply_the_one_that_extends_the_other_writes(tmp_path: Path) -> None:
    site = SITE + "extends:\n  - base.yaml\nremove:\n  - PV1\n"

    found = _set(tmp_path, site, base_yaml=BASE)

    assert found.writers.write(Document(id="x"), "hl7v2", CONTENT.__getitem__).mapping == "site"
    named = found.writers.write(Document(id="x"), "hl7v2", CONTENT.__getitem__, mapping="base")
    assert named.mapping == "base"


def test_a_document_that_no_mapping_is_meant_for_is_refused_by_its_kind(tmp_path: Path) -> None:
    found = _set(tmp_path, HEAD.replace("kind is present", "kind = 'other'") + MSH)

    with pytest.raises(MappingError) as told:
        found.writers.write(Document(id="x", kind="order_event"), "hl7v2", CONTENT.__getitem__)

    assert told.value.code == "mapping.none"
    assert not found.writers.writes(Document(id="x", kind="order_event"), "hl7v2")


def test_every_rule_is_known_by_its_place_for_who_wants_to_see_it(tmp_path: Path) -> None:
    rules = "  - each: reports\n    segment: OBR\n    fields:\n      OBR-4: title\n"

    found = _set(tmp_path, rules).outbound["test"]

    assert [(rule.target, rule.source) for rule in found.rules] == [
        ("MSH-12", "= 2.5"),
        ("OBR[{}]-4", "title"),
    ]


def test_the_event_and_a_period_have_their_fields(tmp_path: Path) -> None:
    rules = (
        "  - segment: EVN\n    fields:\n      EVN-2: source.received_at\n      EVN-4: event.reason\n"
        "  - each: procedures\n    segment: PR1\n    fields:\n      PR1-5: performed\n"
    )

    lines = _lines(
        tmp_path,
        rules,
        source=Source(received_at="2026-11-25T14:00:01.123456+00:00"),
        event=Event(reason=Coded(codings=(Coding(code="O"),))),
        procedures=(Procedure(performed=Period(start=When(value="2024-01-02"))),),
    )

    assert lines == ["EVN||20261125140001+0000||O", "PR1|1||||20240102"]
