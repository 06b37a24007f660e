"""MAC addresses: 6 raw bytes inside, colon-separated hex for people."""

BROADCAST = b"\xff" * 6
ZERO = bytes(6)


def format_mac(mac: bytes) -> str:
    """Return `mac` (6 bytes) as `02:00:00:00:00:0a`."""
    return mac.hex(":")


def parse_mac(text: str) -> bytes:
    """Return the 6 bytes of `02:00:00:00:00:0a`; raise ValueError for anything else."""
    mac = bytes.fromhex(text.replace(":", ""))
    if len(mac) != 6:
        raise ValueError(f"not a MAC address: {text!r}")
    return mac


def is_group(mac: bytes) -> bool:
    """Tell whether `mac` addresses a group (broadcast or multicast): the I/G bit, IEEE 802."""
    return bool(mac[0] & 1)
