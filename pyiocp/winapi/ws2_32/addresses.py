"""Socket addresses: the structures, and the way from and to Python's address tuples.

A C programmer casts: every function takes ``struct sockaddr *``, and the first two bytes
tell what is really there. Here SOCKADDR is a union that the structures of the families
derive from, so that ``byref(SOCKADDR_IN6())`` fits every ``SOCKADDR`` parameter without a
cast and any other structure does not.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import operator
import socket
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ..structure import Structure, Union
from ..types import CHAR, LONGLONG, SHORT, UCHAR, ULONG, USHORT, Pointer

if TYPE_CHECKING:
    from typing_extensions import Buffer

ADDRESS_FAMILY = USHORT

# Address families.
AF_UNSPEC = 0
AF_UNIX = 1
AF_INET = 2
AF_INET6 = 23
AF_IRDA = 26
AF_BTH = 32

UNIX_PATH_MAX = 108
"""Bytes that SOCKADDR_UN has for a path, its NUL included."""

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | bytes
"""An address as Python's ``socket`` module writes it: AF_INET, AF_INET6, AF_UNIX."""

_FAMILY_NAMES = {
    value: name
    for name, value in list(globals().items())
    if name.startswith("AF_") and isinstance(value, int)
}
_PORT_MAX = 0xFFFF
_FLOWINFO_MAX = 0xFFFFF
_SCOPE_ID_MAX = 0xFFFFFFFF


class _IN_ADDR_BYTES(Structure):
    _fields_ = (("s_b1", UCHAR), ("s_b2", UCHAR), ("s_b3", UCHAR), ("s_b4", UCHAR))


class _IN_ADDR_WORDS(Structure):
    _fields_ = (("s_w1", USHORT), ("s_w2", USHORT))


class _IN_ADDR_UNION(Union):
    _fields_ = (("S_un_b", _IN_ADDR_BYTES), ("S_un_w", _IN_ADDR_WORDS), ("S_addr", ULONG))


class IN_ADDR(Structure):
    """An IPv4 address, in network byte order.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-in_addr
    """

    _fields_ = (("S_un", _IN_ADDR_UNION),)

    @classmethod
    def of(cls, host: str) -> IN_ADDR:
        """Make one from dotted decimal text; ValueError when it is none."""
        return cls.from_buffer_copy(_packed(ipaddress.IPv4Address, host))

    def __str__(self) -> str:
        return "{}.{}.{}.{}".format(*bytes(self))

    def __repr__(self) -> str:
        return f"IN_ADDR.of('{self}')"


class _IN6_ADDR_UNION(Union):
    _fields_ = (("Byte", UCHAR * 16), ("Word", USHORT * 8))


class IN6_ADDR(Structure):
    """An IPv6 address, in network byte order.

    Source: https://learn.microsoft.com/windows/win32/api/in6addr/ns-in6addr-in6_addr
    """

    _fields_ = (("u", _IN6_ADDR_UNION),)

    @classmethod
    def of(cls, host: str) -> IN6_ADDR:
        """Make one from text without a zone; ValueError when it is none."""
        if "%" in host:
            raise ValueError(f"{host!r}: an IN6_ADDR has no place for a zone")
        return cls.from_buffer_copy(_packed(ipaddress.IPv6Address, host))

    def __str__(self) -> str:
        return socket.inet_ntop(socket.AF_INET6, bytes(self))

    def __repr__(self) -> str:
        return f"IN6_ADDR.of('{self}')"


class _SOCKADDR(Structure):
    _fields_ = (("sa_family", ADDRESS_FAMILY), ("sa_data", CHAR * 14))


class SOCKADDR(Union):
    """Any socket address; ``sa_family`` tells which.

    It is the base of the families' structures, so each of them can be passed where a
    SOCKADDR is asked for. It is too short to receive one: pass a SOCKADDR_STORAGE.

    Source: https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-sockaddr
    """

    _anonymous_ = ("any",)
    _fields_: ClassVar[Any] = (("any", _SOCKADDR),)

    _family_: ClassVar[int] = AF_UNSPEC

    def __repr__(self) -> str:
        family = self.sa_family
        if family not in _STRUCTURES:
            return f"{type(self).__name__}(sa_family={_FAMILY_NAMES.get(family, family)})"
        try:
            return f"{type(self).__name__}({address_of(self)!r})"
        except ValueError as error:
            return f"{type(self).__name__}({error})"


LPSOCKADDR = Pointer[SOCKADDR]
PSOCKADDR = LPSOCKADDR


# A family is signed in some structures, as it was in BSD; none reaches the sign bit.


class _SOCKADDR_IN(Structure):
    _fields_ = (
        ("sin_family", SHORT),
        ("sin_port", USHORT),
        ("sin_addr", IN_ADDR),
        ("sin_zero", CHAR * 8),
    )


class SOCKADDR_IN(SOCKADDR):
    """An IPv4 address and port; ``sin_port`` is in network byte order.

    Source: https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-sockaddr_in
    """

    _anonymous_ = ("v4",)
    _fields_ = (("v4", _SOCKADDR_IN),)
    _family_ = AF_INET


