"""Sending files and packets straight from the kernel: TransmitFile, TransmitPackets."""

from __future__ import annotations

from ..extension import extension
from ..overlapped import LPOVERLAPPED
from ..structure import Structure, Union
from ..types import BOOL, DWORD, HANDLE, LARGE_INTEGER, LPVOID, PVOID, SOCKET, ULONG, Pointer
from ..ws2_32.guid import GUID
from .connections import (
    TF_DISCONNECT,
    TF_REUSE_SOCKET,
    TF_USE_DEFAULT_WORKER,
    TF_USE_KERNEL_APC,
    TF_USE_SYSTEM_THREAD,
)

# The names of the functions.
WSAID_TRANSMITFILE = GUID.of("b5367df0-cbac-11cf-95ca-00805f48a192")
WSAID_TRANSMITPACKETS = GUID.of("d9689da0-1f90-11d3-9971-00c04f68c876")

# Flags of TransmitPackets.
TP_DISCONNECT = TF_DISCONNECT
TP_REUSE_SOCKET = TF_REUSE_SOCKET
TP_USE_DEFAULT_WORKER = TF_USE_DEFAULT_WORKER
TP_USE_SYSTEM_THREAD = TF_USE_SYSTEM_THREAD
TP_USE_KERNEL_APC = TF_USE_KERNEL_APC

# What a TRANSMIT_PACKETS_ELEMENT is, and that a packet ends with it.
TP_ELEMENT_MEMORY = 1
TP_ELEMENT_FILE = 2
TP_ELEMENT_EOP = 4


class TRANSMIT_FILE_BUFFERS(Structure):
    """Data that TransmitFile sends before and after the file; lengths in bytes.

    Lifetime: the structure and the memory that it names, until the completion.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/ns-mswsock-transmit_file_buffers
    """

    _fields_ = (
        ("Head", LPVOID),
        ("HeadLength", DWORD),
        ("Tail", LPVOID),
        ("TailLength", DWORD),
    )


LPTRANSMIT_FILE_BUFFERS = Pointer[TRANSMIT_FILE_BUFFERS]


class _FilePart(Structure):
    _fields_ = (("nFileOffset", LARGE_INTEGER), ("hFile", HANDLE))


class _ElementSource(Union):
    _anonymous_ = ("file",)
    _fields_ = (("file", _FilePart), ("pBuffer", PVOID))


class TRANSMIT_PACKETS_ELEMENT(Structure):
    """One piece that TransmitPackets sends: memory, or part of a file.

    ``dwElFlags``: TP_ELEMENT_MEMORY (then ``pBuffer``) or TP_ELEMENT_FILE (then ``hFile``
    and ``nFileOffset``, -1 for the file's own position), with TP_ELEMENT_EOP if a packet
    ends here. ``cLength``: its bytes; 0 for the rest of a file.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/ns-mswsock-transmit_packets_element
    """

    _anonymous_ = ("source",)
    _fields_ = (("dwElFlags", ULONG), ("cLength", ULONG), ("source", _ElementSource))


LPTRANSMIT_PACKETS_ELEMENT = Pointer[TRANSMIT_PACKETS_ELEMENT]


@extension(WSAID_TRANSMITFILE, since="Windows NT 3.51")
def TransmitFile(
    hSocket: SOCKET,
    hFile: HANDLE,
    nNumberOfBytesToWrite: DWORD,
    nNumberOfBytesPerSend: DWORD,
    lpOverlapped: LPOVERLAPPED,
    lpTransmitBuffers: LPTRANSMIT_FILE_BUFFERS,
    dwReserved: DWORD,
) -> BOOL:
    """Send a file on a connected stream socket, from the kernel's cache.

    hFile: the file, opened with FILE_FLAG_SEQUENTIAL_SCAN if possible; None to send only
        the buffers.
    nNumberOfBytesToWrite: how many bytes of it; 0 for all from the position on. At most
        2,147,483,646 in one call.
    nNumberOfBytesPerSend: bytes of each send; 0 for the default.
    lpOverlapped: the operation, with the position in the file in Offset and OffsetHigh;
        None to wait in the call, from the file's own position.
    lpTransmitBuffers: what goes before and after the file; None.
    dwReserved: flags: TF_DISCONNECT, with it TF_REUSE_SOCKET, and TF_USE_KERNEL_APC,
        TF_USE_SYSTEM_THREAD or TF_WRITE_BEHIND.

    Returns nonzero when done on the spot, else 0: ask last_error(). ERROR_IO_PENDING
    (997): started. WSAENOTCONN (10057), WSAECONNRESET (10054), WSAECONNABORTED (10053),
    WSAENOTSOCK (10038). ERROR_HANDLE_EOF (38): the position is past the end.

    Workstation versions of Windows run two at a time and queue the others.

    Lifetime: the file, the buffers with their structure, and the OVERLAPPED until the
    completion.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-transmitfile
    """


@extension(WSAID_TRANSMITPACKETS, since="Windows XP")
def TransmitPackets(
    hSocket: SOCKET,
    lpPacketArray: LPTRANSMIT_PACKETS_ELEMENT,
    nElementCount: DWORD,
    nSendSize: DWORD,
    lpOverlapped: LPOVERLAPPED,
    dwFlags: DWORD,
) -> BOOL:
    """Send pieces of memory and of files on a connected socket, stream or datagram.

    lpPacketArray, nElementCount: the pieces, in order, and their number. A datagram
        socket sends one datagram per TP_ELEMENT_EOP.
    nSendSize: bytes of each send; 0 for the default.
    lpOverlapped: the operation; None to wait in the call.
    dwFlags: TP_DISCONNECT, with it TP_REUSE_SOCKET, and TP_USE_KERNEL_APC or
        TP_USE_SYSTEM_THREAD.

    Returns nonzero when done on the spot, else 0: ask last_error(). ERROR_IO_PENDING
    (997): started. WSAENOTCONN (10057), WSAECONNRESET (10054), WSAECONNABORTED (10053),
    WSAENOBUFS (10055), WSAEINVAL (10022).

    Lifetime: the array, the memory and files that it names, and the OVERLAPPED until the
    completion.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_transmitpackets
    """
