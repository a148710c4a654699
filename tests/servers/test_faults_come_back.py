"""Faults everywhere: each call of the kernel, each hook and each factory fails in its turn.

hypothesis looks for faults after which something has not come back: an accept, a slot of a limit,
a session, a timer, an operation, a handle; or after which a client is no longer served.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from counts_back import come_back, figures
from faulty_kernel import LOOKED_UP, FaultyKernel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tls_context import client_context, server_context

from pyiocp import (
    CompletionPort,
    FramedSession,
    LengthPrefixed,
    Limits,
    Listener,
)
from pyiocp.winapi import (
    ERROR_INVALID_FUNCTION,
    INVALID_SOCKET,
    SOCKET_ERROR,
    WSAECONNRESET,
    WSAEMFILE,
    WSAENOBUFS,
    WSAENOTCONN,
)
from pyiocp.winapi.errorcodes import ERROR_NOT_ENOUGH_MEMORY, ERROR_NOT_FOUND

LOCAL = ("127.0.0.1", 0)

LIMITS = Limits(sessions=3, sessions_per_address=3, handshakes=3, handshakes_per_address=3)

SUBMISSIONS = {"AcceptEx", "WSARecv", "WSASend", "send", "WSARecvFrom", "recvfrom", "sendto"}
"""What returns a code, and raises nothing."""

FAILING: dict[str, list[tuple[Any, int]]] = {
    "AcceptEx": [(0, WSAENOBUFS), (0, WSAEMFILE)],
    "CancelIoEx": [(0, ERROR_NOT_FOUND)],
    "CreateIoCompletionPort": [(None, ERROR_NOT_ENOUGH_MEMORY)],
    "GetQueuedCompletionStatusEx": [(0, ERROR_NOT_ENOUGH_MEMORY)],
    "PostQueuedCompletionStatus": [(0, ERROR_NOT_ENOUGH_MEMORY)],
    "SetFileCompletionNotificationModes": [(0, ERROR_INVALID_FUNCTION)],
    "WSARecv": [(SOCKET_ERROR, WSAENOBUFS), (SOCKET_ERROR, WSAECONNRESET)],
    "WSASend": [(SOCKET_ERROR, WSAENOBUFS), (SOCKET_ERROR, WSAECONNRESET)],
    "WSASocketW": [(int(INVALID_SOCKET), WSAEMFILE)],
    "getpeername": [(SOCKET_ERROR, WSAENOTCONN)],
    "getsockname": [(SOCKET_ERROR, WSAENOBUFS)],
    "getsockopt": [(SOCKET_ERROR, WSAENOTCONN)],
    "ioctlsocket": [(SOCKET_ERROR, WSAENOBUFS)],
    "send": [(SOCKET_ERROR, WSAECONNRESET)],
    "setsockopt": [(SOCKET_ERROR, WSAENOTCONN)],
    "shutdown": [(SOCKET_ERROR, WSAENOTCONN)],
}
"""How each function fails: its result and the code."""

ERRORS: list[type[BaseException]] = [
    ZeroDivisionError,
    MemoryError,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
]

PLACES = ["factory", "__init__", "on_connect", "on_message", "on_eof", "on_writable", "on_close"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nobody reads the log of thousands of faults."""
    log = logging.getLogger("pyiocp")
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(logging.NOTSET)


class Fault(NamedTuple):
    """The nth call of a function, or of the user's code, fails."""

    where: str
    nth: int
    how: Any
    """The result and the code; or what is raised."""


CALLS_FAIL = st.one_of(
    *(
        st.builds(Fault, st.just(name), st.integers(1, 12), st.sampled_from(ways))
        for name, ways in FAILING.items()
    )
)
CALLS_RAISE = st.builds(
    Fault,
    st.sampled_from(sorted(set(FAILING) - SUBMISSIONS - {"GetQueuedCompletionStatusEx"})),
    st.integers(1, 12),
    st.sampled_from([MemoryError, KeyboardInterrupt]),
)
HOOKS_RAISE = st.builds(Fault, st.sampled_from(PLACES), st.integers(1, 3), st.sampled_from(ERRORS))
FAULTS = st.one_of(
    st.lists(HOOKS_RAISE, min_size=1, max_size=4),
    st.lists(CALLS_FAIL | CALLS_RAISE, min_size=1, max_size=4),
    st.lists(CALLS_FAIL | CALLS_RAISE | HOOKS_RAISE, min_size=2, max_size=10),
)
"""A few of one kind, which reach far; or many of all."""


