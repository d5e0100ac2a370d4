"""Source values that no rule reads, kept in the document where a mapping says `keep_unread`. For `apply`.

HL7v2 only. What one message says of several patients cannot be told apart here, so nothing is kept then: a value
in another patient's document would be worse than one that is only in the original.
"""

from __future__ import annotations

from typing import Any

from broker.document import Extra
from broker.mapping.coverage import Reads, unread_values


def extras(message: Any, reads: Reads, ignored: frozenset[str]) -> tuple[Extra, ...]:
    """Path and text of each unread value, in message order; none where the message names several patients."""
    if sum(segment.name == "PID" for segment in message.segments) > 1:
        return ()
    return tuple(
        Extra(source_path=path, value=message.unescape(text))
        for path, text in unread_values(message, reads, ignored)
    )
