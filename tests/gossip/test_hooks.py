"""What an application may decide: memberlist's allow list, delegates, seeds and transport."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from gossip.address import allowed
from gossip.hooks import Hooks
from gossip.io import Address, ExchangeFailed, UserMessage, UserState
from gossip.seeds import MAX_ADDRESSES, look_up
from gossip.stats import Ignored
from gossip.wire.errors import Refusal
from gossip.wire.messages import Ack, Alive, IndirectPing, NodeState, Ping, PushPull, State

if TYPE_CHECKING:
    from gossip_bench import Bench, Network

INSIDE, OUTSIDE = "10.0.0.9", "192.0.2.9"
NETWORKS = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))


@pytest.fixture
def fenced(new_bench: Callable[..., "Bench"], lan_without: Callable[..., Any]) -> "Bench":
    """A node that allows 10.0.0.0/24 and fd00::/64."""
    return new_bench(lan_without(cidrs_allowed=NETWORKS))


# ---- CIDR allow lists


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("10.0.0.255", True),
        ("10.0.1.0", False),
        ("::ffff:10.0.0.7", True),
        ("::ffff:10.0.1.7", False),
        ("fd00::7", True),
        ("fd00:1::7", False),
        ("no address", False),
    ],
)
def test_allow_list_knows_its_networks(ip: str, expected: bool) -> None:
    assert allowed(ip, NETWORKS) is expected
    assert allowed(ip, None)
    assert not allowed(ip, ())


def test_allow_list_refuses_packets_and_streams_from_outside(
    fenced: "Bench", alive: Callable[..., Alive], row: Callable[..., NodeState]
) -> None:
    fenced.hear(alive("n2"), source=OUTSIDE)
    request = fenced.swim.streams.seal(
        PushPull(True, (row("n3", State.ALIVE),)), dialer=True, nonce=lambda: bytes(12)
    )
    assert fenced.swim.handle_stream(request, Address(OUTSIDE, 40000), fenced.now) is None
    assert fenced.swim.live() == {"me"}
    assert fenced.swim.stats.refusals == {Refusal.SOURCE: 2}
    fenced.hear(alive("n2"), source=INSIDE)
    assert fenced.swim.live() == {"me", "n2"}


def test_allow_list_refuses_members_that_live_outside(
    fenced: "Bench", alive: Callable[..., Alive], row: Callable[..., NodeState]
) -> None:
    outside = bytes((192, 0, 2, 7))
    fenced.hear(alive("n7", addr=outside), source=INSIDE)
    stranger = NodeState(outside, 1, None, "n8", 7946, State.ALIVE, row("n8", State.ALIVE).vsn)
    fenced.merge(stranger, row("n2", State.ALIVE))
    assert fenced.swim.live() == {"me", "n2"}
    assert fenced.swim.stats.ignored[Ignored.NOT_ALLOWED] == 2


def test_allow_list_relays_no_ping_to_the_outside(fenced: "Bench") -> None:
    target = bytes((192, 0, 2, 7))
    fenced.hear(IndirectPing(True, "n7", 7946, 5, bytes((10, 0, 0, 9)), "n9", 7946, target))
    assert fenced.sent() == []
    assert fenced.swim.stats.ignored[Ignored.NOT_ALLOWED] == 1


# ---- Merge and alive delegates


def test_merge_delegate_cancels_a_join_on_both_sides(network: "Network") -> None:
    asked: list[tuple[str, bool]] = []

    def refuse(message: PushPull, peer: Address) -> bool:
        asked.append((peer.ip, message.join))
        return False

    one, two = (network.add(name, hooks=Hooks(may_merge=refuse)) for name in ("n1", "n2"))
    two.set_seeds([network.address("n1")], network.now)
    network.run(0.5)
    assert asked == [("10.0.0.2", True), ("10.0.0.1", True)]
    assert one.live() == {"n1"}
    assert two.live() == {"n2"}
    assert one.stats.ignored[Ignored.HOOK] == 1
    failures = [event for event in network.events["n2"] if isinstance(event, ExchangeFailed)]
    assert [failure.reason for failure in failures] == [Ignored.HOOK.value]


def test_alive_delegate_keeps_a_joiner_out_who_sees_us(network: "Network") -> None:
    hooks = Hooks(may_live=lambda message: message.node != "n2")
    one, two = network.add("n1", hooks=hooks), network.add("n2")
    two.set_seeds([network.address("n1")], network.now)
    network.run(3)
    assert one.live() == {"n1"}
    assert two.live() == {"n1", "n2"}
    assert one.stats.ignored[Ignored.HOOK] >= 1


# ---- Ping delegate


def test_ping_delegate_hears_the_round_trip_and_the_payload(network: "Network") -> None:
    heard: list[tuple[str, float, bytes]] = []
    one = network.add("n1", hooks=Hooks(pinged=lambda *said: heard.append(said)))
    two = network.add("n2")
    two.set_ack_payload(b"whatever")
    two.set_seeds([network.address("n1")], network.now)
    network.run(3)
    name, rtt, payload = heard[0]
    assert (name, payload) == ("n2", b"whatever")
    assert rtt == pytest.approx(0.002)
    two.set_ack_payload(b"")
    network.run(3)
    assert heard[-1][2] == b""
    assert one.live() == {"n1", "n2"}


def test_ping_delegate_hears_of_no_ack_that_may_have_come_through_a_helper(
    new_bench: Callable[..., "Bench"], alive: Callable[..., Alive]
) -> None:
    heard: list[str] = []
    bench = new_bench(hooks=Hooks(pinged=lambda name, rtt, payload: heard.append(name)))
    bench.hear(alive("n2"))
    ping, _ = bench.until_sent(Ping)
    assert isinstance(ping, Ping)
    bench.run(0.6)
    bench.hear(Ack(ping.seq_no))
    assert heard == []
    assert bench.state("n2") is State.ALIVE


def test_ping_delegate_payload_is_only_in_acks_by_udp_and_limited(bench: "Bench") -> None:
    bench.swim.set_ack_payload(bytes(512))
    with pytest.raises(ValueError, match="ack payload: 513 bytes"):
        bench.swim.set_ack_payload(bytes(513))
    bench.hear(Ping("me", 5))
    assert (Address("10.0.0.9", 7946), Ack(5, bytes(512))) in bench.sent()
    request = bench.swim.streams.seal(Ping("me", 6), dialer=True, nonce=lambda: bytes(12))
    reply = bench.swim.handle_stream(request, Address("10.0.0.9", 40000), bench.now)
    assert reply is not None
    assert bench.swim.streams.open(reply, accepting=False) == Ack(6)


# ---- Host names as seeds


def test_names_as_seeds_give_all_their_addresses_of_both_families() -> None:
    table = {"ring": ["10.0.0.1", "10.0.0.2", "fd00::1"], "one": ["10.0.0.2"]}

    async def resolve(host: str, port: int) -> list[str]:
        if host not in table:
            raise OSError(-2, "Name or service not known")
        host.encode("idna")
        return table[host]

    names = ("ring", "gone", "one", "a..b")
    table["a..b"] = []
    found = asyncio.run(look_up([(name, 7946) for name in names], resolve))
    assert found.addresses == tuple(Address(ip, 7946) for ip in table["ring"])
    assert found.failures[0] == ("gone", "Name or service not known")
    assert [host for host, _ in found.failures] == ["gone", "a..b"]


def test_names_as_seeds_are_all_tried_and_the_living_one_is_joined(network: "Network") -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.77", "fd00::77", network.address("n1").ip]

    network.add("n1")
    found = asyncio.run(look_up([("ring", 7946)], resolve))
    network.add("n2").set_seeds(found.addresses, network.now)
    network.run(3)
    assert network.nodes["n2"].live() == {"n1", "n2"}


def test_names_as_seeds_are_bounded() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [f"10.{number >> 8}.{number & 255}.1" for number in range(1_000)]

    found = asyncio.run(look_up([("ring", 7946)], resolve))
    assert len(found.addresses) == MAX_ADDRESSES


# ---- A transport of the application's own


def test_custom_transport_joins_and_sends(network: "Network") -> None:
    """Nothing here has a socket: `network` carries what the cores want to send."""
    one, two, three = network.cluster(3)
    assert one.send("n2", b"straight")
    three.broadcast(b"to all", network.now)
    network.run(1)
    for swim, name, expected in ((one, "n1", [b"to all"]), (two, "n2", [b"straight", b"to all"])):
        heard = {event.data for event in network.events[name] if isinstance(event, UserMessage)}
        assert swim.live() == {"n1", "n2", "n3"}
        assert heard == set(expected)


# ---- The state of an application behind a push/pull


def test_user_state_of_a_push_pull_is_handed_over(
    bench: "Bench", row: Callable[..., NodeState]
) -> None:
    message = PushPull(True, (row("n2", State.ALIVE),), b"\x02serf's own")
    request = bench.swim.streams.seal(message, dialer=True, nonce=lambda: bytes(12))
    assert bench.swim.handle_stream(request, Address("10.0.0.2", 40000), bench.now)
    states = [event for event in bench.swim.events() if isinstance(event, UserState)]
    assert [(state.data, state.source.ip) for state in states] == [(b"\x02serf's own", "10.0.0.2")]
