"""Extension functions are asked of the socket that they are used on, once per provider."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref, sizeof
from typing import Any

import pytest
from win32_helpers import Handles, on_windows
from winsock_helpers import FAMILIES, Sockets, closing, local

import pyiocp.winapi.extension as mechanism
from pyiocp.winapi import *
from pyiocp.winapi.binding import DECLARED
from pyiocp.winapi.ws2_32 import sockaddr

EXTENSIONS = [name for name, value in DECLARED.items() if hasattr(value, "guid")]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets that are closed when the test ends."""
    with closing() as kept:
        yield kept


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sockets that are asked with WSAIoctl from now on, in order; nothing is known yet."""
    asked: list[int] = []
    original = mechanism.WSAIoctl

    def counting(socket: int, *arguments: Any) -> int:
        asked.append(socket)
        return original(socket, *arguments)

    monkeypatch.setattr(mechanism, "WSAIoctl", counting)
    for name in EXTENSIONS:
        monkeypatch.setattr(DECLARED[name], "_pointers", {})
    return asked


def test_all_eight_are_declared_by_guid() -> None:
    """Those of Microsoft's list; RIO's table has its own GUID."""
    assert sorted(EXTENSIONS) == [
        "AcceptEx",
        "ConnectEx",
        "DisconnectEx",
        "GetAcceptExSockaddrs",
        "TransmitFile",
        "TransmitPackets",
        "WSARecvMsg",
        "WSASendMsg",
    ]


@on_windows
def test_pointers_are_looked_up_once_per_provider(sockets: Sockets, lookups: list[int]) -> None:
    """C27: IPv4 and IPv6 ask separately; a second socket of either asks no more.

    Shown by counting the calls of WSAIoctl, and by the provider that each pointer is kept
    under: family and catalogue entry differ.
    """
    first = {family: sockets.make(family) for family in FAMILIES}
    second = {family: sockets.make(family) for family in FAMILIES}
    pointers = {family: AcceptEx.on(first[family]) for family in FAMILIES}
    assert [first[AF_INET], first[AF_INET6]] == lookups
    for family in FAMILIES:
        assert pointers[family] is AcceptEx.on(second[family])
    assert 2 == len(lookups)
    assert pointers[AF_INET] is not pointers[AF_INET6]
    providers = [mechanism.Provider.of(first[family]) for family in FAMILIES]
    assert [provider.family for provider in providers] == [AF_INET, AF_INET6]
    assert 2 == len({provider.catalog_entry for provider in providers})


@on_windows
def test_functions_are_looked_up_separately(sockets: Sockets, lookups: list[int]) -> None:
    """One socket is asked once for each function, and each has an address of its own."""
    socket = sockets.make()
    functions = (AcceptEx, ConnectEx, DisconnectEx, TransmitFile)
    addresses = {ctypes.cast(function.on(socket), ctypes.c_void_p).value for function in functions}
    assert ([socket] * 4, 4) == (lookups, len(addresses))


@on_windows
def test_a_datagram_socket_has_a_provider_of_its_own(sockets: Sockets, lookups: list[int]) -> None:
    """Stream and datagram sockets of one family are asked separately."""
    for kind in (SOCK_STREAM, SOCK_DGRAM):
        TransmitFile.on(sockets.make(AF_INET, kind))
    assert 2 == len(lookups)


@on_windows
def test_a_direct_call_asks_its_first_argument(sockets: Sockets, lookups: list[int]) -> None:
    """C27: what is called is the function of the socket's own provider, for each family."""
    for family in FAMILIES:
        client, overlapped = sockets.make(family), OVERLAPPED()
        name = sockaddr(family, local(sockets.bound(family)))
        arguments = (byref(name), sizeof(name), None, 0, None, byref(overlapped))
        assert not ConnectEx(client, *arguments)
        assert last_error() == WSAEINVAL  # it is not bound
        assert client == lookups[-1]
    assert 2 == len(lookups)


@on_windows
def test_many_threads_may_ask_at_once(sockets: Sockets, lookups: list[int]) -> None:
    """They all get the same pointer, and the socket is asked once."""
    socket, threads = sockets.make(), 16
    together = threading.Barrier(threads)

    def ask(_: int) -> Any:
        together.wait()
        return DisconnectEx.on(socket)

    with ThreadPoolExecutor(threads) as pool:
        pointers = list(pool.map(ask, range(threads)))
    assert 1 == len({id(pointer) for pointer in pointers})
    assert [socket] == lookups


