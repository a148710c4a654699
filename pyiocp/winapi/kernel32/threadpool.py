"""The thread pool's I/O objects: completions that arrive as calls on pool threads."""

from __future__ import annotations

from ..binding import Callback
from ..types import BOOL, HANDLE, PVOID, ULONG, ULONG_PTR
from .library import kernel32

# Pointers to structures that only the system looks into.
PTP_IO = PVOID
PTP_CALLBACK_INSTANCE = PVOID
PTP_CALLBACK_ENVIRON = PVOID


class PTP_WIN32_IO_CALLBACK(Callback):
    """A function that a pool thread calls when an operation has ended.

    Instance: this call's own handle, for functions such as CallbackMayRunLong.
    Context: what CreateThreadpoolIo was given.
    Overlapped: the address of the operation's OVERLAPPED.
    IoResult: its Win32 error, or 0.
    NumberOfBytesTransferred: the bytes that it moved.
    Io: the I/O object.

    Lifetime: the instance must be kept until CloseThreadpoolIo, after a
    WaitForThreadpoolIoCallbacks.

    Source: https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-createthreadpoolio
    """

    @staticmethod
    def signature(
        Instance: PTP_CALLBACK_INSTANCE,
        Context: PVOID,
        Overlapped: PVOID,
        IoResult: ULONG,
        NumberOfBytesTransferred: ULONG_PTR,
        Io: PTP_IO,
    ) -> None: ...


@kernel32(since="Windows Vista")
def CreateThreadpoolIo(
    fl: HANDLE,
    pfnio: PTP_WIN32_IO_CALLBACK,
    pv: PVOID,
    pcbe: PTP_CALLBACK_ENVIRON,
) -> PTP_IO:
    """Put a handle under the care of the thread pool.

    fl: a handle opened for overlapped I/O that is on no port.
    pfnio: called for each operation that ends.
    pv: a number for it.
    pcbe: None for the process's default pool.

    Returns an I/O object, or None: ask last_error(). ERROR_INVALID_PARAMETER (87): the
    handle is on a port already, or was not opened for overlapped I/O.

    Source: https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-createthreadpoolio
    """


@kernel32(since="Windows Vista")
def StartThreadpoolIo(pio: PTP_IO) -> None:
    """Announce one operation, before the call that starts it. Forgetting it corrupts memory.

    pio: the I/O object.

    Source: https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-startthreadpoolio
    """


@kernel32(since="Windows Vista")
def CancelThreadpoolIo(pio: PTP_IO) -> None:
    """Take an announcement back, for an operation that will not call.

    pio: the I/O object.

    That is one whose start failed with anything but ERROR_IO_PENDING, or which was done on
    the spot under FILE_SKIP_COMPLETION_PORT_ON_SUCCESS. It cancels no operation.

    Source: https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-cancelthreadpoolio
    """


@kernel32(since="Windows Vista")
def WaitForThreadpoolIoCallbacks(pio: PTP_IO, fCancelPendingCallbacks: BOOL) -> None:
    """Wait until no call is under way or, if they are not dropped, queued.

    pio: the I/O object. Not from within its own callback.
    fCancelPendingCallbacks: nonzero to drop calls that have not begun; their operations
        are not cancelled, so that their memory may still be in use.

    Source: https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-waitforthreadpooliocallbacks
    """


@kernel32(since="Windows Vista")
def CloseThreadpoolIo(pio: PTP_IO) -> None:
    """Release an I/O object, when its operations have ended.

    pio: the I/O object. Close its handle, and wait with WaitForThreadpoolIoCallbacks, first.

    Source: https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-closethreadpoolio
    """
