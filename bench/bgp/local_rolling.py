"""A service with `externalTrafficPolicy: Local` while its pods roll over the nodes: what is lost.

    python -m bench.bgp.local_rolling [ROUNDS]    # as root: prints one JSON object

The lab's router shares flows among the nodes that have a pod. A node without one drops what comes,
as kube-proxy does. A pod that is told to end serves for a second more, as one with a `preStop`
hook does; its node's route carries GRACEFUL_SHUTDOWN meanwhile.
"""

import json
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "netns-lab"), str(ROOT)]

from netnslab.machines import rules, sandbox  # noqa: E402
from netnslab.routed import plan  # noqa: E402
from netnslab.routed.contestants import SpeakerNode  # noqa: E402
from netnslab.routed.laboratory import STEADY, RoutedLab, RoutedOptions  # noqa: E402
from netnslab.routed.nodes import Surroundings  # noqa: E402
from netnslab.routed.sessions import agreement  # noqa: E402

ROUNDS = 2
ENDS_AFTER = 1.0
"""Seconds that a pod serves after it was told to end."""
PAUSE = 1.0
CONVERGES_WITHIN = 90.0
READY = {"ready": True, "serving": True, "terminating": False}
ENDING = {"ready": False, "serving": True, "terminating": True}
Pods = Mapping[str, Mapping[str, bool]]
"""The conditions of the pod on each node that has one."""


class LocalNode(SpeakerNode):
    """A speaker whose services have endpoints where it is told of pods, at first everywhere."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._pods: Pods = dict.fromkeys(around.nodes, READY)

    def spread(self, pods: Pods) -> None:
        """Have the pods be there, and the folder read now."""
        self._pods = pods
        self.announce(self.around.ips)

    def announce(self, ips: Iterable[str]) -> None:
        """As of any node; all in one file, so that nobody reads half of it."""
        folder = self.around.logs / f"of-{self.name}"
        objects = [each for number, ip in enumerate(ips) for each in _local(number, ip, self._pods)]
        partial = folder / "services.partial"
        partial.write_text("\n---\n".join(map(json.dumps, objects)))
        partial.replace(folder / "services.yaml")
        self._signal(signal.SIGHUP)


def _local(number: int, ip: str, pods: Pods) -> list[dict[str, Any]]:
    name = f"web-{number}"
    labels = {"kubernetes.io/service-name": name}
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-x", "namespace": "default", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.1.1.1"], "nodeName": node, "conditions": dict(conditions)}
                for node, conditions in pods.items()
            ],
        },
    ]


class PodRoll:
    """One pod fewer than nodes; each in turn is replaced on the node that has none."""

    def __init__(self, lab: RoutedLab) -> None:
        self._lab = lab
        self._pods: dict[str, Mapping[str, bool]] = dict.fromkeys(lab.nodes, READY)
        self.replaced = 0

    def run(self, rounds: int) -> None:
        """Replace all pods so many times."""
        *_, free = names = list(self._lab.nodes)
        self._end(free)
        for number in range(rounds * len(names)):
            self._begin(free)
            free = names[number % len(names)]
            self._end(free)
            self.replaced += 1

    def _begin(self, node: str) -> None:
        rules.clear(self._lab.fabric.nodes[node].namespace)
        self._spread({**self._pods, node: READY})
        self._lab.pass_time(PAUSE)

    def _end(self, node: str) -> None:
        self._spread({**self._pods, node: ENDING})
        self._lab.pass_time(ENDS_AFTER)
        drop = f"type filter hook input priority -200; udp dport {plan.ANSWER_PORT} drop;"
        text = f"table inet {rules.TABLE} {{\n chain own {{ {drop} }}\n}}\n"
        rules.load(self._lab.fabric.nodes[node].namespace, text)
        self._spread({name: each for name, each in self._pods.items() if name != node})
        self._lab.pass_time(PAUSE)

    def _spread(self, pods: Pods) -> None:
        self._pods = dict(pods)
        for node in self._lab.nodes.values():
            if isinstance(node, LocalNode):
                node.spread(self._pods)


def measure(rounds: int) -> dict[str, Any]:
    """Return how many questions were sent and lost, in all flows."""
    given = agreement("bfd-300x3", "ebgp", "4", 0)
    options = RoutedOptions(
        given=given, contestant=LocalNode, converges_within=CONVERGES_WITHIN, services=4
    )
    with RoutedLab(options) as lab:
        lab.start()
        lab.mark()
        lab.pass_time(STEADY)
        began, roll = time.monotonic(), PodRoll(lab)
        roll.run(rounds)
        asked = {"start": began, "end": time.monotonic() - PAUSE / 2}
        seen = [prober.ask("window", **asked) for prober in lab.flows.values()]
    flows = [flow for each in seen for flow in each["flows"]]
    lost = sum(len(flow["lost"]) for flow in flows)
    moves = sum(flow["before"] != flow["after"] for flow in flows)
    sent = sum(flow["sent"] for flow in flows)
    return {"pods_replaced": roll.replaced, "sent": sent, "lost": lost, "flows_moved": moves}


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    sandbox.enter()
    print(json.dumps(measure(rounds)))


if __name__ == "__main__":
    main()
