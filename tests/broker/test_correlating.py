"""What an answer says and what it names: read off the published samples, and off messages that are nearly answers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import app, plugins, settings
from broker.correlating import (
    BY_DESTINATION,
    BY_SENDER,
    Answer,
    own_source_keys,
    read_answer,
    receipt_keys,
    sent_keys,
)
from broker.errors import SetupError
from broker.settings import SettingsError
from tests.broker.answer_site import acknowledgement, zam
from tests.broker.lane_site import adt

SENT = adt("1", "C1")


def test_an_answer_names_what_was_sent_by_the_same_key() -> None:
    answer = read_answer("ACK^A04", acknowledgement("C1"))

    assert answer is not None
    assert answer.key in sent_keys(SENT, "ris")
    assert {kind for kind, _ in sent_keys(SENT, "ris")} == {BY_SENDER, BY_DESTINATION}


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (acknowledgement("C1"), "ACK^A04", ("application", "AA", True, "")),
        (acknowledgement("C1", "AE"), "ACK^A04", ("application", "AE", False, "PID-3.1")),
        (acknowledgement("C1", "CR"), "ACK^A04", ("accept", "CR", False, "PID-3.1")),
        (zam("C1", "Z01"), "ZAM^Z01", ("reception", "Y", True, "")),
        (zam("C1", "Z01", "N", "DMPClosed"), "ZAM^Z01", ("reception", "DMPClosed", False, "OBX-5")),
        (zam("C1", "Z03"), "ZAM^Z03", ("reading", "Y", True, "")),
    ],
)
def test_what_it_says(body: bytes, kind: str, said: tuple[str, str, bool, str]) -> None:
    answer = read_answer(kind, body)

    assert answer is not None
    assert (answer.kind, answer.code, answer.is_positive, answer.place) == said
    assert answer.control_id == "C1"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (SENT, "ADT^A04"),
        (acknowledgement("C1"), "ADT^A04"),
        (acknowledgement("C1").partition(b"MSA")[0], "ACK"),
        (acknowledgement("C1", "ZZ"), "ACK"),
        (acknowledgement(""), "ACK"),
        (b"MSH", "ACK"),
        (zam("C1").replace(b"|Y^", b"|P^"), "ZAM^Z02"),
        (zam("C1"), "ZAM^Z09"),
    ],
)
def test_what_is_no_answer(body: bytes, kind: str) -> None:
    assert read_answer(kind, body) is None


def test_a_name_is_the_same_in_any_case_and_with_or_without_its_oid() -> None:
    answer = read_answer("ACK", acknowledgement("C1", who="Carnet^1.2.250.1.999.5^ISO|chu"))

    assert answer is not None
    assert answer.key in sent_keys(SENT, "ris")


@given(st.text(alphabet="AB|^~\\&12 é", max_size=12), st.text(alphabet="AB|^~\\&12 é", max_size=12))
def test_no_other_name_makes_the_same_key(app_name: str, facility: str) -> None:
    answer = read_answer("ACK", acknowledgement("C1", who=f"{app_name}|{facility}"))

    same = [
        part.partition("^")[0].partition("~")[0].strip().casefold() for part in (app_name, facility)
    ]
    if "|" in app_name + facility or same != ["carnet", "chu"]:
        assert answer is None or answer.key not in sent_keys(SENT, "ris")


def test_where_names_say_nothing_the_source_of_the_partner_does() -> None:
    nameless = read_answer("ACK", acknowledgement("C1", who="|"))
    other = read_answer("ACK", acknowledgement("C1", who="OTHER|CHU"))
    unaddressed = SENT.replace(b"|CARNET|CHU|", b"|||", 1)

    def meet(answer: Answer | None, body: bytes, source_of: str) -> bool:
        assert answer is not None
        return bool(set(own_source_keys(answer, source_of)) & set(sent_keys(body, "ris")))

    assert meet(nameless, SENT, "ris")
    assert meet(other, unaddressed, "ris")
    assert not meet(other, SENT, "ris"), "a name that is another's stays so"
    assert not meet(nameless, SENT, "lab")


@pytest.mark.parametrize(
    "body", [b"", b"<ClinicalDocument/>", b"MSH", b"MSH|^~\\&|A|B|C|D|1||ADT^A01||P|2.5\r"]
)
def test_what_has_no_number_has_no_key(body: bytes) -> None:
    assert sent_keys(body, "ris") == ()


def test_of_a_partners_ids_those_are_kept_by_which_it_may_speak_of_it() -> None:
    keys = receipt_keys(
        {"location": "Bundle/1", "etag": 'W/"1"', "smtp_envid": "x", "document_uid": ""}
    )

    assert set(keys) == {("fhir_location", "Bundle/1"), ("smtp_envid", "x")}


def _load(folder: Path, text: str) -> settings.Settings:
    file = folder / "carnet.toml"
    file.write_text(text)
    return settings.load(file, adapters=plugins.adapters(), queues=plugins.queues())


RIS = '[source.acks]\nadapter = "mllp"\n[destination.ris]\nadapter = "mllp"\nhost = "127.0.0.1"\n'


def test_expects_is_read_with_its_durations(tmp_path: Path) -> None:
    read = _load(tmp_path, RIS + 'expects = { answer_within = "15m", sources = ["acks"] }\n')

    expects = read.destinations["ris"].expects
    assert expects is not None
    assert (expects.answers, expects.answer_within) == (("application",), timedelta(minutes=15))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('expects = { sources = ["ack"] }', 'Did you mean "acks"'),
        ('expects = { answers = ["applikation"] }', "applikation"),
        ("expects = { answers = [] }", "one kind at least"),
        ('expects = { answer_within = "0s" }', "more than nothing"),
    ],
)
def test_what_cannot_be_expected_is_refused(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        _load(tmp_path, f"{RIS}{line}\n")


@pytest.mark.parametrize(
    ("adapter", "remedy"),
    [
        ('"mllp"\nhost = "127.0.0.1"', "remove `verifiable`"),
        ('"http"\nurl = "http://127.0.0.1:1/"', "fhir_identifier = true"),
        ('"file_drop"\nfolder = "{folder}"', "files_stay = true"),
    ],
)
def test_a_destination_that_cannot_be_asked_is_not_started_as_one_that_can(
    tmp_path: Path, adapter: str, remedy: str
) -> None:
    given_text = adapter.replace("{folder}", str(tmp_path))
    read = _load(tmp_path, f"[destination.out]\nadapter = {given_text}\nverifiable = true\n")

    with pytest.raises(SetupError, match=r"adapter\.not_verifiable") as refused:
        app._destination("out", read.destinations["out"], plugins.adapters())

    assert remedy in str(refused.value)
