"""One gossip agent of ours as a process: orders as JSON lines in, events as JSON lines out.

It speaks what the Go peer speaks, see tests/foreign/gopeer, and ends when its input does.
"""

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import json
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any

from gossip.agent import Agent
from gossip.config import PRESETS, Config
from gossip.io import (
    Address,
    Event,
    Exchanged,
    ExchangeFailed,
    Gone,
    Joined,
    NameConflict,
    Recovered,
    Suspected,
    Updated,
)
from gossip.swim import Swim
from gossip.wire.crypto import Keyring

JOIN_TIMEOUT = 5.0
_KINDS: Mapping[type, str] = {
    Joined: "join",
    Suspected: "suspect",
    Recovered: "recovered",
    Updated: "update",
}


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def _log(text: str) -> None:
    _say(event="log", text=text)


def _tell(event: Event) -> None:
    """Print what a driver of the tests wants to know."""
    match event:
        case Joined() | Suspected() | Recovered() | Updated():
            _say(event=_KINDS[type(event)], name=event.member.name)
        case Gone():
            _say(event=event.member.state.name.lower(), name=event.member.name)
        case ExchangeFailed() | NameConflict():
            _log(repr(event))
        case _:
            pass


def _by_name(counter: Counter[Enum]) -> dict[str, int]:
    return {key.name.lower(): count for key, count in counter.items()}


def _settings() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("-name", required=True)
    parser.add_argument("-bind", required=True)
    parser.add_argument("-port", type=int, default=7946)
    parser.add_argument("-label", default="")
    parser.add_argument("-profile", choices=PRESETS, default="lan")
    parser.add_argument("-delegate-version", default="0,0,0")
    parser.add_argument("-key", action="append", default=[], type=base64.b64decode)
    return parser.parse_args()


def _config(settings: argparse.Namespace) -> Config:
    preset = PRESETS[settings.profile]
    wire = dataclasses.replace(preset.wire, label=settings.label.encode())
    delegate = bytes(int(number) for number in settings.delegate_version.split(","))
    vsn = preset.vsn[:3] + delegate
    return dataclasses.replace(preset, wire=wire, vsn=vsn, port=settings.port)


class Peer:
    """The agent and its orders."""

    def __init__(self, settings: argparse.Namespace) -> None:
        bind = Address(settings.bind, settings.port)
        self.keyring = Keyring(settings.key) if settings.key else None
        self.swim = Swim(
            _config(settings),
            name=settings.name,
            address=bind,
            keyring=self.keyring,
            rng=random.Random(),
            nonce=lambda: secrets.token_bytes(12),
            incarnation=int(time.time()),
            now=time.monotonic(),
        )
        self.agent = Agent(
            self.swim,
            bind,
            time.monotonic,
            self._happened,
            lambda where, error: _log(f"{where}: {error!r}"),
        )
        self._outcomes: dict[Address, bool] = {}
        self._news = asyncio.Event()

    def _happened(self, event: Event) -> None:
        if isinstance(event, Exchanged | ExchangeFailed):
            self._outcomes[event.peer] = isinstance(event, Exchanged)
            self._news.set()
        _tell(event)

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order; the answer's own fields. Raises ValueError."""
        match order["do"]:
            case "join":
                return {"joined": await self._join(order["addresses"])}
            case "leave":
                await self.agent.leave()
                return {}
            case "members":
                return {"members": self._members()}
            case "stats":
                return self._stats()
            case "keys" | "install" | "use" | "remove" as verb:
                return self._key(verb, base64.b64decode(order.get("key", "")))
            case other:
                raise ValueError(f"no such order: {other}")

    async def _join(self, addresses: list[str]) -> int:
        """How many agreed; as the Go peer's, it comes back when all have said yes or no."""
        seeds = {Address(ip, int(port)) for ip, _, port in (a.rpartition(":") for a in addresses)}
        self._outcomes.clear()
        self.swim.set_seeds(sorted(seeds), time.monotonic())
        self.agent.poke()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(JOIN_TIMEOUT):
                while not seeds <= self._outcomes.keys():
                    self._news.clear()
                    await self._news.wait()
        # Nothing is tried again behind the back of the test.
        self.swim.set_seeds([], time.monotonic())
        return sum(self._outcomes.get(seed, False) for seed in seeds)

    def _members(self) -> list[dict[str, Any]]:
        return [
            {
                "name": member.name,
                "address": f"{member.address.ip}:{member.address.port}",
                "state": member.state.name.lower(),
                "incarnation": member.incarnation,
            }
            for member in self.swim.members()
        ]

    def _stats(self) -> dict[str, Any]:
        counted: dict[str, Any] = {"dropped": self.agent.outgoing_dropped}
        for field in dataclasses.fields(self.swim.stats):
            value = getattr(self.swim.stats, field.name)
            counted[field.name] = _by_name(value) if isinstance(value, Counter) else value
        return counted

    def _key(self, verb: str, key: bytes) -> dict[str, Any]:
        if self.keyring is None:
            raise ValueError("not encrypted")
        verbs = {
            "install": self.keyring.add,
            "use": self.keyring.use,
            "remove": self.keyring.remove,
        }
        if verb in verbs:
            verbs[verb](key)
        return {"keys": len(self.keyring.keys)}


async def _orders(peer: Peer) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        try:
            answer = await peer.obey(order)
        except ValueError as error:
            answer = {"error": str(error)}
        _say(answer=order["id"], **answer)


async def main() -> None:
    """Run until standard input ends."""
    settings = _settings()
    peer = Peer(settings)
    await peer.agent.start()
    _say(event="ready", name=settings.name)
    await _orders(peer)
    await peer.agent.close()


if __name__ == "__main__":
    asyncio.run(main())
