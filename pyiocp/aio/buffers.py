"""Buffers: the bytes that a program writes, and those that its protocol wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import BufferedProtocol


def bytes_of(data: Any) -> bytes:
    """Return the bytes to send; TypeError for what has none."""
    if isinstance(data, bytes):
        return data
    if not isinstance(data, (bytearray, memoryview)):
        name = type(data).__name__
        raise TypeError(f"data argument must be a bytes-like object, not {name!r}")
    return bytes(data)


def fill(protocol: BufferedProtocol, data: memoryview) -> None:
    """Hand bytes to a protocol in its own buffers."""
    while True:
        size = len(data)
        room = memoryview(protocol.get_buffer(size)).cast("B")
        if len(room) >= size:
            room[:size] = data
            protocol.buffer_updated(size)
            return
        if not room:
            raise RuntimeError("get_buffer() returned an empty buffer")
        room[:] = data[: len(room)]
        protocol.buffer_updated(len(room))
        data = data[len(room) :]
