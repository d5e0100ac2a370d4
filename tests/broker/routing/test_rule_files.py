"""Files of routing rules: what they say, what is wrong in them, and that they belong to the set they lie in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from broker.document import Coded, Coding, Document, Medication, Observation, Report, ResultValue
from broker.mapping import catalogue
from broker.mapping.rule_files import RuleFile
from broker.routing import codes, load, reference
from broker.routing.codes import Known
from broker.rules.routing import Routing
from broker.rules.routing_facts import Facts
from broker.settings_tables import Route, When

PROJECT = Path(__file__).resolve().parents[3]
MISTAKES = Path(__file__).parent / "mistakes"
GOLDEN = Path(__file__).parent / "golden" / "mistakes.txt"
CODES = codes.load(PROJECT / "mappings" / "rules")
KNOWN = Known(CODES, ("archive", "dmp", "ward-alerts"), ("lab", "hospital"), ("everything",))
PARIS = ZoneInfo("Europe/Paris")


def examined(text: str, *routes: Route, known: Known = KNOWN) -> load.Examined:
    return load.examine([RuleFile("rules.yaml", text.encode())], routes, known, PARIS)


def rules(text: str, *routes: Route) -> Routing:
    found = examined(text, *routes)
    assert [found.problems.render(problem) for problem in found.problems.found] == []
    return found.routing


def rule(body: str, name: str = "r") -> str:
    """A file of one rule, with what every rule has."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"language: 1\nrules:\n  - rule: {name}\n    en: A rule.\n    fr: Une règle.\n{lines}"


def result(code: str, flag: str = "", value: str = "") -> Observation:
    coded = Coded(codings=(Coding(code=code),))
    flags = (Coded(codings=(Coding(code=flag),)),) if flag else ()
    return Observation(code=coded, flags=flags, value=ResultValue(text=value) if value else None)


def report(*observations: Observation) -> Facts:
    return Facts(
        Document(id="1", kind="result_report", reports=(Report(observations=observations),))
    )


def test_a_file_says_its_rules_in_order_with_all_they_have() -> None:
    found = examined(
        """language: 1
rules:
  - rule: no-psychiatry
    en: Stays of the psychiatric ward are not sent to the DMP.
    fr: Les séjours de psychiatrie ne vont pas au DMP.
    comment: agreed with the DIM
    priority: 10
    valid_from: 2026-03-01
    when:
      ward: [PSY1, PSY2*]
    filter: local_only
    to: [dmp]
  - rule: rest
    en: The rest.
    fr: Le reste.
    unless: {identity: [doubtful, fictitious]}
    send: [dmp, archive]
"""
    )

    first, second = found.rules
    assert found.problems.found == []
    assert (first.id, first.priority, first.reason, first.to) == (
        "no-psychiatry", 10, "local_only", ("dmp",),
    )  # fmt: skip
    assert first.valid_from == datetime(2026, 2, 28, 23, tzinfo=UTC), "midnight in Paris"
    assert [(one.name, one.wanted) for one in first.when] == [("ward", ("PSY1", "PSY2*"))]
    assert first.fr.startswith("Les séjours")
    assert first.place == "rules.yaml:3:11"
    assert (second.send, second.unless[0].name) == (("dmp", "archive"), "identity")


@pytest.mark.parametrize(
    ("content", "holds", "fails"),
    [
        (
            "reports.observations.flags in ('HH', 'LL')",
            report(result("2823-3", "N"), result("2951-2", "HH")),
            report(result("2823-3", "H")),
        ),
        (
            "reports.observations[code='2823-3' and flags='HH'] is present",
            report(result("2823-3", "HH")),
            report(result("2823-3", "N"), result("2951-2", "HH")),
        ),
        (
            "reports.observations[code='630-4'].value.text like '*staph*'",
            report(result("630-4", value="staphylococcus")),
            report(result("600-7", value="staphylococcus")),
        ),
        (
            "medications is present or problems.code = 'I21'",
            Facts(Document(id="1", medications=(Medication(product_name="X"),))),
            Facts(Document(id="1")),
        ),
    ],
)
def test_content_is_a_condition_of_the_mapping_language(
    content: str, holds: Facts, fails: Facts
) -> None:
    made = rules(rule(f'when:\n  content: "{content}"\nsend: [ward-alerts]'))

    assert made.decide(holds).sent == (("ward-alerts", "r"),)
    assert made.decide(fails).sent == ()


def test_of_several_conditions_on_content_all_must_hold() -> None:
    made = rules(
        rule(
            "when:\n  content:\n    - reports.observations.flags = 'HH'\n"
            "    - reports.observations.code = '2823-3'\nsend: [ward-alerts]"
        )
    )

    assert made.decide(report(result("2823-3", "HH"))).sent
    assert not made.decide(report(result("2823-3", "N"))).sent
    assert not made.decide(report(result("2951-2", "HH"))).sent


