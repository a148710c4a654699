"""The waker of a loop: no call of another thread is overlooked."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from model_servers import dial, serving

from pyiocp import Session
from pyiocp.models import loop
from pyiocp.models.waker import LoopWaker

LOOPS = ("select", "poll", "event-select", "overlapped-events", "completion-routines")


class Interrupted:
    """A socket in whose first receive another thread wakes the loop."""

    def __init__(self, real: Any, wake: threading.Thread) -> None:
        self._real = real
        self._wake = wake

    def recv(self, size: int) -> bytes:
        if self._wake.ident is None:
            self._wake.start()
            self._wake.join(0.2)  # it may have to wait for the receive
        return bytes(self._real.recv(size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_it_can_be_woken_again_after_it_was_drained() -> None:
    """Woken while it is drained: the byte may be taken, and the next wake is noticed."""
    waker = LoopWaker()
    waker.wake()
    real = waker._socket
    other = threading.Thread(target=waker.wake)
    waker._socket = Interrupted(real, other)
    waker.drain()
    other.join(60)
    waker.wake()
    assert real.recv(1) == b"w"
    waker.close()


@pytest.mark.parametrize("model", LOOPS)
def test_what_other_threads_send_is_sent_at_once(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 round trips by way of another thread; a wait that nobody ends would take a minute."""
    monkeypatch.setattr(loop, "_WAIT_MAX_MS", 60_000)

    class Aside(Session):
        def on_receive(self, data: memoryview) -> None:
            threading.Thread(target=self.send, args=(bytes(data),)).start()

    with serving(model, Aside) as server, dial(server) as peer:
        peer.settimeout(30)
        for _ in range(50):
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
