"""The set of mappings that comes with this version of Carnet, by its hash: a start need not compile all of it.

Its tests compile and run every one of its mappings (`tests/broker/mapping/test_golden_mappings.py`). A set with a changed
or added file has another hash and is compiled whole when it is loaded, so that what is wrong in it is said at once.
"""

from __future__ import annotations

SHIPPED = "bfbc624cf8a5bf9fcfdc059b63b34188fa5273775c7edd527fc833cc38df4443"
"""SHA-256 (hex) of the files below `mappings/`, as `catalogue` counts it."""
