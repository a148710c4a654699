"""What can go wrong with an overlapped operation, one class per remedy.

Win32, Winsock and the kernel number the same failure differently: a connection reset is
``ERROR_NETNAME_DELETED`` (64) from GetQueuedCompletionStatus, ``WSAECONNRESET`` (10054)
from WSAGetOverlappedResult and ``STATUS_CONNECTION_RESET`` in the OVERLAPPED itself. The
NTSTATUS is what the kernel wrote, so the mapping here is by NTSTATUS, and every exception
keeps all of its numbers.

The same status means one thing on a socket and another on a file: STATUS_SHARING_VIOLATION
is an address in use there and a file in use here. So there are two tables, `WINERROR_OF`
for every handle and `SOCKET_WINERROR_OF` for sockets, which goes first there; each kind of
handle names its own (``Handle.winerror_of``). For a status in neither, ntdll's own
translation is taken.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, ClassVar

from .winapi import RtlNtStatusToDosError
from .winapi import errorcodes as codes

if TYPE_CHECKING:
    from collections.abc import Mapping


class IocpError(OSError):
    """An overlapped operation, or the call that should have started it, failed.

    ``winerror`` is the Win32 or Winsock code, ``ntstatus`` the kernel's (unsigned; None
    when the call failed before it reached the kernel), ``function`` the Win32 function,
    ``subject`` the operation, stream, session or port that it was attempted on.
    """

    winerror: int
    errno: int
    explanation: ClassVar[str] = ""
    """What the class means, where the code alone does not tell."""

    def __init__(
        self, function: str, winerror: int, ntstatus: int | None = None, subject: Any = None
    ) -> None:
        name = codes.error_name(winerror)
        text = f"{function} failed with {name} ({winerror})"
        if ntstatus is not None:
            text += f", {codes.status_name(ntstatus)}"
        if remedy := self.explanation or _remedy(function, winerror, ntstatus):
            text += f": {remedy}"
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
    """The stream or pipe is not connected, or its sending side has been shut down."""


class AddressUnavailableError(IocpError):
    """The address is in use, or is none of this machine's."""


class ResourceLimitError(IocpError):
    """No more memory may be locked, no more sockets opened, or no local port is left, for now.

    Pending operations lock the pages of their buffers against a quota. The operation was
    not started: try again after a completion, with smaller buffers or zero-byte receives.
    A connect gets this when the local ports are used up: ports come back some minutes after
    their connections have ended.
    """


class MessageTruncatedError(IocpError):
    """The buffer was smaller than the message; what fitted was delivered."""


class HandleInvalidError(IocpError):
    """The handle is closed, is none, or is of a kind that the function does not take."""


class NotOverlappedError(IocpError, ValueError):
    """The handle was not opened for overlapped operations: no port can take it."""

    explanation = "the handle was not opened for overlapped I/O (FILE_FLAG_OVERLAPPED)"


class AlreadyAssociatedError(IocpError, ValueError):
    """The handle is on a completion port already: Windows lets it be on one only."""

    explanation = "the handle is on a completion port already, this one or another"


class PathNotFoundError(IocpError, FileNotFoundError):
    """There is no file, directory, pipe or device of that name."""


class PathExistsError(IocpError, FileExistsError):
    """There is a file, directory or pipe of that name already."""


class AccessDeniedError(IocpError, PermissionError):
    """The system does not let this user, or this handle, do that."""


class SharingViolationError(IocpError, PermissionError):
    """Another handle has the file open, or the range locked, and does not share it, for now."""


class PipeClosedError(IocpError, BrokenPipeError):
    """The other end of the pipe has been closed, or has been disconnected by its server."""


class PipeBusyError(IocpError, BlockingIOError):
    """Every instance of the pipe has its client, or there is something unread in it, for now."""


class PortClosedError(ValueError):
    """The completion port is closed, or is closing: it takes no more operations."""


class HandleClosedError(ValueError):
    """The stream was closed or detached: it takes no more operations."""


def closed_error(
    what: object, so: str, kind: type[ValueError] = PortClosedError
) -> PortClosedError | HandleClosedError | ValueError:
    """Return the error of an attempt on what is closed: "… is closed: ", and `so`."""
    return kind(f"{what!r} is closed: {so}")


REFUSALS = (IocpError, HandleClosedError, PortClosedError)
"""What posting an operation raises when the system, or a closed handle or port, refuses it."""


