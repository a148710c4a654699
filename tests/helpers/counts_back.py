"""What a server has, so that a test can tell whether all of it has come back."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from pyiocp import CompletionPort, DatagramServer, Listener


class Figures(NamedTuple):
    """What is there at a time when no client is."""

    in_flight: dict[str, int]
    sessions: int
    slots: int
    slots_of_addresses: int
    handshakes: int
    timers: int
    handles: int


def figures(port: CompletionPort, servers: list[Listener | DatagramServer]) -> Figures:
    """Count operations, sessions, slots of limits, timers and handles."""
    admissions: list[Any] = [server._admission for server in servers]
    known = [a for admission in admissions if admission for a in admission._addresses.values()]
    return Figures(
        in_flight=port.in_flight_by_kind(),
        sessions=len(port.sessions),
        slots=sum(admission._sessions for admission in admissions if admission),
        slots_of_addresses=sum(address.sessions for address in known),
        handshakes=sum(admission._handshakes for admission in admissions if admission),
        timers=sum(not entry[2].cancelled for entry in port._queue.timers.heap),
        handles=len(port.handles),
    )


def come_back(
    port: CompletionPort,
    servers: list[Listener | DatagramServer],
    expected: Figures,
    seconds: float = 10,
) -> Figures:
    """Serve until the figures are these again; return them as they are in the end."""
    until = time.monotonic() + seconds
    while (found := figures(port, servers)) != expected and time.monotonic() < until:
        port.wait(0.005)
    return found
