"""Wrong declarations, each one change away from the right one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """One change to one file below ``pyiocp/winapi``."""

    file: str
    pattern: str
    """A regular expression that matches at one place of the file."""
    replacement: str
    said: tuple[str, ...]
    """What complaints must contain."""
    target: str = "x86_64"
    """The target to prove it for; what only 32-bit Windows shows is proven there."""


CHANGES = {
    "a field's type": Change(
        "overlapped.py",
        r'\("Internal", ULONG_PTR\),\n        \("InternalHigh"',
        '("Internal", HANDLE),\n        ("InternalHigh"',
        ("OVERLAPPED.Internal is declared as HANDLE, the headers have ULONG_PTR",),
    ),
    "a field's sign": Change(
        "ws2_32/polling.py",
        r'\("tv_sec", LONG\)',
        '("tv_sec", ULONG)',
        ("TIMEVAL.tv_sec is declared as ULONG, the headers have long int",),
    ),
    "the order of fields": Change(
        "overlapped.py",
        r'(\("lpCompletionKey", ULONG_PTR\),)(\s+)(\("lpOverlapped", LPOVERLAPPED\),)',
        r"\3\2\1",
        ("OVERLAPPED_ENTRY.lpOverlapped is declared at offset 0, the headers have 8 (0x8)",),
    ),
    "a field too many": Change(
        "overlapped.py",
        r'(\("hEvent", HANDLE\),)',
        r'\1 ("Reserved", PVOID),',
        (
            "OVERLAPPED is declared with 24 bytes, the headers have 20 (0x14)",
            "OVERLAPPED.Reserved is declared",
        ),
        target="i686",
    ),
    "a field left out": Change(
        "overlapped.py",
        r'\("dwNumberOfBytesTransferred", DWORD\),',
        "",
        ("missing initializer for field 'dwNumberOfBytesTransferred'",),
    ),
    "the width of a bit-field": Change(
        "psapi.py",
        r'\("ShareCount", ULONG_PTR, 3\)',
        '("ShareCount", ULONG_PTR, 2)',
        ("ShareCount is declared as bits 1 to 2, the headers have bits 1 to 3",),
    ),
    "a constant": Change(
        "errorcodes.py",
        r"\bERROR_NETNAME_DELETED = 64\b",
        "ERROR_NETNAME_DELETED = 65",
        ("ERROR_NETNAME_DELETED is declared as 65 (0x41), the headers have 64 (0x40)",),
    ),
    "a constant's sign": Change(
        "kernel32/constants.py",
        r"\bINFINITE = 0xFFFFFFFF\b",
        "INFINITE = -1",
        ("INFINITE is declared as -1 (-0x1), the headers have 4294967295 (0xffffffff)",),
    ),
    "a GUID": Change(
        "mswsock/connections.py",
        r"25a207b9-ddf3-4660-8ee9-76e58c74063e",
        "25a207b9-ddf3-4660-8ee9-76e58c74063f",
        ("WSAID_CONNECTEX is declared as 25a207b9-ddf3-4660-8ee9-76e58c74063f, the headers have",),
    ),
    "the order of arguments": Change(
        "kernel32/ports.py",
        r"(lpNumberOfBytesTransferred: LPDWORD,)(\s+)(lpCompletionKey: PULONG_PTR,)",
        r"\3\2\1",
        ("GetQueuedCompletionStatus is declared as (HANDLE, PULONG_PTR, LPDWORD",),
    ),
    "the order of arguments of one type": Change(
        "kernel32/ports.py",
        r"(    FileHandle: HANDLE,\n)(    ExistingCompletionPort: HANDLE,\n)",
        r"\2\1",
        ("CreateIoCompletionPort has (ExistingCompletionPort, FileHandle,",),
    ),
    "a const": Change(
        "ws2_32/sockets.py",
        r"(def connect\([^)]*)ConstPointer\[",
        r"\1Pointer[",
        ("connect is declared as (SOCKET, Pointer[SOCKADDR], INT) -> INT, the headers have int",),
    ),
    "a result": Change(
        "kernel32/handles.py",
        r"def CloseHandle\(hObject: HANDLE\) -> BOOL",
        "def CloseHandle(hObject: HANDLE) -> HANDLE",
        ("CloseHandle is declared as (HANDLE) -> HANDLE, the headers have WINBOOL",),
    ),
    "the calling convention": Change(
        "binding.py",
        r"_STDCALL = 0x0 if WINDOWS else 0x1",
        "_STDCALL = 0x1",
        (
            "CloseHandle is declared as (HANDLE) -> BOOL",
            "LPOVERLAPPED_COMPLETION_ROUTINE is declared as",
        ),
        target="i686",  # 64-bit Windows has one convention only
    ),
    "an extension function": Change(
        "mswsock/connections.py",
        r"lpOverlapped: LPOVERLAPPED, dwFlags: DWORD, dwReserved: DWORD",
        "lpOverlapped: LPOVERLAPPED, dwFlags: DWORD, dwReserved: ULONG_PTR",
        ("DisconnectEx is declared as (SOCKET, LPOVERLAPPED, DWORD, ULONG_PTR) -> BOOL",),
    ),
    "a callback": Change(
        "kernel32/ports.py",
        r"(dwErrorCode): DWORD",
        r"\1: ULONG_PTR",
        ("LPOVERLAPPED_COMPLETION_ROUTINE is declared as (ULONG_PTR, DWORD, LPOVERLAPPED)",),
    ),
    "a type's width": Change(
        "types.py",
        r"\nULONG_PTR = ctypes.c_size_t",
        r"\nULONG_PTR = ctypes.c_uint64",
        ("ULONG_PTR is declared as ctypes.c_uint64, the headers have ULONG_PTR",),
        target="i686",
    ),
    "a type's target": Change(
        "types.py",
        r"\nLPDWORD = Pointer\[DWORD\]",
        r"\nLPDWORD = Pointer[INT]",
        ("LPDWORD is declared as Pointer[INT], the headers have DWORD * (long unsigned int *)",),
    ),
    "what only absent.py knows": Change(
        "ntdll/packets.py",
        r"AlreadySignaled: PBOOLEAN",
        "AlreadySignaled: PULONG",
        ("NtAssociateWaitCompletionPacket is declared as",),
    ),
    "a function that Windows does not have": Change(
        "kernel32/handles.py",
        r"def CloseHandle\(",
        "def CloseHandles(",
        ("CloseHandles is neither in the headers nor in absent.py",),
    ),
    "a constant that Windows does not have": Change(
        "kernel32/constants.py",
        r"\nINFINITE =",
        "\nINFINITE_AND_MORE = 1\nINFINITE =",
        ("INFINITE_AND_MORE is neither in the headers nor in absent.py",),
    ),
    "a declaration made at run time": Change(
        "kernel32/constants.py",
        r"\nINFINITE =",
        '\nglobals()["INFINITE_TOO"] = 1\nINFINITE =',
        ("INFINITE_TOO is made at run time",),
    ),
    "a function's DLL": Change(
        "psapi.py",
        r'Library\("psapi.dll"\)',
        'Library("ws2_32.dll")',
        ("QueryWorkingSetEx is not exported by ws2_32.dll",),
    ),
    "a function of Windows that is Python's": Change(
        "ws2_32/buffers.py",
        r"\Z",
        "\n\ndef htons(hostshort: int) -> int:\n    return hostshort\n",
        ("htons is a function of the headers, and not declared",),
    ),
    "a function without a declaration": Change(
        "kernel32/handles.py",
        r"\Z",
        "\n\ndef GetHandleColour(hObject: HANDLE) -> int:\n    return 0\n",
        ("GetHandleColour: it has a name like Windows' own and is no declaration",),
    ),
    "an entry of absent.py that nobody needs": Change(
        "ws2_32/options.py",
        r"\nTCP_FASTOPEN = 15",
        "",
        ("TCP_FASTOPEN is listed in absent.py, and nobody declares it",),
    ),
}
