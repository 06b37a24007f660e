"""The view of the ConfigMap that holds lines for the BGP engine, under MetalLB's name. Pure."""

from collections.abc import Mapping

import msgspec

from kube.document import ManifestError, Origin
from kube.objects.kind import Kind, Metadata

NAME, KEY = "bgpextras", "extras"


class BgpExtras(msgspec.Struct, gc=False, frozen=True):
    """A v1 ConfigMap; `text` is None in one of another name, and in one without the key."""

    namespace: str
    name: str
    text: str | None = None
    origin: Origin = Origin()

    def __repr__(self) -> str:
        """Return its name: a line may hold a password."""
        return f"BgpExtras({self.namespace}/{self.name})"


class _RawConfigMap(msgspec.Struct, gc=False, rename="camel"):
    metadata: Metadata
    data: object = None
    """Whatever it is: of all but one nothing is read."""

    def __repr__(self) -> str:
        return f"_RawConfigMap({self.metadata.name})"


def _extras(raw: _RawConfigMap, origin: Origin) -> BgpExtras:
    meta = raw.metadata
    text = _text(raw.data, origin) if meta.name == NAME else None
    return BgpExtras(meta.namespace, meta.name, text, origin.only(("data", KEY)))


def _text(data: object, origin: Origin) -> str | None:
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ManifestError(origin.error(("data",), "is no mapping of texts"))
    text = data.get(KEY)
    if text is not None and not isinstance(text, str):
        raise ManifestError(origin.error(("data", KEY), "is no text"))
    return text


KINDS: Mapping[str, Kind[BgpExtras]] = {"ConfigMap": Kind("v1", _RawConfigMap, _extras)}
"""What is read of a folder beside BGP's own kinds."""
