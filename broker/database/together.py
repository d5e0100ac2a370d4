"""Statements that travel together: one way there and one way back, however many they are (PostgreSQL).

For short transactions of many small statements, where round trips and a driver's work per statement cost more than
the rows. libpq's pipeline mode (PostgreSQL 15 documentation, §34.5), each statement prepared once a connection.
Statements are those of `bulk` and its neighbours: parameters are texts, numbers, bytes or None.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, overload

import psycopg
from psycopg import errors, pq
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.types.string import TextLoader
from sqlalchemy import Connection, Engine
from sqlalchemy.util import await_only

from broker.database.engine import is_sqlite, writing
from broker.database.prepared import prepared_on

Wait = Callable[[int, bool], None]
"""Returns when the socket can be read, or (the second argument) written too."""

Answer = Sequence[tuple[bytes | None, ...]]
"""The rows of one statement, each value as PostgreSQL writes it in text."""

_HERE = "carnet_together"
_AT_ONCE = 64
"""Rows that are made of an answer at a time: of a long one often the first few are enough."""
_MARK = re.compile(r"%[sb]")
_GOOD = frozenset((pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK))


def block(socket: int, is_writing: bool) -> None:
    """Wait as a thread does."""
    poll = select.poll()
    poll.register(socket, select.POLLIN | (select.POLLOUT if is_writing else 0))
    poll.poll()


def give_way(socket: int, is_writing: bool) -> None:
    """Wait as a task does: the event loop goes on meanwhile. Only below `sqlalchemy.util.greenlet_spawn`."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(socket, wake)
    if is_writing:
        loop.add_writer(socket, wake)
    try:
        await_only(ready)
    finally:
        loop.remove_reader(socket)
        if is_writing:
            loop.remove_writer(socket)


class ExpectationError(Exception):
    """A question found what it was expected not to find; the transaction was rolled back and its connection is well."""


@dataclass(slots=True, eq=False)
class Asked:
    """A statement and, after the exchange that took it along, the rows it answered."""

    statement: str
    parameters: Sequence[Any]
    expects_none: bool = False
    is_typed: bool = False
    rows: Sequence[tuple[Any, ...]] = ()


class _AsTexts:
    """How values are made: as psycopg does it, but for UUIDs, which are texts everywhere else."""

    connection = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        self.adapters.register_loader("uuid", TextLoader)


_AS_TEXTS = _AsTexts()


class Typed(Sequence[tuple[Any, ...]]):
    """The rows of one statement as Python's values: numbers, booleans, texts, bytes, UUIDs as texts. Made as they are taken."""

    def __init__(self, result: pq.abc.PGresult) -> None:
        self._loading = Transformer(_AS_TEXTS)
        self._loading.set_pgresult(result)
        self._count = result.ntuples

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[Any, ...]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Any, ...] | Sequence[tuple[Any, ...]]:
        if isinstance(index, slice):
            first, last, _ = index.indices(self._count)
            return self._loading.load_rows(first, max(first, last), tuple)
        place = range(self._count)[index]
        return self._loading.load_rows(place, place + 1, tuple)[0]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for first in range(0, self._count, _AT_ONCE):
            yield from self[first : first + _AT_ONCE]


class Together:
    """What was asked of one connection and not sent yet."""

    def __init__(self, connection: Connection, wait: Wait) -> None:
        driver: Any = connection.connection.driver_connection
        self._libpq: pq.abc.PGconn = driver.pgconn
        self._prepared = prepared_on(connection)
        self._wait = wait
        self._asked: list[Asked | Callable[[], None]] = []

    def add(
        self, statement: str, parameters: Sequence[Any] = (), *, is_typed: bool = False
    ) -> Asked:
        """Ask for one statement; nothing is sent before `exchange`.

        Its rows come as PostgreSQL writes them (`Answer`), or `is_typed` as Python's values (`Typed`).
        """
        asked = Asked(statement, parameters, is_typed=is_typed)
        self._asked.append(asked)
        return asked

    def expect_none(self, question: str, parameters: Sequence[Any] = ()) -> None:
        """Ask a question that should answer no row: where it answers one, nothing behind it is run.

        This is what spares a round trip where the answer is nearly always the same: the exchange goes on without
        waiting for it, and fails with `ExpectationError` where it should have waited.
        """
        statement = f"SELECT 1 / (count(*) = 0)::int FROM ({question}) AS found"  # noqa: S608 - statements of ours
        self._asked.append(Asked(statement, parameters, expects_none=True))

    def tell(self, when_done: Callable[[], None]) -> None:
        """Call `when_done` as soon as all that was asked so far went well, while the server works on what follows."""
        self._asked.append(when_done)

    def exchange(self) -> None:
        """Send what was asked since the last time, and take the answers.

        Raises: ExpectationError, after which the transaction has to be rolled back. psycopg.Error for the first statement
        that failed; those behind it were not run, and the connection is of no use any more.
        """
        libpq = self._libpq
        asked, self._asked = self._asked, []
        libpq.enter_pipeline_mode()
        steps: list[Asked | Callable[[], None] | None] = []
        for one in asked:
            if not isinstance(one, Asked):
                libpq.send_flush_request()
                steps.append(one)
                continue
            name = self._prepared.names.get(one.statement)
            if name is None:
                name = self._prepared.new(one.statement)
                libpq.send_prepare(name, _numbered(one.statement))
                steps.append(None)
            values = [_value(parameter) for parameter in one.parameters]
            formats = [pq.Format(isinstance(parameter, bytes)) for parameter in one.parameters]
            libpq.send_query_prepared(name, values, formats)
            steps.append(one)
        libpq.pipeline_sync()
        failure = self._take(steps)
        libpq.exit_pipeline_mode()
        if failure is not None:
            # What stood behind the failure was not prepared.
            self._prepared.names.clear()
            raise failure

    def _take(self, steps: Sequence[Asked | Callable[[], None] | None]) -> Exception | None:
        """The answers of the steps in their order, and the first failure among them."""
        failure: Exception | None = None
        results = self._results()
        for step in steps:
            if step is not None and not isinstance(step, Asked):
                if failure is None:
                    step()
                continue
            result = next(results)
            if result.status in _GOOD:
                if step is not None:
                    typed = step.is_typed
                    step.rows = Typed(result) if typed else _rows(result)
            elif failure is None:
                failure = _error(result)
                if step and step.expects_none and isinstance(failure, errors.DivisionByZero):
                    failure = ExpectationError()
        for _ in results:  # up to the mark that ends the exchange
            pass
        return failure

    def _results(self) -> Iterator[pq.abc.PGresult]:
        """One result a command, until the mark that ends the exchange."""
        libpq = self._libpq
        while True:
            is_writing = bool(libpq.flush())
            self._wait(libpq.socket, is_writing)
            libpq.consume_input()
            while not libpq.is_busy():
                result = libpq.get_result()
                if result is None:
                    if libpq.status != pq.ConnStatus.OK:
                        raise psycopg.OperationalError("the connection was lost")
                    continue
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    return
                yield result


