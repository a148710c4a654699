"""One listening socket in several processes: real ones, that take turns."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import (
    AddressUnavailableError,
    CompletionPort,
    HandleClosedError,
    IocpError,
    Listener,
    OperationCancelledError,
)
from pyiocp.servers.listening_socket import take_over

LOCAL = ("127.0.0.1", 0)

ROOT = Path(__file__).parents[3]

CHILD = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pyiocp import CompletionPort, Session

class Named(Session):
    def on_receive(self, data):
        self.send(b"%d" % os.getpid())
        self.close()
        if data == b"end":
            port.shutdown(timeout=5)

with CompletionPort() as port:
    print(os.getpid(), flush=True)
    listener = port.listen(bytes.fromhex(sys.stdin.readline()), Named, accepts=2)
    print("listening", flush=True)
    port.run()
    print(listener.accepted, flush=True)
"""


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


class Child:
    """Another process, in which a port listens at a listener's address."""

    def __init__(self, listener: Listener) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = int(self.read())
        assert self.process.stdin is not None
        self.process.stdin.write(listener.share(self.pid).hex() + "\n")
        self.process.stdin.flush()
        assert self.read() == "listening"

    def read(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def child_of(listener: Listener) -> Iterator[Child]:
    child = Child(listener)
    try:
        yield child
        child.process.wait(20)
    finally:
        child.process.kill()
        child.process.wait()
        for pipe in (child.process.stdin, child.process.stdout):
            if pipe is not None:
                pipe.close()


def asked(address: Any, text: bytes = b"who") -> int:
    with socket.create_connection(address, timeout=20) as peer:
        peer.sendall(text)
        return int(receive_all(peer))


def test_processes_share_one_address(port: CompletionPort) -> None:
    """A parent that has it on its own port, and two children that therefore cannot.

    The parent pauses: the children serve all, both of them, in turns. They end in order, and
    then the parent, resumed, serves again. No packet of theirs has come to its port.
    """
    listener = port.listen(LOCAL, Echo, accepts=2)
    with served(port), child_of(listener) as one, child_of(listener) as two:
        listener.pause()
        assert eventually(lambda: port.in_flight_by_kind().get("accept", 0) == 0)
        counts = {one.pid: 0, two.pid: 0}
        for _ in range(20):
            counts[asked(listener.address)] += 1
        assert min(counts.values()) >= 4
        first = asked(listener.address, b"end")
        ended, left = (one, two) if first == one.pid else (two, one)
        assert int(ended.read()) == counts[ended.pid] + 1
        assert [asked(listener.address) for _ in range(5)] == [left.pid] * 5
        assert asked(listener.address, b"end") == left.pid
        assert int(left.read()) == counts[left.pid] + 6
        listener.resume()
        with connect(listener) as peer:
            peer.sendall(b"ping")
            assert receive_all(peer, 4) == b"ping"
    assert port.wait(0) == []


def test_child_takes_over_from_a_parent_that_closes(port: CompletionPort) -> None:
    """No client is refused in between: the address is never without a listener."""
    listener = port.listen(LOCAL, Echo)
    with served(port), child_of(listener) as child:
        listener.close()
        assert eventually(lambda: port.in_flight_by_kind().get("accept", 0) == 0)
        assert [asked(listener.address) for _ in range(3)] == [child.pid] * 3
        assert asked(listener.address, b"end") == child.pid
    with pytest.raises(ConnectionRefusedError):
        connect(listener)


@pytest.mark.parametrize("first_data", [0, 64])
@pytest.mark.parametrize("threads", [1, 3])
def test_listening_socket_of_python_is_served(
    port: CompletionPort, no_errors_logged: None, threads: int, first_data: int
) -> None:
    """40 clients through three accepts that have an event instead of packets."""
    sock = socket.create_server(LOCAL)
    listener = port.listen(sock, Echo, accepts=3, first_data=first_data)
    assert sock.fileno() == -1
    with served(port, threads):
        peers = [connect(listener) for _ in range(40)]
        for n, peer in enumerate(peers):
            peer.sendall(b"%02d" % n)
        assert [receive_all(peer, 2) for peer in peers] == [b"%02d" % n for n in range(40)]
        for peer in peers:
            peer.close()
        assert eventually(lambda: not port.sessions)
        assert eventually(lambda: port.in_flight_by_kind() == {"accept": 3})
        listener.pause()
        assert eventually(lambda: port.in_flight_by_kind() == {})
        listener.resume()
        with connect(listener) as peer:
            peer.sendall(b"ping")
            assert receive_all(peer, 4) == b"ping"
        listener.close()
        assert eventually(lambda: port.in_flight_by_kind() == {})
        assert eventually(lambda: not any(h.kind == "event" for h in port.handles))
    assert (listener.accepted, listener.failed) == (41, 0)


def test_accept_is_not_overlooked_when_the_next_one_resets_its_event(port: CompletionPort) -> None:
    """Posting an accept resets the event that another one has just set.

    Here nobody hears of the event at all: it is the post of the second accept that finds the
    end of the first.
    """
    stream = take_over(port._queue, socket.create_server(LOCAL))
    (wait,) = [packet for packet in port.in_flight.values() if packet.kind == "wait"]
    wait.receiver = lambda operation, count, status: operation.finish(count, status)
    first, second = stream.accept_operation(), stream.accept_operation()
    first.post()
    with socket.create_connection(stream.local_address()):
        assert eventually(lambda: not first.unwritten)
        assert port.wait(0.1) == []
        second.post()
        (completion,) = port.wait(10)
        assert completion.operation is first
        assert first.accepted is not None
    stream.close()
    assert [type(c.error) for c in port.wait(10)] == [OperationCancelledError]


def test_port_closes_with_a_shared_listener() -> None:
    """Also one that never ran: its accepts are cancelled and drained, though nobody waits."""
    for _ in range(5):
        port = CompletionPort()
        port.listen(socket.create_server(LOCAL), Echo, accepts=8)
        port.close()
        assert port.in_flight == {}
        assert port.handles == set()


def test_two_ports_of_one_process_share_a_listener(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """Twice in one process: what one port closes the other goes on with."""
    first = socket.create_server(LOCAL)
    second = socket.fromshare(first.share(os.getpid()))
    sessions = Made(Echo)
    with CompletionPort() as other:
        one = port.listen(first, sessions, accepts=1)
        two = other.listen(second, sessions, accepts=1)
        with served(port), served(other):
            for _ in range(10):
                with connect(one) as peer:
                    peer.sendall(b"ping")
                    assert receive_all(peer, 4) == b"ping"
            assert one.accepted + two.accepted == 10
            assert min(one.accepted, two.accepted) > 0
    with served(port), connect(one) as peer:
        peer.sendall(b"ping")
        assert receive_all(peer, 4) == b"ping"


def test_what_cannot_be_shared(port: CompletionPort) -> None:
    listener = port.listen(LOCAL, Echo)
    for number in (0, -1):
        with pytest.raises(ValueError, match="process"):
            listener.share(number)
    with pytest.raises(IocpError):
        listener.share(0x7FFFFFF0)
    with pytest.raises(AddressUnavailableError):
        port.listen(listener.address, Echo)
    listener.close()
    with pytest.raises(HandleClosedError, match="closed"):
        listener.share(1)


def test_what_does_not_listen_is_refused(port: CompletionPort) -> None:
    """And stays the caller's."""
    with socket.socket() as sock:
        with pytest.raises(ValueError, match="a socket that listens"):
            port.listen(sock, Echo)
        sock.bind(LOCAL)
    with pytest.raises(ValueError, match="bytes from share"):
        port.listen(b"no share", Echo)
    with socket.socket() as sock:
        shared = sock.share(os.getpid())
        with pytest.raises(ValueError, match="a socket that listens"):
            port.listen(shared, Echo)
    assert port.handles == set()
