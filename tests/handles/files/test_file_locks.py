"""Locks of byte ranges: held, refused, waited for, undone; one completion each."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_kernel import FaultyKernel
from stuck_call import set_io_completion
from wine import WINE

from pyiocp import (
    AccessDeniedError,
    CompletionPort,
    IocpError,
    Operation,
    OperationCancelledError,
    SharingViolationError,
)
from pyiocp.handles.files.file import File
from pyiocp.winapi import ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, ERROR_NOT_LOCKED, STATUS_PENDING

Pair = tuple[File, File]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "locked"
    path.write_bytes(bytes(100))
    return path


@pytest.fixture
def pair(port: CompletionPort, path: Path) -> Iterator[Pair]:
    """The same file, opened twice: locks are between handles."""
    with port.file(path, "r+", key="mine") as mine, port.file(path, "r+", key="other") as other:
        yield mine, other


def held(port: CompletionPort, operation: Operation) -> bool:
    """Wait for the one completion of a lock; tell whether it is held."""
    [completion] = port.wait(60)
    assert completion.operation is operation
    return completion.error is None


def test_lock_completes_once_when_it_is_held(port: CompletionPort, pair: Pair) -> None:
    """C08: whether the system queues a packet for a lock that is free, or not: one completion."""
    mine, _ = pair
    operation = mine.lock_range(10, 5)
    assert held(port, operation)
    assert port.wait(0.05) == []
    mine.unlock_range(10, 5)


@pytest.mark.parametrize("packets", [0, 1])
@pytest.mark.parametrize("skips", [True, False])
def test_lock_completes_once_whatever_the_kernel_queues(
    path: Path, packets: int, skips: bool
) -> None:
    """C08: a lock that is granted on the spot, with a packet and without, skipped or not.

    The seam has the kernel grant it and queue that many packets; each of twenty operations
    comes once, and nothing that belongs to none.
    """
    kernel = FaultyKernel()

    def lock(real: Callable[..., int], *arguments: Any) -> int:
        for _ in range(packets):
            assert kernel.PostQueuedCompletionStatus(port.handle, 0, 1, arguments[5])
        return 1

    kernel.wrap("LockFileEx", lock)
    if not skips:
        kernel.wrap("SetFileCompletionNotificationModes", lambda real, *arguments: 0)
    with CompletionPort(kernel=kernel) as port, port.file(path, "r+") as file:
        assert file.skips_on_success is skips
        posted = [file.lock_range(n, 1) for n in range(20)]
        seen = []
        while len(seen) < 20:
            completions = port.wait(60)
            assert completions, "a completion never came"
            seen += completions
        assert [c.operation for c in seen] == posted
        assert [c.error for c in seen] == [None] * 20
        assert port.wait(0.05) == []


def test_taken_range_is_refused_at_once_if_asked_so(port: CompletionPort, pair: Pair) -> None:
    """An exclusive lock excludes the other handle where they overlap, and nowhere else."""
    mine, other = pair
    assert held(port, mine.lock_range(10, 5))
    with pytest.raises(SharingViolationError, match="has locked a part") as caught:
        other.lock_range(14, 1, wait=False)
    assert isinstance(caught.value, PermissionError)
    assert caught.value.winerror == ERROR_LOCK_VIOLATION
    assert port.in_flight_by_kind() == {}
    assert held(port, other.lock_range(15, 5, wait=False))
    mine.unlock_range(10, 5)
    assert held(port, other.lock_range(14, 1, wait=False))


def test_shared_locks_exclude_exclusive_ones_only(port: CompletionPort, pair: Pair) -> None:
    mine, other = pair
    assert held(port, mine.lock_range(0, 10, shared=True))
    assert held(port, other.lock_range(0, 10, shared=True, wait=False))
    with pytest.raises(SharingViolationError):
        other.lock_range(5, 1, wait=False)
    mine.unlock_range(0, 10)
    other.unlock_range(0, 10)
    assert held(port, other.lock_range(5, 1, wait=False))


def test_lock_without_length_goes_behind_every_end(port: CompletionPort, pair: Pair) -> None:
    mine, other = pair
    assert held(port, mine.lock_range())
    for offset in (0, 99, 2**32 + 1, 2**62):
        with pytest.raises(SharingViolationError):
            other.lock_range(offset, 1, wait=False)
    mine.unlock_range()
    assert held(port, other.lock_range(2**32 + 1, 2**32, wait=False))


def test_unlocking_what_is_not_locked_is_an_error(pair: Pair) -> None:
    mine, _ = pair
    with pytest.raises(IocpError, match="UnlockFileEx failed") as caught:
        mine.unlock_range(10, 5)
    # The second one is Wine's.
    assert caught.value.winerror in (ERROR_NOT_LOCKED, ERROR_LOCK_VIOLATION)


def test_bad_ranges_are_refused_with_words(pair: Pair) -> None:
    mine, _ = pair
    for call in (mine.lock_range, mine.unlock_range):
        for offset in (-1, 2**63 - 1, 2**64):
            with pytest.raises(ValueError, match="offset must be between"):
                call(offset)
        for length in (0, -5):
            with pytest.raises(ValueError, match="length must be at least 1"):
                call(0, length)
        with pytest.raises(ValueError, match="offset must be between"):
            call(1, 2**63 - 1)


def test_closing_undoes_the_lock(port: CompletionPort, pair: Pair) -> None:
    mine, other = pair
    assert held(port, mine.lock_range(0, 10))
    mine.close()
    assert held(port, other.lock_range(0, 10, wait=not WINE))


def test_file_opened_for_appending_is_not_locked(port: CompletionPort, path: Path) -> None:
    """LockFileEx wants the right to read, or to write anywhere; Wine does not ask."""
    with port.file(path, "a") as file:
        try:
            file.lock_range(0, 1)
        except AccessDeniedError as refused:
            assert refused.function == "LockFileEx"  # noqa: PT017, Windows' answer
        else:
            assert len(port.wait(60)) == 1


# Waiting for a lock

waits = pytest.mark.skipif(WINE, reason="Wine 8 says pending and never grants a lock")


@waits
def test_lock_that_is_waited_for_comes_when_it_is_free(port: CompletionPort, pair: Pair) -> None:
    mine, other = pair
    assert held(port, mine.lock_range(0, 10))
    operation = other.lock_range(5, 1)
    assert port.wait(0.05) == []
    assert port.in_flight_by_kind() == {"lock": 1}
    mine.unlock_range(0, 10)
    assert held(port, operation)


@waits
def test_lock_that_is_waited_for_can_be_cancelled(port: CompletionPort, pair: Pair) -> None:
    mine, other = pair
    assert held(port, mine.lock_range(0, 10))
    operation = other.lock_range(5, 1)
    assert operation.cancel() is True
    [completion] = port.wait(60)
    assert isinstance(completion.error, OperationCancelledError)


@waits
def test_closing_the_file_ends_the_wait_for_a_lock(port: CompletionPort, pair: Pair) -> None:
    mine, other = pair
    assert held(port, mine.lock_range(0, 10))
    other.lock_range(5, 1)
    other.close()
    [completion] = port.wait(60)
    assert completion.error is not None


class Waiting:
    """A kernel that has every lock wait until the test grants it, as Windows' does."""

    def __init__(self) -> None:
        self.kernel = FaultyKernel()
        self.kernel.wrap("LockFileEx", self._lock)
        self.kernel.wrap("CancelIoEx", self._cancel)
        self._reference: Any = None
        self.port: CompletionPort

    def _lock(self, real: Callable[..., int], *arguments: Any) -> int:
        self._reference = arguments[5]
        self._reference._obj.Internal = STATUS_PENDING
        ctypes.set_last_error(ERROR_IO_PENDING)
        return 0

    def _cancel(self, real: Callable[..., int], number: int, reference: Any) -> int:
        if self._reference is None or self._reference._obj.Internal != STATUS_PENDING:
            return real(number, reference)
        self.end(0xC0000120)
        return 1

    def end(self, status: int) -> None:
        """Have the lock that waits end in a status, by packet."""
        self._reference._obj.Internal = status
        address = ctypes.addressof(self._reference._obj)
        arguments = (ctypes.c_void_p(self.port.handle), ctypes.c_void_p(1))
        assert not set_io_completion()(
            *arguments, ctypes.c_void_p(address), ctypes.c_int32(status), ctypes.c_size_t(0)
        )


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    waiting = Waiting()
    with CompletionPort(kernel=waiting.kernel) as port:
        waiting.port = port
        yield waiting
    assert port.in_flight == {}


