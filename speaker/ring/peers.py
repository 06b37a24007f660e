"""The gossip side of the speaker: the agent with its key, its seeds, and who is alive."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from gossip.agent import Agent
from gossip.hooks import Hooks
from gossip.io import Address, Event, MemberView
from gossip.seeds import look_up
from gossip.slots import Cut
from gossip.stats import Ignored, Stats, StreamStats
from gossip.swim import Swim
from gossip.wire.crypto import Keyring
from gossip.wire.errors import Refusal
from kube.address import parse_ip
from ownership.io import Send
from ownership.letters import mark
from ownership.letters.courier import Courier, CourierRefusal, Letter
from ownership.letters.mark import Flags, Mark
from ownership.liveness.roster import Peer
from process.logs import Sparing
from speaker.ring.rekeying import SecretRefusal
from speaker.ring.secret_file import SecretFile
from speaker.settings import SHORT_SECRET, Settings, split_seed
from speaker.upkeep import Part, Upkeep

RESOLVE_INTERVAL = 60.0
"""Seconds between look-ups of the seeds' names; MetalLB asks for its pods as often."""
RESOLVE_RETRY = 2.0
DEAF_AFTER = 10
"""Datagrams in a row that raised an error, after which we count as deaf."""
REFUSAL_INTERVAL = 60.0
"""Seconds between log lines about packets that could not be read: a stranger may send many."""


