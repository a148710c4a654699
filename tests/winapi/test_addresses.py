"""Python's addresses become Windows' structures and come back as they were."""

from __future__ import annotations

import ctypes
import ipaddress
import socket
from ctypes import sizeof
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyiocp.winapi import *
from pyiocp.winapi.ws2_32 import address_of, sockaddr

PORTS = st.integers(0, 65535)
V4 = st.tuples(st.ip_addresses(v=4).map(str), PORTS)
V6 = st.tuples(
    st.ip_addresses(v=6).map(lambda host: socket.inet_ntop(socket.AF_INET6, host.packed)),
    PORTS,
    st.integers(0, 2**20 - 1),
    st.integers(0, 2**32 - 1),
)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=107)
PATHS = TEXT.filter(lambda path: len(path.encode()) <= 107)
ABSTRACT = st.binary(min_size=1, max_size=106).filter(lambda name: 0 not in name)


def read_back(family: int, address: Any) -> list[Any]:
    """Return the address as read from the structure, its bytes, a pointer, and a storage."""
    structure = sockaddr(family, address)
    storage = SOCKADDR_STORAGE.from_buffer_copy(bytes(structure).ljust(sizeof(SOCKADDR_STORAGE)))
    sources = (structure, bytes(structure), LPSOCKADDR(structure), storage)
    return [address_of(source) for source in sources]


@given(V4)
def test_an_ipv4_address_survives_the_way_there_and_back(address: tuple[str, int]) -> None:
    """Whatever form it is read from."""
    assert [address] * 4 == read_back(AF_INET, address)


@given(V6)
@example(("::ffff:1.2.3.4", 80, 0, 0))
@example(("fe80::1", 65535, 2**20 - 1, 2**32 - 1))
def test_an_ipv6_address_survives_the_way_there_and_back(address: Any) -> None:
    """Whatever form it is read from, flow information and scope id included."""
    assert [address] * 4 == read_back(AF_INET6, address)


@given(PATHS)
@example("")
@example("é" * 53)
def test_a_unix_path_survives_the_way_there_and_back(path: str) -> None:
    """Up to 107 bytes of UTF-8, and the empty path of an unnamed socket."""
    structure = sockaddr(AF_UNIX, path)
    assert [path] * 3 == [
        address_of(source) for source in (structure, bytes(structure), LPSOCKADDR(structure))
    ]


@given(ABSTRACT)
def test_an_abstract_unix_name_stays_bytes(name: bytes) -> None:
    """A name that begins with a NUL is no text."""
    assert b"\0" + name == address_of(sockaddr(AF_UNIX, b"\0" + name))


def test_bytes_that_are_no_utf8_come_back_as_bytes() -> None:
    """A path in another encoding is kept as it is; one in UTF-8 becomes text."""
    assert b"\xff/x" == address_of(sockaddr(AF_UNIX, b"\xff/x"))
    assert "/é" == address_of(sockaddr(AF_UNIX, "/é".encode()))


@given(V4)
def test_the_ipv4_fields_are_in_network_order(address: tuple[str, int]) -> None:
    """The structure's fields are those that a C program would have filled in."""
    structure = sockaddr(AF_INET, address)
    assert isinstance(structure, SOCKADDR_IN)
    packed = ipaddress.IPv4Address(address[0]).packed
    assert AF_INET == structure.sin_family == structure.sa_family
    assert socket.htons(address[1]) == structure.sin_port
    assert packed == bytes(structure.sin_addr)
    assert int.from_bytes(packed, "little") == structure.sin_addr.S_un.S_addr
    assert packed[0] == structure.sin_addr.S_un.S_un_b.s_b1


@given(V6)
def test_the_ipv6_fields_are_in_network_order_except_the_scope(address: Any) -> None:
    """The scope id is a number of this machine."""
    structure = sockaddr(AF_INET6, address)
    host, port, flowinfo, scope_id = address
    assert isinstance(structure, SOCKADDR_IN6)
    assert socket.htons(port) == structure.sin6_port
    assert socket.htonl(flowinfo) == structure.sin6_flowinfo
    assert scope_id == structure.sin6_scope_id
    assert ipaddress.IPv6Address(host).packed == bytes(structure.sin6_addr.u.Byte)


def test_the_structures_are_as_long_as_windows_has_them() -> None:
    """16, 28, 110 and 128 bytes, and each is a SOCKADDR to whoever asks for one."""
    kinds = (SOCKADDR, SOCKADDR_IN, SOCKADDR_IN6, SOCKADDR_UN, SOCKADDR_STORAGE)
    assert [sizeof(kind) for kind in kinds] == [16, 16, 28, 110, 128]
    assert all(issubclass(kind, SOCKADDR) for kind in kinds)
    for kind in kinds:
        LPSOCKADDR.from_param(ctypes.byref(kind()))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        LPSOCKADDR.from_param(ctypes.byref(GUID()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "short", "full"),
    [
        (AF_INET, ("", 80), ("0.0.0.0", 80)),
        (AF_INET, ("<broadcast>", 80), ("255.255.255.255", 80)),
        (AF_INET6, ("", 80), ("::", 80, 0, 0)),
        (AF_INET6, ("::1", 80), ("::1", 80, 0, 0)),
        (AF_INET6, ("::1", 80, 7), ("::1", 80, 7, 0)),
        (AF_INET6, ("fe80::1%3", 80), ("fe80::1", 80, 0, 3)),
        (AF_INET6, ("fe80::1%3", 80, 0, 3), ("fe80::1", 80, 0, 3)),
    ],
)
def test_short_forms_mean_what_the_socket_module_means(family: int, short: Any, full: Any) -> None:
    """An empty host, a broadcast, fewer items, a zone in the host."""
    assert full == address_of(sockaddr(family, short))


