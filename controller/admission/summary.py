"""What is wrong with all pools together, as MetalLB's controller says it in its verdict. Pure."""

from collections.abc import Sequence

from controller.admission import pools
from controller.admission.world import AdmissionWorld
from kube.objects.metallb import IPAddressPool
from kube.problem import Problem, Severity


def summary(specs: Sequence[IPAddressPool], problems: Sequence[Problem]) -> list[str]:
    """Return one line a pool that is refused; `problems` are ours, for what has no other words.

    Nothing where no problem is an error.
    """
    errors = [str(problem) for problem in problems if problem.severity is Severity.ERROR]
    if not errors:
        return []
    named = {spec.name: spec for spec in specs}
    found = [next(pools.refusals(spec, AdmissionWorld(pools=named)), "") for spec in specs]
    return [f"configuration error: {text}" for text in found if text] or errors