class Peers:
    """Owns the gossip agent; `agent` is None where there is no gossip, as MetalLB allows."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        on_event: Callable[[Event], None],
        log: Log,
        upkeep: Upkeep,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._upkeep = upkeep
        self._sparing = Sparing()
        self._tasks: list[asyncio.Task[None]] = []
        self._secret_file: SecretFile | None = None
        self._failed: Counter[str] = Counter()
        """How often the network, or a stranger, made something fail, by what was tried."""
        self._reported: Counter[str] = Counter()
        self._next_report = 0.0
        self.agent: Agent | None = None
        self.courier: Courier | None = None
        self._start_id = 0
        self._key_since = clock()
        if settings.gossips:
            self.agent = self._make_agent(on_event)

    async def start(self) -> None:
        """Bind and begin to join; OSError names the address that could not be bound."""
        if self.agent is None:
            return
        await self.agent.start()
        if self._settings.join:
            self._keep(Part.SEEDS, self._keep_seeds)
        if self._settings.secret_path:
            settings = self._settings
            watch = SecretFile(settings.secret_path, settings.secret, self._rotate, self._log)
            self._secret_file = watch
            self._keep(Part.SECRET, watch.run)

    def set_seeds(self, ips: Sequence[str]) -> None:
        """Take the addresses of the speaker pods; they all listen on our own port."""
        if self.agent is not None:
            seeds = [Address(ip, self._settings.bind_port) for ip in ips if parse_ip(ip)]
            self.agent.swim.set_seeds(seeds, self._clock())
            self.agent.poke()

    async def leave(self) -> None:
        """Tell the cluster that we go; at most a second."""
        if self.agent is not None:
            await self.agent.leave()

    async def close(self) -> None:
        """Stop gossip."""
        for task in self._tasks:
            task.cancel()
        if self.agent is not None:
            await self.agent.close()

    def live(self) -> frozenset[str] | None:
        """Return the names of living members, ourselves among them; None without gossip."""
        return None if self.agent is None else self.agent.swim.live()

    def exchange(self) -> None:
        """Ask peers for their state now."""
        if self.agent is not None:
            self.agent.swim.exchange(self._clock())
            self.agent.poke()

    def call(self, address: Address) -> None:
        """Exchange state with whoever is at this address now."""
        if self.agent is not None:
            self.agent.swim.call(address, self._clock())
            self.agent.poke()

    def send(self, letter: Send) -> None:
        """Send a letter of ours to other Clarions; about a node that gossip knows."""
        if self.agent is None or self.courier is None:
            return
        about = self.agent.swim.member(letter.about)
        its = mark.decode(about.meta) if about is not None else None
        if about is None or its is None:
            return
        what = (int(letter.kind), its.start_id, about.incarnation, letter.payload)
        if letter.to is None:
            self.courier.straight(*what)
        else:
            self.courier.to(letter.to, *what)
        self.agent.poke()

    def take(self, data: bytes) -> Letter | None:
        """Read an application message; None where it is no letter that counts."""
        taken = self.courier.take(data) if self.courier is not None else None
        return taken if isinstance(taken, Letter) else None

    def others(self) -> list[Peer]:
        """Describe all other members, the dead and those that left too."""
        if self.agent is None:
            return []
        found = []
        for member in self.agent.swim.members():
            if not member.own:
                its = mark.decode(member.meta)
                start_id, flags = (None, Flags.NONE) if its is None else (its.start_id, its.flags)
                found.append(Peer(member.name, start_id, flags, member.state, member.address))
        return found

    def members(self) -> tuple[MemberView, ...]:
        """Return the whole table of gossip: ourselves, the dead and those that left too."""
        return () if self.agent is None else self.agent.swim.members()

    @property
    def keyed(self) -> bool:
        """Whether what we gossip is sealed."""
        return self.encrypted().get("outgoing", False)

    def unproved_names(self) -> frozenset[str]:
        """Name the living peers that have not proved that they read a new key."""
        return frozenset(() if self.agent is None else self.agent.swim.unproved())

    def set_flags(self, flags: Flags) -> None:
        """Publish why we may own nothing."""
        if self.agent is not None:
            meta = mark.encode(Mark(self._start_id, flags))
            self.agent.swim.set_meta(meta, self._clock())
            self.agent.poke()

    def states(self) -> Mapping[str, int]:
        """Count members by state, for the metric."""
        if self.agent is None:
            return {}
        counts = Counter(member.state.name.lower() for member in self.agent.swim.members())
        return {state: counts[state] for state in ("alive", "suspect", "dead", "left")}

    def refusals(self) -> Mapping[str, int]:
        """Count what gossip refused, by reason, for the metric.

        What has not happened yet is 0: of a series that begins with its first count no increase
        is seen.
        """
        if self.agent is None:
            return {}
        stats = self.agent.swim.stats
        counts = self._refusals(self.agent)
        counts |= {str(reason): stats.ignored[reason] for reason in Ignored}
        letters = self.courier.refused if self.courier is not None else Counter[CourierRefusal]()
        counts |= {f"letter_{reason}": letters[reason] for reason in CourierRefusal}
        counts |= {
            f"{where.replace(' ', '_')}_failed": n for where, n in self._failed.copy().items()
        }
        return counts | {
            "exchange_failed": stats.exchanges_failed,
            "outgoing_full": self.agent.outgoing_dropped,
        }

    @staticmethod
    def _refusals(agent: Agent) -> dict[str, int]:
        """Count what strangers can cause, by reason: packets and streams."""
        packets, cuts = agent.swim.stats.refusals, agent.slots.cuts
        counts = {str(reason): packets[reason] for reason in Refusal}
        return counts | {f"stream_{cut}": cuts[cut] for cut in Cut}

    def keep_time(self, now: float) -> None:
        """Tell gossip the date: a machine without a battery gets its own after we have started."""
        if self.agent is not None:
            self.agent.swim.set_clock(time.time(), now)

    def report_refusals(self, now: float) -> None:
        """Log what has been refused since the last line, once a minute at most."""
        if self.agent is None or now < self._next_report:
            return
        refused = Counter(self._refusals(self.agent))
        news = dict(refused - self._reported)
        if news:
            self._log.warning("gossip_refused", reasons=news, hint=_KEY_HINT)
            self._reported, self._next_report = refused, now + REFUSAL_INTERVAL

    def unproved(self) -> int:
        """Count the peers that have not proved that they read a new key, for the metric."""
        return 0 if self.agent is None else len(self.agent.swim.unproved())

    def note_key_used(self) -> None:
        """A new key is what we send with from now on."""
        self._key_since = self._clock()

    def key_age(self) -> float | None:
        """Return the seconds for which we have sent with our key; None where there is none."""
        if self.agent is None or self._settings.secret.key is None:
            return None
        return self._clock() - self._key_since

    def encrypted(self) -> Mapping[str, bool]:
        """Tell by direction whether all gossip is encrypted, for the metric."""
        if self.agent is None:
            return {}
        keyed, wire = self._settings.secret.key is not None, self._settings.gossip.wire
        return {
            "incoming": keyed and wire.verify_incoming,
            "outgoing": keyed and wire.verify_outgoing,
        }

    def secrets_refused(self) -> Mapping[str, int]:
        """Count the changes of the secret's file that gave no new key, for the metric."""
        if self._secret_file is None:
            return {}
        refused = self._secret_file.refused
        return {reason.value: refused[reason] for reason in SecretRefusal}

    def stats(self) -> Stats:
        """Return what the core of gossip counts, for the metrics."""
        return Stats() if self.agent is None else self.agent.swim.stats

    def streams(self) -> StreamStats:
        """Return what passed the TCP streams, for the metrics."""
        return StreamStats() if self.agent is None else self.agent.streams

    def health(self) -> int:
        """Return the Lifeguard health score."""
        return 0 if self.agent is None else self.agent.swim.stats.health

    def trouble(self) -> str | None:
        """Say what of gossip does not work although everything runs; for the probe."""
        failed = 0 if self.agent is None else self.agent.unreadable
        return f"gossip: the last {failed} datagrams failed" if failed >= DEAF_AFTER else None

    def _keep(self, part: Part, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(self._upkeep.keep(part, make))

    def _rotate(self, key: bytes) -> None:
        if self.agent is None:
            return
        try:
            self.agent.swim.rotate(key, self._clock())
        except ValueError as error:
            self._log.warning("secret", error=str(error))
            return
        self.agent.poke()
        self._log.info("secret", state="accepted", message="in use once every member can read it")

    def _make_agent(self, on_event: Callable[[Event], None]) -> Agent:
        settings = self._settings
        address = Address(settings.bind_address, settings.bind_port)
        rng = random.SystemRandom()
        self._start_id = rng.getrandbits(mark.START_ID_BITS)
        swim = Swim(
            replace(settings.gossip, port=settings.bind_port),
            name=settings.node_name,
            address=address,
            keyring=self._keyring(),
            rng=rng,
            nonce=lambda: os.urandom(12),
            incarnation=int(time.time()),
            now=self._clock(),
            meta=mark.encode(Mark(self._start_id)),
            hooks=Hooks(of_our_kind=mark.is_marked),
        )
        self.courier = Courier(swim, rng, self._start_id)
        return Agent(swim, address, self._clock, on_event, self._on_error, self._on_end)

    def _keyring(self) -> Keyring | None:
        secret = self._settings.secret
        if secret.key is None:
            self._log.warning("gossip", message="no secret is set: gossip is not encrypted")
            return None
        if secret.length < SHORT_SECRET:
            self._log.warning("gossip", message=f"the secret is short: {secret.length} bytes")
        wire = self._settings.gossip.wire
        verified = {
            "GossipVerifyIncoming": wire.verify_incoming,
            "GossipVerifyOutgoing": wire.verify_outgoing,
        }
        if off := [name for name, on in verified.items() if not on]:
            # MetalLB's rule: a key that its file lacks is false.
            problem = "a secret is set, but config.json turns encryption off"
            self._log.warning("gossip", message=problem, off=off)
        return Keyring([secret.key])

    def _on_error(self, where: str, error: Exception) -> None:
        if not isinstance(error, OSError):
            self._upkeep.note(Part.GOSSIP, error, message=where)
            return
        # The network's fault. By its reason, not its text, which names one of a thousand peers.
        self._failed[where] += 1
        left_out = self._sparing.ask((where, type(error), error.errno))
        if left_out is not None:
            text = str(error) or type(error).__name__
            self._log.warning("gossip", where=where, error=text, more=left_out)

    def _on_end(self, where: str, error: BaseException | None) -> None:
        self._log.warning("gossip", where=where, state="ended")
        self._upkeep.fail(Part.GOSSIP, error)

    async def _keep_seeds(self) -> None:
        seeds = [split_seed(text, self._settings.bind_port) for text in self._settings.join]
        while True:
            found = await look_up(seeds, _resolve)
            for host, error in found.failures:
                left_out = self._sparing.ask(("join", host, error))
                if left_out is not None:
                    self._log.warning("join", seed=host, error=error, more=left_out)
            if self.agent is not None:
                self.agent.swim.set_seeds(found.addresses, self._clock())
                self.agent.poke()
            await asyncio.sleep(RESOLVE_RETRY if found.failures else RESOLVE_INTERVAL)


async def _resolve(host: str, port: int) -> list[str]:
    """Ask the system, which asks again over TCP where an answer does not fit a datagram."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=0)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


_KEY_HINT = "decrypt: another key, or none; label: another ring; stream_: see docs/operations.md"


def describe(member: MemberView) -> dict[str, str]:
    """Return the log fields of a member."""
    return {
        "node": member.name,
        "state": member.state.name.lower(),
        "address": member.address.ip,
    }
