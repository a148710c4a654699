"""Addresses as users write them, turned into what the system takes.

What belongs here: ``("localhost", 9000)`` to a family and a numeric address.
"""

from __future__ import annotations

import socket
from typing import Any


def resolve(address: Any, *, passive: bool = False) -> tuple[int, Any]:
    """Return the family and the numeric form of a ``(host, port)`` address.

    A host that is numeric already is not looked up. An empty host is every interface
    (IPv4) for a `passive` address, and this machine otherwise. A name waits for the
    name server; of its addresses the first is taken.

    Raises TypeError or ValueError for something that is no address, OSError
    (``socket.gaierror``) for a name that is not known.
    """
    if not isinstance(address, tuple) or len(address) not in (2, 4):
        raise TypeError(f"an address is a tuple (host, port), not {address!r}")
    host, port = address[:2]
    if not isinstance(host, str) or not isinstance(port, int):
        raise TypeError(f"an address is a tuple of a str and an int, not {address!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535, not {port}")
    if len(address) == 4:
        return socket.AF_INET6, address
    flags = socket.AI_PASSIVE if passive else 0
    family = socket.AF_UNSPEC if host else socket.AF_INET
    found = socket.getaddrinfo(host or None, port, family, socket.SOCK_STREAM, 0, flags)
    return int(found[0][0]), found[0][4]
