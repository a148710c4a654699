"""What every public object says of itself to somebody who looks at it in a REPL."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from serving import Echo

import pyiocp
from pyiocp import (
    Backoff,
    CompletionPort,
    Completions,
    ConnectionPool,
    ControlData,
    Delimited,
    FilePart,
    FixedSize,
    Kernel,
    LengthPrefixed,
    Limits,
    Recording,
    Session,
    Stream,
    TlsInfo,
    drain,
    explain,
)
from pyiocp.memory.buffer_pool import PoolStatistics

Pair = tuple[Stream, socket.socket]


@dataclass
class Place:
    """What the objects of the table are made from."""

    port: CompletionPort
    stream: Stream
    peer: socket.socket
    folder: Path


def receive(place: Place) -> Any:
    """Return a receive that is pending."""
    return place.stream.receive(bytearray(100))


def received(place: Place) -> Any:
    """Return the completion of a receive that got 5 bytes."""
    operation = receive(place)
    place.peer.sendall(b"hello")
    [completion] = place.port.wait(10)
    assert completion.operation is operation
    return completion


def many(place: Place) -> Any:
    """Return the completions of a packet, a send, and a receive of more than is shown."""
    found = Completions()
    for start in (
        lambda: place.port.post("mine", 7),
        lambda: place.stream.send(b"hi"),
        lambda: (place.peer.sendall(b"a" * 60), place.stream.receive(bytearray(60))),
    ):
        start()
        found += drain(place.port)
    return found


def reset(place: Place) -> Any:
    """Return the completion of a receive whose peer has reset the connection."""
    receive(place)
    place.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00")
    place.peer.close()
    [completion] = place.port.wait(10)
    return completion


def closed(value: Any) -> Any:
    value.close()
    return value


def of(value: Any, function: Callable[[Any], object]) -> Any:
    """Return a value that something has been done with."""
    function(value)
    return value


def datagram(place: Place, size: int) -> Any:
    """Return the completion of a datagram of 5 bytes, received into `size` bytes."""
    ours = place.port.datagram(family=socket.AF_INET, key="udp")
    ours.bind(("127.0.0.1", 0))
    ours.receive_from(bytearray(size))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", ours.local_address())
        [completion] = place.port.wait(10)
    return completion


def process(place: Place) -> Any:
    """Return the completion of a process that has ended."""
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with child:
        place.port.process(child, key="child").wait()
        [completion] = place.port.wait(30)
    return completion


def connected(place: Place, what: str) -> Any:
    """Return a session of a client that is connected, or its listener."""
    listener = place.port.listen(("127.0.0.1", 0), Echo)
    client = place.port.connect(listener.address, Hello)
    place.port.call_later(10, place.port.stop)
    place.port.run()
    return {"client": client, "listener": listener, "statistics": client.statistics()}[what]


class Hello(Session):
    def on_connect(self) -> None:
        self.send(b"hello")

    def on_receive(self, data: memoryview) -> None:
        self._pyiocp.stream.port.stop()  # type: ignore[attr-defined]


N = r"0x[0-9a-f]+"
A = r"127\.0\.0\.1:\d+"

TABLE: dict[str, tuple[Callable[[Place], Any], str]] = {
    "a port with nothing in flight": (
        lambda p: p.port,
        rf"<CompletionPort {N}: nothing in flight>",
    ),
    "a port with a receive": (
        lambda p: of(p.port, lambda _: receive(p)),
        rf"<CompletionPort {N}: 1 receive in flight>",
    ),
    "a closed port": (lambda _: closed(CompletionPort()), "<CompletionPort closed>"),
    "a stream": (lambda p: p.stream, rf"<Stream {N}, key='ours'>"),
    "a closed stream": (lambda p: closed(p.stream), "<Stream closed, key='ours'>"),
    "an operation that is new": (
        lambda p: p.stream.receive_operation(bytearray(9)),
        rf"<Operation receive at {N}: idle>",
    ),
    "an operation that is pending": (
        receive,
        rf"<Operation receive at {N}: pending, 100 bytes of buffer>",
    ),
    "an operation that has completed": (
        lambda p: received(p).operation,
        rf"<Operation receive at {N}: completed, 5 bytes, STATUS_SUCCESS>",
    ),
    "an operation that has failed": (
        lambda p: reset(p).operation,
        rf"<Operation receive at {N}: completed, 0 bytes, STATUS_\w+ \(WSAECONNRESET\)>",
    ),
    "a packet of one's own": (
        lambda p: p.port.post("hello"),
        rf"<PostedPacket 'hello' at {N}: pending>",
    ),
    "a completion": (received, "<Completion of receive: key='ours', bytes=5, STATUS_SUCCESS>"),
    "a completion with an error": (
        reset,
        r"<Completion of receive: key='ours', bytes=0, WSAECONNRESET \(10054\), STATUS_\w+>",
    ),
    "completions": (
        lambda p: of(drain(p.port), lambda found: found.append(received(p))),
        r"operation  key     bytes  outcome         data\n"
        r"receive    'ours'      5  STATUS_SUCCESS  b'hello'",
    ),
    "no completions": (lambda p: drain(p.port, 0), "nothing came"),
    "completions of all kinds": (
        many,
        r"operation  key     bytes  outcome         data\n"
        r"post       'mine'      7  STATUS_SUCCESS\n"
        r"send       'ours'      2  STATUS_SUCCESS\n"
        r"receive    'ours'     60  STATUS_SUCCESS  b'a{24}'\.\.\.",
    ),
    "a datagram": (
        lambda p: datagram(p, 10),
        rf"<DatagramCompletion of receive_from: key='udp', bytes=5, STATUS_SUCCESS, from {A}>",
    ),
    "a datagram that was cut": (
        lambda p: datagram(p, 3),
        rf"<DatagramCompletion of receive_from: key='udp', bytes=3, WSAEMSGSIZE \(10040\),"
        rf" STATUS_BUFFER_OVERFLOW, from {A}, truncated>",
    ),
    "the end of a process": (
        process,
        r"<ProcessCompletion of wait: key='child', bytes=0, STATUS_\w+, exit_code=3>",
    ),
    "a timer that has come": (
        lambda p: of(p.port.timer(key="tick"), lambda t: t.after(0)) and p.port.wait(10)[0],
        r"<TimerCompletion of timer: key='tick', bytes=0, STATUS_\w+, \d+\.\d ms late>",
    ),
    "a call that is due": (
        lambda p: p.port.call_later(5, print),
        r"<ScheduledCall of print, due at \d+\.\d{3}>",
    ),
    "a call that was cancelled": (
        lambda p: of(p.port.call_later(5, p.port.stop), lambda timer: timer.cancel()),
        "<ScheduledCall cancelled>",
    ),
    "a file": (
        lambda p: p.port.file(p.folder / "notes", "w", key="f"),
        rf"<File {N}, key='f', name='.*notes'>",
    ),
    "a directory": (lambda p: p.port.directory(p.folder), rf"<Directory {N}, '.+'>"),
    "an event": (lambda p: p.port.event(key="e"), rf"<Event {N}, key='e'>"),
    "a job": (lambda p: p.port.job(), rf"<Job {N}>"),
    "a session of no port": (lambda _: Echo(), "<Echo of no port yet>"),
    "a session": (lambda p: connected(p, "client"), rf"<Hello with {A}: open>"),
    "a session's statistics": (
        lambda p: connected(p, "statistics"),
        r"SessionStatistics\(bytes_received=5, bytes_sent=5, messages_received=1,"
        r" messages_sent=1, send_queue_bytes=0, age_s=[\d.e-]+\)",
    ),
    "a listener": (
        lambda p: connected(p, "listener"),
        rf"<Listener at {A}: listening, 1 accepted, 1 open>",
    ),
    "a listener that is closed": (
        lambda p: closed(connected(p, "listener")),
        rf"<Listener at {A}: closed, 1 accepted, 1 open>",
    ),
    "a monitor": (
        lambda p: p.port.monitor(),
        r"<Monitor at \\\\.\\pipe\\pyiocp-\d+(-\d+)?: 0 have looked>",
    ),
    "a connection pool": (
        lambda p: ConnectionPool(p.port, ("127.0.0.1", 9), Echo),
        "<ConnectionPool to 127.0.0.1:9: 0 busy, 0 idle>",
    ),
    "a client that is kept connected": (
        lambda p: p.port.keep_connected([("127.0.0.1", 9), ("::1", 9)], Echo),
        r"<ReconnectingClient to 127.0.0.1:9, \[::1\]:9: <Echo with .+: connecting>>",
    ),
    "a pool": (
        lambda p: closed(of(p.port.buffer_pool(100, slices=5), lambda pool: None)),
        "<BufferPool of 100 bytes, closed>",
    ),
    "statistics": (
        lambda p: of(p.port, lambda _: receive(p)).statistics(),
        r"<Statistics: 1 operations, 100 bytes, [12] pages in flight; print\(\) shows all>",
    ),
    "a pool's statistics": (
        lambda _: PoolStatistics(100, *range(6)),
        r"PoolStatistics\(slice_size=100, .*\)",
    ),
    "a trace": (
        lambda p: of(p.port.trace(), lambda trace: (p.port.post(1), trace.stop())),
        rf"<Trace of <CompletionPort {N}: 1 post in flight>: stopped, 1 events>",
    ),
    "a recording": (
        lambda _: of(Recording(), lambda recording: recording.__enter__().__exit__()),
        "<Recording: stopped, 0 ports, 0 events>",
    ),
    "an explanation": (
        lambda _: explain("WSAEINTR"),
        r"WSAEINTR \(10004\): IocpError, a kind of OSError\n.*",
    ),
    "what Windows stands for": (lambda _: Kernel(), "<Kernel: Windows itself>"),
    "limits": (
        lambda _: Limits(sessions=3),
        r"Limits\(sessions=3, sessions_per_address=None, per_second=None, .*\)",
    ),
    "a backoff": (lambda _: Backoff(), r"Backoff\(.*\)"),
    "a framing": (lambda _: FixedSize(3), r"FixedSize\(3\)"),
    "another framing": (lambda _: Delimited(b"\n"), r"Delimited\(b'\\n', maximum=65536\)"),
    "a parser": (
        lambda _: of(LengthPrefixed(2).parser(), lambda p: list(p.feed(b"\0\5he"))),
        r"<LengthPrefixedParser of LengthPrefixed\(2, .*\): 4 bytes wait>",
    ),
    "a part of a file": (
        lambda _: FilePart(7, 0, 100),
        r"FilePart\(file=7, offset=0, count=100\)",
    ),
    "control data": (
        lambda _: ControlData(destination="127.0.0.1"),
        r"ControlData\(messages=\(\), destination='127.0.0.1', .*\)",
    ),
}


@pytest.mark.parametrize("what", TABLE)
def test_object_says_what_somebody_wants_to_know(
    what: str, port: CompletionPort, pair: Pair, tmp_path: Path
) -> None:
    make, wanted = TABLE[what]
    found = repr(make(Place(port, *pair, tmp_path)))
    assert re.fullmatch(wanted, found, re.DOTALL), found


def test_waiting_bytes_show_in_a_session(port: CompletionPort) -> None:
    """Its peer does not read, and its send queue grows."""
    listener = port.listen(("127.0.0.1", 0), Echo)
    with socket.create_connection(listener.address, 10):
        port.wait(0.5)
        [session] = port.sessions
        while session.send(bytes(100_000)):
            pass
        waiting = session.send_queue_bytes
        assert waiting > 0
        shown = repr(session)
        assert re.fullmatch(rf"<Echo with {A}: open, {waiting:,} bytes wait to be sent>", shown)


def test_no_public_class_has_the_repr_that_says_nothing() -> None:
    """``<pyiocp.x.Y object at 0x…>`` tells nobody anything."""
    plain = [
        name
        for name, value in vars(pyiocp).items()
        if isinstance(value, type)
        and not issubclass(value, (BaseException, Enum))
        and value.__repr__ is object.__repr__
    ]
    assert plain == []
    assert TlsInfo.__repr__ is not object.__repr__
