"""Content is kept packed from now on (`broker.encryption.sealed`), and what documents say up to 4 KB in one piece.

Not additive: an older version cannot read what is received and filed since, so this raises the floor. What was there
before stays as it is, and is read as well.
"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE schema_floor SET revision = '0018' WHERE revision < '0018'")
    if op.get_bind().dialect.name == "postgresql":
        # Packed, an admission has 1 KB and a result with 20 values 2 to 3: nothing to be cut up and found again.
        op.execute("ALTER TABLE document_payload SET (toast_tuple_target = 4080)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE document_payload RESET (toast_tuple_target)")
