"""Scenarios that no fault of the speaker could break would prove nothing: so rules are taken out.

One rule of the shipped cores at a time; the scenario that it is for then fails, and it passes with
the rule. That a turn elects before it announces no client notices within 50 ms: two dozen of
`tests/ownership/conversations` hold it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gossip.config import LAN
from ownership.announcing.announcer import Announcer
from ownership.announcing.answering import Answering, Ear, Outcome
from ownership.contact import Contact
from ownership.election.election import Election
from ownership.failover import Failover
from ownership.handover.heir import Takeovers
from ownership.handover.loser import Handover
from ownership.handover.memory import Predecessors
from ownership.handover.succession import Succession
from ownership.io import Send
from ownership.letters import letters
from ownership.letters.letters import LetterKind
from ownership.liveness.calls import Calls
from ownership.liveness.damping import Damping
from ownership.liveness.kernels import Kernels
from ownership.liveness.roster import Roster
from ownership.liveness.verdicts import Subject
from ownership.liveness.witness import Witness
from ownership.ownership import Ownership
from sim.failover import play
from sim.failover_scenarios import SCENARIOS

Mutation = Callable[[pytest.MonkeyPatch], None]


def nothing(*_arguments: Any, **_named: Any) -> None:
    """Do nothing, in the place of a rule."""


def always(value: Any) -> Callable[..., Any]:
    return lambda *_arguments, **_named: value


def one_witness(patch: pytest.MonkeyPatch) -> None:
    """Let a single node's word be a verdict."""
    patch.setattr("ownership.liveness.verdicts.NEEDED", 1)


def no_hold(patch: pytest.MonkeyPatch) -> None:
    """Let a link that comes back be trusted at once."""
    patch.setattr(Contact, "handle_link_return", nothing)


def late_rejoin(patch: pytest.MonkeyPatch) -> None:
    """Let groups that were parted find together when MetalLB's would."""
    patch.setattr("sim.failover.LAN", replace(LAN, rejoin_interval=60.0))
    patch.setattr(Calls, "handle_sign_of_life", nothing)


def late_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Forget whom gossip forgets."""
    set_peers = Roster.set_peers

    def forgetful(self: Roster, *arguments: Any) -> frozenset[str]:
        ended = set_peers(self, *arguments)
        for name in list(self._late):
            del self._late[name]
            self._forget_links(name)
        return ended

    patch.setattr(Roster, "set_peers", forgetful)


def dead_left_alone(patch: pytest.MonkeyPatch) -> None:
    """Do not ask those that gossip holds dead for their addresses."""
    patch.setattr(Witness, "knock", nothing)


def silence_is_consent(patch: pytest.MonkeyPatch) -> None:
    """Let a node that came back answer again as soon as nobody has spoken for a while."""
    patch.setattr(Succession, "verify", nothing)


def quiet_for_one_heir(patch: pytest.MonkeyPatch) -> None:
    """Do not tell the next heir that an IP was taken over quietly, nor remember it."""
    patch.setattr(Takeovers, "quiet_from", always(frozenset()))
    patch.setattr(Predecessors, "note_owner", nothing)


def any_exchange_is_contact(patch: pytest.MonkeyPatch) -> None:
    """Let a node be content with an answer, whatever it says of it."""
    exchanged = Contact.handle_exchange
    patch.setattr(
        Contact,
        "handle_exchange",
        lambda self, began, known, now: exchanged(self, began, True, now),
    )


def name_is_free(patch: pytest.MonkeyPatch) -> None:
    """The same of one whose name is another node's; for some seconds, as it costs a storm."""
    patch.setitem(SCENARIOS, "same-name", replace(SCENARIOS["same-name"], after=8.0))
    any_exchange_is_contact(patch)


def contact_not_sought(patch: pytest.MonkeyPatch) -> None:
    """Let a node that is held wait for silence alone."""
    seeks = Contact.seeks

    def idle(self: Contact, now: float) -> bool:
        seeks(self, now)
        return False

    patch.setattr(Contact, "seeks", idle)


def grants_unheeded(patch: pytest.MonkeyPatch) -> None:
    """Let a winner wait for as long as the loser answers, which waits for the winner."""
    patch.setattr(Takeovers, "handle_grant", always([]))