@pytest.mark.parametrize(
    ("family", "address", "words"),
    [
        (AF_INET, ("localhost", 80), "'localhost' is not a numeric IPv4 .* socket.getaddrinfo"),
        (AF_INET, ("127.1", 80), "not a numeric IPv4"),
        (AF_INET, ("::1", 80), "not a numeric IPv4"),
        (AF_INET6, ("example.org", 80), "not a numeric IPv6 .* GetAddrInfoExW"),
        (AF_INET6, ("127.0.0.1", 80), "not a numeric IPv6"),
        (AF_INET, ("127.0.0.1", -1), "a port is from 0 to 65535, not -1"),
        (AF_INET, ("127.0.0.1", 65536), "a port is from 0 to 65535, not 65536"),
        (AF_INET6, ("::1", 80, 2**20), "flowinfo is from 0 to 1048575"),
        (AF_INET6, ("::1", 80, 0, 2**32), "scope_id is from 0 to 4294967295"),
        (AF_INET6, ("fe80::1%eth0", 80), "zone .* is a number here, not 'eth0'"),
        (AF_INET6, ("fe80::1%2", 80, 0, 3), "zone 2 .* scope id 3 differ"),
        (AF_UNIX, "x" * 108, "108 bytes of path, and 107 is the most"),
        (AF_UNIX, "é" * 54, "108 bytes of path"),
        (AF_UNIX, "a\0b", "no NUL"),
        (AF_UNIX, "\0a", "no NUL"),
        (AF_UNIX, b"\0", "no NUL"),
        (AF_BTH, ("", 1), "AF_BTH is not"),
        (99, ("", 1), "99 is not"),
    ],
)
def test_a_wrong_address_is_refused_in_words(family: int, address: Any, words: str) -> None:
    """A ValueError says what is wrong with it, before Windows sees it."""
    with pytest.raises(ValueError, match=words):
        sockaddr(family, address)


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (AF_INET, "127.0.0.1"),
        (AF_INET, ["127.0.0.1", 80]),
        (AF_INET, ("127.0.0.1",)),
        (AF_INET, ("127.0.0.1", 80, 0)),
        (AF_INET, (2130706433, 80)),
        (AF_INET, ("127.0.0.1", "80")),
        (AF_INET, ("127.0.0.1", 80.0)),
        (AF_INET6, ("::1", 80, 0, 0, 0)),
        (AF_UNIX, ("path", 1)),
    ],
)
def test_what_is_no_address_is_a_type_error(family: int, address: Any) -> None:
    """A tuple of another shape, a port that is no int."""
    with pytest.raises(TypeError):
        sockaddr(family, address)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (SOCKADDR_STORAGE(), "no address was written here"),
        (b"", "no address was written here"),
        (b"\2", "no address was written here"),
        (SOCKADDR(sa_family=AF_INET6), "16 bytes, and an AF_INET6 address has 28"),
        (b"\2\0\0\0", "4 bytes, and an AF_INET address has 16"),
        (SOCKADDR(sa_family=AF_BTH), "AF_BTH, not of"),
        (SOCKADDR(sa_family=99), "family 99, not of"),
        (LPSOCKADDR(), "a NULL pointer"),
    ],
)
def test_what_holds_no_address_is_refused_in_words(source: Any, words: str) -> None:
    """Nothing was received, it was cut off, or it is of a family unknown here."""
    with pytest.raises(ValueError, match=words):
        address_of(source)


def test_repr_shows_the_address() -> None:
    """In a REPL, and in a failed test, one reads what it is."""
    assert "SOCKADDR_IN(('127.0.0.1', 80))" == repr(sockaddr(AF_INET, ("127.0.0.1", 80)))
    assert "SOCKADDR_STORAGE(sa_family=AF_UNSPEC)" == repr(SOCKADDR_STORAGE())
    assert "IN_ADDR.of('10.0.0.1')" == repr(IN_ADDR.of("10.0.0.1"))
    assert "IN6_ADDR.of('::1')" == repr(IN6_ADDR.of("::1"))


def test_an_address_alone_has_no_zone() -> None:
    """IN6_ADDR has no place for it, and does not drop it in silence."""
    with pytest.raises(ValueError, match="no place for a zone"):
        IN6_ADDR.of("fe80::1%3")
