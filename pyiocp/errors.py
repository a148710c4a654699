"""What can go wrong with an overlapped operation, one class per remedy.

Win32, Winsock and the kernel number the same failure differently: a connection reset is
``ERROR_NETNAME_DELETED`` (64) from GetQueuedCompletionStatus, ``WSAECONNRESET`` (10054)
from WSAGetOverlappedResult and ``STATUS_CONNECTION_RESET`` in the OVERLAPPED itself. The
NTSTATUS is what the kernel wrote, so the mapping here is by NTSTATUS, in one table, and
every exception keeps all of its numbers.

What belongs here: the exception classes and that table. For a status that is not in the
table ntdll's own translation is taken.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from .winapi import RtlNtStatusToDosError
from .winapi import errorcodes as codes


class IocpError(OSError):
    """An overlapped operation, or the call that should have started it, failed.

    ``winerror`` is the Win32 or Winsock code, ``ntstatus`` the kernel's (unsigned; None
    when the call failed before it reached the kernel), ``function`` the Win32 function,
    ``subject`` the operation, stream, session or port that it was attempted on.
    """

    winerror: int
    errno: int

    def __init__(
        self, function: str, winerror: int, ntstatus: int | None = None, subject: Any = None
    ) -> None:
        name = codes.error_name(winerror)
        text = f"{function} failed with {name} ({winerror})"
        if ntstatus is not None:
            text += f", {codes.status_name(ntstatus)}"
        if winerror in _REMEDIES:
            text += f": {_REMEDIES[winerror]}"
        if subject is not None:
            text += f" [{subject!r}]"
        super().__init__(_errno(winerror), text)
        self.winerror = winerror
        self.ntstatus = ntstatus
        self.function = function
        self.subject = subject

    def __str__(self) -> str:
        return str(self.args[1])


class OperationCancelledError(IocpError):
    """The operation was cancelled: by ``cancel()``, or because its handle was closed."""


class PeerResetError(IocpError, ConnectionResetError):
    """The peer, or something on the way to it, reset the connection."""


class ConnectionLostError(IocpError, ConnectionAbortedError):
    """This side's network stack gave the connection up, or this process aborted it."""


class ConnectRefusedError(IocpError, ConnectionRefusedError):
    """Nobody listens at the address that was connected to."""


class NetworkTimeoutError(IocpError, TimeoutError):
    """The peer did not answer in the time that the network stack allows."""


class UnreachableError(IocpError):
    """There is no way to the peer's host or network."""


class NotConnectedError(IocpError, BrokenPipeError):
    """The stream is not connected, or its sending side has been shut down."""


class AddressUnavailableError(IocpError):
    """The address is in use, or is none of this machine's."""


class ResourceLimitError(IocpError):
    """No more memory may be locked, or no more sockets opened, for now.

    Pending operations lock the pages of their buffers against a quota. The operation was
    not started: try again after a completion, with smaller buffers or zero-byte receives.
    """


class MessageTruncatedError(IocpError):
    """The buffer was smaller than the message; what fitted was delivered."""


class HandleInvalidError(IocpError):
    """The handle is closed, is none, or is of a kind that the function does not take."""


class PortClosedError(ValueError):
    """The completion port is closed, or is closing: it takes no more operations."""


class HandleClosedError(ValueError):
    """The stream was closed or detached: it takes no more operations."""


_REMEDIES = {
    codes.WSAENOBUFS: "too much memory is locked by pending operations",
    codes.ERROR_WORKING_SET_QUOTA: "too much memory is locked by pending operations",
    codes.WSAEADDRINUSE: "another socket has this address",
    codes.WSAEADDRNOTAVAIL: "no interface of this machine has this address",
    codes.WSAECONNREFUSED: "nobody listens there",
    codes.WSAECONNRESET: "the peer reset the connection",
    codes.WSA_OPERATION_ABORTED: "cancelled",
}

_CLASSES: dict[int, type[IocpError]] = {
    codes.WSA_OPERATION_ABORTED: OperationCancelledError,
    codes.WSAECONNRESET: PeerResetError,
    codes.WSAENETRESET: PeerResetError,
    codes.WSAECONNABORTED: ConnectionLostError,
    codes.ERROR_NETNAME_DELETED: PeerResetError,
    codes.ERROR_CONNECTION_ABORTED: ConnectionLostError,
    codes.WSAECONNREFUSED: ConnectRefusedError,
    codes.ERROR_CONNECTION_REFUSED: ConnectRefusedError,
    codes.WSAETIMEDOUT: NetworkTimeoutError,
    codes.ERROR_SEM_TIMEOUT: NetworkTimeoutError,
    codes.WSAENETUNREACH: UnreachableError,
    codes.WSAEHOSTUNREACH: UnreachableError,
    codes.ERROR_NETWORK_UNREACHABLE: UnreachableError,
    codes.ERROR_HOST_UNREACHABLE: UnreachableError,
    codes.ERROR_PORT_UNREACHABLE: PeerResetError,
    codes.WSAENOTCONN: NotConnectedError,
    codes.WSAESHUTDOWN: NotConnectedError,
    codes.WSAEADDRINUSE: AddressUnavailableError,
    codes.WSAEADDRNOTAVAIL: AddressUnavailableError,
    codes.WSAENOBUFS: ResourceLimitError,
    codes.WSAEMFILE: ResourceLimitError,
    codes.ERROR_WORKING_SET_QUOTA: ResourceLimitError,
    codes.ERROR_NO_SYSTEM_RESOURCES: ResourceLimitError,
    codes.ERROR_NOT_ENOUGH_MEMORY: ResourceLimitError,
    codes.WSAEMSGSIZE: MessageTruncatedError,
    codes.ERROR_MORE_DATA: MessageTruncatedError,
    codes.ERROR_INVALID_HANDLE: HandleInvalidError,
    codes.WSAENOTSOCK: HandleInvalidError,
}

