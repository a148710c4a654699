"""What every test that runs on Windows shares: nothing may be left behind.

The fixtures here use the real kernel functions; nothing is simulated.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest
from commands import Command, commands
from deadline import DEADLINE_S

from pyiocp import winapi
from pyiocp.memory import kept_memory

if TYPE_CHECKING:
    from faulty_kernel import FaultyKernel

    from pyiocp import CompletionPort, Stream

hypothesis.settings.register_profile("pyiocp", deadline=None, print_blob=True)
hypothesis.settings.load_profile("pyiocp")


if sys.platform == "win32":
    import _winapi

    _create_process = _winapi.CreateProcess

    def create_process(*arguments: object) -> object:
        """Start a process, once more if Wine 8 fails by itself: one time in a thousand."""
        try:
            return _create_process(*arguments)
        except OSError as error:
            if error.winerror != winapi.errorcodes.ERROR_INTERNAL_ERROR:
                raise
            return _create_process(*arguments)

    _winapi.CreateProcess = create_process


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests have measured, each figure by its name."""
    reports = [r for rs in terminalreporter.stats.values() for r in rs]
    measured = [r for r in reports if getattr(r, "when", "") == "call" and r.user_properties]
    if measured:
        terminalreporter.section("figures")
    for report in measured:
        terminalreporter.write_line(report.nodeid)
        for name, value in report.user_properties:
            terminalreporter.write_line(f"    {name}: {value}")


def open_ports() -> list[object]:
    """The completion ports that nobody has closed."""
    from pyiocp import port

    return [p for p in port._open_ports if not p.closed]


class HandleWatch:
    """Tells whether the process has more handles than when this was made, and a few besides.

    Where Windows' own count says 0 (Wine 8), counting takes 40 ms, for each test twice. But
    numbers are given out lowest first there: the numbers that the next few handles would get
    are noted, and when none of them is to be had any more, all of these are in use.
    """

    def __init__(self) -> None:
        self._most = self._count() + HANDLES_OF_FIRST_USE
        self._free = set(self._next_numbers(HANDLES_OF_FIRST_USE + 1))

    def exceeded(self) -> bool:
        """Tell whether there are too many now."""
        if count := self._count():
            return count > self._most
        # Or lower ones, when garbage of earlier tests was collected meanwhile.
        return min(self._next_numbers(1)) > max(self._free)

    def _count(self) -> int:
        count = winapi.DWORD()
        assert winapi.GetProcessHandleCount(winapi.GetCurrentProcess(), ctypes.byref(count))
        return count.value

    def _next_numbers(self, count: int) -> list[int]:
        events = [winapi.CreateEventW(None, False, False, None) for _ in range(count)]
        numbers = [event for event in events if event is not None]
        for number in numbers:
            winapi.CloseHandle(number)
        assert len(numbers) == count
        return numbers


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves a port, a thread, memory in flight or handles behind."""
    if sys.platform != "win32":
        yield
        return
    threads = set(threading.enumerate())
    kept = len(kept_memory.kept_for_ever)
    handles = HandleWatch()
    yield
    if open_ports() or handles.exceeded():
        gc.collect()  # takes 0.1 s beside hypothesis, so only where it may make a difference
    assert open_ports() == [], "a completion port was left open"
    left = [t for t in threading.enumerate() if t not in threads and t.is_alive()]
    for thread in left:
        thread.join(DEADLINE_S)
    assert [t for t in left if t.is_alive()] == [], "a thread was left running"
    assert len(kept_memory.kept_for_ever) == kept, "operations were left in flight"
    assert not handles.exceeded(), "handles were left open"


#: Windows keeps a few handles from the first use of a part of it, such as the threads of
#: its pool: those are no leak. Leaks of single handles show in the tests that repeat.
HANDLES_OF_FIRST_USE = 12


@pytest.fixture
def kernel() -> FaultyKernel:
    """The real kernel, of which a test may wrap functions: before it asks for a port."""
    from faulty_kernel import FaultyKernel

    return FaultyKernel()


@pytest.fixture
def port(kernel: FaultyKernel) -> Iterator[CompletionPort]:
    """A completion port with the kernel; it must be empty when it is closed."""
    from pyiocp import CompletionPort

    with CompletionPort(kernel=kernel) as port:
        yield port
    assert port.in_flight == {}
    assert getattr(kernel, "open_packets", set()) == set()


@pytest.fixture
def open_port(kernel: FaultyKernel) -> Iterator[Callable[[], CompletionPort]]:
    """Make ports with the kernel, once the test has wrapped what it wants."""
    from pyiocp import CompletionPort

    ports: list[CompletionPort] = []

    def make() -> CompletionPort:
        ports.append(CompletionPort(kernel=kernel))
        return ports[-1]

    yield make
    for port in ports:
        port.close()
        assert port.in_flight == {}


@pytest.fixture
def pair(port: CompletionPort) -> Iterator[tuple[Stream, socket.socket]]:
    """A stream on the port and a plain socket, connected to each other."""
    ours, peer = socket.socketpair()
    peer.settimeout(DEADLINE_S)
    stream = port.stream(ours, key="ours")
    yield stream, peer
    stream.close()
    peer.close()


@pytest.fixture
def no_errors_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail the test if pyiocp logs a warning or an error."""
    with caplog.at_level(logging.WARNING, logger="pyiocp"):
        yield
    # Not `records`: that has what was logged since the test itself was over.
    logged = caplog.get_records("call")
    assert [r.getMessage() for r in logged if r.levelno >= logging.WARNING] == []


@pytest.fixture
def start() -> Iterator[Callable[..., Command]]:
    """Start Python with some arguments; stderr comes with stdout."""
    with commands() as start:
        yield start


@pytest.fixture
def refused() -> tuple[str, int]:
    """An address at which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address: tuple[str, int] = unused.getsockname()
        return address
