"""What this node announces of a service by BGP, as rows for people. Pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bgp.door.engine_states import EngineState
from bgp.places import Neighbor
from bgp.state import NeighborState
from kube.peering import Session
from plan.bgp import BgpPlan
from plan.offers import Offer, Routes


@dataclass(frozen=True, slots=True)
class SessionView:
    """The session with one BGPPeer, as it is wanted, and what the engine last said of it."""

    at: Neighbor
    session: Session
    state: NeighborState | None

    @property
    def text(self) -> str:
        """How the session is."""
        if self.state is None:
            return "unknown"
        return "established" if self.state.established else "down"


def service_row(plan: BgpPlan, engine: EngineState, pending: bool) -> dict[str, Any]:
    """Return what holds for all routes of the service; `pending`: something waits to be typed."""
    return {
        "kind": "bgp",
        "withheld": None if plan.withheld is None else plan.withheld.value,
        "draining": plan.draining,
        "engine": engine.value,
        "pending": pending,
    }


def route_rows(
    plan: BgpPlan, routes: Routes, sessions: Collection[SessionView], sent: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Return one row for each prefix and session; `sent` names the peers that were sent it."""
    for prefix in sorted(plan.wishes, key=str):
        offers: Mapping[str, Offer] = routes.get(prefix, {})
        for view in sessions:
            offer = offers.get(view.session.peer)
            row = {
                "kind": "route",
                "prefix": str(prefix),
                "peer": view.session.peer,
                "neighbor": view.at[1],
                "vrf": view.at[0] or "default",
                "session": view.text,
                "offered": offer is not None,
                "sent": offer is not None and view.session.peer in sent,
            }
            yield row | ({} if offer is None else _attributes(offer))


def _attributes(offer: Offer) -> dict[str, Any]:
    return {
        "communities": [":".join(map(str, entry)) for entry in sorted(offer.communities)],
        "large_communities": [":".join(map(str, entry)) for entry in sorted(offer.large)],
        "local_pref": offer.local_pref or None,
        "med": offer.med,
    }
