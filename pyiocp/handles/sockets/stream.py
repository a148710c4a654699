"""Stream: a connection-oriented socket on a completion port, TCP or AF_UNIX.

Every operation is posted by the method of its name and ends in one completion from
``CompletionPort.wait``. Until then the operation holds its buffers: a bytearray cannot be
resized, and must not be read or changed before the completion has come.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import TYPE_CHECKING, Any, ClassVar

from ...engine.operation import Operation
from ...engine.packet import PENDING
from ...errors import IocpError
from ...winapi import (
    ADDRESS_FAMILY,
    AF_UNIX,
    DWORD,
    IPPROTO_TCP,
    SD_BOTH,
    SD_RECEIVE,
    SD_SEND,
    SIO_KEEPALIVE_VALS,
    SO_LINGER,
    SOCKADDR,
    SOCKADDR_UN,
    SOCKET,
    SOL_SOCKET,
    TCP_NODELAY,
    TF_REUSE_SOCKET,
    XP1_IFS_HANDLES,
    FunctionUnavailableError,
    tcp_keepalive,
    wsabufs,
)
from ...winapi.errorcodes import WSAEINVAL
from ..association import socket_protocol
from .accept import FIRST_DATA_MAX, AcceptOperation
from .connect import ConnectOperation, DisconnectOperation, share_local_ports
from .destination import destination
from .hand_over import open_shared, share
from .socket_handle import SocketHandle, number_and_family, open_socket
from .transmit import FilePart, SendFileOperation, SendPacketsOperation

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ...engine.home import Home

_ROOM_AFTER_UNIX_ADDRESS = 512

_KEEP_ALIVE_MAX_S = 4_294_967
"""The most milliseconds that a ULONG holds, in seconds."""

_LINGER_0 = struct.pack("HH", 1, 0)
"""A LINGER of 0 seconds."""

_WILDCARD = {int(socket.AF_INET): ("", 0), int(socket.AF_INET6): ("::", 0)}


def _roomy(address: SOCKADDR) -> SOCKADDR:
    """Return the address, followed by spare memory.

    ConnectEx has been seen to write past the end of a SOCKADDR_UN
    (https://github.com/libuv/libuv/pull/4636).
    """
    if not isinstance(address, SOCKADDR_UN):
        return address
    memory = bytearray(address) + bytes(_ROOM_AFTER_UNIX_ADDRESS)
    return type(address).from_buffer(memory)


def has_ifs_handles(home: Home, number: int, family: int) -> bool:
    """Tell whether the family's stream sockets are real file handles; asked once for each port.

    Sockets of a layered provider may not be. With skip-on-success, which can be set on them,
    they lose packets, or get them twice.
    """
    answers = home.ifs_handles_by_family
    if family not in answers:
        protocol = socket_protocol(home.kernel, number)
        answers[family] = protocol is not None and bool(protocol.dwServiceFlags1 & XP1_IFS_HANDLES)
    return answers[family]


class Stream(SocketHandle):
    """A stream socket on a completion port: listening, connecting or connected.

    Made by ``CompletionPort.stream``. ``family`` is AF_INET or AF_INET6, or AF_UNIX where
    Windows has it (Windows 10 1803): then an address is the path of a file, which `bind`
    creates and the system does not delete; the peer's is empty if it has none.

    Thread safety: any thread may call any method. Two receives pending at once are
    filled in the order of their posting, but on several threads their completions may be
    seen in either order: keep one receive pending if the order of the bytes matters.
    """

    kind = "stream"
    may_skip: ClassVar[bool] = True
    """Whether skip-on-success is asked for."""
    operation_class: ClassVar[type[Operation]] = Operation
    """The class of a session's receives and sends."""
    takes_at_once: ClassVar[bool] = True
    """Whether a session may send with non-blocking calls, without an operation."""
    _keep_alive: tcp_keepalive | None = None
    """What `set_keep_alive` has set; most connections have none."""

    def __init__(
        self,
        home: Home,
        number: int,
        *,
        family: int,
        key: Any = None,
        local: Any = None,
        peer: Any = None,
    ) -> None:
        self._local = local
        self._peer = peer
        self._options: dict[tuple[int, int], int | bytes] | None = None
        self._disconnect: DisconnectOperation | None = None
        self._shared = False
        skips = self.may_skip and has_ifs_handles(home, number, family)
        super().__init__(home, number, family=family, key=key, skip_on_success=skips)

    @classmethod
    def open(cls, home: Home, family: int, key: Any) -> Stream:
        """Return the stream of a new socket; an `IocpError` if the system gives none."""
        number = open_socket(home.kernel, family, socket.SOCK_STREAM)
        return cls._of_own(home, number, family, key)

    @classmethod
    def of_socket(
        cls, home: Home, sock: socket.socket | int | None, family: int | None, key: Any
    ) -> Stream:
        """Return the stream of a caller's socket, or of a new one; see `CompletionPort.stream`."""
        if sock is None:
            return cls.open(home, socket.AF_INET if family is None else family, key)
        number, family = number_and_family(sock, socket.SOCK_STREAM, family)
        stream = cls(home, number, key=key, family=family)
        if isinstance(sock, socket.socket):
            stream.take_over(sock)
        return stream

    @classmethod
    def of_share(cls, home: Home, shared: Buffer, key: Any) -> Stream:
        """Return the stream of a socket that another process has shared; the pass is copied."""
        number, family = open_shared(home.kernel, shared)
        return cls._of_own(home, number, family, key)

    @classmethod
    def _of_own(cls, home: Home, number: int, family: int, key: Any) -> Stream:
        """Return the stream of a new socket, which is closed if that fails."""
        try:
            return cls(home, number, family=family, key=key)
        except BaseException:
            home.kernel.closesocket(number)
            raise

    # Operations

    def receive(self, *buffers: Buffer, peek: bool = False) -> Operation:
        """Receive into one or several writable buffers, which are filled in order.

        A completion with 0 bytes means that the peer has shut down its sending side,
        unless the buffers are empty: then it means that there is something to receive,
        while nothing was locked in memory meanwhile (without buffers, that is what this
        does). peek: leave the bytes in the socket, to be received again.

        Lifetime: the buffers are the kernel's until the completion has been dequeued;
        a bytearray cannot be resized until then.

        Raises an `IocpError` if the system refuses (``WSAENOTCONN`` 10057,
        ``WSAENOBUFS`` 10055 when too many pages are locked), TypeError for a read-only
        buffer. Completes with `PeerResetError`, `ConnectionLostError`,
        `OperationCancelledError` and so on.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv
        """
        operation = self.receive_operation(*buffers, peek=peek)
        operation.post()
        return operation

    def send(self, *buffers: Buffer) -> Operation:
        """Send one or several buffers, one after the other, in one system call.

        Completes when the system has taken all the bytes, which says nothing about
        whether the peer has them.

        Lifetime: the buffers may not change until the completion has been dequeued.

        Raises an `IocpError` if the system refuses (``WSAENOTCONN`` 10057,
        ``WSAESHUTDOWN`` 10058, ``WSAECONNRESET`` 10054, ``WSAENOBUFS`` 10055), ValueError
        without buffers. Completes with `PeerResetError`, `ConnectionLostError` and so on.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasend
        """
        operation = self.send_operation(*buffers)
        operation.post()
        return operation

    def accept(self, receive: int = 0, *, into: Stream | None = None) -> AcceptOperation:
        """Accept one connection on this listening stream.

        The stream of the connection is the operation's ``accepted`` when the completion
        says success. receive: how many bytes of first data to wait for, at most; with
        more than 0 the accept completes when the client has sent something, so that a
        client that sends nothing keeps it pending for ever: look at the operation's
        ``connected_seconds()``, and cancel when they are too many.

        into: a stream of the same family to take the connection, instead of a new one:
            one whose ``disconnect(reuse=True)`` has completed, or that was never used. It
            is ``accepted`` then, and stays open if the accept fails.

        Completes with `PeerResetError` or `NetworkTimeoutError` if the client went away
        before: that is the end of that client, not of the listening stream.

        Raises an `IocpError` if the system refuses (``WSAEINVAL`` 10022: the stream does
        not listen, or `into` is in use; ``WSAEMFILE`` 10024: no more sockets), ValueError
        for a bad `receive` or another family, RuntimeError while `into` disconnects.

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex
        """
        if not 0 <= receive <= FIRST_DATA_MAX:
            raise ValueError(f"receive must be between 0 and {FIRST_DATA_MAX}, not {receive}")
        if into is not None and into.family != self.family:
            raise ValueError(f"{into!r} is of another address family than {self!r}")
        operation = AcceptOperation(self, receive, into)
        operation.post()
        return operation

    def accept_operation(self, receive: int = 0) -> AcceptOperation:
        """Return an accept that has not been posted yet, to be posted again and again."""
        return AcceptOperation(self, receive)

    def connect(self, address: Any, data: Buffer = b"") -> ConnectOperation:
        """Connect to a numeric address; a stream that is not bound is bound by itself.

        address: as for `bind`; the one of every interface, ``"0.0.0.0"`` or ``"::"``, is this
            machine.
        data: sent with the connect, as soon as it is established; the completion's
        ``bytes`` says how much of it went.

        Completes with `ConnectRefusedError`, `NetworkTimeoutError`, `UnreachableError`
        and so on; the stream can then be closed, not connected again.

        Lifetime: `data` may not change until the completion has been dequeued.

        Raises ValueError for an address that is not numeric, RuntimeError while a
        ``disconnect(reuse=True)`` is pending, an `IocpError` if the system refuses
        (``WSAEISCONN`` 10056; ``WSAENOBUFS`` 10055: no local port is left).

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_connectex
        """
        operation = self.connect_operation(address, data)
        operation.post()
        return operation

    def connect_operation(self, address: Any, data: Buffer = b"") -> ConnectOperation:
        """Return a connect that has not been posted yet; the stream is bound."""
        target = _roomy(destination(self.family, address))
        self.check_reusable("connect")
        self._bind_for_connect()
        operation = ConnectOperation(self)
        operation.buffers = (data,)
        # Lifetime: ConnectEx takes a bare address; the array exports the data there.
        operation.exported = array = wsabufs(data, read_only=True)
        operation._calls(
            "ConnectEx",
            self.extension(self.home.kernel.ConnectEx),
            0,
            SOCKET(self.number),
            ctypes.byref(target),
            ctypes.c_int(ctypes.sizeof(type(target))),
            ctypes.c_void_p(array[0].buf),
            DWORD(array[0].len),
            None,
            ctypes.byref(operation.overlapped),
        )
        return operation

    def send_file(
        self,
        file: Any,
        offset: int = 0,
        count: int | None = None,
        *,
        head: Buffer = b"",
        tail: Buffer = b"",
    ) -> SendFileOperation:
        """Send a file, or a part of it, without bringing it into this process.

        file: a Python file object, opened in binary mode (what has been written to it
            and not flushed is not sent); a `File`; or the number of a Win32 handle.
        offset, count: where to begin, and how many bytes; None is all that follow. What
            would be past the end of the file is left out: `count` may be too large.
        head, tail: sent before and after it.

        There is one completion, whose ``bytes`` counts everything that was sent; over
        2,147,483,646 bytes, it takes several calls of the system's. Send nothing else
        meanwhile: it may come in between. The position of the file does not move.

        Lifetime: head and tail may not change, and the file stay open, until the
        completion has been dequeued.

        Completes as a send does, and with an `IocpError` (``ERROR_HANDLE_EOF`` 38: the
        file has become shorter meanwhile).

        Raises an `IocpError` if the system refuses (``WSAENOTCONN`` 10057,
        ``WSAENOTSOCK`` 10038), TypeError for what is no file, ValueError for a closed
        file, a text file and numbers out of range.

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-transmitfile
        """
        operation = SendFileOperation(self, FilePart(file, offset, count), head, tail)
        operation.post()
        return operation

    def send_packets(self, *pieces: Buffer | FilePart) -> SendPacketsOperation:
        """Send buffers and parts of files, one after the other, in one system call.

        pieces: buffers and `FilePart` values, 2,147,483,646 bytes together at most.

        Lifetime: the buffers may not change, and the files stay open, until the
        completion has been dequeued.

        Raises what `send_file` raises, ValueError without a byte to send, and
        FunctionUnavailableError where the socket's provider has no TransmitPackets.

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_transmitpackets
        """
        operation = SendPacketsOperation(self, pieces)
        operation.post()
        return operation

    def disconnect(self, *, reuse: bool = False) -> Operation:
        """Shut the connection down, and with `reuse` make the socket fit for another.

        The stream may be connected again, or accepted into, only after the completion has
        come without error; the options that `set_option` had set are then set again. That
        may take as long as TCP keeps the pair of addresses, up to 4 minutes on the side
        that closes first.

        Raises an `IocpError` if the system refuses (``WSAENOTCONN`` 10057).

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_disconnectex
        """
        operation = DisconnectOperation(self, self.disconnected if reuse else None)
        operation._calls(
            "DisconnectEx",
            self.extension(self.home.kernel.DisconnectEx),
            0,
            SOCKET(self.number),
            ctypes.byref(operation.overlapped),
            DWORD(TF_REUSE_SOCKET if reuse else 0),
            DWORD(0),
        )
        if reuse:
            self._disconnect = operation
        operation.post()
        return operation

    # The socket itself

    def set_option(self, level: int, option: int, value: int | Buffer) -> None:
        """Set a socket option to an integer or to the bytes of a structure.

        value: an integer of 32 bits, or a buffer. It is set again if the socket is used for
            another connection.

        Raises an `IocpError` (``WSAENOPROTOOPT`` 10042, ``WSAEINVAL`` 10022), ValueError for
        a larger integer, TypeError for what is neither.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-setsockopt
        """
        super().set_option(level, option, value)
        if self._options is None:
            self._options = {}
        self._options[level, option] = value if isinstance(value, int) else bytes(value)

    def set_no_delay(self, on: bool = True) -> None:
        """Send small messages at once (``TCP_NODELAY``), or let Nagle's algorithm collect them.

        By default TCP holds a small message back while an earlier one is not acknowledged.

        Raises an `IocpError` if the system refuses (``WSAENOPROTOOPT`` 10042: not TCP).

        Source: https://learn.microsoft.com/windows/win32/winsock/ipproto-tcp-socket-options
        """
        self.set_option(IPPROTO_TCP, TCP_NODELAY, int(bool(on)))

    def set_keep_alive(self, idle: float | None, interval: float = 1.0) -> None:
        """Have the system ask a silent peer whether it is there, and reset if it does not answer.

        A peer whose machine or network has gone is noticed that way, also when nothing is
        sent. After 10 probes without an answer operations end in a `PeerResetError`.

        idle: seconds without anything from the peer after which the first probe goes out;
            None: never, as it is on a new socket.
        interval: seconds between two probes that nobody answers.

        Both are more than 0 and at most 4,294,967, to a millisecond; some systems round them
        to seconds. It is set again if the socket is used for another connection.

        This is SIO_KEEPALIVE_VALS, which every Windows has. The number of probes is an option
        since Windows 10 1703: ``set_option(IPPROTO_TCP, TCP_KEEPCNT, n)``.

        Raises ValueError for times out of range, an `IocpError` if the system refuses
        (``WSAEOPNOTSUPP`` 10045: not TCP).

        Source: https://learn.microsoft.com/windows/win32/winsock/sio-keepalive-vals
        """
        times_ms = []
        for name, seconds in (("idle", 1.0 if idle is None else idle), ("interval", interval)):
            if not 0 < seconds <= _KEEP_ALIVE_MAX_S:
                most = f"at most {_KEEP_ALIVE_MAX_S} seconds"
                raise ValueError(f"{name} must be more than 0 and {most}, not {seconds}")
            times_ms.append(max(1, round(seconds * 1000)))
        values = tcp_keepalive(int(idle is not None), *times_ms)
        self.control(SIO_KEEPALIVE_VALS, values)
        self._keep_alive = values

    def share(self, process_id: int) -> bytes:
        """Hand the connection over to another process; return what that needs to open it.

        process_id: the other process, which is running. It takes the bytes, once, with
            ``CompletionPort.stream_from_share``, or Python's ``socket.fromshare``.

        The stream leaves the port and takes no more operations. Keep it open until the
        other process has opened its own, then ``close()`` it, which does not end the
        connection: that lives until the last of them is closed.

        Raises RuntimeError while operations are in flight, `HandleClosedError` if it is
        closed or shared already, an `IocpError` (``WSAEINVAL`` 10022: no such process).
        FunctionUnavailableError where a socket cannot leave its port, before Windows 8.1:
        there, share a Python socket that never was on one. Then the stream is as before.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw
        """
        with self.lock:
            self.check_open("share")
            self.check_idle("shared")
            self._restore()
            if not self._leave_port():
                raise FunctionUnavailableError(
                    "this system cannot take a socket off its port, which came with Windows 8.1:"
                    " another process could not put it on its own"
                )
            try:
                # Last: the pass is a handle in the other process, which would not be closed.
                shared = share(self.home.kernel, self.number, process_id, self)
            except BaseException:
                self._associate()
                raise
            # Lifetime: the port keeps the stream until either of them is closed.
            self.closed = self._shared = True
            self.associated = False
        return shared

    def close(self) -> None:
        """Close the stream; see `Handle.close`. A shared one lives on in the other process."""
        if not self._shared:
            super().close()
            return
        with self.lock:
            shared, self._shared = self._shared, False
            if shared:
                self._close_number()
        self.home.handles.discard(self)

    def disconnected(self) -> None:
        """Be as a new socket, but for the options; called when a disconnect has ended."""
        self._local = self._peer = None
        for (level, option), value in (self._options or {}).items():
            super().set_option(level, option, value)
        if self._keep_alive is not None:
            self.control(SIO_KEEPALIVE_VALS, self._keep_alive)

    def reset_on_close(self) -> None:
        """Have `close` reset the connection, so that nothing of it lingers here.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-linger
        """
        self.set_option(SOL_SOCKET, SO_LINGER, _LINGER_0)

    def connected_between(self, local: Any, peer: Any) -> None:
        """Note the addresses of the connection that was accepted into this stream."""
        self._local, self._peer = local, peer

    def check_reusable(self, wanted: str) -> None:
        """Raise RuntimeError while a disconnect with reuse is pending."""
        self.check_open(wanted)
        if self._disconnect is not None and self._disconnect.state is PENDING:
            raise RuntimeError(
                f"{self!r} is still disconnecting: it takes no {wanted} before the completion"
            )

    def listen(self, backlog: int = 0x7FFFFFFF) -> None:
        """Listen; `backlog` connections may wait to be accepted, by default what fits.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-listen
        """
        self.call("listen", backlog)

    def shutdown(self, how: int = SD_BOTH) -> None:
        """Shut down sending (SD_SEND: the peer sees the end), receiving, or both.

        Raises an `IocpError` if the system refuses (``WSAENOTCONN`` 10057), ValueError for
        a `how` that is none of the three.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-shutdown
        """
        if how not in (SD_RECEIVE, SD_SEND, SD_BOTH):
            raise ValueError(f"how must be SD_RECEIVE, SD_SEND or SD_BOTH, not {how!r}")
        self.call("shutdown", how)

    def peer_address(self) -> Any:
        """Return the peer's address; an `IocpError` (``WSAENOTCONN``) if there is none."""
        if self._peer is None:
            self._peer = self._address("getpeername")
        return self._peer

    def local_address(self) -> Any:
        """Return this side's address; of an accepted stream without asking the system."""
        return super().local_address() if self._local is None else self._local

    def sibling(self, number: int, local: Any, peer: Any) -> Stream:
        """Return the stream of a socket that this listening stream has accepted."""
        return Stream(self.home, number, family=self.family, local=local, peer=peer)

    def _bind_for_connect(self) -> None:
        """Bind to any address if not bound yet, which ConnectEx, unlike connect, requires."""
        if self.family != AF_UNIX:
            share_local_ports(self)
        try:
            if self.family == AF_UNIX:
                # Without a path, so that no file is left: the family alone, as compio and gRPC do.
                nameless = SOCKADDR(sa_family=AF_UNIX)
                self.call("bind", ctypes.byref(nameless), ctypes.sizeof(ADDRESS_FAMILY))
            else:
                self.bind(_WILDCARD[self.family])
        except IocpError as error:
            if error.winerror != WSAEINVAL:  # which means: already bound
                raise
