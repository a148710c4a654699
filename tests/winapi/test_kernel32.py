"""Ports, cancelling, files, directories and memory work as declared: each test is a round trip."""

from __future__ import annotations

import ctypes
import os
import threading
from ctypes import byref, sizeof
from pathlib import Path

import pytest
from win32_helpers import (
    Handles,
    dequeue,
    location,
    look,
    on_windows,
    pipe_pair,
    started,
    write,
)
from wine import WINE

from pyiocp.winapi import *

pytestmark = on_windows

PAGE = 4096


def open_file(handles: Handles, path: Path, flags: int = FILE_FLAG_OVERLAPPED) -> int:
    """Open a file for reading and writing, shared with everyone."""
    share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE
    access = GENERIC_READ | GENERIC_WRITE
    return handles.keep(CreateFileW(str(path), access, share, None, OPEN_ALWAYS, flags, None))


# --- Ports ----------------------------------------------------------------------------------------


def test_a_posted_packet_comes_back_as_it_was_posted(iocp: int) -> None:
    """Key, number of bytes and pointer are free numbers, up to the widest of them."""
    for moved, key, address in ((0, 0, 0), (3, 42, 0x1234), (2**32 - 1, 2**64 - 1, 2**47)):
        posted = ctypes.cast(address, LPOVERLAPPED)
        assert PostQueuedCompletionStatus(iocp, moved, key, posted)
        packet = look(iocp)
        assert (1, 0, moved, key, address) == packet


def test_a_batch_takes_several_packets_and_leaves_the_rest(iocp: int) -> None:
    """Of three posted packets, an array of two entries gets two, the next call one."""
    for key in (1, 2, 3):
        assert PostQueuedCompletionStatus(iocp, key * 10, key, None)
    entries, count = (OVERLAPPED_ENTRY * 2)(), ULONG()
    assert GetQueuedCompletionStatusEx(iocp, entries, 2, byref(count), 0, False)
    assert 2 == count.value
    assert [(1, 10), (2, 20)] == [
        (entry.lpCompletionKey, entry.dwNumberOfBytesTransferred) for entry in entries
    ]
    assert GetQueuedCompletionStatusEx(iocp, entries, 2, byref(count), 0, False)
    assert (1, 3) == (count.value, entries[0].lpCompletionKey)


def test_an_empty_port_times_out_without_a_packet(iocp: int) -> None:
    """Both ways of waiting say WAIT_TIMEOUT; the pointer of the first stays NULL."""
    assert (0, WAIT_TIMEOUT, 0, 0, 0) == look(iocp)
    entries, count = (OVERLAPPED_ENTRY * 1)(), ULONG()
    assert not GetQueuedCompletionStatusEx(iocp, entries, 1, byref(count), 0, False)
    assert WAIT_TIMEOUT == last_error()


def test_a_failed_operation_is_a_packet_with_an_error(handles: Handles, iocp: int) -> None:
    """C15: a cancelled read is dequeued with FALSE, its OVERLAPPED and its own error."""
    server, _client = pipe_pair(handles)
    assert iocp == CreateIoCompletionPort(server, iocp, 7, 0)
    buffer, overlapped = ctypes.create_string_buffer(16), OVERLAPPED()
    assert started(ReadFile(server, buffer, 16, None, byref(overlapped)))
    assert "OVERLAPPED(STATUS_PENDING, bytes=0, offset=0)" == repr(overlapped)
    assert CancelIoEx(server, byref(overlapped))
    packet = dequeue(iocp)
    assert (0, ERROR_OPERATION_ABORTED, 0, 7, location(overlapped)) == packet
    assert "OVERLAPPED(STATUS_CANCELLED, bytes=0, offset=0)" == repr(overlapped)


def test_a_cancel_with_nothing_to_cancel_says_not_found(handles: Handles) -> None:
    """CancelIoEx of an operation that was never started; CancelIo, though, succeeds."""
    server, _client = pipe_pair(handles)
    assert not CancelIoEx(server, byref(OVERLAPPED()))
    assert ERROR_NOT_FOUND == last_error()
    assert CancelIo(server)


