"""TLS: the settings, results and errors of sessions over TLS.

The standard library's `ssl.SSLContext` says what is allowed and trusted; ``listen`` and
``connect`` take one as ``tls``. This module does not import `ssl`, which takes 20 ms: only
sessions that use TLS do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class TlsError(ConnectionError):
    """TLS failed. The `ssl.SSLError` that says why is its ``__cause__``, if there is one."""


class TlsHandshakeError(TlsError):
    """The two sides did not agree, or one does not trust the other: there is no connection."""


class TlsTruncatedError(TlsError, EOFError):
    """The stream ended without the peer's ``close_notify``: something may have cut it short."""


@dataclass(frozen=True)
class TlsInfo:
    """The result of a TLS handshake: a plain value, see `Session.tls`."""

    version: str
    """Such as ``"TLSv1.3"``."""

    cipher: str
    """OpenSSL's name of the cipher suite, such as ``"TLS_AES_256_GCM_SHA384"``."""

    alpn: str | None
    """The protocol that ALPN chose, such as ``"h2"``, or None."""

    peer_certificate: dict[str, Any] | None
    """The peer's certificate as `ssl.SSLSocket.getpeercert` gives it: None if it sent none,
    empty if it was not checked."""

    peer_certificate_der: bytes | None
    """The same as it was sent, also if it was not checked."""

    resumed: bool = False
    """Whether an earlier TLS session was resumed: the certificate was checked in that one."""
