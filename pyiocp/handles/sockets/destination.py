"""Destinations: addresses that are connected or sent to."""

from __future__ import annotations

from typing import Any

from ...winapi import AF_INET, AF_UNIX, SOCKADDR, address_of, sockaddr

LOOPBACK_OF = {
    "0.0.0.0": "127.0.0.1",
    "::": "::1",
    "::ffff:0.0.0.0": "::ffff:127.0.0.1",
}
"""The address of this machine, by that of every interface."""


def destination(family: int, address: Any) -> SOCKADDR:
    """Return the socket address of what is to be connected or sent to; see `sockaddr`.

    The address of every interface, which is that of a server that listens on all of them, means
    this machine: the loopback is taken for it. Windows refuses it (``WSAEADDRNOTAVAIL`` 10049);
    other systems do what this does.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-connect
    """
    target = sockaddr(family, address)
    end = 8 if family == AF_INET else 24
    # The end of the host is 0 in all three; this is on the way of each datagram.
    if family != AF_UNIX and bytes(target)[end - 4 : end] == b"\0\0\0\0":
        numeric: Any = address_of(target)
        if (loopback := LOOPBACK_OF.get(numeric[0])) is not None:
            return sockaddr(family, (loopback, *numeric[1:]))
    return target