def test_cancel_io_ends_this_threads_operations(handles: Handles, iocp: int) -> None:
    """Two pending reads of this thread both come back as cancelled."""
    server, _client = pipe_pair(handles)
    assert CreateIoCompletionPort(server, iocp, 0, 0)
    buffer, operations = ctypes.create_string_buffer(16), (OVERLAPPED(), OVERLAPPED())
    for overlapped in operations:
        assert started(ReadFile(server, buffer, 8, None, byref(overlapped)))
    assert CancelIo(server)
    packets = [dequeue(iocp) for _ in operations]
    assert [ERROR_OPERATION_ABORTED] * 2 == [packet.error for packet in packets]
    assert {location(each) for each in operations} == {packet.address for packet in packets}


def test_skip_on_success_queues_no_packet(handles: Handles, iocp: int) -> None:
    """With data waiting, a read succeeds on the spot; the port stays empty."""
    server, client = pipe_pair(handles)
    assert CreateIoCompletionPort(server, iocp, 0, 0)
    assert SetFileCompletionNotificationModes(server, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS)
    write(client, b"there")
    buffer, overlapped, moved = ctypes.create_string_buffer(16), OVERLAPPED(), DWORD()
    assert not started(ReadFile(server, buffer, 16, byref(moved), byref(overlapped)))
    assert (b"there", 5) == (buffer.value, moved.value)
    assert WAIT_TIMEOUT == look(iocp).error


def test_a_result_is_incomplete_until_it_is_there(handles: Handles) -> None:
    """GetOverlappedResult and ...Ex say so at once, then give the bytes."""
    server, client = pipe_pair(handles)
    event = handles.keep(CreateEventW(None, True, False, None))
    buffer, overlapped, moved = ctypes.create_string_buffer(16), OVERLAPPED(hEvent=event), DWORD()
    assert started(ReadFile(server, buffer, 16, None, byref(overlapped)))
    assert not GetOverlappedResult(server, byref(overlapped), byref(moved), False)
    assert ERROR_IO_INCOMPLETE == last_error()
    assert not GetOverlappedResultEx(server, byref(overlapped), byref(moved), 0, False)
    assert ERROR_IO_INCOMPLETE == last_error()
    assert not GetOverlappedResultEx(server, byref(overlapped), byref(moved), 1, False)
    assert WAIT_TIMEOUT == last_error()
    write(client, b"late")
    assert GetOverlappedResultEx(server, byref(overlapped), byref(moved), INFINITE, False)
    assert (b"late", 4) == (buffer.value, moved.value)


def test_cancel_synchronous_io_frees_a_blocked_thread(handles: Handles) -> None:
    """A thread blocks in a synchronous read of an empty pipe until it is cancelled.

    There is no telling when it blocks, so the cancel is repeated until it found something.
    """
    name = rf"\\.\pipe\pyiocp-{os.getpid()}-synchronous"
    server = handles.keep(CreateNamedPipeW(name, PIPE_ACCESS_DUPLEX, 0, 1, 0, 0, 0, None))
    handles.keep(CreateFileW(name, GENERIC_WRITE, 0, None, OPEN_EXISTING, 0, None))
    ended: list[tuple[int, int]] = []

    def read() -> None:
        buffer, moved = ctypes.create_string_buffer(1), DWORD()
        ended.append((ReadFile(server, buffer, 1, byref(moved), None), last_error()))

    thread = threading.Thread(target=read)
    thread.start()
    opened = handles.keep(OpenThread(THREAD_TERMINATE, False, thread.native_id or 0))
    while not CancelSynchronousIo(opened):
        assert ERROR_NOT_FOUND == last_error()
        SleepEx(1, False)
    thread.join()
    assert [(0, ERROR_OPERATION_ABORTED)] == ended


