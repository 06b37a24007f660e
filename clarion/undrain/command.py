"""`clarion undrain NODE`: lets a node announce again."""

import asyncio
import sys
from typing import NoReturn

import click
import msgspec

from clarion.drain.cluster import DrainCluster
from clarion.drain.duties import Undrained
from clarion.reaching.way import UnseenClusterError, cluster
from kube.api.client import ApiError
from plan.service import EXCLUDE_LABEL
from process.settings import default_namespace


@click.command()
@click.argument("node")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
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
def undrain(node: str, output: str, context: str | None, kubeconfig: str) -> None:
    """Take off NODE the label that excludes it from load balancing.

    Its share comes back by the same election. By your own kubeconfig.
    """
    try:
        was_labelled = asyncio.run(_undrain(node, context, kubeconfig))
    except ApiError as error:
        raise UnseenClusterError(str(error)) from None
    found = Undrained(source=context or "cluster", well=True, node=node, was_labelled=was_labelled)
    _answer(found, output)


async def _undrain(node: str, context: str | None, kubeconfig: str) -> bool:
    """Tell whether it had the label."""
    async with cluster(kubeconfig, context) as client:
        where = DrainCluster(client, default_namespace())
        if EXCLUDE_LABEL not in (await where.node(node)).labels:
            return False
        await where.label(node, present=False)
        return True


def _answer(found: Undrained, output: str) -> NoReturn:
    if output == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        sys.stdout.buffer.flush()
    else:
        had = "the label is off, it may announce again"
        click.echo(f"{found.node}: {had if found.was_labelled else 'it had no label'}")
    raise click.exceptions.Exit(0)
