"""Session: one connection of a server or a client, as hooks and methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..socket_options import configured
from ..transport import NoConnection, show_session

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Buffer

    from ..session_state import SessionState
    from ..tls.tls import TlsInfo
    from ..transport import Transport
    from .session_statistics import SessionStatistics


class Session:
    """One connection. Subclass it and override the hooks; the defaults do nothing.

    All names but those below are yours, ``__init__`` included, which need not call this one.

    Hooks run on the port's workers, one at a time for each session. What a hook raises is
    logged and aborts that session only. A hook that takes long holds up its own session,
    and as many others as there are no further workers for.

    The class attributes are settings: override them in the subclass, or on the instance
    before it is connected.
    """

    receive_size = 65536
    """Bytes that one receive may bring, and the size of its buffer."""

    zero_byte_after: float | None = None
    """Seconds of silence after which the session waits without a buffer.

    With 0 it always does, with None never. An idle session then has no memory locked by the
    kernel, and takes less than 4 KB; each ``on_receive`` costs one more system call.
    """

    high_water = 1 << 20
    """Bytes waiting to be sent from which `send` says False, and a server receives nothing."""

    low_water = 1 << 18
    """Bytes waiting to be sent at which ``on_writable`` is called after that, and it receives."""

    receive_when_full: bool | None = None
    """Whether it goes on receiving while `high_water` bytes, or two files, wait to be sent.

    With None a session of a listener does not: a peer that sends requests and takes no answer costs
    no more memory than that. One of ``connect`` does: if both waited for each other, neither would
    go on. Set it to True where what comes has nothing to do with what is sent, or where the peer
    sends all before it reads anything.
    """

    stall_timeout: float | None = 30.0
    """Seconds after which it is aborted if it receives nothing for that reason, and the peer takes
    nothing either: `SendStalledError`. None for no limit. Two peers that both wait for the other
    to read end that way."""

    receive_when_stalled = False
    """Whether it receives again after `stall_timeout`, instead of being aborted."""

    send_limit = 1 << 26
    """Bytes waiting to be sent over which the session is aborted: its peer does not read.

    One message that is larger is taken if nothing else waits.
    """

    close_timeout = 5.0
    """Seconds that ``close`` waits for the peer: without it taking anything of what is left,
    and after that for its end. A transfer that goes on is not cut; but see `close_rate`.
    What the system has taken by then it goes on delivering."""

    close_rate = 240.0
    """Bytes a second that the peer has to take on average while the session closes, after five
    seconds; with less it is aborted. 0 for no such rule.

    The system tells what has been taken in pieces, of 4 KB for slow peers and up to 256 KB for
    fast ones. One that is under way may take a second more for each 16 KB.
    """

    idle_timeout: float | None = None
    """Seconds without a byte received, or taken by the system, after which it is aborted.

    A session that is paused is not idle, unless something waits to be sent. While it receives
    nothing because too much waits, `stall_timeout` counts instead.
    """

    data: Any = None
    """Free for the user."""

    # What a subclass overrides

    def on_connect(self) -> None:
        """The session is connected; nothing has been received yet."""

    def on_receive(self, data: memoryview) -> None:
        """Bytes came, at least one, in the order in which the peer sent them.

        data: a view of the session's own buffer, valid during this call only: take
            ``bytes(data)`` of what you want to keep. ``send(data)`` is fine.
        """

    def on_eof(self) -> None:
        """The peer will send no more. By default the session closes as well."""
        self.close()

    def on_tls(self) -> None:
        """The handshake that `start_tls` began is over: `tls` has its result."""

    def on_writable(self) -> None:
        """After `send` said False: the bytes waiting are down to `low_water`."""

    def on_close(self, error: OSError | None) -> None:
        """The session has ended; exactly once, the last hook of all.

        error: why, or None if both sides closed in order. For a session that could not be
            connected it comes without an ``on_connect`` before it.
        """

    # What a user calls

    def send(self, data: Buffer) -> bool:
        """Send bytes, after all that was sent before; returns at once.

        data: any buffer. ``bytes`` are taken as they are, everything else is copied, so
            that the caller may use it again at once.

        Returns True while fewer than `high_water` bytes wait to be sent. False says: wait
        for ``on_writable`` before sending more (the data was taken), or that the session
        is closing or closed (then it was not, and ``on_close`` tells why).

        Over `send_limit` the session is aborted with a `SendQueueOverflowError`. Any
        thread may call it; the bytes of two calls never mix.

        Raises RuntimeError before ``on_connect``, TypeError for anything but a buffer.
        """
        return self._pyiocp.sends.send(data)

    def send_file(
        self, file: Any, offset: int = 0, count: int | None = None, *, close: bool = False
    ) -> bool:
        """Send a file, or a part of it, after all that was sent before; returns at once.

        The bytes go from the system's cache to the network, and never into this process. With
        TLS they are read, through the port, and encrypted here, in small blocks.

        file: a file object opened in binary mode, a `File`, or the number of a Win32
            handle. It must stay open until it has been sent.
        offset, count: where to begin, and how many bytes; None is all that follow. What
            would be past the end of the file is left out.
        close: close the file when it has been sent, or will not be, because the session
            has ended or did not take it.

        Returns what `send` returns, and False also from the second file that waits: then
        ``on_writable`` comes when one is left. A file's bytes do not count as bytes that
        wait. Any thread may call it. If the file cannot be read the session is aborted, with the
        system's error.

        Raises RuntimeError before ``on_connect``, TypeError for anything but a file,
        ValueError for a closed file, a text file and numbers out of range.

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-transmitfile
        and, with TLS, https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-reopenfile
        """
        return self._pyiocp.sends.send_file(file, offset, count, close)

    def close(self) -> None:
        """Close in order: send what waits, tell the peer, and wait for the peer's end.

        What the peer still sends is dropped. When the peer takes nothing of what waits for
        `close_timeout` seconds, or does not close within as many after all of it, the session
        is aborted. Closing twice does nothing; a session that is not connected yet is
        aborted. Any thread may call it.
        """
        self._pyiocp.close()

    def send_eof(self) -> None:
        """Send what waits and then the end, and go on receiving.

        The peer sees the end of the stream. Nothing more can be sent: `send` says False.
        The session closes when the peer has ended its side too (see ``on_eof``), or with
        `close`. Any thread may call it; twice does nothing.

        Raises RuntimeError before ``on_connect``.
        """
        self._pyiocp.send_eof()

    def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        handshake_timeout: float = 30.0,
    ) -> None:
        """Go over to TLS on a connection that began without it, as STARTTLS of SMTP and IMAP does.

        Call it in the hook that was told to, after sending the answer that says so. What comes
        from then on is TLS, and what is sent waits for the end of the handshake, which
        ``on_tls`` tells. A handshake that fails ends the session with a `TlsHandshakeError`.

        What came behind the peer's request without being encrypted may be a stranger's. A
        `FramedSession` ends with a `TlsError` then; in ``on_receive`` look at that yourself:
        nothing may follow the request in ``data``.

        context, handshake_timeout: as for ``listen`` and ``connect``.
        server_side: whether this side is the server of TLS.
        server_hostname: for the client, the name that the server's certificate must have.

        Any thread may call it. Raises RuntimeError before ``on_connect``, after ``close``, and
        over TLS; TypeError and ValueError for a context that does not fit, or lacks a name.

        Source: https://www.rfc-editor.org/rfc/rfc3207
        """
        self._pyiocp.start_tls(context, server_side, server_hostname, handshake_timeout)

    def abort(self) -> None:
        """Reset the connection: drop what waits, and close at once. Any thread may call it."""
        self._pyiocp.abort()

    def pause_receiving(self) -> None:
        """Post no further receive; what is under way may still bring one ``on_receive``."""
        self._pyiocp.pause()

    def resume_receiving(self) -> None:
        """Receive again. Any thread may call it."""
        self._pyiocp.resume()

    def set_no_delay(self, on: bool = True) -> bool:
        """Send small messages at once (``TCP_NODELAY``), or let Nagle's algorithm collect them.

        ``listen`` and ``connect`` turn it on by default.

        Returns True, or False if the session has no socket any more. Any thread may call it.

        Raises RuntimeError before ``on_connect``, an `IocpError` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/winsock/ipproto-tcp-socket-options
        """
        return configured(self._pyiocp, lambda stream: stream.set_no_delay(on))

    def set_keep_alive(self, idle: float | None, interval: float = 1.0) -> bool:
        """Have the system ask a silent peer whether it is there, and reset if it does not answer.

        That finds peers whose machine or network has gone, also those that may be silent for
        as long as they like. After 10 probes without an answer ``on_close`` gets an error.

        idle: seconds without anything from the peer after which the first probe goes out;
            None: never, which is the default.
        interval: seconds between two probes that nobody answers.

        Both are more than 0 and at most 4,294,967; some systems round them to seconds.

        Returns True, or False if the session has no socket any more. Any thread may call it.

        Raises RuntimeError before ``on_connect``, ValueError for times out of range, an
        `IocpError` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/winsock/sio-keepalive-vals
        """
        return configured(self._pyiocp, lambda stream: stream.set_keep_alive(idle, interval))

    def set_buffer_sizes(self, *, receive: int | None = None, send: int | None = None) -> bool:
        """Set how many bytes the system keeps for the socket; None leaves it as it is.

        receive: what came and has not been received yet (``SO_RCVBUF``). Windows adapts it to
            the connection by itself, until it is set.
        send: what has been sent and is not acknowledged (``SO_SNDBUF``).

        Each is 0 to 2,147,483,647. Returns True, or False if the session has no socket any
        more. Any thread may call it.

        Raises RuntimeError before ``on_connect``, ValueError for a size out of range, an
        `IocpError` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options
        """
        return configured(
            self._pyiocp, lambda stream: stream.set_buffer_sizes(receive=receive, send=send)
        )

    def set_option(self, level: int, option: int, value: int | Buffer) -> bool:
        """Set any socket option to an integer of 32 bits or to the bytes of a structure.

        level, option: such as ``IPPROTO_TCP, TCP_KEEPCNT``; ``pyiocp.winapi`` has the numbers.

        Returns True, or False if the session has no socket any more. Any thread may call it.

        Raises RuntimeError before ``on_connect``, ValueError for a larger integer, TypeError
        for a value that is neither, an `IocpError` if the system refuses (``WSAENOPROTOOPT``
        10042: it does not have that option).

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-setsockopt
        """
        return configured(self._pyiocp, lambda stream: stream.set_option(level, option, value))

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
        """The peer's address, known since the connect began; None before that."""
        return self._pyiocp.peer_address

    @property
    def local_address(self) -> Any:
        """This side's address, or None before it is connected."""
        return self._pyiocp.local_address

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self._pyiocp.state

    @property
    def send_queue_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""
        return self._pyiocp.queued_bytes

    def statistics(self) -> SessionStatistics:
        """Return what the session has received and sent so far. Any thread may call it."""
        return self._pyiocp.statistics()

    @property
    def tls(self) -> TlsInfo | None:
        """The result of the TLS handshake; None without TLS, or before it is over."""
        return self._pyiocp.tls

    def __repr__(self) -> str:
        return show_session(self, self._pyiocp)

    _pyiocp: Transport = NoConnection("port.listen() and port.connect()")
    """What is below the session, set before the first hook; the one name that is ours."""
