"""CompletionPort: the object that everything starts from.

What belongs here: the ways into ring 3 (`listen`, `connect` …), and how it all ends. Those to
datagrams are in `datagram_port`, the sessions and workers in `session_port`; how packets travel
is in `completion_queue`, the kinds of handle are in `handle_port`.
"""

from __future__ import annotations

import atexit
import contextlib
import socket
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from .engine.kernel import Kernel
from .engine.port_settings import PortSettings
from .engine.signals import SignalReceiver
from .memory.debugging import debug_mode_wanted
from .servers.backoff import Backoff
from .servers.connection import Connection
from .servers.connector import Connector
from .servers.datagram_port import DatagramPort
from .servers.framed_session import FramedSession, Framer
from .servers.layer import Hooks, Layer, connect_layers
from .servers.listener import Listener
from .servers.listening_socket import open_listening, take_over
from .servers.monitor import Monitor, MonitorSession
from .servers.reconnecting import ReconnectingClient
from .servers.session import Session
from .servers.spares import Spares

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from .engine.completion import Completion
    from .handles.stream import Stream
    from .servers.admission import Limits
    from .servers.datagram_session import DatagramSession
    from .servers.tls_side import TlsSide


class CompletionPort(DatagramPort):
    """An I/O completion port.

    ::

        with CompletionPort() as port:
            port.listen(("127.0.0.1", 9000), Echo)
            port.run()

    or, one ring further in, with operations and their completions in your own hands::

        with CompletionPort() as port:
            stream = port.stream(sock, key=player)
            operation = stream.receive(bytearray(4096))
            for completion in port.wait(timeout=1.0):
                print(completion)

    concurrency: how many threads the kernel lets run at a time while packets are queued,
        0 for one per processor. When one of them blocks, the kernel lets another run.
    batch: how many packets one system call may dequeue, 1 to 65,536.
    kernel: what stands for the operating system; by default the real one.
    debug: find out who touches a buffer while the kernel owns it; by default if
        ``PYIOCP_DEBUG`` is set in the environment, and not 0.

    Thread safety: any thread may call any method.

    Lifetime: the port owns every buffer in flight. Leaving the ``with`` block, or
    `close`, cancels and drains; at the interpreter's exit open ports are closed likewise.

    Raises an `IocpError` if the system gives no port; `FunctionUnavailableError` off
    Windows.

    Source: https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports
    """

    def __init__(
        self,
        *,
        concurrency: int = 0,
        batch: int = 64,
        kernel: Kernel | None = None,
        debug: bool | None = None,
    ) -> None:
        super().__init__(
            PortSettings(
                concurrency=concurrency,
                batch=batch,
                kernel=Kernel() if kernel is None else kernel,
                signal_receiver=SignalReceiver,
                debug=debug_mode_wanted() if debug is None else debug,
            )
        )
        self.listeners: set[Listener] = set()
        self.clients: set[ReconnectingClient] = set()
        self._spares = Spares()
        self._monitor: Monitor | None = None
        #: Apart from the others, which are the user's to send to.
        self.monitor_sessions: set[Session] = set()
        self._open()
        _open_ports.add(self)

    # Servers and clients

    def listen(
        self,
        address: Any,
        factory: Callable[[], Session],
        *,
        accepts: int = 32,
        backlog: int = 0x7FFFFFFF,
        exclusive: bool = True,
        dual_stack: bool = False,
        no_delay: bool = True,
        first_data: int = 0,
        first_data_timeout: float = 10.0,
        limits: Limits | None = None,
        tls: SSLContext | None = None,
        handshake_timeout: float = 30.0,
    ) -> Listener:
        """Listen at an address, and make a session of every connection.

        address: ``(host, port)``; port 0 lets the system choose, see the listener's
            ``address``. An empty host is every IPv4 interface, ``"::"`` every IPv6 one.
            Or a socket of Python's that listens already, which belongs to the listener
            from then on; or what ``Listener.share`` gave in another process. Then
            `backlog`, `exclusive`, `dual_stack` and `no_delay` are as they have been set.
        factory: called without arguments for each connection, returns a new `Session`:
            mostly the class itself.
        accepts: how many AcceptEx are pending at any time, 1 to 4,096.
        backlog: how many more connections may wait in the system; by default what fits.
        exclusive: let no other process bind the same address (SO_EXCLUSIVEADDRUSE).
        dual_stack: take IPv4 clients too, at an IPv6 address, which ``""`` then is as well.
            Their peer addresses read ``::ffff:192.0.2.1``.
        no_delay: send small messages at once (TCP_NODELAY).
        first_data: bytes of first data to accept with, 0 to 1,048,576. With more than 0 a
            connection becomes a session when the client has sent something, which saves a
            receive for each; not for protocols in which the server speaks first.
        first_data_timeout: seconds that a client has for it, rounded up to whole ones and
            with up to a second more; then its connection is closed.
        limits: how many sessions there may be, and how fast they may begin; see `Limits`.
        tls: an `ssl.SSLContext` of ``PROTOCOL_TLS_SERVER`` with its certificate loaded; the
            sessions then talk TLS. Renegotiation is switched off in it.
        handshake_timeout: seconds in which a client has to finish the TLS handshake.

        Returns at once: accepting is done by `run`. Raises `AddressUnavailableError` if
        the address is in use or none of this machine's, `PortClosedError` on a closed
        port, ValueError and TypeError for bad arguments.
        """
        self.check_open("listen")

        def open_stream() -> Stream:
            if isinstance(address, (bytes, socket.socket)):
                return take_over(self, address)
            return open_listening(
                self,
                address,
                backlog=backlog,
                exclusive=exclusive,
                dual_stack=dual_stack,
                no_delay=no_delay,
            )

        listener = Listener(
            self,
            open_stream,
            factory,
            tls=_tls_side(tls, handshake_timeout, server_side=True),
            accepts=accepts,
            first_data=first_data,
            first_data_timeout=first_data_timeout,
            limits=limits,
        )
        self.listeners.add(listener)
        return listener

    def connect(
        self,
        address: Any,
        factory: Callable[[], Session],
        *,
        timeout: float | None = 30.0,
        no_delay: bool = True,
        retry: Backoff | None = None,
        tls: SSLContext | None = None,
        server_hostname: str | None = None,
        handshake_timeout: float = 30.0,
    ) -> Session:
        """Connect to an address, and return the session, which is connecting then.

        Its ``on_connect`` comes when the connection stands; if it cannot be made,
        ``on_close`` comes with the error, and no ``on_connect`` before it.

        address: ``(host, port)``, or a list of such. A name is looked up in another thread.
            If it has several addresses they are tried as RFC 8305 has it: the families by
            turns, the next one when the one before has failed or has not answered for
            250 ms; the first to answer is taken.
        factory: called without arguments, returns a new `Session`: mostly the class.
        timeout: seconds after which the attempt, with all addresses and the look-up, ends
            in a `NetworkTimeoutError`; None leaves it to the network stack, which takes
            about 21 s for each address.
        no_delay: send small messages at once (TCP_NODELAY).
        retry: when to try again after an attempt has failed; None: not at all.
        tls: an `ssl.SSLContext` of ``PROTOCOL_TLS_CLIENT``, such as that of
            `ssl.create_default_context`; the session then talks TLS, and ``on_connect`` comes
            after the handshake. Renegotiation is switched off in it.
        server_hostname: the name that the server's certificate must have; by default the
            host of the address.
        handshake_timeout: seconds that the TLS handshake may take.

        If there were several errors, ``on_close`` gets the last one, or that of the
        timeout, with an ExceptionGroup of all of them as its ``__cause__``. A name that is
        not known is a ``socket.gaierror``.

        Raises `PortClosedError` on a closed port, ValueError and TypeError for bad
        arguments.

        Source: https://www.rfc-editor.org/rfc/rfc8305
        """
        self.check_open("connect")
        connector = Connector(self, address, timeout=timeout, no_delay=no_delay, retry=retry)
        side = self.client_tls(address, tls, server_hostname, handshake_timeout)
        session = factory()
        self.attach_session(session, side)
        connector.start(session)
        return session

    def keep_connected(
        self,
        address: Any,
        factory: Callable[[], Session],
        *,
        timeout: float | None = 30.0,
        no_delay: bool = True,
        backoff: Backoff | None = None,
        tls: SSLContext | None = None,
        server_hostname: str | None = None,
        handshake_timeout: float = 30.0,
    ) -> ReconnectingClient:
        """Connect to an address, and again, with a new session, when a session has ended.

        backoff: the waits between attempts; by default ``Backoff()``. The rest is as for
            `connect`.

        Returns the client, which has the present session and can be closed. Raises as
        `connect`.
        """
        self.check_open("connect")
        return ReconnectingClient(
            self,
            address,
            factory,
            timeout=timeout,
            no_delay=no_delay,
            backoff=Backoff() if backoff is None else backoff,
            tls=self.client_tls(address, tls, server_hostname, handshake_timeout),
        )

    def client_tls(
        self,
        address: Any,
        context: SSLContext | None,
        server_hostname: str | None,
        handshake_timeout: float,
    ) -> TlsSide | None:
        """Return how a client does TLS with a context, if there is one; see `connect`."""
        if context is not None and server_hostname is None:
            server_hostname = (address[0] if isinstance(address, list) else address)[0]
        return _tls_side(
            context, handshake_timeout, server_side=False, server_hostname=server_hostname
        )

    def attach_session(
        self,
        session: Session,
        tls: TlsSide | None = None,
        *,
        on_end: Callable[[Session], None] | None = None,
        layer: Callable[[Any, Hooks], Layer] | None = None,
    ) -> None:
        """Count a new session among the port's, until it has ended.

        tls: how it does TLS, if it does.
        on_end: called when it has ended, after ``on_close``; it calls `forget`, which is
            called by default.
        layer: one more layer, above all others.

        Raises TypeError for what is no `Session`, ValueError for one that is not new.
        """
        if not isinstance(session, Session):
            raise TypeError(f"the factory must return a Session, not {session!r}")
        # Not by its __dict__: that does not exist before it is asked for, and then takes 150 bytes.
        if session._pyiocp is not Session._pyiocp:
            raise ValueError(f"the factory returned {session!r} before: make a new one each time")
        kinds: list[Callable[[Any, Hooks], Layer]] = [] if layer is None else [layer]
        if isinstance(session, FramedSession):
            kinds.append(Framer)
        if tls is not None:
            kinds.append(tls.layer)
        connect_layers(
            session,
            kinds,
            lambda hooks: Connection(self, session, self._spares, on_end or self.forget, hooks),
        )
        if isinstance(session, MonitorSession):
            self.monitor_sessions.add(session)
        else:
            self.sessions.add(session)

    def forget(self, session: Session | DatagramSession) -> None:
        """No longer count a session, which has ended."""
        if self._monitor is not None:
            self._monitor.session_ended(session)
        if isinstance(session, MonitorSession):
            self.monitor_sessions.discard(session)
        super().forget(session)

    def monitor(self, address: Any = ("127.0.0.1", 0)) -> Monitor:
        """Let programs on this machine look at the port while it runs; see `servers.monitor`.

        address: ``(host, port)`` of the loopback, where they ask; port 0 lets the system
            choose, see the monitor's ``address``. ``python -m pyiocp monitor HOST:PORT``
            shows it.

        Whoever can run a program on this machine can look: at counts, and at the addresses
        of clients, never at what they send. Until somebody does, it costs a few microseconds
        for each session that ends; from then on, as `watch`, for each operation.

        Any thread may call it. Raises ValueError for an address that is not the loopback's,
        TypeError for what is no address, RuntimeError if there is a monitor already,
        `AddressUnavailableError` if the address is in use, `PortClosedError` on a closed
        port.
        """
        self.check_open("be monitored")
        if self._monitor is not None and not self._monitor.closed:
            raise RuntimeError(f"{self!r} has a monitor already: {self._monitor!r}")
        self._monitor = Monitor(self, address)
        return self._monitor

    # The end

    def shutdown(self, timeout: float = 5.0) -> None:
        """Stop listening, close every session in order, and then make `run` return.

        timeout: seconds after which the sessions that are left are aborted. A session's
            own ``close_timeout`` may end it before that.

        Returns at once: `run` does the work, and is called again if it has been left, as
        by Ctrl-C. There are no new sessions from now on. Any thread may call it, also from
        a hook. ValueError if `timeout` is negative.
        """
        self.call_later(timeout, self._abort_sessions)
        self._shutting_down = True
        for client in list(self.clients):
            client.close()
        for listener in list(self.listeners):
            listener.shutdown(timeout)
        for server in list(self.datagram_servers):
            server.shutdown(timeout)
        for session in list(self.sessions):
            session.close()
        if not self.sessions:
            self.stop()

    def _abort_sessions(self) -> None:
        for session in [*self.sessions, *self.monitor_sessions]:
            session.abort()

    def _hooks_elsewhere(self) -> bool:
        outside = threading.get_ident() not in self._dispatching
        return super()._hooks_elsewhere() or (outside and bool(self.monitor_sessions))

    def close(self, timeout: float = 5.0) -> list[Completion]:
        """Close the servers, abort the sessions, end the work, then `CompletionQueue.close`.

        Every session's ``on_close`` comes before this returns, if it is not called from
        one of their hooks; and of what was submitted, what has begun ends, in time.
        """
        for listener in list(self.listeners):
            listener.close()
        for server in list(self.datagram_servers):
            server.close()
        for client in list(self.clients):
            client.close()
        if self._monitor is not None:
            self._monitor.close()
        self._abort_sessions()
        self._work_pool.stop()
        completions = super().close(timeout)
        self._work_pool.join()
        _open_ports.discard(self)
        return completions


def _tls_side(
    context: SSLContext | None,
    handshake_timeout: float,
    *,
    server_side: bool,
    server_hostname: str | None = None,
) -> TlsSide | None:
    """Return how TLS is done with a context, if there is one."""
    if context is None:
        return None
    # It takes 20 ms and OpenSSL, which who has no use for TLS is spared.
    from .servers.tls_side import TlsSide  # noqa: PLC0415

    return TlsSide(
        context,
        server_side=server_side,
        server_hostname=server_hostname or None,
        handshake_timeout=handshake_timeout,
    )


_open_ports: weakref.WeakSet[CompletionPort] = weakref.WeakSet()


@atexit.register
def _close_open_ports() -> None:
    """Give the kernel's memory back before the interpreter takes it apart."""
    with contextlib.ExitStack() as stack:  # all of them, also when a warning is an exception
        for port in [port for port in _open_ports if not port.closed]:
            stack.callback(_close_at_exit, port)


def _close_at_exit(port: CompletionPort) -> None:
    message = f"unclosed at exit: {port!r}"
    port.close(timeout=1.0)
    warnings.warn(message, ResourceWarning, stacklevel=1, source=port)
