"""From plans and owners to announce and withdraw."""

from dataclasses import replace
from ipaddress import IPv4Address

from ownership.election.reconcile import Reconciler
from ownership.io import Announce, Withdraw
from plan.service import ServicePlan, Withheld

A, B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
PLAN = ServicePlan("ns/a", ips=(A,), hash_ip=str(A), candidates=None)


def announced() -> Reconciler:
    reconciler = Reconciler()
    assert reconciler.reconcile("ns/a", PLAN, True, "start") == [
        Announce("ns/a", (A,), None, "start")
    ]
    return reconciler


def test_the_same_twice_does_nothing() -> None:
    assert announced().reconcile("ns/a", PLAN, True, "again") == []


def test_a_lost_election_withdraws_once() -> None:
    reconciler = announced()
    expected = [Withdraw("ns/a", (A,), Withheld.NOT_OWNER)]
    assert reconciler.reconcile("ns/a", PLAN, False, "member_joined") == expected
    assert reconciler.reconcile("ns/a", PLAN, False, "member_joined") == []
    assert not reconciler.services()


def test_each_reason_to_withdraw_is_metallbs_own() -> None:
    gone = announced().reconcile("ns/a", None, False, "configuration")
    assert gone == [Withdraw("ns/a", (A,), "serviceDeleted")]
    held = replace(PLAN, withheld=Withheld.IP_NOT_ALLOWED)
    withheld = announced().reconcile("ns/a", held, True, "configuration")
    assert withheld == [Withdraw("ns/a", (A,), "ipNotAllowed")]


def test_changed_ips_withdraw_only_what_is_gone() -> None:
    both = replace(PLAN, ips=(B, A))
    reconciler = announced()
    assert reconciler.reconcile("ns/a", both, True, "x") == [Announce("ns/a", (B, A), None, "x")]
    only = replace(PLAN, ips=(B,))
    assert reconciler.reconcile("ns/a", only, True, "y") == [
        Withdraw("ns/a", (A,), "loadBalancerIPChanged"),
        Announce("ns/a", (B,), None, "y"),
    ]


def test_the_order_of_ips_alone_changes_nothing() -> None:
    reconciler = Reconciler()
    reconciler.reconcile("ns/a", replace(PLAN, ips=(A, B)), True, "start")
    assert reconciler.reconcile("ns/a", replace(PLAN, ips=(B, A)), True, "x") == []


def test_a_changed_choice_of_interfaces_is_announced_again() -> None:
    chosen = replace(PLAN, interfaces=frozenset({"eth1"}))
    assert announced().reconcile("ns/a", chosen, True, "x") == [
        Announce("ns/a", (A,), frozenset({"eth1"}), "x")
    ]


def test_what_was_done_in_part_is_done_again() -> None:
    reconciler = Reconciler()
    (announce,) = reconciler.reconcile("ns/a", PLAN, True, "start")
    reconciler.note_unfinished("ns/a", None)
    assert reconciler.reconcile("ns/a", PLAN, True, "start") == [announce]
    assert reconciler.reconcile("ns/a", PLAN, True, "start") == []


def test_what_was_announced_in_part_is_withdrawn() -> None:
    reconciler = Reconciler()
    reconciler.reconcile("ns/a", PLAN, True, "start")
    reconciler.note_unfinished("ns/a", None)
    gone = reconciler.reconcile("ns/a", None, False, "configuration")
    assert gone == [Withdraw("ns/a", (A,), "serviceDeleted")]
    assert reconciler.reconcile("ns/a", None, False, "configuration") == []


def test_what_was_withdrawn_in_part_is_withdrawn_again() -> None:
    reconciler = announced()
    before = reconciler.services()["ns/a"]
    expected = reconciler.reconcile("ns/a", PLAN, False, "member_joined")
    reconciler.note_unfinished("ns/a", before)
    assert reconciler.reconcile("ns/a", PLAN, False, "member_joined") == expected


def test_an_exchange_of_ips_done_in_part_withdraws_the_old_ones_again() -> None:
    reconciler = announced()
    before = reconciler.services()["ns/a"]
    other = replace(PLAN, ips=(B,))
    expected = reconciler.reconcile("ns/a", other, True, "x")
    reconciler.note_unfinished("ns/a", before)
    assert reconciler.reconcile("ns/a", other, True, "x") == expected
    assert reconciler.reconcile("ns/a", other, True, "x") == []
