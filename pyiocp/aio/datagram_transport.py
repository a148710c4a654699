"""DatagramSocketTransport: one datagram socket of asyncio's, on the port.

Receiving has one receive under way. Its packet brings a datagram; what else has come by then is
fetched without operations, up to a number, so that others have their turn; then the receive is
posted again. An error is told to the protocol, and receiving goes on: a port that nobody has, or a
datagram that was cut off, says nothing about the others.

Sending asks the system to take the datagram at once, without an operation; it copies it. What it
has no room for waits, and so does all that is sent meanwhile, in order: the first is sent by an
operation, the rest when that has ended.

Nothing here makes a Future, or calls ``call_soon``, for a datagram.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from ..engine.packet import PENDING
from ..errors import (
    HandleClosedError,
    IocpError,
    PortClosedError,
    error_of_code,
    error_of_status,
    failed,
)
from ..handles.sockets.datagram_receive import ImmediateReceive
from ..handles.sockets.datagram_send import SendToOperation
from ..handles.sockets.destination import destination
from ..winapi import SOCKET, address_of
from ..winapi.errorcodes import STATUS_BUFFER_OVERFLOW, WSAEWOULDBLOCK
from .asyncio_internals import FlowControl, TransportSocket
from .callbacks import logger, runner

if TYPE_CHECKING:
    from asyncio import BaseProtocol, Future

    from ..engine.operation import Operation
    from ..handles.sockets.datagram_receive import ReceiveFromOperation
    from .socket_datagram import SocketDatagram

_BURST_MAX = 64
"""Datagrams that are received before others of the loop have their turn."""

_ALONE_MAX = 16
"""Datagrams in a row that came alone, after which no more are looked for each time: a look that
finds nothing costs as much as a datagram."""

_HEADER_BYTES = 8
"""What a waiting datagram counts besides its bytes, as in asyncio: an empty one counts too."""

_ADDRESSES_MAX = 1024
"""How many addresses are remembered in both forms, the system's and Python's. What makes one from
the other costs as much as the rest of a datagram."""

_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 1.0

_LOST_SENDS_MAX = 5
"""Datagrams for a transport that has ended before they are logged, as in asyncio's own."""

_ANY_ADDRESS = {socket.AF_INET: ("0.0.0.0", 0), socket.AF_INET6: ("::", 0)}

FAMILIES = frozenset(_ANY_ADDRESS)
"""What the transport sends and receives; of others asyncio's own knows as much as Python does."""


