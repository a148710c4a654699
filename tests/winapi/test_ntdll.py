"""ntdll's functions work as declared: statuses, ports, AFD, and packets that wait."""

from __future__ import annotations

import ctypes
import os
import socket
from ctypes import byref, sizeof
from pathlib import Path

import pytest
from win32_helpers import Handles, dequeue, location, look, on_windows, pipe_pair, started, write

from pyiocp.winapi import *

pytestmark = on_windows


def ok(status: int) -> bool:
    """Tell whether an NTSTATUS is STATUS_SUCCESS; its name shows if it is not."""
    assert "STATUS_SUCCESS" == status_name(status)
    return True


def afd(handles: Handles) -> int:
    """Open the driver below Winsock."""
    name = OBJECT_ATTRIBUTES.of(r"\Device\Afd\pyiocp")
    handle, outcome = HANDLE(), IO_STATUS_BLOCK()
    assert ok(
        NtCreateFile(
            byref(handle),
            SYNCHRONIZE,
            byref(name),
            byref(outcome),
            None,
            0,
            FILE_SHARE_READ | FILE_SHARE_WRITE,
            FILE_OPEN,
            0,
            None,
            0,
        )
    )
    return handles.keep(handle.value)


class Poll:
    """One AFD poll of one socket, in flight from `start` on."""

    def __init__(self, device: int, sock: socket.socket, events: int) -> None:
        handle = AFD_POLL_HANDLE_INFO(Handle=sock.fileno(), Events=events)
        self.info = AFD_POLL_INFO(
            Timeout=2**63 - 1, NumberOfHandles=1, Handles=(AFD_POLL_HANDLE_INFO * 1)(handle)
        )
        self.outcome = IO_STATUS_BLOCK()
        self.device = device

    def start(self) -> str:
        """Start it; return the status by name."""
        status = NtDeviceIoControlFile(
            self.device,
            None,
            None,
            ctypes.addressof(self.outcome),
            byref(self.outcome),
            IOCTL_AFD_POLL,
            byref(self.info),
            sizeof(self.info),
            byref(self.info),
            sizeof(self.info),
        )
        return status_name(status)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (STATUS_SUCCESS, ERROR_SUCCESS),
        (STATUS_CANCELLED, ERROR_OPERATION_ABORTED),
        (STATUS_PENDING, ERROR_IO_PENDING),
        (STATUS_CONNECTION_RESET, ERROR_NETNAME_DELETED),
        (STATUS_CONNECTION_ABORTED, ERROR_CONNECTION_ABORTED),
        (STATUS_CONNECTION_REFUSED, ERROR_CONNECTION_REFUSED),
        (STATUS_PORT_UNREACHABLE, ERROR_PORT_UNREACHABLE),
        (STATUS_IO_TIMEOUT, ERROR_SEM_TIMEOUT),
        (STATUS_BUFFER_OVERFLOW, ERROR_MORE_DATA),
        (STATUS_END_OF_FILE, ERROR_HANDLE_EOF),
        (STATUS_PIPE_BROKEN, ERROR_BROKEN_PIPE),
        (STATUS_PIPE_CLOSING, ERROR_NO_DATA),
        (STATUS_INSUFFICIENT_RESOURCES, ERROR_NO_SYSTEM_RESOURCES),
        (STATUS_WORKING_SET_QUOTA, ERROR_WORKING_SET_QUOTA),
        (STATUS_NOTIFY_ENUM_DIR, ERROR_NOTIFY_ENUM_DIR),
        (STATUS_INVALID_HANDLE, ERROR_INVALID_HANDLE),
        (0xC0FFEE00, ERROR_MR_MID_NOT_FOUND),
    ],
    ids=lambda code: None,
)
def test_a_status_translates_to_its_error(status: int, error: int) -> None:
    """Unsigned and signed forms of the NTSTATUS give the same Win32 error."""
    assert error_name(error) == error_name(RtlNtStatusToDosError(status))
    assert error == RtlNtStatusToDosError(ctypes.c_int32(status).value)


def test_a_port_tells_how_many_packets_it_holds(iocp: int) -> None:
    """Three posted packets make a depth of 3; one taken leaves 2."""
    depth = IO_COMPLETION_BASIC_INFORMATION()
    which = IoCompletionBasicInformation
    for _ in range(3):
        assert PostQueuedCompletionStatus(iocp, 0, 1, None)
    assert ok(NtQueryIoCompletion(iocp, which, byref(depth), sizeof(depth), None))
    assert 3 == depth.Depth
    look(iocp)
    assert ok(NtQueryIoCompletion(iocp, which, byref(depth), sizeof(depth), None))
    assert 2 == depth.Depth


def test_the_completion_modes_that_took_effect_can_be_read(handles: Handles) -> None:
    """C08: what SetFileCompletionNotificationModes set is what the file object has."""
    server, _client = pipe_pair(handles)
    modes, outcome = FILE_IO_COMPLETION_NOTIFICATION_INFORMATION(), IO_STATUS_BLOCK()

    def read() -> int:
        status = NtQueryInformationFile(
            server,
            byref(outcome),
            byref(modes),
            sizeof(modes),
            FileIoCompletionNotificationInformation,
        )
        assert ok(status)
        return int(modes.Flags)

    assert 0 == read()
    assert SetFileCompletionNotificationModes(server, FILE_SKIP_SET_EVENT_ON_HANDLE)
    assert FILE_SKIP_SET_EVENT_ON_HANDLE == read()