def deaf_takes_over(patch: pytest.MonkeyPatch) -> None:
    """Let a node that hears nobody take over, and announce."""
    patch.setattr(Witness, "heard_since", always(True))
    patch.setattr(Witness, "hears", always(True))
    patch.setattr(Announcer, "_take_frames", _without_ears(Announcer._take_frames))


def _without_ears(take_frames: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Announcer, *arguments: Any) -> Any:
        self.hears = always(True)
        return take_frames(self, *arguments)

    return call


def accused_takes_over(patch: pytest.MonkeyPatch) -> None:
    """Let a node that others miss believe that it is heard."""
    patch.setattr(Witness, "_unheard", always(False))
    patch.setattr(Kernels, "_proof_without", lambda self, key, target: self._proof[key.ifindex])


def echo_alone(patch: pytest.MonkeyPatch) -> None:
    """Let letters prove nothing."""
    patch.setattr(Kernels, "handle_answer", always([]))
    patch.setattr(Takeovers, "handle_mine", nothing)


def no_damping(patch: pytest.MonkeyPatch) -> None:
    """Let a node that flaps own its IPs each time that it is there."""
    patch.setattr(Damping, "handle_back", nothing)


def told_once_that_it_is_back(patch: pytest.MonkeyPatch) -> None:
    """Tell a node that it was judged in one letter, in the moment in which it is heard."""

    def tell_back(self: Any, subject: Subject, _now: float) -> None:
        payload = letters.encode_link_name(subject.link)
        self._letters.append(Send(LetterKind.BACK, subject.node, payload, (subject.node,)))

    patch.setattr(Witness, "_tell_back", tell_back)


def lone_teller(patch: pytest.MonkeyPatch) -> None:
    """Count each telling of one other node as a judgement."""
    told = Damping.handle_back
    patch.setattr(
        Damping, "handle_back", lambda self, sender, _others, now: told(self, sender, 1, now)
    )


def lowest_address(patch: pytest.MonkeyPatch) -> None:
    """Ask the lowest address of a link, whoever else has it."""

    def meet(self: Roster, name: str, interface: Any) -> Any:
        for link in self.links(name):
            near = [ip for ip in link.ips if interface.reaches(ip)]
            if near:
                return link, min(near, key=lambda ip: (ip.version, ip.packed))
        return None

    patch.setattr(Roster, "_meet", meet)


def kernels_own(patch: pytest.MonkeyPatch) -> None:
    """Let whoever answers for an IP own it, though its speaker denies it."""
    patch.setattr(Takeovers, "handle_denial", always(False))


def loser_by_plan_stops(patch: pytest.MonkeyPatch) -> None:
    """Let a node that is selected no more stop before the next one knows."""
    patch.setattr(Election, "elsewhere", always(None))


def winner_does_not_ask(patch: pytest.MonkeyPatch) -> None:
    """Let a node that has won an IP announce it at once, whoever answers for it still."""
    patch.setattr(Succession, "_links_to_ask", always(()))


def the_dead_keep_silent(patch: pytest.MonkeyPatch) -> None:
    """Do not ask for what was taken over aloud from a node that is held dead and answers again."""
    patch.setattr(Succession, "handle_sign_of_life", nothing)


def frames_tire_the_question(patch: pytest.MonkeyPatch) -> None:
    """Let an echo that ends a silence wait, as a frame does, for the time of the next question."""
    patch.setattr(Predecessors, "note_life", nothing)


def alone(mutation: Mutation) -> Mutation:
    """Take out the rule that would heal the same by other means, too: what a node that is held dead
    answers for is given back to it."""

    def both(patch: pytest.MonkeyPatch) -> None:
        mutation(patch)
        the_dead_keep_silent(patch)
        patch.setattr(Succession, "_answered_by_its_owner", always(False))

    both.__name__ = mutation.__name__
    return both


def verdicts_unheard(patch: pytest.MonkeyPatch) -> None:
    """Let the election know nothing of who was judged gone."""
    patch.setattr(Election, "set_bars", nothing)


def loser_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    """Let a node stop answering in the moment in which it loses."""
    patch.setattr(
        Failover,
        "lose",
        lambda self, service, ip, *_rest, **_named: self.withdraw(service, ip),
    )


def nobody_ends_a_hand_over(patch: pytest.MonkeyPatch) -> None:
    """Let a loser by its own plan stop when the election finds nobody, as the plan says."""
    patch.setattr(Handover, "ends", always(False))