def test_a_profession_is_a_group_of_the_matrix_or_a_code() -> None:
    from tests.broker.rules.test_routing import coded, written_by

    facts = Facts(written_by(role_code=coded("G15_21/D")))
    for wanted, holds in (
        ("PHARMACIEN_OFFICINE", True),
        ("G15_21/D", True),
        ("G15_21", True),
        ("PHARMACIEN_PUI", False),
        ("MEDECIN", False),
    ):
        made = rules(rule(f"when: {{author_profession: [{wanted}]}}\nsend: [dmp]"))
        assert bool(made.decide(facts).sent) is holds, wanted


def test_a_route_of_the_settings_and_the_same_rule_decide_alike() -> None:
    route = Route(
        name="reports",
        to=("archive", "dmp"),
        when=When(source=("lab",), kind=("clinical_document",), type_code=("11502-2",)),
    )
    by_rule = rules(
        rule(
            "when: {source: [lab], kind: [clinical_document], type_code: [11502-2]}\n"
            "send: [archive, dmp]",
            "reports",
        )
    )
    by_route = Routing(load.examine([], [route], KNOWN).routing.rules)

    typed = Coded(codings=(Coding(code="11502-2", system="http://loinc.org"),))
    for source in ("lab", "hospital"):
        for document in (
            Document(id="1", kind="clinical_document", type_code=typed),
            Document(id="1", kind="other", type_code=typed),
            Document(id="1", kind="clinical_document"),
        ):
            facts = (Facts(document, source), Facts(document, source))
            assert by_rule.decide(facts[0]) == by_route.decide(facts[1])


def test_rules_of_files_come_before_the_routes_of_the_settings_unless_they_say_otherwise() -> None:
    everything = Route(name="everything", to=("dmp",))
    text = rule("when: {kind: [other]}\nfilter: not_clinical\nto: [dmp]")

    found = rules(text, everything)

    assert found.decide(Facts(Document(id="1", kind="other"))).sent == ()
    assert found.decide(Facts(Document(id="1", kind="order_event"))).sent == (
        ("dmp", "everything"),
    )
    last = rules(rule("priority: 200\nsend: [archive]"), everything)
    assert [one.id for one in last.rules] == ["everything", "r"]


def test_without_settings_destinations_and_sources_are_not_looked_up() -> None:
    text = rule("when: {source: [nowhere]}\nsend: [nobody]")

    assert examined(text, known=Known(CODES)).problems.found == []
    assert [problem.code for problem in examined(text).problems.found] == ["E606", "E607"]


# --- what lint says ---------------------------------------------------------------------------------------------


def mistakes() -> Iterator[tuple[str, str]]:
    for path in sorted(MISTAKES.glob("*.yaml")):
        yield path.stem, path.read_text(encoding="utf-8")


def told(text: str) -> str:
    everything = Route(name="everything", to=("dmp",))
    found = examined(text, everything).problems
    return "\n".join(found.render(problem) for problem in found.found)


def test_mistakes_are_told_as_people_read_them() -> None:
    text = "\n".join(f"== {name}\n{told(body)}\n" for name, body in mistakes())

    if os.environ.get("CARNET_RENEW_GOLDENS") == "1":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "text"), list(mistakes()))
def test_no_mistake_goes_unnoticed_and_each_is_shown_at_its_place(name: str, text: str) -> None:
    assert "^" in told(text), name


def test_every_code_has_its_paragraph_and_a_mistake_that_shows_it() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted((PROJECT / "broker" / "routing").glob("*.py"))
        if path.name != "reference.py"
    )
    used = set(re.findall(r'"([EW]6\d{2})"', sources))

    assert used == set(reference.DIAGNOSTICS)
    assert used <= set(re.findall(r"[EW]6\d{2}", GOLDEN.read_text(encoding="utf-8")))


# --- part of the set --------------------------------------------------------------------------------------------


def set_of(folder: Path, name: str, text: str) -> catalogue.MappingSet:
    path = folder / "set" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return catalogue.load(folder / "set")


@pytest.mark.parametrize("name", ["rules/routing/a.yaml", "sites/one/rules/routing/deep/a.yaml"])
def test_a_rule_changes_the_set_it_lies_in(tmp_path: Path, name: str) -> None:
    before = set_of(tmp_path, name, rule("send: [dmp]"))
    after = set_of(tmp_path, name, rule("send: [archive]"))

    assert [one.shown for one in before.rule_files] == [f"set/{name}"]
    assert before.hash != after.hash
    assert list(before.mappings) == []


@pytest.mark.parametrize("name", ["rules/other.yaml", "rules/routing/a.tests/b.yaml"])
def test_other_files_of_a_rules_folder_belong_to_no_set(tmp_path: Path, name: str) -> None:
    before = set_of(tmp_path, name, rule("send: [dmp]"))
    after = set_of(tmp_path, name, rule("send: [archive]"))

    assert before.rule_files == ()
    assert before.hash == after.hash


def test_the_installed_set_has_no_rules_of_its_own() -> None:
    assert catalogue.load(PROJECT / "mappings").rule_files == ()