def test_a_handle_moves_to_another_port(handles: Handles, iocp: int) -> None:
    """A second CreateIoCompletionPort is refused; FileReplaceCompletionInformation is not."""
    server, client = pipe_pair(handles)
    other = handles.keep(CreateIoCompletionPort(INVALID_HANDLE_VALUE, None, 0, 0))
    assert CreateIoCompletionPort(server, iocp, 1, 0)
    assert CreateIoCompletionPort(server, other, 2, 0) is None
    assert ERROR_INVALID_PARAMETER == last_error()
    moved, outcome = FILE_COMPLETION_INFORMATION(other, 2), IO_STATUS_BLOCK()
    status = NtSetInformationFile(
        server, byref(outcome), byref(moved), sizeof(moved), FileReplaceCompletionInformation
    )
    if status & 0xFFFFFFFF in (STATUS_NOT_IMPLEMENTED, STATUS_INVALID_INFO_CLASS):
        pytest.skip("came with Windows 8.1")
    assert ok(status)
    buffer, overlapped = ctypes.create_string_buffer(8), OVERLAPPED()
    started(ReadFile(server, buffer, 8, None, byref(overlapped)))
    write(client, b"moved")
    packet = dequeue(other)
    assert (5, 2, location(overlapped)) == packet[2:]
    assert WAIT_TIMEOUT == look(iocp).error


def test_afd_says_when_a_socket_is_readable(handles: Handles, iocp: int) -> None:
    """A poll is pending until data comes, then its packet says AFD_POLL_RECEIVE."""
    device = afd(handles)
    assert CreateIoCompletionPort(device, iocp, 3, 0)
    left, right = socket.socketpair()
    with left, right:
        poll = Poll(device, left, AFD_POLL_RECEIVE | AFD_POLL_DISCONNECT)
        assert "STATUS_PENDING" == poll.start()
        right.send(b"x")
        packet = dequeue(iocp)
        assert (1, 3, ctypes.addressof(poll.outcome)) == (packet.ok, packet.key, packet.address)
        assert 1 == poll.info.NumberOfHandles
        assert AFD_POLL_RECEIVE == poll.info.Handles[0].Events
        assert "Events=AFD_POLL_RECEIVE, Status=STATUS_SUCCESS" in repr(poll.info)


def test_a_cancelled_poll_ends_with_its_packet(handles: Handles, iocp: int) -> None:
    """NtCancelIoFileEx asks; the packet says STATUS_CANCELLED; asking again finds nothing."""
    device = afd(handles)
    assert CreateIoCompletionPort(device, iocp, 3, 0)
    left, right = socket.socketpair()
    with left, right:
        poll, outcome = Poll(device, left, AFD_POLL_RECEIVE), IO_STATUS_BLOCK()
        assert "STATUS_PENDING" == poll.start()
        assert ok(NtCancelIoFileEx(device, byref(poll.outcome), byref(outcome)))
        packet = dequeue(iocp)
        assert (ERROR_OPERATION_ABORTED, ctypes.addressof(poll.outcome)) == (
            packet.error,
            packet.address,
        )
        assert "IO_STATUS_BLOCK(STATUS_CANCELLED, Information=0)" == repr(poll.outcome)
        status = NtCancelIoFileEx(device, byref(poll.outcome), byref(outcome))
        assert "STATUS_NOT_FOUND" == status_name(status)


def test_a_name_that_is_not_there_is_a_status(handles: Handles) -> None:
    """NtCreateFile of a device that does not exist returns, signed, what status_name names."""
    name = OBJECT_ATTRIBUTES.of(rf"\Device\pyiocp-{os.getpid()}")
    handle, outcome = HANDLE(), IO_STATUS_BLOCK()
    status = NtCreateFile(
        byref(handle), SYNCHRONIZE, byref(name), byref(outcome), None, 0, 0, FILE_OPEN, 0, None, 0
    )
    assert status < 0
    assert status_name(status) in ("STATUS_OBJECT_NAME_NOT_FOUND", "STATUS_OBJECT_PATH_NOT_FOUND")


def test_a_file_is_opened_by_its_kernel_name(handles: Handles, tmp_path: Path) -> None:
    r"""NtCreateFile makes a file below ``\??\`` that the file system then has."""
    path = tmp_path / "made"
    name = OBJECT_ATTRIBUTES.of(rf"\??\{path}")
    handle, outcome = HANDLE(), IO_STATUS_BLOCK()
    access = FILE_GENERIC_READ | FILE_GENERIC_WRITE
    options = FILE_SYNCHRONOUS_IO_NONALERT | FILE_NON_DIRECTORY_FILE
    assert ok(
        NtCreateFile(
            byref(handle),
            access,
            byref(name),
            byref(outcome),
            None,
            FILE_ATTRIBUTE_NORMAL,
            FILE_SHARE_READ,
            FILE_CREATE,
            options,
            None,
            0,
        )
    )
    assert CloseHandle(handle)
    assert path.is_file()


