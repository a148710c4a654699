"""EventLoop: asyncio's event loop, on a completion port."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

from ..engine import interrupt
from ..engine.timers import Call
from ..errors import AlreadyAssociatedError, IocpError
from ..port import CompletionPort
from .accepting import Accepting
from .asyncio_internals import BaseSelectorEventLoop, SSLProtocol
from .datagram_transport import FAMILIES, DatagramSocketTransport
from .file_sending import send_file
from .pipe_end import HandleOfPipe, open_end
from .pipe_serving import PipeServing, connect
from .pipe_transport import PipeTransport
from .port_selector import PortSelector
from .signal_handlers import SignalHandlers
from .socket_datagram import SocketDatagram
from .socket_stream import SocketStream
from .socket_transport import SocketTransport
from .subprocess_transport import SubprocessTransport

if TYPE_CHECKING:
    import socket
    from collections import deque
    from collections.abc import Callable, Coroutine

    from ..handles.pipes.pipe import Pipe

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_TLS_TIMEOUTS = ("ssl_handshake_timeout", "ssl_shutdown_timeout")


def _nothing() -> None:
    """What a wake-up calls."""


class EventLoop(BaseSelectorEventLoop):
    """An asyncio event loop with a `CompletionPort`: ``port``.

    Whatever is on that port is served by the loop's thread.

    Lifetime: ``close`` closes the port too.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self) -> None:
        self._port = CompletionPort(concurrency=1)
        self._queue = self._port._queue
        self._selector_of_port = PortSelector(self._queue)
        self._accepting: dict[int, Accepting] = {}
        self._signal_handlers = SignalHandlers(self, self._add_callback_signalsafe)
        super().__init__(self._selector_of_port)
        self._selector_of_port.serve(self, self._ready, self._process_events)
        self.time = self._queue.kernel.monotonic  # type: ignore[method-assign]
        if interrupt.find_main_thread():
            interrupt.uninstall()  # another port's: see run_forever

    @property
    def port(self) -> CompletionPort:
        """The port that the loop waits on."""
        return self._port

    def run_forever(self) -> None:
        """Run until ``stop`` is called."""
        main = interrupt.find_main_thread()
        if main:
            interrupt.install()
        try:
            super().run_forever()
        finally:
            if main:
                # `asyncio.Runner` puts its own in the place of Python's handler only.
                interrupt.uninstall()

    def close(self) -> None:
        """Close the loop and its port."""
        super().close()
        self._signal_handlers.clear()
        self._port.close()

    # TCP

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> asyncio.Transport:
        try:
            stream = SocketStream(self._queue, sock)
        except AlreadyAssociatedError:  # of another loop, or shared with another process
            make = super()._make_socket_transport
            over_polls: asyncio.Transport = make(sock, protocol, waiter, extra=extra, server=server)
            return over_polls
        with contextlib.suppress(IocpError):  # not TCP
            stream.set_no_delay()
        known = dict(extra or {})
        for name, ask in (("sockname", sock.getsockname), ("peername", sock.getpeername)):
            with contextlib.suppress(OSError):
                known.setdefault(name, ask())
        return self._transport(stream, protocol, waiter, extra=known, server=server)

    def _transport(
        self,
        stream: SocketStream,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> asyncio.Transport:
        return SocketTransport(self, stream, protocol, waiter, extra, server)

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        **timeouts: Any,
    ) -> asyncio.Transport:
        """Return the transport of TLS over TCP.

        rawsock: a socket, or the stream of one that has been accepted.
        """
        tls: Any = SSLProtocol(
            self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts
        )
        is_stream = isinstance(rawsock, SocketStream)
        make = self._transport if is_stream else self._make_socket_transport
        make(rawsock, tls, extra=extra, server=server)
        app_transport: asyncio.Transport = tls._app_transport
        return app_transport

    def _start_serving(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        *timeouts: Any,
    ) -> None:
        def on_client(stream: SocketStream) -> None:
            try:
                protocol = protocol_factory()
                if sslcontext is None:
                    self._transport(stream, protocol, server=server)
                    return
                self._make_ssl_transport(
                    stream,
                    protocol,
                    sslcontext,
                    server_side=True,
                    server=server,
                    **dict(zip(_TLS_TIMEOUTS, timeouts, strict=False)),
                )
            except (SystemExit, KeyboardInterrupt):
                stream.close()
                raise
            except BaseException as error:  # noqa: BLE001, as asyncio has it
                stream.close()
                self.call_exception_handler(
                    {
                        "message": "Error on transport creation for incoming connection",
                        "exception": error,
                    }
                )

        self._accepting[sock.fileno()] = Accepting(
            self._queue, sock, on_client, self.call_exception_handler
        )

    def _stop_serving(self, sock: socket.socket) -> None:
        accepting = self._accepting.pop(sock.fileno(), None)
        if accepting is None:
            super()._stop_serving(sock)
        else:
            accepting.close()

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> Any:
        if not isinstance(transp, SocketTransport):
            return await super()._sendfile_native(transp, file, offset, count)
        return await send_file(transp, file, offset, count)

    # UDP

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.DatagramTransport:
        datagram = None
        if sock.family in FAMILIES:
            with contextlib.suppress(AlreadyAssociatedError):  # as above
                datagram = SocketDatagram(self._queue, sock)
        if datagram is None:
            make = super()._make_datagram_transport
            over_polls: asyncio.DatagramTransport = make(sock, protocol, address, waiter, extra)
            return over_polls
        return DatagramSocketTransport(self, datagram, protocol, address, waiter, extra)

    # Pipes and processes

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> PipeTransport:
        extra = {**(extra or {}), "pipe": pipe}
        end = open_end(self._queue, pipe)
        return PipeTransport(self, end, protocol, waiter, extra, reads=True, writes=False)

    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> PipeTransport:
        extra = {**(extra or {}), "pipe": pipe}
        end = open_end(self._queue, pipe)
        return PipeTransport(self, end, protocol, waiter, extra, reads=False, writes=True)

    def _duplex_pipe_transport(
        self, pipe: Pipe, protocol_factory: Callable[[], asyncio.BaseProtocol], address: str
    ) -> tuple[PipeTransport, asyncio.BaseProtocol]:
        extra = {"pipe": HandleOfPipe(pipe), "addr": address}
        try:
            protocol = protocol_factory()
            made = PipeTransport(self, pipe, protocol, None, extra, reads=True, writes=True)
        except BaseException:
            pipe.close()
            raise
        return made, protocol

    async def create_pipe_connection(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], address: str
    ) -> tuple[PipeTransport, asyncio.BaseProtocol]:
        r"""Connect to a named pipe, ``\\.\pipe\name``; wait while its server is busy.

        Raises FileNotFoundError if there is no pipe of that name.
        """
        pipe = await connect(self._queue, address)
        return self._duplex_pipe_transport(pipe, protocol_factory, address)

    async def start_serving_pipe(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], address: str
    ) -> list[PipeServing]:
        r"""Serve a named pipe, ``\\.\pipe\name``; return a list of the server, for its ``close``.

        Raises PermissionError if there is a pipe of that name.
        """

        def on_client(pipe: Pipe) -> None:
            try:
                self._duplex_pipe_transport(pipe, protocol_factory, address)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001, as asyncio has it
                message = "Error on transport creation for incoming connection"
                self.call_exception_handler({"message": message, "exception": error})

        return [PipeServing(self._queue, address, on_client, self.call_exception_handler)]

    async def _make_subprocess_transport(
        self, *arguments: Any, extra: dict[str, Any] | None = None, **settings: Any
    ) -> SubprocessTransport:
        waiter = self.create_future()
        transport = SubprocessTransport(self, *arguments, waiter=waiter, extra=extra, **settings)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    # Sockets that block: asyncio refuses them in debug mode only, and would block the loop

    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        """Receive up to so many bytes; the socket does not block from now on."""
        return await super().sock_recv(self._not_blocking(sock), nbytes)

    async def sock_recv_into(self, sock: socket.socket, buf: Any) -> int:
        """Receive into a buffer; the socket does not block from now on."""
        return await super().sock_recv_into(self._not_blocking(sock), buf)

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram; the socket does not block from now on."""
        found: tuple[bytes, Any] = await super().sock_recvfrom(self._not_blocking(sock), bufsize)
        return found

    async def sock_recvfrom_into(
        self, sock: socket.socket, buf: Any, nbytes: int = 0
    ) -> tuple[int, Any]:
        """Receive a datagram into a buffer; the socket does not block from now on."""
        found: tuple[int, Any]
        found = await super().sock_recvfrom_into(self._not_blocking(sock), buf, nbytes)
        return found

    async def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> int:
        """Send a datagram; the socket does not block from now on."""
        return await super().sock_sendto(self._not_blocking(sock), data, address)

    async def sock_sendall(self, sock: socket.socket, data: Any) -> None:
        """Send bytes; the socket does not block from now on."""
        await super().sock_sendall(self._not_blocking(sock), data)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect; the socket does not block from now on."""
        await super().sock_connect(self._not_blocking(sock), address)

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection; the socket does not block from now on."""
        return await super().sock_accept(self._not_blocking(sock))

    def _not_blocking(self, sock: socket.socket) -> socket.socket:
        if not self._debug and sock.gettimeout() != 0:
            sock.setblocking(False)
        return sock

    # Signals

    def add_signal_handler(
        self, sig: int, callback: Callable[[Unpack[_Ts]], Any], *args: *_Ts
    ) -> None:
        """Have a function called in the loop when a signal comes: SIGINT, SIGTERM, SIGBREAK.

        Raises RuntimeError on a thread that is not the main one, and on a closed loop; ValueError
        for what is no signal, TypeError for a coroutine.
        """
        self._check_closed()
        self._signal_handlers.add(sig, callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Have nothing called when a signal comes; return whether anything would have been."""
        return self._signal_handlers.remove(sig)

    # Being woken

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        if not self._queue.closed:
            self._queue.enqueue_call(Call(_nothing, ()))


def new_event_loop() -> EventLoop:
    """Return a new loop."""
    return EventLoop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine in a new loop, as `asyncio.run` does."""
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
