"""What one push/pull of a large table costs each side: `python bench/push_pull.py [ROWS]`."""

import random
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from gossip.config import LAN
from gossip.hooks import Hooks
from gossip.io import Address, Dial
from gossip.swim import Swim
from gossip.wire import compress
from gossip.wire.messages import CURRENT_VSN, NodeState, State
from ownership.letters import mark
from ownership.letters.mark import Mark

T = TypeVar("T")
_LIMIT = 8 * 1024 * 1024
_LIFE = 1_800_000_000


def _node(name: str, ip: str) -> Swim:
    rng = random.Random(name)  # noqa: S311 - a measurement must be repeatable
    return Swim(
        LAN,
        name=name,
        address=Address(ip, 7946),
        keyring=None,
        rng=rng,
        nonce=lambda: rng.randbytes(12),
        incarnation=_LIFE,
        now=0.0,
        meta=mark.encode(Mark(rng.getrandbits(32))),
        hooks=Hooks(of_our_kind=mark.is_marked),
    )


def _row(number: int) -> NodeState:
    rng = random.Random(number)  # noqa: S311
    addr = bytes((10, 1, number >> 8, number & 255))
    meta = mark.encode(Mark(rng.getrandbits(32)))
    life = _LIFE - rng.randrange(1_000_000)
    name = f"worker-{number}.example.internal"
    return NodeState(addr, life, meta, name, 7946, State.ALIVE, CURRENT_VSN)


def _timed(what: str, run: Callable[[], T]) -> T:
    begun = time.perf_counter()
    result = run()
    print(f"{what:40} {1_000 * (time.perf_counter() - begun):7.1f} ms")
    return result


def main() -> None:
    """Join an empty node to one that knows all."""
    one, two = _node("one", "10.0.0.1"), _node("two", "10.0.0.2")
    rows = int(sys.argv[1]) if sys.argv[1:] else 5_900
    one.adopt([_row(number) for number in range(rows)], 0.0)
    two.set_seeds([Address("10.0.0.1", 7946)], 0.0)
    (dial,) = (item for item in two.transmits() if isinstance(item, Dial))
    source = Address("10.0.0.2", 40_000)
    for what in ("encode the reply", "encode it again"):
        reply = _timed(what, lambda: one.handle_stream(dial.data, source, 0.1)) or b""
    print(f"{'its length':40} {len(reply):7} bytes")
    _timed("decompress it", lambda: compress.unwrap(reply, _LIMIT))
    _timed("decompress and decode it", lambda: two.streams.open(reply, accepting=False))
    _timed("the same, rows known", lambda: two.streams.open(reply, accepting=False))
    _timed("the same, and the first bite", lambda: two.handle_reply(dial.id, reply, 0.2))
    while len(two.live()) < rows + 2:
        _timed("another bite", lambda: two.handle_timeout(0.2))
    print(f"{len(two.live())} members")


if __name__ == "__main__":
    main()
