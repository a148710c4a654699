"""What the tests of the declarations share: handles that get closed, waiting for one packet.

Only declared functions are used, here as in the tests.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import byref
from typing import Any, NamedTuple

import pytest

from pyiocp.winapi import *

on_windows = pytest.mark.skipif(sys.platform != "win32", reason="calls Windows")


class Handles:
    """Handles of one test: each is checked when it is made, and closed at the end."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def keep(self, handle: int | None) -> int:
        """Return `handle`, which will be closed; fail if it is none."""
        assert handle not in (None, 0, INVALID_HANDLE_VALUE), error_name(last_error())
        self._open.append(handle)
        return handle

    def close(self, handle: int) -> None:
        """Close a handle before the end of the test."""
        self._open.remove(handle)
        assert CloseHandle(handle), error_name(last_error())

    def close_all(self) -> None:
        """Close what is open, the youngest first."""
        while self._open:
            self.close(self._open[-1])


class Packet(NamedTuple):
    """What GetQueuedCompletionStatus gave."""

    ok: int
    error: int
    bytes: int
    key: int
    address: int


def location(overlapped: Any) -> int:
    """Return a structure's address, or the one in a pointer; 0 for NULL."""
    if isinstance(overlapped, ctypes._Pointer):
        return ctypes.cast(overlapped, ctypes.c_void_p).value or 0
    return ctypes.addressof(overlapped)


def dequeue(iocp: int, timeout_ms: int = 10_000) -> Packet:
    """Wait for one packet, successful or failed; fail if none comes."""
    packet = look(iocp, timeout_ms)
    assert packet.address or packet.ok, error_name(packet.error)
    return packet


def look(iocp: int, timeout_ms: int = 0) -> Packet:
    """Call GetQueuedCompletionStatus."""
    moved, key, overlapped = DWORD(), ULONG_PTR(), LPOVERLAPPED()
    ok = GetQueuedCompletionStatus(iocp, byref(moved), byref(key), byref(overlapped), timeout_ms)
    error = 0 if ok else last_error()
    return Packet(ok, error, moved.value, key.value, location(overlapped))


def started(result: int) -> bool:
    """Tell whether an overlapped call is under way; fail if it failed."""
    error = 0 if result else last_error()
    assert error in (0, ERROR_IO_PENDING), error_name(error)
    return error == ERROR_IO_PENDING


def pipe_pair(handles: Handles, mode: int = PIPE_TYPE_BYTE) -> tuple[int, int]:
    """Return the two ends of a connected pipe, both overlapped."""
    name = rf"\\.\pipe\pyiocp-{os.getpid()}-{id(handles):x}"
    open_mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE
    server = handles.keep(CreateNamedPipeW(name, open_mode, mode, 1, 4096, 4096, 0, None))
    access = GENERIC_READ | GENERIC_WRITE
    client = CreateFileW(name, access, 0, None, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, None)
    return server, handles.keep(client)


def write(handle: int, data: bytes) -> None:
    """Write, and wait until it is done."""
    overlapped, moved = OVERLAPPED(), DWORD()
    started(WriteFile(handle, data, len(data), None, byref(overlapped)))
    assert GetOverlappedResult(handle, byref(overlapped), byref(moved), True)
    assert len(data) == moved.value
