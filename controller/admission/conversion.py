"""Converts BGPPeers between v1beta1 and v1beta2, for a ConversionReview, from its bytes. Pure.

    v1beta1 -> v1beta2   all fields stay; what v1beta1 writes for "not set" is left out
    v1beta2 -> v1beta1   `LOST` is left out; what v1beta1 requires is there, "not set" if need be

An object keeps all else, its metadata first of all, as the server demands.
"""

from typing import Any

import msgspec

from controller.admission.refusal import ReviewError, ReviewRefusal
from kube.objects.bgp import PEER_VERSIONS
from kube.objects.reading import NOT_JSON

MAX_BODY = 16 << 20
"""Bytes; a list of peers is converted in one request."""
LOST = frozenset(
    {
        "dynamicASN", "interface", "connectTime", "passwordSecret", "vrf", "enableGracefulRestart",
        "disableMP", "dualStackAddressFamily", "localASN",
    }
)  # fmt: skip
"""Fields of the spec that v1beta1 does not have."""
_NOT_SET: dict[str, Any] = {"peerASN": 0, "peerAddress": ""}
"""Fields that v1beta1 requires, and what it has there when v1beta2 has none."""
_VERSIONS = ("apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1")
"""Of the review; the fields are the same. MetalLB's own CRD asks for the older one."""


class _Request(msgspec.Struct, rename="camel"):
    uid: str
    desired_api_version: str = msgspec.field(default="", name="desiredAPIVersion")
    objects: list[Any] = []


class _Review(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: _Request


class _Unconvertible(Exception):  # noqa: N818 - it is answered, and never leaves this file
    """An object, or a version, that is none of ours; its text is the answer."""


def convert(body: bytes) -> bytes:
    """Return the ConversionReview that answers the one in `body`.

    All objects are converted, or none: the result is `Failed` then and says why. Raises
    `ReviewError` where there is no question to answer, and nothing else.
    """
    if len(body) > MAX_BODY:
        raise ReviewError(ReviewRefusal.TOO_LARGE)
    try:
        review = msgspec.json.decode(body, type=_Review)
        if review.api_version not in _VERSIONS or review.kind != "ConversionReview":
            raise ReviewError(ReviewRefusal.NOT_A_REVIEW)
        return _written(review.api_version, review.request)
    except NOT_JSON:
        # An object may be nested so deeply that it can be read, and not be written.
        raise ReviewError(ReviewRefusal.NOT_A_REVIEW) from None


def _written(version: str, request: _Request) -> bytes:
    response: dict[str, Any] = {"uid": request.uid}
    try:
        wanted = request.desired_api_version
        if wanted not in PEER_VERSIONS:
            raise _Unconvertible(f"BGPPeer has no version {_short(wanted)}")
        response["convertedObjects"] = [_converted(entry, wanted) for entry in request.objects]
        response["result"] = {"status": "Success"}
    except _Unconvertible as error:
        response.pop("convertedObjects", None)
        response["result"] = {"status": "Failure", "message": str(error)}
    return msgspec.json.encode(
        {"apiVersion": version, "kind": "ConversionReview", "response": response}
    )


def _converted(found: Any, wanted: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise _Unconvertible("an object of the request has no fields")
    if found.get("kind") != "BGPPeer":
        raise _Unconvertible(f"{_short(found.get('kind'))} is not a kind that is converted here")
    version = found.get("apiVersion")
    if version not in PEER_VERSIONS:
        raise _Unconvertible(f"BGPPeer has no version {_short(version)}")
    if version == wanted:
        return found
    spec = found.get("spec")
    turned = {**found, "apiVersion": wanted}
    if isinstance(spec, dict):
        turned["spec"] = _old(spec) if wanted == PEER_VERSIONS[0] else _new(spec)
    return turned


def _old(spec: dict[str, Any]) -> dict[str, Any]:
    return {**_NOT_SET, **{name: value for name, value in spec.items() if name not in LOST}}


def _new(spec: dict[str, Any]) -> dict[str, Any]:
    not_set = {**_NOT_SET, "peerPort": 0}
    return {
        name: value
        for name, value in spec.items()
        if not (name in not_set and value == not_set[name] and type(value) is type(not_set[name]))
    }


def _short(found: object) -> str:
    """Quote a text of the request for the message: whatever else stands there is not shown."""
    text = found if isinstance(found, str) else ""
    cut = text if len(text) <= 80 else text[:79] + "…"
    return '"' + "".join(letter if letter.isprintable() else "?" for letter in cut) + '"'
