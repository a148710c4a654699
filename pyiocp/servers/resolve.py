"""Resolving addresses as users write them into what the system takes."""

from __future__ import annotations

import itertools
import socket
from typing import Any


def check_address(address: Any) -> None:
    """Raise TypeError or ValueError for anything but a ``(host, port)`` address."""
    if not isinstance(address, tuple) or len(address) not in (2, 4):
        raise TypeError(f"an address is a tuple (host, port), not {address!r}")
    host, port = address[:2]
    if not isinstance(host, str) or not isinstance(port, int):
        raise TypeError(f"an address is a tuple of a str and an int, not {address!r}")
    if "\0" in host:
        raise ValueError(f"a host has no null character: {host!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535, not {port}")


def resolve(address: Any, *, passive: bool = False) -> tuple[int, Any]:
    """Return the family and the numeric form of a ``(host, port)`` address.

    A numeric host is not looked up. An empty host is every interface (IPv4) for a `passive`
    address, and this machine otherwise. Looking a name up waits for the name server; its
    first address is taken.

    Raises TypeError or ValueError for anything but an address, OSError (``socket.gaierror``)
    for an unknown name.
    """
    check_address(address)
    return _look_up(address, socket.AI_PASSIVE if passive else 0)[0]


def resolve_all(address: Any) -> list[tuple[int, Any]]:
    """Return everything that a ``(host, port)`` address resolves to, in the order to try it.

    That is the system's order, but with alternating families, so that the second attempt
    uses the other one (RFC 8305, section 4). Raises as `resolve`.
    """
    check_address(address)
    found = _look_up(address, 0)
    first = [pair for pair in found if pair[0] == found[0][0]]
    others = [pair for pair in found if pair[0] != found[0][0]]
    turns = itertools.zip_longest(first, others)
    return [pair for turn in turns for pair in turn if pair is not None]


def is_numeric(address: Any) -> bool:
    """Return whether an address needs no name server."""
    try:
        _look_up(address, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):  # UnicodeError: not a host name
        return False
    return True


def _look_up(address: Any, flags: int) -> list[tuple[int, Any]]:
    host, port = address[:2]
    if len(address) == 4:
        return [(int(socket.AF_INET6), address)]
    family = socket.AF_UNSPEC if host else socket.AF_INET
    found = socket.getaddrinfo(host or None, port, family, socket.SOCK_STREAM, 0, flags)
    return [(int(entry[0]), entry[4]) for entry in found]
