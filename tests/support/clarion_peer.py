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
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, cast

from gossip.agent import Agent
from gossip.config import PRESETS, Config
from gossip.hooks import Hooks
from gossip.io import (
    Address,
    Event,
    Exchanged,
    ExchangeFailed,
    Gone,
    Joined,
    KeyBlocked,
    KeyDropped,
    KeyUsed,
    NameConflict,
    Recovered,
    Suspected,
    Updated,
)
from gossip.swim import Swim
from gossip.wire.crypto import Keyring
from ownership.letters import mark
from ownership.letters.mark import Mark
from speaker.ring.secret_file import SecretFile
from speaker.settings import read_secret

JOIN_TIMEOUT = 5.0
_KINDS: Mapping[type, str] = {
    Joined: "join",
    Suspected: "suspect",
    Recovered: "recovered",
    Updated: "update",
}


def say(**fields: Any) -> None:
    """Print one JSON line."""
    print(json.dumps(fields), flush=True)


def _log(text: str) -> None:
    say(event="log", text=text)


class _Log:
    """What the watch of the secret file complains to."""

    def warning(self, event: str, **fields: Any) -> None:
        _log(f"[WARN] {event}: {fields}")


def _tell(event: Event) -> None:
    """Print what a driver of the tests wants to know."""
    match event:
        case Joined() | Suspected() | Recovered() | Updated():
            say(event=_KINDS[type(event)], name=event.member.name)
        case Gone():
            say(event=event.member.state.name.lower(), name=event.member.name)
        case KeyUsed():
            say(event="key_used")
        case KeyDropped():
            say(event="key_dropped")
        case KeyBlocked():
            for name in event.names:
                say(event="key_blocked", name=name)
        case ExchangeFailed() | NameConflict():
            _log(repr(event))
        case _:
            pass


def _by_name(counter: Counter[Enum]) -> dict[str, int]:
    return {key.name.lower(): count for key, count in counter.items()}


def arguments() -> argparse.ArgumentParser:
    """What an agent is told when it starts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-name", required=True)
    parser.add_argument("-bind", required=True)
    parser.add_argument("-port", type=int, default=7946)
    parser.add_argument("-label", default="")
    parser.add_argument("-profile", choices=PRESETS, default="lan")
    parser.add_argument("-delegate-version", default="0,0,0")
    parser.add_argument("-key", action="append", default=[], type=base64.b64decode)
    parser.add_argument("-secret-file", default="")
    return parser


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
        self._secret_file, self._secret = (
            settings.secret_file,
            read_secret(settings.secret_file, ""),
        )
        keys = [self._secret.key] if self._secret.key else settings.key
        self.keyring = Keyring(keys) if keys else None
        self.swim = Swim(
            _config(settings),
            name=settings.name,
            address=bind,
            keyring=self.keyring,
            rng=random.Random(),
            nonce=lambda: secrets.token_bytes(12),
            incarnation=int(time.time()),
            now=time.monotonic(),
            meta=mark.encode(Mark(random.getrandbits(mark.START_ID_BITS))),
            hooks=Hooks(of_our_kind=mark.is_marked),
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

    async def watch_secret(self) -> None:
        """Follow the secret file, as the daemon does, until cancelled."""

        def rotate(key: bytes) -> None:
            self.swim.rotate(key, time.monotonic())
            self.agent.poke()

        if self._secret_file:
            await SecretFile(self._secret_file, self._secret, rotate, cast(Any, _Log())).run()

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


async def serve(obey: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """Take orders and print answers until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        try:
            answer = await obey(order)
        except ValueError as error:
            answer = {"error": str(error)}
        say(answer=order["id"], **answer)


async def main() -> None:
    """Run until standard input ends."""
    settings = arguments().parse_args()
    peer = Peer(settings)
    await peer.agent.start()
    watching = asyncio.create_task(peer.watch_secret())
    say(event="ready", name=settings.name)
    await serve(peer.obey)
    watching.cancel()
    await peer.agent.close()


if __name__ == "__main__":
    asyncio.run(main())
