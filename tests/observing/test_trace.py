"""A trace has every operation and every thread, in the order of time, and nothing when off."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest
from completions import one
from faulty_kernel import FaultyKernel

from pyiocp import CompletionPort, IocpError, OperationCancelledError, Stream, TraceEvent
from pyiocp.engine.in_flight import InFlightTable
from pyiocp.engine.operation import Packet
from pyiocp.winapi.errorcodes import STATUS_CANCELLED

Pair = tuple[Stream, socket.socket]


def of(events: list[TraceEvent], number: int) -> list[str]:
    """What happened to one submission."""
    return [event.what for event in events if event.number == number]


def test_each_submission_begins_and_ends_once(port: CompletionPort, pair: Pair) -> None:
    """On the spot and after pending, with bytes, threads and times that fit."""
    stream, peer = pair
    with port.trace() as trace:
        stream.send(b"hello")
        stream.receive(bytearray(100))
        peer.send(b"12345678")
        done = 0
        while done < 2:
            done += len(port.wait(10))
    events = trace.events
    assert Counter(e.what for e in events if e.number) == {"submitted": 2, "completed": 2}
    assert {event.number: event.bytes for event in events if event.what == "completed"} == {
        1: 5,
        2: 8,
    }
    for number in (1, 2):
        assert of(events, number) == ["submitted", "completed"]
        begin, end = (event for event in events if event.number == number)
        assert begin.time_ns <= end.time_ns
        assert (begin.kind, begin.handle) == (end.kind, end.handle)
        assert begin.thread == threading.get_ident()


def test_cancelling_and_refusing_show(pair: Pair) -> None:
    """A receive that is cancelled, and a send that the system refuses."""
    kernel = FaultyKernel()
    with CompletionPort(kernel=kernel) as port:
        ours, peer = socket.socketpair()
        stream = port.stream(ours)
        with peer, port.trace() as trace:
            receive = stream.receive(bytearray(10))
            receive.cancel()
            (completion,) = port.wait(10)
            assert isinstance(completion.error, OperationCancelledError)
            stream.shutdown()
            with pytest.raises(IocpError):
                stream.send(b"refused")
    assert of(trace.events, 1) == ["submitted", "cancel asked", "cancelled"]
    assert of(trace.events, 2) == ["submitted", "refused"]
    assert trace.events[2].status == STATUS_CANCELLED


def test_threads_sleep_and_work(port: CompletionPort) -> None:
    """Two workers: each is asleep or at work, never both, and the call is seen at work."""
    with port.trace() as trace:
        port.call_later(0.05, port.stop)
        port.call_soon(int)
        port.run(threads=2)
    shown = [event for event in trace.events if event.what in ("asleep", "at work")]
    assert len({event.thread for event in shown}) == 2
    assert any("int" in event.kind for event in shown if event.what == "at work")
    for thread in {event.thread for event in shown}:
        spans = sorted((e.time_ns, e.duration_ns) for e in shown if e.thread == thread)
        for (begin, duration), (following, _) in itertools.pairwise(spans):
            assert begin + duration <= following


def test_saved_trace_is_what_perfetto_reads(
    port: CompletionPort, pair: Pair, tmp_path: Path
) -> None:
    """Every begin of an operation has its end, in the fields that the format asks for."""
    stream, peer = pair
    with port.trace() as trace:
        for n in range(10):
            stream.receive(bytearray(10))
            peer.send(bytes([n]))
            assert len(port.wait(10)) == 1
    trace.save(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    phases = Counter(event["ph"] for event in events)
    assert phases["b"] == phases["e"] == 10
    assert phases["M"] == 1
    assert phases["X"] >= 10
    for event in events:
        assert {"ph", "pid", "tid", "name"} <= event.keys()
        assert event["ph"] == "M" or event["ts"] > 0
        assert event["ph"] != "X" or event["dur"] >= 0
        assert event["ph"] not in "be" or (event["id"] and event["cat"] == "operation")
    ends = [event["args"] for event in events if event["ph"] == "e"]
    assert [(end["bytes"], end["status"]) for end in ends] == [(1, "STATUS_SUCCESS")] * 10


def test_nothing_is_recorded_before_or_after(port: CompletionPort, pair: Pair) -> None:
    """What was submitted before is nobody's; off, the table is as plain as it was."""
    stream, peer = pair
    stream.receive(bytearray(10))
    trace = port.trace()
    peer.send(b"x")
    assert len(port.wait(10)) == 1
    trace.stop()
    assert [event for event in trace.events if event.number] == []
    before = trace.events
    stream.send(b"y")
    assert len(port.wait(10)) == 1
    assert trace.events == before
    assert type(port.in_flight) is InFlightTable
    assert port._queue.tracer is None


