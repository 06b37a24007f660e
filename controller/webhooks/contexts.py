"""One TLS context for each certificate: connections keep the one that they began with."""

import os
import ssl

from controller.webhooks.certificates import HeldCertificates

Terms = tuple[ssl.TLSVersion, str]
"""The least version, and suites in OpenSSL's words: `process.tls.read_terms`."""


def make_context(held: HeldCertificates, terms: Terms) -> ssl.SSLContext:
    """Return a context that serves the certificate; ValueError, without a secret, if it cannot."""
    minimum, suites = terms
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = max(minimum, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    if suites:
        context.set_ciphers(suites)
    # OpenSSL's Python reads files only, and a key belongs into none that outlives this.
    memory = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(memory, held.leaf + b"\n" + held.leaf_key)
        context.load_cert_chain(f"/proc/self/fd/{memory}", password=str)
    except OSError as error:
        raise ValueError(f"certificate: {getattr(error, 'reason', None) or 'unusable'}") from None
    finally:
        os.close(memory)
    return context