_REMEDIES = {
    codes.WSAENOBUFS: "too much memory is locked by pending operations",
    codes.ERROR_WORKING_SET_QUOTA: "too much memory is locked by pending operations",
    codes.WSAEADDRINUSE: "another socket has this address",
    codes.WSAEADDRNOTAVAIL: "no interface of this machine has this address",
    codes.WSAECONNREFUSED: "nobody listens there",
    codes.WSAECONNRESET: "the peer reset the connection",
    codes.WSA_OPERATION_ABORTED: "cancelled",
    codes.ERROR_NOT_ENOUGH_QUOTA: "too much memory is locked by pending operations",
    codes.ERROR_SHARING_VIOLATION: "another handle has it open and does not share it",
    codes.ERROR_LOCK_VIOLATION: "another handle has locked a part of it",
    codes.ERROR_BROKEN_PIPE: "the other end of the pipe has been closed",
    codes.ERROR_NO_DATA: "the other end of the pipe has been closed",
    codes.ERROR_PIPE_NOT_CONNECTED: "the server has disconnected the pipe",
}

_TAKES_A_PORT = frozenset({"bind", "connect", "ConnectEx"})
"""The functions that give a socket a local port."""


def _remedy(function: str, winerror: int, ntstatus: int | None) -> str | None:
    """Return what the failure of a function means, where the code's name does not tell."""
    no_memory = ntstatus is not None and ntstatus != codes.STATUS_TOO_MANY_ADDRESSES
    if winerror == codes.WSAENOBUFS and function in _TAKES_A_PORT and not no_memory:
        return (
            "no local port is left: too many connections are open, or ended less than some minutes"
            " ago; use connections again, or more local addresses"
        )
    return _REMEDIES.get(winerror)


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
    codes.ERROR_NOT_ENOUGH_QUOTA: ResourceLimitError,
    codes.ERROR_PAGEFILE_QUOTA: ResourceLimitError,
    codes.ERROR_COMMITMENT_LIMIT: ResourceLimitError,
    codes.ERROR_NONPAGED_SYSTEM_RESOURCES: ResourceLimitError,
    codes.ERROR_PAGED_SYSTEM_RESOURCES: ResourceLimitError,
    codes.ERROR_TOO_MANY_OPEN_FILES: ResourceLimitError,
    codes.ERROR_TOO_MANY_CMDS: ResourceLimitError,
    codes.WSAEMSGSIZE: MessageTruncatedError,
    codes.ERROR_MORE_DATA: MessageTruncatedError,
    codes.ERROR_INVALID_HANDLE: HandleInvalidError,
    codes.WSAENOTSOCK: HandleInvalidError,
    codes.ERROR_FILE_NOT_FOUND: PathNotFoundError,
    codes.ERROR_PATH_NOT_FOUND: PathNotFoundError,
    codes.ERROR_FILE_EXISTS: PathExistsError,
    codes.ERROR_ALREADY_EXISTS: PathExistsError,
    codes.ERROR_ACCESS_DENIED: AccessDeniedError,
    codes.ERROR_PRIVILEGE_NOT_HELD: AccessDeniedError,
    codes.WSAEACCES: AccessDeniedError,
    codes.ERROR_SHARING_VIOLATION: SharingViolationError,
    codes.ERROR_LOCK_VIOLATION: SharingViolationError,
    codes.ERROR_BROKEN_PIPE: PipeClosedError,
    codes.ERROR_NO_DATA: PipeClosedError,
    codes.ERROR_PIPE_NOT_CONNECTED: PipeClosedError,
    codes.ERROR_BAD_PIPE: PipeClosedError,
    codes.ERROR_PIPE_BUSY: PipeBusyError,
    codes.ERROR_PIPE_LISTENING: NotConnectedError,
}