def believes_it_owned_before(patch: pytest.MonkeyPatch) -> None:
    """Let who owned a service stay noted until this node takes it up, however long that is."""
    take_up = Ownership._take_up

    def stale(self: Ownership, action: Any, _previous: str | None, now: float) -> None:
        take_up(self, action, self.node, now)

    patch.setattr(Ownership, "_take_up", stale)


def answers_are_announcements(patch: pytest.MonkeyPatch) -> None:
    """Let a loser be content where its winner answered a question of the loser's own."""
    heard = Succession.handle_announcement

    def heard_by_all(self: Succession, *frame: Any) -> None:
        heard(self, *frame[:4])

    patch.setattr(Succession, "handle_announcement", heard_by_all)


def told_to_nobody(patch: pytest.MonkeyPatch) -> None:
    """Let no speaker hear what another one tells of a service IP."""
    patch.setattr(Answering, "_overhear", lambda self, ifindex, told, now: told.reason)


def remembered_past_a_change(patch: pytest.MonkeyPatch) -> None:
    """Let a question get for a second what it got before the owner changed."""
    handle_frame = Answering.handle_frame

    def forgetting_nothing(self: Answering, ear: Ear, *rest: Any, **named: Any) -> Outcome:
        ear.memory.changes = self._announcer.changes
        return handle_frame(self, ear, *rest, **named)

    patch.setattr(Answering, "handle_frame", forgetting_nothing)


@pytest.mark.parametrize(
    ("scenario", "seed", "mutation"),
    [
        ("one-way", 2, one_witness),
        ("blink-1000", 1, no_hold),
        ("silent-8", 3, alone(no_hold)),
        ("partition-2-2", 2, alone(late_rejoin)),
        ("gossip-cut-120", 1, late_forgotten),
        ("paused-vm", 4, dead_left_alone),
        ("silent-60-gossip-later", 1, alone(silence_is_consent)),
        ("heir-stopped", 1, quiet_for_one_heir),
        ("same-name", 1, name_is_free),
        ("new-address", 1, any_exchange_is_contact),
        ("switch-pause-2000", 1, contact_not_sought),
        ("stop", 1, grants_unheeded),
        ("deaf", 1, deaf_takes_over),
        ("mute", 1, accused_takes_over),
        ("echo-filtered", 1, echo_alone),
        ("flap", 1, no_damping),
        ("flap", 20, told_once_that_it_is_back),
        ("silent-in-turn", 8, lone_teller),
        ("floating-address", 1, lowest_address),
        ("foreign-kernel", 1, kernels_own),
        ("plan-edit", 2, loser_by_plan_stops),
        ("plan-edit", 2, winner_does_not_ask),
        ("paused-vm", 3, alone(late_rejoin)),
        ("power-off", 1, verdicts_unheard),
        ("gossip-cut-starved", 1, the_dead_keep_silent),
        ("gossip-cut-starved", 182, frames_tire_the_question),
        ("plan-edit", 1, loser_does_not_wait),
        ("plan-edit", 12, believes_it_owned_before),
        ("plan-edit", 32, nobody_ends_a_hand_over),
        ("partition-2-3", 9, answers_are_announcements),
        ("partition-2-2-2", 178, answers_are_announcements),
        ("rolling", 2, told_to_nobody),
        ("rolling", 1, remembered_past_a_change),
    ],
)
def test_a_speaker_that_breaks_a_rule_is_found_out(
    scenario: str, seed: int, mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert play(scenario, seed).broken == ()
    mutation(monkeypatch)
    assert play(scenario, seed).broken != ()


def void_unheeded(patch: pytest.MonkeyPatch) -> None:
    """Let a sign of life that changes who may own wait for whatever has the loop turn next."""
    patch.setattr(Ownership, "voided", False)


@pytest.mark.parametrize(("scenario", "seed"), [("blink-500", 1), ("blink-1000", 2)])
def test_what_takes_less_than_a_question_is_found_by_asking_more_often(
    scenario: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two answers for 20 to 50 ms: a question each 50 ms mostly falls beside them."""
    monkeypatch.setattr("sim.failover.ASK_INTERVAL", 0.01)
    assert play(scenario, seed).broken == ()
    void_unheeded(monkeypatch)
    assert play(scenario, seed).broken != ()
