"""Resolving names without waiting: GetAddrInfoExW."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..binding import Callback
from ..overlapped import LPOVERLAPPED
from ..structure import Structure
from ..types import (
    DWORD,
    INT,
    LPCWSTR,
    LPHANDLE,
    PCWSTR,
    PVOID,
    ConstPointer,
    Pointer,
    size_t,
)
from .addresses import LPSOCKADDR, Address, address_of
from .guid import LPGUID
from .library import ws2_32
from .polling import PTIMEVAL
from .transfer import LPWSAOVERLAPPED

if TYPE_CHECKING:
    from collections.abc import Iterator

# Namespaces: whom to ask.
NS_ALL = 0
NS_DNS = 12
NS_NETBT = 13
NS_WINS = 14
NS_NLA = 15
NS_BTH = 16
NS_NTDS = 32
NS_EMAIL = 37
NS_PNRPNAME = 38
NS_PNRPCLOUD = 39

# ADDRINFOEXW.ai_flags.
AI_PASSIVE = 0x00000001
AI_CANONNAME = 0x00000002
AI_NUMERICHOST = 0x00000004
AI_NUMERICSERV = 0x00000008
AI_ALL = 0x00000100
AI_ADDRCONFIG = 0x00000400
AI_V4MAPPED = 0x00000800
AI_NON_AUTHORITATIVE = 0x00004000
AI_SECURE = 0x00008000
AI_RETURN_PREFERRED_NAMES = 0x00010000
AI_FQDN = 0x00020000
AI_FILESERVER = 0x00040000
AI_DISABLE_IDN_ENCODING = 0x00080000


class ADDRINFOEXW(Structure):
    """One result of GetAddrInfoExW, or the hints for it; ``ai_next`` leads to the next one.

    As hints: ``ai_flags``, ``ai_family``, ``ai_socktype`` and ``ai_protocol``; all else
    stays zero. As result: also ``ai_addr`` and ``ai_addrlen`` (in bytes).

    Source: https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-addrinfoexw
    """

    def entries(self) -> Iterator[ADDRINFOEXW]:
        """Yield this result and those after it.

        Lifetime: copy what you need before FreeAddrInfoExW.
        """
        yield self
        following = self.ai_next
        while following:
            yield following.contents
            following = following.contents.ai_next

    @property
    def address(self) -> Address:
        """The address, as a Python tuple."""
        return address_of(self.ai_addr)


ADDRINFOEXW._fields_ = (
    ("ai_flags", INT),
    ("ai_family", INT),
    ("ai_socktype", INT),
    ("ai_protocol", INT),
    ("ai_addrlen", size_t),
    ("ai_canonname", LPCWSTR),
    ("ai_addr", LPSOCKADDR),
    ("ai_blob", PVOID),
    ("ai_bloblen", size_t),
    ("ai_provider", LPGUID),
    ("ai_next", Pointer[ADDRINFOEXW]),
)

PADDRINFOEXW = Pointer[ADDRINFOEXW]


class LPLOOKUPSERVICE_COMPLETION_ROUTINE(Callback):
    """What GetAddrInfoExW calls when an asynchronous resolution has ended.

    dwError: the Winsock error code, 0 for success.
    dwBytes: 0.
    lpOverlapped: the OVERLAPPED of the call.

    It runs in a thread of Winsock's own, whose stack is small: only hand the result on.

    Lifetime: keep the instance until it has been called.

    Source: https://learn.microsoft.com/windows/win32/api/ws2tcpip/nc-ws2tcpip-lplookupservice_completion_routine
    """

    @staticmethod
    def signature(dwError: DWORD, dwBytes: DWORD, lpOverlapped: LPWSAOVERLAPPED) -> None: ...


@ws2_32(since="Windows Vista")
def GetAddrInfoExW(
    pName: PCWSTR,
    pServiceName: PCWSTR,
    dwNameSpace: DWORD,
    lpNspId: LPGUID,
    pHints: ConstPointer[ADDRINFOEXW],
    ppResult: Pointer[PADDRINFOEXW],
    timeout: PTIMEVAL,
    lpOverlapped: LPOVERLAPPED,
    lpCompletionRoutine: LPLOOKUPSERVICE_COMPLETION_ROUTINE,
    lpNameHandle: LPHANDLE,
) -> INT:
    """Resolve a host name and a service name to socket addresses.

    pName: a host name, or a numeric address; None.
    pServiceName: a service, or a port number, as text; None.
    dwNameSpace: NS_DNS, or NS_ALL to ask all providers.
    lpNspId: one provider; None.
    pHints: which addresses are wanted; None.
    ppResult: receives the first result; free it with FreeAddrInfoExW.
    timeout: when to give up (Windows 8); None.
    lpOverlapped: makes it asynchronous (Windows 8): its hEvent is signalled at the end,
        or lpCompletionRoutine is called. It does not go through a completion port.
    lpCompletionRoutine: called at the end; None. hEvent must be None with it.
    lpNameHandle: receives a handle for GetAddrInfoExCancel; None.

    Returns 0, or the error code itself, not through last_error(). WSA_IO_PENDING (997):
    started. WSAHOST_NOT_FOUND (11001), WSATRY_AGAIN (11002), WSANO_RECOVERY (11003),
    WSANO_DATA (11004). WSAETIMEDOUT (10060): the time is up. WSAEINVAL (10022).

    Lifetime: asynchronously, ppResult and the OVERLAPPED until the end. The other
    arguments only during the call.

    Source: https://learn.microsoft.com/windows/win32/api/ws2tcpip/nf-ws2tcpip-getaddrinfoexw
    """


@ws2_32(since="Windows Vista")
def FreeAddrInfoExW(pAddrInfoEx: PADDRINFOEXW) -> None:
    """Free all results of one GetAddrInfoExW.

    pAddrInfoEx: the first result, or None.

    Source: https://learn.microsoft.com/windows/win32/api/ws2tcpip/nf-ws2tcpip-freeaddrinfoexw
    """


@ws2_32(since="Windows 8")
def GetAddrInfoExCancel(lpHandle: LPHANDLE) -> INT:
    """Ask for the end of an asynchronous GetAddrInfoExW.

    lpHandle: what its lpNameHandle received, by reference.

    Returns 0, or the error code itself. WSA_INVALID_HANDLE (6): it has ended already.

    The end comes as usual, by event or routine, with WSA_E_CANCELLED (10111); only then
    is the memory free.

    Source: https://learn.microsoft.com/windows/win32/api/ws2tcpip/nf-ws2tcpip-getaddrinfoexcancel
    """


@ws2_32(since="Windows 8")
def GetAddrInfoExOverlappedResult(lpOverlapped: LPOVERLAPPED) -> INT:
    """Return the error code of an asynchronous GetAddrInfoExW, 0 for success.

    lpOverlapped: the OVERLAPPED of the call. WSAEINPROGRESS (10036): it has not ended.

    Source: https://learn.microsoft.com/windows/win32/api/ws2tcpip/nf-ws2tcpip-getaddrinfoexoverlappedresult
    """
