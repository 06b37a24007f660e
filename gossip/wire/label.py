"""The label header: `f4 | length u8 (1..255) | label`, outside of everything else."""

from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import MessageType

MAX_LABEL = 255


def check(label: bytes) -> None:
    """Accept a configured label; ValueError if it is too long to be sent."""
    if len(label) > MAX_LABEL:
        raise ValueError(f"a label of {len(label)} bytes, more than {MAX_LABEL}")


def overhead(label: bytes) -> int:
    """Bytes that the header adds: none without a label."""
    return 2 + len(label) if label else 0


def add(label: bytes, data: bytes) -> bytes:
    """Put the header before a packet or a dialled stream; nothing without a label."""
    check(label)
    return bytes((MessageType.HAS_LABEL, len(label))) + label + data if label else data


def measure(data: bytes | bytearray | memoryview, label: bytes) -> int | None:
    """Say how long the header is (0 without a label); None while its bytes are not all here.

    WireError as soon as it is not the header wanted: another label, none, or an unexpected one.
    """
    if not data:
        return None
    if not label:
        if data[0] == MessageType.HAS_LABEL:
            raise WireError(Refusal.LABEL)
        return 0
    wanted = bytes((MessageType.HAS_LABEL, len(label))) + label
    seen = bytes(data[: len(wanted)])
    if not wanted.startswith(seen):
        raise WireError(Refusal.LABEL)
    return len(wanted) if len(seen) == len(wanted) else None


def strip(data: bytes | memoryview, label: bytes) -> memoryview:
    """Check and remove the header of a whole packet or stream. Raises WireError."""
    if data and not label and data[0] != MessageType.HAS_LABEL:
        return memoryview(data)
    length = measure(data, label)
    if length is None:
        raise WireError(Refusal.TRUNCATED if data else Refusal.EMPTY)
    return memoryview(data)[length:]
