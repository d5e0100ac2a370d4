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
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import errors, pq
from sqlalchemy import Connection, Engine
from sqlalchemy.util import await_only

from broker.database.engine import is_sqlite, writing

Wait = Callable[[int, bool], None]
"""Returns when the socket can be read, or (the second argument) written too."""

Answer = Sequence[tuple[bytes | None, ...]]
"""The rows of one statement, each value as PostgreSQL writes it in text."""

_HERE = "carnet_together"
_PREPARED = "carnet_prepared"
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


class Later:
    """A number in a statement that is known only when the statement is sent."""

    value = 0

    def __str__(self) -> str:
        return str(self.value)


class Together:
    """What was asked of one connection and not sent yet."""

    def __init__(self, connection: Connection, wait: Wait) -> None:
        driver: Any = connection.connection.driver_connection
        self._libpq: pq.abc.PGconn = driver.pgconn
        self._names: dict[str, bytes] = connection.info.setdefault(_PREPARED, {})
        self._wait = wait
        self._asked: list[tuple[str, Sequence[Any]]] = []

    def add(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Ask for one statement; nothing is sent before `exchange`."""
        self._asked.append((statement, parameters))

    @contextmanager
    def set_aside(self) -> Iterator[list[tuple[str, Sequence[Any]]]]:
        """Collect what is asked inside the block, to be given to `resume` later or forgotten."""
        before, self._asked = self._asked, []
        aside = self._asked
        try:
            yield aside
        finally:
            self._asked = before

    def resume(self, aside: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Ask for what was set aside."""
        self._asked += aside

    def exchange(self) -> list[Answer]:
        """Send what was asked since the last time, and return the answers in the same order.

        Raises: psycopg.Error for the first statement that failed; those behind it were not run. The connection is
        then of no use any more.
        """
        libpq = self._libpq
        asked, self._asked = self._asked, []
        libpq.enter_pipeline_mode()
        answered: list[Any] = []
        wanted: list[int] = []
        for statement, parameters in asked:
            name = self._names.get(statement)
            if name is None:
                self._names[statement] = name = b"carnet%d" % len(self._names)
                libpq.send_prepare(name, _numbered(statement))
                answered.append(None)
            values = [_value(one) for one in parameters]
            formats = [pq.Format(isinstance(one, bytes)) for one in parameters]
            libpq.send_query_prepared(name, values, formats)
            wanted.append(len(answered))
            answered.append(None)
        libpq.pipeline_sync()
        results = list(self._results())
        libpq.exit_pipeline_mode()
        for result in results:
            if result.status not in _GOOD:
                raise _error(result)
        return [_rows(results[at]) for at in wanted]

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
        for statement, parameters in questions:
            statements.add(statement, parameters)
        return list(statements.exchange()[-len(questions) :])
    cursor = connection.connection.cursor()
    answers = []
    for statement, parameters in questions:
        cursor.execute(statement, parameters)
        answers.append(cursor.fetchall())
    cursor.close()
    return answers


@contextmanager
def writing_together(engine: Engine, wait: Wait = block) -> Iterator[Connection]:
    """A transaction like `writing`'s whose statements, its begin and its end travel together.

    Only statements of this package may run in it. They run at the next `exchange`, at the latest when the block ends.
    On SQLite it is `writing`. Raises: TransientError("database.unavailable") as `writing` does.
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
        except BaseException:
            # Whatever state it is in, a new connection is in a better one.
            connection.info.pop(_HERE)
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