class DatagramSocketTransport(FlowControl, asyncio.DatagramTransport):
    """The transport of a datagram socket; see `asyncio.DatagramTransport`.

    Thread safety: only the loop's thread calls it, as asyncio has it.
    """

    max_size = 1 << 16
    """Bytes of the longest datagram that is received whole; UDP has none that is longer."""

    _sock: Any = None

    def __init__(
        self,
        loop: Any,
        datagram: SocketDatagram,
        protocol: BaseProtocol,
        address: Any = None,
        waiter: Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Begin soon.

        address: what it sends to, if that is always the same.
        """
        super().__init__(extra, loop)
        self._loop = loop
        self.datagram = datagram
        self._sock = datagram.sock
        self._extra["socket"] = TransportSocket(datagram.sock)
        self._protocol: Any = protocol
        self._address = address
        self._connected = self._name("peername") is not None
        if self._name("sockname") is None:
            # As the first send would: Windows receives on no socket that is not bound (WSAEINVAL).
            with contextlib.suppress(OSError):
                self._sock.bind(_ANY_ADDRESS[self._sock.family])
        #: Entered once for all that comes of itself; what a caller causes runs in the caller's.
        self._run = runner(loop)
        self._closing = False
        #: Whether `connection_lost` is called, or will be.
        self._lost = False
        self._lost_sends = 0
        # Lifetime: the buffer is the kernel's while the receive is under way, and read between its
        # packet and the next post.
        buffer = bytearray(self.max_size)
        self._view = memoryview(buffer)
        self._receive = datagram.receive_from_operation(buffer)
        self._receive.receiver = self._received
        self._rest = ImmediateReceive(datagram, buffer)
        self._retry_s = _RETRY_FIRST_S
        self._alone = 0
        #: What waits to be sent: datagram and target. The first is being sent, perhaps.
        self._queue: deque[tuple[bytes, bytes]] = deque()
        self._queued_bytes = 0
        #: Whether somebody sees to the queue.
        self._sending = False
        self._number = SOCKET(datagram.number)
        kernel = datagram.home.kernel
        self._send, self._sendto, self._last_error = kernel.send, kernel.sendto, kernel.last_error
        #: Addresses as Python has them, by the system's form, and the other way round.
        self._shown: dict[bytes, Any] = {}
        self._targets: dict[Any, bytes] = {}
        loop._transports[datagram.number] = self
        loop.call_soon(self._run, self._begin, waiter)

    def _begin(self, waiter: Future[None] | None) -> None:
        """Tell the protocol, begin to receive, and tell who waits for the transport."""
        try:
            self._protocol.connection_made(self)
        finally:
            if not self._closing:
                self._receive_again()
            if waiter is not None and not waiter.cancelled():
                waiter.set_result(None)

    # What asyncio documents

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the socket; its addresses are asked for when needed."""
        if name in ("sockname", "peername") and self._extra.get(name) is None:
            return self._name(name)
        return self._extra.get(name, default)

    def _name(self, name: str) -> Any:
        """Ask for an address; a socket may get its own with the first that it sends."""
        try:
            ask = self._sock.getsockname if name == "sockname" else self._sock.getpeername
            self._extra[name] = ask()
        except (OSError, AttributeError):  # it has none, or is closed
            self._extra[name] = None
        return self._extra[name]

    def set_protocol(self, protocol: BaseProtocol) -> None:
        """Have another protocol from now on."""
        self._protocol = protocol

    def get_protocol(self) -> BaseProtocol:
        """Return the protocol."""
        return cast("BaseProtocol", self._protocol)

    def is_closing(self) -> bool:
        """Return whether the transport is closing, or closed."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be taken by the system, 8 more for each datagram."""
        return self._queued_bytes

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send a datagram: now, or when the system has room.

        data: may be empty. addr: an address; None on a connected socket. A host's name is looked
        up, which nothing else of the loop runs meanwhile for.

        What the system says against it comes to ``error_received``. Raises TypeError for what has
        no bytes or is no address, ValueError for another address than that of ``remote_addr``.
        """
        if type(data) is not bytes:
            data = _bytes_of(data)
        address = self._address
        if address is not None:
            if addr is not None and addr != address:
                raise ValueError(f"Invalid address: must be None or {address}")
            addr = address
        if self._closing:
            self._log_lost()
            return
        if self._connected:
            target = b""
        else:
            try:
                target = self._targets[addr]
            except (KeyError, TypeError):
                try:
                    target = self._target_of(addr)
                except OSError as error:
                    self._tell_error(error)
                    return
        if not self._queue:
            code = self._send_at_once(data, target)
            if not code:
                return
            if code != WSAEWOULDBLOCK:
                self._tell_error(error_of_code("sendto", code, None, self.datagram))
                return
        self._queue.append((data, target))
        self._queued_bytes += len(data) + _HEADER_BYTES
        if not self._sending:
            self._sending = True
            self._post_first()
        self._maybe_pause_protocol()

    def close(self) -> None:
        """Close, after what waits has been sent."""
        if self._closing:
            return
        self._closing = True
        if not self._queue:
            self._lose(None)

    def abort(self) -> None:
        """Close at once, and drop what waits to be sent."""
        self._force_close(None)

    # Receiving

    def _receive_again(self) -> None:
        """Receive, unless a receive is under way."""
        operation = self._receive
        if self._closing or operation.state is PENDING:
            return
        try:
            operation.post()
        except (HandleClosedError, PortClosedError):
            self._force_close(None)
        except IocpError as error:
            self._tell_error(error)
            self._retry_later()

    def _retry_later(self) -> None:
        self._loop.call_later(self._retry_s, self._run, self._receive_again)
        self._retry_s = min(self._retry_s * 2, _RETRY_MAX_S)

    def _received(self, operation: ReceiveFromOperation, count: int, status: int) -> None:
        """Take what a receive has brought: a receiver."""
        if not (self._closing or self.datagram.home.closing):
            self._run(self._take, operation.sender, count, status)

    def _take(self, sender: bytes, count: int, status: int) -> None:
        """Take what a receive has brought, and what else has come, and receive again.

        Whatever is raised, the transport hears on.
        """
        again = self._receive_again
        try:
            if not status:
                self._retry_s = _RETRY_FIRST_S
                self._deliver(sender, count)
                self._alone += 1
                if self._alone <= _ALONE_MAX or not self._alone % _ALONE_MAX:
                    self._deliver_rest()
            elif not self._may_go_on(status):
                again = self._retry_later
        finally:
            again()

    def _may_go_on(self, status: int) -> bool:
        """Tell the protocol of a failure; return whether the next receive may do better."""
        if not failed(status):
            return True
        winerror_of = self.datagram.winerror_of
        error = error_of_status("WSARecvFrom", status, self.datagram, winerror_of)
        self._tell_error(error)
        return status == STATUS_BUFFER_OVERFLOW or isinstance(error, ConnectionError)

    def _deliver(self, sender: bytes, count: int) -> None:
        """Hand over a datagram."""
        try:
            address = self._shown[sender]
        except KeyError:
            address = self._show(sender)
        try:
            # Lifetime: a copy, because the next receive writes to the same place.
            self._protocol.datagram_received(bytes(self._view[:count]), address)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001, as asyncio has it
            self._report(error, "Exception in protocol.datagram_received()")

    def _deliver_rest(self) -> None:
        """Hand over what has come by now."""
        rest = self._rest
        for _ in range(_BURST_MAX - 1):
            if self._closing:
                return
            code = rest.receive()
            if not code:
                self._alone = 0
                self._deliver(rest.sender, rest.count)
            elif code == WSAEWOULDBLOCK:
                return
            else:
                self._tell_error(error_of_code("recvfrom", code, None, self.datagram))

    def _show(self, sender: bytes) -> Any:
        """Return an address as Python has it, and remember it for the answer."""
        if len(self._shown) >= _ADDRESSES_MAX:
            self._shown.clear()
        self._shown[sender] = address = address_of(sender)
        self._remember(address, bytes(destination(self.datagram.family, address)))
        return address

    # Sending

    def _remember(self, address: Any, target: bytes) -> None:
        if len(self._targets) >= _ADDRESSES_MAX:
            self._targets.clear()
        self._targets[address] = target

    def _target_of(self, address: Any) -> bytes:
        """Return the system's form of an address.

        Raises OSError for a name that is not known, TypeError and ValueError for no address.
        """
        family = self.datagram.family
        if address is None:
            raise TypeError("sendto() needs an address, since the socket is not connected")
        try:
            target = bytes(destination(family, address))
        except ValueError:
            host, port = address[:2]
            if not isinstance(host, str) or not 0 <= port <= 0xFFFF:
                raise
            # Not remembered: a name may have another address the next time.
            found = socket.getaddrinfo(host, port, socket.AddressFamily(family), socket.SOCK_DGRAM)
            return bytes(destination(family, found[0][4]))
        self._remember(address, target)
        return target

    def _send_at_once(self, data: bytes, target: bytes) -> int:
        """Have the system take a datagram; return 0, or why it did not.

        target: empty on a connected socket.
        """
        # Lifetime: the system copies both before it returns.
        if target:
            sent = self._sendto(self._number, data, len(data), 0, target, len(target))
        else:
            sent = self._send(self._number, data, len(data), 0)
        return 0 if sent >= 0 else self._last_error()

    def _post_first(self) -> None:
        """Have the first that waits sent by an operation."""
        while self._queue and not self._lost:
            data, target = self._queue[0]
            operation: Operation
            if target:
                operation = SendToOperation(self.datagram, data, address_of(target))
            else:
                operation = self.datagram.send_operation(data)
            operation.receiver = self._sent
            try:
                operation.post()
            except (HandleClosedError, PortClosedError):
                self._force_close(None)
            except OSError as error:
                self._drop_first()
                self._tell_error(error)
            else:
                return
        self._drained()

    def _sent(self, operation: Operation, count: int, status: int) -> None:
        """Go on after a send: a receiver."""
        if not (self._lost or self.datagram.home.closing):
            self._drop_first()
            self._run(self._go_on, operation.function_name, status)

    def _go_on(self, function: str, status: int) -> None:
        """Tell of a send that has failed, and send what waits."""
        try:
            if failed(status):
                winerror_of = self.datagram.winerror_of
                self._tell_error(error_of_status(function, status, self.datagram, winerror_of))
        finally:
            self._flush()

    def _flush(self) -> None:
        """Send what waits, until the system has no room."""
        for _ in range(_BURST_MAX):
            if not self._queue or self._lost:
                break
            code = self._send_at_once(*self._queue[0])
            if code == WSAEWOULDBLOCK:
                self._post_first()
                break
            self._drop_first()
            if code:
                self._tell_error(error_of_code("sendto", code, None, self.datagram))
        else:
            if self._queue:
                self._loop.call_soon(self._run, self._flush)
        if not self._queue:
            self._drained()
        self._maybe_resume_protocol()

    def _drop_first(self) -> None:
        data, _ = self._queue.popleft()
        self._queued_bytes -= len(data) + _HEADER_BYTES

    def _drained(self) -> None:
        """Do what waits until everything has been sent."""
        self._sending = False
        if self._closing and not self._lost:
            self._lose(None)

    def _log_lost(self) -> None:
        if self._lost_sends >= _LOST_SENDS_MAX:
            logger.warning("socket.sendto() raised exception.")
        self._lost_sends += 1

    # Errors, and the end

    def _tell_error(self, error: OSError) -> None:
        """Tell the protocol that something has failed; everything else goes on."""
        try:
            self._protocol.error_received(error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as raised:  # noqa: BLE001, as asyncio has it
            self._report(raised, "Exception in protocol.error_received()")

    def _report(self, error: BaseException, message: str) -> None:
        self._loop.call_exception_handler(
            {
                "message": message,
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )

    def _force_close(self, exc: BaseException | None) -> None:
        """Close without sending what waits."""
        if self._lost:
            return
        self._closing = True
        self._queue.clear()
        self._queued_bytes = 0
        self._lose(exc)

    def _lose(self, exc: BaseException | None) -> None:
        """Have the protocol told that the transport has ended."""
        self._lost = True
        self._loop.call_soon(self._run, self._call_connection_lost, exc)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(exc)
        finally:
            # Lifetime: what is under way ends as cancelled; the in-flight table has it until then.
            self.datagram.close()
            self._sock = None

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._sock is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self.datagram.close()

    def __repr__(self) -> str:
        state = "closed" if self._sock is None else "closing" if self._closing else "open"
        reading = "idle" if self._closing else "polling"
        writing = "polling" if self._queue else "idle"
        return (
            f"<{type(self).__name__} {state} fd={self.datagram.number} read={reading}"
            f" write=<{writing}, bufsize={self._queued_bytes}>>"
        )


def _bytes_of(data: Any) -> bytes:
    """Return the bytes to send; TypeError for what has none."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        name = type(data).__name__
        raise TypeError(f"data argument must be a bytes-like object, not {name!r}")
    return bytes(data)
