"""What intake keeps packed is what readers find unpacked: every column, once, in order, whoever unpacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from broker.database import sequences, together
from broker.database.engine import open_engine, reading, writing
from broker.encryption import sealed
from broker.errors import TransientError
from broker.records import messages, receptions, tallies
from broker.unpacking import Unpacker, unpack
from broker.values import Lane, MessageId, Seq, State, uuid7
from tests.broker import ledger

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GRAIN = Random(1).randbytes(receptions.LONG_BODY)
"""A long body that no packing makes short."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
maybe = st.none() | texts


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Engine]:
    engine = ledger.new(postgres_url)
    yield engine
    engine.dispose()


@st.composite
def received(draw: st.DrawFn, place: int) -> receptions.Received:
    """A message as intake drafts it, with whatever a sender may have written in its first segment."""
    body = draw(st.binary(max_size=60)) + draw(st.sampled_from([b"", GRAIN, bytes(len(GRAIN))]))
    digest = sha256(body).digest()
    at = NOW + timedelta(microseconds=draw(st.integers(0, 10**9)))
    return receptions.Received(
        seq=Seq(place),
        id=MessageId(uuid7(at)),
        source=draw(st.sampled_from(["lab", "ward", "é"])),
        received_at=at,
        day=20261124,
        kind="message",
        format="hl7v2",
        media=draw(texts),
        type=draw(texts),
        version=draw(texts),
        charset_declared=draw(texts),
        body=body,
        sha256=digest,
        digest=int.from_bytes(digest[:8], "big", signed=True),
        key=draw(st.integers(-(2**63), 2**63 - 1)),
        control_id=draw(maybe),
        sender=draw(texts),
        peer=draw(texts),
        transport_keys=draw(maybe),
        lane=Lane(draw(st.integers(-(2**63), 2**63 - 1))),
        answer_code="accepted",
        state=draw(st.sampled_from([State.RECEIVED, State.HELD])),
        reason=draw(maybe),
        conflicts_with=draw(st.none() | st.integers(1, 2**50).map(Seq)),
    )


batches = st.integers(1, 6).flatmap(lambda n: st.tuples(*(received(place) for place in range(n))))


def store(engine: Engine, rows: Sequence[receptions.Received], *, knows: bool = False) -> int:
    """Commit messages as intake does; returns the number before the first of them."""
    with together.writing_together(engine) as connection:
        numbering = sequences.reservation(connection, "message", len(rows), NOW)
        (numbers,) = together.ask(connection, [numbering])
        first = int(numbers[0][0]) - len(rows) + 1
        numbered = engine.dialect.name == "sqlite" or knows
        if numbered:
            for row in rows:
                row.seq = Seq(first + row.seq)
        receptions.write(
            connection, rows, NOW, "gateway-0", reserved=len(rows), first=first if numbered else 0
        )
    return first - 1


def found(engine: Engine, after: int) -> list[tuple[object, ...]]:
    """The stored messages above a number, in order, with their place, bytes and key."""
    with reading(engine) as connection:
        rows = connection.execute(
            text(
                "SELECT m.*, b.body, c.key FROM message m JOIN message_body b ON b.seq = m.seq "
                "JOIN control c ON c.seq = m.seq WHERE m.seq > :after ORDER BY m.seq"
            ),
            {"after": after},
        ).all()
    return [
        (
            row.seq - after - 1,
            str(row.id),
            row.source,
            row.received_at,
            row.day,
            row.kind,
            row.format,
            row.media,
            row.type,
            row.version,
            row.charset_declared,
            sealed.plain_of(b"message_body", bytes(row.body)),
            bytes(row.sha256),
            row.size,
            row.digest,
            row.key,
            row.control_id,
            row.sender,
            row.peer,
            row.transport_keys,
            row.lane,
            row.answer_code,
            row.answered_at,
            row.state,
            row.state_since,
            row.reason,
            row.conflicts_with,
        )
        for row in rows
    ]


