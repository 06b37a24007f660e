"""The rules of manifests/monitoring as Prometheus reads them, for promtool and for a real one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "manifests" / "monitoring"
FILES = sorted(FOLDER.glob("rules-*.yaml"))


def groups() -> list[dict[str, Any]]:
    """Return all groups of rules."""
    return [group for path in FILES for group in yaml.safe_load(path.read_text())["spec"]["groups"]]


def rules() -> Iterator[dict[str, Any]]:
    """Yield every alert."""
    for group in groups():
        yield from group["rules"]


def write_rules(path: Path, changed: list[dict[str, Any]] | None = None) -> None:
    """Write a file of rules; `changed` takes the place of all groups."""
    path.write_text(yaml.safe_dump({"groups": changed or groups()}, sort_keys=False))
