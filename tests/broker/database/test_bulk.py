"""Rows go in as they are and come out so, one statement at a time or together, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from time import perf_counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from sqlalchemy.util import greenlet_spawn

from broker.database import bulk, sequences, together
from broker.database.engine import reading, writing
from broker.database.schema import (
    access_line,
    audit_entry,
    content,
    counter,
    message_body,
    notice,
    tally_day,
)
from broker.errors import TransientError
from tests.broker import ledger

NOW = datetime(2026, 11, 24, tzinfo=UTC)
Writing = Callable[[Engine], AbstractContextManager[Connection]]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
entries = st.tuples(
    st.integers(0, 2**62), texts, texts, texts, texts, st.none() | texts, st.none() | texts
)
ENTRY = ("n", "at", "act", "actor_kind", "actor", "subject", "details", "control_id")


@pytest.fixture(params=[writing, together.writing_together], ids=["alone", "together"])
def write(request: pytest.FixtureRequest) -> Writing:
    """Both ways to write."""
    way: Writing = request.param
    return way


@pytest.fixture
def engine(empty_ledger: Engine) -> Engine:
    """Empty tables; the examples of one test share them and clean up behind themselves."""
    return empty_ledger


def _clear(connection: Connection) -> None:
    connection.execute(text("DELETE FROM audit_entry"))
    connection.execute(text("DELETE FROM message_body"))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(entries, min_size=1, max_size=8))
def test_numbered_rows_are_read_as_they_were_written(
    engine: Engine, write: Writing, rows: list[tuple[object, ...]]
) -> None:
    with write(engine) as connection:
        bulk.append_rows(
            connection, audit_entry, ENTRY, rows, counter="audit", base=sequences.base(NOW)
        )

    with writing(engine) as connection:
        found = connection.execute(
            text(f"SELECT {', '.join(ENTRY)} FROM audit_entry ORDER BY n")
        ).all()
        _clear(connection)
    assert [tuple(row[1:]) for row in found] == rows
    numbers = [row[0] for row in found]
    assert numbers == list(range(numbers[0], numbers[0] + len(rows)))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(bodies=st.lists(st.binary(max_size=60), min_size=1, max_size=6))
def test_bytes_are_read_as_they_were_written(
    engine: Engine, write: Writing, bodies: list[bytes]
) -> None:
    rows = [(sequences.base(NOW) + n, body) for n, body in enumerate(bodies)]
    with write(engine) as connection:
        bulk.insert_rows(connection, message_body, ("seq", "body"), rows)

    with writing(engine) as connection:
        found = connection.execute(text("SELECT seq, body FROM message_body ORDER BY seq")).all()
        _clear(connection)
    assert [(row[0], bytes(row[1])) for row in found] == rows


def test_a_statement_larger_than_a_socket_takes_arrives_whole(
    engine: Engine, write: Writing
) -> None:
    bodies = [bytes([n]) * 5_000_000 for n in range(3)]
    with write(engine) as connection:
        bulk.insert_rows(
            connection,
            message_body,
            ("seq", "body"),
            [(sequences.base(NOW) + n, body) for n, body in enumerate(bodies)],
        )

    with reading(engine) as connection:
        found = connection.execute(text("SELECT body FROM message_body ORDER BY seq")).all()
    assert [bytes(row[0]) for row in found] == bodies


def test_counters_add_up_whoever_adds(engine: Engine, write: Writing) -> None:
    columns = ("day", "source", "fate", "writer", "n")
    for n in (1, 2, -1):
        with write(engine) as connection:
            bulk.add_counts(connection, tally_day, columns, [(20261124, "lab", "filed", "w", n)])

    with reading(engine) as connection:
        assert connection.execute(text("SELECT n FROM tally_day")).scalars().all() == [2]


def test_lines_are_numbered_behind_those_of_their_owner(engine: Engine, write: Writing) -> None:
    columns = ("n", "visit", "at", "act")
    for visit, acts in ((1, ["list", "read"]), (2, ["read"]), (1, ["list"]), (2, [])):
        with write(engine) as connection:
            rows = [(visit, 0, act) for act in acts]
            bulk.insert_behind(connection, access_line, columns, rows, owner=("visit", visit))

    with reading(engine) as connection:
        found = connection.execute(text("SELECT visit, n, act FROM access_line ORDER BY visit, n"))
        assert [tuple(row) for row in found] == [
            (1, 1, "list"), (1, 2, "read"), (1, 3, "list"), (2, 1, "read"),
        ]  # fmt: skip


def test_a_counter_names_the_entry_that_follows_in_its_transaction(
    engine: Engine, write: Writing
) -> None:
    base = sequences.base(NOW)
    columns = (
        "id", "patient", "kind", "cause", "day", "created_at", "due_at", "secret", "audit_n", "state", "lines",
    )  # fmt: skip
    for number in (1, 2, 1):
        with write(engine) as connection:
            bulk.add_counts(
                connection,
                notice,
                columns,
                [(number, 7, "access", "c", 1, 2, 3, False, None, "due", 1)],
                count="lines",
                latest=("state",),
                first=columns[1:9],
                following=("audit_n", "audit", base),
            )
            entries = [(0, "act", "machine", "lab", str(number), None, None)]
            bulk.append_rows(connection, audit_entry, ENTRY, entries, counter="audit", base=base)

    with reading(engine) as connection:
        named = connection.execute(text("SELECT id, audit_n, lines FROM notice ORDER BY id")).all()
        there = connection.execute(
            text("SELECT subject, min(n), count(*) FROM audit_entry GROUP BY subject ORDER BY 1")
        ).all()
    assert [(str(one[0]), *one[1:]) for one in named] == [tuple(row) for row in there]
    assert len(named) == 2


def test_questions_are_answered_with_values_whatever_their_number(
    engine: Engine, write: Writing
) -> None:
    numbers = [("many", n) for n in range(300)]
    with write(engine) as connection:
        bulk.insert_rows(
            connection, counter, ("name", "value"), [(f"{name}{n}", n) for name, n in numbers]
        )
        one, many, none = together.ask_rows(
            connection,
            [
                ("SELECT name, value, value > %s, NULL FROM counter WHERE name = %s", (1, "many7")),
                ("SELECT value FROM counter WHERE name LIKE %s ORDER BY value", ("many%",)),
                ("SELECT value FROM counter WHERE name = %s", ("nobody",)),
            ],
        )
    assert [tuple(row) for row in one] == [("many7", 7, True, None)]
    assert [value for (value,) in many] == list(range(300))
    assert (len(many), many[299][0], [row[0] for row in many[70:72]]) == (300, 299, [70, 71])
    assert not none
    assert list(none) == []


def test_what_is_there_stays_or_is_replaced_as_asked(engine: Engine, write: Writing) -> None:
    columns = ("name", "value")
    with write(engine) as connection:
        bulk.insert_missing(connection, counter, columns, [("a", 1), ("b", 2)])
        bulk.insert_missing(connection, counter, columns, [("a", 9)])
        bulk.replace_rows(connection, counter, columns, [("b", 7), ("c", 3)], keys=("name",))

    with reading(engine) as connection:
        found = connection.execute(text("SELECT name, value FROM counter ORDER BY name")).all()
    assert [tuple(row) for row in found if len(row.name) == 1] == [("a", 1), ("b", 7), ("c", 3)]


def test_a_transaction_that_fails_leaves_nothing_and_the_next_one_works(
    engine: Engine, write: Writing
) -> None:
    row = (sequences.base(NOW), b"x")

    def twice() -> None:
        with write(engine) as connection:
            bulk.insert_rows(connection, message_body, ("seq", "body"), [row])
            bulk.insert_rows(connection, message_body, ("seq", "body"), [row])

    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        twice()

    with write(engine) as connection:
        bulk.insert_rows(connection, message_body, ("seq", "body"), [row])
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM message_body")).scalar() == 1


def test_an_update_changes_the_rows_it_names(engine: Engine) -> None:
    columns = ("sha256", "sha1", "size", "body")
    digests = [bytes([n]) * 32 for n in range(3)]
    with writing(engine) as connection:
        rows = [(digest, b"1", 1, b"a") for digest in digests]
        bulk.insert_rows(connection, content, columns, rows)
        changed = bulk.update_rows(
            connection, content, "sha256", ("size", "body"), [(digests[1], 7, b"\0\xff")]
        )

    assert changed == 1
    with reading(engine) as connection:
        found = connection.execute(text("SELECT size, body FROM content ORDER BY sha256")).all()
    assert [(row[0], bytes(row[1])) for row in found] == [(1, b"a"), (7, b"\0\xff"), (1, b"a")]


def test_a_connection_that_ends_under_way_is_a_passing_failure(postgres_url: str) -> None:
    engine = ledger.new(postgres_url)
    killer = ledger.new(postgres_url)

    def cut_off() -> None:
        with together.writing_together(engine) as connection:
            (((pid,),),) = together.ask(connection, [("SELECT pg_backend_pid()", ())])
            with writing(killer) as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": int(pid)})
            bulk.insert_missing(connection, counter, ("name", "value"), [("lost", 1)])

    with pytest.raises(TransientError):
        cut_off()

    with together.writing_together(engine) as connection:
        bulk.insert_missing(connection, counter, ("name", "value"), [("kept", 1)])
    with reading(engine) as connection:
        names = connection.execute(text("SELECT name FROM counter")).scalars().all()
    assert "kept" in names
    assert "lost" not in names
    engine.dispose()
    killer.dispose()


def test_the_event_loop_goes_on_while_the_database_works(postgres_url: str) -> None:
    engine = ledger.new(postgres_url)
    turns = 0

    def slow() -> None:
        with together.writing_together(engine, together.give_way) as connection:
            together.ask(connection, [("SELECT pg_sleep(0.3)", ())])

    async def both() -> None:
        nonlocal turns
        task = asyncio.ensure_future(greenlet_spawn(slow))
        while not task.done():
            turns += 1
            await asyncio.sleep(0.01)
        await task

    asyncio.run(both())

    assert turns > 5
    engine.dispose()


def test_what_was_not_expected_ends_the_transaction_and_not_the_connection(
    postgres_url: str,
) -> None:
    engine = ledger.new(postgres_url)
    told: list[str] = []

    def write(name: str) -> int:
        with together.writing_together(engine) as connection:
            statements = together.together(connection)
            assert statements is not None
            backend = statements.add("SELECT pg_backend_pid()")
            statements.expect_none("SELECT 1 FROM counter WHERE name = %s::text", (name,))
            statements.tell(lambda: told.append(name))
            bulk.insert_missing(connection, counter, ("name", "value"), [(name, 1)])
            bulk.add_counts(connection, counter, ("name", "value"), [("n", 1)], count="value")
        return int(backend.rows[0][0] or 0)

    first = write("once")
    with pytest.raises(together.ExpectationError):
        write("once")
    last = write("twice")

    assert told == ["once", "twice"]
    assert first == last
    with reading(engine) as connection:
        found = connection.execute(
            text("SELECT name, value FROM counter WHERE name IN ('n')")
        ).all()
    assert [tuple(row) for row in found] == [("n", 2)]
    engine.dispose()


def test_it_is_told_while_the_server_still_works(postgres_url: str) -> None:
    engine = ledger.new(postgres_url)
    told: list[float] = []

    with together.writing_together(engine) as connection:
        statements = together.together(connection)
        assert statements is not None
        statements.tell(lambda: told.append(perf_counter()))
        statements.add("SELECT pg_sleep(0.3)")
    done = perf_counter()

    assert done - told[0] > 0.2
    engine.dispose()


def test_an_update_probes_for_its_rows_however_the_table_has_grown(postgres_url: str) -> None:
    engine = ledger.new(postgres_url)
    grow = text(
        "INSERT INTO counter SELECT 'n' || g, 0 FROM generate_series(CAST(:first AS int), CAST(:last AS int)) g"
    )
    with writing(engine) as connection:
        connection.execute(grow, {"first": 1, "last": 20})
        connection.execute(text("ANALYZE counter"))
    with engine.connect() as connection:
        # Often enough that the driver prepares it, and PostgreSQL keeps its plan: of a table of one page.
        for value in range(12):
            bulk.update_rows(
                connection, counter, "name", ("value",), [("n3", value), ("n7", value)]
            )
        connection.commit()
        with writing(engine) as other:
            other.execute(grow, {"first": 21, "last": 20_000})

        changed = bulk.update_rows(
            connection, counter, "name", ("value",), [("n3", 3), ("n19999", 4)]
        )

        read = connection.execute(
            text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'counter'")
        ).scalar_one()  # fmt: skip
        connection.rollback()
    assert changed == 2
    assert read < 100
    engine.dispose()
