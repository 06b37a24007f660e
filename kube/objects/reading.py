"""Reads objects of all kinds, from manifests and from the API server's JSON. Pure."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, get_args

import msgspec

from kube.document import Document, ManifestError, Origin, document
from kube.objects import bgp, config_map, coordination, core, metallb, secret, webhook
from kube.objects.kind import Kind, Metadata
from kube.problem import Path, Problem, quoted

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for hostile bytes: text that is not UTF-8 is none of its own errors."""

View = (
    core.View
    | metallb.View
    | bgp.View
    | secret.PasswordSecret
    | config_map.BgpExtras
    | coordination.Lease
    | webhook.View
)
Kinds = Mapping[str, Kind[View]]
LAYER2: Kinds = MappingProxyType({**core.KINDS, **metallb.KINDS})
"""What is read of a folder of manifests."""
WITH_BGP: Kinds = MappingProxyType({**LAYER2, **bgp.KINDS, **secret.KINDS, **config_map.KINDS})
"""What is read of it by who announces by BGP too."""
PASSWORD_SECRET = "PasswordSecret"  # noqa: S105 - the name of a view
"""The name by which `decode` makes that view of a Secret; by "Secret" it makes another one."""
_SERVED: Kinds = {
    **LAYER2,
    **core.SERVED,
    **metallb.SERVED,
    **coordination.SERVED,
    **bgp.KINDS,
    PASSWORD_SECRET: secret.KINDS["Secret"],
    **config_map.KINDS,
    **webhook.SERVED,
}
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")


def view(document: Document, kinds: Kinds = LAYER2) -> View | None:
    """Read one document, None if its kind is not ours. Raises `ManifestError` naming the field."""
    kind = kinds.get(document.kind)
    if kind is None or not kind.reads(document.api_version):
        return None
    return kind.build(_convert(document, kind.shape), document.origin)


def decode(name: str, raw: bytes | msgspec.Raw) -> tuple[View, list[Problem]]:
    """Read one object of the kind `name` from the API server's JSON, with warnings.

    The fast way never builds what the view leaves out. Objects whose spec is ours to judge, and
    those with a null or a wrong type in them, go the way that a manifest goes. Raises
    `ManifestError`.
    """
    kind = _SERVED[name]
    if kind.strict is None:
        try:
            found = msgspec.json.decode(raw, type=kind.shape)
            return kind.build(found, _origin(name, found.metadata)), []
        except NOT_JSON:
            pass
    try:
        data = without_nulls(msgspec.json.decode(raw))
    except NOT_JSON as error:
        raise ManifestError(Origin(object=name).error((), str(error))) from None
    # Items of a list do not repeat what they are.
    data = (
        {"kind": name, "apiVersion": kind.api_version, **data} if isinstance(data, dict) else data
    )
    read = document(data, Origin())
    return kind.build(_convert(read, kind.shape), read.origin), warnings(read, _SERVED)


def _origin(kind: str, meta: Metadata) -> Origin:
    where = f"{meta.namespace}/" if meta.namespace else ""
    title = f"{kind} {where}{meta.name}"
    # As of a manifest: no name may break the line of a log.
    return Origin("", title[:300] if title.isprintable() else "", _NO_LINES)


_NO_LINES: Mapping[Path, int] = MappingProxyType({})


def without_nulls(data: Any) -> Any:
    """Leave out fields whose value is null, which Kubernetes takes for absent."""
    if isinstance(data, dict):
        return {key: without_nulls(value) for key, value in data.items() if value is not None}
    return [without_nulls(value) for value in data] if isinstance(data, list) else data


def warnings(document: Document, kinds: Kinds = LAYER2) -> list[Problem]:
    """Report what Kubernetes or MetalLB would ignore in silence in this document."""
    if not document.kind or not document.api_version:
        return [document.origin.warning((), "no Kubernetes object: apiVersion or kind is missing")]
    kind = kinds.get(document.kind)
    if kind is None:
        return []
    if not kind.reads(document.api_version):
        if _group(kind.api_version) != _group(document.api_version):
            return []
        text = f"{quoted(document.api_version)} is not read, only {kind.api_version}"
        return [document.origin.warning(("apiVersion",), text)]
    if kind.strict is None:
        return []
    unknown: list[tuple[Path, str]] = [
        ((name,), name) for name in document.data if name not in _TOP_LEVEL
    ]
    unknown.extend(_unknown(document.data.get("spec"), kind.strict, ("spec",)))
    return [
        document.origin.warning(path, f"unknown field {quoted(name)} is ignored")
        for path, name in unknown
    ]


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _unknown(data: Any, shape: type[msgspec.Struct], path: Path) -> Iterator[tuple[Path, str]]:
    """Walk data that has the shape of a struct and give the fields that it does not have."""
    if not isinstance(data, dict):
        return
    fields = {entry.encode_name: entry.type for entry in msgspec.structs.fields(shape)}
    for name, value in data.items():
        if name not in fields:
            yield (*path, name), name
        elif (inner := _struct_in(fields[name])) is not None:
            items = value if isinstance(value, list) else [value]
            for index, item in enumerate(items):
                here = (*path, name, index) if isinstance(value, list) else (*path, name)
                yield from _unknown(item, inner, here)


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """Find the struct in a field's type: `S`, `S | None` or `tuple[S, ...]`."""
    for choice in (annotation, *get_args(annotation)):
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            return choice
    return None


def is_dns_name(text: str) -> bool:
    """Tell if the text may be the name of an object, and so be part of a selector or a path."""
    return _DNS_NAME.fullmatch(text) is not None


_Raw = TypeVar("_Raw")
_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?(?P<where>\$[^`]*)`)?$", re.DOTALL)
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]")


def _convert(document: Document, shape: type[_Raw]) -> _Raw:
    """Check types and read; turn the first mismatch into a problem that names its field."""
    try:
        raw = msgspec.convert(document.data, shape)
    except msgspec.ValidationError as error:
        matched = _WHERE.match(str(error))
        where, what = (matched["where"] or "", matched["what"]) if matched else ("", str(error))
        path = tuple(int(index) if index else name for name, index in _STEP.findall(where))
        raise ManifestError(document.origin.error(path, what)) from None
    for name, text in (("name", document.name), ("namespace", document.namespace or "default")):
        if not is_dns_name(text):
            message = f"{quoted(text)} is not a DNS name" if text else "is missing"
            raise ManifestError(document.origin.error(("metadata", name), message))
    return raw
