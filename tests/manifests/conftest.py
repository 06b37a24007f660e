"""What the tests of the manifests share: reading them, and judging objects by our schemas."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.address import Range, parse_range

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
GUIDE = ROOT / "tests" / "golden" / "guide"

Object = dict[str, Any]


def load(path: Path) -> list[Object]:
    """All documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def resources(folder: Path) -> Iterator[Object]:
    """All objects that a kustomization brings, in order, as `kubectl kustomize` gathers them."""
    for entry in load(folder / "kustomization.yaml")[0]["resources"]:
        path = (folder / entry).resolve()
        if path.is_dir():
            yield from resources(path)
        else:
            yield from load(path)


@dataclass(frozen=True, slots=True)
class Schema:
    """The OpenAPI part of one version of one kind; CEL is the API server's to judge."""

    kind: str
    version: str
    root: Mapping[str, Any]

    def complaints(self, value: Any) -> list[str]:
        """What a strict API server would say about an object, as `field: what`."""
        return list(_complaints(self.root, value, ""))


def _complaints(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if not _has_type(schema["type"], value):
        yield f"{path}: not of type {schema['type']}"
        return
    if isinstance(value, dict):
        yield from _object(schema, value, path)
    elif isinstance(value, list):
        if schema.get("x-kubernetes-list-type") == "set" and len(set(map(str, value))) < len(value):
            yield f"{path}: duplicate"
        for index, item in enumerate(value):
            yield from _complaints(schema["items"], item, f"{path}[{index}]")
    elif not _fits(schema, value):
        yield f"{path}: {value!r} is not allowed"


def _object(schema: Mapping[str, Any], value: Object, path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: missing"
    extra = schema.get("additionalProperties")
    known = schema.get("properties", {})
    for name, item in value.items():
        if name == "metadata" and not path:
            continue
        if (inner := known.get(name, extra)) is None:
            yield f"{path}.{name}: unknown"
        else:
            yield from _complaints(inner, item, f"{path}.{name}")


_TYPES: Mapping[str, type] = {
    "object": dict, "array": list, "string": str, "integer": int, "boolean": bool
}  # fmt: skip
_BITS = {"int32": 31, "int64": 63}


def _has_type(name: str, value: Any) -> bool:
    return type(value) is _TYPES[name]


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Tell if a scalar keeps all the limits that a schema, or one branch of an anyOf, sets."""
    checks: dict[str, Callable[[Any], bool]] = {
        "enum": lambda limit: value in limit,
        "minimum": lambda limit: value >= limit,
        "maximum": lambda limit: value <= limit,
        "minLength": lambda limit: len(value) >= limit,
        "maxLength": lambda limit: len(value) <= limit,
        "pattern": lambda limit: re.search(limit, value) is not None,
        "format": lambda limit: _has_format(limit, value),
        "anyOf": lambda branches: any(_fits(branch, value) for branch in branches),
    }
    return all(check(schema[name]) for name, check in checks.items() if name in schema)


def _has_format(name: str, value: Any) -> bool:
    if name in _BITS:
        return bool(-(1 << _BITS[name]) <= value < 1 << _BITS[name])
    if name == "cidr":
        return "/" in value and isinstance(parse_range(value), Range)
    if name == "date-time":
        return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value) is not None
    try:
        return ipaddress.ip_address(value).version == {"ipv4": 4, "ipv6": 6}[name]
    except ValueError:
        return False


@pytest.fixture(scope="session")
def base() -> list[Object]:
    """All objects of manifests/base."""
    return list(resources(MANIFESTS / "base"))


@pytest.fixture(scope="session")
def overlay() -> list[Object]:
    """All objects of the overlay for clusters with MetalLB's CRDs."""
    return list(resources(MANIFESTS / "overlays" / "metallb-crds"))


@pytest.fixture(scope="session")
def crds(base: list[Object]) -> dict[str, Object]:
    """Our CustomResourceDefinitions by kind."""
    return {
        crd["spec"]["names"]["kind"]: crd
        for crd in base
        if crd["kind"] == "CustomResourceDefinition"
    }


@pytest.fixture(scope="session")
def schemas(crds: dict[str, Object]) -> dict[str, Schema]:
    """Our schemas by `Kind/version`."""
    return {
        f"{kind}/{version['name']}": Schema(
            kind, version["name"], version["schema"]["openAPIV3Schema"]
        )
        for kind, crd in crds.items()
        for version in crd["spec"]["versions"]
    }


@pytest.fixture(scope="session")
def guide() -> list[Object]:
    """Every object of the guide; its one fragment that is no object is left out."""
    documents = [document for path in sorted(GUIDE.glob("*.yaml")) for document in load(path)]
    return [document for document in documents if "kind" in document]


@pytest.fixture(scope="session")
def daemonset(base: list[Object]) -> Object:
    """Our DaemonSet."""
    return next(entry for entry in base if entry["kind"] == "DaemonSet")


@pytest.fixture(scope="session")
def deployment(base: list[Object]) -> Object:
    """Our controller's Deployment."""
    return next(entry for entry in base if entry["kind"] == "Deployment")


@pytest.fixture(scope="session")
def guide_deployment() -> Object:
    """The guide's, which runs MetalLB's controller."""
    return load(GUIDE / "metallb-ha-controller.yaml")[0]


@pytest.fixture(scope="session")
def guide_daemonset() -> Object:
    """The guide's complete DaemonSet."""
    return load(GUIDE / "metallb-ha-speaker.yaml")[0]