#: The kernel's numbers, as the code that says best what happened to a socket operation.
WINERROR_OF: dict[int, int] = {
    codes.STATUS_CANCELLED: codes.WSA_OPERATION_ABORTED,
    codes.STATUS_REQUEST_ABORTED: codes.WSA_OPERATION_ABORTED,
    # A handle closed under its operation: the first is Wine's answer, the second Windows'.
    codes.STATUS_HANDLES_CLOSED: codes.WSA_OPERATION_ABORTED,
    codes.STATUS_FILE_CLOSED: codes.WSA_OPERATION_ABORTED,
    codes.STATUS_REMOTE_DISCONNECT: codes.WSAECONNRESET,
    codes.STATUS_CONNECTION_RESET: codes.WSAECONNRESET,
    codes.STATUS_LINK_FAILED: codes.WSAECONNRESET,
    codes.STATUS_CONNECTION_DISCONNECTED: codes.WSAECONNRESET,
    codes.STATUS_PORT_UNREACHABLE: codes.WSAECONNRESET,
    codes.STATUS_LOCAL_DISCONNECT: codes.WSAECONNABORTED,
    codes.STATUS_TRANSACTION_ABORTED: codes.WSAECONNABORTED,
    codes.STATUS_CONNECTION_ABORTED: codes.WSAECONNABORTED,
    codes.STATUS_CONNECTION_REFUSED: codes.WSAECONNREFUSED,
    codes.STATUS_REMOTE_NOT_LISTENING: codes.WSAECONNREFUSED,
    codes.STATUS_IO_TIMEOUT: codes.WSAETIMEDOUT,
    codes.STATUS_LINK_TIMEOUT: codes.WSAETIMEDOUT,
    codes.STATUS_NETWORK_UNREACHABLE: codes.WSAENETUNREACH,
    codes.STATUS_PROTOCOL_UNREACHABLE: codes.WSAENETUNREACH,
    codes.STATUS_BAD_NETWORK_PATH: codes.WSAENETUNREACH,
    codes.STATUS_HOST_UNREACHABLE: codes.WSAEHOSTUNREACH,
    codes.STATUS_INVALID_CONNECTION: codes.WSAENOTCONN,
    codes.STATUS_CONNECTION_INVALID: codes.WSAENOTCONN,
    codes.STATUS_PIPE_DISCONNECTED: codes.WSAESHUTDOWN,
    codes.STATUS_GRACEFUL_DISCONNECT: codes.WSAEDISCON,
    codes.STATUS_ADDRESS_ALREADY_EXISTS: codes.WSAEADDRINUSE,
    codes.STATUS_SHARING_VIOLATION: codes.WSAEADDRINUSE,
    codes.STATUS_TOO_MANY_ADDRESSES: codes.WSAENOBUFS,
    codes.STATUS_INVALID_ADDRESS_COMPONENT: codes.WSAEADDRNOTAVAIL,
    codes.STATUS_INSUFFICIENT_RESOURCES: codes.WSAENOBUFS,
    codes.STATUS_QUOTA_EXCEEDED: codes.WSAENOBUFS,
    codes.STATUS_WORKING_SET_QUOTA: codes.WSAENOBUFS,
    codes.STATUS_NO_MEMORY: codes.WSAENOBUFS,
    codes.STATUS_BUFFER_OVERFLOW: codes.WSAEMSGSIZE,
    codes.STATUS_INVALID_HANDLE: codes.WSAENOTSOCK,
    codes.STATUS_OBJECT_TYPE_MISMATCH: codes.WSAENOTSOCK,
    codes.STATUS_ACCESS_DENIED: codes.WSAEACCES,
    codes.STATUS_ACCESS_VIOLATION: codes.WSAEFAULT,
    codes.STATUS_INVALID_PARAMETER: codes.WSAEINVAL,
    codes.STATUS_NOT_SUPPORTED: codes.WSAEOPNOTSUPP,
}


def failed(status: int) -> bool:
    """Tell whether an NTSTATUS (unsigned) is a failure rather than a success or a remark.

    Severity 2 is a warning and 3 an error, and the kernel fails an operation with either:
    ``STATUS_BUFFER_OVERFLOW`` and ``STATUS_HANDLES_CLOSED`` are warnings.
    """
    return status >= 0x80000000


def error_of_status(function: str, status: int, subject: Any = None) -> IocpError:
    """Return the exception for an operation of `function` that ended in `status`."""
    winerror = WINERROR_OF.get(status)
    if winerror is None:
        winerror = RtlNtStatusToDosError(status - (1 << 32) if status >> 31 else status)
    return error_of_code(function, winerror, status, subject)


def error_of_code(
    function: str, winerror: int, status: int | None = None, subject: Any = None
) -> IocpError:
    """Return the exception for a call of `function` that failed with `winerror`."""
    return _CLASSES.get(winerror, IocpError)(function, winerror, status, subject)


def _errno(winerror: int) -> int:
    """Return the C error number that Python's own OSError gives a Win32 code."""
    if os.name == "nt":
        return OSError(0, "", None, winerror).errno or errno.EINVAL
    return winerror
