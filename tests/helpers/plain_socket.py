"""What tests do with the plain socket at the other end of a stream: read, reset, not read."""

from __future__ import annotations

import ctypes
import socket
import struct
import time

from pyiocp.winapi import FIONREAD, ULONG, ioctlsocket

_LINGER_0 = struct.pack("HH", 1, 0)


def received(sock: socket.socket, count: int) -> bytes:
    """Read so many bytes, or fail."""
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, f"only {len(data)} of {count} bytes came"
        data += piece
    return bytes(data)


def reset(sock: socket.socket) -> None:
    """Close a socket so that its peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    sock.close()


def wait_until_full(sock: socket.socket) -> None:
    """Wait until no more bytes come to a socket that is not read: for 20 looks in a row.

    Wine 8 loses a cancel that finds it carrying bytes over.
    """
    there, before, same = ULONG(), 0, 0
    until = time.monotonic() + 60
    while same < 20:
        assert time.monotonic() < until, "bytes come and come"
        assert ioctlsocket(sock.fileno(), FIONREAD, ctypes.byref(there)) == 0
        same = same + 1 if there.value == before > 0 else 0
        before = there.value
        time.sleep(0.002)  # for the system to carry bytes over; bounded above
