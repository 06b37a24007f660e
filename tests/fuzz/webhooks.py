"""What is asked of the webhooks: reviews and conversions, whole or around objects of any bytes."""

import json
from contextlib import suppress

from controller.admission.conversion import convert
from controller.admission.refusal import ReviewError
from controller.admission.review import HOOKS, answer
from controller.admission.world import AdmissionWorld, BGPType
from kube.objects.core import Node

_WORLDS = (
    AdmissionWorld(),
    AdmissionWorld(bgp=BGPType.FRR, nodes={"n1": Node("n1", {"rack": "a"})}),
)
_REVIEW = (
    b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",'
    b'"operation":"%s","object":%s,"oldObject":%s}}'
)
_CONVERSION = (
    b'{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","request":{"uid":"u",'
    b'"desiredAPIVersion":"metallb.io/v1beta%d","objects":[%s]}}'
)


def admission(data: bytes) -> None:
    """Any object gets one answer, by every webhook and in words that print; so does any body."""
    for operation, new, old in ((b"CREATE", data, b"null"), (b"UPDATE", data, data),
                                (b"DELETE", b"null", data)):  # fmt: skip
        for path in HOOKS:
            for world in _WORLDS:
                _answered(path, _REVIEW % (operation, new, old), world)
    _answered(next(iter(HOOKS)), data, _WORLDS[0])


def _answered(path: str, body: bytes, world: AdmissionWorld) -> None:
    with suppress(ReviewError):
        response = json.loads(answer(path, body, world))["response"]
        texts = [*response.get("warnings", ()), response.get("status", {}).get("message", "")]
        assert all(text.replace("\n", "").isprintable() for text in texts)
        assert response["allowed"] is ("status" not in response)


def conversion(data: bytes) -> None:
    """All is converted or nothing; there and back twice is there and back once."""
    with suppress(ReviewError):
        convert(data)
    found = data
    for version in (1, 2, 1):
        try:
            response = json.loads(convert(_CONVERSION % (version, found)))["response"]
        except ReviewError:
            assert found is data
            return
        if response["result"]["status"] != "Success":
            assert found is data
            assert response["result"]["message"].isprintable()
            return
        found = b",".join(json.dumps(entry).encode() for entry in response["convertedObjects"])
