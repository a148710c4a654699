"""AddressValidation: an ``admit`` that admits peers once they have proved their address.

Anybody can send a datagram with somebody else's address in it. But the server's answer goes to that
address. So the server answers with a token that only it can make: a peer that sends the token back
does receive there. The server remembers nothing meanwhile. QUIC calls this address validation with
a Retry packet (RFC 9000, 8.1.2), DTLS a cookie exchange (RFC 6347, 4.2.1)::

    client                                          server
      ── hello, 20 zeros, what it wants to say ──▶    no session, nothing remembered
      ◀── retry, token ───────────────────────────    never longer than what came
      ── hello, token, what it wants to say ─────▶    a session begins, with this datagram

A token is when it was made, 4 bytes, and 16 bytes of an HMAC (SHA-256) of that and of the address,
by a secret that rotates: it is good for that address only, and for a while.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

_STAMP_BYTES = 4
_MAC_BYTES = 16
_TICKS_PER_S = 16
"""A token's age is known to 1/16 s; its time stamp begins again after 8 years."""
_STAMPS = 1 << (8 * _STAMP_BYTES)
_LIFETIME_MAX_S = 86_400


class AddressValidation:
    """Lets a peer begin a session once it has shown that it receives at its address.

    Give one to ``port.serve_datagrams(…, admit=AddressValidation())``. On the wire::

        client to server    hello, 20 zeros, anything      (again, until an answer comes)
        server to client    retry, token                   to the address in the datagram
        client to server    hello, token, anything         (again, until an answer comes)

    The session begins with the last one, which its ``on_receive`` gets as it came: the bytes
    from `token_size` after `hello` on are the client's. If that one is sent again, because an
    answer got lost, it comes to ``on_receive`` again. A client may use its token for other
    datagrams that begin a session, from the same address, while it is good; when it is not,
    it gets a new one.

    What does not begin with `hello` and 20 more bytes is dropped without an answer. An answer
    is never longer than what it answers, so nobody can be flooded by way of the server. A datagram
    costs three HMACs at most, and no memory.

    lifetime: seconds that a token is good for, 1 to 86,400. The secret rotates as often, and the
        one before it is kept that long.
    hello: what a datagram that asks for a session begins with.
    retry: what the answer begins with; not longer than `hello`.
    monotonic: the clock, in seconds.

    Raises ValueError for a `lifetime` out of range or a `retry` that is longer than `hello`.

    Thread safety: any thread may call any method. Several servers may share one; it is for one
    process, since its secrets never leave it.

    Source: https://www.rfc-editor.org/rfc/rfc9000#section-8.1.2
    """

    token_size: ClassVar[int] = _STAMP_BYTES + _MAC_BYTES
    """Bytes of a token: 20."""

    no_token: ClassVar[bytes] = bytes(_STAMP_BYTES + _MAC_BYTES)
    """What a client sends in the place of a token that it does not have yet."""

    def __init__(
        self,
        lifetime: float = 10.0,
        *,
        hello: bytes = b"",
        retry: bytes = b"",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= lifetime <= _LIFETIME_MAX_S:
            raise ValueError(
                f"lifetime must be between 1 and {_LIFETIME_MAX_S} seconds, not {lifetime}"
            )
        if len(retry) > len(hello):
            raise ValueError(
                f"retry ({len(retry)} bytes) must not be longer than hello ({len(hello)} bytes):"
                " the server would answer with more than it was sent"
            )
        self.lifetime = lifetime
        self.hello = bytes(hello)
        self.retry = bytes(retry)
        self._monotonic = monotonic
        self._begun = monotonic()
        self._lock = threading.Lock()
        #: The number of the period that the newer secret is of; the newer and the older secret.
        self._period = 0
        self._secrets = (secrets.token_bytes(32), secrets.token_bytes(32))

    def __call__(self, address: Any, data: memoryview) -> bool | bytes:
        """Decide on a first datagram, as `serve_datagrams` asks: let it in, answer, or drop it."""
        token_at = len(self.hello)
        token_end = token_at + self.token_size
        if len(data) < token_end or data[:token_at] != self.hello:
            return False
        if self.is_valid(address, bytes(data[token_at:token_end])):
            return True
        return self.retry + self.token(address)

    def token(self, address: Any) -> bytes:
        """Return a token for a peer address, good from now on for `lifetime` seconds."""
        age = self._monotonic() - self._begun
        stamp = (int(age * _TICKS_PER_S) % _STAMPS).to_bytes(_STAMP_BYTES, "big")
        return stamp + self._mac(self._current_secrets(age)[0], stamp, address)

    def is_valid(self, address: Any, token: bytes) -> bool:
        """Tell whether the token was made for this peer address, not too long ago."""
        if len(token) != self.token_size:
            return False
        age = self._monotonic() - self._begun
        stamp, mac = token[:_STAMP_BYTES], token[_STAMP_BYTES:]
        ticks = (int(age * _TICKS_PER_S) - int.from_bytes(stamp, "big")) % _STAMPS
        if ticks > self.lifetime * _TICKS_PER_S:
            return False
        return any(
            hmac.compare_digest(mac, self._mac(secret, stamp, address))
            for secret in self._current_secrets(age)
        )

    def _current_secrets(self, age: float) -> tuple[bytes, bytes]:
        """Return the newer and the older secret, and make new ones if it is time to."""
        period = int(age / self.lifetime)
        with self._lock:
            missed = period - self._period
            if missed > 0:
                newer = secrets.token_bytes(32)
                older = self._secrets[0] if missed == 1 else secrets.token_bytes(32)
                self._period, self._secrets = period, (newer, older)
            return self._secrets

    @staticmethod
    def _mac(secret: bytes, stamp: bytes, address: Any) -> bytes:
        host, port, *rest = address
        # Of an IPv6 address the flow information may vary, the scope does not.
        where = repr((host, port, rest[1] if rest else 0)).encode()
        return hmac.digest(secret, stamp + where, "sha256")[:_MAC_BYTES]

    def __repr__(self) -> str:
        return f"<AddressValidation: tokens are good for {self.lifetime:g} s>"
