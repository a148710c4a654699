"""Resolving addresses as users write them into what the system takes."""

from __future__ import annotations

import itertools
import socket
from typing import Any

from ..handles.sockets.destination import reachable
from ..winapi.errorcodes import error_name

_FLOW_INFORMATION_MAX = 0xFFFFF
_SCOPE_ID_MAX = 0xFFFFFFFF

_FAMILY_NAMES = {int(socket.AF_INET): "IPv4", int(socket.AF_INET6): "IPv6"}


def check_address(address: Any) -> None:
    """Raise TypeError or ValueError for anything but an address.

    That is ``(host, port)``, or ``(host, port, flow information, scope id)`` over IPv6.
    """
    if not isinstance(address, tuple) or len(address) not in (2, 4):
        raise TypeError(f"an address is a tuple (host, port), not {address!r}")
    host, port, *more = address
    if not isinstance(host, str) or not isinstance(port, int):
        raise TypeError(f"an address is a tuple of a str and an int, not {address!r}")
    if not all(isinstance(number, int) for number in more):
        raise TypeError(f"flow information and scope id of an address are ints: {address!r}")
    if "\0" in host:
        raise ValueError(f"a host has no null character: {host!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535, not {port}")
    if not more:
        return
    flow_information, scope_id = more
    for name, number, most in (
        ("flow information", flow_information, _FLOW_INFORMATION_MAX),
        ("a scope id", scope_id, _SCOPE_ID_MAX),
    ):
        if not 0 <= number <= most:
            raise ValueError(f"{name} is a number from 0 to {most}, not {number}")
    if host and is_numeric((host, port)) and not is_numeric(address):
        raise ValueError(f"an address of four parts is of IPv6, which {host!r} is not")


def check_family(address: Any, family: int) -> None:
    """Raise ValueError for a numeric address of another family; 0 is any."""
    if is_numeric(address) and not is_numeric(address, family):
        raise ValueError(f"{address!r} is not of {_FAMILY_NAMES[family]}")


def resolve(address: Any, *, passive: bool = False) -> tuple[int, Any]:
    """Return the family and the numeric form of an address.

    A numeric host is not looked up. An empty host is every interface (IPv4) for a `passive`
    address, and this machine otherwise. Looking a name up waits for the name server; its
    first address is taken.

    Raises TypeError or ValueError for anything but an address, OSError (``socket.gaierror``)
    for an unknown name.
    """
    if passive:
        return resolve_passive(address)[0]
    check_address(address)
    return _look_up(address, 0)[0]


def resolve_passive(address: Any) -> list[tuple[int, Any]]:
    """Return everything that can be listened at for an address, in the system's order.

    Looking a name up waits for the name server. Raises as `resolve`.
    """
    check_address(address)
    return _look_up(address, socket.AI_PASSIVE)


def resolve_all(address: Any, family: int = 0) -> list[tuple[int, Any]]:
    """Return everything that can be connected to for an address, in the order to try it.

    family: AF_INET or AF_INET6; 0 is both. The address of every interface is this machine's.

    That is the system's order, but with alternating families, so that the second attempt
    uses the other one (RFC 8305, section 4). Raises as `resolve`.
    """
    check_address(address)
    found = [(each, reachable(each, numeric)) for each, numeric in _look_up(address, 0, family)]
    first = [pair for pair in found if pair[0] == found[0][0]]
    others = [pair for pair in found if pair[0] != found[0][0]]
    turns = itertools.zip_longest(first, others)
    return [pair for turn in turns for pair in turn if pair is not None]


def is_numeric(address: Any, family: int = 0) -> bool:
    """Return whether an address needs no name server, and is of that family; 0 is any."""
    try:
        _look_up(address, socket.AI_NUMERICHOST, family)
    except socket.gaierror:
        return False
    return True


def _look_up(address: Any, flags: int, family: int = 0) -> list[tuple[int, Any]]:
    host, port, *more = address
    if more:
        family = family or socket.AF_INET6
    elif not host:
        family = family or socket.AF_INET
    try:
        found = socket.getaddrinfo(host or None, port, family, socket.SOCK_STREAM, 0, flags)
    except socket.gaierror as error:
        code = error.errno or 0
        text = f"getaddrinfo({host!r}) failed with {error_name(code)} ({code})"
        raise socket.gaierror(code, text) from None
    except UnicodeError as error:
        text = f"getaddrinfo({host!r}) failed: no host can be called that"
        raise socket.gaierror(socket.EAI_NONAME, text) from error
    pairs: list[tuple[int, Any]] = [(int(entry[0]), entry[4]) for entry in found]
    if not more:
        return pairs
    flow_information, scope_id = more
    return [
        (each, (*numeric[:2], flow_information, scope_id or numeric[3])) for each, numeric in pairs
    ]
