"""HandlePort: a completion queue, and the ways into every kind of handle on it.

What belongs here: which kinds there are, and which of them the caller's arguments mean.
What a kind does stands with it, in `handles`; sessions are not known here.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from .adopting import adopt
from .errors import PortClosedError
from .handles.datagram import Datagram
from .handles.directory import Directory, NotifyFilter
from .handles.file import File
from .handles.pipe import Pipe
from .handles.pipe_connect import PipeConnect
from .handles.pipe_server import PipeServer
from .handles.stream import Stream
from .memory_port import MemoryPort
from .waitable_port import WaitablePort

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .handles.handle import Handle


class HandlePort(MemoryPort, WaitablePort):
    """Ring 2: handles of every kind and their operations; users make a `CompletionPort`."""

    def adopt(self, source: Any, *, key: Any = None) -> Handle:
        """Put a handle that you have already on the port, and return it as what it is of.

        That is a `Stream`, `Datagram`, `File`, `Pipe`, `Process`, `Event`, `Job` or
        `Waitable`; `Handle.detach` gives it back.

        source: a ``socket.socket``, which is detached, or the number of a handle or socket:
            it belongs to the port's handle from then on. Or a file object, a
            ``subprocess.Popen``, a ``multiprocessing.Process`` or ``PipeConnection``: these
            keep their handle, for you to close, and the port gets a duplicate.
        key: any object; it comes back with every completion.

        Raises `NotOverlappedError` for a file or pipe that was not opened for overlapped
        operations, as Python's own files and the pipes of a Popen are not;
        `AlreadyAssociatedError` for one that is on a port, this one or another;
        `HandleInvalidError` for a number that no open handle has; ValueError for a handle
        that no port can take (a console, a directory, a mutex …) and for a closed socket;
        TypeError for what has no handle; `PortClosedError` on a closed port. What you have is
        then still yours.

        Source: https://learn.microsoft.com/windows/win32/fileio/createiocompletionport
        """
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it takes no handle")
        return adopt(self, source, key)

    def stream(
        self, sock: socket.socket | int | None = None, *, key: Any = None, family: int | None = None
    ) -> Stream:
        """Associate a stream socket with the port and return its `Stream`.

        sock: a TCP socket of Python's, or the number of one, which belongs to the stream
            from then on: a Python socket is detached. None makes a new one.
        key: any object; it comes back with every completion.
        family: AF_INET, AF_INET6 or AF_UNIX (1); needed for a number that is not IPv4, or
            a new one.

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
            a socket that was on no port; copied. They are good once, in this process.
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

    def directory(
        self,
        path: str | os.PathLike[str],
        *,
        recursive: bool = False,
        notify: NotifyFilter | int = NotifyFilter.DEFAULT,
        buffer_size: int = 65536,
        key: Any = None,
    ) -> Directory:
        """Open a directory, to be told what changes in it: see `Directory.watch`.

        path: the directory.
        recursive: whether to watch what is below it too.
        notify: which changes to tell; by default files and directories made, deleted,
            renamed and written.
        buffer_size: bytes of changes that the kernel can keep until they are taken, 1,024
            to 16,777,216, and 65,536 at most for a directory on a network. If there are
            more, an `Overflow` tells. A change takes 12 bytes and 2 for each character of
            its path.
        key: any object; it comes back with every completion.

        Raises `PathNotFoundError`, NotADirectoryError, `AccessDeniedError`
        (``ERROR_ACCESS_DENIED`` 5), ValueError for bad arguments, `PortClosedError` on a
        closed port.

        Source: https://learn.microsoft.com/windows/win32/fileio/obtaining-directory-change-notifications
        """
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it takes no directory")
        return Directory.open(
            self,
            path,
            recursive=recursive,
            notify=notify,
            buffer_size=buffer_size,
            key=key,
        )

    def pipe_server(
        self,
        name: str,
        *,
        message: bool = False,
        mode: str = "r+",
        instances: int | None = None,
        buffer_size: int = 65536,
        exclusive: bool = True,
        security: str | None = None,
        remote: bool = False,
        key: Any = None,
    ) -> PipeServer:
        r"""Make a named pipe that clients can connect to.

        name: ``"name"`` for the path ``\\.\pipe\name``, or that path; 256 characters at
            most, without regard to case.
        message: whether it is a pipe of messages, which are read one by one, or of bytes.
        mode: ``"r+"`` to read and write, ``"r"`` only to read, ``"w"`` only to write.
        instances: how many clients it can have at a time, 1 to 254; None is as many as
            there is memory for.
        buffer_size: bytes that the system sets aside for each direction of each instance,
            so that a write that fits need not wait for its reader.
        exclusive: fail if another server has the name already.
        security: who may connect, as a security descriptor in SDDL, such as
            ``"D:P(A;;GA;;;AU)"`` for every user that has logged on. By default the user
            that this process runs as, and nobody else.
        remote: whether clients on other machines may connect.
        key: any object; it comes back with every completion.

        Returns at once, and from then on clients can connect; ``server.accept()`` waits for
        them. Raises `AccessDeniedError` (``ERROR_ACCESS_DENIED`` 5: another server has the
        name) or `PipeBusyError` (``ERROR_PIPE_BUSY`` 231: as many instances as that one
        allows are there), ValueError for bad arguments, `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew
        """
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it takes no pipe server")
        return PipeServer(
            self,
            name,
            mode=mode,
            message=message,
            instances=instances,
            buffer_size=buffer_size,
            exclusive=exclusive,
            security=security,
            remote=remote,
            key=key,
        )

    def pipe(self, name: str, *, message: bool = False, mode: str = "r+", key: Any = None) -> Pipe:
        r"""Open the client's end of a named pipe, if its server is not busy.

        name: ``"name"`` for the path ``\\.\pipe\name``, or a path, also on another
            machine: then this waits for the network.
        message: whether to read message by message; only from a pipe of messages.
        mode: ``"r+"`` to read and write, ``"r"`` only to read, ``"w"`` only to write.
        key: any object; it comes back with every completion.

        The server may learn which user the client is, but not act in that user's name.

        Raises `PathNotFoundError` (``ERROR_FILE_NOT_FOUND`` 2: there is no such pipe),
        `PipeBusyError` (``ERROR_PIPE_BUSY`` 231: see `connect_pipe`), `AccessDeniedError`
        (``ERROR_ACCESS_DENIED`` 5: the server does not let this user in, or has another
        mode), an `IocpError` (``ERROR_INVALID_PARAMETER`` 87: messages, of a pipe of
        bytes), ValueError for bad arguments, `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/ipc/named-pipe-client
        """
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it takes no pipe")
        return Pipe.open(self, name, mode=mode, message=message, key=key)

    def connect_pipe(
        self,
        name: str,
        *,
        message: bool = False,
        mode: str = "r+",
        key: Any = None,
        timeout: float | None = 30.0,
    ) -> PipeConnect:
        """Open the client's end of a named pipe, as soon as its server has time.

        The operation's ``pipe`` is the end when the completion says success. No thread is
        blocked meanwhile: it is tried again on the port's timers, after 1 ms and then at
        intervals of up to 50 ms, for as long as every instance has its client.

        timeout: seconds after which it completes with `PipeBusyError`; None waits for ever.

        The other parameters, and what it raises, are those of `pipe`, with a ValueError for
        a negative timeout; what goes wrong later than at the first attempt comes with the
        completion.

        Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-waitnamedpipew
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be None or at least 0 seconds, not {timeout}")
        operation = PipeConnect(
            self,
            key,
            timeout,
            lambda: self.pipe(name, message=message, mode=mode, key=key),
        )
        operation.start()
        return operation


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
