"""What a file does, as scenarios: reads, writes, locks, control codes.

Whether the disc answers within the call depends on the cache: the seam keeps what is to be
cancelled, or closed, pending for certain. Control codes wait for real, on a pipe.
"""

from __future__ import annotations

import mmap
from typing import Any, ClassVar

from completions import one
from pipe_ends import unused_name
from scenario import ON_THE_SPOT, PENDING, TOO_LATE, Cell, Elsewhere, Outcome, Scenario

from pyiocp import AccessDeniedError, File, IocpError, SharingViolationError
from pyiocp.winapi import (
    ERROR_NOT_ENOUGH_QUOTA,
    FILE_FLAG_NO_BUFFERING,
    FILE_FLAG_OVERLAPPED,
    FILE_SHARE_READ,
    FILE_SHARE_WRITE,
    GENERIC_READ,
    GENERIC_WRITE,
    INVALID_HANDLE_VALUE,
    OPEN_EXISTING,
    PIPE_ACCESS_DUPLEX,
    CreateFileW,
    CreateNamedPipeW,
)

FSCTL_PIPE_LISTEN = 0x00110008
"""Wait for a client, as ConnectNamedPipe does. Of ntifs.h."""

PAGE = mmap.PAGESIZE
CONTENT = b"".join(bytes((n,)) * PAGE for n in range(4))


def pages(count: int) -> mmap.mmap:
    """Return memory that begins where a page does."""
    return mmap.mmap(-1, count * PAGE)


class OfAFile(Scenario):
    """On a file of four pages; another handle of it has the other half of the rights."""

    refusal = (ERROR_NOT_ENOUGH_QUOTA, 0)
    stuck_call = True
    within_call = False
    failure: ClassVar[type[OSError]] = AccessDeniedError
    unbuffered = False
    right_left_out = GENERIC_READ

    def set_up(self) -> None:
        path = self.folder / "content"
        path.write_bytes(CONTENT)
        self.path = path
        self.handle: File = self.owns(
            self.port.file(path, "r+", unbuffered=self.unbuffered, share="rw")
        )
        number = CreateFileW(
            str(path),
            GENERIC_READ if self.right_left_out == GENERIC_WRITE else GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE,
            None,
            OPEN_EXISTING,
            FILE_FLAG_OVERLAPPED | FILE_FLAG_NO_BUFFERING * self.unbuffered,
            None,
        )
        assert number not in (None, INVALID_HANDLE_VALUE)
        self.poor: File = self.owns(
            File(self.port._queue, number, name="poor", unbuffered=self.unbuffered)
        )

    def run(self, file: File) -> Any:
        """Post it on this handle of the file."""
        raise NotImplementedError

    def post(self) -> Any:
        return self.held(lambda: self.run(self.handle))

    def complete(self, operation: Any) -> None:
        assert self.stuck is not None
        self.stuck.go_on(skips_on_success=self.handle.skips_on_success)

    def post_ready(self) -> Any:
        return self.run(self.handle)

    def post_failing(self) -> Any:
        return self.run(self.poor)


class Read(OfAFile):
    method = "File.read"
    function = "ReadFile"

    def run(self, file: File) -> Any:
        return file.read(bytearray(10), PAGE - 5)

    def check(self, completion: Any) -> None:
        assert bytes(completion.data) == bytes(5) + b"\1" * 5


class Write(OfAFile):
    method = "File.write"
    function = "WriteFile"
    right_left_out = GENERIC_WRITE

    def run(self, file: File) -> Any:
        return file.write(b"written", 10)

    def check(self, completion: Any) -> None:
        assert completion.bytes == 7
        assert self.path.read_bytes() == CONTENT[:10] + b"written" + CONTENT[17:]


class Append(Write):
    method = "File.append"

    def run(self, file: File) -> Any:
        return file.append(b"written")

    def check(self, completion: Any) -> None:
        assert completion.bytes == 7
        assert self.path.read_bytes() == CONTENT + b"written"
        self.handle.truncate(len(CONTENT))


class Scatter(OfAFile):
    method = "File.read_scatter"
    function = "ReadFileScatter"
    unbuffered = True

    def run(self, file: File) -> Any:
        return file.read_scatter(pages(1), pages(2), offset=PAGE)

    def check(self, completion: Any) -> None:
        first, second = completion.operation.buffers
        assert completion.bytes == 3 * PAGE
        assert first[:] + second[:] == CONTENT[PAGE:]


class Gather(OfAFile):
    method = "File.write_gather"
    function = "WriteFileGather"
    unbuffered = True
    right_left_out = GENERIC_WRITE

    def run(self, file: File) -> Any:
        return file.write_gather(pages(1), pages(1), offset=2 * PAGE)

    def check(self, completion: Any) -> None:
        assert completion.bytes == 2 * PAGE
        assert self.path.read_bytes() == CONTENT[: 2 * PAGE] + bytes(2 * PAGE)


class Lock(OfAFile):
    method = "File.lock_range"
    function = "LockFileEx"
    failure = SharingViolationError

    def run(self, file: File) -> Any:
        return file.lock_range(0, 10)

    def post_failing(self) -> Any:
        """The range is taken, by the other handle, and it is not to be waited for."""
        self.poor.lock_range(5, 1)
        assert one(self.port).error is None
        return self.handle.lock_range(0, 10, wait=False)

    def check(self, completion: Any) -> None:
        assert completion.bytes == 0
        self.handle.unlock_range(0, 10)


class Control(Scenario):
    """FSCTL_PIPE_LISTEN, which waits for a client of the pipe."""

    method = "File.control"
    function = "DeviceIoControl"
    refusal = (ERROR_NOT_ENOUGH_QUOTA, 0)
    failure = IocpError
    spoiled = frozenset({ON_THE_SPOT, PENDING, TOO_LATE})
    cells: ClassVar[dict[Outcome, Cell]] = {
        ON_THE_SPOT: Elsewhere(
            "handles/files/test_file.py", "test_control_code_reaches_the_file_system"
        )
    }

    def set_up(self) -> None:
        self.name = rf"\\.\pipe\{unused_name()}"
        access = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED
        number = CreateNamedPipeW(self.name, access, 0, 1, 4096, 4096, 0, None)
        assert number not in (None, INVALID_HANDLE_VALUE)
        self.handle: File = self.owns(File(self.port._queue, number, name="server"))

    def post(self) -> Any:
        return self.handle.control(FSCTL_PIPE_LISTEN)

    def complete(self, operation: Any) -> None:
        access = GENERIC_READ | GENERIC_WRITE
        number = CreateFileW(self.name, access, 0, None, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, None)
        assert number not in (None, INVALID_HANDLE_VALUE)
        self.client: File = self.owns(File(self.port._queue, number, name="client"))

    def post_failing(self) -> Any:
        """A code that nobody knows."""
        return self.handle.control(0x0009FFFC)

    def check(self, completion: Any) -> None:
        self.client.write(b"there", 0)
        assert one(self.port).bytes == 5


SCENARIOS: list[type[Scenario]] = [Read, Write, Append, Scatter, Gather, Lock, Control]