class _SOCKADDR_IN6(Structure):
    _fields_ = (
        ("sin6_family", SHORT),
        ("sin6_port", USHORT),
        ("sin6_flowinfo", ULONG),
        ("sin6_addr", IN6_ADDR),
        ("sin6_scope_id", ULONG),
    )


class SOCKADDR_IN6(SOCKADDR):
    """An IPv6 address and port; ``sin6_port`` and ``sin6_flowinfo`` in network byte order.

    ``sin6_scope_id`` is the interface's number for a link-local address, in the
    machine's byte order. (In C it shares its place with a bit-field of the same bytes.)

    Source: https://learn.microsoft.com/windows/win32/api/ws2ipdef/ns-ws2ipdef-sockaddr_in6_lh
    """

    _anonymous_ = ("v6",)
    _fields_ = (("v6", _SOCKADDR_IN6),)
    _family_ = AF_INET6


class _SOCKADDR_UN(Structure):
    _fields_ = (("sun_family", ADDRESS_FAMILY), ("sun_path", CHAR * UNIX_PATH_MAX))


class SOCKADDR_UN(SOCKADDR):
    """The path of an AF_UNIX socket, in UTF-8 with a NUL at its end.

    Windows 10 1803 and later.

    Source: https://devblogs.microsoft.com/commandline/af_unix-comes-to-windows/
    """

    _anonymous_ = ("unix",)
    _fields_ = (("unix", _SOCKADDR_UN),)
    _family_ = AF_UNIX


class _SOCKADDR_STORAGE(Structure):
    _fields_ = (
        ("ss_family", SHORT),
        ("__ss_pad1", CHAR * 6),
        ("__ss_align", LONGLONG),
        ("__ss_pad2", CHAR * 112),
    )


class SOCKADDR_STORAGE(SOCKADDR):
    """Room for an address of any family: 128 bytes.

    Source: https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-sockaddr_storage_lh
    """

    _anonymous_ = ("storage",)
    _fields_ = (("storage", _SOCKADDR_STORAGE),)


class SOCKADDR_INET(Union):
    """An IPv4 or an IPv6 address; ``si_family`` tells which.

    Source: https://learn.microsoft.com/windows/win32/api/ws2ipdef/ns-ws2ipdef-sockaddr_inet
    """

    _fields_ = (("Ipv4", SOCKADDR_IN), ("Ipv6", SOCKADDR_IN6), ("si_family", ADDRESS_FAMILY))


_STRUCTURES: dict[int, type[SOCKADDR]] = {
    structure._family_: structure for structure in (SOCKADDR_IN, SOCKADDR_IN6, SOCKADDR_UN)
}


def sockaddr(family: int, address: Any) -> SOCKADDR:
    """Return the socket address structure of a Python address.

    family: AF_INET, AF_INET6 or AF_UNIX.
    address: for AF_INET ``(host, port)``; for AF_INET6 ``(host, port)`` with flow
        information and scope id after it if wanted, and the scope may also stand in the
        host, as in ``"fe80::1%3"``; for AF_UNIX a path, str (encoded as UTF-8) or bytes.
        An empty host is the wildcard address, ``"<broadcast>"`` is 255.255.255.255.

    Pass the result with ``sizeof(result)``. Hosts are numeric: nothing is resolved, so
    that a call never waits for a name server.

    Raises ValueError for a host name, a port outside 0 to 65535, an unsupported family
    or a path of more than 107 bytes, and TypeError for something that is no address.
    """
    if family == AF_INET:
        host, port = _parts(address, "(host, port)", 2)
        packed = _packed(ipaddress.IPv4Address, _SPECIAL_V4.get(host, host))
        return SOCKADDR_IN.from_buffer_copy(
            AF_INET.to_bytes(2, "little") + _port(port) + packed + bytes(8)
        )
    if family == AF_INET6:
        host, port, *more = _parts(address, "(host, port, flowinfo, scope_id)", 2, 3, 4)
        flowinfo, scope_id = (*more, 0, 0)[:2]
        host, scope_id = _scope(host or "::", scope_id)
        return SOCKADDR_IN6.from_buffer_copy(
            AF_INET6.to_bytes(2, "little")
            + _port(port)
            + _number("flowinfo", flowinfo, _FLOWINFO_MAX).to_bytes(4, "big")
            + _packed(ipaddress.IPv6Address, host)
            + _number("scope_id", scope_id, _SCOPE_ID_MAX).to_bytes(4, "little")
        )
    if family == AF_UNIX:
        path = _path(address).ljust(UNIX_PATH_MAX, b"\0")
        return SOCKADDR_UN.from_buffer_copy(AF_UNIX.to_bytes(2, "little") + path)
    raise ValueError(f"{_FAMILY_NAMES.get(family, family)} is not AF_INET, AF_INET6 or AF_UNIX")


