"""Errors: one class per remedy, whichever of its numbers a failure came with."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from pyiocp import (
    AccessDeniedError,
    CompletionPort,
    ConnectionLostError,
    ConnectRefusedError,
    IocpError,
    MessageTruncatedError,
    NetworkTimeoutError,
    OperationCancelledError,
    PathExistsError,
    PathNotFoundError,
    PeerResetError,
    PipeClosedError,
    ResourceLimitError,
    SharingViolationError,
)
from pyiocp.engine.operation import Operation
from pyiocp.errors import SOCKET_WINERROR_OF, WINERROR_OF, error_of_code, error_of_status
from pyiocp.handles.handle import Handle
from pyiocp.winapi import (
    FILE_FLAG_OVERLAPPED,
    GENERIC_READ,
    OPEN_EXISTING,
    CreateFileW,
    RtlNtStatusToDosError,
)
from pyiocp.winapi import errorcodes as codes

CODES = [
    # Win32's and Winsock's number of the same failure side by side.
    (64, PeerResetError, ConnectionResetError),
    (10054, PeerResetError, ConnectionResetError),
    (1234, PeerResetError, ConnectionResetError),
    (995, OperationCancelledError, OSError),
    (1225, ConnectRefusedError, ConnectionRefusedError),
    (10061, ConnectRefusedError, ConnectionRefusedError),
    (1236, ConnectionLostError, ConnectionAbortedError),
    (10053, ConnectionLostError, ConnectionAbortedError),
    (121, NetworkTimeoutError, TimeoutError),
    (10060, NetworkTimeoutError, TimeoutError),
    (1453, ResourceLimitError, OSError),
    (10055, ResourceLimitError, OSError),
    (1816, ResourceLimitError, OSError),
    (2, PathNotFoundError, FileNotFoundError),
    (3, PathNotFoundError, FileNotFoundError),
    (80, PathExistsError, FileExistsError),
    (183, PathExistsError, FileExistsError),
    (5, AccessDeniedError, PermissionError),
    (10013, AccessDeniedError, PermissionError),
    (32, SharingViolationError, PermissionError),
    (33, SharingViolationError, PermissionError),
    (109, PipeClosedError, BrokenPipeError),
    (232, PipeClosedError, BrokenPipeError),
    (233, PipeClosedError, BrokenPipeError),
]

SOCKET_STATUSES = [
    (codes.STATUS_CANCELLED, 995, OperationCancelledError),
    (codes.STATUS_CONNECTION_RESET, 10054, PeerResetError),
    (codes.STATUS_REMOTE_DISCONNECT, 10054, PeerResetError),
    (codes.STATUS_PORT_UNREACHABLE, 10054, PeerResetError),
    (codes.STATUS_CONNECTION_ABORTED, 10053, ConnectionLostError),
    (codes.STATUS_LOCAL_DISCONNECT, 10053, ConnectionLostError),
    (codes.STATUS_CONNECTION_REFUSED, 10061, ConnectRefusedError),
    (codes.STATUS_REMOTE_NOT_LISTENING, 10061, ConnectRefusedError),
    (codes.STATUS_IO_TIMEOUT, 10060, NetworkTimeoutError),
    (codes.STATUS_INSUFFICIENT_RESOURCES, 10055, ResourceLimitError),
    # A handle closed under its operation, as Windows and as Wine report it.
    (codes.STATUS_FILE_CLOSED, 995, OperationCancelledError),
    (codes.STATUS_HANDLES_CLOSED, 995, OperationCancelledError),
]


FILE_STATUSES = [
    (codes.STATUS_CANCELLED, 995, OperationCancelledError),
    (codes.STATUS_FILE_CLOSED, 995, OperationCancelledError),
    (codes.STATUS_HANDLES_CLOSED, 995, OperationCancelledError),
    (codes.STATUS_OBJECT_NAME_NOT_FOUND, 2, PathNotFoundError),
    (codes.STATUS_ACCESS_DENIED, 5, AccessDeniedError),
    (codes.STATUS_SHARING_VIOLATION, 32, SharingViolationError),
    (codes.STATUS_FILE_LOCK_CONFLICT, 33, SharingViolationError),
    (codes.STATUS_END_OF_FILE, 38, IocpError),
    (codes.STATUS_PIPE_BROKEN, 109, PipeClosedError),
    (codes.STATUS_PIPE_DISCONNECTED, 233, PipeClosedError),
    (codes.STATUS_BUFFER_OVERFLOW, 234, MessageTruncatedError),
    (codes.STATUS_WORKING_SET_QUOTA, 1453, ResourceLimitError),
]


@pytest.mark.parametrize(("code", "kind", "builtin"), CODES)
def test_code_of_either_numbering_is_one_class(
    code: int, kind: type[IocpError], builtin: type[OSError]
) -> None:
    """C16: Win32's and Winsock's numbers give the same class; the number itself is kept."""
    error = error_of_code("WSARecv", code, None, "subject")
    assert type(error) is kind
    assert isinstance(error, builtin)
    assert (error.winerror, error.ntstatus, error.function, error.subject) == (
        code,
        None,
        "WSARecv",
        "subject",
    )
    assert str(code) in str(error)
    assert "WSARecv" in str(error)


@pytest.mark.parametrize(("status", "code", "kind"), SOCKET_STATUSES)
def test_status_gives_the_class_and_keeps_both_numbers(
    status: int, code: int, kind: type[IocpError]
) -> None:
    """C16: the kernel's number decides, and stays on the exception, unsigned."""
    error = error_of_status("WSARecv", status, None, SOCKET_WINERROR_OF)
    assert type(error) is kind
    assert (error.winerror, error.ntstatus) == (code, status)
    assert error.ntstatus >= 0x80000000


