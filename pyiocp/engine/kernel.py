"""The one seam between pyiocp and the operating system.

Everything above ring 1 calls the system through the `Kernel` that its port was made
with, ``CompletionPort(kernel=…)``. The real one is a bag of ring 1's functions under
their Win32 names; a simulated one can stand in its place. What a hot path needs is bound
to a local or an attribute when the object that needs it is made, so that the seam costs
nothing per call.
"""

from __future__ import annotations

import ctypes
import importlib
import time
from typing import TYPE_CHECKING

from .. import winapi

if TYPE_CHECKING:
    from collections.abc import Callable


class Kernel:
    """The functions of kernel32, ws2_32 and mswsock that the rings above call.

    Most are ring 1's own, with their types. Those that run once per operation, or once
    per batch of completions, are untyped: their callers pass ctypes objects that they
    made beforehand, and each call is a third cheaper for it.

    Thread safety: any thread may call any function. Replace one, if you must, before a
    port is made with the kernel: ports bind some of them when they are made.
    """

    def __init__(self) -> None:
        self.CreateIoCompletionPort = winapi.CreateIoCompletionPort
        self.GetQueuedCompletionStatusEx = winapi.untyped(winapi.GetQueuedCompletionStatusEx)
        self.PostQueuedCompletionStatus = winapi.PostQueuedCompletionStatus
        self.SetFileCompletionNotificationModes = winapi.SetFileCompletionNotificationModes
        self.CancelIoEx = winapi.CancelIoEx
        self.CloseHandle = winapi.CloseHandle
        self.NtQueryInformationFile = winapi.NtQueryInformationFile
        self.NtSetInformationFile = winapi.NtSetInformationFile
        self.NtQueryObject = winapi.NtQueryObject
        self.NtCreateFile = winapi.NtCreateFile
        self.GetFileType = winapi.GetFileType
        self.GetNamedPipeInfo = winapi.GetNamedPipeInfo
        self.GetNamedPipeHandleStateW = winapi.GetNamedPipeHandleStateW

        self.NtCreateWaitCompletionPacket = winapi.NtCreateWaitCompletionPacket
        self.NtAssociateWaitCompletionPacket = winapi.NtAssociateWaitCompletionPacket
        self.NtCancelWaitCompletionPacket = winapi.NtCancelWaitCompletionPacket
        self.UnregisterWaitEx = winapi.UnregisterWaitEx
        self.WaitForSingleObject = winapi.WaitForSingleObject
        self.CreateEventW = winapi.CreateEventW
        self.SetEvent = winapi.SetEvent
        self.ResetEvent = winapi.ResetEvent
        self.OpenProcess = winapi.OpenProcess
        self.GetProcessId = winapi.GetProcessId
        self.GetExitCodeProcess = winapi.GetExitCodeProcess
        self.CreateWaitableTimerExW = winapi.CreateWaitableTimerExW
        self.SetWaitableTimer = winapi.SetWaitableTimer
        self.CancelWaitableTimer = winapi.CancelWaitableTimer
        self.CreateJobObjectW = winapi.CreateJobObjectW
        self.SetInformationJobObject = winapi.SetInformationJobObject
        self.QueryInformationJobObject = winapi.QueryInformationJobObject
        self.AssignProcessToJobObject = winapi.AssignProcessToJobObject
        self.TerminateJobObject = winapi.TerminateJobObject

        self.CreateFileW = winapi.CreateFileW
        self.ReOpenFile = winapi.ReOpenFile
        self.DuplicateHandle = winapi.DuplicateHandle
        self.GetCurrentProcess = winapi.GetCurrentProcess
        self.ReadFile = winapi.untyped(winapi.ReadFile)
        self.WriteFile = winapi.untyped(winapi.WriteFile)
        self.ReadFileScatter = winapi.untyped(winapi.ReadFileScatter)
        self.WriteFileGather = winapi.untyped(winapi.WriteFileGather)
        self.DeviceIoControl = winapi.untyped(winapi.DeviceIoControl)
        self.LockFileEx = winapi.untyped(winapi.LockFileEx)
        self.UnlockFileEx = winapi.UnlockFileEx
        self.FlushFileBuffers = winapi.FlushFileBuffers
        self.GetFileSizeEx = winapi.GetFileSizeEx
        self.SetFileInformationByHandle = winapi.SetFileInformationByHandle
        self.NtQueryVolumeInformationFile = winapi.NtQueryVolumeInformationFile

        self.WSASocketW = winapi.WSASocketW
        # Overlapped, they never wait. With a thread that computes beside it, an echo server did
        # 1,044 messages a second this way, and 224 when each call let go of the GIL.
        self.WSARecv = winapi.untyped(winapi.WSARecv, keeps_gil=True)
        self.WSASend = winapi.untyped(winapi.WSASend, keeps_gil=True)
        #: The same for sockets that they wait on, without an OVERLAPPED: others run meanwhile.
        self.that_wait = {
            "WSARecv": winapi.untyped(winapi.WSARecv),
            "WSASend": winapi.untyped(winapi.WSASend),
        }
        self.WSARecvFrom = winapi.untyped(winapi.WSARecvFrom, keeps_gil=True)
        self.WSASendTo = winapi.untyped(winapi.WSASendTo, keeps_gil=True)
        # On non-blocking sockets these never wait either: see SocketHandle.may_wait.
        self.recvfrom = winapi.untyped(winapi.recvfrom, keeps_gil=True)
        self.send = winapi.untyped(winapi.send, keeps_gil=True)
        self.sendto = winapi.untyped(winapi.sendto, keeps_gil=True)
        self.WSAIoctl = winapi.WSAIoctl
        self.WSAGetOverlappedResult = winapi.untyped(winapi.WSAGetOverlappedResult)
        self.WSAEventSelect = winapi.WSAEventSelect
        self.WSAEnumNetworkEvents = winapi.untyped(winapi.WSAEnumNetworkEvents)
        self.WSAWaitForMultipleEvents = winapi.WSAWaitForMultipleEvents
        self.WSACreateEvent = winapi.WSACreateEvent
        self.WSAResetEvent = winapi.WSAResetEvent
        self.WSACloseEvent = winapi.WSACloseEvent
        self.WSAPoll = winapi.WSAPoll
        self.select = winapi.select
        self.ioctlsocket = winapi.ioctlsocket
        self.accept = winapi.accept
        self.connect = winapi.connect
        self.bind = winapi.bind
        self.listen = winapi.listen
        self.shutdown = winapi.shutdown
        self.setsockopt = winapi.setsockopt
        self.getsockopt = winapi.getsockopt
        self.getsockname = winapi.getsockname
        self.getpeername = winapi.getpeername
        self.closesocket = winapi.closesocket
        self.WSADuplicateSocketW = winapi.WSADuplicateSocketW

        self.VirtualAlloc = winapi.VirtualAlloc
        self.VirtualFree = winapi.VirtualFree
        self.VirtualLock = winapi.VirtualLock
        self.VirtualUnlock = winapi.VirtualUnlock
        self.VirtualProtect = winapi.VirtualProtect
        self.GetLargePageMinimum = winapi.GetLargePageMinimum
        self.GetCurrentProcess = winapi.GetCurrentProcess
        self.GetProcessWorkingSetSizeEx = winapi.GetProcessWorkingSetSizeEx
        self.SetProcessWorkingSetSizeEx = winapi.SetProcessWorkingSetSizeEx
        self.LookupPrivilegeValueW = winapi.LookupPrivilegeValueW
        self.AdjustTokenPrivileges = winapi.AdjustTokenPrivileges

        self.CreateNamedPipeW = winapi.CreateNamedPipeW
        self.ConnectNamedPipe = winapi.untyped(winapi.ConnectNamedPipe)
        self.DisconnectNamedPipe = winapi.DisconnectNamedPipe
        self.SetNamedPipeHandleState = winapi.SetNamedPipeHandleState
        self.PeekNamedPipe = winapi.PeekNamedPipe
        self.TransactNamedPipe = winapi.untyped(winapi.TransactNamedPipe)
        self.GetNamedPipeClientProcessId = winapi.GetNamedPipeClientProcessId
        self.GetNamedPipeServerProcessId = winapi.GetNamedPipeServerProcessId
        self.ReadDirectoryChangesW = winapi.untyped(winapi.ReadDirectoryChangesW)

        self.OpenProcessToken = winapi.OpenProcessToken
        self.GetTokenInformation = winapi.GetTokenInformation
        self.ConvertSidToStringSidW = winapi.ConvertSidToStringSidW
        self.ConvertStringSecurityDescriptorToSecurityDescriptorW = (
            winapi.ConvertStringSecurityDescriptorToSecurityDescriptorW
        )
        self.LocalFree = winapi.LocalFree

        # In C as well: see Operation on what may happen between two bytecodes.
        self.last_error = getattr(ctypes, "get_last_error", winapi.last_error)
        self.monotonic = time.monotonic
        # Exact to a microsecond, where monotonic() of CPython 3.12 and before is to 15 ms.
        self.perf_counter = time.perf_counter

    def RegisterWaitWithQueue(self, handle: int, port: int, tag: int, milliseconds: int) -> int:
        """Call RegisterWaitForSingleObject with CPython's own function, which queues a packet.

        Returns what UnregisterWaitEx takes. Raises OSError.

        Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject
        """
        # Not before it is needed: it looks extension functions up when it is loaded.
        overlapped = importlib.import_module("_overlapped")
        return int(overlapped.RegisterWaitWithQueue(handle, port, tag, milliseconds))

    def AcceptEx(self, socket: int) -> Callable[..., int]:
        """Return the AcceptEx of this socket's provider, without argument conversion."""
        return winapi.untyped(winapi.AcceptEx.on(socket))

    def GetAcceptExSockaddrs(self, socket: int) -> Callable[..., None]:
        """Return the GetAcceptExSockaddrs of this socket's provider."""
        return winapi.GetAcceptExSockaddrs.on(socket)

    def ConnectEx(self, socket: int) -> Callable[..., int]:
        """Return the ConnectEx of this socket's provider, without argument conversion."""
        return winapi.untyped(winapi.ConnectEx.on(socket))

    def DisconnectEx(self, socket: int) -> Callable[..., int]:
        """Return the DisconnectEx of this socket's provider, without argument conversion."""
        return winapi.untyped(winapi.DisconnectEx.on(socket))

    def WSARecvMsg(self, socket: int) -> Callable[..., int]:
        """Return the WSARecvMsg of this socket's provider, without argument conversion."""
        return winapi.untyped(winapi.WSARecvMsg.on(socket))

    def WSASendMsg(self, socket: int) -> Callable[..., int]:
        """Return the WSASendMsg of this socket's provider, without argument conversion."""
        return winapi.untyped(winapi.WSASendMsg.on(socket))

    def TransmitFile(self, socket: int) -> Callable[..., int]:
        """Return the TransmitFile of this socket's provider, without argument conversion."""
        return winapi.untyped(winapi.TransmitFile.on(socket))

    def TransmitPackets(self, socket: int) -> Callable[..., int]:
        """Return the TransmitPackets of this socket's provider, without argument conversion."""
        return winapi.untyped(winapi.TransmitPackets.on(socket))

    def __repr__(self) -> str:
        name = type(self).__name__
        return "<Kernel: Windows itself>" if type(self) is Kernel else f"<{name} for Windows>"