class Faults:
    """Counts the calls of each function and lets some of them fail, while it is enabled."""

    def __init__(self) -> None:
        self._plan: dict[tuple[str, int], Any] = {}
        self._calls: dict[str, int] = {}
        self.enabled = False

    def plan(self, faults: list[Fault]) -> None:
        """Begin counting anew, with these faults."""
        self._plan = {(fault.where, fault.nth): fault.how for fault in faults}
        self._calls.clear()

    def reached(self, where: str) -> Any:
        """Count a call; return how it is to fail, if it is, or raise."""
        if not self.enabled:
            return None
        nth = self._calls[where] = self._calls.get(where, 0) + 1
        how = self._plan.get((where, nth))
        if isinstance(how, type):
            raise how
        return how

    def wrap(self, kernel: FaultyKernel) -> None:
        """Have the kernel's functions counted."""
        for name in FAILING:
            wrapper = self._wrapper(name)
            if name in LOOKED_UP:
                kernel.wrap(name, wrapper)
            else:
                setattr(kernel, name, functools.partial(wrapper, getattr(kernel, name)))

    def _wrapper(self, name: str) -> Callable[..., Any]:
        def call(real: Callable[..., Any], *arguments: Any) -> Any:
            how = self.reached(name)
            if how is None:
                return real(*arguments)
            result, code = how
            ctypes.set_last_error(code)
            return result

        return call


def server_of(faults: Faults) -> type[FramedSession]:
    """Return a class of sessions that answer, and whose hooks fail by plan."""

    class Served(FramedSession):
        framing = LengthPrefixed(2)
        idle_timeout = 3600
        close_timeout = 0.2
        high_water = 100
        low_water = 10

        def __init__(self) -> None:
            faults.reached("__init__")

        def on_connect(self) -> None:
            faults.reached("on_connect")

        def on_frame(self, frame: memoryview) -> None:
            self.send_frame(frame)
            faults.reached("on_message")

        def on_eof(self) -> None:
            super().on_eof()
            faults.reached("on_eof")

        def on_writable(self) -> None:
            faults.reached("on_writable")

        def on_close(self, error: OSError | None) -> None:
            faults.reached("on_close")

    return Served


def ask(address: Any, tls: ssl.SSLContext | None, size: int, timeout: float) -> bytes:
    """Connect, ask, and return the answer as far as it comes."""
    answer = b""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        peer = stack.enter_context(socket.create_connection(address[:2], timeout=timeout))
        if tls is not None:
            peer = stack.enter_context(tls.wrap_socket(peer, server_hostname="localhost"))
        question = size.to_bytes(2, "big") + bytes(size)
        peer.sendall(question)
        while len(answer) < len(question):
            part = peer.recv(1 << 16)
            if not part:
                break
            answer += part
    return answer


def pump(port: CompletionPort, thread: threading.Thread, seconds: float = 30) -> None:
    """Serve, whatever comes out of that, until the thread has ended."""
    until = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < until:
        with contextlib.suppress(BaseException):
            port.wait(0.005)
    assert not thread.is_alive()


def clients(address: Any, tls: ssl.SSLContext | None) -> threading.Thread:
    """Have four clients come, two at a time, of which one asks much."""

    def come() -> None:
        for sizes in ((4, 60_000), (4, 4)):
            threads = [
                threading.Thread(target=ask, args=(address, tls, size, 0.15)) for size in sizes
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    thread = threading.Thread(target=come)
    thread.start()
    return thread


SHORT = settings(
    max_examples=16,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LONG = settings(SHORT, max_examples=300)


def check_streams(faulty: list[Fault], tls: bool, first_data: int) -> None:
    """Serve clients while these faults happen; then all is as before, and others are served."""
    faults = Faults()
    kernel = FaultyKernel()
    faults.wrap(kernel)
    kind = server_of(faults)

    def factory() -> FramedSession:
        faults.reached("factory")
        return kind()

    context = client_context() if tls else None
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(
            LOCAL,
            factory,
            accepts=2,
            limits=LIMITS,
            first_data=first_data,
            tls=server_context() if tls else None,
        )
        port.wait(0)
        expected = figures(port, [listener])
        faults.plan(faulty)
        faults.enabled = True
        try:
            pump(port, clients(listener.address, context))
            until = time.monotonic() + 1
            while port.sessions and time.monotonic() < until:
                with contextlib.suppress(BaseException):
                    port.wait(0.005)
        finally:
            faults.enabled = False
        assert come_back(port, [listener], expected) == expected
        check_serves(port, listener, context)


def check_serves(port: CompletionPort, listener: Listener, context: ssl.SSLContext | None) -> None:
    """Check that a client is served."""
    answers: list[bytes] = []
    thread = threading.Thread(
        target=lambda: answers.append(ask(listener.address, context, 4, timeout=20))
    )
    thread.start()
    pump(port, thread)
    assert answers == [b"\0\x04" + bytes(4)]


@given(faulty=FAULTS, tls=st.booleans(), first_data=st.sampled_from([0, 100]))
@SHORT
def test_everything_comes_back_after_faults(
    faulty: list[Fault], tls: bool, first_data: int
) -> None:
    """C70, C71: accepts, slots, sessions, timers, operations, handles; and it serves on."""
    check_streams(faulty, tls, first_data)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@given(faulty=FAULTS, tls=st.booleans(), first_data=st.sampled_from([0, 100]))
@LONG
def test_everything_comes_back_after_many_faults(
    faulty: list[Fault], tls: bool, first_data: int
) -> None:
    """The same for long."""
    check_streams(faulty, tls, first_data)
