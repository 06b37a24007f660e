"""Makes the certificates that a step asks for; time, keys and serial numbers are arguments. Pure.

The CA is what MetalLB's controller would have made (RSA with 2,048 bits, in PKCS #1, of its name):
it reads no other key, and would serve no webhook with ours. The certificate itself is ECDSA: a
handshake costs a tenth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.webhooks.certificates import (
    BACKDATE,
    CertificateDecision,
    CertificateTiming,
    HeldCertificates,
    PrivateKey,
    Step,
    authorities,
    authority_of,
    signer_of,
    with_leaf,
)

AUTHORITY_NAME, ORGANISATION = "cert", "metallb"


@dataclass(frozen=True, slots=True)
class Source:
    """Where keys and serial numbers come from."""

    authority_key: Callable[[], rsa.RSAPrivateKey]
    leaf_key: Callable[[], ec.EllipticCurvePrivateKey]
    serial: Callable[[], int]
    """Positive, at most 159 bits (RFC 5280, 4.1.2.2)."""


def carry_out(
    decision: CertificateDecision,
    names: tuple[str, ...],
    now: float,
    timing: CertificateTiming,
    source: Source,
) -> HeldCertificates:
    """Return what the Secret is to hold. It may take a tenth of a second, for the CA's key."""
    base = decision.base
    match decision.step:
        case Step.KEEP:
            return base
        case Step.RENEW_LEAF:
            return _renewed(base, names, now, timing, source)
        case Step.RENEW_ALL:
            return _renewed(
                _introduced(HeldCertificates(), now, timing, source), names, now, timing, source
            )
        case Step.INTRODUCE_CA:
            return _introduced(base, now, timing, source)
        case Step.RETIRE_CA:
            first = authorities(base)[0].public_bytes(Encoding.PEM)
            return HeldCertificates(first, base.authority_key, base.leaf, base.leaf_key)


def _introduced(
    base: HeldCertificates, now: float, timing: CertificateTiming, source: Source
) -> HeldCertificates:
    """Put a new CA before the one that signed the certificate in use."""
    key = source.authority_key()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME),
        ]
    )
    usage = _usage(signs=True)
    made = (
        _begun(name, name, key, now, timing.authority, source.serial())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(usage, True)
        # MetalLB's controller asks whether the CA stands for its name.
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(AUTHORITY_NAME)]), False)
        .sign(key, hashes.SHA256())
    )
    old = signer_of(base)
    kept = [made] if old is None else [made, old]
    bundle = b"".join(each.public_bytes(Encoding.PEM) for each in kept)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return HeldCertificates(bundle, secret, base.leaf, base.leaf_key)


def _renewed(
    base: HeldCertificates,
    names: tuple[str, ...],
    now: float,
    timing: CertificateTiming,
    source: Source,
) -> HeldCertificates:
    authority, authority_key = authority_of(base, now)
    key = source.leaf_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    life = min(timing.leaf, authority.not_valid_after_utc.timestamp() - now)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    made = (
        _begun(name, authority.subject, key, now, life, source.serial())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_usage(signs=False), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
        .add_extension(issuer, False)
        .sign(authority_key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return with_leaf(base, made.public_bytes(Encoding.PEM), secret)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: float, life: float, serial: int
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(_date(now - BACKDATE))
        .not_valid_after(_date(now + life))
        .add_extension(identifier, False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _date(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)
