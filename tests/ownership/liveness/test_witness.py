"""Whose machine and whose process live: verdicts, beats, letters, bars."""

from dataclasses import replace

import pytest

from gossip.wire.messages import State
from liveness_cluster import CLIENT, ETH0, NAMES, Cluster, Node, eth0
from ownership.io import Send
from ownership.letters.letters import LetterKind
from ownership.letters.mark import Flags
from ownership.liveness.roster import Peer
from ownership.liveness.targets import KernelState
from ownership.liveness.verdicts import PROCESS, Subject
from ownership.liveness.witness import BEAT_INTERVAL, BEAT_PATIENCE, REPEATS


def run_with_client(cluster: Cluster, watcher: str, until: float) -> None:
    """A client's frames come in by the watcher's link all the time."""
    while cluster.now < until:
        cluster.run(cluster.now + 0.05)
        cluster.nodes[watcher].core.handle_frames(ETH0, cluster.now)


@pytest.mark.parametrize("size", [3, 4])
def test_a_dead_machine_is_barred_by_all_within_half_a_second(size: int) -> None:
    cluster = Cluster(size)
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(5.5)
    for name in NAMES[1:size]:
        assert cluster.gone(name) == {eth0("node-0")}
        assert cluster.nodes[name].core.bars().bar("node-0", None)


@pytest.mark.parametrize("client", [False, True])
def test_of_two_nodes_one_judges_the_other_only_if_somebody_else_is_heard(client: bool) -> None:
    """One witness is enough where nobody else is able, but not without proof of its own link."""
    cluster = Cluster(2)
    cluster.run(5.0)
    cluster.cut("node-0")
    if client:
        run_with_client(cluster, "node-1", 5.5)
    cluster.run(10.0)
    assert cluster.gone("node-1") == ({eth0("node-0")} if client else frozenset())


@pytest.mark.parametrize(
    "dead", [["node-0", "node-1"], ["node-0", "node-1", "node-2"]], ids=["half", "all-but-one"]
)
def test_many_that_die_at_once_are_barred_though_their_witnesses_die_too(dead: list[str]) -> None:
    """The last one has the silence of all, but no proof of its own link: a client's answer is."""
    cluster = Cluster(clients=frozenset({CLIENT}))
    for node in cluster.nodes.values():
        node.core.retarget((), {ETH0: [CLIENT]}, 0.0)
    cluster.run(5.0)
    cluster.cut(*dead)
    cluster.run(6.0)
    assert cluster.gone("node-3") == {eth0(name) for name in dead}


def test_nothing_is_reported_while_all_live() -> None:
    cluster = Cluster()
    cluster.run(20.0)
    for node in cluster.nodes.values():
        assert {letter.kind for _, letter in node.told} == {LetterKind.BEAT}
        assert not cluster.gone(node.name)


def test_one_witness_alone_makes_no_verdict_where_others_can_say() -> None:
    """One node's own hearing is bad: it reports, the others check, and nobody is barred."""
    cluster = Cluster()
    cluster.run(5.0)
    liar, target = cluster.nodes["node-1"], eth0("node-0")
    while cluster.now < 7.0:
        for other in ("node-2", "node-3"):
            cluster.nodes[other].core.handle_missing(target, liar.name, cluster.now)
        cluster.run(cluster.now + 0.1)
    assert cluster.gone("node-2") == cluster.gone("node-3") == frozenset()


def test_a_verdict_of_somebody_who_is_wrong_is_contradicted_by_who_knows_better() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    watcher = next(node for node in cluster.nodes.values() if "node-0" in node.roster.watched())
    watcher.core.handle_gone(eth0("node-0"), cluster.now)
    assert cluster.gone(watcher.name) == frozenset()


def test_a_verdict_that_was_believed_is_void_at_the_first_answer() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(5.6)
    assert cluster.gone("node-1") == {eth0("node-0")}
    cluster.nodes["node-0"].kernel = True
    cluster.run(5.8)
    for name in NAMES[1:]:
        assert cluster.gone(name) == frozenset()
    assert cluster.nodes["node-1"].core.verdicts["voided"] == 1


def test_an_answer_that_was_asked_for_before_the_verdict_does_not_void_it() -> None:
    cluster = Cluster(2)
    cluster.run(5.0)
    node = cluster.nodes["node-1"]
    due = node.core.deadline()
    while not (requests := node.core.requests()):
        due = node.core.deadline()
        node.core.handle_timeout(due)
    node.core.handle_gone(eth0("node-0"), due + 1.0)
    assert cluster.gone("node-1") == {eth0("node-0")}
    node.core.handle_echo(ETH0, requests[0].ip, requests[0].token, due + 1.1)
    assert cluster.gone("node-1") == {eth0("node-0")}


def test_gone_of_ourselves_is_believed_of_our_link_until_somebody_answers() -> None:
    """We may be the one that is cut and does not know yet."""
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-0"]
    own.kernel = False
    cluster.run(5.35)
    own.core.handle_gone(eth0("node-0"), cluster.now)
    assert cluster.gone("node-0") == {eth0("node-0")}
    own.kernel = True
    cluster.run(5.6)
    assert cluster.gone("node-0") == frozenset()


def test_gone_of_ourselves_is_not_believed_while_others_answer_us() -> None:
    """What we send arrives, so that a witness's own hearing is bad; and our IPs stay where they
    are."""
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-0"].core
    own.handle_gone(eth0("node-0"), cluster.now)
    assert cluster.gone("node-0") == frozenset()
    assert own.heard_since(ETH0, 4.9)


