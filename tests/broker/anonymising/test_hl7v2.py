"""HL7v2 messages: other people, and everything else byte for byte as it was."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.anonymising.anonymise import anonymise
from broker.anonymising.words import Words
from broker.errors import ParseError
from broker.identity import ins
from broker.mapping.hl7v2_fields import FIELD_TYPES
from broker.parsing import hl7v2

WORDS = Words(b"a key")
MSH = "MSH|^~\\&|LAB|HOSP|DPI|HOSP|20260309082500||ORU^R01|000123|P|2.5"


def new(text: str, codec: str = "utf-8", words: Words = WORDS) -> str:
    return anonymise(text.encode(codec), words).body.decode(codec)


def fields(message: str, name: str) -> list[str]:
    return next(line for line in message.split("\r") if line.startswith(name)).split("|")


SEGMENT = st.tuples(
    st.sampled_from([*FIELD_TYPES, "ZZZ", "Z99"]).filter(lambda name: name not in ("MSH", "FHS", "BHS", "BTS", "FTS")),
    st.lists(
        st.text(st.sampled_from('abzABZéÈç0159 ^~&\\.-/"T'), max_size=16)
        | st.sampled_from(
            ["20260309", "1979", "DUPONT^Jean", "5^^^A&1.2.250.1.71.4&ISO^PI", "\\.br\\x\\T\\", '""']
        ),
        max_size=12,
    ),
)  # fmt: skip


@given(st.lists(SEGMENT, max_size=4), st.sampled_from(["\r", "\n", "\r\n"]))
@pytest.mark.parametrize("codec", ["utf-8", "cp1252"])
def test_each_field_keeps_its_length_in_characters_and_bytes(
    codec: str, segments: list[tuple[str, list[str]]], end: str
) -> None:
    lines = [MSH, *("|".join([name, *values]) for name, values in segments if name != "OBX")]
    body = end.join(lines).encode(codec)

    made = anonymise(body, WORDS).body

    before, after = hl7v2.parse(body), hl7v2.parse(made)
    assert len(made) == len(body)
    assert (after.separators, after.codec, after.repairs) == (
        before.separators,
        before.codec,
        before.repairs,
    )
    for old, now in zip(before.segments, after.segments, strict=True):
        assert old.name == now.name
        assert [len(text) for text in old.fields] == [len(text) for text in now.fields]
        assert [text.count("^") for text in old.fields] == [text.count("^") for text in now.fields]


def test_people_go_and_codes_results_and_structure_stay() -> None:
    lines = [
        MSH,
        "PID|1||12345^^^HOSP&1.2.3&ISO^PI||DUPONT^Élodie^^^Mme^^L||19790328|F|||1 rue Haute^^PARIS^^75001^FRA^H||0612345678",
        "OBR|1|A1234|B1234|58410-2^Hémogramme^LN|||20260309",
        "OBX|1|NM|718-7^Hémoglobine^LN||15.3|g/dL|12.0-16.0|N|||F|||20260309",
        "OBX|2|ST|1-8^X^LN||<5||||||F",
        "OBX|3|TX|1-9^X^LN||Vu ce jour\\.br\\Mme DUPONT||||||F",
        "NTE|1|L|appeler Mme DUPONT au 0612345678",
        "ZPI|DUPONT|Y|20260309|AB",
    ]

    made = new("\r".join(lines))

    for value in ("12345", "DUPONT", "Élodie", "19790328", "rue", "PARIS", "75001", "0612345678", "A1234", "20260309"):  # fmt: skip
        assert value not in made
    assert fields(made, "OBR")[4] == "58410-2^Hémogramme^LN"
    assert fields(made, "OBX|1")[3:9] == ["718-7^Hémoglobine^LN", "", "15.3", "g/dL", "12.0-16.0", "N"]  # fmt: skip
    assert fields(made, "OBX|2")[5] == "<5"
    assert "\\.br\\" in fields(made, "OBX|3")[5]
    assert fields(made, "PID")[5].split("^")[4:] == ["Mme", "", "L"]
    assert fields(made, "PID")[11].endswith("^FRA^H")
    assert fields(made, "PID")[3].endswith("&1.2.3&ISO^PI")
    assert fields(made, "ZPI")[2] == "Y"
    assert fields(made, "ZPI")[4] == "AB"


def test_a_patient_stays_one_patient_over_messages_and_files() -> None:
    one = new(f"{MSH}\rPID|1||12345||DUPONT^Jean")
    two = new(f"{MSH}\rPID|1||12345||Dupont^JEAN\rMRG|12345")

    assert fields(one, "PID")[3] == fields(two, "PID")[3] == fields(two, "MRG")[1]
    assert fields(one, "PID")[5].upper() == fields(two, "PID")[5].upper()


def test_a_production_ins_becomes_a_valid_one_of_the_test_authority() -> None:
    made = new(f"{MSH}\rPID|1||279035121518989^^^ASIP-SANTE-INS-NIR&{ins.NIR}&ISO^INS")

    value = fields(made, "PID")[3].split("^")
    assert ins.is_valid(value[0])
    assert value[0] != "279035121518989"
    assert value[3] == f"ASIP-SANTE-INS-NIR&{ins.TEST}&ISO"


def test_facilities_are_replaced_unless_kept() -> None:
    assert fields(new(MSH), "MSH")[2:6] != ["LAB", "HOSP", "DPI", "HOSP"]
    assert fields(new(MSH, words=Words(b"k", keep_facilities=True)), "MSH")[2:6] == ["LAB", "HOSP", "DPI", "HOSP"]  # fmt: skip


def test_an_envelope_comments_and_several_messages_stay_where_they_were() -> None:
    text = f"FHS|^~\\&|LAB|HOSP\nBHS|^~\\&|LAB\n{MSH}\nPID|1||1234\n\n{MSH}\nPID|1||1234\nBTS|2\nFTS|1\n"

    found = anonymise(text.encode(), WORDS)

    made = found.body.decode()
    assert found.messages == 2
    assert [line[:3] for line in made.split("\n")] == [line[:3] for line in text.split("\n")]
    assert made.endswith("BTS|2\nFTS|1\n")
    assert made.count("1234") == 0


def test_a_folded_line_is_replaced_with_its_segment() -> None:
    made = new(f"{MSH}\nPID|1||12345||DUPONT^Je\nanne^Marie\nPV1|1|I")

    assert [len(line) for line in made.split("\n")][1:] == [23, 10, 7]
    assert "anne" not in made


def test_a_name_in_the_display_of_a_code_goes_too() -> None:
    made = new(f"{MSH}\rPID|1||12345||DUPONT^Jean\rOBX|1|TX|1^CR de M. DUPONT^L||x")

    assert "DUPONT" not in made
    assert "^CR de M. " in made


def test_hexadecimal_escapes_do_not_hide_a_name() -> None:
    made = new(f"{MSH}\rPID|1||12345||\\X4455504F4E54\\^Jean\\X0D\\")

    assert "4455504F4E54" not in made
    assert "\\X0D\\" in made


def embedded(content: bytes) -> bytes:
    data = base64.b64encode(content).decode()
    made = new(f"{MSH}\rOBX|1|ED|1^X^LN||^TEXT^XML^Base64^{data}||||||F")
    return base64.b64decode(fields(made, "OBX")[5].split("^")[4])


def test_a_document_inside_is_replaced_inside() -> None:
    made = embedded(
        b'<ClinicalDocument xmlns="urn:hl7-org:v3"><recordTarget><patientRole><id extension="12345"/>'
        b"<patient><name><family>DUPONT</family></name></patient></patientRole></recordTarget></ClinicalDocument>"
    )

    assert made.startswith(b'<ClinicalDocument xmlns="urn:hl7-org:v3">')
    assert b"DUPONT" not in made
    assert WORDS.text("DUPONT").encode() in made
    assert WORDS.text("12345").encode() in made


@pytest.mark.parametrize("start", [b"%PDF-1.7 DUPONT", b"\x89PNG DUPONT", b"\xff\xd8\xff DUPONT"])
def test_a_pdf_or_an_image_gives_way_to_an_empty_one(start: bytes) -> None:
    made = embedded(start)

    assert made[:2] == start[:2]
    assert b"DUPONT" not in made


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ParseError):
        anonymise(b"Bonjour", WORDS)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_stays_utf_16(codec: str) -> None:
    body = f"\ufeff{MSH}\rPID|1||12345||DUPONT^\u00c9lodie\r".encode(codec)

    made = anonymise(body, WORDS).body

    assert len(made) == len(body)
    assert made[:2] == body[:2]
    assert fields(made.decode(codec), "PID")[5] == WORDS.text("DUPONT^\u00c9lodie")


@pytest.mark.parametrize("number", range(2, 49))
def test_a_name_in_another_field_is_found_when_it_also_stands_in_its_own(number: int) -> None:
    made = new(f"{MSH}\rPID|1||12345||DUPONT^Jean\rIN1{'|' * number}DUPONT^Jean")

    assert "DUPONT" not in made
    assert "Jean" not in made


def test_a_query_asks_for_the_same_fields_of_somebody_else() -> None:
    made = new(
        "MSH|^~\\&|A|B|C|D|||QBP^Q22|1|P|2.5\rQPD|Q22^Find^HL7|1|@PID.5.1^DUPONT~@PID.7^19790328"
    )

    first, second = fields(made, "QPD")[3].split("~")
    assert first == f"@PID.5.1^{WORDS.text('DUPONT')}"
    assert second == f"@PID.7^{WORDS.date('19790328')}"
