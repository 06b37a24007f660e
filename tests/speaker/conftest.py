"""What tests of whole speakers begin with: two hosts, a folder with one service, a log."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netns import Host, segment
from speakers import MANIFEST, VIP


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    with segment(["node-1", "node-2"]) as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(MANIFEST.format(name="web", ip=VIP))
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"
