"""Options that several commands have, each written once."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from plan.release import RELEASES, Release

Option = Callable[[Any], Any]
_Command = TypeVar("_Command", bound=Callable[..., Any])

OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
FROM = click.option(
    "--from", "dump", metavar="FILE|DIR|-",
    help="Dumps of `kubectl get -o yaml` or `-o json`, or manifests.",
)  # fmt: skip
CONTEXT = click.option("--context", help="Of the kubeconfig; default: its current one.")
KUBECONFIG = click.option(
    "--kubeconfig", envvar="KUBECONFIG", default="", metavar="FILE", show_envvar=True,
    help="Default: ~/.kube/config; in a pod, its own account.",
)  # fmt: skip
NAMESPACE = click.option(
    "--namespace", envvar="METALLB_NAMESPACE", default="", show_envvar=True,
    help="Of MetalLB's objects; default: the pod's, or metallb-system.",
)  # fmt: skip

# What the speakers were told
LB_CLASS = click.option("--lb-class", default="", help="The speakers' own.")
RELEASE = click.option(
    "--metallb-release", type=click.Choice(list(RELEASES)), default=Release.V0_16.value,
    show_default=True, help="That the speakers follow.",
)  # fmt: skip
IGNORE_EXCLUDE_LB = click.option(
    "--ignore-exclude-lb", is_flag=True, help="As the speakers were told."
)
DRAIN_ON_CORDON = click.option("--drain-on-cordon", is_flag=True, help="As the speakers were told.")

# Where the speakers are
ML_LABELS = click.option(
    "--ml-labels", envvar="METALLB_ML_LABELS", default="app=metallb,component=speaker",
    show_envvar=True, show_default=True, help="Of the speakers' pods.",
)  # fmt: skip
PORT = click.option(
    "--port", default=7472, show_default=True, type=click.IntRange(1, 65535),
    help="Of the speakers' metrics.",
)  # fmt: skip


def options(*wanted: Option) -> Callable[[_Command], _Command]:
    """Give a command these options, in this order in its help."""

    def decorate(command: _Command) -> _Command:
        made: Any = command
        for option in reversed(wanted):
            made = option(made)
        found: _Command = made
        return found

    return decorate
