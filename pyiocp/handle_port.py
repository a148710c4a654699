"""HandlePort: a completion queue, and the ways into every kind of handle on it.

What belongs here: which kinds there are, and which of them the caller's arguments mean.
What a kind does stands with it, in `handles`; sessions are not known here.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from .errors import PortClosedError
from .handles.datagram import Datagram
from .handles.file import File
from .handles.stream import Stream
from .memory_port import MemoryPort
from .waitable_port import WaitablePort

if TYPE_CHECKING:
    from typing_extensions import Buffer


class HandlePort(MemoryPort, WaitablePort):
    """Ring 2: handles of every kind and their operations; users make a `CompletionPort`."""

    def stream(
        self, sock: socket.socket | int | None = None, *, key: Any = None, family: int | None = None
    ) -> Stream:
        """Associate a stream socket with the port and return its `Stream`.

        sock: a TCP socket of Python's, or the number of one, which belongs to the stream
            from then on: a Python socket is detached. None makes a new one.
        key: any object; it comes back with every completion.
        family: AF_INET or AF_INET6; needed for a number that is not IPv4, or a new one.

        Raises TypeError or ValueError for what is no stream socket, and an `IocpError`
        (``ERROR_INVALID_PARAMETER`` 87: it is on a port already, or is not overlapped);
        the socket is then still the caller's. `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/fileio/createiocompletionport
        """
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it takes no stream")
        if sock is None:
            return Stream.open(self, socket.AF_INET if family is None else family, key)
        number, family = _number_and_family(sock, socket.SOCK_STREAM, family)
        stream = Stream(self, number, key=key, family=family)
        if isinstance(sock, socket.socket):
            sock.detach()
        return stream

    def file(
        self,
        path: str | bytes | os.PathLike[Any],
        mode: str = "r",
        *,
        key: Any = None,
        share: str = "rw",
        sequential: bool = False,
        random: bool = False,
        write_through: bool = False,
        unbuffered: bool = False,
    ) -> File:
        """Open or create a file and return its `File` on the port.

        path: as for Python's ``open``. mode: ``"r"`` to read, ``"w"`` to write a new or
            emptied file, ``"x"`` a new one, ``"a"`` to append; with ``+`` to read and write.
        key: any object; it comes back with every completion.
        share: what other handles may do meanwhile: ``r`` read, ``w`` write, ``d`` delete
            and rename; ``""`` excludes them all.
        sequential, random: how it will be read: the system's cache reads ahead or does not.
        write_through: a write completes when the disk has it.
        unbuffered: leave out the system's cache. Offsets, lengths and addresses of buffers
            must then be multiples of the file's ``sector_size``.

        Raises `PathNotFoundError` (FileNotFoundError), `PathExistsError` (FileExistsError),
        `AccessDeniedError` and `SharingViolationError` (PermissionError) or another
        `IocpError`, each with ``filename``; ValueError for bad letters or flags that exclude
        each other; `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
        """
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it takes no file")
        return File.open(
            self,
            path,
            mode,
            key=key,
            share=share,
            sequential=sequential,
            random=random,
            write_through=write_through,
            unbuffered=unbuffered,
        )

    def stream_from_share(self, shared: Buffer, *, key: Any = None) -> Stream:
        """Return the stream of a connection that another process has handed over.

        shared: the bytes from ``stream.share`` there, or from Python's ``socket.share`` of
            a socket that was on no port. They are good once, in this process.
        key: any object; it comes back with every completion.

        Raises ValueError for what is no share of a stream socket, an `IocpError`
        (``WSAEINVAL`` 10022: used up, or for another process), `AlreadyAssociatedError`
        for a socket that is on a port over there. `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw
        """
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it takes no stream")
        return Stream.of_share(self, shared, key)

    def datagram(
        self,
        sock: socket.socket | int | None = None,
        *,
        key: Any = None,
        family: int | None = None,
        report_unreachable: bool = False,
    ) -> Datagram:
        """Associate a datagram socket with the port and return its `Datagram`.

        sock: a UDP socket of Python's, or the number of one, which belongs to the handle
            from then on: a Python socket is detached. None makes a new one.
        key: any object; it comes back with every completion.
        family: AF_INET or AF_INET6; needed for a number that is not IPv4, or a new one.
        report_unreachable: have receives fail with `PeerResetError` after a datagram sent
            from this socket met a closed port; by default nothing tells of it.

        Raises TypeError or ValueError for what is no datagram socket, and an `IocpError`
        (``ERROR_INVALID_PARAMETER`` 87: it is on a port already, or is not overlapped);
        the socket is then still the caller's. `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/fileio/createiocompletionport
        """
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it takes no datagram socket")
        if sock is None:
            family = socket.AF_INET if family is None else family
            return Datagram.open(self, family, key, report_unreachable)
        number, family = _number_and_family(sock, socket.SOCK_DGRAM, family)
        datagram = Datagram(
            self, number, key=key, family=family, report_unreachable=report_unreachable
        )
        if isinstance(sock, socket.socket):
            sock.detach()
        return datagram


_KINDS = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "datagram"}


def _number_and_family(
    sock: socket.socket | int, kind: socket.SocketKind, family: int | None
) -> tuple[int, int]:
    """Return the number and family of a caller's socket, which has to be of a kind."""
    if isinstance(sock, int):
        return sock, socket.AF_INET if family is None else family
    if not isinstance(sock, socket.socket):
        raise TypeError(f"a socket or its number is needed, not {sock!r}")
    if sock.type != kind:
        raise ValueError(f"a {_KINDS[kind]} socket is needed, not {sock!r}")
    if sock.fileno() < 0:
        raise ValueError(f"{sock!r} is closed")
    return sock.fileno(), sock.family
