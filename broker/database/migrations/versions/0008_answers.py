"""By what an answer that comes later finds its delivery, which answers are awaited, and loops bounded in time."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String, text

from broker.database.types import Big, Instant

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLES = ("correlation", "expectation")
_BY_MONTH = {"postgresql_partition_by": "RANGE (delivery_id)"}
IS_THERE = text("sent_digest IS NOT NULL")
OPEN = text("state = 'open'")
OVERDUE = text("state = 'overdue'")
ANSWERED = text("answer_seq IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "correlation",
        Column("digest", Big, primary_key=True, autoincrement=False),
        Column("delivery_id", Big, primary_key=True, autoincrement=False),
        Column("kind", String, nullable=False),
        Column("key", String, nullable=False),
        **_BY_MONTH,
    )
    op.create_table(
        "expectation",
        Column("delivery_id", Big, primary_key=True, autoincrement=False),
        Column("kind", String, primary_key=True),
        Column("destination", String, nullable=False),
        Column("due_at", Instant, nullable=False),
        Column("state", String, nullable=False),
        Column("code", String),
        Column("answered_at", Instant),
        Column("answer_seq", Big),
        **_BY_MONTH,
    )
    for name, columns, where in (
        ("ix_expectation_due", ["due_at"], OPEN),
        ("ix_expectation_overdue", ["destination", "delivery_id"], OVERDUE),
        ("ix_expectation_answer", ["answer_seq"], ANSWERED),
    ):
        op.create_index(name, "expectation", columns, postgresql_where=where, sqlite_where=where)
    _as_deliveries()
    op.drop_index("ix_attempt_sent", "attempt")
    op.create_index(
        "ix_attempt_sent_at",
        "attempt",
        ["sent_digest", "started_at"],
        postgresql_where=IS_THERE,
        sqlite_where=IS_THERE,
    )


def _as_deliveries() -> None:
    """A partition for each month of which there are deliveries: an old one may be sent, or answered, today."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        return
    rows = connection.execute(
        text(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_class c "
            "JOIN pg_inherits i ON i.inhrelid = c.oid WHERE i.inhparent = 'delivery'::regclass"
        )
    ).all()
    for row in rows:
        for table in _TABLES:
            name = row.relname.replace("delivery", table, 1)
            connection.exec_driver_sql(f'CREATE TABLE "{name}" PARTITION OF "{table}" {row.bound}')


def downgrade() -> None:
    op.drop_index("ix_attempt_sent_at", "attempt")
    op.create_index(
        "ix_attempt_sent",
        "attempt",
        ["sent_digest"],
        postgresql_where=IS_THERE,
        sqlite_where=IS_THERE,
    )
    for table in reversed(_TABLES):
        op.drop_table(table)
