"""Nothing of the CDA and FHIR corpus is left unread that nobody has looked at."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from tests.corpus.survey import CORPUS
from tests.corpus.unread_structured import accepted, is_accepted, unread

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the public corpus is not beside the project"
)


@pytest.fixture(scope="module")
def places() -> set[str]:
    return {place for kind in ("cda", "fhir") for place in unread(kind)}


def test_every_place_no_rule_reads_has_been_reviewed(places: set[str]) -> None:
    known = accepted()

    new = sorted(place for place in places if not is_accepted(place, known))

    assert new == [], "read it, ignore it in the mapping, or add it to unread_structured.tsv"


def test_the_review_lists_only_what_is_still_unread(places: set[str]) -> None:
    stale = [
        name
        for name in accepted()
        if name not in places and not any(fnmatchcase(place, name) for place in places)
    ]

    assert stale == [], "take these rows out of unread_structured.tsv"


def test_every_reason_says_something() -> None:
    assert all(len(reason) > 15 for reason in accepted().values())