def test_pending_lock_comes_once_when_it_is_granted(waiting: Waiting, path: Path) -> None:
    """As Windows does it, through the seam: pending, then a packet."""
    port = waiting.port
    with port.file(path, "r+") as file:
        operation = file.lock_range(0, 10)
        assert port.in_flight_by_kind() == {"lock": 1}
        assert port.wait(0.05) == []
        waiting.end(0)
        assert held(port, operation)
        assert port.wait(0.05) == []


def test_pending_lock_is_cancelled(waiting: Waiting, path: Path) -> None:
    port = waiting.port
    with port.file(path, "r+") as file:
        operation = file.lock_range(0, 10)
        assert operation.cancel() is True
        [completion] = port.wait(60)
        assert isinstance(completion.error, OperationCancelledError)
        assert port.wait(0.05) == []


def test_pending_lock_may_be_refused_by_packet(waiting: Waiting, path: Path) -> None:
    """STATUS_FILE_LOCK_CONFLICT with the packet is the same error as from the call."""
    port = waiting.port
    with port.file(path, "r+") as file:
        file.lock_range(0, 10, wait=False)
        waiting.end(0xC0000054)
        [completion] = port.wait(60)
        assert isinstance(completion.error, SharingViolationError)


def test_closing_the_port_gives_a_pending_lock_back(waiting: Waiting, path: Path) -> None:
    port = waiting.port
    operation = port.file(path, "r+").lock_range(0, 10)
    [completion] = port.close()
    assert completion.operation is operation
    assert isinstance(completion.error, OperationCancelledError)
