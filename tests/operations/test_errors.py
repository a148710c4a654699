"""Errors: one class per remedy, whichever of its numbers a failure came with."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from pyiocp import (
    CompletionPort,
    ConnectionLostError,
    ConnectRefusedError,
    IocpError,
    NetworkTimeoutError,
    OperationCancelledError,
    PeerResetError,
    ResourceLimitError,
)
from pyiocp.errors import error_of_code, error_of_status
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
]

STATUSES = [
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


@pytest.mark.parametrize(("status", "code", "kind"), STATUSES)
def test_status_gives_the_class_and_keeps_both_numbers(
    status: int, code: int, kind: type[IocpError]
) -> None:
    """C16: the kernel's number decides, and stays on the exception, unsigned."""
    error = error_of_status("WSARecv", status)
    assert type(error) is kind
    assert (error.winerror, error.ntstatus) == (code, status)
    assert error.ntstatus >= 0x80000000


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
