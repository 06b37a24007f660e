"""BGP's objects and their Secrets in manifests: who reads them, and what stays in force."""

from base64 import b64encode

import pytest

from kube.bgp_config import BgpConfig
from kube.files.manifest import read
from kube.objects.reading import LAYER2, WITH_BGP
from kube.problem import Problem, Severity
from kube.snapshot import BgpScope, Snapshot, assemble, read_documents

NS = "metallb-system"
POOL = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool}
spec: {addresses: [%s]}
"""
GOOD_POOL = POOL % "10.0.0.0/24"
AD = """
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: ad, namespace: metallb-system}
spec: {communities: [nice]}
"""
NAMES = """
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: names, namespace: metallb-system}
spec: {communities: [{name: nice, value: "64512:1"}]}
"""


def _peer(spec: str, version: str = "v1beta2", namespace: str = NS) -> str:
    return (
        f"apiVersion: metallb.io/{version}\nkind: BGPPeer\n"
        f"metadata: {{name: router, namespace: {namespace}}}\n"
        f"spec: {{myASN: 64512, peerASN: 64501, peerAddress: 192.0.2.1, {spec}}}\n"
    )


def _secret(body: str, kind: str = "kubernetes.io/basic-auth", namespace: str = NS) -> str:
    return (
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {namespace}}}\n"
        f"type: {kind}\n{body}\n"
    )


def _build(
    *documents: str, wanted: bool = True, last: Snapshot | None = None
) -> tuple[Snapshot, list[Problem]]:
    found = read("\n---\n".join(documents).encode(), "m.yaml")
    reading = read_documents(found, WITH_BGP if wanted else LAYER2)
    before = last if last is not None else Snapshot()
    scope = BgpScope("n1", before.bgp) if wanted else None
    return assemble([reading], NS, before.config, None, scope)


def _bgp(*documents: str, last: Snapshot | None = None) -> BgpConfig:
    snapshot, _ = _build(*documents, last=last)
    assert snapshot.bgp is not None
    return snapshot.bgp


def _errors(problems: list[Problem]) -> list[str]:
    return [str(found) for found in problems if found.severity is Severity.ERROR]


def test_all_four_kinds_are_read() -> None:
    profile = (
        "apiVersion: metallb.io/v1beta1\nkind: BFDProfile\n"
        "metadata: {name: fast, namespace: metallb-system}\nspec: {receiveInterval: 50}\n"
    )
    snapshot, problems = _build(GOOD_POOL, AD, NAMES, profile, _peer("bfdProfile: fast"))
    assert problems == []
    assert snapshot.bgp is not None
    assert [found.peer for found in snapshot.bgp.sessions] == ["router"]
    assert [found.receive for found in snapshot.bgp.profiles] == [50]
    assert snapshot.bgp.advertisements["pool"][0].communities == {(64512, 1)}


def test_a_peer_of_the_old_version_is_read() -> None:
    snapshot, problems = _build(_peer("peerPort: 0", "v1beta1"))
    assert problems == []
    assert snapshot.bgp is not None
    assert snapshot.bgp.sessions[0].port == 179


def test_who_does_not_want_them_does_not_read_them() -> None:
    snapshot, problems = _build(GOOD_POOL, AD, _peer("oops: 1"), _secret("data: {}"), wanted=False)
    assert snapshot.bgp is None
    (problem,) = problems
    assert "kinds not read: BGPAdvertisement, BGPPeer, Secret" in str(problem)


def test_without_objects_of_bgp_there_is_none() -> None:
    before, _ = _build(GOOD_POOL, _peer(""))
    after, problems = _build(GOOD_POOL, NAMES, last=before)
    assert before.bgp not in (None, BgpConfig())
    assert (after.bgp, problems) == (BgpConfig(), [])


def test_an_error_leaves_the_last_good_configuration_in_force() -> None:
    before, _ = _build(GOOD_POOL, _peer(""), AD, NAMES)
    # The alias may come back: until then nothing changes.
    after, problems = _build(GOOD_POOL, _peer("peerPort: 1179"), AD, last=before)
    assert after.bgp == before.bgp
    (error,) = _errors(problems)
    assert "m.yaml:" in error
    assert "spec.communities[0]: invalid community format: nice" in error


def test_an_error_of_bgp_leaves_layer_2_alone() -> None:
    snapshot, problems = _build(GOOD_POOL, _peer("peerPort: 99999"))
    assert snapshot.config is not None
    assert snapshot.bgp is None
    assert len(_errors(problems)) == 1


def test_without_valid_pools_nothing_new_is_in_force() -> None:
    before, _ = _build(GOOD_POOL, _peer(""))
    after, _ = _build(POOL % "oops", _peer("peerPort: 1179"), last=before)
    assert (after.bgp, after.config) == (before.bgp, before.config)


def test_objects_of_other_namespaces_are_ignored() -> None:
    snapshot, problems = _build(_peer("", namespace="other"))
    assert snapshot.bgp == BgpConfig()
    assert "is not in namespace metallb-system" in str(problems[0])


def test_an_unknown_field_is_reported() -> None:
    _, problems = _build(_peer("holdtime: 90s"))
    assert ["unknown field 'holdtime'" in str(found) for found in problems] == [True]


BY_SECRET = _peer("passwordSecret: {name: s}")


def _data(text: bytes) -> str:
    return f"data: {{password: {b64encode(text).decode()}}}"


@pytest.mark.parametrize(
    ("body", "password"),
    [
        (_data(b"geheim"), "geheim"),
        (_data("ß".encode()), "ß"),
        ("stringData: {password: geheim}", "geheim"),
        (f"{_data(b'one')}\nstringData: {{password: other}}", "other"),
    ],
)
def test_a_password_from_a_secret(body: str, password: str) -> None:
    assert _bgp(BY_SECRET, _secret(body)).sessions[0].password == password


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (_secret(_data(b"geheim"), kind="Opaque"), "password not specified in the secret"),
        (_secret("data: {username: eA==}"), "password not specified in the secret"),
        (_secret(_data(b"geheim"), namespace="other"), "secret ref not found for peer config"),
        (_secret("data: {password: 'geheim!'}"), "data.password: is not the base64 of a text"),
        (_secret(_data(b"\xffgeheim")), "data.password: is not the base64 of a text"),
        (_secret("data: {password: [geheim]}"), "data"),
        (_secret(_data(b"geheim\n")), "contains invalid characters"),
    ],
)
def test_a_secret_that_is_no_password(secret: str, words: str) -> None:
    snapshot, problems = _build(BY_SECRET, secret)
    assert snapshot.bgp is None
    assert any(words in error for error in _errors(problems))
    shown = " ".join(map(str, problems))
    assert "geheim" not in shown
    assert b64encode(b"geheim").decode()[:6] not in shown


def test_secrets_of_others_are_nobodys_affair() -> None:
    snapshot, problems = _build(_peer(""), _secret(_data(b"x"), "Opaque", "other"))
    assert problems == []
    assert snapshot.bgp is not None
    assert "geheim" not in str(read_documents(read(_secret(_data(b"geheim")).encode(), "m")))


def test_no_view_shows_a_password() -> None:
    text = _secret("stringData: {password: geheim}").encode()
    reading = read_documents(read(text, "m.yaml"), WITH_BGP)
    assert len(reading.views) == 1
    assert "geheim" not in repr(reading)
