"""What a next version might add: a column of the table that everything writes to, an index, a table."""

from __future__ import annotations

import os

from alembic import op
from sqlalchemy import Column, Integer, String

from broker.database import migrate

revision = "9999"
down_revision = max(one.name[:4] for one in migrate.SCRIPTS.glob("versions/0*.py"))
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("message", Column("next", String))
    op.create_index("ix_delivery_next", "delivery", ["created_at"])
    op.create_table("next", Column("id", Integer, primary_key=True))
    floor = os.environ.get("CARNET_TEST_FLOOR")
    if floor:
        op.execute(f"UPDATE schema_floor SET revision = '{floor}'")
