"""Which step follows from what the Secret holds: a table, a life in virtual time, broken bytes."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.webhooks.certificates import (
    DAY,
    CertificateDecision,
    CertificateTiming,
    HeldCertificates,
    RenewalReason,
    Step,
    authorities,
    decide,
    servable,
    signer_of,
    usable,
)
from controller.webhooks.making import Source, carry_out

NOW = 1_800_000_000.0
NAMES = ("hook.ns.svc", "hook.ns.svc.cluster.local")
TIMING = CertificateTiming()
YEAR = 365 * DAY

serials = iter(range(1, 1_000_000))


@cache
def rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(65_537, 2_048) for _ in range(3)]


def source(base: HeldCertificates) -> Source:
    """Keys are dear, so there are three: none that one of the CAs has already."""
    used = [each.public_key() for each in authorities(base)]
    key = next(each for each in rsa_keys() if each.public_key() not in used)
    return Source(
        lambda: key, lambda: ec.generate_private_key(ec.SECP256R1()), lambda: next(serials)
    )


def step(
    held: HeldCertificates,
    now: float = NOW,
    placed: float = 1e9,
    remembered: HeldCertificates | None = None,
    names: tuple[str, ...] = NAMES,
) -> CertificateDecision:
    return decide(held, remembered, names, now, placed, TIMING)


def done(decision: CertificateDecision, now: float = NOW) -> HeldCertificates:
    return carry_out(decision, NAMES, now, TIMING, source(decision.base))


@cache
def fresh() -> HeldCertificates:
    return done(step(HeldCertificates()))


@cache
def other() -> HeldCertificates:
    """Of another CA than `fresh`."""
    return done(
        CertificateDecision(Step.RENEW_LEAF, RenewalReason.GOOD, HeldCertificates(*_alone()))
    )


def _alone() -> tuple[bytes, bytes]:
    both = introduced()
    first = authorities(both)[0].public_bytes(Encoding.PEM)
    return first, both.authority_key


@cache
def introduced() -> HeldCertificates:
    """Both CAs, and the leaf of the old one."""
    return done(CertificateDecision(Step.INTRODUCE_CA, RenewalReason.CA_ENDING, fresh()))


CASES: list[tuple[str, Callable[[], HeldCertificates], float, Step, RenewalReason]] = [
    ("all is well", fresh, NOW, Step.KEEP, RenewalReason.GOOD),
    ("nothing", HeldCertificates, NOW, Step.RENEW_ALL, RenewalReason.CA_MISSING),
    ("no CA, and a good leaf that nothing proves",
     lambda: replace(fresh(), authorities=b""), NOW, Step.RENEW_ALL, RenewalReason.CA_MISSING),
    ("a CA that is junk",
     lambda: replace(fresh(), authorities=b"junk"), NOW, Step.RENEW_ALL,
     RenewalReason.CA_UNREADABLE),
    ("a leaf in the place of the CA",
     lambda: replace(fresh(), authorities=fresh().leaf), NOW, Step.RENEW_ALL,
     RenewalReason.CA_UNFIT),
    ("a CA's key that is junk",
     lambda: replace(fresh(), authority_key=b"x"), NOW, Step.INTRODUCE_CA,
     RenewalReason.CA_KEY_UNREADABLE),
    ("the key of another CA",
     lambda: replace(fresh(), authority_key=fresh().leaf_key), NOW, Step.INTRODUCE_CA,
     RenewalReason.CA_KEY_OTHER),
    ("a clock before its time", fresh, NOW - 2 * DAY, Step.RENEW_ALL, RenewalReason.CA_NOT_YET),
    ("a CA that is over", fresh, NOW + 11 * YEAR, Step.RENEW_ALL, RenewalReason.CA_EXPIRED),
    ("a CA that ends soon", lambda: done(step(fresh(), NOW + 6.5 * YEAR), NOW + 6.5 * YEAR),
     NOW + 6.7 * YEAR, Step.INTRODUCE_CA, RenewalReason.CA_ENDING),
    ("no leaf", lambda: replace(fresh(), leaf=b""), NOW, Step.RENEW_LEAF,
     RenewalReason.LEAF_MISSING),
    ("a leaf that is junk",
     lambda: replace(fresh(), leaf=b"-----"), NOW, Step.RENEW_LEAF, RenewalReason.LEAF_UNREADABLE),
    ("a key that is junk", lambda: replace(fresh(), leaf_key=b"-"), NOW, Step.RENEW_LEAF,
     RenewalReason.LEAF_KEY_UNREADABLE),
    ("the key of another leaf", lambda: replace(fresh(), leaf_key=other().leaf_key), NOW,
     Step.RENEW_LEAF, RenewalReason.LEAF_KEY_OTHER),
    ("a leaf of another CA",
     lambda: replace(fresh(), leaf=other().leaf, leaf_key=other().leaf_key), NOW,
     Step.RENEW_LEAF, RenewalReason.LEAF_FOREIGN),
    ("a leaf that ends soon", fresh, NOW + 0.7 * YEAR, Step.RENEW_LEAF, RenewalReason.LEAF_ENDING),
    ("a leaf that is over", fresh, NOW + 1.1 * YEAR, Step.RENEW_LEAF, RenewalReason.LEAF_EXPIRED),
    ("a new CA, long placed", introduced, NOW, Step.RENEW_LEAF, RenewalReason.LEAF_OF_OLD_CA),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_each_state_of_the_secret_has_its_step_and_one_reason(
    case: tuple[str, Callable[[], HeldCertificates], float, Step, RenewalReason],
) -> None:
    _, held, now, wanted, reason = case
    found = step(held(), now)
    assert (found.step, found.reason) == (wanted, reason)
    made = done(found, now)
    assert usable(made, NAMES, now)
    # The next look finds nothing broken.
    assert step(made, now).step in (Step.KEEP, Step.RENEW_LEAF)


def test_other_names_are_a_reason() -> None:
    assert step(fresh(), names=(*NAMES, "x")).reason is RenewalReason.LEAF_UNFIT


def test_a_new_ca_waits_until_it_is_placed_and_the_old_one_until_nobody_serves_it() -> None:
    """At each moment the leaf that is served is of a CA that has long been configured."""
    held = introduced()
    assert len(authorities(held)) == 2
    assert (held.leaf, held.leaf_key) == (fresh().leaf, fresh().leaf_key)
    assert step(held, placed=29.9).reason is RenewalReason.WAITING
    moved = done(step(held, placed=30.0))
    assert moved.authorities == held.authorities
    assert signer_of(moved) == authorities(moved)[0]
    assert step(moved, NOW + 3_599).reason is RenewalReason.WAITING
    last = step(moved, NOW + 3_600)
    assert last.step is Step.RETIRE_CA
    ended = done(last)
    assert authorities(ended) == authorities(moved)[:1]
    assert step(ended).reason is RenewalReason.GOOD


def test_what_is_served_outlives_a_broken_secret() -> None:
    """The old CA stays beside the new one, and the certificate that it signed."""
    for broken in (HeldCertificates(), replace(fresh(), authorities=b"junk", leaf=b"junk")):
        found = step(broken, remembered=fresh())
        assert found.step is Step.INTRODUCE_CA
        made = done(found)
        assert made.leaf == fresh().leaf
        assert authorities(made)[1] == authorities(fresh())[0]
    # The same CA can sign another at once.
    found = step(replace(fresh(), leaf=b""), remembered=fresh())
    assert found.step is Step.RENEW_LEAF
    # What is over holds nothing up.
    assert step(HeldCertificates(), NOW + 2 * YEAR, remembered=fresh()).step is Step.RENEW_ALL


def test_thirty_years_are_lived_without_a_gap() -> None:
    """A look each ten days: no leaf that is over, none of a CA that is not in the bundle before."""
    held, placed, steps = fresh(), fresh().authorities, 0
    for day in range(0, 30 * 365, 10):
        now = NOW + day * DAY
        found = step(held, now, placed=1e9 if placed == held.authorities else 0.0)
        placed = held.authorities
        if found.step is not Step.KEEP:
            held, steps = done(found, now), steps + 1
            # Whoever still has the bundle of before believes in the leaf of now.
            assert usable(replace(held, authorities=placed), NAMES, now), found
        assert usable(held, NAMES, now)
    assert 40 < steps < 70


def test_metallbs_controller_can_go_on_with_it() -> None:
    """It reads RSA in PKCS #1, the first CA, of the name `cert`; and we read what it has made."""
    held = introduced()
    assert held.authority_key.startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    first = authorities(held)[0]
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["cert"]


