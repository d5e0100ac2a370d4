"""Who has a delivery in hand, and by what a message that was sent on is known again."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String, text

from broker.database.types import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("delivery") as table:
        table.add_column(Column("claimed_by", String))
        table.add_column(Column("claimed_at", Instant))
    is_there = text("sent_digest IS NOT NULL")
    op.create_index(
        "ix_attempt_sent",
        "attempt",
        ["sent_digest"],
        postgresql_where=is_there,
        sqlite_where=is_there,
    )


def downgrade() -> None:
    op.drop_index("ix_attempt_sent", "attempt")
    with op.batch_alter_table("delivery") as table:
        table.drop_column("claimed_at")
        table.drop_column("claimed_by")
