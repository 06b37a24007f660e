"""What MetalLB's own controller was recorded to do, step by step."""

import json
from pathlib import Path
from typing import Any

import pytest

from allocation_world import AllocationWorld, merged
from controller.allocation.allocator import Counters
from controller.allocation.io import EventReason
from controller.metrics import ControllerCollector, Figures

CASES = json.loads((Path(__file__).parents[2] / "golden/controller/allocation.json").read_text())
OUR_REASONS = {EventReason.PENDING}
"""MetalLB does not say which pools were looked at."""
NEVER_BELOW_ZERO = "buggy/only-a-zero"
"""MetalLB counts a pool whose only address is left out as -1."""
OVERFLOWS = "order/ipv6-huge-then-v4"
"""MetalLB's sum of the largest number and two is negative."""
SETTLES = "single/prefer-dual-pool"
"""MetalLB adds an IPv6 address in a cluster of IPv4 and takes it away, for ever."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_as_recorded(case: dict[str, Any]) -> None:
    world = AllocationWorld(case["setup"]["lb_class"] or None)
    for number, step in enumerate(case["steps"]):
        play(world, step)
        allowed = [step["after"]] if "after" in step else step["any_of"]
        found = shown(world)
        expected = [recorded(case["name"], after) for after in allowed]
        if len(expected) > 1:
            # Any outcome of the kind is as good: events tell of the way to it.
            found = without_events(found)
            expected = [without_events(one) for one in expected]
        assert found in expected, f"step {number + 1}: {step['do']}"


def play(world: AllocationWorld, step: dict[str, Any]) -> None:
    match step["do"]:
        case "apply" | "create":
            apply(world, step)
        case "merge-patch":
            _, _, _, _, namespace, _, name = step["path"].split("/")
            stored = step["stored"]
            world.apply_service(f"{namespace}/{name}", stored["metadata"], stored["spec"])
        case "merge-patch of status":
            patch_status(world, step)
        case "delete":
            *_, namespace, kind, name = step["path"].split("/")
            if kind == "services":
                world.delete_service(f"{namespace}/{name}")
            else:
                world.apply_pool(None, name)
        case "stop the controller":
            world.stop()
        case _:
            world.start()


def apply(world: AllocationWorld, step: dict[str, Any]) -> None:
    document = step["object"]
    metadata = document["metadata"]
    if document["kind"] == "IPAddressPool":
        world.apply_pool(document, metadata["name"])
    else:
        key = f"{metadata['namespace']}/{metadata['name']}"
        world.apply_service(key, step["stored"]["metadata"], step["stored"]["spec"])


def patch_status(world: AllocationWorld, step: dict[str, Any]) -> None:
    *_, namespace, kind, name = step["path"].split("/")
    if kind == "services":
        key = f"{namespace}/{name}"
        known = world.services[key]["status"]
        world.set_status(key, merged(known, step["patch"]["status"]))


def shown(world: AllocationWorld) -> dict[str, Any]:
    services = {}
    for key in world.services:
        events = {
            (told.type, told.reason.value, told.message)
            for told in world.events[key]
            if told.reason not in OUR_REASONS
        }
        services[key] = (world.ingress(key), world.pool(key), sorted(events))
    verdict = "Invalid" if world.verdict else "Valid"
    configuration = {"result": verdict, "errorSummary": "\n".join(world.verdict)}
    pools = counted(world.core.counters())
    told = {"services": services, "pools": pools, "configuration": configuration}
    return {**told, "metrics": series(world)}


def series(world: AllocationWorld) -> dict[str, float] | None:
    """What a scrape shows; nothing of a controller that is stopped."""
    if not world.core.leads:
        return None
    loaded, stale = world.core.pools is not None, bool(world.verdict)
    figures = Figures(
        leads=lambda: True, pools=world.core.counters, loaded=lambda: loaded, stale=lambda: stale
    )
    return {
        sample.name
        + "".join(f'{{{key}="{value}"}}' for key, value in sample.labels.items()): float(
            sample.value
        )
        for family in ControllerCollector(figures).collect()
        for sample in family.samples
        if sample.name.startswith(("metallb_allocator_", "metallb_k8s_client_config_"))
        and "failures" not in sample.name
    }


def counted(counters: dict[str, Counters]) -> dict[str, tuple[int, ...]]:
    return {
        name: (one.assigned[4], one.assigned[6], one.available[4], one.available[6])
        for name, one in counters.items()
    }


def recorded(name: str, after: dict[str, Any]) -> dict[str, Any]:
    services = {}
    for key, service in after["services"].items():
        ips = [entry["ip"] for entry in service["ingress"]]
        events = {(e["type"], e["reason"], e["message"]) for e in service["events"]}
        if name == SETTLES:
            events = {event for event in events if "additional" not in event[2]}
        services[key] = (ips, service["pool"], sorted(events))
    pools = {}
    for pool, status in after["pools"].items():
        if status:
            numbers = [
                status[f"{word}{family}"]
                for word in ("assigned", "available")
                for family in ("IPv4", "IPv6")
            ]
            pools[pool] = tuple(
                max(0, number) if name == NEVER_BELOW_ZERO else number for number in numbers
            )
    told = {"services": services, "pools": pools, "configuration": after["configuration"]}
    return {**told, "metrics": recorded_series(name, after["metrics"])}


def recorded_series(name: str, found: dict[str, float] | None) -> dict[str, float] | None:
    if found is None:
        return None
    shown = {key: value for key, value in found.items() if value is not None}
    if name == NEVER_BELOW_ZERO:
        return {key: max(0.0, value) for key, value in shown.items()}
    return {key: abs(value) for key, value in shown.items()} if name == OVERFLOWS else shown


def without_events(outcome: dict[str, Any]) -> dict[str, Any]:
    services = {key: found[:2] for key, found in outcome["services"].items()}
    return {**outcome, "services": services}
