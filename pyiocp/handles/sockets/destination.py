"""Destinations: addresses that are connected or sent to."""

from __future__ import annotations

from typing import Any

from ...winapi import AF_INET, AF_INET6, SOCKADDR, sockaddr

_LOOPBACK = {
    int(AF_INET): (slice(4, 8), bytes(4), "127.0.0.1"),
    int(AF_INET6): (slice(8, 24), bytes(16), "::1"),
}
"""By family: where a socket address has its host, what stands for every interface, what for this
machine."""

_MAPPED_WILDCARD = bytes(10) + b"\xff\xff" + bytes(4)


def destination(family: int, address: Any) -> SOCKADDR:
    """Return the socket address of what is to be connected or sent to; see `sockaddr`.

    The address of every interface, such as that of a server that listens on all of them, is this
    machine: the loopback is taken for it. Windows refuses it (``WSAEADDRNOTAVAIL`` 10049), where
    other systems do the same as this.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-connect
    """
    target = sockaddr(family, address)
    if family in _LOOPBACK:
        where, wildcard, loopback = _LOOPBACK[family]
        host = bytes(target)[where]
        if host == wildcard:
            return sockaddr(family, (loopback, address[1]))
        if host == _MAPPED_WILDCARD:
            return sockaddr(family, ("::ffff:127.0.0.1", address[1]))
    return target
