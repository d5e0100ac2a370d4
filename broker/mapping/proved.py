"""The set of mappings that comes with this version of Carnet, by its hash: a start need not compile all of it.

Its tests compile and run every one of its mappings (`tests/broker/mapping/test_golden_mappings.py`). A set with a changed
or added file has another hash and is compiled whole when it is loaded, so that what is wrong in it is said at once.
"""

from __future__ import annotations

SHIPPED = "a556adc7ac0535c3c54873e59ceeb956187c3fb4297ed5213dd95188b0afdf43"
"""SHA-256 (hex) of the files below `mappings/`, as `catalogue` counts it."""
