"""Signal handlers that raise in the middle of accepting, serving and ending: all counts come back.

`disturbance` raises at each place where CPython runs signal handlers, one a round.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from counts_back import come_back, figures
from disturbance import Alarm, Disturbance, Stop
from journal import connect, receive_all, served

from pyiocp import CompletionPort, Limits, Session

LOCAL = ("127.0.0.1", 0)

LIMITS = Limits(sessions=1, sessions_per_address=1)

#: What accepts, lets in and ends. What a session receives and sends is not among it.
ACCEPTING = {"acceptor", "admission", "arrival", "listener", "silent_clients"}
ENDING = {"accept", "inbox", "life", "listening_socket", "service", "shared_listening"}

STEPS = [pytest.param(17, id="some"), pytest.param(1, id="all", marks=pytest.mark.soak)]
"""Every so many places are disturbed every day; in the long form, each."""


class Echo(Session):
    """Sends everything back."""

    idle_timeout = 3600

    def on_receive(self, data: memoryview) -> None:
        self.send(data)


def serve_one(port: CompletionPort, listener: Any, disturbance: Disturbance) -> None:
    """Have a client connect, be answered and leave, as far as it gets."""
    with contextlib.suppress(OSError), connect(listener) as peer:
        peer.settimeout(0.1)
        peer.sendall(b"ping")
        for _ in range(4):
            with contextlib.suppress(Alarm, Stop), disturbance:
                port.wait(0.001)
        peer.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            peer.recv(4)
    for _ in range(3):
        with contextlib.suppress(Alarm, Stop), disturbance:
            port.wait(0.001)


def places(step: int, first: int, error: type[BaseException], modules: set[str]) -> Any:
    """Yield a disturbance for every so many places, until one finds nothing to disturb."""
    n = first
    while True:
        yield (disturbance := Disturbance(error, n, modules))
        if not disturbance.where:
            assert n > 50, "hardly anything was disturbed"
            return
        n += step


def disturb(
    port: CompletionPort,
    listener: Any,
    error: type[BaseException],
    modules: set[str],
    step: int,
) -> None:
    """Disturb one place after the other; after each, all is as it was."""
    expected = figures(port, [listener])
    for disturbance in places(step, 1, error, modules):
        serve_one(port, listener, disturbance)
        assert come_back(port, [listener], expected) == expected, disturbance.where
    with served(port), connect(listener) as peer:
        peer.sendall(b"ping")
        assert receive_all(peer, 4) == b"ping"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [Alarm, Stop])
@pytest.mark.parametrize("first_data", [0, 16])
def test_interrupted_accept_path_loses_nothing(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    first_data: int,
    error: type[BaseException],
    step: int,
) -> None:
    """C71: no accept, no slot, no session and no timer, wherever it was interrupted."""
    listener = port.listen(LOCAL, Echo, accepts=2, limits=LIMITS, first_data=first_data)
    disturb(port, listener, error, ACCEPTING, step)
    caplog.clear()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [Alarm, Stop])
def test_interrupted_session_loses_nothing(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
    step: int,
) -> None:
    """C70: likewise between a session and its packets, and while it ends."""
    listener = port.listen(LOCAL, Echo, accepts=2, limits=LIMITS)
    disturb(port, listener, error, ENDING, step)
    caplog.clear()
