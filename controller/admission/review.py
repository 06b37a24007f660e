"""Answers an AdmissionReview, from its bytes: one object judged among all others. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from controller.admission import advertisements, communities, peers, pools
from controller.admission.refusal import ReviewError, ReviewRefusal
from controller.admission.world import AdmissionWorld
from kube.document import ManifestError
from kube.objects.bgp import BGPAdvertisement, BGPPeer
from kube.objects.reading import NOT_JSON, decode

MAX_BODY = 7 << 20
"""Bytes: an object and the one before it, each at most what a server takes, and what is around."""
MAX_MESSAGE = 4_000
MAX_WARNINGS = 10
MAX_WARNING = 250
"""Characters; a server cuts at 256."""
_VERSION = "admission.k8s.io/v1"
_DENIED, _BAD_OBJECT = 403, 400
_REASONS = {_DENIED: "Forbidden", _BAD_OBJECT: "BadRequest"}


class _Request(msgspec.Struct, rename="camel"):
    uid: str
    operation: str = ""
    object: msgspec.Raw = msgspec.Raw(b"null")
    old_object: msgspec.Raw = msgspec.Raw(b"null")


class _Review(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: _Request


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is answered; `message` empty means that the object is let in."""

    message: str = ""
    code: int = _DENIED
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Hook:
    """One webhook: the kind it judges, MetalLB's rules for it, and our warnings."""

    kind: str
    refusals: Callable[[Any, AdmissionWorld], Iterator[str]]
    warnings: Callable[[Any, Any, AdmissionWorld], list[str]] = lambda new, old, world: []


def _named_pools(new: Any, old: Any, world: AdmissionWorld) -> list[str]:
    return advertisements.warnings(new, world) if new is not None else []


def _nothing(found: Any, world: AdmissionWorld) -> Iterator[str]:
    return iter(())


_V1 = "/validate-metallb-io-v1beta1-"
HOOKS = {
    f"{_V1}ipaddresspool": _Hook("IPAddressPool", pools.refusals, pools.warnings),
    f"{_V1}l2advertisement": _Hook("L2Advertisement", advertisements.layer2_refusals, _named_pools),
    f"{_V1}bgpadvertisement": _Hook("BGPAdvertisement", advertisements.bgp_refusals, _named_pools),
    f"{_V1}community": _Hook("Community", communities.refusals),
    f"{_V1}bfdprofile": _Hook("BFDProfile", _nothing),
    "/validate-metallb-io-v1beta2-bgppeer": _Hook("BGPPeer", peers.refusals),
}
"""By path, as MetalLB's ValidatingWebhookConfiguration names them."""


def answer(path: str, body: bytes, world: AdmissionWorld) -> bytes:
    """Return the AdmissionReview that answers the one in `body`.

    Raises `ReviewError` where there is no question to answer, and nothing else.
    """
    hook = HOOKS.get(path)
    if hook is None:
        raise ReviewError(ReviewRefusal.UNKNOWN_PATH)
    if len(body) > MAX_BODY:
        raise ReviewError(ReviewRefusal.TOO_LARGE)
    try:
        review = msgspec.json.decode(body, type=_Review)
    except NOT_JSON:
        raise ReviewError(ReviewRefusal.NOT_A_REVIEW) from None
    if review.api_version != _VERSION or review.kind != "AdmissionReview":
        raise ReviewError(ReviewRefusal.NOT_A_REVIEW)
    return _written(review.request.uid, _verdict(hook, review.request, world))


def _verdict(hook: _Hook, request: _Request, world: AdmissionWorld) -> _Verdict:
    try:
        new, old = (_read(hook, raw) for raw in (request.object, request.old_object))
    except ManifestError as error:
        return _Verdict(str(error.problem), _BAD_OBJECT)
    if request.operation == "DELETE":
        return _deleted(hook, old, world)
    if request.operation not in ("CREATE", "UPDATE"):
        return _Verdict()
    if new is None:
        return _Verdict("the review has no object", _BAD_OBJECT)
    return _written_object(hook, new, old, request.operation == "CREATE", world)


def _read(hook: _Hook, raw: msgspec.Raw) -> Any:
    return None if bytes(raw).strip() == b"null" else decode(hook.kind, raw)[0]


def _deleted(hook: _Hook, old: Any, world: AdmissionWorld) -> _Verdict:
    if old is None or old.namespace != world.namespace:
        return _Verdict()
    if hook.kind == "BFDProfile":
        return _Verdict(next(peers.profile_in_use(old.name, world), ""))
    return _Verdict(warnings=tuple(hook.warnings(None, old, world)))


def _written_object(
    hook: _Hook, new: Any, old: Any, created: bool, world: AdmissionWorld
) -> _Verdict:
    if (text := _not_for_go(new)) is not None:
        return _Verdict(text, _BAD_OBJECT)
    if created and isinstance(new, BGPPeer) and new.spec.disable_mp:
        # MetalLB looks no further then.
        return _Verdict(warnings=(peers.DISABLE_MP,))
    if new.namespace != world.namespace:
        # One that is there already is not read by anybody, so that its content is nobody's matter.
        text = f"resource must be created in {world.namespace} namespace" if created else ""
        return _Verdict(text)
    if (message := next(hook.refusals(new, world), "")) != "":
        return _Verdict(message)
    return _Verdict(warnings=tuple(hook.warnings(new, old, world)))


def _not_for_go(found: Any) -> str | None:
    """Return what MetalLB says of a value that the schema admits and its types do not."""
    if isinstance(found, BGPAdvertisement) and found.local_pref < 0:
        field = "BGPAdvertisementSpec.spec.localPref of type uint32"
        return f"json: cannot unmarshal number {found.local_pref} into Go struct field {field}"
    return peers.unreadable_duration(found.spec) if isinstance(found, BGPPeer) else None


def _written(uid: str, verdict: _Verdict) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": not verdict.message}
    if verdict.message:
        text = _plain(verdict.message, MAX_MESSAGE)
        reason = _REASONS[verdict.code]
        response["status"] = {"code": verdict.code, "message": text, "reason": reason}
    if verdict.warnings:
        some = verdict.warnings[:MAX_WARNINGS]
        response["warnings"] = [_plain(text, MAX_WARNING) for text in some]
    return msgspec.json.encode(
        {"apiVersion": _VERSION, "kind": "AdmissionReview", "response": response}
    )


def _plain(text: str, most: int) -> str:
    """Cut a text, and let nothing of an object's own text reach a terminal but what prints."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in cut)
