"""The command `doctor`: where to look, how to answer, the exit status."""

import asyncio
import sys
from typing import NoReturn

import click
import msgspec
from rich.console import Console
from rich.text import Text

from clarion.doctor.examination import examine
from clarion.doctor.finding import Diagnosis, Gravity
from clarion.doctor.look.looking import DoctorRequest, look
from process.settings import default_namespace

_STYLES = {Gravity.ERROR: "red", Gravity.WARNING: "yellow"}
_WIDTH = 200


@click.command()
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@click.option(
    "--from",
    "dump",
    metavar="FILE|DIR|-",
    help="Dumps of `kubectl get -o yaml` or `-o json`; what is not in them is skipped.",
)
@click.option("--context", help="Of the kubeconfig; default: its current one.")
@click.option(
    "--kubeconfig",
    envvar="KUBECONFIG",
    default="",
    metavar="FILE",
    show_envvar=True,
    help="Default: ~/.kube/config; in a pod, its own account.",
)
@click.option(
    "--namespace",
    envvar="METALLB_NAMESPACE",
    default="",
    show_envvar=True,
    help="Of MetalLB's objects; default: the pod's, or metallb-system.",
)
@click.option(
    "--node-name",
    envvar="METALLB_NODE_NAME",
    default="",
    show_envvar=True,
    help="That this machine is; without it no host and no wire is looked at.",
)
@click.option(
    "--ml-labels",
    envvar="METALLB_ML_LABELS",
    default="app=metallb,component=speaker",
    show_envvar=True,
    show_default=True,
    help="Of the speakers' pods.",
)
@click.option(
    "--ml-bindport",
    envvar="METALLB_ML_BIND_PORT",
    default=7946,
    show_envvar=True,
    type=click.IntRange(1, 65535),
    help="Of the speakers' gossip.",
)
@click.option(
    "--ml-secret-key-path",
    envvar="METALLB_ML_SECRET_KEY_PATH",
    default="",
    show_envvar=True,
    help="File, or folder with `secretkey`; without one the wire of gossip is asked in plain text.",
)
@click.option(
    "--port",
    default=7472,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Of the speakers' metrics.",
)
@click.option("--ignore-exclude-lb", is_flag=True, help="As the speakers were told.")
def doctor(output: str, **given: object) -> None:
    """Look for what is wrong with this node and the cluster, and say what mends it.

    Best where a speaker runs: `kubectl -n metallb-system exec ds/speaker -- /clarion doctor`.
    """
    request = msgspec.convert(given, DoctorRequest)
    if not request.namespace:
        request = msgspec.structs.replace(request, namespace=default_namespace())
    answer(examine(asyncio.run(look(request))), output)


def answer(found: Diagnosis, output: str) -> NoReturn:
    """Write the diagnosis, and leave with its status."""
    if output == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        sys.stdout.buffer.flush()
    else:
        draw(found, _console())
    raise click.exceptions.Exit(_status(found))


def _status(found: Diagnosis) -> int:
    if not found.checks:
        return 2
    return 0 if found.well else 1


def _console() -> Console:
    made = Console(highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _WIDTH
    return made


def draw(found: Diagnosis, shown: Console) -> None:
    """Write each finding as a few lines, of which the last can be pasted into a shell."""
    for each in found.findings:
        head = Text.assemble(
            (f"{each.severity.value}: ", _STYLES[each.severity]),
            (f"{each.where}: ", "bold"),
            each.seen,
            (f"  [{each.check.value}]", "dim"),
        )
        shown.print(head, soft_wrap=True)
        shown.print(Text(f"  {each.why}"), soft_wrap=True)
        shown.print(Text(f"  $ {each.mend}", style="cyan"), soft_wrap=True)
    for unseen in found.unseen:
        shown.print(
            Text(f"not looked at: {unseen.check.value}: {unseen.reason}", style="dim"),
            soft_wrap=True,
        )
    errors = sum(each.severity is Gravity.ERROR for each in found.findings)
    text = (
        f"{len(found.checks)} checks, {errors} errors, {len(found.findings) - errors} warnings,"
        f" {len(found.unseen)} not looked at"
    )
    shown.print(Text(text, style="red" if errors else ""), soft_wrap=True)