def numbered_zero(held: HeldCertificates) -> HeldCertificates:
    """The same with 0 for the CA's number, as MetalLB's controller gives it."""
    made = authorities(held)[0]
    key = load_pem_private_key(held.authority_key, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    mark, tbs = b"\xa0\x03\x02\x01\x02\x02\x01", made.tbs_certificate_bytes
    assert mark + b"\x01" in tbs
    changed = tbs.replace(mark + b"\x01", mark + b"\x00", 1)
    signature = key.sign(changed, PKCS1v15(), SHA256())
    der = made.public_bytes(Encoding.DER).replace(tbs, changed)[: -len(signature)] + signature
    return replace(held, authorities=ssl.DER_cert_to_PEM_cert(der).encode())


def test_a_ca_with_the_number_that_metallb_gives_is_kept_in_silence() -> None:
    one = replace(source(HeldCertificates()), serial=lambda: 1)
    held = numbered_zero(carry_out(step(HeldCertificates()), NAMES, NOW, TIMING, one))
    assert step(held).reason is RenewalReason.GOOD
    # Its leaf stands for fewer names than ours: the same CA signs another.
    assert step(held, names=(*NAMES, "x")).step is Step.RENEW_LEAF
    assert usable(done(step(held, NOW + 0.7 * YEAR), NOW), NAMES, NOW)


def test_no_key_shows_itself() -> None:
    held = fresh()
    text = repr(held) + repr(step(held))
    for secret in (held.authority_key, held.leaf_key):
        assert secret.decode().splitlines()[1] not in text


FIELDS = ("authorities", "authority_key", "leaf", "leaf_key")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(FIELDS), st.data())
def test_bytes_changed_anywhere_are_judged_and_made_good(field: str, data: st.DataObject) -> None:
    good = getattr(fresh(), field)
    at = data.draw(st.integers(0, len(good) - 1))
    junk = data.draw(st.binary(max_size=40))
    broken = replace(fresh(), **{field: good[:at] + junk + good[at + len(junk) // 2 :]})
    servable(broken)
    found = step(broken)
    assert usable(done(found), NAMES, NOW)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(FIELDS))
def test_any_bytes_are_judged(junk: bytes, field: str) -> None:
    assert step(replace(fresh(), **{field: junk})).step is not Step.KEEP
