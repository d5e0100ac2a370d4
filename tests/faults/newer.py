"""The command `carnet` of a version that comes next: `python -m tests.faults.newer worker …` migrates further.

Every process of the broker runs this module again as its main module, and so is as new.
"""

from __future__ import annotations

from pathlib import Path

from broker.cli import main
from broker.database import migrate

migrate.VERSIONS = (*migrate.VERSIONS[:1], Path(__file__).parent / "newer_versions")

if __name__ == "__main__":
    main()
