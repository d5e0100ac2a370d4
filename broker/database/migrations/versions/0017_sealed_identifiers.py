"""What patients are found by may stand sealed, and so may what the journal of identities tells of it. Changes no table.

An older version works on it until that begins, in an empty database or by `carnet encryption`: that raises the floor.
"""

from __future__ import annotations

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is moved: `carnet encryption seal` does it, beside everything else."""


def downgrade() -> None:
    """Nothing was moved."""
