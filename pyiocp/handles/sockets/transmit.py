"""Sending files from the system's cache: TransmitFile and TransmitPackets.

The bytes never pass through this process. TransmitFile takes at most 2**31 - 2 bytes,
including head and tail, so a longer file is sent in parts, one after the other. Each part is an
internal operation; the caller's operation, which the kernel never sees, completes with the last
part, or with the first that fails.
"""

from __future__ import annotations

import ctypes
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...engine.completion import Completion
from ...engine.operation import Operation
from ...engine.packet import IDLE, PENDING
from ...errors import closed_error, error_of_code, failed
from ...winapi import (
    DWORD,
    HANDLE,
    LARGE_INTEGER,
    SOCKET,
    TP_ELEMENT_FILE,
    TP_ELEMENT_MEMORY,
    TRANSMIT_FILE_BUFFERS,
    TRANSMIT_PACKETS_ELEMENT,
    wsabufs,
)
from ...winapi.errorcodes import (
    ERROR_INVALID_HANDLE,
    STATUS_CANCELLED,
    STATUS_SUCCESS,
    STATUS_UNSUCCESSFUL,
)

if os.name == "nt":
    import msvcrt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from ...engine.kernel import Kernel
    from .socket_handle import SocketHandle

_CALL_MAX = 2**31 - 2
"""The most bytes of one call, including head and tail, by Microsoft's page."""

_OFFSET_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a file, for `Stream.send_packets`.

    file: as for `Stream.send_file`. offset: where it begins, in bytes. count: how many
    bytes; None is all that follow. A plain value.
    """

    file: Any
    offset: int = 0
    count: int | None = None


def file_number(file: Any) -> int:
    """Return the Win32 handle of a Python file object, a `File`, or a handle.

    Raises TypeError for what has none, ValueError for a closed file or a text file.
    """
    if isinstance(file, int) and not isinstance(file, bool):
        return file
    number = getattr(file, "number", None)
    if isinstance(number, int):
        if getattr(file, "closed", False):
            raise closed_error(file, "it cannot be sent", ValueError)
        return number
    if isinstance(file, io.TextIOBase):
        raise ValueError(f"a file opened in binary mode is needed, not {file!r}")
    try:
        descriptor = file.fileno()
    except (AttributeError, io.UnsupportedOperation):
        raise TypeError(f"a file of the system's is needed, not {file!r}") from None
    return msvcrt.get_osfhandle(descriptor)


def range_of(kernel: Kernel, part: FilePart, subject: Any) -> tuple[int, int, int]:
    """Return a file's handle, and where its part begins and ends, cut to the file's size.

    Raises TypeError for what is no file, ValueError for a closed one, and an `IocpError` about
    `subject` if the system does not tell the size.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getfilesizeex
    """
    number = file_number(part.file)
    size = LARGE_INTEGER()
    if not kernel.GetFileSizeEx(number, ctypes.byref(size)):
        raise error_of_code("GetFileSizeEx", kernel.last_error(), None, subject)
    start = min(part.offset, size.value)
    end = size.value if part.count is None else min(start + part.count, size.value)
    return number, start, end


def check_part(part: FilePart) -> FilePart:
    """Return the part if its offset and count are valid; raise ValueError if not."""
    if not 0 <= part.offset <= _OFFSET_MAX:
        raise ValueError(f"offset must be between 0 and 2**63 - 1, not {part.offset}")
    if part.count is not None and part.count < 0:
        raise ValueError(f"count must be None or at least 0 bytes, not {part.count}")
    return part


class _TransmitFile(Operation):
    """One call of TransmitFile, for a `SendFileOperation`."""

    __slots__ = ("_exported",)

    def __init__(
        self, whole: SendFileOperation, number: int, offset: int, count: int, ends: Sequence[Buffer]
    ) -> None:
        super().__init__(whole.handle, "send_file")
        self.receiver = whole.part_ended
        head, tail = ends
        self.buffers = tuple(end for end in ends if memoryview(end).nbytes)
        # Lifetime: the structure holds bare addresses; the array exports the bytes there.
        self._exported = array = wsabufs(head, tail, read_only=True)
        around = TRANSMIT_FILE_BUFFERS(array[0].buf, array[0].len, array[1].buf, array[1].len)
        self.overlapped.Offset = offset & 0xFFFFFFFF
        self.overlapped.OffsetHigh = offset >> 32
        stream = whole.handle
        self._calls(
            "TransmitFile",
            stream.extension(stream.home.kernel.TransmitFile),
            0,
            SOCKET(stream.number),
            # A count of 0 means the whole file, so without bytes to send no file is passed.
            HANDLE(number if count else None),
            DWORD(count),
            DWORD(0),
            ctypes.byref(self.overlapped),
            ctypes.byref(around) if self.buffers else None,
            DWORD(0),
        )

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the kernel may read, including head and tail."""
        return (*super().memory, self._exported)


