"""How `doctor` and `drain` reach a cluster: by the caller's kubeconfig, or as a pod does."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from kube.api.client import ApiClient, ConfigError

HOME_CONFIG = Path(".kube/config")
POD = "KUBERNETES_SERVICE_HOST"


class UnseenClusterError(click.ClickException):
    """There is nothing to look at, or the question is none: one line, and exit status 2."""

    exit_code = 2


def kubeconfig_of(given: str, context: str | None) -> str:
    """Return the file; empty: what a pod finds mounted. Raises `UnseenClusterError`."""
    if given and os.pathsep not in given and not Path(given).exists():
        # The library would say so twice, in lines of its own.
        raise UnseenClusterError(f"--kubeconfig: there is no file {given[:200]!r}")
    if given or (POD in os.environ and context is None):
        return given
    at_home = Path.home() / HOME_CONFIG
    if at_home.exists():
        return str(at_home)
    raise UnseenClusterError(f"nothing to look at: no --kubeconfig, and no {at_home}")


@asynccontextmanager
async def cluster(kubeconfig: str, context: str | None) -> AsyncIterator[ApiClient]:
    """Open a client and close it. Raises `UnseenClusterError`."""
    client = ApiClient(kubeconfig_of(kubeconfig, context), context=context)
    try:
        await client.open()
        yield client
    except ConfigError as error:
        raise UnseenClusterError(str(error)) from None
    finally:
        await client.close()
