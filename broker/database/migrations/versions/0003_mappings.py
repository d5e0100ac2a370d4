"""Mapping sets that were used, what messages say and no rule reads, and codes that no table has."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary, String

from broker.database.types import Big, Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mapping_set",
        Column("hash", String, primary_key=True),
        Column("activated_at", Instant, nullable=False),
        Column("activated_by", String, nullable=False),
        Column("files", LargeBinary, nullable=False),
    )
    op.create_table(
        "coverage",
        Column("source", String, primary_key=True),
        Column("mapping", String, primary_key=True),
        Column("version", String, primary_key=True),
        Column("path", String, primary_key=True),
        Column("n", Big, nullable=False),
        Column("first_seen", Instant, nullable=False),
        Column("last_seen", Instant, nullable=False),
    )
    op.create_table(
        "unmapped_code",
        Column("source", String, primary_key=True),
        Column("code_table", String, primary_key=True),
        Column("system", String, primary_key=True),
        Column("code", String, primary_key=True),
        Column("display", String, nullable=False),
        Column("n", Big, nullable=False),
        Column("first_seen", Instant, nullable=False),
        Column("last_seen", Instant, nullable=False),
    )


def downgrade() -> None:
    for name in ("unmapped_code", "coverage", "mapping_set"):
        op.drop_table(name)
