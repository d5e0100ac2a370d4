"""An index of the deliveries that wait for a person: those that are parked are settled, and stood in none."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STUCK = text("state IN ('parked', 'unknown')")


def upgrade() -> None:
    op.create_index(
        "ix_delivery_stuck",
        "delivery",
        ["destination", "id"],
        postgresql_where=STUCK,
        sqlite_where=STUCK,
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_stuck", "delivery")