@pytest.mark.parametrize(("status", "code", "kind"), FILE_STATUSES)
def test_status_of_a_file_or_pipe_is_win32s_code(
    status: int, code: int, kind: type[IocpError]
) -> None:
    """C16: what is an address in use on a socket is a file in use on a file."""
    error = error_of_status("ReadFile", status)
    assert type(error) is kind
    assert (error.winerror, error.ntstatus) == (code, status)


@pytest.mark.skipif(os.name != "nt", reason="asks ntdll")
def test_codes_of_files_are_ntdlls() -> None:
    """C16: but for how operations end when nothing failed, of which ntdll knows less."""
    ends = {
        codes.STATUS_CANCELLED,
        codes.STATUS_REQUEST_ABORTED,
        codes.STATUS_HANDLES_CLOSED,
        codes.STATUS_FILE_CLOSED,
    }
    failures = {status: code for status, code in WINERROR_OF.items() if status not in ends}
    assert {status: RtlNtStatusToDosError(status - 2**32) for status in failures} == failures


def test_kind_of_handle_decides_what_a_status_means(port: CompletionPort) -> None:
    """C16: the same status on an operation of a socket and on one of another handle."""
    null = CreateFileW("NUL", GENERIC_READ, 0, None, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, None)
    found = {}
    for handle in (port.stream(), Handle(port._queue, null)):
        completion = Operation(handle, "probe").finish(0, codes.STATUS_SHARING_VIOLATION)
        assert isinstance(completion.error, IocpError)
        found[handle.kind] = completion.error.winerror
    assert found == {"stream": 10048, "handle": 32}


def test_unknown_numbers_are_kept() -> None:
    """C16: what no table knows is still an IocpError, with its number in words."""
    error = error_of_status("WSARecv", 0xC0DEC0DE)
    assert type(error) is IocpError
    assert error.ntstatus == 0xC0DEC0DE
    assert "C0DEC0DE" in str(error).upper()
    assert error_of_code("WSARecv", 54321).winerror == 54321


@pytest.mark.skipif(os.name != "nt", reason="errno comes from Windows' table of codes")
@pytest.mark.parametrize("code", [64, 995, 10035, 10048, 10053, 10054, 10060, 10061])
def test_errno_is_what_python_gives_the_code(code: int) -> None:
    """C16: ``error.errno`` is the number that the socket module's errors have for the code."""
    assert error_of_code("WSARecv", code).errno == OSError(0, "", None, code).errno


def test_real_failures_end_in_these_classes(port: CompletionPort) -> None:
    """C16: cancelled, reset and refused, by the system itself; each with all its numbers."""
    unused = socket.socket()
    unused.bind(("127.0.0.1", 0))
    address = unused.getsockname()
    unused.close()
    pairs = [socket.socketpair() for _ in range(2)]
    streams = [port.stream(ours, key=key) for key, (ours, _) in zip("cr", pairs, strict=True)]
    operations = [stream.receive(bytearray(4)) for stream in streams]
    assert operations[0].cancel()
    pairs[1][1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("HH", 1, 0))
    pairs[1][1].close()
    port.stream(key="n").connect(address)
    errors = {}
    while len(errors) < 3:
        for completion in port.wait(10):
            errors[completion.key] = completion.error
    pairs[0][1].close()
    assert {key: type(error) for key, error in errors.items()} == {
        "c": OperationCancelledError,
        "r": PeerResetError,
        "n": ConnectRefusedError,
    }
    for key, error in errors.items():
        assert isinstance(error, IocpError)
        assert error.winerror == {"c": 995, "r": 10054, "n": 10061}[key]
        assert error.ntstatus is not None
        assert error.function in {"WSARecv", "ConnectEx"}