def test_a_bound_handle_calls_back_on_a_pool_thread(handles: Handles) -> None:
    """BindIoCompletionCallback: the bytes and the OVERLAPPED arrive in another thread."""
    server, client = pipe_pair(handles)
    called: list[tuple[int, int, int, bool]] = []
    done = handles.keep(CreateEventW(None, True, False, None))
    here = GetCurrentThreadId()

    @LPOVERLAPPED_COMPLETION_ROUTINE
    def routine(status: int, moved: int, overlapped: object) -> None:
        called.append((status, moved, location(overlapped), GetCurrentThreadId() == here))
        SetEvent(done)

    assert BindIoCompletionCallback(server, routine, 0)
    buffer, overlapped = ctypes.create_string_buffer(16), OVERLAPPED()
    assert started(ReadFile(server, buffer, 16, None, byref(overlapped)))
    write(client, b"bound")
    assert WAIT_OBJECT_0 == WaitForSingleObject(done, 10_000)
    assert [(0, 5, location(overlapped), False)] == called
    assert b"bound" == buffer.value


# --- Files ----------------------------------------------------------------------------------------


def test_a_file_is_written_and_read_through_a_port(
    handles: Handles, iocp: int, tmp_path: Path
) -> None:
    """Bytes written at an offset come back from there; each call is one packet."""
    file = open_file(handles, tmp_path / "data")
    assert CreateIoCompletionPort(file, iocp, 5, 0)
    overlapped, buffer = OVERLAPPED(Offset=1000), ctypes.create_string_buffer(32)
    started(WriteFile(file, b"through a port", 14, None, byref(overlapped)))
    assert (1, 0, 14, 5, location(overlapped)) == dequeue(iocp)
    overlapped = OVERLAPPED(Offset=1008)
    started(ReadFile(file, buffer, 32, None, byref(overlapped)))
    assert (1, 0, 6, 5, location(overlapped)) == dequeue(iocp)
    assert b"a port" == buffer.value
    assert "OVERLAPPED(STATUS_SUCCESS, bytes=6, offset=1008)" == repr(overlapped)


def test_a_file_is_opened_again_by_its_handle(handles: Handles, iocp: int, tmp_path: Path) -> None:
    """By one that no port can use; the new one has other flags. What is no file is refused."""
    file = open_file(handles, tmp_path / "data", flags=0)
    written = DWORD()
    assert WriteFile(file, b"again", 5, byref(written), None)
    again = handles.keep(ReOpenFile(file, GENERIC_READ, 7, FILE_FLAG_OVERLAPPED))
    assert CreateIoCompletionPort(again, iocp, 5, 0)
    overlapped, buffer = OVERLAPPED(), ctypes.create_string_buffer(32)
    started(ReadFile(again, buffer, 32, None, byref(overlapped)))
    assert (1, 0, 5, 5, location(overlapped)) == dequeue(iocp)
    assert b"again" == buffer.value
    assert ReOpenFile(iocp, GENERIC_READ, 7, 0) == INVALID_HANDLE_VALUE
    assert last_error() != 0


def test_a_read_at_the_end_of_a_file_fails_with_eof(
    handles: Handles, iocp: int, tmp_path: Path
) -> None:
    """The error comes from the call or, if the read was pending, with the packet."""
    file = open_file(handles, tmp_path / "empty")
    assert CreateIoCompletionPort(file, iocp, 0, 0)
    overlapped = OVERLAPPED()
    assert not ReadFile(file, ctypes.create_string_buffer(8), 8, None, byref(overlapped))
    error = last_error()
    assert ERROR_HANDLE_EOF == (dequeue(iocp).error if error == ERROR_IO_PENDING else error)


def test_completion_routines_run_in_an_alertable_wait(handles: Handles, tmp_path: Path) -> None:
    """WriteFileEx and ReadFileEx call back in this thread, inside SleepEx."""
    file = open_file(handles, tmp_path / "apc")
    called: list[tuple[int, int]] = []
    routine = LPOVERLAPPED_COMPLETION_ROUTINE(lambda *ended: called.append(ended[:2]))
    buffer, overlapped = ctypes.create_string_buffer(8), OVERLAPPED()
    assert WriteFileEx(file, b"apc", 3, byref(overlapped), routine)
    assert [] == called
    assert WAIT_IO_COMPLETION == SleepEx(10_000, True)
    overlapped = OVERLAPPED()
    assert ReadFileEx(file, buffer, 8, byref(overlapped), routine)
    assert WAIT_IO_COMPLETION == SleepEx(10_000, True)
    assert [(0, 3), (0, 3)] == called
    assert b"apc" == buffer.value


