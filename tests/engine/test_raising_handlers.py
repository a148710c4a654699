"""A signal handler of the user's that raises: nothing that has ended is lost, or comes twice.

It raises at each place in ring 2 where it might: see `disturbance`.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from disturbance import ROUNDS_MAX, Alarm, Disturbance, Stop
from disturbance import rounds as rounds_in
from faulty_kernel import FaultyKernel
from journal import Journal, Made, connect, eventually, served
from pipe_ends import connected
from waiting_kernels import PoolKernel

from pyiocp import CompletionPort, Operation, Stream
from pyiocp.engine.operation import PENDING
from pyiocp.engine.timers import Timers
from pyiocp.handles.files.file_operation import LockOperation
from pyiocp.handles.pipes.pipe_operations import read_operation
from pyiocp.port import _open_ports
from pyiocp.winapi import PostQueuedCompletionStatus

Pair = tuple[Stream, socket.socket]

LONG_S = 10.0
"""Bounds what comes within milliseconds; a test that reaches it has failed."""

#: What a handler that raises may find at work when operations are waited for or submitted.
INTERRUPTED = {
    "batch",
    "closing",
    "completion",
    "file_operation",
    "in_flight",
    "late_packets",
    "operation",
    "packet",
    "poller",
    "queue",
    "timers",
}


def rounds(
    error: type[BaseException], modules: Collection[str] = INTERRUPTED
) -> Iterator[Disturbance]:
    """Yield one disturbance after the other; see `disturbance`."""
    return rounds_in(error, modules)


def test_a_disturbance_gives_back_who_traced_before() -> None:
    """Coverage, say, or a debugger: without it, what later tests take would not be counted."""

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        """Look at nothing."""

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with Disturbance(Alarm, 1, INTERRUPTED):
            pass
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


def drained(port: CompletionPort) -> list[Any]:
    """Return the completions that there are, and those that come on the way to none."""
    out = []
    while found := port.wait(0.02):
        out += found
    return out


@pytest.fixture(params=[False, True], ids=["unwatched", "watched"])
def watched_port(port: CompletionPort, request: pytest.FixtureRequest) -> CompletionPort:
    """A port, which is watched in one case: its in-flight table then calls observers."""
    if request.param:
        port.watch()
    return port


@pytest.mark.parametrize("error", [Alarm, Stop])
def test_wait_loses_nothing_and_hands_nothing_out_twice(
    watched_port: CompletionPort, pair: Pair, error: type[BaseException]
) -> None:
    """Packets of all kinds, what ended on the spot, and what an earlier wait() left.

    An exception that finds an operation's own finish() at work comes with its completion.
    """
    port, (stream, peer) = watched_port, pair
    receives = [stream.receive_operation(bytearray(1)) for _ in range(4)]
    for disturbance in rounds(error):
        due: list[int] = []
        peer.sendall(b"ab")
        receives[0].post()
        receives[1].post()
        drained_before = port.wait(1, limit=1)  # leaves the other, or one more
        receives[2].post()
        receives[3].post()
        peer.sendall(b"cd")
        for key in range(3):
            port.post(key)
        assert PostQueuedCompletionStatus(port.handle, 0, 77, None)
        port._queue.wake()
        port.call_later(0, due.append, 1)
        port.call_later(0, due.append, 2)
        found = drained_before
        caught = False
        try:
            with disturbance:
                found += port.wait(0, limit=3)
                found += port.wait(0)
        except error:
            caught = True
        found += drained(port)
        keys = [c.key for c in found if not isinstance(c.operation, Operation)]
        assert sorted(keys) == [0, 1, 2, 77], disturbance.where
        operations = [c.operation for c in found if isinstance(c.operation, Operation)]
        assert sorted(map(receives.index, operations)) == [0, 1, 2, 3], disturbance.where
        assert len(set(due)) == len(due) >= 1, disturbance.where
        assert port.in_flight_by_kind() == {}, disturbance.where
        failures = [c.error.__cause__ for c in found if c.error is not None]
        assert all(isinstance(cause, error) for cause in failures), disturbance.where
        assert len(failures) <= 1, disturbance.where
        assert port._queue.polling == set(), disturbance.where
        assert port._queue.waiting == set(), disturbance.where
        if error is Stop:
            assert caught == bool(disturbance.where)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_port_that_is_cut_short_is_none() -> None:
    """Whatever it lacks, nobody asks it for that, and its kernel port does not stay behind."""
    for disturbance in rounds(Stop):
        before = set(_open_ports)
        with contextlib.suppress(Stop), disturbance:
            CompletionPort().close()
        gc.collect()
        for port in set(_open_ports) - before:
            assert port._queue.closing, disturbance.where  # it was close() that was cut short
            port.close()


@pytest.mark.parametrize("what", ["on the spot", "pending", "end of the pipe", "refused", "lock"])
def test_submission_is_made_or_not_and_ends_once(
    watched_port: CompletionPort, pair: Pair, what: str, tmp_path: Path
) -> None:
    """After an exception in post() the operation may be posted again, or its completion comes."""
    port, (stream, peer) = watched_port, pair
    if what == "end of the pipe":
        ours, client = connected(port)
        client.close()
        operation: Operation = read_operation(ours, bytearray(1))
    elif what == "refused":
        unconnected = port.stream(socket.socket())
        operation = unconnected.receive_operation(bytearray(1))
    elif what == "lock":
        file = port.file(tmp_path / "file", "w+")
        operation = LockOperation(file, 0, 1, shared=False, wait=False)
    else:
        operation = stream.receive_operation(bytearray(1))
    drained(port)
    for disturbance in rounds(Stop):
        if what == "on the spot":
            peer.sendall(b"x")
        submitted = True
        try:
            with disturbance:
                operation.post()
        except Stop:
            submitted = operation.state is PENDING
        except OSError:
            submitted = False
            assert what == "refused"
        if what == "pending":
            peer.sendall(b"x")
        if not submitted and what != "refused":
            assert port.in_flight_by_kind() == {}, disturbance.where
            operation.post()
        found = drained(port)
        expected = [] if what == "refused" else [operation]
        assert [c.operation for c in found] == expected, disturbance.where
        assert port.in_flight_by_kind() == {}, disturbance.where
        if what == "lock":
            file.unlock_range(0, 1)


def ended(port: CompletionPort, count: int) -> list[Any]:
    """Return the completions that come until there are so many and no address is retired."""
    out: list[Any] = []
    deadline = time.monotonic() + LONG_S
    while (len(out) < count or port._queue.retired) and time.monotonic() < deadline:
        out += port.wait(0.02)
    return out


@pytest.mark.parametrize("error", [Alarm, Stop])
def test_marker_that_was_interrupted_is_looked_at_again(error: type[BaseException]) -> None:
    """A wait of the pool's that was cancelled ends, once; and no address stays retired."""
    with CompletionPort(kernel=PoolKernel()) as port:
        wait = port.event().wait()
        assert wait.cancel()
        assert [c.operation for c in ended(port, 1)] == [wait]
        stream = port.stream(socket.socket())
        for disturbance in rounds(error):
            wait.post()
            receive = stream.receive_operation(bytearray(1))
            port.in_flight[receive.address] = receive
            with stream.lock:
                port._queue.settle(receive, receive.address)
            assert wait.cancel()
            found = []
            with contextlib.suppress(error), disturbance:
                found += port.wait(0)
                found += port.wait(0)
            found += ended(port, 2 - len(found))
            found += port.wait(0.02)
            assert port._queue.retired == {}, disturbance.where
            assert len(found) == 2, disturbance.where
            assert {c.operation for c in found} == {wait, receive}, disturbance.where
            assert port.in_flight_by_kind() == {}, disturbance.where


