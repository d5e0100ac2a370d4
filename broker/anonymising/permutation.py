"""A keyed permutation without fixed point over the texts of one shape: what makes two replacements of two values differ.

A text is a number in mixed radix, a digit a place. A Feistel network over its two halves, each taken modulo its own
size, permutes the numbers whatever the sizes are; conjugating "one further" with it leaves no number where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import prod

_ROUNDS = 8


def permuted(places: Sequence[int], sizes: Sequence[int], key: bytes, tweak: bytes) -> list[int]:
    """Other places of the same sizes: one to one for a key and a tweak, and never the same where sizes allow.

    places: each at least 0 and below its size; key: at most 64 bytes. Whoever has the key can undo it.
    """
    half = len(sizes) // 2
    left_size, right_size = prod(sizes[:half]), prod(sizes[half:])
    whole = left_size * right_size
    label = tweak + b"|" + ",".join(map(str, sizes)).encode()
    left, right = divmod(_number(places, sizes), right_size)
    for turn in range(_ROUNDS):
        left, right = _turn(left, right, left_size, right_size, key, label, turn, 1)
    left, right = divmod((left * right_size + right + 1) % whole, right_size)
    for turn in reversed(range(_ROUNDS)):
        left, right = _turn(left, right, left_size, right_size, key, label, turn, -1)
    return _places(left * right_size + right, sizes)


def _turn(
    left: int,
    right: int,
    left_size: int,
    right_size: int,
    key: bytes,
    label: bytes,
    turn: int,
    sign: int,
) -> tuple[int, int]:
    if turn % 2:
        return left, (right + sign * _hash(left, right_size, key, label, turn)) % right_size
    return (left + sign * _hash(right, left_size, key, label, turn)) % left_size, right


def _hash(number: int, size: int, key: bytes, label: bytes, turn: int) -> int:
    """A number spread evenly below `size`, from twice as many bits as it needs."""
    wanted = size.bit_length() // 4 + 16
    data, count = b"", 0
    while len(data) < wanted:
        text = b"%d|%d|%x|" % (turn, count, number) + label
        data += blake2b(text, key=key).digest()
        count += 1
    return int.from_bytes(data[:wanted]) % size


def _number(places: Sequence[int], sizes: Sequence[int]) -> int:
    number = 0
    for place, size in zip(places, sizes, strict=True):
        number = number * size + place
    return number


def _places(number: int, sizes: Sequence[int]) -> list[int]:
    found = []
    for size in reversed(sizes):
        number, place = divmod(number, size)
        found.append(place)
    return found[::-1]
