"""BGPPeers from version to version."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.admission.conversion import LOST, MAX_BODY, convert
from controller.admission.refusal import ReviewError, ReviewRefusal

OLD, NEW = "metallb.io/v1beta1", "metallb.io/v1beta2"


def _body(wanted: str, *objects: Any) -> bytes:
    request = {"uid": "u-1", "desiredAPIVersion": wanted, "objects": objects}
    return json.dumps(
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": request}
    ).encode()


def _response(wanted: str, *objects: Any) -> dict[str, Any]:
    reply = json.loads(convert(_body(wanted, *objects)))
    assert (reply["apiVersion"], reply["kind"]) == ("apiextensions.k8s.io/v1", "ConversionReview")
    response: dict[str, Any] = reply["response"]
    assert response["uid"] == "u-1"
    return response


def _converted(wanted: str, *objects: Any) -> list[Any]:
    response = _response(wanted, *objects)
    assert response["result"] == {"status": "Success"}
    found: list[Any] = response["convertedObjects"]
    return found


def _peer(version: str, **spec: Any) -> dict[str, Any]:
    meta = {"name": "q", "namespace": "metallb-system", "labels": {"a": "b"}, "uid": "1"}
    return {"apiVersion": version, "kind": "BGPPeer", "metadata": meta, "spec": spec}


def test_the_old_version_loses_what_it_has_no_field_for() -> None:
    kept = {"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "holdTime": "90s"}
    lost: dict[str, Any] = dict.fromkeys(LOST, "x")
    assert _converted(OLD, _peer(NEW, **kept, **lost)) == [_peer(OLD, **kept)]


def test_what_the_old_version_requires_is_there() -> None:
    (found,) = _converted(OLD, _peer(NEW, myASN=1, dynamicASN="internal", interface="eth0"))
    assert found["spec"] == {"myASN": 1, "peerASN": 0, "peerAddress": ""}


def test_the_old_version_s_zero_is_nothing_in_the_new_one() -> None:
    (found,) = _converted(NEW, _peer(OLD, myASN=1, peerASN=0, peerAddress="", peerPort=0))
    assert found["spec"] == {"myASN": 1}


def test_the_review_that_metallbs_own_kind_asks_for_is_answered_in_its_version() -> None:
    old = b"apiextensions.k8s.io/v1beta1"
    body = _body(OLD, _peer(NEW)).replace(b"apiextensions.k8s.io/v1", old)
    assert json.loads(convert(body))["apiVersion"] == old.decode()


def test_an_object_of_the_wanted_version_stays_as_it_is() -> None:
    made = _peer(NEW, vrf="red")
    assert _converted(NEW, made, made) == [made, made]


@pytest.mark.parametrize(
    ("wanted", "made", "message"),
    [
        ("metallb.io/v1", _peer(OLD), 'BGPPeer has no version "metallb.io/v1"'),
        (NEW, _peer("metallb.io/v3\n"), 'BGPPeer has no version "metallb.io/v3?"'),
        (NEW, {**_peer(OLD), "kind": "Pod"}, '"Pod" is not a kind that is converted here'),
        (NEW, 7, "an object of the request has no fields"),
    ],
)
def test_all_are_converted_or_none(wanted: str, made: Any, message: str) -> None:
    response = _response(wanted, _peer(OLD, myASN=1), made)
    assert response == {"uid": "u-1", "result": {"status": "Failure", "message": message}}


_selectors = st.lists(
    st.fixed_dictionaries(
        {"matchLabels": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)},
        optional={
            "matchExpressions": st.lists(
                st.fixed_dictionaries({
                    "key": st.text(max_size=3), "operator": st.text(max_size=3),
                    "values": st.lists(st.text(max_size=3), min_size=1, max_size=2)}),
                max_size=2)
        },
    ),
    max_size=2,
)  # fmt: skip
_asn = st.integers(0, 2**32 - 1)
_old_specs = st.fixed_dictionaries(
    {"myASN": _asn, "peerASN": _asn, "peerAddress": st.text(max_size=9)},
    optional={
        "peerPort": st.integers(1, 16384),
        "holdTime": st.text(max_size=5),
        "keepaliveTime": st.text(max_size=5),
        "routerID": st.text(max_size=5),
        "sourceAddress": st.text(max_size=5),
        "password": st.text(max_size=5),
        "bfdProfile": st.text(max_size=5),
        "ebgpMultiHop": st.booleans(),
        "nodeSelectors": _selectors,
    },
)


@given(_old_specs)
def test_there_and_back_is_the_same(spec: dict[str, Any]) -> None:
    made = _peer(OLD, **spec)
    assert _converted(OLD, *_converted(NEW, made)) == [made]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b" " * (MAX_BODY + 1), ReviewRefusal.TOO_LARGE),
        (b"[" * 1_000_000, ReviewRefusal.NOT_A_REVIEW),
        (_body(OLD).replace(b"ConversionReview", b"Conversion"), ReviewRefusal.NOT_A_REVIEW),
    ],
)
def test_no_question_no_answer(body: bytes, reason: ReviewRefusal) -> None:
    with pytest.raises(ReviewError) as raised:
        convert(body)
    assert raised.value.reason is reason


@given(st.integers(1, 3_000))
def test_any_depth_gives_an_answer_or_one_error(depth: int) -> None:
    made = _peer(OLD)
    body = _body(NEW, made).replace(b'"uid": "1"', b'"uid": ' + b"[" * depth + b"]" * depth)
    try:
        assert b"Success" in convert(body)
    except ReviewError as error:
        assert error.reason is ReviewRefusal.NOT_A_REVIEW


@given(st.binary(max_size=60))
def test_any_bytes_give_one_error(body: bytes) -> None:
    with pytest.raises(ReviewError):
        convert(body)
