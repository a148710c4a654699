"""Named pipes: make, connect, and their modes. Bytes go through ReadFile and WriteFile."""

from __future__ import annotations

from ..overlapped import LPOVERLAPPED
from ..types import BOOL, DWORD, HANDLE, LPCWSTR, LPDWORD, LPVOID, LPWSTR, PULONG
from .handles import LPSECURITY_ATTRIBUTES
from .library import kernel32


@kernel32(since="Windows NT 3.1")
def CreateNamedPipeW(
    lpName: LPCWSTR,
    dwOpenMode: DWORD,
    dwPipeMode: DWORD,
    nMaxInstances: DWORD,
    nOutBufferSize: DWORD,
    nInBufferSize: DWORD,
    nDefaultTimeOut: DWORD,
    lpSecurityAttributes: LPSECURITY_ATTRIBUTES,
) -> HANDLE:
    r"""Create one instance of a named pipe, for one client at a time.

    lpName: ``\\.\pipe\name``, at most 256 characters, without regard to case.
    dwOpenMode: PIPE_ACCESS_*, with FILE_FLAG_OVERLAPPED; FILE_FLAG_FIRST_PIPE_INSTANCE to
        fail if the name is taken.
    dwPipeMode: PIPE_TYPE_BYTE or PIPE_TYPE_MESSAGE, PIPE_READMODE_*, PIPE_WAIT, and
        PIPE_REJECT_REMOTE_CLIENTS. PIPE_NOWAIT is not what makes a pipe asynchronous.
    nMaxInstances: 1 to 254, or PIPE_UNLIMITED_INSTANCES; the first call decides.
    nOutBufferSize, nInBufferSize: bytes to reserve; 0 is allowed, and then a write waits
        for its reader.
    nDefaultTimeOut: milliseconds that WaitNamedPipeW uses by default; 0 means 50.
    lpSecurityAttributes: None for the defaults: the creator may do anything, everyone may
        read.

    Returns a handle, or INVALID_HANDLE_VALUE: ask last_error(). ERROR_PIPE_BUSY (231): all
    instances are taken; ERROR_ACCESS_DENIED (5): not the first instance, though
    FILE_FLAG_FIRST_PIPE_INSTANCE was given, or its rights do not allow more.

    Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew
    """


@kernel32(since="Windows NT 3.1")
def ConnectNamedPipe(hNamedPipe: HANDLE, lpOverlapped: LPOVERLAPPED) -> BOOL:
    """Wait for a client to connect to an instance.

    hNamedPipe: the server's handle.
    lpOverlapped: the operation, if the pipe was made with FILE_FLAG_OVERLAPPED.

    Returns 0 for an overlapped call even when all is well: ask last_error().
    ERROR_IO_PENDING (997): it waits. ERROR_PIPE_CONNECTED (535): the client is there
    already, a success for which no packet comes. ERROR_NO_DATA (232): a client was there
    and is gone; call DisconnectNamedPipe and begin again.

    Lifetime: the OVERLAPPED stays until the completion is dequeued.

    Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe
    """


@kernel32(since="Windows NT 3.1")
def DisconnectNamedPipe(hNamedPipe: HANDLE) -> BOOL:
    """Throw the client out, so that the instance can serve the next one.

    hNamedPipe: the server's handle.

    Returns 0 on failure: ask last_error(). What the client has not read yet is lost:
    FlushFileBuffers first waits until it has.

    Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-disconnectnamedpipe
    """


@kernel32(since="Windows NT 3.1")
def SetNamedPipeHandleState(
    hNamedPipe: HANDLE,
    lpMode: LPDWORD,
    lpMaxCollectionCount: LPDWORD,
    lpCollectDataTimeout: LPDWORD,
) -> BOOL:
    """Set how one end of a pipe reads.

    hNamedPipe: the end, with GENERIC_WRITE (a client that only reads needs
        FILE_WRITE_ATTRIBUTES as well).
    lpMode: PIPE_READMODE_BYTE or PIPE_READMODE_MESSAGE, or None to leave it; a client
        begins in byte mode.
    lpMaxCollectionCount, lpCollectDataTimeout: bytes and milliseconds to collect before a
        remote client sends; None for a local one.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_PARAMETER (87): messages, on a
    pipe of bytes.

    Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-setnamedpipehandlestate
    """


@kernel32(since="Windows NT 3.1")
def PeekNamedPipe(
    hNamedPipe: HANDLE,
    lpBuffer: LPVOID,
    nBufferSize: DWORD,
    lpBytesRead: LPDWORD,
    lpTotalBytesAvail: LPDWORD,
    lpBytesLeftThisMessage: LPDWORD,
) -> BOOL:
    """Look at what a pipe holds without taking it.

    hNamedPipe: an end with GENERIC_READ access, of an anonymous pipe too.
    lpBuffer, nBufferSize: where a copy goes and how many bytes at most; None and 0.
    lpBytesRead: receives the bytes copied, or None.
    lpTotalBytesAvail: receives the bytes in the pipe, or None.
    lpBytesLeftThisMessage: receives what of the message was not copied, or None; 0 for a
        pipe of bytes.

    Returns 0 on failure: ask last_error(). ERROR_BROKEN_PIPE (109): the other end is gone.

    It does not wait for data, but it waits for other operations if the handle is
    synchronous.

    Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-peeknamedpipe
    """


