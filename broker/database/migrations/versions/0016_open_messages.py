"""On PostgreSQL the index of open messages by state is for statements that name a state, and for no others.

Older versions work on it. Readers go on while it is built; what writes messages waits.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_OPEN = "state < 10"
_IN_A_STATE = "state < 10 AND state >= 0"


def upgrade() -> None:
    _index("ix_message_state", _IN_A_STATE)
    op.drop_index("ix_message_open", "message")


def downgrade() -> None:
    _index("ix_message_open", _OPEN)
    op.drop_index("ix_message_state", "message")


def _index(name: str, where: str) -> None:
    op.create_index(
        name,
        "message",
        ["state", "source", "seq"],
        postgresql_where=text(where),
        sqlite_where=text(_OPEN),
    )
