"""Sending a file over a transport: the system does it, by TransmitFile."""

from __future__ import annotations

import asyncio
import io
import os
import stat
from typing import TYPE_CHECKING, Any

from ..handles.sockets.transmit import FilePart, SendFileOperation

if TYPE_CHECKING:
    from .socket_transport import SocketTransport


async def send_file(transport: SocketTransport, file: Any, offset: int, count: int | None) -> int:
    """Send a part of a file, after what has been written; return how many bytes.

    count: how many bytes; None or 0 is all that follow.

    Raises SendfileNotAvailableError if this is no regular file: asyncio then reads it.
    """
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (AttributeError, io.UnsupportedOperation, OSError):
        mode = 0
    if not stat.S_ISREG(mode):
        raise asyncio.SendfileNotAvailableError("not a regular file")
    was_reading = transport.is_reading()
    transport.pause_reading()
    sent = 0
    try:
        await transport._make_empty_waiter()
        part = FilePart(file, offset, count or None)
        operation = SendFileOperation(transport.stream, part, b"", b"")
        sent = await _sent(operation)
    finally:
        transport._reset_empty_waiter()
        if was_reading:
            transport.resume_reading()
        if sent:
            file.seek(offset + sent)
    return sent


async def _sent(operation: SendFileOperation) -> int:
    """Return how many bytes have been sent, when all of them have."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def ended(operation: SendFileOperation, count: int, status: int) -> None:
        error = operation.finish(count, status).error
        if future.done():
            return
        if error is None:
            future.set_result(count)
        else:
            future.set_exception(error)

    operation.receiver = ended
    operation.post()
    try:
        return await future
    except asyncio.CancelledError:
        operation.cancel()
        raise
