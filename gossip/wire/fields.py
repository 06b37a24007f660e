"""One msgpack field: what Go puts in it, and every form of it that Go accepts.

Go writes structs as maps with sorted keys, and text and bytes alike in the old raw family, so no
str8 and no bin. It reads far more: any integer width, nil for a zero value, bin, lists of ints.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import msgpack  # type: ignore[import-untyped]

from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import State

MAX_NAME = 512
"""Bytes of a node name; Kubernetes allows 253."""
MAX_META = 512
"""memberlist's MetaMaxSize."""
MAX_ADDRESS = 16
MAX_RECEIVED_VSN = 16
VSN_LENGTH = 6
MAX_ERROR_TEXT = 4096
MAX_MAP = 64
"""Keys in a received map; the largest of ours has eight."""
MAX_ARRAY = 1024
"""Elements in a received array; the longest wanted is a Meta sent as a list of ints."""

U16 = 0xFFFF
U32 = 0xFFFF_FFFF


class FieldCodec(NamedTuple):
    """How a field's value is read (WireError if refused) and written (ValueError if refused)."""

    read: Callable[[object], Any]
    write: Callable[[Any], object]


class Field(NamedTuple):
    """`key` on the wire, `attribute` of our dataclass."""

    key: bytes
    attribute: str
    kind: FieldCodec
    omit_empty: bool = False


def _refuse(reason: Refusal = Refusal.BAD_BODY) -> NoReturn:
    raise WireError(reason)


def unsigned(maximum: int) -> FieldCodec:
    """Build an integer in 0..maximum, in any width and sign on the wire; nil is 0.

    Reading another raises WireError, writing one ValueError.
    """

    def read(value: object) -> int:
        if value is None:
            return 0
        if type(value) is not int or not 0 <= value <= maximum:
            _refuse()
        return value

    def write(value: int) -> int:
        if not 0 <= value <= maximum:
            raise ValueError(f"{value} is not in 0..{maximum}")
        return int(value)

    return FieldCodec(read, write)


def _read_octets(value: object, maximum: int) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, list):
        value = _octets_of_list(value)
    if not isinstance(value, bytes):
        _refuse()
    if len(value) > maximum:
        _refuse(Refusal.TOO_LONG)
    return value


def _octets_of_list(values: list[object]) -> bytes:
    """Go takes []uint8 sent as an array of integers."""
    if not all(type(value) is int and 0 <= value <= 255 for value in values):
        _refuse()
    return bytes(values)  # type: ignore[arg-type]


def optional_octets(maximum: int) -> FieldCodec:
    """Build bytes of at most `maximum`, where nil stays None: Go tells nil from empty.

    Reading more raises WireError, writing more ValueError.
    """

    def write(value: bytes | None) -> bytes | None:
        if value is not None and len(value) > maximum:
            raise ValueError(f"{len(value)} bytes, more than {maximum}")
        return value

    return FieldCodec(lambda value: _read_octets(value, maximum), write)


def octets(maximum: int) -> FieldCodec:
    """Build bytes of at most `maximum`; nil is empty."""
    inner = optional_octets(maximum)
    return FieldCodec(lambda value: _read_octets(value, maximum) or b"", inner.write)


def _read_name(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, bytes):
        _refuse()
    if len(value) > MAX_NAME:
        _refuse(Refusal.TOO_LONG)
    try:
        return value.decode()
    except UnicodeDecodeError:
        # Go would carry any bytes; a name that cannot be printed or hashed as text is refused.
        _refuse()


def _write_name(value: str) -> bytes:
    raw = value.encode()
    if len(raw) > MAX_NAME:
        raise ValueError(f"a name of {len(raw)} bytes, more than {MAX_NAME}")
    return raw


def _read_text(value: object) -> str:
    """Free text for a log line: cut and cleaned, never refused for what it says."""
    return (_read_octets(value, U32) or b"")[:MAX_ERROR_TEXT].decode(errors="replace")


def _write_text(value: str) -> bytes:
    return value.encode(errors="replace")[:MAX_ERROR_TEXT]


def _read_flag(value: object) -> bool:
    if value is None:
        return False
    if value not in (0, 1) or isinstance(value, float):
        _refuse()
    return bool(value)


def _read_state(value: object) -> State:
    number = unsigned(max(State)).read(value)
    return State(number)


def _write_vsn(value: bytes) -> bytes:
    """Every memberlist up to v0.6.0 dies of an alive whose Vsn has 1 to 5 bytes."""
    if len(value) != VSN_LENGTH:
        raise ValueError(f"a Vsn of {len(value)} bytes, not {VSN_LENGTH}")
    return value


NAME = FieldCodec(_read_name, _write_name)
TEXT = FieldCodec(_read_text, _write_text)
FLAG = FieldCodec(_read_flag, bool)
STATE = FieldCodec(_read_state, int)
PORT = unsigned(U16)
NUMBER = unsigned(U32)
ADDRESS = octets(MAX_ADDRESS)
META = optional_octets(MAX_META)
PAYLOAD = optional_octets(U16)
VSN = FieldCodec(octets(MAX_RECEIVED_VSN).read, _write_vsn)


def pack(value: object) -> bytes:
    """Encode `value` in Go's own msgpack form (old raw family, shortest integers)."""
    return bytes(msgpack.packb(value, use_bin_type=False))


_PACKER = msgpack.Packer(use_bin_type=False)


def pack_small(value: object) -> bytes:
    """Encode likewise, but in a buffer that is kept: half the time, for values of a few KiB."""
    return bytes(_PACKER.pack(value))


def unpack(data: bytes | memoryview) -> object:
    """Decode the first msgpack value of `data`, all text as bytes; what follows it is ignored.

    Raises WireError.
    """
    try:
        value: object = msgpack.unpackb(
            data, raw=True, strict_map_key=False, max_map_len=MAX_MAP, max_array_len=MAX_ARRAY
        )
    except msgpack.ExtraData as error:
        return error.unpacked
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        raise WireError(Refusal.BAD_BODY) from None
    return value


def as_map(value: object, keys: tuple[bytes, ...]) -> dict[object, object]:
    """View a struct as a map: nil is all zero, an array is positional in `keys`."""
    if isinstance(value, dict):
        return value
    if value is None:
        return {}
    if isinstance(value, list):
        return dict(zip(keys, value, strict=False))
    _refuse()
