"""One API server for the tests of a session; it is the real program."""

from collections.abc import Iterator

import pytest

import apiserver as api
import cluster
from gobuild import BuildError


@pytest.fixture(scope="session")
def apiserver_binaries() -> None:
    """Skip where the programs cannot be had; .ci/steps says so in its last lines."""
    try:
        api.binaries()
    except BuildError as error:
        pytest.skip(f"no kube-apiserver: {error}")


@pytest.fixture(scope="module")
def server(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[api.ApiServer]:
    """A server on the loopback with our custom resources, for the tests of one module."""
    with api.running(tmp_path_factory.mktemp("apiserver")) as running:
        running.install_crds(cluster.CRDS)
        yield running
