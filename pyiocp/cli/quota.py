"""What happens at the quota of locked pages: to a receive, and to a session.

Many systems have no such quota, or a large one, so the refusals that a session meets are made
here: its port has a kernel that refuses every other receive and send with a buffer.
"""

from __future__ import annotations

import ctypes
import socket
from typing import TYPE_CHECKING, Any

from ..engine.kernel import Kernel
from ..errors import ResourceLimitError
from ..port import CompletionPort
from ..servers.tcp.session import Session
from ..winapi import SOCKET_ERROR
from ..winapi.errorcodes import WSAENOBUFS
from .table import show_table
from .wording import reason

if TYPE_CHECKING:
    from collections.abc import Callable

_WAIT_S = 20.0
_RECEIVE_BYTES = 1 << 20
_RECEIVES_MAX = 64
_MESSAGES = 50


class ScarceKernel(Kernel):
    """A kernel that refuses every other receive and send: too many pages are locked."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0
        self._turn: dict[str, int] = {}
        for name in ("WSARecv", "WSASend"):
            setattr(self, name, self._scarce(name, getattr(self, name)))
        self.send = lambda *_: _refused()  # so that every send takes an operation

    def _scarce(self, name: str, real: Callable[..., int]) -> Callable[..., int]:
        def function(number: Any, buffers: Any, *arguments: Any) -> int:
            first = getattr(buffers, "_obj", buffers)[0]
            self._turn[name] = self._turn.get(name, 0) + bool(first.len)
            if first.len and self._turn[name] % 2:
                self.refused += 1
                return _refused()
            return real(number, buffers, *arguments)

        return function


def _refused() -> int:
    ctypes.set_last_error(WSAENOBUFS)
    return SOCKET_ERROR


class _Echo(Session):
    def on_receive(self, data: memoryview) -> None:
        self.send(data)


class _Asker(Session):
    """Sends its messages one after the other, each when the one before has come back."""

    def __init__(self, port: CompletionPort) -> None:
        self.answered = 0
        self.error: OSError | None = None
        self._owner = port

    def on_connect(self) -> None:
        self.send(b"%08d" % self.answered)

    def on_receive(self, data: memoryview) -> None:
        self.answered += data == b"%08d" % self.answered
        if self.answered < _MESSAGES:
            self.send(b"%08d" % self.answered)
        else:
            self.close()

    def on_close(self, error: OSError | None) -> None:
        self.error = error
        self._owner.stop()


def measure_quota() -> dict[str, Any]:
    """Return what happens at the quota; 0 sessions are lost if every message came back."""
    pages, refusal = receive_until_refused()
    refused, asker = ask_on_scarce_kernel()
    return {
        "pages": pages,
        "refusal": refusal,
        "messages": _MESSAGES,
        "refused": refused,
        "came_back": asker.answered,
        "sessions_lost": int(asker.error is not None or asker.answered != _MESSAGES),
    }


def show_quota(quota: dict[str, Any], markdown: bool) -> None:
    """Print what happens at the quota."""
    refusal = quota["refusal"]
    print(f"\nAt the quota: {quota['pages']:,} pages under receives of 1 MB, and then", end=" ")
    print("no more were tried: nothing was refused here." if refusal is None else f"{refusal}.")
    print("\nSessions of which every other receive and send is refused with WSAENOBUFS:\n")
    show_table(
        ("messages", "refusals", "came back", "sessions lost"),
        [(str(quota["messages"]), quota["refused"], quota["came_back"], quota["sessions_lost"])],
        markdown=markdown,
    )


def receive_until_refused(kernel: Kernel | None = None) -> tuple[int, str | None]:
    """Post large receives until the system refuses, or there are many.

    Returns how many pages they lock, and why there are no more, if they were refused.
    """
    refusal = None
    with CompletionPort(kernel=kernel) as port:
        ours, peer = socket.socketpair()
        with peer:
            stream = port.stream(ours)
            try:
                for _ in range(_RECEIVES_MAX):
                    stream.receive(bytearray(_RECEIVE_BYTES))
            except ResourceLimitError as error:
                refusal = reason(error)
            return port.statistics().in_flight.pages, refusal


def ask_on_scarce_kernel() -> tuple[int, _Asker]:
    """Have messages echoed by sessions that are refused again and again."""
    kernel = ScarceKernel()
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(("127.0.0.1", 0), _Echo)
        asker = _Asker(port)
        port.connect(listener.address, lambda: asker)
        deadline = port.call_later(_WAIT_S, port.stop)
        port.run(threads=1)
        deadline.cancel()
    return kernel.refused, asker
