"""What became of identities: the journal, links, candidates, and the ways to who was merged into whom."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String, Text, text

from broker.database.types import Big, Instant

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

IS_MERGED = text("merged_into IS NOT NULL")
HAS_TRAITS = text("traits_digest IS NOT NULL")
IS_OPEN = text("state = 'open'")


def upgrade() -> None:
    with op.batch_alter_table("patient") as table:
        table.add_column(Column("traits_digest", Big))
    op.create_index(
        "ix_patient_merged",
        "patient",
        ["merged_into"],
        postgresql_where=IS_MERGED,
        sqlite_where=IS_MERGED,
    )
    op.create_index(
        "ix_patient_traits",
        "patient",
        ["traits_digest", "id"],
        postgresql_where=HAS_TRAITS,
        sqlite_where=HAS_TRAITS,
    )
    op.create_table(
        "identity_event",
        Column("n", Big, primary_key=True, autoincrement=False),
        Column("at", Instant, nullable=False),
        Column("kind", String, nullable=False),
        Column("patient", Big, nullable=False),
        Column("other", Big),
        Column("by_kind", String, nullable=False),
        Column("by", String, nullable=False),
        Column("because", String),
        Column("message_seq", Big),
        Column("reverts", Big),
        Column("details", Text, nullable=False),
    )
    op.create_table(
        "identity_event_member",
        Column("patient", Big, primary_key=True, autoincrement=False),
        Column("n", Big, primary_key=True, autoincrement=False),
        Column("side", String, nullable=False),
    )
    op.create_index("ix_identity_event_member_n", "identity_event_member", ["n"])
    op.create_table(
        "identity_link",
        Column("one", Big, primary_key=True, autoincrement=False),
        Column("other", Big, primary_key=True, autoincrement=False),
        Column("since", Instant, nullable=False),
    )
    op.create_index("ix_identity_link_other", "identity_link", ["other"])
    op.create_table(
        "identity_candidate",
        Column("one", Big, primary_key=True, autoincrement=False),
        Column("other", Big, primary_key=True, autoincrement=False),
        Column("why", String, nullable=False),
        Column("state", String, nullable=False, server_default="open"),
        Column("found_at", Instant, nullable=False),
        Column("decided_by", String),
        Column("decided_at", Instant),
        Column("because", String),
    )
    op.create_index("ix_identity_candidate_other", "identity_candidate", ["other"])
    op.create_index(
        "ix_identity_candidate_open",
        "identity_candidate",
        ["found_at", "one", "other"],
        postgresql_where=IS_OPEN,
        sqlite_where=IS_OPEN,
    )


def downgrade() -> None:
    for table in ("identity_candidate", "identity_link", "identity_event_member", "identity_event"):
        op.drop_table(table)
    op.drop_index("ix_patient_traits", "patient")
    op.drop_index("ix_patient_merged", "patient")
    with op.batch_alter_table("patient") as table:
        table.drop_column("traits_digest")