def test_pages_are_gathered_and_scattered(handles: Handles, iocp: int, tmp_path: Path) -> None:
    """Two pages go to a file in one call and come back swapped, page by page."""
    file = open_file(handles, tmp_path / "pages", FILE_FLAG_OVERLAPPED | FILE_FLAG_NO_BUFFERING)
    assert CreateIoCompletionPort(file, iocp, 0, 0)
    memory = VirtualAlloc(None, 4 * PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE)
    assert memory is not None
    pages = [(ctypes.c_char * PAGE).from_address(memory + PAGE * n) for n in range(4)]
    pages[0][:], pages[1][:] = b"a" * PAGE, b"b" * PAGE

    def segments(*chosen: int) -> ctypes.Array[FILE_SEGMENT_ELEMENT]:
        return (FILE_SEGMENT_ELEMENT * 3)(*((memory + PAGE * n,) for n in chosen))

    overlapped, array = OVERLAPPED(), segments(0, 1)
    started(WriteFileGather(file, array, 2 * PAGE, None, byref(overlapped)))
    assert 2 * PAGE == dequeue(iocp).bytes
    overlapped, array = OVERLAPPED(), segments(3, 2)
    started(ReadFileScatter(file, array, 2 * PAGE, None, byref(overlapped)))
    assert 2 * PAGE == dequeue(iocp).bytes
    assert [b"b" * PAGE, b"a" * PAGE] == [pages[2][:], pages[3][:]]
    assert VirtualFree(memory, 0, MEM_RELEASE)


def test_a_file_ends_where_it_is_told_to(handles: Handles, tmp_path: Path) -> None:
    """Position, end and size: 5 bytes more than 4 GB come and go."""
    file = open_file(handles, tmp_path / "size", 0)
    size, position = LARGE_INTEGER(), LARGE_INTEGER()
    assert SetFilePointerEx(file, 2**32 + 5, byref(position), FILE_BEGIN)
    assert 2**32 + 5 == position.value
    assert SetFilePointerEx(file, -(2**32), byref(position), FILE_CURRENT)
    assert 5 == position.value
    assert SetEndOfFile(file)
    assert GetFileSizeEx(file, byref(size))
    assert 5 == size.value
    assert not SetFilePointerEx(file, -1, None, FILE_BEGIN)
    assert ERROR_NEGATIVE_SEEK == last_error()
    assert FlushFileBuffers(file)


def test_a_file_ends_where_it_is_told_to_without_its_position(
    handles: Handles, tmp_path: Path
) -> None:
    """Longer, then shorter; a negative size is refused, and nothing has moved the position."""
    file = open_file(handles, tmp_path / "size", 0)
    size, position = LARGE_INTEGER(), LARGE_INTEGER()
    for wanted in (2**32 + 5, 5):
        end = FILE_END_OF_FILE_INFO(wanted)
        assert SetFileInformationByHandle(file, FileEndOfFileInfo, byref(end), sizeof(end))
        assert GetFileSizeEx(file, byref(size))
        assert wanted == size.value
    end = FILE_END_OF_FILE_INFO(-1)
    assert not SetFileInformationByHandle(file, FileEndOfFileInfo, byref(end), sizeof(end))
    assert ERROR_INVALID_PARAMETER == last_error()
    assert SetFilePointerEx(file, 0, byref(position), FILE_CURRENT)
    assert 0 == position.value


