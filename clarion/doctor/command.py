"""The command `doctor`: where to look, how to answer, the exit status."""

import asyncio
from typing import NoReturn

import click
import msgspec
from rich.console import Console
from rich.text import Text

from clarion.doctor.examination import examine
from clarion.doctor.finding import Diagnosis, Gravity
from clarion.doctor.look.looking import DoctorRequest, look
from clarion.options import (
    CONTEXT,
    FROM,
    IGNORE_EXCLUDE_LB,
    KUBECONFIG,
    ML_LABELS,
    NAMESPACE,
    OUTPUT,
    PORT,
    options,
)
from clarion.render import console, write_json
from process.settings import default_namespace

_STYLES = {Gravity.ERROR: "red", Gravity.WARNING: "yellow"}


@click.command()
@options(OUTPUT, FROM, CONTEXT, KUBECONFIG, NAMESPACE)
@click.option(
    "--node-name",
    envvar="METALLB_NODE_NAME",
    default="",
    show_envvar=True,
    help="That this machine is; without it no host and no wire is looked at.",
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
@options(ML_LABELS, PORT, IGNORE_EXCLUDE_LB)
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
        write_json(found)
    else:
        draw(found, console())
    raise click.exceptions.Exit(_status(found))


def _status(found: Diagnosis) -> int:
    if not found.checks:
        return 2
    return 0 if found.well else 1


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
