"""Whether the certificates in the Secret will do, and the next step where they will not. Pure.

No call may be refused while they change. The API server believes in the CAs that are in the webhook
configurations, which always get the whole of `ca.crt`; a replica serves the `tls.crt` of the Secret
as soon as it sees it. So a new CA takes three writes of the Secret, each only when the one before
has come everywhere:

    step          ca.crt     ca.key  tls.crt by  when
    INTRODUCE_CA  new, old   new     old         the CA ends, or cannot sign
    RENEW_LEAF    new, old   new     new         both are in all configurations for `grace` seconds
    RETIRE_CA     new        new     new         `retire` seconds after that

A leaf of the CA that is there is renewed at once, and where nothing that works is left to keep, all
is made anew at once. MetalLB's controller reads the first certificate of `ca.crt`, and its key.
"""

import warnings
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

DAY = 86_400.0
BACKDATE = 3_600.0
"""Seconds by which a certificate is valid before it is made, for clocks that are behind ours."""
LONGEST_PEM = 65_536
"""Bytes of one entry of the Secret that are worth reading."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class CertificateTiming:
    """How long things last, in seconds."""

    authority: float = 3_650 * DAY
    leaf: float = 365 * DAY
    grace: float = 30.0
    """From the configurations' last change to the first call of which it is certain that it was
    made with them: API servers follow them by watches."""
    retire: float = 3_600.0
    """From a leaf of the new CA in the Secret to the end of the old CA: all replicas serve it."""


@dataclass(frozen=True, slots=True)
class HeldCertificates:
    """What the Secret holds, PEM or anything else; empty where there is nothing."""

    authorities: bytes = b""
    authority_key: bytes = field(default=b"", repr=False)
    leaf: bytes = b""
    leaf_key: bytes = field(default=b"", repr=False)


class Step(Enum):
    """What is to be done with the Secret."""

    KEEP = "keep"
    RENEW_LEAF = "renew the leaf"
    RENEW_ALL = "renew all"
    INTRODUCE_CA = "introduce a CA"
    RETIRE_CA = "retire the old CA"


class RenewalReason(StrEnum):
    """Why."""

    GOOD = "good"
    WAITING = "waiting until the last change has come everywhere"
    CA_MISSING = "no CA"
    CA_UNREADABLE = "the CA cannot be read"
    CA_UNFIT = "the CA's certificate is not that of a CA"
    CA_KEY_UNREADABLE = "the CA's key cannot be read"
    CA_KEY_OTHER = "the CA's key is of another certificate"
    CA_NOT_YET = "the CA is not valid yet"
    CA_EXPIRED = "the CA has expired"
    CA_ENDING = "the CA ends soon"
    LEAF_MISSING = "no certificate"
    LEAF_UNREADABLE = "the certificate cannot be read"
    LEAF_KEY_UNREADABLE = "the key cannot be read"
    LEAF_KEY_OTHER = "the key is of another certificate"
    LEAF_UNFIT = "the certificate is not for a server with our names"
    LEAF_FOREIGN = "the certificate is of none of the CAs"
    LEAF_NOT_YET = "the certificate is not valid yet"
    LEAF_EXPIRED = "the certificate has expired"
    LEAF_ENDING = "the certificate ends soon"
    LEAF_OF_OLD_CA = "the certificate is of the old CA"
    OLD_CA_UNUSED = "nothing uses the old CA any more"


@dataclass(frozen=True, slots=True)
class CertificateDecision:
    """The next step, and what it starts from."""

    step: Step
    reason: RenewalReason
    base: HeldCertificates


class _Unusable(Exception):  # noqa: N818 - a verdict, which never leaves this file
    def __init__(self, reason: RenewalReason) -> None:
        super().__init__(reason)
        self.reason = reason


def decide(
    held: HeldCertificates,
    remembered: HeldCertificates | None,
    names: tuple[str, ...],
    now: float,
    placed_for: float,
    timing: CertificateTiming,
) -> CertificateDecision:
    """Return the next step.

    `remembered` is what was served last, `now` Unix time in seconds, `placed_for` the seconds for
    which all configurations have had the whole of `ca.crt`: 0 where one has not.
    """
    step, reason = _step(held, names, now, placed_for, timing)
    at_once = step is Step.RENEW_ALL or (step is Step.RENEW_LEAF and not _is_served(reason))
    if not at_once or remembered is None or not usable(remembered, names, now):
        return CertificateDecision(step, reason, held)
    if step is Step.RENEW_LEAF and _same_authority(held, remembered):
        return CertificateDecision(step, reason, held)
    # What the API server believes in goes on being served, whatever became of the Secret.
    return CertificateDecision(Step.INTRODUCE_CA, reason, remembered)


def _is_served(reason: RenewalReason) -> bool:
    return reason in (RenewalReason.LEAF_ENDING, RenewalReason.LEAF_OF_OLD_CA)


def _step(
    held: HeldCertificates,
    names: tuple[str, ...],
    now: float,
    placed_for: float,
    timing: CertificateTiming,
) -> tuple[Step, RenewalReason]:
    broken_ca = _broken_authority(held, now)
    try:
        leaf, signer = _leaf(held, names, now)
    except _Unusable as error:
        if broken_ca is not None:
            return Step.RENEW_ALL, broken_ca
        return Step.RENEW_LEAF, error.reason
    if broken_ca is not None:
        return Step.INTRODUCE_CA, broken_ca
    return _good(authorities(held), leaf, signer, now, placed_for, timing)


def _broken_authority(held: HeldCertificates, now: float) -> RenewalReason | None:
    try:
        authority_of(held, now)
    except _Unusable as error:
        return error.reason
    return None


def _good(
    found: list[x509.Certificate],
    leaf: x509.Certificate,
    signer: x509.Certificate,
    now: float,
    placed_for: float,
    timing: CertificateTiming,
) -> tuple[Step, RenewalReason]:
    """Return the step where all can be used."""
    if signer != found[0]:
        if placed_for < timing.grace:
            return Step.KEEP, RenewalReason.WAITING
        return Step.RENEW_LEAF, RenewalReason.LEAF_OF_OLD_CA
    if _ends_soon(leaf, now):
        return Step.RENEW_LEAF, RenewalReason.LEAF_ENDING
    if len(found) == 1:
        return Step.KEEP, RenewalReason.GOOD
    made = leaf.not_valid_before_utc.timestamp() + BACKDATE
    if now - made < timing.retire:
        return Step.KEEP, RenewalReason.WAITING
    return Step.RETIRE_CA, RenewalReason.OLD_CA_UNUSED


def usable(held: HeldCertificates, names: tuple[str, ...], now: float) -> bool:
    """Return whether who believes in the CAs takes the certificate."""
    try:
        _leaf(held, names, now)
    except _Unusable:
        return False
    return True


def servable(held: HeldCertificates) -> bool:
    """Return whether a server can use certificate and key, whoever believes in them."""
    try:
        _pair(held)
    except _Unusable:
        return False
    return True


def authorities(held: HeldCertificates) -> list[x509.Certificate]:
    """Return the certificates of `ca.crt`; none where it cannot be read."""
    try:
        return _authorities(held)
    except _Unusable:
        return []


def signer_of(held: HeldCertificates) -> x509.Certificate | None:
    """Return the CA that signed the certificate."""
    try:
        leaf = _certificate(held.leaf, RenewalReason.LEAF_UNREADABLE)
        return next(each for each in _authorities(held) if _signed(leaf, each))
    except (_Unusable, StopIteration):
        return None


def authority_of(held: HeldCertificates, now: float) -> tuple[x509.Certificate, PrivateKey]:
    """Return the CA that signs, and its key; raises an error with a reason where it must not."""
    certificate = _authorities(held)[0]
    _check_is_authority(certificate)
    _check_time(certificate, now, RenewalReason.CA_NOT_YET, RenewalReason.CA_EXPIRED)
    key = _key(held.authority_key, RenewalReason.CA_KEY_UNREADABLE)
    if key.public_key() != certificate.public_key():
        raise _Unusable(RenewalReason.CA_KEY_OTHER)
    if _ends_soon(certificate, now):
        raise _Unusable(RenewalReason.CA_ENDING)
    return certificate, key


def _authorities(held: HeldCertificates) -> list[x509.Certificate]:
    if not held.authorities:
        raise _Unusable(RenewalReason.CA_MISSING)
    return _certificates(held.authorities, RenewalReason.CA_UNREADABLE)


def _leaf(
    held: HeldCertificates, names: tuple[str, ...], now: float
) -> tuple[x509.Certificate, x509.Certificate]:
    """Return the certificate and the CA that signed it; raise where the API server refuses it."""
    leaf = _pair(held)
    if not set(names) <= _names(leaf) or not _is_for_servers(leaf):
        raise _Unusable(RenewalReason.LEAF_UNFIT)
    _check_time(leaf, now, RenewalReason.LEAF_NOT_YET, RenewalReason.LEAF_EXPIRED)
    for each in authorities(held):
        if _signed(leaf, each):
            _check_is_authority(each)
            _check_time(each, now, RenewalReason.CA_NOT_YET, RenewalReason.CA_EXPIRED)
            return leaf, each
    raise _Unusable(RenewalReason.LEAF_FOREIGN)


def _pair(held: HeldCertificates) -> x509.Certificate:
    if not held.leaf:
        raise _Unusable(RenewalReason.LEAF_MISSING)
    leaf = _certificate(held.leaf, RenewalReason.LEAF_UNREADABLE)
    if _key(held.leaf_key, RenewalReason.LEAF_KEY_UNREADABLE).public_key() != _public(leaf):
        raise _Unusable(RenewalReason.LEAF_KEY_OTHER)
    return leaf


def _public(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def _certificate(data: bytes, otherwise: RenewalReason) -> x509.Certificate:
    return _certificates(data, otherwise)[0]


def _certificates(data: bytes, otherwise: RenewalReason) -> list[x509.Certificate]:
    if len(data) > LONGEST_PEM:
        raise _Unusable(otherwise)
    try:
        with warnings.catch_warnings():
            # The CA of MetalLB's controller has the number 0, which RFC 5280 forbids.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise _Unusable(otherwise) from None
    return found


def _key(data: bytes, otherwise: RenewalReason) -> PrivateKey:
    try:
        key = _loaded(data[:LONGEST_PEM])
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # A TypeError is a key with a password.
        raise _Unusable(otherwise) from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise _Unusable(otherwise)
    return key


@lru_cache(maxsize=4)
def _loaded(data: bytes) -> object:
    """Return a key; to check one of RSA takes 40 ms, and the same is looked at again and again."""
    return load_pem_private_key(data, None)


def _signed(leaf: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_is_authority(certificate: x509.Certificate) -> None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        certificate.public_key()
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, UnsupportedAlgorithm):
        found = False
    if not found:
        raise _Unusable(RenewalReason.CA_UNFIT)


def _check_time(
    certificate: x509.Certificate, now: float, not_yet: RenewalReason, expired: RenewalReason
) -> None:
    if now < certificate.not_valid_before_utc.timestamp():
        raise _Unusable(not_yet)
    if now >= certificate.not_valid_after_utc.timestamp():
        raise _Unusable(expired)


def _ends_soon(certificate: x509.Certificate, now: float) -> bool:
    """Return whether less than a third of its life is left."""
    end = certificate.not_valid_after_utc.timestamp()
    return end - now < (end - certificate.not_valid_before_utc.timestamp()) / 3


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return set()
    return set(found.value.get_values_for_type(x509.DNSName))


def _is_for_servers(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return True
    except (ValueError, x509.DuplicateExtension):
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in found.value


def _same_authority(held: HeldCertificates, remembered: HeldCertificates) -> bool:
    first = authorities(held)[:1]
    return bool(first) and first[0] in authorities(remembered)


def with_leaf(held: HeldCertificates, leaf: bytes, key: bytes) -> HeldCertificates:
    """Return the same with another certificate and its key."""
    return replace(held, leaf=leaf, leaf_key=key)
