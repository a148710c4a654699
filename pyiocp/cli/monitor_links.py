r"""Links: the ways to a monitor: a named pipe, found by the number of its process, or a socket."""

from __future__ import annotations

import re
import socket
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import AccessDeniedError, IocpError, PathNotFoundError, PipeBusyError
from ..handles.sockets.address_text import show_address
from ..port import CompletionPort
from ..servers.monitor_endpoints import pipe_paths
from ..servers.resolve import is_numeric, resolve_all
from .address import parse_address
from .wording import reason

if TYPE_CHECKING:
    from ..engine.completion import Completion
    from ..engine.packet import Packet
    from ..handles.pipes.pipe import Pipe

    Target = int | str | tuple[str, int]
    """The number of a process, the path of a pipe, or host and port."""

ANSWER_MAX_S = 5.0
"""Seconds that a monitor has to answer."""

_STEP_S = 0.2
"""Seconds of one wait: on Windows Ctrl-C does not end one for a socket."""

_ONCE_BYTES = 65536


class MonitorError(OSError):
    """A monitor could not be asked; the text says why."""


class Link(Protocol):
    """A connection to a monitor. What fails because that has gone is a ConnectionError."""

    def send(self, data: bytes) -> None:
        """Send a question."""

    def receive(self) -> bytes | None:
        """Return what has come, nothing at the end, or None after a while without anything."""

    def close(self) -> None:
        """Close the connection."""


def parse_target(text: str) -> Target:
    r"""Return what a user writes for a monitor: ``1234``, ``\\.\pipe\name`` or ``HOST:PORT``."""
    if re.fullmatch(r"[0-9]{1,10}", text):
        return int(text)
    if text.startswith("\\\\"):
        return text
    try:
        return parse_address(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}; or the number of a process, or a pipe's path") from None


def where(target: Target) -> str:
    """Return the words for a target that go with "at"."""
    return f"process {target}" if isinstance(target, int) else show_address(target)


def connect(target: Target) -> Link:
    """Connect to a monitor, or raise a `MonitorError`."""
    if isinstance(target, tuple):
        return SocketLink(target)
    if sys.platform != "win32":
        raise MonitorError("a pipe is asked on Windows, on the same machine: HOST:PORT elsewhere")
    return PipeLink(target)


class SocketLink:
    """A connection to a monitor at an address of the loopback."""

    def __init__(self, address: tuple[str, int]) -> None:
        shown = show_address(address)
        if is_numeric(address):  # also the address of every interface, which Windows refuses
            [(_, address), *_] = resolve_all(address)
        try:
            self._socket = socket.create_connection(address[:2], ANSWER_MAX_S)
        except OSError as error:
            raise MonitorError(f"nobody answers at {shown}: {error}") from None
        self._socket.settimeout(_STEP_S)

    def send(self, data: bytes) -> None:
        """Send a question."""
        self._socket.sendall(data)

    def receive(self) -> bytes | None:
        """Return what has come."""
        try:
            return self._socket.recv(_ONCE_BYTES)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class PipeLink:
    """A connection to a monitor's pipe, on a port of its own.

    target: the pipe's path; or the number of a process, for the first pipe that is the process's
        own: one with such a name may be anybody's.
    """

    def __init__(self, target: int | str) -> None:
        self._port = CompletionPort()
        self._completion: Completion | None = None
        self._buffer = bytearray(_ONCE_BYTES)
        self._reading: Packet | None = None
        try:
            self._pipe = self._find(target) if isinstance(target, int) else self._open(target)
        except BaseException as error:
            self._port.close()
            if isinstance(error, (IocpError, ValueError)):
                raise MonitorError(_why_not(target, error)) from None
            raise

    def _find(self, process: int) -> Pipe:
        """Return the first pipe of a process, or raise why there is none."""
        why: OSError = MonitorError(f"process {process} has no monitor: port.monitor() makes one")
        for path in pipe_paths(process):
            try:
                pipe = self._open(path)
            except PathNotFoundError:
                continue
            except AccessDeniedError as error:
                why = error
                continue
            owner = pipe.peer_process_id()
            if owner == process:
                return pipe
            pipe.close()
            why = MonitorError(f"{path} belongs to process {owner}")
        raise why

    def _open(self, path: str) -> Pipe:
        connecting = self._port.connect_pipe(path, timeout=ANSWER_MAX_S)
        completion = self._wait_for(connecting)
        if completion.error is not None:
            raise completion.error
        assert connecting.pipe is not None
        return connecting.pipe

    def _wait_for(self, operation: Any) -> Completion:
        """Return the end of an operation."""
        while True:
            for completion in self._port.wait():
                if completion.operation is operation:
                    return completion

    def send(self, data: bytes) -> None:
        """Send a question."""
        try:
            self._pipe.write(data)
        except IocpError as error:
            raise ConnectionResetError(str(error)) from error

    def receive(self) -> bytes | None:
        """Return what has come."""
        try:
            if self._reading is None:
                self._reading = self._pipe.read(self._buffer)
        except IocpError as error:
            raise ConnectionResetError(str(error)) from error
        for completion in self._port.wait(_STEP_S):
            if completion.operation is not self._reading:
                continue
            self._reading = None
            if completion.error is not None:
                raise ConnectionResetError(str(completion.error))
            return bytes(self._buffer[: completion.bytes])
        return None

    def close(self) -> None:
        """Close the connection."""
        self._port.close()


def _why_not(target: int | str, error: Exception) -> str:
    """Return the words for an error of connecting to a pipe."""
    if isinstance(error, PathNotFoundError):
        return f"nobody answers at {target}: there is no such pipe"
    if isinstance(error, AccessDeniedError):
        return f"the monitor of {where(target)} is for another user"
    if isinstance(error, PipeBusyError):
        return f"too many others look at {where(target)}"
    return f"nobody answers at {where(target)}: {reason(error)}"
