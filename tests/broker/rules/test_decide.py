"""Decisions on filing and reading: each rule, the order they are asked in, and the replay (F27)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access import Decision, Viewer, parse_viewer, viewer_keys
from broker.errors import SetupError
from broker.events import REASONS
from broker.rules import decide

RULES = decide.load(Path(__file__).parents[3] / "mappings" / "rules")
NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
PHYSICIAN = Viewer(
    kind="professional", id="899900000029", name="Dr Essai", profession="G15_10/SM26"
)
PODIATRIST = Viewer(
    kind="professional", id="899900000011", name="Pied Exemple", profession="G15_80"
)
HOLDER = Viewer(kind="patient", id="1")
DISCHARGE = "34112-3"


@dataclass(frozen=True)
class Person:
    id: int = 1
    account: str = "active"
    consent_version: int = 3
    filing_opposed: bool = False
    consents: dict[tuple[str, str], tuple[str, datetime]] = field(
        default_factory=lambda: {("consultation", "group:1"): ("IC", NOW)}
    )
    team: tuple[tuple[str, int], ...] = (("group:1", 3),)
    born: date | None = None


@dataclass(frozen=True)
class Paper:
    id: str = "0192f0c4-0000-7000-8000-000000000001"
    type_code: str | None = DISCHARGE
    masked_ps: bool = False
    visible_from: datetime | None = None
    availability: str = "current"
    author_keys: tuple[str, ...] = ()
    kind: str = "clinical_document"
    hidden_from_reps: bool = False


def test_a_physician_reads_the_discharge_report_and_a_podiatrist_does_not() -> None:
    allowed = RULES.reading(PHYSICIAN, Person(), Paper(), NOW)
    denied = RULES.reading(PODIATRIST, Person(), Paper(), NOW)

    assert (allowed.allowed, allowed.rule) == (True, "MAT-03")
    assert (denied.allowed, denied.rule) == (False, "MAT-08")
    assert "PEDICURE_PODOLOGUE" in decide.explain(RULES, denied, "operator")
    assert decide.explain(RULES, denied, "professional", "fr") == "Aucun document ne correspond."


def test_the_certificate_of_residence_is_closed_even_to_physicians() -> None:
    assert not RULES.reading(PHYSICIAN, Person(), Paper(type_code="ATTEST-RESID"), NOW).allowed


@pytest.mark.parametrize(
    ("profession", "type_code"),
    [("G15_80", None), ("G15_10", "X-LOCAL"), ("G15_77", DISCHARGE), ("", DISCHARGE)],
)
def test_what_the_matrix_does_not_know_is_closed(profession: str, type_code: str | None) -> None:
    viewer = Viewer(kind="professional", id="899900000037", profession=profession)

    assert RULES.reading(viewer, Person(), Paper(type_code=type_code), NOW).rule == "MAT-05"


def test_structured_results_are_judged_as_the_report_they_make_up() -> None:
    panel = Paper(type_code="24331-1", kind="result_report")

    assert RULES.reading(PHYSICIAN, Person(), panel, NOW).allowed
    assert RULES.reading(PHYSICIAN, Person(), Paper(type_code="24331-1"), NOW).rule == "MAT-05"


def test_a_masked_document_is_for_its_author_alone() -> None:
    paper = Paper(masked_ps=True, author_keys=("ps|899900000011",))

    assert RULES.reading(PHYSICIAN, Person(), paper, NOW).rule == "VIS-01"
    assert RULES.reading(PODIATRIST, Person(), paper, NOW).rule == "ACC-06"


def test_an_author_is_known_by_the_short_and_the_long_form_of_the_national_id() -> None:
    short = Viewer(kind="professional", id="99900000011", profession="G15_80")

    assert viewer_keys(short) == viewer_keys(PODIATRIST) == {"ps|899900000011"}
    assert viewer_keys(parse_viewer("podiatrist")).isdisjoint({"ps|PEDICURE_PODOLOGUE", ""})


def test_the_patient_sees_an_announcement_document_from_its_day_on() -> None:
    paper = Paper(visible_from=NOW + timedelta(days=30))

    before = RULES.reading(HOLDER, Person(), paper, NOW)
    after = RULES.reading(HOLDER, Person(), paper, NOW + timedelta(days=30))

    assert (before.rule, after.allowed) == ("VIS-02", True)
    assert RULES.reading(PHYSICIAN, Person(), paper, NOW).allowed


def test_a_patient_reads_no_other_record() -> None:
    assert RULES.reading(Viewer(kind="patient", id="2"), Person(), Paper(), NOW).rule == "HOLD-01"


@pytest.mark.parametrize(
    "state", ["closed", "suspended", "opposed", "deleted", "not_eligible", "informed"]
)
def test_a_space_that_is_not_open_is_neither_fed_nor_read(state: str) -> None:
    person = Person(account=state)

    filing = RULES.filing(person)
    assert (filing.allowed, filing.rule) == (False, "LIFE")
    assert filing.reason in REASONS
    author = Paper(author_keys=("ps|899900000029",))
    assert RULES.reading(PHYSICIAN, person, author, NOW).rule == "LIFE"
    assert RULES.reading(HOLDER, person, Paper(), NOW).rule == "LIFE"


def test_opposition_to_filing_stops_filing_and_not_reading() -> None:
    person = Person(filing_opposed=True)

    assert (RULES.filing(person).rule, RULES.filing(person).reason) == ("CON-07", "account.opposed")
    assert RULES.reading(PHYSICIAN, person, Paper(), NOW).allowed


def test_an_emergency_needs_a_reason_and_leaves_the_matrix_and_masks_in_force() -> None:
    bare = msgspec.structs.replace(PHYSICIAN, mode="bris_de_glace")
    told = msgspec.structs.replace(bare, motive="coma, nobody to ask")
    foot = msgspec.structs.replace(PODIATRIST, mode="bris_de_glace", motive="found unconscious")

    assert RULES.reading(bare, Person(), Paper(), NOW).rule == "EMG-01"
    assert RULES.reading(told, Person(), Paper(), NOW).allowed
    assert RULES.reading(told, Person(), Paper(masked_ps=True), NOW).rule == "VIS-01"
    assert RULES.reading(foot, Person(), Paper(), NOW).rule == "MAT-08"


def test_each_emergency_mode_is_opposed_by_itself() -> None:
    person = Person(consents={("emergency", "bris_de_glace"): ("opposed", NOW)})
    glass = msgspec.structs.replace(PHYSICIAN, mode="bris_de_glace", motive="coma")
    call = msgspec.structs.replace(PHYSICIAN, mode="centre_15", motive="call")

    assert RULES.reading(glass, person, Paper(), NOW).rule == "EMG-03"
    assert RULES.reading(call, person, Paper(), NOW).allowed
    foot = msgspec.structs.replace(PODIATRIST, mode="centre_15", motive="call")
    assert RULES.reading(foot, Person(), Paper(), NOW).rule == "EMG-02"


def test_an_operator_lists_metadata_and_opens_content_only_with_a_reason() -> None:
    operator = parse_viewer("operator")
    told = msgspec.structs.replace(operator, motive="incident 12")

    assert RULES.reading(operator, Person(), Paper(), NOW, "list").allowed
    assert RULES.reading(operator, Person(), Paper(), NOW).rule == "OPR-02"
    assert RULES.reading(told, Person(), Paper(), NOW).allowed


VIEWERS = st.builds(
    Viewer,
    kind=st.sampled_from(["professional", "patient", "operator"]),
    id=st.sampled_from(["1", "2", "899900000011", "x|y"]),
    profession=st.sampled_from(["G15_10", "G15_80", "G15_21/A", "R85:331", "MEDECIN", "", "??"]),
    mode=st.sampled_from(["normal", "bris_de_glace", "centre_15"]),
    motive=st.sampled_from(["", "why"]),
)
PEOPLE = st.builds(
    Person,
    account=st.sampled_from(["active", "open_unactivated", "closed", "suspended"]),
    filing_opposed=st.booleans(),
    consents=st.sampled_from([{}, {("emergency", "centre_15"): ("opposed", NOW)}]),
)
PAPERS = st.builds(
    Paper,
    type_code=st.sampled_from([DISCHARGE, "ATTEST-RESID", "11488-4", "?", None]),
    masked_ps=st.booleans(),
    visible_from=st.sampled_from([None, NOW, NOW + timedelta(days=3)]),
    availability=st.sampled_from(["current", "superseded", "deleted"]),
    author_keys=st.sampled_from([(), ("ps|899900000011",), ("x|y",)]),
)


@given(VIEWERS, PEOPLE, PAPERS, st.sampled_from(["list", "read"]))
def test_every_decision_is_explained_and_replays_to_itself(
    viewer: Viewer, person: Person, paper: Paper, action: str
) -> None:
    made = RULES.reading(viewer, person, paper, NOW, action)  # type: ignore[arg-type]

    stored = msgspec.json.decode(msgspec.json.encode(made.inputs))
    assert RULES.replay(stored) == made
    assert (made.rule, made.allowed) in RULES.sentences
    assert made.reason in REASONS
    for audience in ("operator", "professional", "patient"):
        for language in ("en", "fr"):
            sentence = decide.explain(RULES, made, audience, language)  # type: ignore[arg-type]
            assert sentence.endswith(".")
            assert "{" not in sentence


@given(VIEWERS, PEOPLE, PAPERS)
def test_nobody_but_operators_reads_what_is_deleted_or_in_a_closed_space(
    viewer: Viewer, person: Person, paper: Paper
) -> None:
    made = RULES.reading(viewer, person, paper, NOW)

    if viewer.kind != "operator" and (
        paper.availability == "deleted" or person.account in ("closed", "suspended")
    ):
        assert not made.allowed


@given(VIEWERS, PAPERS)
def test_an_author_is_never_denied_in_an_open_space(viewer: Viewer, paper: Paper) -> None:
    author = msgspec.structs.replace(viewer, kind="professional", id="899900000011")
    written = Paper(
        paper.id,
        paper.type_code,
        paper.masked_ps,
        paper.visible_from,
        "current",
        ("ps|899900000011",),
    )

    assert RULES.reading(author, Person(), written, NOW).rule == "ACC-06"


@given(VIEWERS, PEOPLE, PAPERS)
def test_masking_never_opens_anything(viewer: Viewer, person: Person, paper: Paper) -> None:
    bare = Paper(
        paper.id, paper.type_code, False, paper.visible_from, paper.availability, paper.author_keys
    )
    masked = Paper(
        paper.id, paper.type_code, True, paper.visible_from, paper.availability, paper.author_keys
    )

    if RULES.reading(viewer, person, masked, NOW).allowed:
        assert RULES.reading(viewer, person, bare, NOW).allowed


def test_a_filing_decision_replays_too() -> None:
    made = RULES.filing(Person(filing_opposed=True), now=NOW)

    assert RULES.replay(msgspec.json.decode(msgspec.json.encode(made.inputs))) == made
    assert made.rules_version == RULES.version
    assert made.matrix_version == RULES.matrix.version


@pytest.mark.parametrize(
    "text", ["", "patient:", "colour=red", "kind=king,profession=G15_10", "mode=soon,id=1"]
)
def test_a_viewer_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match=r"viewer\.invalid"):
        parse_viewer(text)


def test_a_viewer_is_said_in_words_of_every_day() -> None:
    assert parse_viewer("podiatrist").profession == "PEDICURE_PODOLOGUE"
    assert parse_viewer("profession=G15_80,id=899900000011,name=Pied Exemple") == PODIATRIST
    assert parse_viewer("patient:42") == Viewer(kind="patient", id="42")
    assert isinstance(
        RULES.reading(parse_viewer("physician"), Person(), None, NOW, "list"), Decision
    )