def test_oldest_events_go_when_there_is_no_room(port: CompletionPort) -> None:
    with port.trace(events_max=10) as trace:
        for key in range(20):
            port.post(key)
        while port.wait(0):
            pass
    assert len(trace.events) == 10
    assert trace.dropped > 0
    with pytest.raises(ValueError, match="events_max"):
        port.trace(events_max=0)


def test_a_trace_goes_on_when_another_one_stops(port: CompletionPort, pair: Pair) -> None:
    """The first of two is stopped: the table is still watched, and the second has everything."""
    stream, _ = pair
    first, second = port.trace(), port.trace()
    first.stop()
    assert port._queue.tracer is second
    stream.send(b"x")
    assert len(port.wait(10)) == 1
    second.stop()
    assert (of(first.events, 1), of(second.events, 1)) == ([], ["submitted", "completed"])
    assert type(port.in_flight) is InFlightTable


def test_a_file_that_is_sent_is_one_submission_for_each_part(
    port: CompletionPort, pair: Pair, tmp_path: Path
) -> None:
    """The whole, which the kernel never sees, is none; both are off the table at the end."""
    path = tmp_path / "sent"
    path.write_bytes(b"content")
    with port.trace() as trace, path.open("rb") as file:
        pair[0].send_file(file)
        assert one(port).bytes == 7
        assert port.in_flight_by_kind() == {}
    ended = [event.kind for event in trace.events if event.what == "completed"]
    assert ended == ["send_file"]


class Watcher:
    """An observer of the in-flight table that raises at each event, when it is told to."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error

    def _see(self, packet: Packet) -> None:
        if self.error is not None:
            raise self.error

    taken = given_back = cancel_asked = _see


def test_an_observer_that_fails_is_logged_and_the_operation_goes_on(
    port: CompletionPort, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """At all three events: submitted, to be cancelled, and given back."""
    watcher = Watcher(ValueError("a mistake"))
    port.in_flight.observe(watcher)
    operation = pair[0].receive(bytearray(9))
    operation.cancel()
    completion = one(port)
    port.in_flight.ignore(watcher)
    assert completion.operation is operation
    assert isinstance(completion.error, OperationCancelledError)
    told = [record.getMessage() for record in caplog.records if record.name == "pyiocp"]
    assert len(told) >= 3
    assert all("could not be looked at" in message for message in told)
    assert port.in_flight_by_kind() == {}


class Stop(BaseException):
    """Like KeyboardInterrupt: nobody catches it."""


def test_an_observer_that_is_interrupted_keeps_the_kernel_from_nothing(
    port: CompletionPort, pair: Pair
) -> None:
    """What is about to be submitted has not been: it can be, and so can a packet of one's own."""
    stream, peer = pair
    watcher = Watcher(Stop())
    port.in_flight.observe(watcher)
    operation = stream.receive_operation(bytearray(9))
    with pytest.raises(Stop):
        operation.post()
    with pytest.raises(Stop):
        port.post("packet")
    assert port.in_flight_by_kind() == {}
    watcher.error = None
    operation.post()
    peer.send(b"hello")
    completion = one(port)
    assert (completion.operation, completion.bytes) == (operation, 5)
    assert port.wait(0) == []
    port.in_flight.ignore(watcher)
