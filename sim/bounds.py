"""How long things may take, from the configuration alone. Pure.

Detection of a crash, for a cluster of n of which d die at the same time:

    wait        1.5 (n - 1) I + d H I   until one survivor's turn comes to the victim: its order
                                        of probing is shuffled by halves; each other victim may
                                        hold it up for a stretched probe
    probe       H I                     the longest probe, at the worst health score
    suspicion   6 min(n)                nobody confirms; min(n) = mult x max(1, log10 n) x I
    hops        G                       the news gets round

with I the probe interval, H the awareness limit (8), and G twenty gossip intervals. The typical
time is far below it: somebody's turn comes within a second, and two others confirm.
"""

from gossip.config import Config
from gossip.pushpull import push_pull_scale
from gossip.suspicion import suspicion_timeout

_HOPS = 20
_MESSAGE = 160
"""More than any message of gossip with its share of headers, bytes."""
_NEWS = 4
"""Messages about one change: suspect, two confirmations, dead or alive."""


def hops(config: Config) -> float:
    """Seconds within which news has reached everybody."""
    return _HOPS * config.gossip_interval


def suspicion_minimum(config: Config, nodes: int) -> float:
    """Seconds that a node has at least to refute."""
    return suspicion_timeout(config.suspicion_mult, nodes, config.probe_interval)


def detection(config: Config, nodes: int, deaths: int) -> float:
    """Seconds after which every survivor has declared a crashed node dead."""
    stretch = config.awareness_max_multiplier
    wait = (1.5 * (nodes - 1) + deaths * stretch) * config.probe_interval
    longest = config.suspicion_max_timeout_mult * suspicion_minimum(config, nodes)
    return wait + stretch * config.probe_interval + longest + hops(config)


def convergence(config: Config, nodes: int) -> float:
    """Seconds after the last fault within which all living nodes agree.

    After a partition it takes a rejoin through the seeds, one more if the first dial got lost.
    """
    rejoin = 2 * (config.rejoin_interval + config.tcp_timeout)
    return rejoin + push_pull_scale(config.push_pull_interval, nodes) + hops(config)


def tolerated_pause(config: Config, nodes: int) -> float:
    """Seconds for which a process may stand still without being declared dead.

    That takes others a probe and the shortest suspicion; when it wakes, the accusations wait in
    its receive buffer, and it refutes at once. So one probe is left over for that.
    """
    return suspicion_minimum(config, nodes)


def tolerated_cut(config: Config) -> float:
    """Seconds for which a node may be cut off without being declared dead.

    Less than a pause: accusations that gossip carried meanwhile are lost. So the cut must be over
    when the first probe fails.
    """
    return config.probe_interval


def bytes_sent(config: Config, nodes: int, seconds: float, changes: int) -> float:
    """UDP bytes, headers included, that one node may send in a run with that many changes.

    Probing costs it a ping, an ack, and in the worst case three requests, two relayed pings and
    acks a second; each change is told `retransmit_limit` times and shouted to all.
    """
    probing = 10 * _MESSAGE * (seconds / config.probe_interval + 10)
    told = config.retransmit_mult * len(str(nodes)) + nodes
    return probing + _NEWS * _MESSAGE * told * (changes + nodes)