def address_of(source: SOCKADDR | ctypes._Pointer[SOCKADDR] | Buffer) -> Address:
    """Return the Python address that a socket address structure holds.

    source: any SOCKADDR structure, a pointer to one (as GetAcceptExSockaddrs gives), or
        its bytes in any buffer.

    The result is what Python's ``socket`` module would show: ``(host, port)``, ``(host,
    port, flowinfo, scope_id)``, or the path, which is bytes if it is not UTF-8 or begins
    with a NUL.

    Raises ValueError for an address that is too short, of another family, or not there
    (NULL, or AF_UNSPEC).
    """
    raw = _bytes(source)
    family = int.from_bytes(raw[:2], "little")
    port = int.from_bytes(raw[2:4], "big")
    if family == AF_INET:
        return "{}.{}.{}.{}".format(*raw[4:8]), port
    if family == AF_INET6:
        host = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        flowinfo = int.from_bytes(raw[4:8], "big")
        return host, port, flowinfo, int.from_bytes(raw[24:28], "little")
    path = raw[2:].rstrip(b"\0")
    if not path.startswith(b"\0"):
        path = path.partition(b"\0")[0]
        with contextlib.suppress(UnicodeDecodeError):
            return path.decode()
    return path


_SPECIAL_V4 = {"": "0.0.0.0", "<broadcast>": "255.255.255.255"}


def _bytes(source: Any) -> bytes:
    """Return the bytes of one whole address of a known family, or raise ValueError."""
    if isinstance(source, ctypes._Pointer):
        if not source:  # type: ignore[truthy-bool]  # a NULL pointer is false
            raise ValueError("a NULL pointer holds no address")
        structure = _STRUCTURES.get(source.contents.sa_family, SOCKADDR)
        # Lifetime: copied here, while the caller holds the memory behind the pointer.
        raw = ctypes.string_at(source, ctypes.sizeof(structure))
    else:
        raw = memoryview(source).tobytes()
    family = int.from_bytes(raw[:2], "little")
    if len(raw) < 2 or family == AF_UNSPEC:
        raise ValueError("no address was written here (AF_UNSPEC)")
    if family not in _STRUCTURES:
        name = _FAMILY_NAMES.get(family, f"family {family}")
        raise ValueError(f"an address of {name}, not of AF_INET, AF_INET6 or AF_UNIX")
    whole = ctypes.sizeof(_STRUCTURES[family])
    if len(raw) < whole and family != AF_UNIX:
        name = _FAMILY_NAMES[family]
        raise ValueError(f"{len(raw)} bytes, and an {name} address has {whole}")
    return raw


def _parts(address: Any, shape: str, *counts: int) -> tuple[Any, ...]:
    """Check that `address` is a tuple whose first item is a str, and return it."""
    if not isinstance(address, tuple) or len(address) not in counts:
        raise TypeError(f"an address is a tuple {shape}, not {address!r}")
    if not isinstance(address[0], str):
        raise TypeError(f"the host of an address is a str, not {address[0]!r}")
    return address


def _packed(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], host: str) -> bytes:
    """Return the bytes of a numeric host, in network byte order."""
    try:
        return kind(host).packed
    except ValueError:
        version = "IPv4" if kind is ipaddress.IPv4Address else "IPv6"
        raise ValueError(
            f"{host!r} is not a numeric {version} address; resolve a host name first,"
            " with socket.getaddrinfo or GetAddrInfoExW"
        ) from None


def _number(what: str, value: Any, limit: int) -> int:
    """Return `value` as an int from 0 to `limit`."""
    number = operator.index(value)
    if not 0 <= number <= limit:
        raise ValueError(f"{what} is from 0 to {limit}, not {number}")
    return number


def _port(value: Any) -> bytes:
    """Return a port number in network byte order."""
    return _number("a port", value, _PORT_MAX).to_bytes(2, "big")


def _scope(host: str, scope_id: Any) -> tuple[str, int]:
    """Split a zone off the host, which must agree with the scope id if both are there."""
    host, percent, zone = host.partition("%")
    if not percent:
        return host, scope_id
    if not (zone.isascii() and zone.isdecimal()):
        raise ValueError(f"the zone of an IPv6 address is a number here, not {zone!r}")
    if scope_id not in (0, int(zone)):
        raise ValueError(f"zone {zone} in the host and scope id {scope_id} differ")
    return host, int(zone)


def _path(address: Any) -> bytes:
    """Return an AF_UNIX path as bytes that fit."""
    if not isinstance(address, str | bytes):
        raise TypeError(f"an AF_UNIX address is a str or bytes path, not {address!r}")
    path = address.encode() if isinstance(address, str) else address
    if b"\0" in path[1:] or path == b"\0" or (isinstance(address, str) and b"\0" in path):
        raise ValueError(f"a path has no NUL in it: {address!r}")
    if len(path) >= UNIX_PATH_MAX:
        raise ValueError(f"{len(path)} bytes of path, and {UNIX_PATH_MAX - 1} is the most")
    return path
