"""What is written as HL7v2 and read again by our own mappings says the same, whatever the texts hold."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import rendering
from broker.document import (
    Coded,
    Coding,
    Document,
    Identifier,
    Observation,
    Patient,
    PersonName,
    Quantity,
    Report,
    ResultValue,
    When,
)
from broker.mapper import Given, Mapper
from broker.mapping.catalogue import MappingSet, load

MAPPINGS = Path(__file__).resolve().parents[2] / "mappings"
GIVEN = Given(message_id="018f0000-0000-7000-8000-000000000001", sha256="00" * 32)


@cache
def mappings() -> MappingSet:
    """Loaded once; no fixture, since hypothesis prints arguments of a failing test."""
    return load(MAPPINGS)


def _as_read(text: str) -> str:
    """Codes, names and identifiers are read without the blanks around them; two quotes mean nothing there."""
    return text.strip()


words = st.text(min_size=1, max_size=12).map(_as_read).filter(lambda t: t not in ("", '""'))
notes = words.map(lambda t: t.replace("\r\n", "\n").replace("\r", "\n"))
"""NTE-3 is formatted text: a break of lines is one, however it was typed."""
moments = st.datetimes().map(
    lambda t: When(value=t.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0"), offset="+01:00")
)
days = st.dates().map(lambda d: When(value=d.isoformat()))
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str)
quantities = st.builds(
    Quantity, value=numbers, comparator=st.sampled_from(["", "<", ">", "<=", ">="]), unit=words
)
codings = st.builds(
    Coding, code=words, display=words, system=st.just("L"), system_as_received=st.just("L")
)
codes = codings.map(lambda c: Coded(codings=(c,)))
values = st.one_of(
    quantities.map(lambda q: ResultValue(quantity=q)),
    codes.map(lambda c: ResultValue(coded=c)),
    words.map(lambda t: ResultValue(text=t)),
)
observations = st.builds(
    Observation,
    code=codes,
    value=values,
    observed_at=moments,
    status=st.sampled_from(["final", "preliminary", "corrected", "cancelled"]),
    flags=st.sampled_from(["H", "L", "N", "A"]).map(lambda f: (Coded(codings=(Coding(code=f),)),)),
    notes=st.lists(notes, max_size=2).map(tuple),
)
patients = st.builds(
    Patient,
    identifiers=st.lists(
        st.builds(
            Identifier, value=words, authority_name=words, type_code=st.sampled_from(["PI", "PT"])
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda i: (i.authority_name, i.value),
    ).map(tuple),
    names=st.builds(
        PersonName, family=words, given=words.map(lambda g: (g,)), use=st.just("birth")
    ).map(lambda n: (n,)),
    birth_date=days,
    sex=st.sampled_from(["female", "male", "other", "unknown"]),
)
reports = st.builds(
    Report,
    code=codes,
    filler_order=st.builds(Identifier, value=words),
    status=st.just("final"),
    observations=st.lists(observations, min_size=1, max_size=3).map(tuple),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(patient=patients, report=reports)
def test_a_result_report_survives_the_way_out_and_in(patient: Patient, report: Report) -> None:
    document = Document(
        id="018f0000-0000-7000-8000-000000000000",
        kind="result_report",
        patient=patient,
        reports=(report,),
    )

    _, body, _ = rendering.render(mappings(), document, "hl7v2", {}.__getitem__)
    reading = Mapper(mappings()).read(body, GIVEN)

    (again,) = reading.documents
    assert again.patient is not None
    assert _identity(again.patient) == _identity(patient)
    (found,) = again.reports
    assert _code(found.code) == _code(report.code)
    assert [_result(one) for one in found.observations] == [
        _result(one) for one in report.observations
    ]


def _identity(patient: Patient) -> tuple[object, ...]:
    return (
        [(i.value, i.authority_name, i.type_code) for i in patient.identifiers],
        [(n.family, n.given, n.use) for n in patient.names],
        patient.birth_date,
        patient.sex,
    )


def _code(code: Coded | None) -> tuple[str, str, str]:
    assert code is not None
    first = code.codings[0]
    return first.code, first.display, first.system


def _result(one: Observation) -> tuple[object, ...]:
    assert one.value is not None
    amount, coded = one.value.quantity, one.value.coded
    return (
        _code(one.code),
        (amount.value, amount.comparator, amount.unit) if amount else None,
        _code(coded) if coded else None,
        one.value.text,
        one.flags[0].codings[0].code,
        one.status,
        one.observed_at.value if one.observed_at else "",
        one.observed_at.offset if one.observed_at else "",
        one.notes,
    )
