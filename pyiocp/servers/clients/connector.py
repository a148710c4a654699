"""Connector: connects a session, or tells it why that failed.

It looks the name up, races the addresses that it finds, and tries again after a while if asked
to. However it ends, the session is told once.

Everything here runs in its own inbox, so the end of an attempt, the deadline and the end of the
session, which come on several threads, are handled one after the other.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from typing import TYPE_CHECKING, Any

from ...engine.inbox import Inbox
from ...errors import IocpError, PortClosedError, error_of_code
from ...winapi.errorcodes import WSAETIMEDOUT
from ..resolve import is_numeric, resolve_all
from .happy_eyeballs import Race

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.timers import ScheduledCall
    from ...handles.sockets.stream import Stream
    from ..host import Host
    from ..resolver import LookUp
    from ..tcp.connection import Connection
    from ..tcp.session import Session
    from .backoff import Backoff
    from .target import Target

logger = logging.getLogger("pyiocp")


class Connector:
    """Connects one session. Made by ``CompletionPort.connect``.

    connection: the session's, which is told how it ended.

    retry: when to try again after an attempt has failed; None: never.
    failures: how many attempts in a row have failed before.
    on_connected: called when there is a connection, before the session is told.
    """

    def __init__(
        self,
        service: Host,
        target: Target,
        connection: Connection,
        *,
        retry: Backoff | None,
        failures: int = 0,
        on_connected: Callable[[Session], None] | None = None,
    ) -> None:
        self._service = service
        self._target = target
        self._connection = connection
        self._session = connection.session
        self._retry = retry
        self._deliver = Inbox(self._on_failure).deliver
        #: What is under way, one at a time: a look-up, a race, or the wait for the next.
        self._look_up: LookUp | None = None
        self._race: Race | None = None
        self._wait: ScheduledCall | None = None
        self._deadline: ScheduledCall | None = None
        #: What took too long, if something did: the function that was under way.
        self._timed_out: str | None = None
        self._cancelled = False
        self._ended = False
        self._failures = failures
        self._on_connected = on_connected
        #: Whether connect() has not returned yet: no hook is called before that.
        self._starting = True

    def start(self) -> None:
        """Begin."""
        self._connection.begin_connect(self._cancel)
        self._deliver(self._begin)
        self._starting = False

    def _on_failure(self, error: Exception) -> None:
        """Take an error that nobody foresaw as that of the attempt: the next may do better."""
        if self._ended:
            logger.error("%r failed after its end", self, exc_info=error)
            return
        race, self._race = self._race, None
        if race is not None:
            race.cancel()
        self._forget_look_up()
        self._failed([error])

    def _cancel(self) -> None:
        """The session has ended meanwhile."""
        self._deliver(self._give_up)

    # One attempt, with all addresses

    def _begin(self) -> None:
        self._wait = None
        if self._cancelled:
            return
        self._timed_out = None
        timeout, addresses = self._target.timeout, self._target.addresses
        if timeout is not None:
            self._deadline = self._service.home.call_later(
                timeout, self._deliver, self._on_timeout, self._failures
            )
        if all(map(is_numeric, addresses)):
            family = self._target.local.family
            self._run([pair for each in addresses for pair in resolve_all(each, family)])
            return
        attempt = self._failures

        def found(numeric: list[tuple[int, Any]], errors: list[Exception]) -> None:
            with contextlib.suppress(PortClosedError):
                self._service.home.call_soon(
                    self._deliver, self._looked_up, attempt, numeric, errors
                )

        self._look_up = self._service.resolver.look_up(addresses, found, self._target.local.family)

    def _looked_up(
        self, attempt: int, addresses: list[tuple[int, Any]], errors: list[Exception]
    ) -> None:
        if self._look_up is None or attempt != self._failures:
            return  # too late
        self._look_up = None
        if addresses:
            self._run(addresses)
        else:
            self._failed(errors)

    def _run(self, addresses: list[tuple[int, Any]]) -> None:
        self._connection.connecting_to(addresses[0][1])
        self._race = Race(
            self._service.home,
            addresses,
            self._deliver,
            self._race_ended,
            local=self._target.local,
            no_delay=self._target.no_delay,
            key=self._session,
        )
        self._race.start()

    def _race_ended(self, race: Race, stream: Stream | None, peer: Any) -> None:
        if self._race is not race:
            return  # it was given up
        self._race = None
        if stream is not None:
            self._end(stream, peer, None)
        else:
            self._failed(race.errors)

    def _on_timeout(self, failures: int) -> None:
        if failures != self._failures:
            return  # too late: the attempt has ended
        self._timed_out = "ConnectEx" if self._look_up is None else "getaddrinfo"
        self._stop()

    # How it ends

    def _give_up(self) -> None:
        self._cancelled = True
        self._stop()

    def _stop(self) -> None:
        """End what is under way: a race, a look-up or a wait."""
        if self._race is not None:
            self._race.cancel()  # it ends when the kernel has given everything back
        elif self._look_up is not None:
            self._forget_look_up()
            self._failed([])
        elif self._wait is not None:
            self._wait.cancel()
            self._wait = None
            self._end(None, None, None)

    def _forget_look_up(self) -> None:
        look_up, self._look_up = self._look_up, None
        if look_up is not None:
            look_up.give_up()

    def _failed(self, errors: list[Exception]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        error = None if self._cancelled else self._error_of(errors)
        self._failures += 1
        wait = None
        if not self._cancelled and self._retry is not None and not self._service.home.closing:
            wait = self._retry.wait(self._failures)
        if wait is None:
            self._end(None, None, error)
            return
        logger.debug("%r tries again in %.3g s: %s", self, wait, error)
        self._wait = self._service.home.call_later(wait, self._deliver, self._begin)

    def _error_of(self, errors: list[Exception]) -> Exception:
        """Return one error for all attempts: the last, or that it took too long."""
        if len(errors) == 1 and not self._timed_out:
            return errors[0]
        if self._timed_out:
            error: Exception = error_of_code(self._timed_out, WSAETIMEDOUT, None, self)
        else:
            last = errors[-1]
            if isinstance(last, IocpError):
                error = type(last)(last.function, last.winerror, last.ntstatus, self)
            else:
                error = copy.copy(last)
        if errors:
            error.__cause__ = ExceptionGroup(f"{len(errors)} attempts to connect failed", errors)
        return error

    def _end(self, stream: Stream | None, peer: Any, error: Exception | None) -> None:
        """Tell the session."""
        self._ended = True
        if self._deadline is not None:
            self._deadline.cancel()
        if stream is not None and self._on_connected is not None:
            self._on_connected(self._session)
        end_connect = self._connection.end_connect
        if self._starting:
            # No hook runs in connect(). A port that closes tells the session itself.
            with contextlib.suppress(PortClosedError):
                self._service.home.call_soon(end_connect, stream, peer, error)
        else:
            end_connect(stream, peer, error)

    def __repr__(self) -> str:
        shown = ", ".join(f"{host}:{port}" for host, port, *_ in self._target.addresses)
        return f"<Connector of {self._session!r} to {shown}>"


def connect(
    service: Host, target: Target, factory: Callable[[], Session], retry: Backoff | None
) -> Session:
    """Begin to connect, and return the session; see `CompletionPort.connect`."""
    session = factory()
    connection = service.attach_session(session, target.tls)
    Connector(service, target, connection, retry=retry).start()
    return session
