"""What a service asks for: addresses, a pool, whom it shares with, and of which families. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from kube.address import IPAddress, parse_ip
from kube.objects.core import ALLOCATED_FROM as ALLOCATED_FROM
from kube.objects.core import Service

LONGEST_SHOWN = 100
"""Characters of what a user wrote that are repeated to him."""
PREFIXES = ("metallb.io/", "metallb.universe.tf/")
"""Of annotations; the first wins where both are there, even if it is empty."""
ADDRESS_POOL, SHARING = "address-pool", "allow-shared-ip"
REQUESTED = "loadBalancerIPs"


class RequestError(Exception):
    """What a service asks for cannot be meant so; the text is for its author."""


class IPFamilies(Enum):
    """Of which IP versions some addresses are."""

    IPV4 = (4,)
    IPV6 = (6,)
    DUAL = (4, 6)

    @property
    def versions(self) -> tuple[int, ...]:
        """Return 4, 6 or both, in this order."""
        return tuple(self.value)

    @property
    def text(self) -> str:
        """Name it as people do."""
        return " or ".join(f"IPv{version}" for version in self.value)


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """What the annotations of a service and its spec ask for."""

    ips: tuple[IPAddress, ...] = ()
    """In the order in which they were written."""
    pool: str = ""


def family_of(ips: Sequence[IPAddress]) -> IPFamilies:
    """Return the family of one or two addresses. Raises `RequestError` for any others."""
    versions = tuple(sorted({ip.version for ip in ips}))
    if len(versions) != len(ips):
        raise RequestError(f"IPFamilyForAddresses: same address family {quoted_list(ips)}")
    return IPFamilies(versions)


def cluster_family(service: Service) -> IPFamilies:
    """Return the family of the cluster IPs. Raises `RequestError` where there are none."""
    found = [parse_ip(text) for text in service.demand.cluster_ips]
    ips = [ip for ip in found if ip is not None]
    if not ips or len(ips) < len(found):
        raise RequestError("the service has no cluster IPs")
    return family_of(ips)


def annotation(service: Service, name: str) -> tuple[str, str]:
    """Return the annotation's full key and its text; empty texts where it is absent."""
    for prefix in PREFIXES:
        if prefix + name in service.annotations:
            return prefix + name, service.annotations[prefix + name]
    return "", ""


def deprecated(service: Service) -> list[str]:
    """Name the annotations of the old prefix that count."""
    keys = (annotation(service, name)[0] for name in (ADDRESS_POOL, REQUESTED, SHARING))
    return [key for key in keys if key.startswith(PREFIXES[1])]


def sharing_key(service: Service) -> str:
    """Return the text that services which share an address have in common."""
    return annotation(service, SHARING)[1]


def requested(service: Service) -> AddressRequest:
    """Read what is asked for. Raises `RequestError`."""
    key, text = annotation(service, REQUESTED)
    pool = annotation(service, ADDRESS_POOL)[1]
    if text and service.load_balancer_ip:
        raise RequestError(f"{key} and spec.loadBalancerIP are both set")
    if text:
        return AddressRequest(_addresses(key, text), pool)
    if service.load_balancer_ip:
        return AddressRequest(_addresses("spec.loadBalancerIP", service.load_balancer_ip), pool)
    return AddressRequest((), pool)


def quoted_list(ips: Iterable[object]) -> str:
    """Write addresses as Go writes a list of texts: `["192.0.2.1" "2001:db8::1"]`."""
    return f"[{' '.join(quoted(ip) for ip in ips)}]"


def quoted(text: object) -> str:
    """Put a text into quotation marks, with no character in it that ends a line."""
    return '"' + shown(text).replace('"', '\\"') + '"'


def shown(text: object) -> str:
    """Return the beginning of a text, with no character in it that ends a line."""
    # Cut before anything is made of it: an annotation may have 256 KiB.
    plain = str(text)[:LONGEST_SHOWN]
    printed = plain if plain.isprintable() else plain.encode("unicode_escape").decode()
    return printed[:LONGEST_SHOWN]


def _addresses(key: str, text: str) -> tuple[IPAddress, ...]:
    parts = text.split(",") if key != "spec.loadBalancerIP" else [text]
    if len(parts) > 2:
        raise RequestError(f"invalid {key}: more than two addresses")
    ips = []
    for part in (part.strip() for part in parts):
        ip = parse_ip(part)
        if ip is None:
            raise RequestError(f"invalid {key}: {quoted(part)}")
        ips.append(ip)
    family_of(ips)
    return tuple(ips)
