"""Who is in a patient's care team and since when, and what became of the visibility of documents."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Index, SmallInteger, String

from broker.database.types import Big, Instant, UuidText

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "care_team",
        Column("patient", Big, primary_key=True, autoincrement=False),
        Column("member", String, primary_key=True),
        Column("episode", String, primary_key=True),
        Column("at", Instant, primary_key=True, autoincrement=False),
        Column("act", String, primary_key=True),
        Column("branch", SmallInteger, nullable=False),
        Column("by", String, nullable=False),
        Column("channel", String, nullable=False),
        Column("recorded_at", Instant, nullable=False),
        Column("message_seq", Big),
    )
    op.create_table(
        "document_sight",
        Column("id", Big, primary_key=True, autoincrement=False),
        Column("document", UuidText, nullable=False),
        Column("at", Instant, nullable=False),
        Column("change", String, nullable=False),
        Column("by", String, nullable=False),
        Column("channel", String, nullable=False),
        Column("rule", String, nullable=False),
        Column("message_seq", Big),
        Index("ix_document_sight_document", "document", "id"),
    )


def downgrade() -> None:
    op.drop_table("document_sight")
    op.drop_table("care_team")
