"""What a message costs: the calls that docs/models.md says, counted."""

from __future__ import annotations

import time

import pytest
from faulty_kernel import Calls, FaultyKernel
from journal import receive_all
from model_servers import dial, serving

from pyiocp import Session
from pyiocp.models import completion_routines

ROUND_TRIPS = 100

WAITS = {
    "threads": None,
    "select": "select",
    "poll": "WSAPoll",
    "event-select": "WSAWaitForMultipleEvents",
    "overlapped-polled": None,
    "overlapped-events": "WSAWaitForMultipleEvents",
    "completion-routines": "WSAWaitForMultipleEvents",
    "completion-port": "GetQueuedCompletionStatusEx",
}
"""What a thread of the model waits in for a message, if it is not in the receive."""

EDGE = 10
"""Calls of the set-up or the end that may be counted or not: threads make them in their own time.

One call more for each message would be ten times that.
"""


class Echo(Session):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        self.send(data)


@pytest.mark.parametrize("model", WAITS)
def test_the_calls_of_a_message(model: str) -> None:
    """One connection, one message under way: a receive, a send, a wait; two or none of some."""
    kernel = FaultyKernel()
    transfers = {"WSARecv", "WSASend", "send"}
    counts = Calls(kernel, *transfers, "WSAEnumNetworkEvents", *set(filter(None, WAITS.values())))
    kernel.that_wait = {n: counts.counted(n, real) for n, real in kernel.that_wait.items()}
    with serving(model, Echo, kernel=kernel) as server, dial(server) as peer:
        peer.sendall(b"x")  # so that all is set up
        assert receive_all(peer, 1) == b"x"
        counts.clear()
        begun = time.monotonic()
        for _ in range(ROUND_TRIPS):
            peer.sendall(b"x")
            assert receive_all(peer, 1) == b"x"
        calls = dict(counts)
        took_s = time.monotonic() - begun
    waits = sum(calls.pop(name, 0) for name in set(WAITS.values()) if name is not None)
    most = float(ROUND_TRIPS if WAITS[model] else 0)
    assert waits >= most - EDGE
    if model == "completion-routines":  # the end of the send wakes it, too; and it looks around
        most = 2 * most + took_s / completion_routines._LOOK_S
    assert waits <= most + EDGE
    events = calls.pop("WSAEnumNetworkEvents", 0)
    assert abs(events - (ROUND_TRIPS if model == "event-select" else 0)) <= EDGE
    assert calls.keys() == {"WSARecv", "send" if model == "completion-port" else "WSASend"}
    assert all(abs(count - ROUND_TRIPS) <= EDGE for count in calls.values())
