r"""Endpoints that the clients of a monitor connect to: a named pipe, or a loopback address.

The pipe is `\\.\pipe\pyiocp-` and the number of the process, as the diagnostics of .NET have it:
the number of a process is enough to find its monitor. Another port of the process has `-2` after
that, and so on. Only the user that the process runs as can open it, and only on this machine: the
system sees to that, before anything is accepted. A loopback address has no owner: any program on
this machine may connect.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import AccessDeniedError, HandleClosedError, IocpError, PipeBusyError
from ..handles.pipes.pipe import Pipe, pipe_path
from ..handles.pipes.pipe_server import PipeServer
from ..handles.sockets.stream import Stream
from .listening_socket import open_listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..engine.home import Home
    from ..engine.operation import Operation
    from ..engine.packet import Receiver

    End = Pipe | Stream
    """The server's end of a client's connection."""

NAMES_MAX = 64
"""How many ports of one process can have a pipe at a time."""

_BUFFER_BYTES = 16384
"""What the system sets aside for each direction of a pipe: an ordinary answer fits."""

#: The pipes of this process. Windows refuses a name that is taken, but not everything like it does.
_own: set[str] = set()
_own_lock = threading.Lock()


class Endpoint(Protocol):
    """What clients connect to. Any thread may call any method."""

    @property
    def address(self) -> Any:
        """What clients know it by."""

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""

    def accept(self, receiver: Receiver) -> None:
        """Wait for the next client; the receiver gets the operation.

        Raises an `IocpError` if the system refuses, `HandleClosedError` if the endpoint is closed.
        """

    def read(self, end: Any, buffer: memoryview) -> Operation:
        """Return a read that has not been posted yet."""

    def write(self, end: Any, data: bytes) -> Operation:
        """Return a write that has not been posted yet."""

    def disconnect(self, end: Any) -> None:
        """Close a connection whose client may not do so."""

    def close(self) -> None:
        """Accept no more clients. Closing twice does nothing."""


def pipe_paths(process: int) -> Iterator[str]:
    """Return the paths that the monitors of a process may have, the first port's first."""
    yield pipe_path(f"pyiocp-{process}")
    for n in range(2, NAMES_MAX + 1):
        yield pipe_path(f"pyiocp-{process}-{n}")


class PipeEndpoint:
    """A named pipe of the process's own."""

    def __init__(self, home: Home) -> None:
        self._server = self._open(home)

    @property
    def address(self) -> str:
        """The pipe's path."""
        return self._server.name

    @staticmethod
    def _open(home: Home) -> PipeServer:
        """Return a pipe with the first name that nobody has, or raise why there is none."""
        refusal: IocpError | None = None
        for path in pipe_paths(os.getpid()):
            with _own_lock:
                if path in _own:
                    continue
                _own.add(path)
            try:
                return PipeServer(
                    home,
                    path,
                    mode="r+",
                    message=False,
                    instances=None,  # those of clients that do not let go are counted as well
                    buffer_size=_BUFFER_BYTES,
                    exclusive=True,  # so that nobody else answers in its name
                    security=None,  # the user that this process runs as
                    remote=False,
                    key=None,
                    internal=True,
                )
            except (AccessDeniedError, PipeBusyError) as error:  # somebody else has the name
                _own.discard(path)
                refusal = error
            except BaseException:
                _own.discard(path)
                raise
        raise refusal or RuntimeError(f"{NAMES_MAX} ports of this process have a monitor already")

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._server.closed

    def accept(self, receiver: Receiver) -> None:
        """Wait for the next client."""
        self._server._accept_for(receiver)

    def read(self, end: Pipe, buffer: memoryview) -> Operation:
        """Return a read that has not been posted yet."""
        return end.read_operation(buffer)

    def write(self, end: Pipe, data: bytes) -> Operation:
        """Return a write that has not been posted yet."""
        return end.write_operation(data)

    def disconnect(self, end: Pipe) -> None:
        """Disconnect the client: otherwise the instance lives until the client closes its end."""
        with contextlib.suppress(IocpError, HandleClosedError):
            end.disconnect()
        end.close()

    def close(self) -> None:
        """Give the name back."""
        if not self._server.closed:
            self._server.close()
            _own.discard(self.address)


class LoopbackEndpoint:
    """An address of the loopback, which any program on this machine can connect to."""

    def __init__(self, home: Home, address: Any, backlog: int) -> None:
        self._listening = open_listening(
            home,
            _on_loopback(address),
            backlog=backlog,
            exclusive=True,
            dual_stack=False,
            no_delay=True,
        )
        self._listening.internal = True
        self._address = self._listening.local_address()

    @property
    def address(self) -> Any:
        """Where it listens."""
        return self._address

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._listening.closed

    def accept(self, receiver: Receiver) -> None:
        """Wait for the next client."""
        operation = self._listening.accept_operation()
        operation.receiver = receiver
        operation.post()

    def read(self, end: Stream, buffer: memoryview) -> Operation:
        """Return a receive that has not been posted yet."""
        return end.receive_operation(buffer)

    def write(self, end: Stream, data: bytes) -> Operation:
        """Return a send that has not been posted yet."""
        return end.send_operation(data)

    def disconnect(self, end: Stream) -> None:
        """Close the connection, by a reset if there is something on the way."""
        end.close()

    def close(self) -> None:
        """Stop listening."""
        self._listening.close()


def _on_loopback(address: Any) -> tuple[str, int]:
    """Return a checked address; names are not looked up, they could mean any address."""
    if not isinstance(address, tuple) or len(address) != 2:
        raise TypeError(f"address must be None or (host, port), not {address!r}")
    host, number = address
    host = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(
            f"a monitor listens at an address of this machine's loopback, such as 127.0.0.1 or"
            f" ::1, not {host!r}: anybody who can reach it sees who is connected"
        )
    return host, number
