"""View of a coordination.k8s.io/v1 Lease: who holds it, and since when. Pure."""

from collections.abc import Mapping

import msgspec

from kube.document import Origin
from kube.objects.kind import Kind, Metadata


class LeaseRecord(msgspec.Struct, gc=False, frozen=True):
    """What a Lease says. Times are text: only whether they change counts, never what they are."""

    holder: str = ""
    """Empty: nobody."""
    duration: int = 0
    """Seconds without a change after which others may take it; 0 where it does not say."""
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0


class Lease(msgspec.Struct, gc=False, frozen=True):
    """A coordination.k8s.io/v1 Lease; `version` is its resourceVersion."""

    namespace: str
    name: str
    version: str = ""
    record: LeaseRecord = LeaseRecord()


class _LeaseSpec(msgspec.Struct, gc=False, rename="camel"):
    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: int = 0


class _Lease(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: _LeaseSpec = msgspec.field(default_factory=_LeaseSpec)


def _lease(raw: _Lease, origin: Origin) -> Lease:
    meta, spec = raw.metadata, raw.spec
    record = LeaseRecord(
        spec.holder_identity,
        spec.lease_duration_seconds,
        spec.acquire_time,
        spec.renew_time,
        spec.lease_transitions,
    )
    return Lease(meta.namespace, meta.name, meta.resource_version, record)


SERVED: Mapping[str, Kind[Lease]] = {"Lease": Kind("coordination.k8s.io/v1", _Lease, _lease)}
"""What an API server has beside what a folder of manifests may hold."""
