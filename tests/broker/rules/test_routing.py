"""Where a document goes, and why not: each condition, the order of rules, filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.document import (
    Author,
    Coded,
    Coding,
    Delivery,
    Document,
    Encounter,
    Identifier,
    Location,
    Movement,
    Organization,
    Patient,
    Person,
    Recipient,
    Source,
)
from broker.rules import routing
from broker.rules.routing import EVERY, Filtered, Routing, Rule, condition
from broker.rules.routing_facts import KEYS, Facts
from broker.rules.routing_reach import never_reached
from broker.settings_tables import Route, When

DOCUMENT = Document(
    id="0192f0c4-0000-7000-8000-000000000001",
    kind="clinical_document",
    type_code=Coded(
        codings=(
            Coding(code="CRH"),
            Coding(code="34112-3", system="http://loinc.org", role="translation"),
        )
    ),
)
ROUTES = routing.load(
    [
        Route(name="reports", to=("archive", "dmp"), when=When(type_code=("34112-3", "11490-0"))),
        Route(
            name="ward only", to=("ward",), when=When(source=("ward",), kind=("clinical_document",))
        ),
        Route(name="all", to=("archive",)),
    ]
)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Somebody:
    """A patient as far as routing looks."""

    account: str = "active"
    id: int = 1
    consent_version: int = 0
    filing_opposed: bool = False
    consents: Mapping[tuple[str, str], tuple[str, datetime]] = field(default_factory=dict)


def coded(code: str) -> Coded:
    return Coded(codings=(Coding(code=code),))


def written_by(role_code: Coded | None = None, speciality: Coded | None = None) -> Document:
    person = Person(role_code=role_code, speciality=speciality)
    return Document(id="1", authors=(Author(person=person),))


def structure(value: str, oid: str = "") -> Organization:
    return Organization(identifiers=(Identifier(value=value, oid=oid),))


def known_as(status: str, *kinds: str) -> Document:
    identifiers = tuple(Identifier(value="1", kind=kind) for kind in kinds)
    return Document(id="1", patient=Patient(identity_status=status, identifiers=identifiers))


NATIONAL = "1.2.250.1.71.4.2.2"
STAY = Encounter(
    location=Location(point_of_care="MATER"), movement=Movement(care_unit=structure("3435"))
)
HOLDS = [
    ("source", Facts(DOCUMENT, "lab"), {"lab", "l*", "?ab"}, {"ward", "LAB", "l"}),
    ("format", Facts(DOCUMENT, format="cda"), {"cda"}, {"hl7v2"}),
    (
        "message_type",
        Facts(Document(id="1", source=Source(message_type="ORU^R01"))),
        {"ORU^R01", "ORU^*"},
        {"ORU", "MDM^*"},
    ),
    ("kind", Facts(DOCUMENT), {"clinical_document"}, {"result_report"}),
    ("type_code", Facts(DOCUMENT), {"34112-3"}, {"CRH", "34112*"}),
    ("class_code", Facts(Document(id="1", class_code=coded("10"))), {"10"}, {"11"}),
    ("media", Facts(DOCUMENT, media="application/cda+xml"), {"application/*"}, {"text/*"}),
    (
        "confidentiality",
        Facts(Document(id="1", confidentiality=(coded("n"), coded("INVISIBLE_REP_LEGAUX")))),
        {"N", "INVISIBLE_REPRESENTANTS_LEGAUX"},
        {"R", "MASQUE_PS"},
    ),
    (
        "author_profession",
        Facts(written_by(role_code=coded("G15_10/SM03"))),
        {"G15_10", "G15_10/SM03"},
        {"G15_60"},
    ),
    ("author_speciality", Facts(written_by(role_code=coded("G15_10/SM03"))), {"SM03"}, {"SM02"}),
    ("author_speciality", Facts(written_by(speciality=coded("SM03"))), {"SM03", "SM*"}, {"10"}),
    (
        "author_structure",
        Facts(Document(id="1", authors=(Author(organization=structure("1750000001", NATIONAL)),))),
        {"1750000001", "750000001", "75*"},
        {"50000001"},
    ),
    (
        "custodian",
        Facts(Document(id="1", custodian=structure("1750000001"))),
        {"1750000001"},
        {"750000001"},
    ),
    ("ward", Facts(Document(id="1", encounters=(STAY,))), {"MATER", "3435", "MAT*"}, {"343"}),
    ("identity", Facts(DOCUMENT), {"unknown"}, {"validated", "ins"}),
    (
        "identity",
        Facts(known_as("validated", "PI", "INS-NIR")),
        {"validated", "ins", "qualified"},
        {"unknown"},
    ),
    ("identity", Facts(known_as("validated", "PI")), {"validated"}, {"qualified", "ins"}),
    (
        "identity",
        Facts(known_as("provisional", "INS-NIA")),
        {"provisional", "ins"},
        {"qualified", "validated"},
    ),
    ("consent", Facts(DOCUMENT), set(), {"filing_opposed", "space_not_open"}),
    ("consent", Facts(DOCUMENT, patient=Somebody()), set(), {"filing_opposed", "space_not_open"}),
    (
        "consent",
        Facts(DOCUMENT, patient=Somebody("closed", filing_opposed=True)),
        {"filing_opposed", "space_not_open"},
        {"consultation_refused"},
    ),
    (
        "consent",
        Facts(
            DOCUMENT,
            patient=Somebody(
                consents={
                    ("emergency", "bris_de_glace"): ("opposed", NOW),
                    ("emergency", "centre_15"): ("allowed", NOW),
                    ("consultation", ""): ("INC", NOW),
                }
            ),
        ),
        {"bris_de_glace_opposed", "consultation_refused"},
        {"centre_15_opposed", "filing_opposed"},
    ),
    (
        "asked",
        Facts(
            Document(
                id="1",
                delivery=Delivery(mssante_professional=True, dmp=False),
                recipients=(Recipient(),),
            )
        ),
        {"mssante_professional", "recipients"},
        {"dmp", "mssante_patient"},
    ),
]


@pytest.mark.parametrize(("name", "facts", "holds", "fails"), HOLDS)
def test_a_condition_holds_for_the_values_a_message_has_and_for_no_others(
    name: str, facts: Facts, holds: set[str], fails: set[str]
) -> None:
    for value in holds:
        assert condition(name, ("something else", value)).test(facts), value
    for value in fails:
        assert not condition(name, (value,)).test(facts), value


def test_every_condition_stands_in_the_table() -> None:
    assert {name for name, *_ in HOLDS} == set(KEYS)


def test_a_destination_is_owed_once_under_the_first_route_that_leads_to_it() -> None:
    routed = ROUTES.route(DOCUMENT, "lab")

    assert routed.sent == (("archive", "reports"), ("dmp", "reports"))


def test_each_condition_must_hold() -> None:
    assert ("ward", "ward only") in ROUTES.route(DOCUMENT, "ward").sent


def test_a_route_not_taken_says_which_condition_failed() -> None:
    considered = {one.rule.id: one for one in ROUTES.consider(Facts(DOCUMENT, "lab"))}

    failed = considered["ward only"].failed
    assert failed is not None
    assert failed.name == "source"
    assert considered["reports"].is_taken
    assert considered["all"].state == "idle", "archive is sent to already"


def test_a_condition_of_unless_leaves_the_rule_out_when_any_of_them_holds() -> None:
    unless = (condition("source", ("ward",)), condition("kind", ("other",)))
    rules = Routing([Rule("r", unless=unless, send=("archive",))])

    assert rules.route(DOCUMENT, "lab").sent
    assert not rules.route(DOCUMENT, "ward").sent
    assert not rules.route(Document(id="1", kind="other"), "lab").sent


def test_a_filter_takes_its_destinations_from_later_rules_only() -> None:
    rules = Routing(
        [
            Rule("first", send=("archive",)),
            Rule("no dmp", reason="local", to=("dmp", "archive")),
            Rule("rest", send=("archive", "dmp", "ward")),
        ]
    )

    routed = rules.route(DOCUMENT, "lab")

    assert routed.sent == (("archive", "first"), ("ward", "rest"))
    assert routed.filtered == (Filtered("dmp", "no dmp", "local"),)


def test_a_filter_without_destinations_stops_every_later_rule() -> None:
    rules = Routing(
        [
            Rule("first", send=("archive",)),
            Rule("stop", reason="local"),
            Rule("rest", send=("ward",)),
        ]
    )

    routed = rules.route(DOCUMENT, "lab")

    assert routed.sent == (("archive", "first"),)
    assert routed.filtered == (Filtered(EVERY, "stop", "local"),)
    (*_, last) = rules.consider(Facts(DOCUMENT, "lab"))
    assert (last.state, last.by) == ("stopped", "stop")


def test_a_smaller_priority_goes_first_and_equal_ones_keep_their_order() -> None:
    rules = Routing(
        [
            Rule("a", send=("x",)),
            Rule("b", send=("y",), priority=10),
            Rule("c", send=("x", "y"), priority=10),
        ]
    )

    assert [rule.id for rule in rules.rules] == ["b", "c", "a"]
    assert rules.route(DOCUMENT, "lab").sent == (("y", "b"), ("x", "c"))


def test_a_rule_begins_at_its_instant() -> None:
    rules = Routing([Rule("r", send=("x",), valid_from=NOW)])

    assert rules.route(DOCUMENT, "lab", now=NOW).sent
    assert not rules.route(DOCUMENT, "lab", now=NOW - timedelta(microseconds=1)).sent
    assert rules.consider(Facts(DOCUMENT, now=NOW - timedelta(days=1)))[0].state == "not_yet"


def test_without_rules_nothing_is_looked_at() -> None:
    class Untouchable:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"{name} was read")

    untouchable: Document = Untouchable()  # type: ignore[assignment]  # a document that must not be read

    assert Routing().route(untouchable, "lab") == routing.Routed()


# --- what holds for any rules -------------------------------------------------------------------------------------

ON_A_BUSY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
DESTINATIONS = ("archive", "dmp", "ward")
VALUES = {
    "source": ("lab", "ward", "l*"),
    "kind": ("clinical_document", "other"),
    "type_code": ("34112-3", "11490-0"),
    "class_code": ("10", "11"),
    "media": ("a/b", "a/*"),
    "identity": ("unknown", "validated"),
}
CONDITIONS = st.dictionaries(st.sampled_from(sorted(VALUES)), st.none(), max_size=3).flatmap(
    lambda names: st.tuples(
        *(
            st.lists(st.sampled_from(VALUES[name]), min_size=1, unique=True).map(
                lambda wanted, name=name: condition(name, wanted)  # type: ignore[misc]  # binds the name
            )
            for name in names
        )
    )
)
SOME = st.lists(st.sampled_from(DESTINATIONS), min_size=1, unique=True).map(tuple)
SENDING = st.builds(Rule, st.uuids().map(str), CONDITIONS, CONDITIONS, SOME)
FILTERING = st.builds(
    Rule,
    st.uuids().map(str),
    CONDITIONS,
    CONDITIONS,
    st.just(()),
    st.just("no"),
    SOME | st.just(()),
)
RULES = st.lists(SENDING | FILTERING, max_size=6)
MESSAGES = st.builds(
    Facts,
    st.builds(
        Document,
        id=st.just("1"),
        kind=st.sampled_from(("clinical_document", "other")),
        type_code=st.none() | st.sampled_from(("34112-3", "11490-0")).map(coded),
        class_code=st.none() | st.sampled_from(("10", "11")).map(coded),
        patient=st.none() | st.just(Patient(identity_status="validated")),
    ),
    st.sampled_from(("lab", "ward", "hospital")),
    st.sampled_from(("a/b", "c/d")),
)


@ON_A_BUSY_MACHINE
@given(RULES, MESSAGES, st.randoms(use_true_random=False))
def test_the_order_of_conditions_and_of_their_values_means_nothing(
    rules: list[Rule], facts: Facts, random: object
) -> None:
    def shuffled(items: tuple[routing.Condition, ...]) -> tuple[routing.Condition, ...]:
        turned = [condition(one.name, tuple(reversed(one.wanted))) for one in items]
        random.shuffle(turned)  # type: ignore[attr-defined]  # a Random
        return tuple(turned)

    others = [
        Rule(r.id, shuffled(r.when), shuffled(r.unless), r.send, r.reason, r.to) for r in rules
    ]

    assert Routing(rules).decide(facts) == Routing(others).decide(facts)


@ON_A_BUSY_MACHINE
@given(RULES, MESSAGES)
def test_what_is_decided_is_what_is_explained(rules: list[Rule], facts: Facts) -> None:
    made = Routing(rules)
    routed, considered = made.decide(facts), made.consider(facts)

    taken = [one for one in considered if one.is_taken]
    sent = [(to, one.rule.id) for one in taken if not one.rule.is_filter for to in one.done]
    filtered = [
        Filtered(to, one.rule.id, one.rule.reason)
        for one in taken
        if one.rule.is_filter
        for to in one.done
    ]
    assert (tuple(sent), tuple(filtered)) == (routed.sent, routed.filtered)
    assert len(considered) == len(rules)


@ON_A_BUSY_MACHINE
@given(RULES, MESSAGES, SOME | st.just(()))
def test_behind_a_filter_that_holds_nothing_reaches_what_it_takes(
    rules: list[Rule], facts: Facts, to: tuple[str, ...]
) -> None:
    filtering = Rule("first", reason="no", to=to, priority=1)

    routed = Routing([*rules, filtering]).decide(facts)

    assert not {destination for destination, _ in routed.sent} & set(to or DESTINATIONS)


@ON_A_BUSY_MACHINE
@given(RULES, MESSAGES)
def test_a_rule_found_unreachable_never_does_anything(rules: list[Rule], facts: Facts) -> None:
    made = Routing(rules)

    unreached = {one.rule.id for one in never_reached(made.rules)}

    assert not unreached & {one.rule.id for one in made.consider(facts) if one.is_taken}


@ON_A_BUSY_MACHINE
@given(RULES, MESSAGES)
def test_the_rules_ruled_out_by_source_and_kind_would_not_have_held(
    rules: list[Rule], facts: Facts
) -> None:
    made = Routing(rules)
    others = ("lab", "ward", "hospital")

    again = [
        made.decide(Facts(facts.document, source, facts.media)) for source in (*others, *others)
    ]

    fresh = [Routing(rules).decide(Facts(facts.document, source, facts.media)) for source in others]
    assert again == fresh * 2


@ON_A_BUSY_MACHINE
@given(
    st.lists(
        st.builds(
            Route,
            name=st.uuids().map(str),
            to=SOME,
            when=st.builds(
                When,
                source=st.sampled_from(((), ("lab",), ("ward", "lab"))),
                kind=st.sampled_from(((), ("other",))),
                type_code=st.sampled_from(((), ("34112-3",))),
                class_code=st.sampled_from(((), ("10",))),
                media=st.sampled_from(((), ("a/b",))),
            ),
        ),
        max_size=5,
    ),
    MESSAGES,
)
def test_routes_of_the_settings_send_as_they_always_did(routes: list[Route], facts: Facts) -> None:
    document = facts.document
    values = {
        "source": facts.source,
        "kind": document.kind,
        "type_code": document.type_code.codings[0].code if document.type_code else "",
        "class_code": document.class_code.codings[0].code if document.class_code else "",
        "media": facts.media,
    }
    expected: dict[str, str] = {}
    for route in routes:
        if all(not (w := getattr(route.when, name)) or v in w for name, v in values.items()):
            for to in route.to:
                expected.setdefault(to, route.name)

    assert routing.load(routes).decide(facts).sent == tuple(expected.items())