def test_a_locked_range_excludes_other_handles(handles: Handles, tmp_path: Path) -> None:
    """An exclusive lock makes a second handle's lock fail at once, until it is undone."""
    mine, other = (open_file(handles, tmp_path / "locked", 0) for _ in range(2))
    at, flags = OVERLAPPED(Offset=10), LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY
    assert LockFileEx(mine, flags, 0, 5, 0, byref(at))
    assert not LockFileEx(other, flags, 0, 1, 0, byref(OVERLAPPED(Offset=14)))
    assert ERROR_LOCK_VIOLATION == last_error()
    assert UnlockFileEx(mine, 0, 5, 0, byref(OVERLAPPED(Offset=10)))
    assert LockFileEx(other, flags, 0, 1, 0, byref(OVERLAPPED(Offset=14)))
    assert UnlockFileEx(other, 0, 1, 0, byref(OVERLAPPED(Offset=14)))
    assert not UnlockFileEx(other, 0, 1, 0, byref(OVERLAPPED(Offset=14)))
    assert (ERROR_LOCK_VIOLATION if WINE else ERROR_NOT_LOCKED) == last_error()


def test_a_control_code_reaches_the_driver(handles: Handles, iocp: int) -> None:
    """FSCTL_PIPE_LISTEN, which is ConnectNamedPipe by its number, ends when a client comes."""
    fsctl_pipe_listen = 0x00110008
    name = rf"\\.\pipe\pyiocp-{os.getpid()}-control"
    mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED
    server = handles.keep(CreateNamedPipeW(name, mode, 0, 1, 0, 0, 0, None))
    assert CreateIoCompletionPort(server, iocp, 0, 0)
    overlapped = OVERLAPPED()
    listening = DeviceIoControl(
        server, fsctl_pipe_listen, None, 0, None, 0, None, byref(overlapped)
    )
    assert started(listening)
    handles.keep(CreateFileW(name, GENERIC_READ, 0, None, OPEN_EXISTING, 0, None))
    packet = dequeue(iocp)
    assert (1, location(overlapped)) == (packet.ok, packet.address)


def open_directory(handles: Handles, path: Path, iocp: int) -> int:
    """Open a directory on a port."""
    share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE
    flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OVERLAPPED
    opened = CreateFileW(str(path), FILE_LIST_DIRECTORY, share, None, OPEN_EXISTING, flags, None)
    directory = handles.keep(opened)
    assert CreateIoCompletionPort(directory, iocp, 0, 0)
    return directory


def name_in(change: FILE_NOTIFY_INFORMATION | FILE_NOTIFY_EXTENDED_INFORMATION) -> str:
    """Return the name that follows the head of a change."""
    at = ctypes.addressof(change) + type(change).FileName.offset
    return ctypes.string_at(at, change.FileNameLength).decode("utf-16-le")


@pytest.mark.parametrize("subtree", [False, True])
def test_a_new_file_is_reported_with_its_name(
    handles: Handles, iocp: int, tmp_path: Path, subtree: bool
) -> None:
    """ReadDirectoryChangesW completes with the name of a file created meanwhile."""
    directory = open_directory(handles, tmp_path, iocp)
    buffer, overlapped, names = (DWORD * 256)(), OVERLAPPED(), FILE_NOTIFY_CHANGE_FILE_NAME
    size = sizeof(buffer)
    assert ReadDirectoryChangesW(
        directory, buffer, size, subtree, names, None, byref(overlapped), None
    )
    (tmp_path / "né").write_bytes(b"")
    packet = dequeue(iocp)
    change = FILE_NOTIFY_INFORMATION.from_buffer(buffer)
    assert packet.ok
    assert packet.bytes >= FILE_NOTIFY_INFORMATION.FileName.offset + 4
    assert "FILE_NOTIFY_INFORMATION(FILE_ACTION_ADDED, FileNameLength=4, NextEntryOffset=0)" == (
        repr(change)
    )
    assert "né" == name_in(change)


@pytest.mark.skipif(not available("ReadDirectoryChangesExW"), reason="came with Windows 10 1709")
def test_a_new_file_is_reported_with_its_attributes(
    handles: Handles, iocp: int, tmp_path: Path
) -> None:
    """ReadDirectoryChangesExW tells the name, and that it is a directory."""
    directory = open_directory(handles, tmp_path, iocp)
    buffer, overlapped, names = (ULONGLONG * 128)(), OVERLAPPED(), FILE_NOTIFY_CHANGE_DIR_NAME
    kind, size = ReadDirectoryNotifyExtendedInformation, sizeof(buffer)
    assert ReadDirectoryChangesExW(
        directory, buffer, size, False, names, None, byref(overlapped), None, kind
    )
    (tmp_path / "folder").mkdir()
    assert dequeue(iocp).ok
    change = FILE_NOTIFY_EXTENDED_INFORMATION.from_buffer(buffer)
    assert (FILE_ACTION_ADDED, "folder") == (change.Action, name_in(change))
    assert change.FileAttributes & FILE_ATTRIBUTE_DIRECTORY


