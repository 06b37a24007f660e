"""`clarion undrain NODE`: lets a node announce again."""

import asyncio
from typing import NoReturn

import click

from clarion.drain.cluster import DrainCluster
from clarion.drain.duties import Undrained
from clarion.options import CONTEXT, KUBECONFIG, OUTPUT, options
from clarion.reaching.way import UnseenClusterError, cluster
from clarion.render import write_json
from kube.api.client import ApiError
from plan.service import EXCLUDE_LABEL
from process.settings import default_namespace


@click.command()
@click.argument("node")
@options(OUTPUT, CONTEXT, KUBECONFIG)
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
        write_json(found)
    else:
        had = "the label is off, it may announce again"
        click.echo(f"{found.node}: {had if found.was_labelled else 'it had no label'}")
    raise click.exceptions.Exit(0)