def together(connection: Connection) -> Together | None:
    """What statements on this connection are added to; None where each is sent by itself."""
    found: Together | None = connection.info.get(_HERE)
    return found


def ask(
    connection: Connection, questions: Sequence[tuple[str, Sequence[Any]]]
) -> list[Sequence[tuple[Any, ...]]]:
    """Ask several questions in one exchange and return the rows of each; one after the other where that is all one.

    Numbers may come as PostgreSQL writes them: take `int()` of them.
    """
    if statements := together(connection):
        asked = [statements.add(statement, parameters) for statement, parameters in questions]
        statements.exchange()
        return [one.rows for one in asked]
    cursor = connection.connection.cursor()
    answers = []
    for statement, parameters in questions:
        cursor.execute(statement, parameters)
        answers.append(cursor.fetchall())
    cursor.close()
    return answers


def ask_rows(
    connection: Connection, questions: Sequence[tuple[str, Sequence[Any]]]
) -> list[Sequence[tuple[Any, ...]]]:
    """Ask several questions as `ask` does; they have `%s` for their parameters on both databases.

    Values are Python's, as each driver gives them: of SQLite booleans are numbers and UUIDs texts.
    """
    if statements := together(connection):
        asked = [statements.add(one, parameters, is_typed=True) for one, parameters in questions]
        statements.exchange()
        return [one.rows for one in asked]
    is_marked_otherwise = is_sqlite(connection)
    cursor = connection.connection.cursor()
    answers: list[Sequence[tuple[Any, ...]]] = []
    for statement, parameters in questions:
        cursor.execute(
            statement.replace("%s", "?") if is_marked_otherwise else statement, parameters
        )
        answers.append(cursor.fetchall())
    cursor.close()
    return answers


def ask_bytes(
    connection: Connection, question: str, parameters: Sequence[Any]
) -> Sequence[tuple[Any, ...]]:
    """Ask one question, marked as for `ask_rows`, whose answer is mostly bytes, and which travels alone.

    PostgreSQL sends them as they are: as text they would be two digits a byte, written there and read here.
    Values are Python's, as each driver gives them: a UUID is one of PostgreSQL, a text of SQLite.
    """
    raw = connection.connection
    if is_sqlite(connection):
        cursor = raw.cursor()
        cursor.execute(question.replace("%s", "?"), parameters)
    else:
        cursor = raw.cursor(binary=True)
        cursor.execute(question, parameters)
    rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
    cursor.close()
    return rows


@contextmanager
def writing_together(engine: Engine, wait: Wait = block) -> Iterator[Connection]:
    """A transaction like `writing`'s whose statements, its begin and its end travel together.

    Statements of this package run in it at the next `exchange`, at the latest when the block ends. Others may run only
    behind a first exchange, and find nothing of what was asked since the last one.
    On SQLite it is `writing`. Raises: TransientError("database.unavailable") as `writing` does, ExpectationError.
    """
    with writing(engine) as connection:
        if is_sqlite(connection):
            yield connection
            return
        connection.info[_HERE] = statements = Together(connection, wait)
        statements.add("BEGIN")
        try:
            yield connection
            statements.add("COMMIT")
            statements.exchange()
        except ExpectationError:
            statements.add("ROLLBACK")
            statements.exchange()
            connection.info.pop(_HERE)
            raise
        except BaseException:
            connection.info.pop(_HERE)
            # Whatever state it is in, a new connection is in a better one.
            connection.invalidate()
            raise
        connection.info.pop(_HERE)


def _value(parameter: Any) -> bytes | None:
    if parameter is None or isinstance(parameter, bytes):
        return parameter
    return str(parameter).encode()


def _rows(result: pq.abc.PGresult) -> Answer:
    columns = range(result.nfields)
    return [
        tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)
    ]


def _error(result: pq.abc.PGresult) -> psycopg.Error:
    if result.status == pq.ExecStatus.PIPELINE_ABORTED:
        return psycopg.OperationalError("an earlier statement failed")
    return errors.error_from_result(result)


@lru_cache(maxsize=512)
def _numbered(statement: str) -> bytes:
    """The driver's marks as PostgreSQL's: `$1`, `$2`."""
    first, *others = _MARK.split(statement)
    return (first + "".join(f"${n}{part}" for n, part in enumerate(others, 1))).encode()
