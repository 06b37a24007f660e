"""How one kind of object is read: the shape of its JSON, and the view that is made of it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from kube.document import Origin

_View = TypeVar("_View", covariant=True)


class Metadata(msgspec.Struct, gc=False, rename="camel"):
    """What is read of any object's metadata."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Kind(Generic[_View]):
    """A kind of object; `shape` is a private struct that mirrors the API's JSON."""

    api_version: str
    shape: type[Any]
    build: Callable[[Any, Origin], _View]
    strict: type[msgspec.Struct] | None = None
    """The spec's struct, where unknown fields of it are reported."""
    older: tuple[str, ...] = ()
    """Older versions of the API, of which every field is in `shape` with its type."""

    def reads(self, api_version: str) -> bool:
        """Tell if an object of that version is read."""
        return api_version == self.api_version or api_version in self.older
