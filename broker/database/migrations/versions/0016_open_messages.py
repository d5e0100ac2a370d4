"""On PostgreSQL the index of open messages by state is for statements that name a state, and for no others.

Older versions work on it.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_NAME = "ix_message_open"


def upgrade() -> None:
    _index("state < 10 AND state >= 0")


def downgrade() -> None:
    _index("state < 10")


def _index(where: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index(_NAME, "message")
        op.create_index(_NAME, "message", ["state", "source", "seq"], postgresql_where=text(where))
