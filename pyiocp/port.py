"""CompletionPort: the object that everything starts from, and all that users call on it."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import warnings
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .engine import closing
from .engine.kernel import Kernel
from .engine.packet import PostedPacket
from .engine.queue import CompletionQueue
from .engine.timers import Call
from .handles.adopting import adopt
from .handles.directories.directory import Directory, NotifyFilter
from .handles.files.file import File
from .handles.pipes.pipe import Pipe
from .handles.pipes.pipe_connect import PipeConnect
from .handles.pipes.pipe_server import PipeServer
from .handles.sockets.datagram import Datagram
from .handles.sockets.stream import Stream
from .handles.waits.event import Event
from .handles.waits.job import Job
from .handles.waits.process import Process
from .handles.waits.timer import Timer
from .handles.waits.waitable import Waitable
from .memory.buffer_pool import BufferPool
from .observing.debugging import BufferWatch, debug_mode_wanted
from .observing.recording import recordings
from .observing.statistics import Statistics, Watch, statistics_of
from .observing.trace import EVENTS_MAX, Trace
from .servers.clients.connector import connect
from .servers.clients.datagram_client import DatagramClient
from .servers.clients.reconnecting import ReconnectingClient
from .servers.clients.target import Target, make_tls_side
from .servers.service import Service
from .servers.tcp.listener import Listener
from .servers.tcp.session import Session
from .servers.udp.datagram_server import DatagramServer
from .servers.udp.datagram_session import DatagramSession

if TYPE_CHECKING:
    import os
    import socket
    import subprocess
    from collections.abc import Callable, Iterable
    from multiprocessing.process import BaseProcess
    from ssl import SSLContext
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from .engine.completion import Completion
    from .engine.packet import Packet
    from .engine.timers import ScheduledCall
    from .handles.handle import Handle
    from .servers.admission import Limits
    from .servers.blocking_pool import Work
    from .servers.broadcast_result import BroadcastResult
    from .servers.clients.backoff import Backoff
    from .servers.monitor import Monitor
    from .servers.udp.datagram_server import Admit

_T = TypeVar("_T")
_S = TypeVar("_S", bound=Session | DatagramSession)


class CompletionPort:
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
        self._queue = queue = CompletionQueue(
            self,
            concurrency=concurrency,
            batch=batch,
            kernel=Kernel() if kernel is None else kernel,
        )
        self._debug = debug_mode_wanted() if debug is None else debug
        self._pools: weakref.WeakSet[BufferPool] = weakref.WeakSet()
        self._watch: Watch | None = None
        self._buffer_watch = BufferWatch()
        if self._debug:
            queue.in_flight.observe(self._buffer_watch)
        for recording in recordings:
            recording.port_made(queue)
        self._service = Service(queue)
        queue.open()
        _open_ports.add(self)

    # Handles

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
        self._check_takes("stream")
        return Stream.of_socket(self._queue, sock, family, key)

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
        self._check_takes("stream")
        return Stream.of_share(self._queue, shared, key)

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
        self._check_takes("datagram socket")
        return Datagram.of_socket(self._queue, sock, family, key, report_unreachable)

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
        self._check_takes("file")
        return File.open(
            self._queue,
            path,
            mode,
            key=key,
            share=share,
            sequential=sequential,
            random=random,
            write_through=write_through,
            unbuffered=unbuffered,
        )

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
        self._check_takes("directory")
        return Directory.open(
            self._queue,
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
        self._check_takes("pipe server")
        return PipeServer(
            self._queue,
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
        self._check_takes("pipe")
        return Pipe.open(self._queue, name, mode=mode, message=message, key=key)

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
        self._check_takes("pipe")
        operation = PipeConnect(
            self._queue, name, message=message, mode=mode, key=key, timeout=timeout
        )
        operation.start()
        return operation

    def waitable(self, handle: int, *, key: Any = None) -> Waitable:
        """Return a `Waitable`, to wait on the port for the object of a handle.

        handle: of a process, thread, event, semaphore, timer or whatever else can be waited
            for, with SYNCHRONIZE access; not of a mutex. It stays the caller's: the waitable
            has a handle of its own.
        key: any object; it comes back with every completion.

        Raises TypeError for what is no number, ValueError for a mutex or a number that no
        handle has, `HandleInvalidError` if it is not open, `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/sync/synchronization-objects
        """
        self._check_takes("waitable")
        return Waitable.of_handle(self._queue, handle, key)

    def process(
        self,
        process: subprocess.Popen[Any] | BaseProcess | None = None,
        *,
        pid: int | None = None,
        handle: int | None = None,
        key: Any = None,
    ) -> Process:
        """Return a `Process`, to wait on the port for its end.

        process: a ``subprocess.Popen`` or a ``multiprocessing.Process`` that has been
            started; it goes on as before.
        pid: or the number of a process. When that has ended its number may be another's, so
            this is safe only for a process that is known to run, or is a child of yours
            whose Popen you keep.
        handle: or a handle of it, which stays the caller's.
        key: any object; it comes back with every completion.

        Raises TypeError unless one of the three is given, ValueError for a bad number, an
        `IocpError` (``ERROR_INVALID_PARAMETER`` 87: no process has that pid;
        ``ERROR_ACCESS_DENIED`` 5; ``ERROR_INVALID_HANDLE`` 6), `PortClosedError` on a
        closed port.

        Source: https://learn.microsoft.com/windows/win32/procthread/process-handles-and-identifiers
        """
        self._check_takes("process")
        return Process.open(self._queue, process, pid, handle, key)

    def event(
        self,
        *,
        name: str = "",
        manual_reset: bool = False,
        initially_set: bool = False,
        key: Any = None,
    ) -> Event:
        """Create an `Event` of the system, to be waited for on the port.

        name: to share it with other processes by; if there is one of that name, that is
            opened and the next two are not looked at.
        manual_reset: it stays set until it is reset; otherwise one wait resets it.
        initially_set: begin set.
        key: any object; it comes back with every completion.

        Raises an `IocpError` (``ERROR_INVALID_HANDLE`` 6: the name is another kind of
        object's; ``ERROR_ACCESS_DENIED`` 5), `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createeventw
        """
        self._check_takes("event")
        return Event.open(self._queue, manual_reset, initially_set, name, key)

    def timer(self, *, key: Any = None) -> Timer:
        """Create a `Timer`, to be set for one time or for a series of ticks.

        It is exact, has a key and completes like any operation; for a function that is to be
        called some time, and to a few milliseconds, there is the cheaper `call_later`.

        key: any object; it comes back with every completion.

        Raises an `IocpError` if the system has no room for one, `PortClosedError` on a
        closed port.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createwaitabletimerexw
        """
        self._check_takes("timer")
        return Timer.open(self._queue, key)

    def job(
        self,
        handle: int | None = None,
        *,
        name: str = "",
        kill_on_close: bool = False,
        key: Any = None,
    ) -> Job:
        """Create a `Job`, a group of processes, which sends its messages to the port.

        handle: of a job that there is, and that has no port; it stays the caller's. By
            default a job is created.
        name: to share it with other processes by; if there is one of that name that is used.
        kill_on_close: when its last handle is closed, or this process ends in whatever way,
            all its processes are ended.
        key: any object; it comes back with every completion.

        Raises `AlreadyAssociatedError` if the job has a port, another `IocpError` if the
        system refuses (``ERROR_INVALID_HANDLE`` 6: no job), `PortClosedError` on a closed
        port.

        Source: https://learn.microsoft.com/windows/win32/procthread/job-objects
        """
        self._check_takes("job")
        return Job.open(self._queue, handle, name, kill_on_close, key)

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
        self._check_takes("handle")
        return adopt(self._queue, source, key)

    def _check_takes(self, kind: str) -> None:
        self._queue.check_open(f"takes no {kind}", closing=True)

    # Completions

    def wait(self, timeout: float | None = None, limit: int = 64) -> list[Completion]:
        """Wait until at least one operation has ended; return the completions there are.

        timeout: seconds; None waits for ever, 0 only looks. Below a millisecond it is
            rounded up, not down to a busy loop.
        limit: the most completions to return.

        Returns an empty list when the time is over, or when the port was closed meanwhile.
        The order is that in which the kernel, or the submitter, reported the ends.

        Raises KeyboardInterrupt on Ctrl-C (in the main thread), without losing a
        completion; `PortClosedError` on a closed port; ValueError for a negative timeout
        or a limit below 1. Several threads may wait at once: each completion goes to one.

        Source: https://learn.microsoft.com/windows/win32/fileio/getqueuedcompletionstatusex-func
        """
        return self._queue.wait(timeout, limit)

    def post(self, key: Any, count: int = 0) -> PostedPacket:
        """Queue a packet of your own; it comes back as a completion with this key.

        key: any object. count: 0 to 2**32 - 1, what the completion gives as ``bytes``.

        Raises `PortClosedError`, ValueError for a count out of range, or an `IocpError`
        if the kernel has no room for the packet; then nothing has been queued. Any thread
        may call it; this is the way to tell a waiting thread something.

        Source: https://learn.microsoft.com/windows/win32/fileio/postqueuedcompletionstatus
        """
        if not 0 <= count <= 0xFFFFFFFF:
            raise ValueError(f"count must fit in 32 bits, not {count}")
        packet = PostedPacket(key)
        queue = self._queue
        with queue.entry_lock:
            if queue.closing:
                self._check_takes("packet")
            queue.post(packet, count)
        return packet

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the port call a function, after what is ready now; from any thread.

        It is called by a thread in `wait` or `run`. What it raises is logged. Raises
        `PortClosedError` once the port is closed.
        """
        self._queue.enqueue_call(Call(function, arguments))

    def call_later(
        self, seconds: float, function: Callable[..., object], *arguments: Any
    ) -> ScheduledCall:
        """Have the port call a function after some seconds; from any thread.

        Returns what is scheduled, whose ``cancel()`` prevents the call. What the function raises
        is logged. Raises ValueError if `seconds` is negative, `PortClosedError` once the
        port is closed.
        """
        return self._queue.call_later(seconds, function, *arguments)

    # Workers

    def run(self, threads: int | None = None) -> None:
        """Serve until `stop`, `close` or Ctrl-C: call hooks as completions come.

        threads: how many workers, this thread among them. By default one, or on a
            free-threaded build as many as there are processors.

        Completions of operations that are nobody's but the caller's are kept for `wait`.

        Raises KeyboardInterrupt on Ctrl-C in the main thread, after the hook under way;
        a second Ctrl-C interrupts the hook, or leaves one that is on another thread: the
        port runs until that has ended. RuntimeError if the port runs already,
        `PortClosedError` on a closed port, ValueError for a bad number of threads.
        """
        self._service.workers.run(threads)

    def stop(self) -> None:
        """Make `run` return, after the hooks under way; from any thread, also from a hook.

        Nothing is closed: `run` may be called again. Without a `run` under way, the next
        one returns at once.
        """
        self._service.workers.stop()

    def submit(self, function: Callable[..., _T], *arguments: Any) -> Work[_T]:
        """Have a thread of the port's own call a function that takes long, or blocks.

        Returns a `concurrent.futures.Future`, whose ``add_done_callback(fn)`` has `fn`
        called on the port with it when the function has returned, raised or been
        cancelled. Like any call on the port that is none of a session's hooks.

        There are as many threads as are needed, up to 32 and to the number of processors
        and 4; what is submitted beyond that waits. `close` cancels what has not begun and
        waits for what has, for its timeout at most.

        Any thread may call it. Raises `PortClosedError` on a closed port, TypeError for
        what is not callable, RuntimeError if the system gives not even a first thread.
        """
        return self._service.blocking_pool.submit(function, arguments)

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
            ``address``. An empty host is every IPv4 interface, ``"::"`` every IPv6 one. A
            name is looked up, which waits for the name server: all its addresses are
            listened at, on one port number; see the listener's ``addresses``. Or a socket
            of Python's that listens already, which belongs to the listener from then on; or
            what ``Listener.share`` gave in another process. Then `backlog`, `exclusive`,
            `dual_stack` and `no_delay` are as they have been set.
        factory: called without arguments for each connection, returns a new `Session`:
            mostly the class itself.
        accepts: how many AcceptEx are pending at any time for each address, 1 to 4,096.
        backlog: how many more connections may wait in the system; by default what fits.
        exclusive: let no other process bind the same address (SO_EXCLUSIVEADDRUSE).
        dual_stack: take IPv4 clients too, at an IPv6 address, which ``""`` then is as well.
            Their peer addresses read ``::ffff:192.0.2.1``.
        no_delay: send small messages at once (TCP_NODELAY).
        first_data: bytes of first data to accept with, 0 to 1,048,576. With more than 0 a
            connection becomes a session when the client has sent something, which saves a
            receive for each; not for protocols in which the server speaks first.
        first_data_timeout: seconds that a client has for it, rounded up to whole ones and
            with up to a second more; then its connection is closed. While silent clients
            occupy accepts, others are accepted without, and then wait as long for it.
        limits: how many sessions there may be, and how fast they may begin; see `Limits`.
        tls: an `ssl.SSLContext` of ``PROTOCOL_TLS_SERVER`` with its certificate loaded; the
            sessions then talk TLS. Renegotiation is switched off in it.
        handshake_timeout: seconds in which a client has to finish the TLS handshake.

        Accepting is done by `run`. Raises `AddressUnavailableError` if the address is in use
        or none of this machine's, `PortClosedError` on a closed port, OSError
        (``socket.gaierror``) for an unknown name, ValueError and TypeError for bad arguments.
        """
        self._service.check_open("listen")
        return Listener.open(
            self._service,
            address,
            factory,
            accepts=accepts,
            backlog=backlog,
            exclusive=exclusive,
            dual_stack=dual_stack,
            no_delay=no_delay,
            first_data=first_data,
            first_data_timeout=first_data_timeout,
            limits=limits,
            tls=make_tls_side(tls, handshake_timeout, server_side=True),
        )

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
        local_address: Any = None,
    ) -> Session:
        """Connect to an address, and return the session, which is connecting then.

        Its ``on_connect`` comes when the connection stands; if it cannot be made,
        ``on_close`` comes with the error, and no ``on_connect`` before it.

        address: ``(host, port)``, or a list of such; over IPv6 also ``(host, port, flow
            information, scope id)``. The host of a server on every interface, ``"0.0.0.0"`` or
            ``"::"``, is this machine, as an empty one is. A name is looked up in another thread.
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
        server_hostname: the name, or IP address, that the server's certificate must have; by
            default the host of the address, which must then be the same in all of a list. A dot
            at the end of a name, and the zone of an IPv6 address, do not count. A name is sent
            to the server as well (SNI), an IP address is not.
        handshake_timeout: seconds that the TLS handshake may take.
        local_address: ``(host, port)`` to connect from: a numeric host, of the same family as
            the addresses, of which those of the other one are left out; an empty one is any.
            Leave the port at 0 and the system chooses: with another one there is one connection
            at a time. None: the system chooses both.

        If there were several errors, ``on_close`` gets the last one, or that of the
        timeout, with an ExceptionGroup of all of them as its ``__cause__``. A name that is
        not known is a ``socket.gaierror``. The timeout's ``function`` is what took too long:
        ``getaddrinfo`` (looking up the name) or ``ConnectEx``.

        Raises `PortClosedError` on a closed port, ValueError and TypeError for bad
        arguments.

        Source: https://www.rfc-editor.org/rfc/rfc8305
        """
        self._service.check_open("connect")
        target = Target(
            address, timeout, no_delay, tls, server_hostname, handshake_timeout, local_address
        )
        return connect(self._service, target, factory, retry)

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
        local_address: Any = None,
    ) -> ReconnectingClient:
        """Connect to an address, and again, with a new session, when a session has ended.

        backoff: the waits between attempts; by default ``Backoff()``. The rest is as for
            `connect`. With TLS, each session resumes the TLS session of the one before, if the
            server agrees.

        Returns the client, which has the present session and can be closed. Raises as
        `connect`.
        """
        self._service.check_open("connect")
        target = Target(
            address, timeout, no_delay, tls, server_hostname, handshake_timeout, local_address
        )
        return ReconnectingClient(self._service, target, factory, backoff)

    def serve_datagrams(
        self,
        address: Any,
        factory: Callable[[], DatagramSession],
        *,
        admit: Admit | None = None,
        datagram_size: int = 2048,
        receive_buffer: int | None = 1 << 20,
        sends: int = 16384,
        limits: Limits | None = None,
        exclusive: bool = True,
        dual_stack: bool = False,
        report_unreachable: bool = False,
    ) -> DatagramServer:
        """Receive datagrams (UDP) at an address, and make a session of every peer.

        address: as for `listen`; or a datagram socket of Python's that is bound, which belongs
            to the server from then on.
        factory: called without arguments for each peer, returns a new `DatagramSession`:
            mostly the class itself.
        admit: called with the address and the first datagram, a view that is valid during the
            call, of a peer that has no session. It returns True to let it in, False not to,
            or bytes to send there instead. It is called by one thread at a time, and other
            datagrams wait for it. An `AddressValidation` is one: it admits peers that have proved
            their address; without one, anybody can forge addresses.
        datagram_size: bytes of the longest datagram, 1 to 65,527; what is longer comes to
            ``on_truncated``.
        receive_buffer: bytes that the system keeps of what has come and has yet to be
            received (``SO_RCVBUF``), 1 to 2,147,483,647; the rest it drops. None leaves what the
            socket has.
        sends: how many datagrams may be under way at a time that the system did not take at
            once, 1 to 1,048,576, each counting until a worker has seen that it is gone; what is
            over that is dropped.
        limits: how many sessions there may be, and how fast they may begin; see `Limits`. By
            default 10,000 sessions: an address costs a peer nothing. ``Limits()`` is no limit.
            When there is no room, the oldest session whose peer has sent a single datagram is
            ended. Two datagrams from each forged address still fill the server; see `admit`.
        exclusive, dual_stack: as for `listen`.
        report_unreachable: count in ``statistics()`` how often the system has told that nobody
            has a port that was sent to.

        Returns at once: the rest is done by `run`. Raises as `listen`.
        """
        self._service.check_open("serve")
        return DatagramServer.open(
            self._service,
            address,
            factory,
            admit=admit,
            datagram_size=datagram_size,
            receive_buffer=receive_buffer,
            sends=sends,
            limits=limits,
            exclusive=exclusive,
            dual_stack=dual_stack,
            report_unreachable=report_unreachable,
        )

    def connect_datagram(
        self,
        address: Any,
        factory: Callable[[], DatagramSession],
        *,
        datagram_size: int = 2048,
        report_unreachable: bool = True,
        local_address: Any = None,
    ) -> DatagramSession:
        """Talk to one address by datagrams (UDP), and return the session, which has yet to begin.

        Its ``on_connect`` comes when the address is known and there is a socket for it: nothing
        has been sent by then, and nobody may be there. If that fails, ``on_close`` comes with
        the error, and no ``on_connect`` before it.

        address: as for `connect`, but one only. A name is looked up in another thread; of its
            addresses, the first that there is a way to is taken. If its host answers that nobody
            has the port, before anything has come from there, the next one is, on a new socket:
            what was sent until then is lost. A peer that says nothing at all is not left.
        factory: called without arguments, returns a new `DatagramSession`.
        datagram_size: as for `serve_datagrams`.
        report_unreachable: end the session with a `PeerResetError` when the peer's host
            answers that nobody has the port. False: go on.
        local_address: as for `connect`.

        Raises `PortClosedError` on a closed port, ValueError and TypeError for bad arguments.
        """
        self._service.check_open("connect")
        client = DatagramClient(
            self._service,
            address,
            factory,
            datagram_size=datagram_size,
            report_unreachable=report_unreachable,
            local_address=local_address,
        )
        client.start()
        return client.session

    def broadcast(self, sessions: Iterable[_S], data: Buffer) -> BroadcastResult[_S]:
        """Send the same bytes to many sessions, which share them.

        sessions: any, such as ``port.sessions``, of streams and of datagrams; what it contains
            may change meanwhile.
        data: any buffer. ``bytes`` are taken as they are, everything else is copied once.

        Returns a `BroadcastResult`: which sessions are ``behind``, ``gone``, or ``connecting``.
        Any thread may call it. One session whose ``send`` raises is logged, aborted and
        counted as gone; the others get theirs.

        Raises TypeError for what is no buffer; ValueError for what no datagram can carry, if
        one of the sessions is an open `DatagramSession`: then nobody gets it.
        """
        return self._service.broadcast(sessions, data)

    @property
    def sessions(self) -> set[Session | DatagramSession]:
        """The sessions that have not ended."""
        return self._service.sessions

    @property
    def listeners(self) -> set[Listener]:
        """The listeners that are open."""
        return self._service.listeners

    @property
    def datagram_servers(self) -> set[DatagramServer]:
        """The servers of datagrams that are open."""
        return self._service.datagram_servers

    @property
    def clients(self) -> set[ReconnectingClient]:
        """The clients of `keep_connected` that are open."""
        return self._service.clients

    # What there is, and what has been

    @property
    def handle(self) -> int:
        """The Win32 handle of the port, for ring 1; 0 once it is closed."""
        return self._queue.handle

    @property
    def kernel(self) -> Kernel:
        """What stands for the operating system."""
        return self._queue.kernel

    @property
    def concurrency(self) -> int:
        """How many threads the kernel lets run at a time; 0: one per processor."""
        return self._queue.concurrency

    @property
    def closed(self) -> bool:
        """Whether the port is closed."""
        return self._queue.closed

    @property
    def handles(self) -> set[Handle]:
        """The handles on the port that are neither closed nor given back."""
        return self._queue.handles

    @property
    def in_flight(self) -> Mapping[int, Packet]:
        """What is in flight, by the address of its OVERLAPPED. To look at: the port changes it."""
        return self._queue.in_flight

    def in_flight_by_kind(self) -> dict[str, int]:
        """Return how many operations are in flight, by kind: ``{"receive": 3, "send": 1}``.

        What the port itself has pending, to hear of signals, is not counted.
        """
        return self._queue.in_flight_by_kind()

    def statistics(self) -> Statistics:
        """Return what is in flight now, what memory it locks, and how full the pools are.

        Counted when this is called: some microseconds for each operation in flight. Totals
        and peaks are there from `watch` on. Any thread may call it; what other threads do
        meanwhile may be counted or not.
        """
        with self._queue.entry_lock:
            pools = [pool for pool in self._pools if not pool.closed]
        return statistics_of(self._queue.in_flight, pools, self._watch)

    def watch(self) -> None:
        """Count completions, batches and peaks from now on, for `statistics`.

        This follows every operation, which costs each a few microseconds. Calling it twice
        does nothing. Any thread may call it.
        """
        with self._queue.entry_lock:
            if self._watch is None:
                self._queue.watcher = self._watch = Watch(self._queue.in_flight)

    def trace(self, events_max: int = EVENTS_MAX) -> Trace:
        """Write down what every operation and thread does, from now until the trace's `stop`.

        events_max: how many events to keep, 200 bytes each; beyond that the oldest go.

        This costs each operation some microseconds. One trace at a time shows threads: a
        second one takes them over from the first. Raises ValueError for no room at all. Any
        thread may call it.
        """
        return Trace(self._queue, events_max)

    def monitor(self, address: Any = None) -> Monitor:
        r"""Let programs on this machine look at the port while it runs; see `servers.monitor`.

        address: where they ask. None, the default, is a named pipe that only programs of the
            user that this process runs as can open, ``\\.\pipe\pyiocp-1234`` for the process
            1234: ``python -m pyiocp monitor 1234`` shows it. A second port of the process has
            ``-2`` after the number. ``(host, port)`` is an address of the loopback instead,
            for any program of any user on this machine; port 0 lets the system choose. See the
            monitor's ``address``.

        The answers have counts, and the addresses of clients, never what they send. Until the
        first question, it costs a few microseconds for each session that ends; from then on, as
        `watch`, for each operation. After each answer there is a pause, nineteen times as long as
        it took to make, but 2 seconds at most.

        Any thread may call it. Raises ValueError for an address that is not the loopback's,
        TypeError for what is no address, RuntimeError if there is a monitor already,
        `AddressUnavailableError` if the address is in use, `AccessDeniedError` if somebody
        else has every name that the pipe may have, `PortClosedError` on a closed port.
        """
        return self._service.monitor(address, self.statistics, self.watch)

    def buffer_pool(
        self,
        slice_size: int,
        *,
        slices: int | None = None,
        slices_max: int | None = None,
        locked: bool = False,
        large_pages: bool = False,
    ) -> BufferPool:
        """Return a `BufferPool` that counts among this port's in `statistics`.

        The arguments, the errors and the threads that may use it are those of `BufferPool`.
        The pool belongs to the caller: closing the port does not close it.

        Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualalloc
        """
        pool = BufferPool(
            slice_size,
            slices=slices,
            slices_max=slices_max,
            locked=locked,
            large_pages=large_pages,
            debug=self._debug,
            kernel=self._queue.kernel,
        )
        with self._queue.entry_lock:
            self._pools.add(pool)
        return pool

    # The end

    def shutdown(self, timeout: float = 5.0) -> None:
        """Stop listening, close every session in order, and then make `run` return.

        timeout: seconds after which the sessions that are left are aborted. A session's
            own ``close_timeout`` may end it before that.

        Returns at once: `run` does the work, and is called again if it has been left, as
        by Ctrl-C. There are no new sessions from now on. Any thread may call it, also from
        a hook. ValueError if `timeout` is negative.
        """
        self._service.shutdown(timeout)

    def close(self, timeout: float = 5.0) -> list[Completion]:
        """Close the servers, abort the sessions, dequeue what is in flight, and close the port.

        timeout: how many seconds to wait for the kernel to give back what it holds, and for
            what was submitted and has begun.

        Every session's ``on_close`` comes before this returns, if it is not called from one
        of their hooks. Every handle on the port is closed.

        Returns the completions that nobody had waited for. What is still in flight when
        the time is over is kept alive for the life of the process, on purpose, because
        the kernel may yet write to it, and named in a ResourceWarning.

        Closing twice does nothing. Threads that wait return. Any thread may call it. Raises a
        `BufferRuleError`, in debug mode, if somebody wrote to buffers that were the kernel's.
        """
        service = self._service
        service.close()
        completions = closing.close(self._queue, timeout, service.hooks_elsewhere)
        service.blocking_pool.join()
        _open_ports.discard(self)
        self._buffer_watch.raise_violations()
        return completions

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Not by self.__dict__: CPython 3.11 would make one, and all that is in it would outlive
        # the collection that called this.
        queue: CompletionQueue | None = getattr(self, "_queue", None)
        if queue is None or not queue.handle:
            return
        message = f"unclosed {self!r}"
        # A collection may come between somebody's call and their last_error().
        code = ctypes.get_last_error()
        # The kernel may be writing to what is in flight: it is drained, or kept, before
        # the warning, which may be an exception.
        with contextlib.suppress(OSError):
            self.close(timeout=1.0)
        ctypes.set_last_error(code)
        warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return repr(self._queue)


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