@pytest.mark.parametrize("taken", [1, 300, 1000])
def test_message_of_a_session_goes_whole_or_not_at_all(taken: int) -> None:
    """What the system takes at once of each, a part or all, is followed by the rest of it."""
    kernel = FaultyKernel()

    def send(real: Callable[..., int], number: Any, data: Any, size: int, flags: int) -> int:
        return real(number, data, min(taken, size), flags)

    kernel.wrap("send", send)
    sessions = Made(Journal)
    expected: list[bytes] = []
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(("127.0.0.1", 0), sessions)
        with served(port):
            peer = connect(listener)
            assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        session = sessions[0]
        with peer:
            for disturbance in rounds(Stop, {"sending"}):
                whole, after = (b"<%s%06d>" % (bytes(500), len(expected) + n) for n in range(2))
                try:
                    with disturbance:
                        session.send(whole)
                except Stop:
                    pass
                session.send(after)
                with served(port):
                    got = peer.recv(len(whole), socket.MSG_WAITALL)
                    if got == whole:
                        got = peer.recv(len(after), socket.MSG_WAITALL)
                    assert got == after, disturbance.where
                expected += [whole, after]


@pytest.mark.parametrize("raises", [False, True])
def test_timers_survive_a_handler_in_the_removal_of_cancelled_ones(raises: bool) -> None:
    """C72: it sets a timer itself, and raises or not: all that live become due, once, in order."""
    timers = Timers(time.monotonic)

    class SetsATimer(Disturbance):
        def _handle(self) -> None:
            timers.add(0, print, ("by the handler",))
            if raises:
                raise Alarm

    for n in range(1, ROUNDS_MAX):
        added = [timers.add(0, print, (n,)) for n in range(300)]
        for timer in added:
            if added.index(timer) % 3:
                timer.cancel()
        due: list[Any] = []
        disturbance = SetsATimer(Alarm, n, {"timers"})
        with contextlib.suppress(Alarm), disturbance:
            timers.pop_due(due)
        timers.pop_due(due)
        found = [timer._wanted[1][0] for timer, _, _ in due]
        assert [key for key in found if key != "by the handler"] == [*range(0, 300, 3)], (
            disturbance.where
        )
        assert found.count("by the handler") == bool(disturbance.where), disturbance.where
        assert timers.heap == [], disturbance.where
        if not disturbance.where:
            return
    pytest.fail("there is no end to it")