@kernel32(since="Windows NT 3.1")
def WaitNamedPipeW(lpNamedPipeName: LPCWSTR, nTimeOut: DWORD) -> BOOL:
    r"""Wait until an instance of a pipe is free to connect to.

    lpNamedPipeName: ``\\.\pipe\name``.
    nTimeOut: milliseconds, NMPWAIT_USE_DEFAULT_WAIT (what the server set) or
        NMPWAIT_WAIT_FOREVER.

    Returns nonzero if one is: another client may still take it before CreateFileW does.
    0: ask last_error(). ERROR_SEM_TIMEOUT (121): time is up; ERROR_FILE_NOT_FOUND (2):
    there is no such pipe, whatever the timeout.

    Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-waitnamedpipew
    """


@kernel32(since="Windows NT 3.1")
def TransactNamedPipe(
    hNamedPipe: HANDLE,
    lpInBuffer: LPVOID,
    nInBufferSize: DWORD,
    lpOutBuffer: LPVOID,
    nOutBufferSize: DWORD,
    lpBytesRead: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Write a message and read the answer, in one operation.

    hNamedPipe: an end in PIPE_READMODE_MESSAGE.
    lpInBuffer, nInBufferSize: the message and its bytes.
    lpOutBuffer, nOutBufferSize: where the answer goes, and the room there in bytes.
    lpBytesRead: receives the answer's bytes, if the call ends at once.
    lpOverlapped: the operation, if the end was opened with FILE_FLAG_OVERLAPPED.

    Returns nonzero if it is done. 0: ask last_error(). ERROR_IO_PENDING (997): it has
    started; ERROR_MORE_DATA (234): the answer is longer, ReadFile gives the rest;
    ERROR_PIPE_BUSY (231): there is unread data in the pipe; ERROR_BAD_PIPE (230): not in
    message mode.

    Lifetime: buffers and OVERLAPPED stay until the completion is dequeued.

    Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-transactnamedpipe
    """


@kernel32(since="Windows NT 3.1")
def GetNamedPipeInfo(
    hNamedPipe: HANDLE,
    lpFlags: LPDWORD,
    lpOutBufferSize: LPDWORD,
    lpInBufferSize: LPDWORD,
    lpMaxInstances: LPDWORD,
) -> BOOL:
    """Ask what kind of pipe, and which end of it, a handle is of.

    hNamedPipe: either end, with GENERIC_READ or FILE_READ_ATTRIBUTES access.
    lpFlags: receives PIPE_SERVER_END or PIPE_CLIENT_END, and PIPE_TYPE_MESSAGE or
        PIPE_TYPE_BYTE; or None.
    lpOutBufferSize, lpInBufferSize: receive bytes, or None.
    lpMaxInstances: receives how many instances there may be, or None.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_FUNCTION (1),
    ERROR_INVALID_PARAMETER (87): not a pipe.

    Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-getnamedpipeinfo
    """


@kernel32(since="Windows NT 3.1")
def GetNamedPipeHandleStateW(
    hNamedPipe: HANDLE,
    lpState: LPDWORD,
    lpCurInstances: LPDWORD,
    lpMaxCollectionCount: LPDWORD,
    lpCollectDataTimeout: LPDWORD,
    lpUserName: LPWSTR,
    nMaxUserNameSize: DWORD,
) -> BOOL:
    """Ask how a handle of a pipe reads and waits.

    hNamedPipe: either end, with GENERIC_READ or FILE_READ_ATTRIBUTES access.
    lpState: receives PIPE_READMODE_MESSAGE and PIPE_NOWAIT, or 0; or None.
    lpCurInstances: receives how many instances there are, or None.
    lpMaxCollectionCount, lpCollectDataTimeout: None, but for a client on another machine.
    lpUserName, nMaxUserNameSize: None and 0, or room for the name of the client's user, in
        characters.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-getnamedpipehandlestatew
    """


@kernel32(since="Windows Vista")
def GetNamedPipeClientProcessId(Pipe: HANDLE, ClientProcessId: PULONG) -> BOOL:
    """Tell which process is the client of a pipe.

    Pipe: an instance, from CreateNamedPipeW.
    ClientProcessId: receives the process identifier.

    Returns 0 on failure: ask last_error(). The client can have passed its handle on, or
    be a process that took the number over: not a proof of identity.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-getnamedpipeclientprocessid
    """


@kernel32(since="Windows Vista")
def GetNamedPipeServerProcessId(Pipe: HANDLE, ServerProcessId: PULONG) -> BOOL:
    """Tell which process made a pipe.

    Pipe: an end of it.
    ServerProcessId: receives the process identifier.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-getnamedpipeserverprocessid
    """
