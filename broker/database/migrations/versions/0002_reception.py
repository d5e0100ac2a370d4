"""What a commit of intake received becomes one row until it is needed (PostgreSQL)."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, SmallInteger, Text

from broker.database.types import Big

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reception",
        Column("first_seq", Big, primary_key=True, autoincrement=False),
        Column("last_seq", Big, nullable=False),
        Column("messages", Integer, nullable=False),
        Column("layout", SmallInteger, nullable=False),
        Column("own", Text, nullable=False),
        Column("alike", Text, nullable=False),
        Column("bodies", LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Rows come and go: no time is spent on squeezing them, and what is gone is swept often.
        for column in ("own", "alike", "bodies"):
            op.execute(f"ALTER TABLE reception ALTER COLUMN {column} SET STORAGE EXTERNAL")
        op.execute(
            "ALTER TABLE reception SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, "
            "toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 50000)"
        )


def downgrade() -> None:
    raise RuntimeError("messages may stand in this table alone: restore a backup instead")