@on_windows
def test_a_pointer_works_without_types_and_after_its_socket(sockets: Sockets) -> None:
    """untyped() takes it; the socket that was asked may be closed."""
    asked = sockets.make()
    disconnect = untyped(DisconnectEx.on(asked))
    sockets.close(asked)
    overlapped = OVERLAPPED()
    socket = sockets.make()
    assert 0 == disconnect(SOCKET(socket), byref(overlapped), DWORD(0), DWORD(0))
    assert WSAENOTCONN == last_error()


@on_windows
def test_a_function_that_the_provider_lacks_is_named_with_the_family(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the function, the kind of socket and the first Windows version.

    Shown with a GUID that no provider knows.
    """
    monkeypatch.setattr(ConnectEx, "guid", GUID.of("00000000-1111-2222-3333-444444444444"))
    monkeypatch.setattr(ConnectEx, "_pointers", {})
    for family, words in (
        (AF_INET, "no ConnectEx on this AF_INET stream socket: it came with Windows XP"),
        (AF_INET6, "no ConnectEx on this AF_INET6 stream socket"),
    ):
        with pytest.raises(FunctionUnavailableError, match=words):
            ConnectEx.on(sockets.make(family))
    assert not available("ConnectEx")


@on_windows
def test_what_is_no_socket_is_an_os_error(handles: Handles) -> None:
    """With Winsock's code and the function that found out."""
    event = handles.keep(WSACreateEvent())
    with pytest.raises(OSError, match=r"getsockopt.*WSAENOTSOCK") as caught:
        AcceptEx.on(event)
    assert WSAENOTSOCK == caught.value.winerror


@on_windows
def test_available_asks_a_socket() -> None:
    """It says of each what a lookup says, and leaves no socket behind."""
    for name in EXTENSIONS:
        answers = []
        for kind in (SOCK_STREAM, SOCK_DGRAM):
            with closing() as sockets:
                socket = sockets.make(AF_INET, kind)
                try:
                    DECLARED[name].on(socket)  # type: ignore[attr-defined]
                    answers.append(True)
                except FunctionUnavailableError:
                    answers.append(False)
        assert any(answers) == available(name), name
    assert available("AcceptEx")


@on_windows
def test_asking_leaves_no_handle_behind() -> None:
    """100 questions to new sockets, with the same number of handles before and after."""
    count = ctypes.WinDLL("kernel32").GetProcessHandleCount
    process = ctypes.c_void_p(-1)
    available("AcceptEx")
    before, after = DWORD(), DWORD()
    assert count(process, byref(before))
    for _ in range(100):
        available("AcceptEx")
        available("TransmitPackets")
    assert count(process, byref(after))
    assert before.value == after.value


def test_a_guid_is_its_sixteen_bytes() -> None:
    """Text with or without braces, Microsoft's byte order, equality and hash by value."""
    text = "25a207b9-ddf3-4660-8ee9-76e58c74063e"
    guid = GUID.of(text)
    assert (0x25A207B9, 0xDDF3, 0x4660, 0x8E) == (
        guid.Data1,
        guid.Data2,
        guid.Data3,
        guid.Data4[0],
    )
    assert bytes.fromhex("b907a225f3dd60468ee976e58c74063e") == bytes(guid)
    assert (text, f"GUID.of('{text}')") == (str(guid), repr(guid))
    assert {WSAID_CONNECTEX} == {guid, GUID.of(f"{{{text.upper()}}}")}
    assert guid != WSAID_ACCEPTEX
    assert guid != text
    with pytest.raises(ValueError, match="badly formed"):
        GUID.of("no GUID")


def test_a_call_without_a_socket_says_what_is_missing() -> None:
    """Rather than an IndexError."""
    with pytest.raises(TypeError, match=r"AcceptEx\(sListenSocket: SOCKET"):
        AcceptEx()


def test_help_shows_the_signature_and_the_page() -> None:
    """As for any declared function."""
    text = AcceptEx.__doc__ or ""
    assert text.startswith("AcceptEx(sListenSocket: SOCKET, sAcceptSocket: SOCKET, ")
    assert (
        "Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex" in text
    )
    assert "<AcceptEx(" in repr(AcceptEx)


@pytest.mark.parametrize("name", EXTENSIONS)
def test_off_windows_the_error_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown on any system, by telling the mechanism that it is not Windows."""
    monkeypatch.setattr(mechanism, "WINDOWS", False)
    monkeypatch.setattr("pyiocp.winapi.binding.WINDOWS", False)
    function: Any = DECLARED[name]
    monkeypatch.setattr(function, "_pointers", {})
    if hasattr(function, "_usual"):
        monkeypatch.setattr(function, "_usual", None)
    for call in (lambda: function(3), lambda: function.on(3)(3)):
        with pytest.raises(FunctionUnavailableError, match=f"{name} is a function of Windows"):
            call()
    assert not function.offered()