class SendFileOperation(Operation):
    """A send of a file; its completion counts all bytes, including head and tail."""

    __slots__ = ("_at", "_cancelled", "_end", "_error", "_file", "_head", "_part", "_sent", "_tail")

    handle: SocketHandle
    internal = True  # the parts are counted instead
    call_max: ClassVar[int] = _CALL_MAX
    """The most bytes of one call; a test may set less on a subclass or an instance."""

    def __init__(self, stream: SocketHandle, part: FilePart, head: Buffer, tail: Buffer) -> None:
        super().__init__(stream, "send_file")
        self._file = check_part(part)
        self._head, self._tail = head, tail
        self.buffers = (head, tail)
        self.function_name = "TransmitFile"
        for what, end in (("head", head), ("tail", tail)):
            if memoryview(end).nbytes > self.call_max:
                raise ValueError(f"{what} has more than {self.call_max} bytes")
        self._at = self._end = self._sent = 0
        self._cancelled = False
        self._error: OSError | None = None
        self._part: _TransmitFile | None = None

    def _submit(self, announce: bool) -> bool:
        """Start the first part; the completion comes at the end of the last one."""
        with self.handle.lock:
            if self.state is PENDING:
                raise RuntimeError(f"{self!r} is still pending: dequeue its completion first")
            self.state = PENDING
            # It stays there between two parts: close() waits until the table is empty.
            self.handle.home.in_flight[self.address] = self
        try:
            self.handle.check_open(self.kind)
            _, self._at, self._end = range_of(self.handle.home.kernel, self._file, self)
            self._sent, self._cancelled, self._error = 0, False, None
            self._part = self._next_part(self._head)
            self._part.post()
        except BaseException:
            self.handle.home.in_flight.pop(self.address, None)
            self.state = IDLE
            raise
        return False

    def _next_part(self, head: Buffer = b"") -> _TransmitFile:
        """Return the next part; it has the tail if that fits after the end of the file."""
        room = self.call_max - memoryview(head).nbytes
        count = min(self._end - self._at, room)
        tail: Buffer = b""
        if self._at + count == self._end and memoryview(self._tail).nbytes <= room - count:
            tail, self._end = self._tail, -1  # which marks the last part
        part = _TransmitFile(self, file_number(self._file.file), self._at, count, (head, tail))
        self._at += count
        return part

    def part_ended(self, _part: _TransmitFile, count: int, status: int) -> None:
        """Start the next part, or complete: the receiver of the parts' packets."""
        self._sent += count
        if not failed(status) and self._end >= 0:
            status = STATUS_CANCELLED if self._cancelled else self._go_on()
            if status == STATUS_SUCCESS:
                return
        self.words[0] = status
        with self.handle.lock:  # it cannot be posted again meanwhile
            self.handle.home.enqueue((self, self._sent, status))
            self.handle.home.in_flight.pop(self.address, None)

    def _go_on(self) -> int:
        """Start the next part; return STATUS_SUCCESS, or the NTSTATUS why there is none."""
        try:
            self._part = part = self._next_part()
            part.post()
        except (OSError, ValueError) as error:
            if self.handle.closed or self.handle.home.closing:
                return STATUS_CANCELLED
            # A ValueError: the file has been closed meanwhile.
            closed = error_of_code(self.function_name, ERROR_INVALID_HANDLE, None, self)
            self._error = error if isinstance(error, OSError) else closed
            return STATUS_UNSUCCESSFUL
        if self._cancelled:  # by another thread, just now, when the previous part was current
            part.cancel()
        return STATUS_SUCCESS

    def finish(self, count: int, status: int) -> Completion:
        """Return the completion of the whole."""
        return Completion(self, self.key, count, status, self._error)

    @property
    def transferred(self) -> int:
        """How many bytes have been sent, in all parts."""
        return self._sent

    def cancel(self) -> bool:
        """Ask for the part under way to be cancelled, and start no other.

        Returns True if there was something to cancel. The completion says how many bytes
        went, and whether it was cancelled or had ended before.

        Source: https://learn.microsoft.com/windows/win32/fileio/cancelioex-func
        """
        if self.state is not PENDING or self._part is None:
            return False
        self._cancelled = True
        return self._part.cancel() or self._end >= 0


