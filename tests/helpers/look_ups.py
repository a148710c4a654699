"""Names that a test has looked up by itself: those that end in ``.test``."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

FOUR, SIX = int(socket.AF_INET), int(socket.AF_INET6)


def look_ups(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], list[tuple[int, Any]]]
) -> None:
    """Have names looked up by `answer`; numbers, and all other names, are what they are."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: int, wanted: int, *arguments: Any) -> list[Any]:
        if not (host and host.rstrip(".").endswith(".test")):
            return real(host, port, wanted, *arguments)
        found = []
        if not arguments[-1] & socket.AI_NUMERICHOST:
            found = [pair for pair in answer(host) if wanted in (0, pair[0])]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        return [(family, 1, 6, "", address) for family, address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
