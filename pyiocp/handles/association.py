"""What a handle is, and why it cannot be associated with a completion port.

CreateIoCompletionPort returns ERROR_INVALID_PARAMETER both for a handle that was not opened for
overlapped operations and for one that is on a port already. Other functions tell which it is.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from ..errors import AlreadyAssociatedError, IocpError, NotOverlappedError, error_of_code
from ..winapi import (
    ERROR_INVALID_PARAMETER,
    FILE_IO_COMPLETION_NOTIFICATION_INFORMATION,
    FILE_MODE_INFORMATION,
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS,
    FILE_STANDARD_INFORMATION,
    FILE_SYNCHRONOUS_IO_ALERT,
    FILE_SYNCHRONOUS_IO_NONALERT,
    IO_STATUS_BLOCK,
    PUBLIC_OBJECT_TYPE_INFORMATION,
    SO_PROTOCOL_INFOW,
    SOL_SOCKET,
    STATUS_SUCCESS,
    WSAPROTOCOL_INFOW,
    FileIoCompletionNotificationInformation,
    FileModeInformation,
    FileStandardInformation,
    ObjectTypeInformation,
)

if TYPE_CHECKING:
    from ..engine.kernel import Kernel

#: Room for the name of a type; the longest that Windows has is 32 characters.
_TYPE_SIZE = ctypes.sizeof(PUBLIC_OBJECT_TYPE_INFORMATION) + 256


def object_type(kernel: Kernel, number: int) -> str | None:
    """Return the type of a handle's object: ``"File"``, ``"Event"`` …; None for no handle.

    Files, pipes, sockets and devices are all of the type File.

    Source: https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntqueryobject
    """
    memory = bytearray(_TYPE_SIZE)
    # Lifetime: the name that the structure points to stands in the same memory.
    information = PUBLIC_OBJECT_TYPE_INFORMATION.from_buffer(memory)
    status = kernel.NtQueryObject(
        number, ObjectTypeInformation, ctypes.byref(information), _TYPE_SIZE, None
    )
    return information.TypeName.Buffer if status == STATUS_SUCCESS else None


def file_mode(kernel: Kernel, number: int) -> int:
    """Return how a file, pipe or device was opened: FILE_* options; 0 for others.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_file_mode_information
    """
    mode = FILE_MODE_INFORMATION()
    _query(kernel, number, mode, FileModeInformation)
    return int(mode.Mode)


def is_synchronous(kernel: Kernel, number: int) -> bool:
    """Tell whether a file, pipe or device was opened without FILE_FLAG_OVERLAPPED."""
    synchronous = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT
    return bool(file_mode(kernel, number) & synchronous)


def skips_packets(kernel: Kernel, number: int) -> bool:
    """Tell whether the kernel leaves out the packet of an operation that completes at once.

    False if the system does not say: the handle is no file, pipe, socket or device.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-setfilecompletionnotificationmodes
    """
    modes = FILE_IO_COMPLETION_NOTIFICATION_INFORMATION()
    _query(kernel, number, modes, FileIoCompletionNotificationInformation)
    return bool(modes.Flags & FILE_SKIP_COMPLETION_PORT_ON_SUCCESS)


def is_directory(kernel: Kernel, number: int) -> bool:
    """Tell whether a handle is of a directory.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_file_standard_information
    """
    standard = FILE_STANDARD_INFORMATION()
    _query(kernel, number, standard, FileStandardInformation)
    return bool(standard.Directory)


def _query(kernel: Kernel, number: int, answer: ctypes.Structure, which: int) -> None:
    """Have the system fill in `answer`; it stays zeros for a handle that has no such answer."""
    outcome, size = IO_STATUS_BLOCK(), ctypes.sizeof(answer)
    kernel.NtQueryInformationFile(number, ctypes.byref(outcome), ctypes.byref(answer), size, which)


def socket_protocol(kernel: Kernel, number: int) -> WSAPROTOCOL_INFOW | None:
    """Return the protocol of a socket; None for what is not a socket, such as a pipe.

    Source: https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options
    """
    protocol = WSAPROTOCOL_INFOW()
    size = ctypes.c_int(ctypes.sizeof(protocol))
    failed = kernel.getsockopt(
        number, SOL_SOCKET, SO_PROTOCOL_INFOW, ctypes.byref(protocol), ctypes.byref(size)
    )
    return None if failed else protocol


def association_error(kernel: Kernel, number: int, code: int, handle: Any) -> IocpError:
    """Return the error for a handle that CreateIoCompletionPort has refused with `code`."""
    kind: type[IocpError] | None = None
    if code == ERROR_INVALID_PARAMETER:
        synchronous = is_synchronous(kernel, number)
        kind = NotOverlappedError if synchronous else AlreadyAssociatedError
    if kind is None:
        return error_of_code("CreateIoCompletionPort", code, None, handle)
    return kind("CreateIoCompletionPort", code, None, handle)