# --- Memory ---------------------------------------------------------------------------------------


def test_touched_pages_are_resident_and_others_are_not() -> None:
    """Of two committed pages only the one that was written to is in the working set."""
    memory = VirtualAlloc(None, 2 * PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE)
    assert memory is not None
    ctypes.memset(memory, 1, PAGE)
    pages = (PSAPI_WORKING_SET_EX_INFORMATION * 2)((memory,), (memory + PAGE,))
    assert QueryWorkingSetEx(GetCurrentProcess(), pages, sizeof(pages))
    touched, untouched = (page.VirtualAttributes for page in pages)
    assert (1, PAGE_READWRITE) == (touched.Valid, touched.Win32Protection), repr(touched)
    assert 0 == untouched.Valid, repr(untouched)
    assert VirtualFree(memory, 0, MEM_RELEASE)


def test_locking_one_byte_locks_its_page() -> None:
    """VirtualLock makes its page resident and no other; QueryWorkingSetEx says so."""
    memory = VirtualAlloc(None, 2 * PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE)
    assert memory is not None
    assert VirtualLock(memory + 100, 1), error_name(last_error())
    pages = (PSAPI_WORKING_SET_EX_INFORMATION * 2)((memory,), (memory + PAGE,))
    assert QueryWorkingSetEx(GetCurrentProcess(), pages, sizeof(pages))
    first, second = (page.VirtualAttributes for page in pages)
    assert (1, 0) == (first.Valid, second.Valid), repr(pages[:])
    if not WINE:  # which locks pages, but does not report it
        assert (1, 0) == (first.Locked, second.Locked), repr(pages[:])
    assert VirtualUnlock(memory + 100, 1)
    assert VirtualFree(memory, 0, MEM_RELEASE)


def test_protection_is_changed_and_told() -> None:
    """VirtualProtect gives the value before; decommitted pages have none."""
    memory = VirtualAlloc(None, PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE)
    before = DWORD()
    assert VirtualProtect(memory, PAGE, PAGE_READONLY, byref(before))
    assert PAGE_READWRITE == before.value
    assert VirtualProtect(memory, PAGE, PAGE_NOACCESS, byref(before))
    assert PAGE_READONLY == before.value
    assert VirtualFree(memory, PAGE, MEM_DECOMMIT)
    assert not VirtualProtect(memory, PAGE, PAGE_READONLY, byref(before))
    assert ERROR_INVALID_ADDRESS == last_error()
    assert VirtualFree(memory, 0, MEM_RELEASE)


def test_the_working_set_is_read_and_set() -> None:
    """What GetProcessWorkingSetSizeEx reads, SetProcessWorkingSetSizeEx accepts back."""
    process = GetCurrentProcess()
    least, most, flags = SIZE_T(), SIZE_T(), DWORD()
    assert GetProcessWorkingSetSizeEx(process, byref(least), byref(most), byref(flags))
    assert 0 < least.value <= most.value
    assert SetProcessWorkingSetSizeEx(process, least.value, most.value, 0)


def test_the_machine_is_described() -> None:
    """Page size, granularity and processors are those of the machine."""
    info = SYSTEM_INFO()
    GetSystemInfo(byref(info))
    assert (PAGE, 65536) == (info.dwPageSize, info.dwAllocationGranularity)
    assert os.cpu_count() == info.dwNumberOfProcessors
    assert info.wProcessorArchitecture in (
        PROCESSOR_ARCHITECTURE_AMD64,
        PROCESSOR_ARCHITECTURE_INTEL,
        PROCESSOR_ARCHITECTURE_ARM64,
    )
    assert 0 == GetLargePageMinimum() % PAGE