def test_our_own_process_being_missed_is_answered_to_everybody() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-0"].core
    own.letters()
    own.handle_missing(Subject("node-0", PROCESS), "node-1", cluster.now)
    assert own.letters() == [Send(LetterKind.BEAT, "node-0")]
    own.handle_gone(Subject("node-0", PROCESS), cluster.now)
    assert own.letters() == [Send(LetterKind.BEAT, "node-0")]
    assert cluster.gone("node-0") == frozenset()


# ---- processes


def test_a_silent_process_on_a_live_machine_is_judged_but_its_kernel_is_not() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].process = cluster.nodes["node-0"].running = False
    cluster.run(5.0 + BEAT_PATIENCE - 0.01 - BEAT_INTERVAL)
    assert cluster.gone("node-1") == frozenset()
    cluster.run(7.0)
    for name in NAMES[1:]:
        assert cluster.gone(name) == {Subject("node-0", PROCESS)}
        assert cluster.nodes[name].core.bars().nodes == {"node-0"}
        assert (
            cluster.nodes[name].core.kernel("node-0", [ETH0], cluster.now) is not KernelState.SILENT
        )


def test_a_freeze_of_one_second_is_no_silence() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].running = False
    cluster.run(6.0)
    cluster.nodes["node-0"].running = True
    cluster.run(9.0)
    for node in cluster.nodes.values():
        assert node.core.verdicts == {}


def test_one_beat_voids_the_verdict_on_a_process() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].process = False
    cluster.run(7.0)
    assert cluster.gone("node-1") == {Subject("node-0", PROCESS)}
    cluster.nodes["node-0"].process = True
    cluster.run(7.5)
    for name in NAMES[1:]:
        assert cluster.gone(name) == frozenset()


def test_a_dead_machine_is_no_silent_process() -> None:
    """Its beats end too, but that is the kernel's verdict, and the takeover must be loud."""
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(10.0)
    for name in NAMES[1:]:
        assert cluster.gone(name) == {eth0("node-0")}


@pytest.mark.parametrize("stall", [0.5, 2.0, 15.0])
def test_who_stood_still_misses_no_beat_for_it(stall: float) -> None:
    """Others' beats to us were lost while we did not run: nobody is judged for that."""
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-3"]
    own.running = False
    cluster.run(5.0 + stall)
    own.running = True
    own.told.clear()
    cluster.run(8.0 + stall)
    assert not [letter for _, letter in own.told if letter.kind is not LetterKind.BEAT]


def test_who_never_beat_is_not_missed() -> None:
    cluster = Cluster()
    cluster.nodes["node-0"].process = False
    cluster.run(10.0)
    assert cluster.gone("node-1") == frozenset()


# ---- letters


def test_beats_go_to_watchers_four_times_a_second() -> None:
    cluster = Cluster()
    cluster.run(10.0)
    node = cluster.nodes["node-0"]
    beats = [letter for _, letter in node.told if letter.kind is LetterKind.BEAT]
    assert len(beats) == pytest.approx(10 / BEAT_INTERVAL, abs=2)
    assert {letter.to for letter in beats} == {node.roster.watchers()}


def test_what_is_missed_is_told_until_the_verdict_and_that_is_told_three_times() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(12.0)
    told = [item for name in NAMES[1:] for item in cluster.nodes[name].told]
    missing = [at for at, letter in told if letter.kind is LetterKind.MISSING]
    gone = [at for at, letter in told if letter.kind is LetterKind.GONE]
    assert missing
    assert max(missing) <= min(gone) + 0.1
    makers = sum(cluster.nodes[name].core.verdicts["reached"] for name in NAMES[1:])
    assert len(gone) == REPEATS * makers
    assert max(gone) <= min(gone) + 0.5


def test_a_node_alone_neither_beats_nor_asks() -> None:
    cluster = Cluster(1)
    cluster.run(5.0)
    assert cluster.nodes["node-0"].told == []


# ---- bars


@pytest.mark.parametrize(
    ("flags", "state", "barred"),
    [
        (Flags.NONE, State.ALIVE, False),
        (Flags.NO_LINK, State.ALIVE, True),
        (Flags.LEAVING, State.ALIVE, True),
        (Flags.NOT_SYNCED, State.SUSPECT, True),
        (Flags.NO_LINK, State.DEAD, False),
        # A flag of a later version that says nothing we know.
        (Flags(64), State.ALIVE, False),
    ],
)
def test_a_living_nodes_own_word_bars_it(flags: Flags, state: State, barred: bool) -> None:
    node = Node("node-0", ["node-0", "node-1"])
    node.roster.set_peers([Peer("node-1", 1, flags, state)], 0.0)
    assert (node.core.bars().nodes == {"node-1"}) is barred


def test_a_new_life_is_not_barred_by_the_verdict_on_the_last() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(6.0)
    node = cluster.nodes["node-1"]
    reborn = [replace(peer, start_id=2) for peer in node.roster.peers() if peer.name == "node-0"]
    rest = [peer for peer in node.roster.peers() if peer.name != "node-0"]
    for name in node.roster.set_peers(reborn + rest, cluster.now):
        node.core.forget(name)
    assert cluster.gone("node-1") == frozenset()
    assert node.core.missing() == 0


def test_of_kernels_of_several_links_one_that_is_silent_decides_and_one_unknown_is_no_answer() -> (
    None
):
    cluster = Cluster()
    cluster.run(5.0)
    core = cluster.nodes["node-1"].core
    core.check("node-0", cluster.now)
    cluster.run(5.1)
    assert core.kernel("node-0", [ETH0], cluster.now) is KernelState.ANSWERS
    assert core.kernel("node-0", [ETH0, 99], cluster.now) is KernelState.UNKNOWN
    assert core.kernel("node-0", [], cluster.now) is KernelState.UNKNOWN
    cluster.cut("node-0")
    cluster.run(5.7)
    assert core.kernel("node-0", [ETH0, 99], cluster.now) is KernelState.SILENT
