"""Schemathesis sends what the OpenAPI document allows and what it does not: no 5xx, and nothing of a hidden document."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation.modes import GenerationMode

from tests.broker import ledger
from tests.web import papers
from tests.web.site import DISCHARGE, INS, Site

SECRET_WORDS = ("ZZCACHE", "1.9.9.9.77")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str, str]]:
    """A site with a record of which a podiatrist may see one document and not the other."""
    folder = tmp_path_factory.mktemp("fuzzed")
    engine = ledger.new(f"sqlite:///{folder / 'carnet.db'}")
    site = Site(engine, folder)
    patient = site.person()
    hidden = papers.structured(1, DISCHARGE, comments="ZZCACHE", unique_id="1.9.9.9.77")
    site.put(patient, papers.structured(0), hidden)
    yield site, site.reference(patient), hidden.id
    site.close()
    engine.dispose()


def fuzz(place: tuple[Site, str, str], examples: int) -> int:
    """Call every operation with generated requests, and with a patient who is there; returns how many were made."""
    site, reference, hidden = place
    schema = schemathesis.openapi.from_dict(site.http.get("openapi.json").json())
    schema.config.update(base_url=f"{site.url}/fhir")
    who, made = site.podiatrist(), 0
    for found in schema.get_all_operations():
        operation = found.ok()
        strategy = st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        )

        @settings(
            max_examples=examples, deadline=None, database=None, derandomize=True,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=strategy, is_about_somebody=st.booleans())
        def check(case: Any, is_about_somebody: bool) -> None:
            nonlocal made
            if is_about_somebody and case.method == "GET" and isinstance(case.query, dict | None):
                case.query = {**(case.query or {}), "patient": reference}
            answer = case.call(headers=who)
            made += 1
            assert answer.status_code < 500, (case.method, case.path, answer.status_code)
            told = answer.text
            assert not any(word in told for word in SECRET_WORDS), (case.method, case.path)
            assert hidden not in told, (case.method, case.path)
            if answer.status_code >= 400 and told:
                assert '"OperationOutcome"' in told or answer.status_code == 400
                assert INS not in told

        check()
    return made


@pytest.mark.timeout(600)
def test_no_generated_request_fails_or_shows_what_is_hidden(place: tuple[Site, str, str]) -> None:
    operations = 11 * 2 + 12 + 2

    assert fuzz(place, int(os.environ.get("CARNET_FUZZ_EXAMPLES", "4"))) >= operations


@pytest.mark.drill
@pytest.mark.timeout(7_200)
def test_no_request_of_a_long_run_fails_or_shows_what_is_hidden(
    place: tuple[Site, str, str],
) -> None:
    assert fuzz(place, 1_000) > 10_000
