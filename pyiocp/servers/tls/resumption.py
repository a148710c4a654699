"""Resumption: the TLS session of a client's last connection, for its next one.

A connection that resumes a TLS session saves the certificates and, with TLS 1.2, a round trip. With
TLS 1.3 the server sends what that needs some time after the handshake, and may send more later. So
the last connection that stood is asked when the next one begins, and when it ends.

Source: https://www.rfc-editor.org/rfc/rfc8446#section-2.2
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


class Resumption:
    """The TLS session that one client's next connection resumes. Any thread may use it.

    All connections are to one server, with one context. The server may refuse to resume.
    """

    def __init__(self) -> None:
        self._session: ssl.SSLSession | None = None
        #: The last connection that stood, and the lock to be held to use it.
        self._last: tuple[ssl.SSLObject, threading.Lock] | None = None
        self._lock = threading.Lock()

    def begin(self, connection: ssl.SSLObject) -> None:
        """Have a new connection resume the session, if there is one, before its handshake."""
        with self._lock:
            self._ask_last()
            if self._session is not None:
                connection.session = self._session

    def stands(self, connection: ssl.SSLObject, lock: threading.Lock) -> None:
        """Note the connection that has just finished its handshake; `lock` is held to use it."""
        with self._lock:
            self._ask_last()
            self._last = connection, lock

    def ends(self, connection: ssl.SSLObject, stood: bool) -> None:
        """Keep the session of a connection that ends; none, if it never stood: that may be why."""
        with self._lock:
            if not stood:
                self._session = self._last = None
            elif self._last is not None and self._last[0] is connection:
                self._ask_last()
                self._last = None

    def _ask_last(self) -> None:
        """Take the newest session of the last connection. With the lock."""
        if self._last is None:
            return
        connection, lock = self._last
        with lock:
            session, version = connection.session, connection.version()
        # With TLS 1.3 there is one before its ticket has come, which resumes nothing.
        if session is not None and (session.has_ticket or version != "TLSv1.3"):
            self._session = session
