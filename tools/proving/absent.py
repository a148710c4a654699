"""What mingw-w64's headers lack, or older ones of them, stated from another source.

Such a declaration is proven like every other, against the C given here, which
was written from the source named and not from the declaration. Headers that have the name
prove it themselves: an entry says from which version of mingw-w64 on that is so. A name that
headers of a known version have or lack although its entry says otherwise, or that nobody
declares any more, makes the proof fail: this file holds what is needed and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MICROSOFT = "https://learn.microsoft.com/windows"
METADATA = "https://github.com/microsoft/win32metadata (Microsoft's own list of its headers)"
PHNT = "https://github.com/winsiderss/phnt"

NEWEST_KNOWN = 15
"""The newest version of mingw-w64 that this list was held against (10 is Debian 12's, 12 is
Debian 13's). What newer ones have besides is proven against them."""


@dataclass(frozen=True)
class Absent:
    """Names that belong together, and C that declares them."""

    names: tuple[str, ...]
    source: str
    c: str
    until: int = 0
    """The first version of mingw-w64 whose headers have them; 0 while none has."""

    def contradicted(self, present: Collection[str], version: int) -> Iterator[str]:
        """Yield what headers of `version`, which have the names `present`, prove wrong of it."""
        for name in sorted(self.names):
            if self.until and version >= self.until and name not in present:
                yield (
                    f"{name} is listed in absent.py until mingw-w64 {self.until}, and the"
                    f" headers, of version {version}, do not have it"
                )
            if name in present and not self.expected(version):
                yield (
                    f"{name} is listed in absent.py, and the headers, of mingw-w64 {version},"
                    " have it"
                )

    def expected(self, version: int) -> bool:
        """Tell whether headers of `version` may have the names."""
        return version >= (self.until or NEWEST_KNOWN + 1)


def declared(
    names: str, source: str, c: str, *, until: int = 0, **sizes: tuple[int, int]
) -> Absent:
    """Return an entry for the types and functions `names`, which `c` declares.

    `sizes` are those of structures in bytes, on 64-bit and on 32-bit Windows.
    """
    c += "".join(
        f'\n_Static_assert(sizeof({name}) == (sizeof(void *) == 8 ? {wide} : {narrow}), "");'
        for name, (wide, narrow) in sizes.items()
    )
    return Absent(tuple(names.split()), source, c, until)


def numbers(source: str, *, until: int = 0, **values: str | int) -> Absent:
    """Return an entry for constants."""
    c = "".join(f"#define {name} {value}\n" for name, value in values.items())
    return Absent(tuple(values), source, c, until)


def _rio(name: str, result: str, parameters: str) -> str:
    return f"typedef {result} (__stdcall *LPFN_{name.upper()})({parameters});"


_RIO_REQUEST = "RIO_RQ, PRIO_BUF, ULONG, DWORD, PVOID"
_RIO_REQUEST_EX = "RIO_RQ, PRIO_BUF, ULONG, PRIO_BUF, PRIO_BUF, PRIO_BUF, PRIO_BUF, DWORD, PVOID"

RIO_FUNCTIONS = {
    "RIOReceive": ("BOOL", _RIO_REQUEST),
    "RIOReceiveEx": ("int", _RIO_REQUEST_EX),
    "RIOSend": ("BOOL", _RIO_REQUEST),
    "RIOSendEx": ("BOOL", _RIO_REQUEST_EX),
    "RIOCloseCompletionQueue": ("void", "RIO_CQ"),
    "RIOCreateCompletionQueue": ("RIO_CQ", "DWORD, PRIO_NOTIFICATION_COMPLETION"),
    "RIOCreateRequestQueue": (
        "RIO_RQ",
        "SOCKET, ULONG, ULONG, ULONG, ULONG, RIO_CQ, RIO_CQ, PVOID",
    ),
    "RIODequeueCompletion": ("ULONG", "RIO_CQ, PRIORESULT, ULONG"),
    "RIODeregisterBuffer": ("void", "RIO_BUFFERID"),
    "RIONotify": ("int", "RIO_CQ"),
    "RIORegisterBuffer": ("RIO_BUFFERID", "PCHAR, DWORD"),
    "RIOResizeCompletionQueue": ("BOOL", "RIO_CQ, DWORD"),
    "RIOResizeRequestQueue": ("BOOL", "RIO_RQ, DWORD, DWORD"),
}
"""Result and parameters of the members of RIO's table, in their order there."""

ABSENT: tuple[Absent, ...] = (
    # kernel32
    numbers(
        f"{MICROSOFT}/win32/api/synchapi/nf-synchapi-createwaitabletimerexw",
        until=11,
        CREATE_WAITABLE_TIMER_HIGH_RESOLUTION=2,
    ),
    numbers(METADATA, until=11, JOB_OBJECT_MSG_SILO_TERMINATED=13, JOB_OBJECT_IMPERSONATE=0x20),
    declared(
        "FILE_NOTIFY_EXTENDED_INFORMATION PFILE_NOTIFY_EXTENDED_INFORMATION",
        f"{MICROSOFT}/win32/api/winnt/ns-winnt-file_notify_extended_information",
        """
        typedef struct {
            DWORD NextEntryOffset, Action;
            LARGE_INTEGER CreationTime, LastModificationTime, LastChangeTime, LastAccessTime;
            LARGE_INTEGER AllocatedLength, FileSize;
            DWORD FileAttributes, ReparsePointTag;
            LARGE_INTEGER FileId, ParentFileId;
            DWORD FileNameLength;
            WCHAR FileName[1];
        } FILE_NOTIFY_EXTENDED_INFORMATION, *PFILE_NOTIFY_EXTENDED_INFORMATION;
        """,
        until=11,
        FILE_NOTIFY_EXTENDED_INFORMATION=(88, 88),
    ),
    declared(
        "ReadDirectoryChangesExW",
        f"{MICROSOFT}/win32/api/winbase/nf-winbase-readdirectorychangesexw",
        """
        BOOL __stdcall ReadDirectoryChangesExW(
            HANDLE, LPVOID, DWORD, BOOL, DWORD, LPDWORD, LPOVERLAPPED,
            LPOVERLAPPED_COMPLETION_ROUTINE, READ_DIRECTORY_NOTIFY_INFORMATION_CLASS);
        """,
        until=11,
    ),
    # ntdll
    numbers(
        # By their place in the enumeration.
        "mingw-w64's ddk/wdm.h, which cannot be included beside the SDK's headers",
        FileIoCompletionNotificationInformation=41,
        FileReplaceCompletionInformation=61,
    ),
    declared(
        "FILE_COMPLETION_INFORMATION PFILE_COMPLETION_INFORMATION",
        f"{MICROSOFT}-hardware/drivers/ddi/ntifs/ns-ntifs-_file_completion_information",
        """
        typedef struct { HANDLE Port; PVOID Key; }
            FILE_COMPLETION_INFORMATION, *PFILE_COMPLETION_INFORMATION;
        """,
        FILE_COMPLETION_INFORMATION=(16, 8),
    ),
    declared(
        "FILE_IO_COMPLETION_NOTIFICATION_INFORMATION PFILE_IO_COMPLETION_NOTIFICATION_INFORMATION",
        f"{PHNT} (ntioapi.h)",
        """
        typedef struct { ULONG Flags; }
            FILE_IO_COMPLETION_NOTIFICATION_INFORMATION,
            *PFILE_IO_COMPLETION_NOTIFICATION_INFORMATION;
        """,
        FILE_IO_COMPLETION_NOTIFICATION_INFORMATION=(4, 4),
    ),
    declared(
        "NtCancelIoFileEx",
        f"{PHNT} (ntioapi.h)",
        "NTSTATUS __stdcall NtCancelIoFileEx(HANDLE, PIO_STATUS_BLOCK, PIO_STATUS_BLOCK);",
    ),
    declared(
        "IO_COMPLETION_INFORMATION_CLASS IO_COMPLETION_BASIC_INFORMATION"
        " PIO_COMPLETION_BASIC_INFORMATION NtQueryIoCompletion",
        f"{PHNT} (ntioapi.h)",
        """
        typedef enum { proof_io_completion_basic } IO_COMPLETION_INFORMATION_CLASS;
        typedef struct { LONG Depth; }
            IO_COMPLETION_BASIC_INFORMATION, *PIO_COMPLETION_BASIC_INFORMATION;
        NTSTATUS __stdcall NtQueryIoCompletion(
            HANDLE, IO_COMPLETION_INFORMATION_CLASS, PVOID, ULONG, PULONG);
        """,
        IO_COMPLETION_BASIC_INFORMATION=(4, 4),
    ),
    numbers(
        f"{PHNT} (ntioapi.h)",
        IoCompletionBasicInformation=0,
        IO_COMPLETION_QUERY_STATE=1,
    ),
    declared(
        "NtCreateWaitCompletionPacket",
        f"{MICROSOFT}/win32/devnotes/ntcreatewaitcompletionpacket",
        """
        NTSTATUS __stdcall NtCreateWaitCompletionPacket(
            PHANDLE, ACCESS_MASK, POBJECT_ATTRIBUTES);
        """,
    ),
    declared(
        "NtAssociateWaitCompletionPacket",
        f"{MICROSOFT}/win32/devnotes/ntassociatewaitcompletionpacket",
        """
        NTSTATUS __stdcall NtAssociateWaitCompletionPacket(
            HANDLE, HANDLE, HANDLE, PVOID, PVOID, NTSTATUS, ULONG_PTR, PBOOLEAN);
        """,
    ),
    declared(
        "NtCancelWaitCompletionPacket",
        f"{MICROSOFT}/win32/devnotes/ntcancelwaitcompletionpacket",
        "NTSTATUS __stdcall NtCancelWaitCompletionPacket(HANDLE, BOOLEAN);",
    ),
    # AFD: device 0x12 (network), function 9, buffered; an event is a bit
    numbers(
        "https://github.com/piscisaureus/wepoll (src/afd.c, src/afd.h)",
        IOCTL_AFD_POLL="(0x12 << 12 | 9 << 2)",
        AFD_POLL_RECEIVE="(1 << 0)",
        AFD_POLL_RECEIVE_EXPEDITED="(1 << 1)",
        AFD_POLL_SEND="(1 << 2)",
        AFD_POLL_DISCONNECT="(1 << 3)",
        AFD_POLL_ABORT="(1 << 4)",
        AFD_POLL_LOCAL_CLOSE="(1 << 5)",
        AFD_POLL_CONNECT="(1 << 6)",
        AFD_POLL_ACCEPT="(1 << 7)",
        AFD_POLL_CONNECT_FAIL="(1 << 8)",
    ),
    declared(
        "AFD_POLL_HANDLE_INFO PAFD_POLL_HANDLE_INFO AFD_POLL_INFO PAFD_POLL_INFO",
        "https://github.com/piscisaureus/wepoll (src/afd.h)",
        """
        typedef struct { HANDLE Handle; ULONG Events; NTSTATUS Status; }
            AFD_POLL_HANDLE_INFO, *PAFD_POLL_HANDLE_INFO;
        typedef struct {
            LARGE_INTEGER Timeout;
            ULONG NumberOfHandles, Exclusive;
            AFD_POLL_HANDLE_INFO Handles[1];
        } AFD_POLL_INFO, *PAFD_POLL_INFO;
        """,
        AFD_POLL_HANDLE_INFO=(16, 12),
        AFD_POLL_INFO=(32, 32),
    ),
    # ws2_32
    numbers(
        METADATA,
        MSG_ERRQUEUE=0x1000,
        SO_BSP_STATE=0x1009,
        SO_PAUSE_ACCEPT=0x3003,
        SO_COMPARTMENT_ID=0x3004,
        SO_RANDOMIZE_PORT=0x3005,
        SO_PORT_SCALABILITY=0x3006,
        SO_REUSE_UNICASTPORT=0x3007,
        SO_REUSE_MULTICASTPORT=0x3008,
        UDP_SEND_MSG_SIZE=2,
        UDP_RECV_MAX_COALESCED_SIZE=3,
        UDP_COALESCED_INFO=3,
        SIO_GET_MULTIPLE_EXTENSION_FUNCTION_POINTER="_WSAIORW(IOC_WS2, 36)",
    ),
    numbers(
        METADATA,
        until=12,
        TCP_KEEPALIVE=3,
        TCP_KEEPIDLE=3,
        TCP_MAXSEG=4,
        TCP_MAXRT=5,
        TCP_STDURG=6,
        TCP_NOURG=7,
        TCP_ATMARK=8,
        TCP_NOSYNRETRIES=9,
        TCP_TIMESTAMPS=10,
        TCP_CONGESTION_ALGORITHM=12,
        TCP_DELAY_FIN_ACK=13,
        TCP_MAXRTMS=14,
        TCP_FASTOPEN=15,
        TCP_KEEPCNT=16,
        TCP_KEEPINTVL=17,
        TCP_FAIL_CONNECT_ON_ICMP_ERROR=18,
        TCP_ICMP_ERROR_INFO=19,
    ),
    numbers(
        "https://github.com/microsoft/msquic, which defines it where it is missing",
        until=14,
        SIO_UDP_NETRESET="_WSAIOW(IOC_VENDOR, 15)",
    ),
    declared(
        "GetAddrInfoExCancel",
        f"{MICROSOFT}/win32/api/ws2tcpip/nf-ws2tcpip-getaddrinfoexcancel",
        "INT __stdcall GetAddrInfoExCancel(LPHANDLE);",
    ),
    declared(
        "GetAddrInfoExOverlappedResult",
        f"{MICROSOFT}/win32/api/ws2tcpip/nf-ws2tcpip-getaddrinfoexoverlappedresult",
        "INT __stdcall GetAddrInfoExOverlappedResult(LPOVERLAPPED);",
    ),
    numbers(
        METADATA,
        until=11,
        SOCK_NOTIFY_REGISTER_EVENT_NONE=0,
        SOCK_NOTIFY_REGISTER_EVENT_IN=1,
        SOCK_NOTIFY_REGISTER_EVENT_OUT=2,
        SOCK_NOTIFY_REGISTER_EVENT_HANGUP=4,
        SOCK_NOTIFY_REGISTER_EVENTS_ALL=7,
        SOCK_NOTIFY_EVENT_IN=1,
        SOCK_NOTIFY_EVENT_OUT=2,
        SOCK_NOTIFY_EVENT_HANGUP=4,
        SOCK_NOTIFY_EVENT_ERR=64,
        SOCK_NOTIFY_EVENT_REMOVE=128,
        SOCK_NOTIFY_EVENTS_ALL=199,
        SOCK_NOTIFY_OP_NONE=0,
        SOCK_NOTIFY_OP_ENABLE=1,
        SOCK_NOTIFY_OP_DISABLE=2,
        SOCK_NOTIFY_OP_REMOVE=4,
        SOCK_NOTIFY_TRIGGER_ONESHOT=1,
        SOCK_NOTIFY_TRIGGER_PERSISTENT=2,
        SOCK_NOTIFY_TRIGGER_LEVEL=4,
        SOCK_NOTIFY_TRIGGER_EDGE=8,
        SOCK_NOTIFY_TRIGGER_ALL=15,
    ),
    declared(
        "SOCK_NOTIFY_REGISTRATION",
        f"{MICROSOFT}/win32/api/winsock2/ns-winsock2-sock_notify_registration",
        """
        typedef struct {
            SOCKET socket;
            PVOID completionKey;
            UINT16 eventFilter;
            UINT8 operation, triggerFlags;
            DWORD registrationResult;
        } SOCK_NOTIFY_REGISTRATION;
        """,
        until=11,
        SOCK_NOTIFY_REGISTRATION=(24, 16),
    ),
    declared(
        "ProcessSocketNotifications",
        f"{MICROSOFT}/win32/api/winsock2/nf-winsock2-processsocketnotifications",
        """
        DWORD __stdcall ProcessSocketNotifications(
            HANDLE, UINT32, SOCK_NOTIFY_REGISTRATION *, UINT32, ULONG, OVERLAPPED_ENTRY *,
            UINT32 *);
        """,
    ),
    # RIO, in mswsock.h and mswsockdef.h
    numbers(
        METADATA,
        RIO_INVALID_BUFFERID="((RIO_BUFFERID)(ULONG_PTR)0xFFFFFFFF)",
        RIO_INVALID_CQ="((RIO_CQ)0)",
        RIO_INVALID_RQ="((RIO_RQ)0)",
        RIO_MAX_CQ_SIZE="0x8000000",
        RIO_CORRUPT_CQ="0xFFFFFFFF",
        RIO_MSG_DONT_NOTIFY=1,
        RIO_MSG_DEFER=2,
        RIO_MSG_WAITALL=4,
        RIO_MSG_COMMIT_ONLY=8,
        RIO_EVENT_COMPLETION=1,
        RIO_IOCP_COMPLETION=2,
        WSAID_MULTIPLE_RIO=(
            "{0x8509e081, 0x96dd, 0x4005, {0xb1, 0x65, 0x9e, 0x2e, 0xe8, 0xc7, 0x9e, 0x3f}}"
        ),
    ),
    declared(
        "RIO_BUFFERID RIO_CQ RIO_RQ RIO_BUF PRIO_BUF RIORESULT PRIORESULT"
        " RIO_CMSG_BUFFER PRIO_CMSG_BUFFER",
        f"{MICROSOFT}/win32/api/mswsockdef/",
        """
        typedef struct RIO_BUFFERID_t *RIO_BUFFERID;
        typedef struct RIO_CQ_t *RIO_CQ;
        typedef struct RIO_RQ_t *RIO_RQ;
        typedef struct { RIO_BUFFERID BufferId; ULONG Offset, Length; } RIO_BUF, *PRIO_BUF;
        typedef struct {
            LONG Status;
            ULONG BytesTransferred;
            ULONGLONG SocketContext, RequestContext;
        } RIORESULT, *PRIORESULT;
        typedef struct { ULONG TotalLength; } RIO_CMSG_BUFFER, *PRIO_CMSG_BUFFER;
        """,
        RIO_BUF=(16, 12),
        RIORESULT=(24, 24),
        RIO_CMSG_BUFFER=(4, 4),
    ),
    declared(
        "RIO_NOTIFICATION_COMPLETION_TYPE RIO_NOTIFICATION_COMPLETION PRIO_NOTIFICATION_COMPLETION",
        f"{MICROSOFT}/win32/api/mswsock/ns-mswsock-rio_notification_completion",
        """
        typedef enum { proof_rio_event = 1 } RIO_NOTIFICATION_COMPLETION_TYPE;
        typedef struct {
            RIO_NOTIFICATION_COMPLETION_TYPE Type;
            union {
                struct { HANDLE EventHandle; BOOL NotifyReset; } Event;
                struct { HANDLE IocpHandle; PVOID CompletionKey; PVOID Overlapped; } Iocp;
            };
        } RIO_NOTIFICATION_COMPLETION, *PRIO_NOTIFICATION_COMPLETION;
        """,
        RIO_NOTIFICATION_COMPLETION=(32, 16),
    ),
    declared(
        " ".join(f"LPFN_{name.upper()}" for name in RIO_FUNCTIONS)
        + " RIO_EXTENSION_FUNCTION_TABLE PRIO_EXTENSION_FUNCTION_TABLE",
        f"{MICROSOFT}/win32/api/mswsock/ns-mswsock-rio_extension_function_table",
        "\n".join(_rio(name, *types) for name, types in RIO_FUNCTIONS.items())
        + "\ntypedef struct { DWORD cbSize; "
        + " ".join(f"LPFN_{name.upper()} {name};" for name in RIO_FUNCTIONS)
        + " } RIO_EXTENSION_FUNCTION_TABLE, *PRIO_EXTENSION_FUNCTION_TABLE;",
        RIO_EXTENSION_FUNCTION_TABLE=(112, 56),
    ),
)
