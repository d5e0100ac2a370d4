"""Where a document goes, and why not."""

from __future__ import annotations

from broker.document import Coded, Coding, Document
from broker.rules import routing
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


def test_a_destination_is_owed_once_under_the_first_route_that_leads_to_it() -> None:
    assert ROUTES.route(DOCUMENT, "lab") == [("archive", "reports"), ("dmp", "reports")]


def test_each_condition_must_hold() -> None:
    assert ("ward", "ward only") in ROUTES.route(DOCUMENT, "ward")


def test_a_route_not_taken_says_which_condition_failed() -> None:
    considered = {one.route: one for one in ROUTES.consider(DOCUMENT, "lab")}

    assert considered["ward only"].failed == "source"
    assert considered["all"].is_taken
