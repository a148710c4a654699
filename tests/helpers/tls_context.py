r"""Contexts for tests of TLS, with a certificate that is its own authority.

Both files were made, for a hundred years, by::

    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout localhost.key -out localhost.crt

The key is no secret: nothing but these tests trusts it.
"""

from __future__ import annotations

import ssl
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("localhost.crt")
KEY = Path(__file__).with_name("localhost.key")


def server_context() -> ssl.SSLContext:
    """A server's, with the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    return context


def client_context() -> ssl.SSLContext:
    """A client's, that trusts the certificate and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(CERTIFICATE)
    return context
