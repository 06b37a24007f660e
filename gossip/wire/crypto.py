"""AES-GCM as memberlist uses it, and the ring of keys.

    version u8 | nonce 12 | ciphertext | tag 16

Version 1 encrypts the plaintext as it is, version 0 pads it to 16 first (PKCS7). The label, and on
a stream the frame's first five bytes, are authenticated with it. There is no replay protection.
"""

from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossip.wire.errors import Refusal, WireError

KEY_LENGTHS = (16, 24, 32)
NONCE_LENGTH = 12
TAG_LENGTH = 16
BLOCK = 16
MAX_VERSION = 1
_MIN_SEALED = 1 + NONCE_LENGTH + TAG_LENGTH


class KeyringError(ValueError):
    """A key that cannot be added, used or removed; the message never shows it."""


class Keyring:
    """Keys by order of use: index 0, the primary, encrypts; all are tried to decrypt."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise KeyringError("a key ring needs at least one key")
        self._ciphers: dict[bytes, AESGCM] = {}
        for key in keys:
            self.add(key)

    def __repr__(self) -> str:
        return f"Keyring({len(self._ciphers)} keys)"

    def __contains__(self, key: object) -> bool:
        return key in self._ciphers

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the primary first."""
        return tuple(self._ciphers)

    @property
    def primary(self) -> bytes:
        """The key that encrypts."""
        return next(iter(self._ciphers))

    def add(self, key: bytes) -> None:
        """Accept what `key` sealed; a key already there stays where it is. Raises KeyringError."""
        if len(key) not in KEY_LENGTHS:
            raise KeyringError(f"a key has 16, 24 or 32 bytes, not {len(key)}")
        if key not in self._ciphers:
            self._ciphers[key] = AESGCM(key)

    def use(self, key: bytes) -> None:
        """Make a key of the ring the primary. Raises KeyringError where it is not in it."""
        if key not in self._ciphers:
            raise KeyringError("this key is not in the ring")
        self._ciphers = {key: self._ciphers[key], **self._ciphers}

    def remove(self, key: bytes) -> None:
        """Forget a key, if it is there. Raises KeyringError for the primary, which stays."""
        if key == self.primary:
            raise KeyringError("the primary key cannot be removed")
        self._ciphers.pop(key, None)

    def decrypt(self, nonce: bytes, sealed: bytes | memoryview, aad: bytes) -> tuple[bytes, bytes]:
        """Open with the first key that fits: plaintext and key; WireError DECRYPT if none does."""
        for key, cipher in self._ciphers.items():
            try:
                return cipher.decrypt(nonce, sealed, aad), key
            except InvalidTag:
                continue
        raise WireError(Refusal.DECRYPT)


def metallb_key(secret: bytes) -> bytes:
    """Derive MetalLB's AES-256 key from the bytes of its secret file, taken as they are.

    It appends the SHA-256 of nothing to the secret, instead of hashing the secret; the ring's
    members agree only if all of them do.
    """
    return (secret + sha256(b"").digest())[:32]


def overhead(version: int) -> int:
    """Bytes that sealing adds, at most."""
    return _MIN_SEALED + (BLOCK if version == 0 else 0)


def sealed_length(plain_length: int, version: int) -> int:
    """Bytes of a sealed plaintext of `plain_length` bytes, exactly."""
    padding = BLOCK - plain_length % BLOCK if version == 0 else 0
    return _MIN_SEALED + plain_length + padding


def seal(
    key: bytes, plaintext: bytes, aad: bytes, nonce: bytes, version: int = MAX_VERSION
) -> bytes:
    """Encrypt; ValueError for an empty plaintext (it kills Go peers) or a nonce not 12 bytes."""
    if not plaintext:
        raise ValueError("an empty plaintext is never sent")
    if len(nonce) != NONCE_LENGTH or not 0 <= version <= MAX_VERSION:
        raise ValueError("the nonce has 12 bytes, the version is 0 or 1")
    padded = _pad(plaintext) if version == 0 else plaintext
    return bytes((version,)) + nonce + AESGCM(key).encrypt(nonce, padded, aad)


def open_sealed(keyring: Keyring, data: bytes | memoryview, aad: bytes) -> tuple[bytes, bytes]:
    """Decrypt with the ring: the plaintext, never empty, and the key that opened it.

    Raises WireError.
    """
    if not data:
        raise WireError(Refusal.EMPTY)
    version = data[0]
    if version > MAX_VERSION:
        raise WireError(Refusal.VERSION)
    if len(data) < _MIN_SEALED:
        raise WireError(Refusal.TRUNCATED)
    # Not copied: a stream may have megabytes.
    nonce, sealed = bytes(data[1 : 1 + NONCE_LENGTH]), data[1 + NONCE_LENGTH :]
    plaintext, key = keyring.decrypt(nonce, sealed, aad)
    if version == 0:
        plaintext = _unpad(plaintext)
    if not plaintext:
        raise WireError(Refusal.EMPTY)
    return plaintext, key


def _pad(plaintext: bytes) -> bytes:
    """PKCS7 (RFC 5652 section 6.3): 1 to 16 bytes, each saying how many."""
    count = BLOCK - len(plaintext) % BLOCK
    return plaintext + bytes((count,)) * count


def _unpad(padded: bytes) -> bytes:
    """Check what Go trusts: the padding's length and every byte of it."""
    if not padded or len(padded) % BLOCK:
        raise WireError(Refusal.DECRYPT)
    count = padded[-1]
    if not 1 <= count <= BLOCK or padded[-count:] != bytes((count,)) * count:
        raise WireError(Refusal.DECRYPT)
    return padded[:-count]
