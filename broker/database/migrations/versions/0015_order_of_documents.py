"""The index of a record's documents holds their whole order, so that a page is read and not sorted."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NAME = "ix_document_sort"


def upgrade() -> None:
    _index("sort_at DESC", "id DESC")


def downgrade() -> None:
    _index("sort_at DESC")


def _index(*order: str) -> None:
    op.drop_index(_NAME, "document")
    op.create_index(_NAME, "document", ["patient", *map(text, order)])
