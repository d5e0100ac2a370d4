"""Which statements a connection has prepared for `together`, beside those that the driver prepares by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection

_HERE = "carnet_prepared"


@dataclass(slots=True)
class Prepared:
    """The names of prepared statements by their text. A name is never given twice."""

    names: dict[str, bytes] = field(default_factory=dict)
    given: int = 0

    def new(self, statement: str) -> bytes:
        """The name of a statement that is about to be prepared."""
        name = self.names[statement] = b"carnet%d" % self.given
        self.given += 1
        return name


def prepared_on(connection: Connection) -> Prepared:
    """What is prepared on a connection; it lives as long as the connection does."""
    found: Prepared = connection.info.setdefault(_HERE, Prepared())
    return found


def forget_prepared(connection: Connection) -> None:
    """After a rollback: psycopg then throws away whatever was prepared on its connection (`DEALLOCATE ALL`).

    It does so after a DROP too; nothing of ours drops anything on a connection that goes back to the pool, but for
    migrations, which are over before the first statement is prepared.
    """
    if not connection.invalidated:
        prepared_on(connection).names.clear()
