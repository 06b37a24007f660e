"""The ConfigurationState objects in which programs say whether their configuration is valid. Pure.

One a program: `speaker-NODE` or `controller`. Each writes a condition of its own type.
"""

from collections.abc import Iterable
from typing import Any

from kube.objects.metallb import ADVICE

LONGEST = 30_000
"""Characters of the summary; the server takes 32,768."""


def new_state(name: str, labels: dict[str, str], owners: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the object to create; its status is written after that."""
    labels = {f"metallb.io/{key}": value for key, value in labels.items()}
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ConfigurationState",
        "metadata": {"name": name, "labels": labels, "ownerReferences": owners},
    }


def verdict_of(errors: list[str]) -> tuple[str, str]:
    """Return result and summary."""
    return ("Invalid", "\n".join(errors)[:LONGEST]) if errors else ("Valid", "")


def advice_of(warnings: Iterable[str]) -> str:
    """Return what is said of what is allowed, and most likely not as it was meant; "": nothing."""
    return "\n".join(warnings)[:LONGEST]


def state_status(
    condition: str, verdict: tuple[str, str], wall: str, advice: str = ""
) -> dict[str, Any]:
    """Return a merge patch of the status; `wall` is the time of day, RFC 3339.

    MetalLB knows no warnings: a condition that is true does not make the result another one.
    """
    result, summary = verdict
    valid = result == "Valid"
    told = {
        "type": condition,
        "status": "True" if valid else "False",
        "reason": "Reconciled" if valid else "ConfigurationError",
        "message": summary,
        "lastTransitionTime": wall,
    }
    conditions = [told]
    if advice:
        about = {"type": ADVICE, "status": "True", "reason": "Warnings", "message": advice}
        conditions.append(about | {"lastTransitionTime": wall})
    status = {"result": result, "errorSummary": summary or None, "conditions": conditions}
    return {"status": status}
