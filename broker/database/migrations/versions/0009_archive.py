"""What was archived, and which older version of Carnet still works on this schema. Adds tables, changes none."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, String

from broker.database.types import Big, Instant, UuidText

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archive",
        Column("name", String, primary_key=True),
        Column("month", Integer, nullable=False),
        Column("first_seq", Big, nullable=False),
        Column("last_seq", Big, nullable=False),
        Column("messages", Integer, nullable=False),
        Column("deliveries", Integer, nullable=False),
        Column("size", Big, nullable=False),
        Column("sha256", LargeBinary, nullable=False),
        Column("first_id", UuidText, nullable=False),
        Column("last_id", UuidText, nullable=False),
        Column("created_at", Instant, nullable=False),
        Column("bodies_pruned_at", Instant),
        Column("deliveries_pruned_at", Instant),
        Column("messages_pruned_at", Instant),
    )
    op.create_index("ix_archive_month", "archive", ["month"])
    op.create_table(
        "archive_span",
        Column("kind", String, primary_key=True),
        Column("first", Big, primary_key=True, autoincrement=False),
        Column("last", Big, nullable=False),
        Column("archive", String, nullable=False),
    )
    op.create_index("ix_archive_span_archive", "archive_span", ["archive"])
    op.create_table(
        "archive_day",
        Column("archive", String, primary_key=True),
        Column("day", Integer, primary_key=True, autoincrement=False),
        Column("source", String, primary_key=True),
        Column("fate", String, primary_key=True),
        Column("n", Integer, nullable=False),
    )
    op.create_index("ix_archive_day_day", "archive_day", ["day"])
    op.create_table("schema_floor", Column("revision", String, primary_key=True))
    # The first version that reads the floor: whatever is older ends with an error of its own.
    op.execute("INSERT INTO schema_floor (revision) VALUES ('0009')")


def downgrade() -> None:
    for name in ("schema_floor", "archive_day", "archive_span", "archive"):
        op.drop_table(name)