def expected(place: int, row: receptions.Received) -> tuple[object, ...]:
    at = int(row.received_at.timestamp() * 1_000_000)
    exact = (row.received_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert abs(at - exact) <= 1
    answered = (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return (
        place, row.id, row.source, exact, row.day, row.kind, row.format, row.media, row.type, row.version,
        row.charset_declared, row.body, row.sha256, len(row.body), row.digest, row.key, row.control_id, row.sender,
        row.peer, row.transport_keys, row.lane, row.answer_code, answered, int(row.state), exact, row.reason,
        row.conflicts_with,
    )  # fmt: skip


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=batches, knows=st.booleans())
def test_every_column_is_found_as_it_was_received(
    empty_ledger: Engine, rows: tuple[receptions.Received, ...], knows: bool
) -> None:
    before = store(empty_ledger, rows, knows=knows)
    unpack(empty_ledger, "test")

    wanted = [expected(place, row) for place, row in enumerate(rows)]
    assert found(empty_ledger, before) == wanted


def some(count: int, marker: str) -> list[receptions.Received]:
    """Plain messages, control ids `marker0`, `marker1`, …"""
    made = []
    for place in range(count):
        body = f"MSH|{marker}{place}".encode()
        digest = sha256(body).digest()
        number = int.from_bytes(digest[:8], "big", signed=True)
        control_id = f"{marker}{place}"
        made.append(
            receptions.Received(
                seq=Seq(place), id=MessageId(uuid7(NOW)), source="lab", received_at=NOW, day=20261124,
                kind="message", format="hl7v2", media="", type="ADT^A01", version="2.5", charset_declared="",
                body=body, sha256=digest, digest=number, key=receptions.control_key("lab", control_id, number),
                control_id=control_id, sender="A|B", peer="", transport_keys=None, lane=Lane(7),
                answer_code="accepted",
            )
        )  # fmt: skip
    return made


def counted(engine: Engine, statement: str) -> int:
    with reading(engine) as connection:
        return int(connection.execute(text(statement)).scalar() or 0)


def test_several_unpack_at_once_and_each_message_is_made_once(
    postgres: Engine, postgres_url: str
) -> None:
    for n in range(150):
        store(postgres, some(10, f"{n}-"))
    engines = [open_engine(postgres_url) for _ in range(4)]

    with ThreadPoolExecutor(len(engines)) as pool:
        made = list(pool.map(lambda engine: unpack(engine, "test"), engines))

    assert sum(made) == 1_500
    assert counted(postgres, "SELECT count(*) FROM message") == 1_500
    assert counted(postgres, "SELECT count(*) FROM audit_entry WHERE act = 'received'") == 1_500
    assert counted(postgres, "SELECT count(DISTINCT subject) FROM audit_entry") == 1_500
    with reading(postgres) as connection:
        fates = tallies.fates(connection)
    assert {fate: n for (_, _, fate), n in fates.items()} == {"received": 1_500, "in_flight": 1_500}
    for engine in engines:
        engine.dispose()


def test_entries_of_the_trail_follow_the_order_of_reception(postgres: Engine) -> None:
    for n in range(70):
        store(postgres, some(3, f"{n}-"))
    unpack(postgres, "test")

    with reading(postgres) as connection:
        by_trail = connection.execute(text("SELECT subject FROM audit_entry ORDER BY n")).scalars()
        by_number = connection.execute(text("SELECT CAST(id AS text) FROM message ORDER BY seq"))
        assert list(by_trail) == list(by_number.scalars())


def test_who_was_told_a_number_finds_all_earlier_ones(postgres: Engine) -> None:
    unpacker = Unpacker(postgres, "worker-0")
    store(postgres, some(5, "a"))
    last = store(postgres, some(5, "b")) + 5

    unpacker.up_to(last - 7)
    assert counted(postgres, "SELECT count(*) FROM message") == 10

    later = store(postgres, some(2, "c")) + 1
    unpacker.up_to(last - 7)
    assert counted(postgres, "SELECT count(*) FROM message") == 10
    unpacker.up_to(later)
    assert counted(postgres, "SELECT count(*) FROM message") == 12


def test_a_long_body_is_written_once_and_where_it_stays(postgres: Engine) -> None:
    rows = some(3, "a")
    rows[1].body = b"MSH|" + GRAIN
    before = store(postgres, rows)

    assert counted(postgres, "SELECT octet_length(bodies) FROM reception") < 200
    assert counted(postgres, "SELECT max(seq) FROM message_body") == before + 2
    unpack(postgres, "test")
    assert [one[11] for one in found(postgres, before)] == [row.body for row in rows]
    assert counted(postgres, "SELECT count(*) FROM message_body") == 3


def test_what_has_no_long_body_can_be_unpacked_by_the_version_before(postgres: Engine) -> None:
    long = some(1, "b")
    long[0].body = GRAIN
    store(postgres, some(2, "a"))
    store(postgres, long)

    layouts = "SELECT layout FROM reception ORDER BY first_seq"
    with reading(postgres) as connection:
        assert list(connection.execute(text(layouts)).scalars()) == [1, 2]


def test_what_fails_half_way_is_still_packed(postgres: Engine) -> None:
    store(postgres, some(5, "a"))

    def fail() -> None:
        with writing(postgres) as connection:
            receptions.unpack(connection, receptions.packed(connection, 0), "test")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert counted(postgres, "SELECT count(*) FROM message") == 0
    assert unpack(postgres, "test") == 5


def test_a_newer_layout_is_left_to_those_who_know_it(postgres: Engine) -> None:
    store(postgres, some(5, "a"))
    with writing(postgres) as connection:
        connection.execute(text(f"UPDATE reception SET layout = {receptions.LAYOUT + 1}"))

    with pytest.raises(TransientError, match=r"ledger\.newer_layout"):
        unpack(postgres, "test")
    assert counted(postgres, "SELECT count(*) FROM reception") == 1


def test_another_order_of_columns_is_another_layout() -> None:
    """Rows packed by one version are unpacked by the next: change the columns, and count `LAYOUT` up."""
    columns = "\n".join(receptions.COLUMNS).encode()

    assert (receptions.LAYOUT, sha256(columns).hexdigest()[:16]) == (2, "500da56e3a1c364c")


def test_what_the_database_cannot_hold_is_refused_at_once(postgres: Engine) -> None:
    (row,) = some(1, "a")
    row.sender = "A\0B"

    with pytest.raises(ValueError, match="NUL"):
        store(postgres, [row])
    assert counted(postgres, "SELECT count(*) FROM reception") == 0


def test_receptions_of_many_bytes_are_unpacked_by_few_at_a_time(postgres: Engine) -> None:
    for n in range(3):
        rows = some(170, f"{n}-")
        for row in rows:
            row.body = bytes([n + 1]) + GRAIN[: receptions.LONG_BODY - 100]
        store(postgres, rows)

    with writing(postgres) as connection:
        assert len(receptions.packed(connection, 0)) == 1
    assert unpack(postgres, "test") == 3 * 170
    with reading(postgres) as connection:
        seqs = [row[0] for row in connection.execute(text("SELECT seq FROM message"))]
        opened = messages.claim(connection, seqs)
    assert [one.body[:1] for one in opened] == [b"\1"] * 170 + [b"\2"] * 170 + [b"\3"] * 170