class SendPacketsOperation(Operation):
    """A send of pieces of memory and of files: TransmitPackets."""

    __slots__ = ("_exported", "_files")

    handle: SocketHandle
    prepares = True

    def __init__(self, stream: SocketHandle, pieces: Sequence[Buffer | FilePart]) -> None:
        super().__init__(stream, "send_packets")
        function = stream.extension(stream.home.kernel.TransmitPackets)
        elements: list[TRANSMIT_PACKETS_ELEMENT] = []
        sources: list[Any] = []
        total = 0
        # Lifetime: the elements hold bare addresses; the array exports the bytes there, and
        # `_files` keeps the file objects, which would be closed when collected.
        memory = [piece for piece in pieces if not isinstance(piece, FilePart)]
        array = wsabufs(*memory, read_only=True)
        wsabuf_of = iter(array)
        self._exported = array
        self.buffers = tuple(memory)
        for piece in pieces:
            element = TRANSMIT_PACKETS_ELEMENT()
            if isinstance(piece, FilePart):
                number, start, end = range_of(stream.home.kernel, check_part(piece), self)
                length = end - start
                element.dwElFlags = TP_ELEMENT_FILE
                element.hFile, element.nFileOffset = number, start
            else:
                wsabuf = next(wsabuf_of)
                length = wsabuf.len
                element.dwElFlags, element.pBuffer = TP_ELEMENT_MEMORY, wsabuf.buf
            total += length
            if total > _CALL_MAX:
                raise ValueError(f"send_packets() sends at most {_CALL_MAX} bytes; use send_file()")
            element.cLength = length
            if length:  # 0 would mean the file to its end
                elements.append(element)
                sources.append(piece.file if isinstance(piece, FilePart) else None)
        if not elements:
            raise ValueError("send_packets() needs something to send")
        packets = (TRANSMIT_PACKETS_ELEMENT * len(elements))(*elements)
        self._files = [(packets[n], file) for n, file in enumerate(sources) if file is not None]
        self._calls(
            "TransmitPackets",
            function,
            0,
            SOCKET(stream.number),
            ctypes.byref(packets),
            DWORD(len(packets)),
            DWORD(0),
            ctypes.byref(self.overlapped),
            DWORD(0),
        )

    def prepare(self) -> None:
        """Look up the files' handles again: a number may have been closed, and reused."""
        for element, file in self._files:
            element.hFile = file_number(file)

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the kernel may read, including the pieces."""
        return (*super().memory, self._exported)
