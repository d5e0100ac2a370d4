"""An index of a record's documents that holds their whole order, so that a page is read and not sorted.

Older versions work on it. Readers go on while it is built; what files documents waits.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    columns = ["patient", text("sort_at DESC"), text("id DESC")]
    op.create_index("ix_document_order", "document", columns)
    op.drop_index("ix_document_sort", "document")


def downgrade() -> None:
    op.create_index("ix_document_sort", "document", ["patient", text("sort_at DESC")])
    op.drop_index("ix_document_order", "document")
