"""What a node counts of its traffic and its probes adds up over a network that loses nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gossip.io import Datagram, Dial, Transmit
from gossip.stats import Stats
from gossip.wire.errors import Refusal
from gossip.wire.messages import TYPES, MessageType

if TYPE_CHECKING:
    from gossip_bench import Bench, Network


def _traffic(network: "Network") -> tuple[list[int], list[int]]:
    """Sum up over all nodes what was sent, and what was received: datagrams, bytes, each type."""
    counts = [swim.stats for swim in network.nodes.values()]
    types = list(TYPES.values())
    sent = [(one.datagrams_sent, one.bytes_sent, *(one.sent[t] for t in types)) for one in counts]
    received = [
        (one.datagrams_received, one.bytes_received, *(one.received[t] for t in types))
        for one in counts
    ]
    return list(map(sum, zip(*sent, strict=True))), list(map(sum, zip(*received, strict=True)))


def test_what_is_sent_is_what_is_received(network: "Network") -> None:
    network.cluster(4)
    network.run(60)
    for _ in range(100):
        sent, received = _traffic(network)
        if sent == received:
            break
        # Something was on its way.
        network.run(0.01)
    assert sent == received
    datagrams = [each for *_, each in network.carried if isinstance(each, Datagram)]
    assert sent[:2] == [len(datagrams), sum(len(each.data) for each in datagrams)]


def test_messages_in_streams_are_counted_by_type_too(network: "Network") -> None:
    network.cluster(2)
    dials = [source for _, source, _, each in network.carried if isinstance(each, Dial)]
    one, two = (network.nodes[name].stats for name in ("n1", "n2"))
    push_pulls = one.sent[MessageType.PUSH_PULL] + two.sent[MessageType.PUSH_PULL]
    # Each is answered by another one.
    assert push_pulls == 2 * len(dials) > 0


def test_a_datagram_that_is_refused_was_received(bench: "Bench") -> None:
    bench.hear_raw(b"\xffjunk")
    stats = bench.swim.stats
    assert stats.refusals[Refusal.UNKNOWN_TYPE] == 1
    assert (stats.datagrams_received, stats.bytes_received) == (1, 5)
    assert stats.received.total() == 0


# ---- probes


def _ended(stats: Stats) -> int:
    late = stats.probes_acked_late + stats.tcp_fallbacks
    return stats.probes_acked + late + stats.probes_failed + stats.probes_forgotten


def test_each_probe_has_one_outcome(new_network: Callable[..., "Network"]) -> None:
    network = new_network(seed=3)
    network.cluster(4)

    def lost(source: str, to: str, transmit: Transmit) -> bool:
        """Between the first two no datagram passes; the third gets none at all."""
        return isinstance(transmit, Datagram) and ({source, to} == {"n1", "n2"} or to == "n3")

    one = network.nodes["n1"].stats
    network.run(10)
    assert (one.probes_acked_late, one.tcp_fallbacks, one.probes_failed) == (0, 0, 0)
    assert one.probes - _ended(one) <= 1
    network.lost = lost
    network.run(20)
    assert one.probes_acked_late > 0, "through a helper"
    assert one.tcp_fallbacks > 0
    assert one.probes_failed == 0
    assert one.probes - _ended(one) <= 1
    network.dead.add("n4")
    network.run(20)
    assert one.probes_failed > 0
    # After a failure all the others are asked at once.
    assert one.probes - _ended(one) <= len(network.nodes)
