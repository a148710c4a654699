"""ObjectWait: a wait for an object that ends in a packet, without a thread that waits.

Windows 8 and later have *wait completion packets*: the kernel queues one to a port when an object
is signalled. They are documented, though not in a header, and Windows' own thread pool uses them.
`PacketWait` is one.

Without them, `RegisteredWait` has the system's thread pool wait, with RegisterWaitForSingleObject.
The function that the pool calls has to queue the packet, and no function of Windows has the right
arguments for that. A Python function would need the interpreter on a thread that is not Python's:
it would contend for the GIL, run other code's finalizers there and hang when the interpreter ends.
But CPython has a C function that does just this and touches no Python object:
``_overlapped.RegisterWaitWithQueue``, with which asyncio waits for processes. Since that is used,
no code of this package, and no bytecode at all, runs on a thread of the pool.

Nor is the call ever waited for: UnregisterWaitEx says whether it is under way. Told to wait for its
end, Wine 8 writes to memory that it has freed, one time in 26,000 when the object is signalled just
then; a million times without, it did not.
"""

from __future__ import annotations

import ctypes
import enum
from typing import TYPE_CHECKING

from ...errors import error_of_status
from ...winapi import (
    HANDLE,
    INFINITE,
    MAXIMUM_ALLOWED,
    STATUS_NOT_IMPLEMENTED,
    STATUS_SUCCESS,
    FunctionUnavailableError,
)

if TYPE_CHECKING:
    from ...engine.kernel import Kernel


class Cancelled(enum.Enum):
    """What has become of a wait after cancelling it."""

    NO_PACKET = "no packet comes"
    PACKET_COMES = "its packet is queued, or is about to be, or has been dequeued"
    UNCERTAIN = "if there is a packet, it has been queued by now"


class PacketWait:
    """A wait completion packet of Windows: it waits for one object at a time.

    Raises an `IocpError` if the system has no memory for one, `FunctionUnavailableError` if
    this Windows has none.

    Source: https://learn.microsoft.com/windows/win32/devnotes/ntcreatewaitcompletionpacket
    """

    function_name = "NtAssociateWaitCompletionPacket"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        packet = HANDLE()
        status = kernel.NtCreateWaitCompletionPacket(ctypes.byref(packet), MAXIMUM_ALLOWED, None)
        if status & 0xFFFFFFFF == STATUS_NOT_IMPLEMENTED:
            raise FunctionUnavailableError("this Windows has no wait completion packets")
        if status:
            raise error_of_status("NtCreateWaitCompletionPacket", status & 0xFFFFFFFF)
        self._number = packet.value

    def start(self, port: int, number: int, tag: int) -> int:
        """Have a packet with `tag` queued to the port when the object `number` is signalled.

        Returns 0 or a Win32 code. If the object is signalled already the packet is queued
        at once.

        Source: https://learn.microsoft.com/windows/win32/devnotes/ntassociatewaitcompletionpacket
        """
        status = self._kernel.NtAssociateWaitCompletionPacket(
            self._number, port, number, 0, tag, STATUS_SUCCESS, 0, None
        )
        if status == STATUS_SUCCESS:
            return 0
        return error_of_status(self.function_name, status & 0xFFFFFFFF).winerror

    def cancel(self) -> Cancelled:
        """Cancel the wait; a packet that is queued already will be delivered.

        Source: https://learn.microsoft.com/windows/win32/devnotes/ntcancelwaitcompletionpacket
        """
        status = self._kernel.NtCancelWaitCompletionPacket(self._number, False)
        # STATUS_PENDING: it is signalled, and queued; STATUS_CANCELLED: it has been dequeued.
        return Cancelled.NO_PACKET if status == STATUS_SUCCESS else Cancelled.PACKET_COMES

    def close(self) -> None:
        """Close the packet; if it is still queued, closing may remove it from the port.

        Source: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-closehandle
        """
        self._kernel.CloseHandle(self._number)


class RegisteredWait:
    """A wait by the system's thread pool, for one object at a time.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject
    """

    function_name = "RegisterWaitForSingleObject"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._registration: int | None = None

    def start(self, port: int, number: int, tag: int) -> int:
        """Have a packet with `tag` queued to the port when the object `number` is signalled.

        Returns 0 or a Win32 code. If the object is signalled already the packet is queued
        at once.

        Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject
        """
        self._unregister()  # the previous one
        try:
            # Lifetime: the C function that the pool calls is part of the interpreter, and owns
            # the few bytes that it is passed; the tag is not an address. If the wait is
            # cancelled these bytes (a handle and the tag) are never freed.
            self._registration = self._kernel.RegisterWaitWithQueue(number, port, tag, INFINITE)
        except OSError as error:
            return error.winerror or error.errno or 1
        return 0

    def cancel(self) -> Cancelled:
        """Cancel the wait; a call of the pool that is under way queues its packet.

        Source: https://learn.microsoft.com/windows/win32/api/threadpoollegacyapiset/nf-threadpoollegacyapiset-unregisterwaitex
        """
        return Cancelled.UNCERTAIN if self._unregister() else Cancelled.PACKET_COMES

    def close(self) -> None:
        """End the registration."""
        self._unregister()

    def _unregister(self) -> bool:
        """End the registration; return False if the pool's call is under way.

        A wait that has ended still has a registration. The system ends it after the call.
        """
        registration, self._registration = self._registration, None
        if registration is None:
            return True
        # Refused only with ERROR_IO_PENDING.
        return bool(self._kernel.UnregisterWaitEx(registration, None))


ObjectWait = PacketWait | RegisteredWait


def make_wait(kernel: Kernel) -> ObjectWait:
    """Return the best kind of wait of this system; an `IocpError` if it has no memory for one."""
    try:
        return PacketWait(kernel)
    except FunctionUnavailableError:
        return RegisteredWait(kernel)
