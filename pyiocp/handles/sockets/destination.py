"""Destinations: addresses that are connected or sent to.

The address of every interface, which is that of a server that listens on all of them, means this
machine there: the loopback is taken for it. Windows refuses it (``WSAEADDRNOTAVAIL`` 10049); other
systems do what this does.

Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-connect
"""

from __future__ import annotations

from typing import Any

from ...winapi import AF_INET, AF_INET6, SOCKADDR, sockaddr

_WHERE = {int(AF_INET): slice(4, 8), int(AF_INET6): slice(8, 24)}
"""Where a socket address has its host."""

_LOOPBACK_OF = {
    bytes(4): "127.0.0.1",
    bytes(16): "::1",
    bytes(10) + b"\xff\xff" + bytes(4): "::ffff:127.0.0.1",
}
"""This machine's host, by that of every interface."""


def destination(family: int, address: Any) -> SOCKADDR:
    """Return the socket address of what is to be connected or sent to; see `sockaddr`."""
    target = sockaddr(family, address)
    # Whatever else they are written like, the addresses of every interface begin so.
    if type(address) is tuple and address[0][:1] not in "0:":
        return target
    loopback = _loopback_for(family, target)
    return target if loopback is None else sockaddr(family, (loopback, *address[1:]))


def reachable(family: int, address: Any) -> Any:
    """Return a numeric address as it is to be connected to."""
    loopback = _loopback_for(family, sockaddr(family, address))
    return address if loopback is None else (loopback, *address[1:])


def _loopback_for(family: int, target: SOCKADDR) -> str | None:
    where = _WHERE.get(family)  # AF_UNIX has no hosts
    return None if where is None else _LOOPBACK_OF.get(bytes(target)[where])
