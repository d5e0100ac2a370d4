"""A record with invented people and papers, for the tests of records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from broker.audit import trail
from broker.database import bulk, partitions, sequences
from broker.database.engine import writing
from broker.database.schema import message, message_body
from broker.database.types import to_micros
from broker.document import Coded, Coding, Document, Event, Identifier, Patient, PersonName, encode
from broker.identity.matching import Key
from broker.records import filing, patients
from broker.rules import decide
from broker.values import uuid7

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
RULES = decide.load(Path(__file__).parents[3] / "mappings" / "rules")
WRITE = trail.write


def paper(
    title: str = "Compte rendu",
    *,
    type_code: str = "34112-3",
    unique_id: str = "",
    codes: Sequence[str] = ("N",),
    at: datetime = NOW,
    **fields: object,
) -> Document:
    """A clinical document with a body that differs by its title."""
    made = Document(
        id=uuid7(at),
        kind="clinical_document",
        status="final",
        title=title,
        type_code=Coded(codings=(Coding(code=type_code, system="http://loinc.org"),)),
        confidentiality=tuple(Coded(codings=(Coding(code=code),)) for code in codes),
        unique_id=Identifier(value=unique_id, oid="1.2.250.1.999.7", system="1.2.250.1.999.7")
        if unique_id
        else None,
        event=Event(operation="create"),
    )
    return type(made)(**{name: getattr(made, name) for name in made.__struct_fields__} | fields)


def person(engine: Engine, value: str = "77001", now: datetime = NOW) -> int:
    """Create a patient with one local number."""
    with writing(engine) as connection:
        number = sequences.reserve(connection, "patient", 1, now)
        key = Key("1.2.250.1.999.2", value, "PI", "local")
        traits = Patient(names=(PersonName(family="EXEMPLE", given=("Jeanne",)),))
        patients.create(connection, [patients.NewPatient(number, (key,), traits)], now)
    return number


def put(
    engine: Engine, patient: int, *documents: Document, now: datetime = NOW, message_seq: int = 1
) -> list[filing.Plan]:
    """File documents as one batch, as the pipeline does; returns what was planned."""
    plans = []
    with writing(engine) as connection:
        record = filing.existing(connection, documents)
        made = []
        for document in documents:
            plan = filing.plan(document, record, patient=patient, message_seq=message_seq)
            plans.append(plan)
            if plan.refusal is None and plan.action != "duplicate":
                one = filing.Filing.of(
                    document,
                    encode(document),
                    plan,
                    patient=patient,
                    message_seq=message_seq,
                    now=now,
                )
                record.add(one)
                made.append(one)
        filing.file(connection, made, now)
    return plans


def received(engine: Engine, count: int, body: bytes = b"MSH|", now: datetime = NOW) -> list[int]:
    """Rows of the ledger to owe deliveries of."""
    with writing(engine) as connection:
        partitions.ensure(connection, now)
    with writing(engine) as connection:
        first = sequences.reserve(connection, "message", count, now)
        seqs = list(range(first, first + count))
        columns = (
            "seq", "id", "source", "received_at", "day", "kind", "format", "size", "sha256", "digest", "lane", "state",
            "state_since",
        )  # fmt: skip
        rows = [
            (seq, uuid7(now + timedelta(milliseconds=n)), "ward", to_micros(now), 20261110, "message", "hl7v2",
             len(body), b"0" * 32, 1, 0, 10, to_micros(now))
            for n, seq in enumerate(seqs)
        ]  # fmt: skip
        bulk.insert_rows(connection, message, columns, rows)
        bulk.insert_rows(connection, message_body, ("seq", "body"), [(seq, body) for seq in seqs])
    return seqs
