"""Which versions of a file another one can extend: `>=1.2 <2`. For `inherit`. Section 9 of the language."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

_ONE = re.compile(r"(>=|<=|>|<|=)?\s*(\d+(?:\.\d+)*)")
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "": operator.eq,
}


def is_range(text: str) -> bool:
    """Whether the text is one or more comparisons with a version, blanks between them."""
    return bool(text.strip()) and not _ONE.sub("", text).strip()


def allows(wanted: str, version: str) -> bool:
    """Whether a version (`1.10.2`, numbers only compared as numbers) is in a range; `1.2` is `1.2.0`."""
    found = _numbers(version)
    return all(_COMPARE[sign](found, _numbers(bound)) for sign, bound in _ONE.findall(wanted))


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", text)][:3]
    return tuple(numbers + [0] * (3 - len(numbers)))
