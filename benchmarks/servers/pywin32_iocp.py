"""A server by hand on pywin32's functions: GetQueuedCompletionStatus, and one OVERLAPPED each."""

from __future__ import annotations

import socket
from typing import Any

import pywintypes
import win32file

from .control import Control

ACCEPTS = 32
INFINITE = -1


class _Request:
    """What an OVERLAPPED's ``object`` says that it is for."""

    def __init__(self, kind: str, connection: socket.socket, buffer: Any) -> None:
        self.kind = kind
        self.connection = connection
        self.buffer = buffer
        self.overlapped = pywintypes.OVERLAPPED()
        self.overlapped.object = self


def serve_echo(control: Control) -> None:
    """Send back what comes."""
    port = win32file.CreateIoCompletionPort(win32file.INVALID_HANDLE_VALUE, None, 0, 0)
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    win32file.CreateIoCompletionPort(listening.fileno(), port, 0, 0)
    # What is pending, for nothing else keeps it.
    pending: set[_Request] = set()

    def accept() -> None:
        connection = socket.socket()
        request = _Request("accept", connection, win32file.AllocateReadBuffer(64))
        pending.add(request)
        win32file.AcceptEx(listening, connection, request.buffer, request.overlapped)

    def begin(request: _Request, kind: str, call: Any, buffer: Any) -> None:
        request.kind = kind
        pending.add(request)
        try:
            call(request.connection, buffer, request.overlapped, 0)
        except pywintypes.error:  # told on the spot: no completion will tell it
            pending.discard(request)
            request.connection.close()

    def receive(request: _Request) -> None:
        begin(request, "receive", win32file.WSARecv, request.buffer)

    for _ in range(ACCEPTS):
        accept()
    control.ready(listening.getsockname()[1])
    while True:
        code, count, _, overlapped = win32file.GetQueuedCompletionStatus(port, INFINITE)
        request = overlapped.object
        pending.discard(request)
        if request.kind == "accept":
            accept()
            if code:
                request.connection.close()
                continue
            listening_number = listening.fileno().to_bytes(8, "little")
            request.connection.setsockopt(
                socket.SOL_SOCKET, win32file.SO_UPDATE_ACCEPT_CONTEXT, listening_number
            )
            request.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            win32file.CreateIoCompletionPort(request.connection.fileno(), port, 0, 0)
            buffer = win32file.AllocateReadBuffer(65536)
            receive(_Request("receive", request.connection, buffer))
        elif code or not count:
            request.connection.close()
        elif request.kind == "receive":
            begin(request, "send", win32file.WSASend, memoryview(request.buffer)[:count])
        else:
            receive(request)