#: The kernel's numbers as Win32 codes, for every kind of handle. Of how operations end when
#: nothing failed ntdll has another opinion, or none; the rest is as ntdll has it.
WINERROR_OF: dict[int, int] = {
    codes.STATUS_CANCELLED: codes.ERROR_OPERATION_ABORTED,
    codes.STATUS_REQUEST_ABORTED: codes.ERROR_OPERATION_ABORTED,
    # A handle closed under its operation: the first is Wine's answer, the second Windows'.
    codes.STATUS_HANDLES_CLOSED: codes.ERROR_OPERATION_ABORTED,
    codes.STATUS_FILE_CLOSED: codes.ERROR_OPERATION_ABORTED,
    codes.STATUS_INSUFFICIENT_RESOURCES: codes.ERROR_NO_SYSTEM_RESOURCES,
    codes.STATUS_QUOTA_EXCEEDED: codes.ERROR_NOT_ENOUGH_QUOTA,
    codes.STATUS_WORKING_SET_QUOTA: codes.ERROR_WORKING_SET_QUOTA,
    codes.STATUS_PAGEFILE_QUOTA: codes.ERROR_PAGEFILE_QUOTA,
    codes.STATUS_NO_MEMORY: codes.ERROR_NOT_ENOUGH_MEMORY,
    codes.STATUS_COMMITMENT_LIMIT: codes.ERROR_COMMITMENT_LIMIT,
    codes.STATUS_TOO_MANY_COMMANDS: codes.ERROR_TOO_MANY_CMDS,
    codes.STATUS_TOO_MANY_OPENED_FILES: codes.ERROR_TOO_MANY_OPEN_FILES,
    codes.STATUS_BUFFER_OVERFLOW: codes.ERROR_MORE_DATA,
    codes.STATUS_INVALID_HANDLE: codes.ERROR_INVALID_HANDLE,
    codes.STATUS_OBJECT_TYPE_MISMATCH: codes.ERROR_INVALID_HANDLE,
    codes.STATUS_OBJECT_NAME_NOT_FOUND: codes.ERROR_FILE_NOT_FOUND,
    codes.STATUS_OBJECT_PATH_NOT_FOUND: codes.ERROR_PATH_NOT_FOUND,
    codes.STATUS_OBJECT_NAME_COLLISION: codes.ERROR_ALREADY_EXISTS,
    codes.STATUS_ACCESS_DENIED: codes.ERROR_ACCESS_DENIED,
    codes.STATUS_PRIVILEGE_NOT_HELD: codes.ERROR_PRIVILEGE_NOT_HELD,
    codes.STATUS_SHARING_VIOLATION: codes.ERROR_SHARING_VIOLATION,
    codes.STATUS_FILE_LOCK_CONFLICT: codes.ERROR_LOCK_VIOLATION,
    codes.STATUS_LOCK_NOT_GRANTED: codes.ERROR_LOCK_VIOLATION,
    codes.STATUS_PIPE_BROKEN: codes.ERROR_BROKEN_PIPE,
    codes.STATUS_PIPE_CLOSING: codes.ERROR_NO_DATA,
    codes.STATUS_PIPE_DISCONNECTED: codes.ERROR_PIPE_NOT_CONNECTED,
    codes.STATUS_INVALID_PIPE_STATE: codes.ERROR_BAD_PIPE,
    codes.STATUS_PIPE_NOT_AVAILABLE: codes.ERROR_PIPE_BUSY,
    codes.STATUS_PIPE_BUSY: codes.ERROR_PIPE_BUSY,
    codes.STATUS_PIPE_LISTENING: codes.ERROR_PIPE_LISTENING,
}

#: The same for sockets: the code that says best what happened to a connection.
SOCKET_WINERROR_OF: dict[int, int] = {
    **WINERROR_OF,
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
    codes.STATUS_INVALID_ADDRESS: codes.WSAEADDRNOTAVAIL,
    codes.STATUS_INSUFFICIENT_RESOURCES: codes.WSAENOBUFS,
    codes.STATUS_QUOTA_EXCEEDED: codes.WSAENOBUFS,
    codes.STATUS_WORKING_SET_QUOTA: codes.WSAENOBUFS,
    codes.STATUS_PAGEFILE_QUOTA: codes.WSAENOBUFS,
    codes.STATUS_COMMITMENT_LIMIT: codes.WSAENOBUFS,
    codes.STATUS_NO_MEMORY: codes.WSAENOBUFS,
    codes.STATUS_BUFFER_OVERFLOW: codes.WSAEMSGSIZE,
    codes.STATUS_INVALID_BUFFER_SIZE: codes.WSAEMSGSIZE,
    codes.STATUS_INVALID_HANDLE: codes.WSAENOTSOCK,
    codes.STATUS_OBJECT_TYPE_MISMATCH: codes.WSAENOTSOCK,
    codes.STATUS_ACCESS_DENIED: codes.WSAEACCES,
    codes.STATUS_ACCESS_VIOLATION: codes.WSAEFAULT,
    codes.STATUS_BUFFER_TOO_SMALL: codes.WSAEFAULT,
    codes.STATUS_INVALID_PARAMETER: codes.WSAEINVAL,
    codes.STATUS_NOT_SUPPORTED: codes.WSAEOPNOTSUPP,
    codes.STATUS_NOT_IMPLEMENTED: codes.WSAEOPNOTSUPP,
    codes.STATUS_NETWORK_BUSY: codes.WSAENETDOWN,
    codes.STATUS_UNEXPECTED_NETWORK_ERROR: codes.WSAENETDOWN,
    codes.STATUS_INVALID_NETWORK_RESPONSE: codes.WSAENETDOWN,
}


def failed(status: int) -> bool:
    """Tell whether an NTSTATUS (unsigned) is a failure rather than a success or a remark.

    Severity 2 is a warning and 3 an error, and the kernel fails an operation with either:
    ``STATUS_BUFFER_OVERFLOW`` and ``STATUS_HANDLES_CLOSED`` are warnings.
    """
    return status >= 0x80000000


def error_of_status(
    function: str,
    status: int,
    subject: Any = None,
    winerror_of: Mapping[int, int] = WINERROR_OF,
) -> IocpError:
    """Return the exception for an operation of `function` that ended in `status`.

    status: unsigned. winerror_of: the table of the operation's kind of handle.
    """
    winerror = winerror_of.get(status)
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