needs_packets = pytest.mark.skipif(
    not available("NtCreateWaitCompletionPacket"), reason="came with Windows 8"
)


@needs_packets
def test_a_signalled_event_queues_its_packet(handles: Handles, iocp: int) -> None:
    """Nothing is queued until the event is set; then exactly one packet, with what was given."""
    event = handles.keep(CreateEventW(None, False, False, None))
    packet, signalled = HANDLE(), BOOLEAN(9)
    assert ok(NtCreateWaitCompletionPacket(byref(packet), MAXIMUM_ALLOWED, None))
    handles.keep(packet.value)
    assert ok(
        NtAssociateWaitCompletionPacket(
            packet, iocp, event, 11, 22, STATUS_SUCCESS, 33, byref(signalled)
        )
    )
    assert 0 == signalled.value
    assert WAIT_TIMEOUT == look(iocp).error
    assert SetEvent(event)
    assert (1, 0, 33, 11, 22) == dequeue(iocp)
    assert WAIT_TIMEOUT == look(iocp).error


@needs_packets
def test_a_cancelled_wait_queues_nothing(handles: Handles, iocp: int) -> None:
    """NtCancelWaitCompletionPacket takes the wait back, and finds nothing the second time."""
    event, packet = handles.keep(CreateEventW(None, True, False, None)), HANDLE()
    assert ok(NtCreateWaitCompletionPacket(byref(packet), MAXIMUM_ALLOWED, None))
    handles.keep(packet.value)
    assert ok(NtAssociateWaitCompletionPacket(packet, iocp, event, 1, 2, 0, 0, None))
    assert ok(NtCancelWaitCompletionPacket(packet, True))
    assert SetEvent(event)
    assert WAIT_TIMEOUT == look(iocp).error
    assert "STATUS_CANCELLED" == status_name(NtCancelWaitCompletionPacket(packet, True))


def test_a_file_tells_the_sectors_of_its_volume(handles: Handles, tmp_path: Path) -> None:
    """A power of two, 512 bytes at least, and no more than a page mostly."""
    path = tmp_path / "file"
    path.touch()
    share = FILE_SHARE_READ | FILE_SHARE_WRITE
    file = handles.keep(CreateFileW(str(path), GENERIC_READ, share, None, OPEN_EXISTING, 0, None))
    outcome, size = IO_STATUS_BLOCK(), FILE_FS_SIZE_INFORMATION()
    status = NtQueryVolumeInformationFile(
        file, byref(outcome), byref(size), sizeof(size), FileFsSizeInformation
    )
    assert ok(status)
    assert size.BytesPerSector in (512, 1024, 2048, 4096, 8192)
    assert size.SectorsPerAllocationUnit > 0
    assert 0 <= size.AvailableAllocationUnits <= size.TotalAllocationUnits


def test_a_file_tells_how_it_was_opened(handles: Handles, tmp_path: Path) -> None:
    """Only a file that was opened without FILE_FLAG_OVERLAPPED is a synchronous one."""
    synchronous = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT
    seen = []
    for flags in (0, FILE_FLAG_OVERLAPPED):
        name = str(tmp_path / "file")
        file = handles.keep(CreateFileW(name, GENERIC_READ, 1, None, OPEN_ALWAYS, flags, None))
        mode, outcome = FILE_MODE_INFORMATION(), IO_STATUS_BLOCK()
        size = sizeof(mode)
        assert ok(
            NtQueryInformationFile(file, byref(outcome), byref(mode), size, FileModeInformation)
        )
        seen.append(bool(mode.Mode & synchronous))
        assert FILE_TYPE_DISK == GetFileType(file)
        standard = FILE_STANDARD_INFORMATION(Directory=9)
        where, size = byref(standard), sizeof(standard)
        assert ok(
            NtQueryInformationFile(file, byref(outcome), where, size, FileStandardInformation)
        )
        assert (0, 0) == (standard.EndOfFile, standard.Directory)
    assert [True, False] == seen
    assert FILE_TYPE_PIPE == GetFileType(pipe_pair(handles)[0])


def test_a_handle_tells_the_type_of_its_object(handles: Handles) -> None:
    """An event is an Event, a pipe a File; what is no handle is told by its status."""

    def type_of(handle: int) -> str:
        memory = ctypes.create_string_buffer(256)
        status = NtQueryObject(handle, ObjectTypeInformation, memory, 256, None)
        assert ok(status), status_name(status)
        return PUBLIC_OBJECT_TYPE_INFORMATION.from_buffer(memory).TypeName.Buffer

    assert "Event" == type_of(handles.keep(CreateEventW(None, True, False, None)))
    assert "File" == type_of(pipe_pair(handles)[0])
    invalid = NtQueryObject(0x7770, ObjectTypeInformation, None, 0, None)
    assert STATUS_INVALID_HANDLE == invalid & 0xFFFFFFFF
