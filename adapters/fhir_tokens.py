"""By what a FHIR resource is searched: the token of its business identifier. Pure; for the http destination.

Source: FHIR R4, search.html (token parameters, escaping of search parameters).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def token_of(resource: Mapping[str, Any]) -> str:
    """`system|value` of the identifier a resource is searched by; empty where it has none."""
    given = resource.get("masterIdentifier") or resource.get("identifier") or {}
    first = (given[0] if given else {}) if isinstance(given, list) else given
    if not isinstance(first, dict) or not first.get("value"):
        return ""
    return "|".join(_escaped(str(first.get(name, ""))) for name in ("system", "value"))


def _escaped(text: str) -> str:
    for mark in "\\,$|":
        text = text.replace(mark, f"\\{mark}")
    return text
