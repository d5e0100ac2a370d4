"""Keys that content is sealed under, and attachments by patient. Adds tables, changes none.

An older version works on it until the first master key is there: who registers that one raises the floor.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, SmallInteger, String, text

from broker.database.types import Big, Instant

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_PLAIN = text("encoding = 'json'")


def upgrade() -> None:
    op.create_table(
        "attachment",
        Column("patient", Big, primary_key=True, autoincrement=False),
        Column("sha256", LargeBinary, primary_key=True),
        Column("size", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
    )
    op.create_table(
        "data_key",
        Column("kind", SmallInteger, primary_key=True, autoincrement=False),
        Column("owner", Big, primary_key=True, autoincrement=False),
        Column("generation", SmallInteger, primary_key=True, autoincrement=False),
        Column("master", String, nullable=False),
        Column("wrapped", LargeBinary),
        Column("made_at", Instant, nullable=False),
        Column("destroyed_at", Instant),
    )
    op.create_table(
        "master_key",
        Column("n", Integer, primary_key=True, autoincrement=False),
        Column("id", String, nullable=False),
        Column("since", Instant, nullable=False),
        Column("retired_at", Instant),
    )
    op.create_index(
        "ix_document_payload_plain",
        "document_payload",
        ["id"],
        postgresql_where=_PLAIN,
        sqlite_where=_PLAIN,
    )


def downgrade() -> None:
    op.drop_index("ix_document_payload_plain", "document_payload")
    for name in ("master_key", "data_key", "attachment"):
        op.drop_table(name)
