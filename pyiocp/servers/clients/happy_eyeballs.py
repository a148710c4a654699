"""Race: connects to several addresses of one host, and takes the first that answers.

If a host has an IPv6 address that cannot be reached, its clients would wait 21 s before they
try the IPv4 address. So the second address is tried when the first has not answered for 250 ms
or has failed, and so on; the first to answer wins, and the others are closed. This is known as
happy eyeballs.

Source: https://www.rfc-editor.org/rfc/rfc8305
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ...errors import OperationCancelledError
from ...handles.sockets.stream import Stream
from ...winapi import IPPROTO_TCP, TCP_NODELAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.home import Home
    from ...engine.operation import Operation
    from ...engine.timers import ScheduledCall
    from .local_address import LocalAddress

STAGGER_S = 0.25
"""Seconds until the next attempt begins: the Connection Attempt Delay of RFC 8305."""


class Race:
    """One attempt to connect to any of several addresses.

    addresses: pairs of a family and a numeric address, in the order in which to try them.
    local: where the connections come from.
    deliver: calls what it is given, one at a time: everything here runs there.
    on_end: called once, with this, the connected stream and its peer; or with None, when
        the last attempt has ended; ``errors`` then say why.
    """

    def __init__(
        self,
        home: Home,
        addresses: list[tuple[int, Any]],
        deliver: Callable[..., None],
        on_end: Callable[[Race, Stream | None, Any], None],
        *,
        local: LocalAddress,
        no_delay: bool,
        key: Any,
    ) -> None:
        self.errors: list[Exception] = []
        self._home = home
        self._waiting = deque(addresses)
        self._attempts: dict[Operation, tuple[Stream, Any]] = {}
        self._deliver = deliver
        self._on_end = on_end
        self._local = local
        self._no_delay = no_delay
        self._key = key
        self._timer: ScheduledCall | None = None
        self._over = self._won = False

    def start(self) -> None:
        """Begin."""
        self._next()

    def cancel(self) -> None:
        """Give up; `on_end` comes when the attempts under way have ended."""
        self._settle()
        if not self._attempts:
            self._on_end(self, None, None)

    def _settle(self) -> None:
        """Begin no further attempt, and end those under way."""
        self._over = True
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        for stream, _ in self._attempts.values():
            stream.close()

    def _next(self) -> None:
        """Try the next address that the system does not refuse at once."""
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            family, address = self._waiting.popleft()
            try:
                self._attempt(family, address)
            except Exception as error:  # noqa: BLE001, whatever it is, it is this attempt's
                self.errors.append(error)
                continue
            if self._waiting:
                self._timer = self._home.call_later(STAGGER_S, self._deliver, self._next)
            return
        if not self._attempts and not self._over:
            self._over = True
            self._on_end(self, None, None)

    def _attempt(self, family: int, address: Any) -> None:
        stream = Stream.open(self._home, family, self._key)
        try:
            if self._no_delay:
                stream.set_option(IPPROTO_TCP, TCP_NODELAY, 1)
            self._local.bind(stream)
            operation = stream.connect_operation(address)
            operation.receiver = self._on_connect
            # Before it is posted: another thread may see its completion at once.
            self._attempts[operation] = (stream, address)
            try:
                operation.post()
            except BaseException:
                del self._attempts[operation]
                raise
        except BaseException:
            stream.close()
            raise

    def _on_connect(self, operation: Operation, count: int, status: int) -> None:
        self._deliver(self._ended, operation, count, status)

    def _ended(self, operation: Operation, count: int, status: int) -> None:
        stream, address = self._attempts.pop(operation)
        error = operation.finish(count, status).error
        if error is None and not self._over:
            self._settle()
            self._won = True
            self._on_end(self, stream, address)
            return
        stream.close()
        if error is not None and not (self._over and isinstance(error, OperationCancelledError)):
            self.errors.append(error)
        if not self._over:
            self._next()
        elif not self._attempts and not self._won:
            self._on_end(self, None, None)
