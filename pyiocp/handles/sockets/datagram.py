"""Datagram: a UDP socket on a completion port, over IPv4 or IPv6.

Three things differ from a stream. The completion of a receive has the sender. A datagram longer
than the buffers is cut, and the completion says so. And skip-on-success is not used: a receive
whose buffer is too short ends in a warning, and with skip-on-success the call then fails and its
packet is sometimes skipped (https://github.com/libuv/libuv/issues/1672), so that a completion
would come twice or never.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
from typing import TYPE_CHECKING, Any

from ...errors import IocpError, error_of_code
from ...winapi import (
    AF_INET6,
    DWORD,
    IP_ADD_MEMBERSHIP,
    IP_DROP_MEMBERSHIP,
    IP_ECN,
    IP_MULTICAST_IF,
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_ADD_MEMBERSHIP,
    IPV6_DROP_MEMBERSHIP,
    IPV6_ECN,
    IPV6_MULTICAST_IF,
    IPV6_PKTINFO,
    SIO_UDP_CONNRESET,
    SIO_UDP_NETRESET,
    SOCKET,
    SOCKET_ERROR,
    UDP_RECV_MAX_COALESCED_SIZE,
    FunctionUnavailableError,
)
from ...winapi.errorcodes import WSAEINVAL, WSAENOPROTOOPT, WSAEWOULDBLOCK
from .control_data import (
    ControlMessage,
    congestion_mark,
    group_address,
    interface_address,
    packet_info,
    segmentation,
)
from .datagram_receive import ReceiveFromOperation, ReceiveMessageOperation
from .datagram_send import SendMessageOperation, SendToOperation
from .destination import destination
from .socket_handle import SocketHandle, number_and_family, open_socket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from ...engine.home import Home
    from ...engine.operation import Operation

    Data = Buffer | Sequence[Buffer]
    """A datagram to send: one buffer, or a list or tuple of them, sent as one datagram."""

#: The most bytes of a datagram: 65,535 less the headers of IPv4 and UDP, or of UDP.
_BYTES_MAX = {int(socket.AF_INET): 65507, int(socket.AF_INET6): 65527}

_CONTROL_SIZE = 256
"""Bytes of room for control data: enough for everything that `report` can ask for."""
_CONTROL_SIZE_MAX = 65536


def check_length(length: int, most: int) -> None:
    """Raise ValueError for more bytes than a datagram of a socket carries."""
    if length > most:
        raise ValueError(f"a datagram here carries at most {most} bytes, not {length}")


class Datagram(SocketHandle):
    """A datagram socket on a completion port, connected to one peer or to none.

    Made by ``CompletionPort.datagram``. ``family`` is AF_INET or AF_INET6.

    Receives complete with a `DatagramCompletion`: the bytes and who sent them. Keep
    several pending on a busy socket: while none is, the system keeps what its own buffer
    holds (``SO_RCVBUF``), and drops the rest.

    Thread safety: any thread may call any method.
    """

    kind = "datagram"

    def __init__(
        self,
        home: Home,
        number: int,
        *,
        family: int,
        key: Any = None,
        report_unreachable: bool = False,
    ) -> None:
        super().__init__(home, number, family=family, key=key, skip_on_success=False)
        self._socket = SOCKET(number)
        self._sendto = home.kernel.sendto
        #: What `detach` turns on again: the system does, for a new socket.
        self._turned_off: set[int] = set()
        if report_unreachable:
            try:
                self.report(unreachable=True)
            except BaseException:
                home.handles.discard(self)  # the number stays the caller's
                raise
        else:
            self._turn_off(SIO_UDP_CONNRESET)
        # Always off: an expired hop limit says nothing about this socket.
        self._turn_off(SIO_UDP_NETRESET)

    def _turn_off(self, code: int) -> None:
        """Have nothing reported; a provider that does not know the code reports nothing anyway."""
        with contextlib.suppress(IocpError):
            self.control(code, DWORD(False))
            self._turned_off.add(code)

    def _restore(self) -> None:
        super()._restore()
        while self._turned_off:
            self.control(self._turned_off.pop(), DWORD(True))

    @classmethod
    def open(cls, home: Home, family: int, key: Any, report_unreachable: bool) -> Datagram:
        """Return the handle of a new socket; an `IocpError` if the system gives none."""
        number = open_socket(home.kernel, family, socket.SOCK_DGRAM)
        try:
            return cls(home, number, family=family, key=key, report_unreachable=report_unreachable)
        except BaseException:
            home.kernel.closesocket(number)
            raise

    @classmethod
    def of_socket(
        cls,
        home: Home,
        sock: socket.socket | int | None,
        family: int | None,
        key: Any,
        report_unreachable: bool,
    ) -> Datagram:
        """Return the handle of a caller's socket, or a new one; see `CompletionPort.datagram`."""
        if sock is None:
            family = socket.AF_INET if family is None else family
            return cls.open(home, family, key, report_unreachable)
        number, family = number_and_family(sock, socket.SOCK_DGRAM, family)
        datagram = cls(home, number, key=key, family=family, report_unreachable=report_unreachable)
        if isinstance(sock, socket.socket):
            datagram.take_over(sock)
        return datagram

    # Receiving

    def receive_from(self, *buffers: Buffer, peek: bool = False) -> ReceiveFromOperation:
        """Receive one datagram into one or several writable buffers, filled in order.

        The `DatagramCompletion` has the sender's ``address``. If the datagram was longer
        than the buffers it says ``truncated``: the bytes that fitted are there, the rest
        is lost. An empty datagram completes with 0 bytes and no error.

        peek: leave the datagram in the socket, to be received again. Only then the
        buffers may be empty or left out: the completion, with ``truncated``, announces a
        datagram, and no memory was locked meanwhile.

        With ``report(unreachable=True)`` it may complete with a `PeerResetError`: an
        earlier send met a closed port. The socket is as good as before: post the next.

        Lifetime: the buffers are the kernel's until the completion has been dequeued; a
        bytearray cannot be resized until then.

        Raises an `IocpError` if the system refuses (``WSAEINVAL`` 10022: not bound;
        ``WSAENOBUFS`` 10055: too many pages are locked), ValueError without room and
        without `peek`, because the datagram would be lost, TypeError for a read-only
        buffer.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecvfrom
        """
        operation = self.receive_from_operation(*buffers, peek=peek)
        operation.post()
        return operation

    def receive_from_operation(self, *buffers: Buffer, peek: bool = False) -> ReceiveFromOperation:
        """Return a receive that has not been posted yet, to be posted again and again."""
        _check_room(buffers, peek)
        return ReceiveFromOperation(self, buffers, peek)

    def receive(self, *buffers: Buffer, peek: bool = False) -> ReceiveFromOperation:
        """Receive one datagram; on a connected socket, from its peer only.

        The same as `receive_from`, under the name that a stream has for it.

        Lifetime: the buffers are the kernel's until the completion has been dequeued.

        Raises what `receive_from` raises.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecvfrom
        """
        return self.receive_from(*buffers, peek=peek)

    def receive_operation(self, *buffers: Buffer, peek: bool = False) -> ReceiveFromOperation:
        """Return a receive that has not been posted yet, to be posted again and again."""
        return self.receive_from_operation(*buffers, peek=peek)

    def receive_message(
        self, *buffers: Buffer, peek: bool = False, control_size: int = _CONTROL_SIZE
    ) -> ReceiveMessageOperation:
        """Receive one datagram with its control data: whatever `report` has asked for.

        Like `receive_from`; the `DatagramCompletion` also has ``control``. control_size:
        bytes of room for control data, up to 65,536; ``control_truncated`` tells that it
        was too small.

        Raises what `receive_from` raises, ValueError for a bad `control_size`, and
        FunctionUnavailableError where the socket's provider has no WSARecvMsg.

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_wsarecvmsg
        """
        operation = self.receive_message_operation(*buffers, peek=peek, control_size=control_size)
        operation.post()
        return operation

    def receive_message_operation(
        self, *buffers: Buffer, peek: bool = False, control_size: int = _CONTROL_SIZE
    ) -> ReceiveMessageOperation:
        """Return a receive that has not been posted yet, to be posted again and again.

        Raises ValueError without room and without `peek`, and for a bad `control_size`.
        """
        _check_room(buffers, peek)
        if not 0 <= control_size <= _CONTROL_SIZE_MAX:
            raise ValueError(
                f"control_size must be between 0 and {_CONTROL_SIZE_MAX} bytes, not {control_size}"
            )
        return ReceiveMessageOperation(self, buffers, peek, control_size)

    def report(
        self,
        *,
        destination: bool | None = None,
        ecn: bool | None = None,
        unreachable: bool | None = None,
    ) -> None:
        """Say what receives shall tell besides the datagram; None leaves it as it is.

        destination: the address that it was sent to and the interface that it came in on,
            in the ``control`` of `receive_message`.
        ecn: its congestion mark, likewise (Windows 10 build 20348).
        unreachable: that a datagram sent from here met a closed port, as a receive that
            completes with `PeerResetError`. By default it is not reported: one such peer
            says nothing about the others.

        Raises FunctionUnavailableError for what this system does not have.

        Source: https://learn.microsoft.com/windows/win32/winsock/winsock-ioctls
        """
        six = self.family == AF_INET6
        level = IPPROTO_IPV6 if six else IPPROTO_IP
        if destination is not None:
            name = IPV6_PKTINFO if six else IP_PKTINFO
            self._set_if_there("IP_PKTINFO", "Windows XP", level, name, destination)
        if ecn is not None:
            name = IPV6_ECN if six else IP_ECN
            self._set_if_there("IP_ECN", "Windows 10 build 20348", level, name, ecn)
        if unreachable is not None:
            self.control(SIO_UDP_CONNRESET, DWORD(unreachable))
            self._turned_off.discard(SIO_UDP_CONNRESET)  # as the user has it now

    def coalesce(self, size: int) -> None:
        """Let the system hand over several datagrams of one sender as one, of `size` at most.

        Datagrams of the same length that came one after the other are received with one
        operation; the last may be shorter. ``control.segment_size`` of `receive_message`
        is that length. The buffers need room for `size` bytes, at most 65,535; 0, the
        default, turns it off.

        Raises FunctionUnavailableError where Windows lacks it (before Windows 10 2004),
        ValueError for a size out of range.

        Source: https://learn.microsoft.com/windows/win32/winsock/ipproto-udp-socket-options
        """
        if not 0 <= size <= 0xFFFF:
            raise ValueError(f"size must be between 0 and 65535 bytes, not {size}")
        name, since = "UDP_RECV_MAX_COALESCED_SIZE", "Windows 10 2004"
        self._set_if_there(name, since, IPPROTO_UDP, UDP_RECV_MAX_COALESCED_SIZE, size)

    # Sending

    def send_to(self, data: Data, address: Any) -> SendToOperation:
        """Send one datagram to a numeric address; a socket that is not bound is bound.

        address: the one of every interface, ``"0.0.0.0"`` or ``"::"``, is this machine.
        data: a buffer, or a list or tuple of buffers that make one datagram. It may be
        empty, and has at most 65,507 bytes over IPv4, 65,527 over IPv6.

        Completes when the system has taken it, which says nothing about whether it
        arrives.

        Lifetime: the buffers may not change until the completion has been dequeued.

        Raises ValueError for an address that is not numeric or data that is too long, an
        `IocpError` if the system refuses (``WSAEACCES`` 10013: a broadcast without
        ``SO_BROADCAST``; ``WSAENETUNREACH`` 10051; ``WSAENOBUFS`` 10055).

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasendto
        """
        operation = SendToOperation(self, data, address)
        self._check_length(operation.length)
        operation.post()
        return operation

    def try_send_to(self, data: Buffer, address: Any) -> bool:
        """Send one datagram to a numeric address, if the system takes it at once.

        The system nearly always takes a datagram at once, into a buffer of its own. This way it
        does so without an operation: there is no completion, no page is locked, and it
        costs a fifth of what `send_to` does. From the first call on the socket is
        non-blocking, which does not affect operations; `detach` gives it back as it came.

        data: any buffer, up to 65,507 bytes over IPv4, 65,527 over IPv6. It is copied, and
            may change as soon as the call returns.

        Returns True if the system has it, False if there is no room for it now: drop it,
        or `send_to`. Datagrams of operations that are pending leave after it.

        Raises ValueError for an address that is not numeric or data that is too long,
        TypeError for what is not a buffer, an `IocpError` like `send_to` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-sendto
        """
        message = data if type(data) is bytes else bytes(memoryview(data))
        self._check_length(len(message))
        code = self.send_at_once(message, bytes(destination(self.family, address)))
        if code and code != WSAEWOULDBLOCK:
            raise error_of_code("sendto", code, None, self)
        return not code

    def send_at_once(self, message: bytes, target: bytes) -> int:
        """Make the call of `try_send_to`; return 0, or the code of its failure.

        target: the bytes of a socket address of the socket's family.
        """
        with self.lock:
            if self.closed or self.may_wait:  # with the GIL, and the lock
                self.check_open("sendto")
                self.stop_waiting()
            # Lifetime: the system copies both before it returns.
            sent = self._sendto(self._socket, message, len(message), 0, target, len(target))
            return self.home.kernel.last_error() if sent == SOCKET_ERROR else 0

    def send(self, *buffers: Buffer) -> Operation:
        """Send one datagram, made of all the buffers, to the peer of a connected socket.

        Lifetime: the buffers may not change until the completion has been dequeued.

        Raises ValueError without buffers or for too long a datagram, an `IocpError` if
        the system refuses (``WSAENOTCONN`` 10057).

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasend
        """
        self._check_length(sum(memoryview(buffer).nbytes for buffer in buffers))
        operation = self.send_operation(*buffers)
        operation.post()
        return operation

    def send_message(
        self,
        data: Data,
        address: Any = None,
        *,
        source: str | None = None,
        interface: int | None = None,
        ecn: int | None = None,
        segment_size: int | None = None,
        control: Sequence[ControlMessage] = (),
    ) -> SendMessageOperation:
        """Send a datagram with control data, or many datagrams in one call.

        data, address: as for `send_to`; address None on a connected socket.
        source: the address of this machine to send from. interface: the index of the
            interface to send out of.
        ecn: the congestion mark, 0 to 2 of `Ecn` (Windows 10 build 20348).
        segment_size: cut the data into datagrams of so many bytes, the last may be
            shorter; the completion counts all of them (Windows 10 2004).
        control: other control messages, as they are.

        Lifetime: the buffers may not change until the completion has been dequeued.

        Raises ValueError for an address that is not numeric, a mark or size out of range
        or data that is too long; an `IocpError` if the system refuses (``WSAEINVAL``
        10022: a control message that this system does not know, or that does not fit);
        FunctionUnavailableError where the provider has no WSASendMsg.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasendmsg
        """
        messages = [*control]
        if source is not None or interface is not None:
            messages.append(packet_info(self.family, source, interface))
        if ecn is not None:
            messages.append(congestion_mark(self.family, ecn))
        if segment_size is not None:
            messages.append(segmentation(segment_size))
        operation = SendMessageOperation(self, data, address, messages)
        self._check_length(operation.length if segment_size is None else segment_size)
        operation.post()
        return operation

    # The socket itself

    def connect(self, address: Any) -> None:
        """Send to this numeric address by default, and receive from it only.

        Nothing goes over the network, and nothing is waited for. It may be called again
        with another address. A socket that is not bound is bound.

        Raises ValueError for an address that is not numeric, an `IocpError`
        (``WSAENETUNREACH`` 10051, ``WSAEADDRNOTAVAIL`` 10049).

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-connect
        """
        target = destination(self.family, address)
        self.call("connect", ctypes.byref(target), ctypes.sizeof(target))

    def peer_address(self) -> Any:
        """Return the address that the socket is connected to.

        Raises an `IocpError` (``WSAENOTCONN`` 10057) if it is not.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-getpeername
        """
        return self._address("getpeername")

    def join(self, group: str, interface: str | int | None = None) -> None:
        """Receive what is sent to a multicast group.

        group: its address, such as "239.1.2.3" or "ff15::1234".
        interface: where to receive it: the index of an interface, or over IPv4 an address
            of it. None leaves the choice to the system.

        Raises ValueError for what is not a multicast address, an `IocpError` (``WSAEINVAL``
        10022, ``WSAEADDRNOTAVAIL`` 10049: no such interface; joined already).

        Source: https://learn.microsoft.com/windows/win32/winsock/ipproto-ip-socket-options
        """
        level, option = self._multicast(IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP)
        self.set_option(level, option, self._membership(group, interface))

    def leave(self, group: str, interface: str | int | None = None) -> None:
        """Stop receiving what is sent to a group: what `join` was given, once more.

        Raises what `join` raises; ``WSAEADDRNOTAVAIL`` 10049: it was not joined.

        Source: https://learn.microsoft.com/windows/win32/winsock/ipproto-ip-socket-options
        """
        level, option = self._multicast(IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP)
        self.set_option(level, option, self._membership(group, interface))

    def set_multicast_interface(self, interface: str | int | None) -> None:
        """Send to multicast groups out of this interface; None: the system's choice.

        interface: its index, or over IPv4 an address of it.

        Raises an `IocpError` (``WSAEADDRNOTAVAIL`` 10049: no such interface).

        Source: https://learn.microsoft.com/windows/win32/winsock/ipproto-ip-socket-options
        """
        level, option = self._multicast(IP_MULTICAST_IF, IPV6_MULTICAST_IF)
        self.set_option(level, option, interface_address(self.family, interface))

    def _multicast(self, option: int, option_of_ipv6: int) -> tuple[int, int]:
        if self.family == AF_INET6:
            return IPPROTO_IPV6, option_of_ipv6
        return IPPROTO_IP, option

    def _membership(self, group: str, interface: str | int | None) -> bytes:
        """Return an IP_MREQ or IPV6_MREQ, which have the same parts."""
        return group_address(self.family, group) + interface_address(self.family, interface)

    @property
    def bytes_max(self) -> int:
        """How many bytes a datagram carries: 65,507 over IPv4, 65,527 over IPv6."""
        return _BYTES_MAX[self.family]

    def _check_length(self, length: int) -> None:
        """Raise ValueError for more bytes than a datagram can have."""
        if length > _BYTES_MAX[self.family]:  # a look here spares two calls
            check_length(length, self.bytes_max)

    def _set_if_there(self, name: str, since: str, level: int, option: int, value: int) -> None:
        """Set an option that not every Windows has."""
        try:
            self.set_option(level, option, int(value))
        except IocpError as error:
            if error.winerror not in (WSAENOPROTOOPT, WSAEINVAL):
                raise
            raise FunctionUnavailableError(
                f"there is no {name} on this system: it came with {since}"
            ) from error


def _check_room(buffers: tuple[Any, ...], peek: bool) -> None:
    """Raise ValueError for a receive that would discard the datagram."""
    if not peek and not any(memoryview(buffer).nbytes for buffer in buffers):
        raise ValueError(
            "a receive without room destroys the datagram that it receives: give it a buffer,"
            " or peek=True to be told of a datagram that stays"
        )
