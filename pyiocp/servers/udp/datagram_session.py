"""DatagramSession: what one peer of a datagram socket sends and receives, as hooks and methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..socket_options import configured
from ..transport import NoConnection, show_session

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..session_state import SessionState
    from ..transport import DatagramTransport
    from .datagram_statistics import DatagramSessionStatistics


class DatagramSession:
    """One peer address. Subclass it and override the hooks; the defaults do nothing.

    It is used like a `Session`, but its messages arrive whole or not at all, perhaps twice or in
    another order. And since datagrams have no end of the stream, it ends when the peer has been
    silent for `idle_timeout`.

    All names but those below are yours, ``__init__`` included, which need not call this one.

    Hooks run on the port's workers, one at a time for each session. What a hook raises is
    logged and ends that session only.

    The class attributes are settings: override them in the subclass, or on the instance
    before it is connected.
    """

    idle_timeout: float | None = 60.0
    """Seconds without a datagram from the peer after which the session ends. None: never.

    Sending does not count: datagrams also go out to a peer that is long gone.
    """

    receive_limit = 64
    """Datagrams that may wait while a hook is busy; what comes beyond that is dropped."""

    send_limit = 1 << 18
    """Bytes that may wait to be taken by the system; what is beyond that `send` drops."""

    data: Any = None
    """Free for the user."""

    # What a subclass overrides

    def on_connect(self) -> None:
        """The session begins: on a server, a peer has sent its first datagram.

        That one comes next, by ``on_receive``.
        """

    def on_receive(self, data: memoryview) -> None:
        """A datagram came, as the peer sent it; it may be empty.

        data: a read-only view of a copy, which you may keep.
        """

    def on_truncated(self, data: memoryview) -> None:
        """A datagram came that is longer than the server's ``datagram_size``.

        data: what of it fitted, as in ``on_receive``; the rest is lost.
        """

    def on_close(self, error: OSError | None) -> None:
        """The session has ended; exactly once, the last hook of all.

        error: why, or None after `close`.
        """

    # What a user calls

    def send(self, data: Buffer) -> bool:
        """Send one datagram; returns at once.

        data: any buffer, up to 65,507 bytes over IPv4, 65,527 over IPv6. ``bytes`` are taken
            as they are, everything else is copied, so that the caller may use it again.

        Returns True if it is on its way, which does not mean that it arrives. False if it was
        dropped: more than `send_limit` bytes wait, the server has as many sends under way
        as it may, the system has refused it, or the session is closing or closed. Dropped
        ones are counted in `statistics`. Any thread may call it; the datagrams of a session
        leave in the order of the calls.

        Raises RuntimeError before ``on_connect``, TypeError for anything but a buffer, ValueError
        for more bytes than a datagram carries.
        """
        return self._pyiocp.send(data)

    def close(self) -> None:
        """End the session, once what waits has been sent. The peer is told nothing.

        What comes from the peer before ``on_close`` is dropped; what comes later begins a new
        session, if the server admits it. Closing twice does nothing; a session that is
        not connected yet is aborted. Any thread may call it.
        """
        self._pyiocp.close()

    def abort(self) -> None:
        """End the session at once, with a `ConnectionLostError`. Any thread may call it."""
        self._pyiocp.abort()

    def check_length(self, count: int) -> None:
        """Raise ValueError if that many bytes are more than one datagram carries."""
        self._pyiocp.check_length(count)

    def set_buffer_sizes(self, *, receive: int | None = None, send: int | None = None) -> bool:
        """Set how many bytes the system keeps for the socket; None leaves it as it is.

        All sessions of a server share its socket.

        receive: what came and has not been received yet (``SO_RCVBUF``); a datagram that finds
            no room is lost.
        send: what has been sent and is not on its way yet (``SO_SNDBUF``).

        Each is 0 to 2,147,483,647. Returns True, or False if the session has no socket any
        more. Any thread may call it.

        Raises RuntimeError before ``on_connect``, ValueError for a size out of range, an
        `IocpError` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options
        """
        return configured(
            self._pyiocp, lambda datagram: datagram.set_buffer_sizes(receive=receive, send=send)
        )

    def set_option(self, level: int, option: int, value: int | Buffer) -> bool:
        """Set any socket option to an integer of 32 bits or to the bytes of a structure.

        All sessions of a server share its socket.

        level, option: such as ``IPPROTO_IP, IP_TTL``; ``pyiocp.winapi`` has the numbers.

        Returns True, or False if the session has no socket any more. Any thread may call it.

        Raises RuntimeError before ``on_connect``, ValueError for a larger integer, TypeError
        for a value that is neither, an `IocpError` if the system refuses (``WSAENOPROTOOPT``
        10042: it does not have that option).

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-setsockopt
        """
        return configured(self._pyiocp, lambda datagram: datagram.set_option(level, option, value))

    def get_option(self, level: int, option: int) -> int:
        """Return a socket option that is an integer. Any thread may call it.

        Raises RuntimeError before ``on_connect``, `HandleClosedError` if the session has no
        socket any more, an `IocpError` as `set_option`.

        Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-getsockopt
        """
        return self._pyiocp.socket.get_option(level, option)

    def get_option_bytes(self, level: int, option: int, size: int) -> bytes:
        """Return a socket option that is a structure, as its bytes. Any thread may call it.

        size: how many bytes there is room for, 1 to 65,536; fewer may come.

        Raises what `get_option` raises, and ValueError for a bad `size`.

        Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-getsockopt
        """
        return self._pyiocp.socket.get_option_bytes(level, option, size)

    @property
    def peer_address(self) -> Any:
        """The peer's address; None while a name is being looked up."""
        return self._pyiocp.peer_address

    @property
    def local_address(self) -> Any:
        """The address of the socket, or None before ``on_connect``."""
        return self._pyiocp.local_address

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self._pyiocp.state

    @property
    def send_queue_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""
        return self._pyiocp.queued_bytes

    def statistics(self) -> DatagramSessionStatistics:
        """Return what the session has received and sent so far. Any thread may call it."""
        return self._pyiocp.statistics()

    def __repr__(self) -> str:
        return show_session(self, self._pyiocp)

    _pyiocp: DatagramTransport = NoConnection("port.serve_datagrams() and port.connect_datagram()")
    """What is below the session, set before the first hook; the one name that is ours."""
