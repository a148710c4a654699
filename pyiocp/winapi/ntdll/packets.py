"""Packets of a port that stand for a waitable object, and how many packets a port holds."""

from __future__ import annotations

from ..structure import Structure
from ..types import (
    ACCESS_MASK,
    BOOLEAN,
    HANDLE,
    INT,
    LONG,
    NTSTATUS,
    PBOOLEAN,
    PHANDLE,
    PULONG,
    PVOID,
    ULONG,
    ULONG_PTR,
    Pointer,
)
from .library import ntdll
from .objects import POBJECT_ATTRIBUTES

IO_COMPLETION_INFORMATION_CLASS = INT

# NtQueryIoCompletion: IoCompletionInformationClass, and the right that it needs.
IoCompletionBasicInformation = 0
IO_COMPLETION_QUERY_STATE = 0x0001


class IO_COMPLETION_BASIC_INFORMATION(Structure):
    """``Depth``: how many packets are queued.

    Source: https://github.com/winsiderss/phnt (ntioapi.h)
    """

    _fields_ = (("Depth", LONG),)


PIO_COMPLETION_BASIC_INFORMATION = Pointer[IO_COMPLETION_BASIC_INFORMATION]


@ntdll(since="Windows NT 3.5")
def NtQueryIoCompletion(
    IoCompletionHandle: HANDLE,
    IoCompletionInformationClass: IO_COMPLETION_INFORMATION_CLASS,
    IoCompletionInformation: PVOID,
    IoCompletionInformationLength: ULONG,
    ReturnLength: PULONG,
) -> NTSTATUS:
    """Ask how many packets are queued to a port.

    IoCompletionHandle: the port.
    IoCompletionInformationClass: IoCompletionBasicInformation.
    IoCompletionInformation: an IO_COMPLETION_BASIC_INFORMATION to fill.
    IoCompletionInformationLength: its size in bytes.
    ReturnLength: receives the bytes written, or None.

    Returns an NTSTATUS. The number is old as soon as it is read.

    Source: https://github.com/winsiderss/phnt (ntioapi.h); Microsoft does not document it.
    """


@ntdll(since="Windows 8")
def NtCreateWaitCompletionPacket(
    WaitCompletionPacketHandle: PHANDLE,
    DesiredAccess: ACCESS_MASK,
    ObjectAttributes: POBJECT_ATTRIBUTES,
) -> NTSTATUS:
    """Create a packet that can wait for an object in place of a thread.

    WaitCompletionPacketHandle: receives its handle; CloseHandle closes it.
    DesiredAccess: MAXIMUM_ALLOWED.
    ObjectAttributes: None.

    Returns an NTSTATUS.

    Source: https://learn.microsoft.com/windows/win32/devnotes/ntcreatewaitcompletionpacket
    """


@ntdll(since="Windows 8")
def NtAssociateWaitCompletionPacket(
    WaitCompletionPacketHandle: HANDLE,
    IoCompletionHandle: HANDLE,
    TargetObjectHandle: HANDLE,
    KeyContext: PVOID,
    ApcContext: PVOID,
    IoStatus: NTSTATUS,
    IoStatusInformation: ULONG_PTR,
    AlreadySignaled: PBOOLEAN,
) -> NTSTATUS:
    """Have a packet queued to a port when an object is signalled, once.

    WaitCompletionPacketHandle: a packet that waits for nothing and is not queued.
    IoCompletionHandle: the port.
    TargetObjectHandle: an event, process, thread, timer ..., with SYNCHRONIZE access.
    KeyContext, ApcContext: the packet's lpCompletionKey and lpOverlapped.
    IoStatus, IoStatusInformation: the packet's status and number of bytes.
    AlreadySignaled: receives nonzero if the object was signalled at once, or None.

    Returns an NTSTATUS, which is a failure if the packet is in use.

    The packet is queued even when AlreadySignaled says so. To wait again, associate again
    after the packet has been dequeued.

    Source: https://learn.microsoft.com/windows/win32/devnotes/ntassociatewaitcompletionpacket
    """


@ntdll(since="Windows 8")
def NtCancelWaitCompletionPacket(
    WaitCompletionPacketHandle: HANDLE,
    RemoveSignaledPacket: BOOLEAN,
) -> NTSTATUS:
    """Stop a packet's wait.

    WaitCompletionPacketHandle: the packet.
    RemoveSignaledPacket: nonzero to take it off the port's queue, if it is there already.

    Returns an NTSTATUS. STATUS_SUCCESS: it will not come. STATUS_PENDING (0x103): it may be
    on its way, or is queued and was left there. STATUS_CANCELLED (0xC0000120): it has been
    dequeued, or waited for nothing.

    Source: https://learn.microsoft.com/windows/win32/devnotes/ntcancelwaitcompletionpacket
    """
