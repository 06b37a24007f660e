"""Partition by choice: where most of its nodes are out of reach, nobody announces a service. Pure.

Off as a rule, as with MetalLB: then each side of a partition announces everything. By majority, a
service is announced only from a side that holds more than half of its voters, the Nodes that its
advertisements admit; of two sides at most one does. Exactly half is no majority. The list of voters
is that of the last known objects: to delete the Node of a machine that is gone for good makes it
shorter. Who lives is what gossip says, which takes seconds; a fast verdict is no reason, as any
sign of life takes it back.
"""

from collections.abc import Set
from dataclasses import replace
from enum import StrEnum

from plan.service import ServicePlan, Withheld


class QuorumMode(StrEnum):
    """What it takes to announce."""

    OFF = "off"
    MAJORITY = "majority"


def has_majority(voters: Set[str] | None, living: Set[str]) -> bool:
    """Tell whether more than half of the voters live; None: nobody knows who votes."""
    return voters is not None and 2 * len(voters & living) > len(voters)


class Quorum:
    """Between planner and election: withholds the plans that have no majority now."""

    def __init__(self, mode: QuorumMode) -> None:
        self._off = mode is QuorumMode.OFF
        self._living: frozenset[str] = frozenset()
        self._plans: dict[str, ServicePlan] = {}
        """As they were planned; without those that are withheld anyway."""
        self._lacking: set[str] = set()

    @property
    def lacking(self) -> int:
        """How many services have no majority, as far as this node sees."""
        return len(self._lacking)

    def set_plan(self, service: str, plan: ServicePlan | None) -> ServicePlan | None:
        """Take a plan, None where the service is gone; return it as it holds now."""
        if self._off:
            return plan
        if plan is None or plan.withheld is not None:
            self._plans.pop(service, None)
            self._lacking.discard(service)
            return plan
        self._plans[service] = plan
        return self._judge(service, plan, has_majority(plan.voters, self._living))

    def set_members(self, living: frozenset[str]) -> dict[str, ServicePlan]:
        """Take the living members; return the plans that hold otherwise than before."""
        if self._off or living == self._living:
            return {}
        self._living = living
        # Many services have the same voters.
        electorates = {plan.voters for plan in self._plans.values()}
        judged = {voters: has_majority(voters, living) for voters in electorates}
        return {
            service: self._judge(service, plan, judged[plan.voters])
            for service, plan in self._plans.items()
            if judged[plan.voters] is (service in self._lacking)
        }

    def _judge(self, service: str, plan: ServicePlan, majority: bool) -> ServicePlan:
        if majority:
            self._lacking.discard(service)
            return plan
        self._lacking.add(service)
        return replace(plan, withheld=Withheld.QUORUM)
