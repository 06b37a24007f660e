"""The ConfigurationState objects in which programs say whether their configuration is valid. Pure.

One a program: `speaker-NODE` or `controller`. Each writes a condition of its own type.
"""

from typing import Any

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


def state_status(condition: str, verdict: tuple[str, str], wall: str) -> dict[str, Any]:
    """Return a merge patch of the status; `wall` is the time of day, RFC 3339."""
    result, summary = verdict
    valid = result == "Valid"
    told = {
        "type": condition,
        "status": "True" if valid else "False",
        "reason": "Reconciled" if valid else "ConfigurationError",
        "message": summary,
        "lastTransitionTime": wall,
    }
    status = {"result": result, "errorSummary": summary or None, "conditions": [told]}
    return {"status": status}
