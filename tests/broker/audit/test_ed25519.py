"""The verifier's own Ed25519 against RFC 8032, 7.1, and against another implementation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit.verify_standalone import L, pure_signature_holds, signature_holds

VECTORS = {
    "TEST 1": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
}


@pytest.mark.parametrize("holds", [pure_signature_holds, signature_holds])
@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_of_the_standard_hold(
    name: str, holds: Callable[[bytes, bytes, bytes], bool]
) -> None:
    public, message, signature = (bytes.fromhex(part) for part in VECTORS[name])

    assert holds(public, message, signature)
    assert not holds(public, message + b"x", signature)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=200),
    place=st.integers(0, 511),
)
def test_both_ways_agree_on_what_is_good_and_on_one_changed_bit(
    seed: bytes, message: bytes, place: int
) -> None:
    secret = Ed25519PrivateKey.from_private_bytes(seed)
    public = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = secret.sign(message)
    changed = bytearray(signature)
    changed[place // 8] ^= 1 << place % 8

    assert pure_signature_holds(public, message, signature)
    assert not pure_signature_holds(public, message, bytes(changed))
    assert not signature_holds(public, message, bytes(changed))


def test_a_signature_is_not_taken_in_a_second_spelling() -> None:
    public, message, signature = (bytes.fromhex(part) for part in VECTORS["TEST 2"])
    s = int.from_bytes(signature[32:], "little") + L
    respelled = signature[:32] + s.to_bytes(32, "little")

    assert not pure_signature_holds(public, message, respelled)
    assert not signature_holds(public, message, respelled)


@pytest.mark.parametrize("public", [b"", bytes(31), b"\xff" * 32, (2).to_bytes(32, "little")])
def test_what_is_no_key_verifies_nothing(public: bytes) -> None:
    signature = bytes.fromhex(VECTORS["TEST 2"][2])

    assert not pure_signature_holds(public, b"r", signature)
    assert not signature_holds(public, b"r", signature)
