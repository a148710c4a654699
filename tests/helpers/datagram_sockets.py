"""Datagram sockets at the loopback address, for tests of either family."""

from __future__ import annotations

import socket
from typing import Any

from pyiocp import CompletionPort, Datagram

LOOPBACK: dict[int, Any] = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}


def bound(port: CompletionPort, key: Any = None, family: int = socket.AF_INET) -> Datagram:
    """Return a new datagram socket at the loopback address."""
    datagram = port.datagram(key=key, family=family)
    datagram.bind(LOOPBACK[family])
    return datagram
