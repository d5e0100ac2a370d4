"""Whatever was said in whatever order: deny wins where it must, authors keep their own, the blocked read nothing."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.access import Viewer
from broker.events import REASONS
from broker.rules import decide
from tests.broker.rules.cast import NOW, RULES, TEAM, Consents, Paper, Person

KEYS = ("ps|899900000029", "ps|899900000011")
WORDS = st.one_of(
    st.tuples(
        st.just("consultation"),
        st.sampled_from(["", TEAM, "structure:990000001"]),
        st.sampled_from(["IC", "INC", "withdrawn"]),
    ),
    st.tuples(st.just("explicit"), st.sampled_from(KEYS), st.sampled_from(["IC", "INC"])),
    st.tuples(st.just("block"), st.sampled_from(KEYS), st.sampled_from(["blocked", "unblocked"])),
    st.tuples(st.just("traitant"), st.just(""), st.sampled_from([*KEYS, "none"])),
    st.tuples(
        st.just("emergency"),
        st.sampled_from(["bris_de_glace", "centre_15"]),
        st.sampled_from(["opposed", "allowed"]),
    ),
    st.tuples(
        st.just("mandate"),
        st.just("p-1"),
        st.sampled_from(["parent/all//", "ended/all//", "representation/person//2026-11-09"]),
    ),
)


def told(words: list[tuple[str, str, str]]) -> Consents:
    """What the last word on each matter is, as the journal keeps it."""
    return {
        (kind, scope): (value, NOW - timedelta(minutes=len(words) - n))
        for n, (kind, scope, value) in enumerate(words)
    }


PEOPLE = st.builds(
    Person,
    account=st.sampled_from(["active", "open_unactivated", "closed", "suspended", "informed"]),
    consents=st.lists(WORDS, max_size=8).map(told),
    team=st.sampled_from([(), ((TEAM, 1),)]),
    born=st.sampled_from([None, date(1979, 5, 28), date(2012, 4, 2)]),
)
VIEWERS = st.builds(
    Viewer,
    kind=st.sampled_from(["professional", "professional", "patient", "representative"]),
    id=st.sampled_from(["1", "p-1", "899900000029", "899900000011"]),
    profession=st.sampled_from(["G15_10", "G15_10/SM25", "G15_80", "R85:331", "EMPLOYER", "??"]),
    mode=st.sampled_from(["normal", "bris_de_glace", "centre_15", "connexion_secrete"]),
    motive=st.sampled_from(["", "why"]),
    consent=st.sampled_from(["", "explicit"]),
    responsible=st.sampled_from(["", "899900000029"]),
)
PAPERS = st.builds(
    Paper,
    type_code=st.sampled_from(["34112-3", "ATTEST-RESID", "11488-4", None]),
    masked_ps=st.booleans(),
    visible_from=st.sampled_from([None, NOW, NOW + timedelta(days=3)]),
    hidden_from_reps=st.booleans(),
    availability=st.sampled_from(["current", "deleted"]),
    author_keys=st.sampled_from([(), KEYS[:1], KEYS[1:]]),
)
OPEN = ("active", "open_unactivated")


@settings(max_examples=400, deadline=None)
@given(VIEWERS, PEOPLE, PAPERS)
def test_every_decision_replays_to_itself_and_has_words(
    viewer: Viewer, person: Person, paper: Paper
) -> None:
    made = RULES.reading(viewer, person, paper, NOW)

    assert RULES.replay(msgspec.json.decode(msgspec.json.encode(made.inputs))) == made
    assert (made.rule, made.allowed) in RULES.sentences
    assert made.reason in REASONS
    for audience in ("operator", "professional", "patient"):
        assert "{" not in decide.explain(RULES, made, audience, "fr")  # type: ignore[arg-type]


@settings(max_examples=400, deadline=None)
@given(VIEWERS, PEOPLE, PAPERS)
def test_the_path_ends_in_the_decision(viewer: Viewer, person: Person, paper: Paper) -> None:
    made = RULES.reading(viewer, person, paper, NOW)

    *before, (_, last) = RULES.path(msgspec.convert(made.inputs, decide.Facts))
    assert last == (made.allowed, made.rule, made.reason)
    assert all(said is None for _, said in before)


@settings(max_examples=400, deadline=None)
@given(VIEWERS, PEOPLE, PAPERS)
def test_a_blocked_professional_never_reads_but_in_centre_15(
    viewer: Viewer, person: Person, paper: Paper
) -> None:
    key = f"ps|{viewer.id}"
    is_blocked = person.consents.get(("block", key), ("",))[0] == "blocked"

    if viewer.kind == "professional" and is_blocked and viewer.mode != "centre_15":
        assert not RULES.reading(viewer, person, paper, NOW).allowed


@settings(max_examples=400, deadline=None)
@given(VIEWERS, PEOPLE, PAPERS)
def test_an_author_is_never_denied_their_own_unless_blocked(
    viewer: Viewer, person: Person, paper: Paper
) -> None:
    is_blocked = any(kind == "block" for kind, _ in person.consents)
    is_theirs = f"ps|{viewer.id}" in paper.author_keys and paper.availability == "current"

    if (
        viewer.kind == "professional"
        and is_theirs
        and person.account in OPEN
        and not is_blocked
        and viewer.profession != "EMPLOYER"
    ):
        assert RULES.reading(viewer, person, paper, NOW).rule == "ACC-06"


@settings(max_examples=400, deadline=None)
@given(VIEWERS, PEOPLE, PAPERS)
def test_deny_wins_where_it_must(viewer: Viewer, person: Person, paper: Paper) -> None:
    made = RULES.reading(viewer, person, paper, NOW)

    if person.account not in OPEN or paper.availability == "deleted":
        assert not made.allowed
    if viewer.kind == "professional" and viewer.profession in ("EMPLOYER", "??"):
        assert not made.allowed or (made.rule == "ACC-06" and viewer.profession == "??")
    is_emergency = viewer.mode in ("bris_de_glace", "centre_15")
    has_word = viewer.consent or any(word[0] == "IC" for word in person.consents.values())
    is_declared = any(kind == "traitant" for kind, _ in person.consents)
    if viewer.kind == "professional" and not is_emergency and not has_word and not is_declared:
        assert not made.allowed or made.rule == "ACC-06"
    if viewer.kind == "representative":
        assert not (made.allowed and paper.hidden_from_reps and made.rule == "MIN-01")


@settings(max_examples=300, deadline=None)
@given(VIEWERS, PEOPLE, PAPERS)
def test_masking_never_opens_and_consent_never_closes(
    viewer: Viewer, person: Person, paper: Paper
) -> None:
    bare = msgspec.structs.replace(viewer, consent="")
    told_yes = msgspec.structs.replace(viewer, consent="explicit")
    masked = Paper(
        **{name: getattr(paper, name) for name in paper.__dataclass_fields__} | {"masked_ps": True}
    )
    unmasked = Paper(
        **{name: getattr(paper, name) for name in paper.__dataclass_fields__} | {"masked_ps": False}
    )

    if RULES.reading(viewer, person, masked, NOW).allowed:
        assert RULES.reading(viewer, person, unmasked, NOW).allowed
    if RULES.reading(bare, person, paper, NOW).allowed:
        assert RULES.reading(told_yes, person, paper, NOW).allowed
