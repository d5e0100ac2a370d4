"""Signatures of the trail's seals, the keys that made them, and how far the trail was sent on."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary, String

from broker.database.types import Big, Instant

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_seal", Column("key_id", String))
    op.add_column("audit_seal", Column("signature", LargeBinary))
    op.create_table(
        "audit_key",
        Column("id", String, primary_key=True),
        Column("public", String, nullable=False),
        Column("made_at", Big, nullable=False),
        Column("endorsed_by", String, nullable=False),
        Column("endorsement", String, nullable=False),
    )
    op.create_table(
        "audit_position",
        Column("receiver", String, primary_key=True),
        Column("segment", Big, nullable=False),
        Column("sent_at", Instant, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("audit_position")
    op.drop_table("audit_key")
    op.drop_column("audit_seal", "signature")
    op.drop_column("audit_seal", "key_id")
