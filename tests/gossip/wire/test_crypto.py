"""Encryption, padding and the key ring: upstream's scenarios, and what upstream does not check."""

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gossip.wire import crypto
from gossip.wire.crypto import Keyring, KeyringError
from gossip.wire.errors import Refusal, WireError

KEYS = [bytes((value,)) * 16 for value in (1, 2, 3)]
NONCE = bytes(range(12))


def refusal_of(keyring: Keyring, data: bytes, aad: bytes = b"") -> Refusal:
    with pytest.raises(WireError) as caught:
        crypto.open_sealed(keyring, data, aad)
    return caught.value.reason


def sealed_raw(version: int, padded: bytes) -> bytes:
    """Seal what the codec itself refuses to seal."""
    return bytes((version,)) + NONCE + AESGCM(KEYS[0]).encrypt(NONCE, padded, b"")


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("key_length", crypto.KEY_LENGTHS)
@given(plaintext=st.binary(min_size=1, max_size=100), aad=st.binary(max_size=20))
def test_round_trip_and_length(version: int, key_length: int, plaintext: bytes, aad: bytes) -> None:
    key = bytes(range(key_length))
    sealed = crypto.seal(key, plaintext, aad, NONCE, version)
    assert len(sealed) == crypto.sealed_length(len(plaintext), version)
    assert len(sealed) - len(plaintext) <= crypto.overhead(version)
    assert crypto.open_sealed(Keyring([key]), sealed, aad) == (plaintext, key)


def test_overhead_is_29_and_45() -> None:
    assert (crypto.overhead(1), crypto.overhead(0)) == (29, 45)


@pytest.mark.parametrize("secret", [b"", b"\n", b"AbCdEfGhIjKlMnOpQrStUv", b"x" * 40])
def test_metallb_key_is_the_secret_and_the_digest_of_nothing(secret: bytes) -> None:
    key = crypto.metallb_key(secret)
    assert key == (secret + sha256().digest())[:32]
    assert len(key) == 32


def test_metallb_key_of_the_controllers_22_characters() -> None:
    key = crypto.metallb_key(b"AbCdEfGhIjKlMnOpQrStUv")
    assert key.hex() == b"AbCdEfGhIjKlMnOpQrStUv".hex() + "e3b0c44298fc1c149afb"


def test_every_bit_is_authenticated() -> None:
    sealed = crypto.seal(KEYS[0], b"hello", b"label", NONCE)
    keyring = Keyring(KEYS[:1])
    for at in range(1, len(sealed)):
        changed = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
        assert refusal_of(keyring, changed, b"label") is Refusal.DECRYPT
    assert refusal_of(keyring, sealed, b"other") is Refusal.DECRYPT


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", Refusal.EMPTY),
        (b"\x01" + bytes(27), Refusal.TRUNCATED),
        (b"\x02" + bytes(60), Refusal.VERSION),
        (sealed_raw(1, b""), Refusal.EMPTY),
        (sealed_raw(0, b"\x10" * 16), Refusal.EMPTY),
        (sealed_raw(0, b""), Refusal.DECRYPT),
        (sealed_raw(0, b"a" * 15), Refusal.DECRYPT),
        (sealed_raw(0, b"a" * 15 + b"\x00"), Refusal.DECRYPT),
        (sealed_raw(0, b"a" * 15 + b"\x11"), Refusal.DECRYPT),
        (sealed_raw(0, b"a" * 14 + b"\x03\x02"), Refusal.DECRYPT),
    ],
    ids=[
        "nothing",
        "short",
        "version",
        "empty",
        "only padding",
        "no padding",
        "no block",
        "zero",
        "17",
        "uneven",
    ],
)
def test_refused(data: bytes, wanted: Refusal) -> None:
    assert refusal_of(Keyring(KEYS[:1]), data) is wanted


def test_an_empty_plaintext_is_never_sealed() -> None:
    with pytest.raises(ValueError, match="empty"):
        crypto.seal(KEYS[0], b"", b"", NONCE)


@pytest.mark.parametrize(("nonce", "version"), [(b"short", 1), (NONCE, 2), (NONCE, -1)])
def test_bad_nonce_and_version_are_never_sealed(nonce: bytes, version: int) -> None:
    with pytest.raises(ValueError, match="nonce"):
        crypto.seal(KEYS[0], b"x", b"", nonce, version)


def test_ring_of_none_is_refused() -> None:
    with pytest.raises(KeyringError):
        Keyring([])


@pytest.mark.parametrize("length", [0, 15, 17, 31, 33, 64])
def test_ring_takes_aes_keys_only_and_does_not_show_them(length: int) -> None:
    with pytest.raises(KeyringError) as caught:
        Keyring([b"s" * length])
    assert "sss" not in str(caught.value)


def test_ring_order_add_use_remove() -> None:
    keyring = Keyring(KEYS[:2])
    assert keyring.primary == KEYS[0]
    keyring.add(KEYS[2])
    keyring.add(KEYS[1])
    assert list(keyring.keys) == KEYS
    keyring.use(KEYS[2])
    assert list(keyring.keys) == [KEYS[2], KEYS[0], KEYS[1]]
    with pytest.raises(KeyringError):
        keyring.remove(KEYS[2])
    keyring.remove(KEYS[1])
    keyring.remove(KEYS[1])
    assert list(keyring.keys) == [KEYS[2], KEYS[0]]
    with pytest.raises(KeyringError):
        keyring.use(KEYS[1])


def test_any_key_of_the_ring_opens_and_is_named() -> None:
    keyring = Keyring(KEYS)
    for key in KEYS:
        assert crypto.open_sealed(keyring, crypto.seal(key, b"x", b"", NONCE), b"") == (b"x", key)


def test_a_removed_key_opens_no_more() -> None:
    keyring = Keyring(KEYS[:2])
    keyring.remove(KEYS[1])
    assert refusal_of(keyring, crypto.seal(KEYS[1], b"x", b"", NONCE)) is Refusal.DECRYPT


def test_ring_does_not_show_its_keys() -> None:
    keyring = Keyring([b"supersecretkey-1"])
    assert "secret" not in repr(keyring) + str(keyring)
