"""The hash chain itself: canonical bytes of an entry, digest of a segment, and what is wrong where. Pure.

For the sealer and the verifier of a database; the verifier of an exported file is one file of its own
(`verify_standalone`) and has what both need.

Encoding 1: an entry is the UTF-8 JSON array `[1, n, at, act, …]` in the order of `trail.COLUMNS`, without spaces,
null for what is absent, instants as microseconds since 1970. Its digest is the first 16 bytes of the SHA-256 of
that. A segment's head is the SHA-256 of the previous head (32 zero bytes before the first), then segment, from_n,
to_n, entries and sealed_at as big-endian 64-bit integers, then the digests in the order of n.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from broker.audit.verify_standalone import DIGEST_BYTES, GENESIS, VERSION, kind_of
from broker.values import SEQ_MONTH_SHIFT

__all__ = [
    "DIGEST_BYTES",
    "GENESIS",
    "VERSION",
    "Bad",
    "Segment",
    "canonical",
    "digest",
    "first_bad",
    "follows",
    "head_of",
    "month_base",
]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Segment:
    """One seal: the entries with from_n < n <= to_n, their digests in order, and the heads before and after.

    `key` and `signature` are empty where nobody signed it: seals of before there were keys.
    """

    segment: int
    from_n: int
    to_n: int
    entries: int
    digests: bytes
    previous_head: bytes
    head: bytes
    sealed_at: int
    key: str = ""
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Bad:
    """The first thing wrong.

    `kind` is one of edited, deleted, inserted, swapped, truncated, seal (changed, missing or moved), signature
    (missing, or it does not hold), key (signed by one that does not count), restored.

    `n` is the number of the entry (of the first missing one for a deletion), `segment` the seal concerned.
    """

    kind: str
    segment: int
    n: int | None = None
    line: int | None = None


def canonical(values: Sequence[Any]) -> bytes:
    """The bytes that are hashed for one entry; `values` in the order of `trail.COLUMNS`."""
    return _encode([VERSION, *values])


def digest(values: Sequence[Any]) -> bytes:
    """16 bytes that stand for one entry."""
    return hashlib.sha256(canonical(values)).digest()[:DIGEST_BYTES]


def head_of(
    previous_head: bytes,
    segment: int,
    from_n: int,
    to_n: int,
    entries: int,
    sealed_at: int,
    digests: bytes,
) -> bytes:
    """The head that seals a segment onto the chain."""
    fields = struct.pack(">5q", segment, from_n, to_n, entries, sealed_at)
    return hashlib.sha256(previous_head + fields + digests).digest()


def follows(seal: Segment, previous: Segment | None, previous_head: bytes) -> bool:
    """Whether a seal is whole and continues the one before."""
    if previous is not None and (seal.segment, seal.from_n) != (
        previous.segment + 1,
        previous.to_n,
    ):
        return False
    if seal.previous_head != previous_head or len(seal.digests) != DIGEST_BYTES * seal.entries:
        return False
    computed = head_of(
        seal.previous_head,
        seal.segment,
        seal.from_n,
        seal.to_n,
        seal.entries,
        seal.sealed_at,
        seal.digests,
    )
    return computed == seal.head


def first_bad(seal: Segment, rows: Iterable[Sequence[Any]]) -> tuple[Bad, int] | None:
    """The first entry that is not what was sealed, with its position among `rows`; None when all are.

    `rows` are the entries found in the seal's range in order, `n` first.
    """
    sealed = [
        seal.digests[start : start + DIGEST_BYTES]
        for start in range(0, len(seal.digests), DIGEST_BYTES)
    ]
    found = list(rows)
    digests = [digest(row) for row in found]
    if digests == sealed:
        return None
    place = next(
        (i for i, (a, b) in enumerate(zip(sealed, digests, strict=False)) if a != b),
        min(len(sealed), len(digests)),
    )
    kind = kind_of(sealed, digests, place)
    return Bad(kind, seal.segment, _number(seal, found, place, kind)), place


def _number(seal: Segment, found: Sequence[Sequence[Any]], place: int, kind: str) -> int | None:
    if kind != "deleted":
        return int(found[place][0])
    # Numbers are consecutive within a month, so the one after its neighbour is the first that is missing; a month
    # begins far above the last one's end (see `values.first_seq`), and then only the one before is known.
    before = int(found[place - 1][0]) if place else seal.from_n
    following = int(found[place][0]) if place < len(found) else seal.to_n + 1
    same_month = before >> SEQ_MONTH_SHIFT == following >> SEQ_MONTH_SHIFT
    return before + 1 if same_month else following - 1


def month_base(n: int) -> int:
    """The number below the first of the month that `n` belongs to."""
    return n >> SEQ_MONTH_SHIFT << SEQ_MONTH_SHIFT
