"""MetalLB's answers, case by case, as it gave them to a real API server."""

from typing import Any

import pytest

from admission import CASES, EMPTY, ask, refusal, world_with

OURS = {
    "admit/pool-mixed-range": [
        "spec.addresses[0]: '192.0.2.1-2001:db8::1' mixes IPv4 and IPv6: it is empty"
    ],
    "admit/l2-unknown-pool": ["spec.ipAddressPools[0]: no IPAddressPool is named 'zz'"],
}
"""What we warn of, and MetalLB does not."""


def _step(step: dict[str, Any], there: dict[str, Any]) -> tuple[str, Any, Any]:
    """Operation, new object, old object."""
    if "object" in step:
        return "CREATE", step["object"], None
    old = there[step["path"].rpartition("/")[2]]
    if step["do"] == "delete":
        return "DELETE", None, old
    return "UPDATE", {**old, "spec": {**old["spec"], **step["patch"]["spec"]}}, old


def test_all_cases_are_there() -> None:
    steps = [step for case in CASES for step in case["steps"]]
    refused = [step for step in steps if step["answer"]["by"] == "webhook"]
    assert (len(CASES), len(steps), len(refused)) == (44, 76, 24)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].partition("/")[2])
def test_the_answer_is_metallbs(case: dict[str, Any]) -> None:
    """What the schemas refuse never comes here; all else has MetalLB's verdict and words."""
    there: dict[str, Any] = {}
    for step in case["steps"]:
        expected = step["answer"]
        operation, new, old = _step(step, there)
        if (new or old)["kind"] == "Service" or expected["by"] == "schema or API server":
            continue
        response = ask(world_with(EMPTY, there.values()), new, operation, old)
        _, denied, message = expected["message"].partition(" denied the request: ")
        assert refusal(response) == message
        assert bool(denied) is not response["allowed"]
        ours = OURS.get(case["name"], []) if step is case["steps"][-1] else []
        assert response.get("warnings", []) == [*expected["warnings"], *ours]
        if denied:
            assert response["status"]["code"] == expected["code"]
        elif new is not None:
            there[new["metadata"]["name"]] = new
