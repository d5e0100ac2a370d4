"""Runs of replay, the run a message was replayed by, and the way from a message to its replays."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, Integer, String, Text, text

from broker.database.types import Big, Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

IS_REPLAY = text("replay_of IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "replay_run",
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("started_at", Instant, nullable=False),
        Column("started_by", String, nullable=False),
        Column("selection", Text, nullable=False),
        Column("delivers", Boolean, nullable=False),
        Column("low", Big, nullable=False),
        Column("top", Big, nullable=False),
        Column("position", Big, nullable=False),
        Column("replayed", Big, nullable=False, server_default="0"),
        Column("ended_at", Instant),
    )
    with op.batch_alter_table("message") as table:
        table.add_column(Column("replay_run", Integer))
    op.create_index(
        "ix_message_replay",
        "message",
        ["replay_of", "seq"],
        postgresql_where=IS_REPLAY,
        sqlite_where=IS_REPLAY,
    )


def downgrade() -> None:
    op.drop_index("ix_message_replay", "message")
    with op.batch_alter_table("message") as table:
        table.drop_column("replay_run")
    op.drop_table("replay_run")
