"""The monitor of a port: what a sample says, who may ask, and that it costs nothing before."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

import pytest
from serving import Echo, running

from pyiocp import CompletionPort, PortClosedError, Session

WITHIN_S = 15.0


class Asker:
    """A client of the monitor: a plain socket."""

    def __init__(self, address: Any) -> None:
        self.socket = socket.create_connection(address, WITHIN_S)
        self.file = self.socket.makefile("rb")

    def ask(self, question: bytes = b"{}") -> dict[str, Any]:
        self.socket.sendall(question + b"\n")
        answer: dict[str, Any] = json.loads(self.file.readline())
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()


def test_sample_counts_sessions_that_live_and_those_that_have_ended(port: CompletionPort) -> None:
    """Two clients send 3 messages each, one of them leaves: its messages stay counted."""
    monitor = port.monitor()
    listener = port.listen(("127.0.0.1", 0), Echo)
    with running(port), Asker(monitor.address) as asker:
        with socket.create_connection(listener.address, WITHIN_S) as stays:
            with socket.create_connection(listener.address, WITHIN_S) as leaves:
                for client in (stays, leaves) * 3:
                    client.sendall(b"12345")
                    assert client.recv(100) == b"12345"
                before = asker.ask()
                assert before["sessions"]["open"] == 2
                leaves.shutdown(socket.SHUT_WR)
                assert leaves.recv(100) == b""
            after = ask_until(asker, lambda sample: sample["sessions"]["ended"] == 1)
            assert after["sessions"] == {"open": 1, "connecting": 0, "closing": 0, "ended": 1}
        for sample in (before, after):
            assert sample["pyiocp_monitor"] == 1
            assert (sample["messages_received"], sample["messages_sent"]) == (6, 6)
            assert (sample["bytes_received"], sample["bytes_sent"]) == (30, 30)
        assert after["time_s"] > before["time_s"]
        assert after["listeners"][0]["accepted"] == 2


def ask_until(asker: Asker, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until an answer is good; a thousand times at most."""
    for _ in range(1000):
        sample = asker.ask()
        if good(sample):
            return sample
    raise AssertionError(sample)


def test_monitor_itself_counts_nowhere(port: CompletionPort) -> None:
    """Not in the port's sessions, which are the user's to send to, nor in what is in flight."""
    monitor = port.monitor()
    assert port.statistics().in_flight.operations == 0
    assert port.listeners == set()
    with running(port), Asker(monitor.address) as asker, Asker(monitor.address) as other:
        for sample in (asker.ask(), other.ask()):
            assert sum(sample["sessions"].values()) == 0
            assert sample["in_flight"] == {"operations": 0, "bytes": 0, "pages": 0}
            assert sample["completions"] == {}
            assert sample["listeners"] == []
        assert port.sessions == set()
        assert len(port._service.monitor_sessions) == 2


def test_nothing_is_counted_before_somebody_looks(port: CompletionPort) -> None:
    """The port follows its operations only from the first look on."""
    monitor = port.monitor()
    assert port._queue.watcher is None
    with running(port), Asker(monitor.address) as asker:
        # A question that is there when it is waited for comes without a packet.
        ask_until(asker, lambda sample: sample["batches"]["calls"] > 0)
        assert port._queue.watcher is not None


class Talks(Session):
    """Sends whenever there is room, so that in the end it waits for a peer that does not read."""

    def on_connect(self) -> None:
        while self.send(bytes(100_000)):
            pass

    on_writable = on_connect


def test_slowest_is_the_one_whose_queue_does_not_move(port: CompletionPort) -> None:
    """One client does not read, the others have nothing to wait for."""
    monitor = port.monitor()
    echo = port.listen(("127.0.0.1", 0), Echo)
    talks = port.listen(("127.0.0.1", 0), Talks)
    with (
        running(port),
        Asker(monitor.address) as asker,
        socket.create_connection(echo.address, WITHIN_S) as quick,
        socket.create_connection(talks.address, WITHIN_S) as stuck,
    ):
        quick.sendall(b"x")
        assert quick.recv(1) == b"x"
        host, number = stuck.getsockname()
        asker.ask()
        sample = ask_until(asker, lambda sample: sample["slowest"][0]["stalled_s"] > 0)
        slowest, other = sample["slowest"]
        assert slowest["peer"] == f"{host}:{number}"
        assert slowest["type"] == "Talks"
        assert slowest["send_queue_bytes"] > 500_000
        assert (other["type"], other["send_queue_bytes"], other["stalled_s"]) == ("Echo", 0, 0)
        [only] = asker.ask(b'{"slowest": 1}')["slowest"]
        assert only["type"] == "Talks"
        assert asker.ask(b'{"slowest": 0}')["slowest"] == []


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        (b"GET / HTTP/1.1\r", "a line with a JSON object is needed"),
        (b"\xff", "a line with a JSON object is needed"),
        (b"[]", "a JSON object is needed, not []"),
        (b'{"all": 1}', "unknown: all; there is slowest"),
        (b'{"slowest": "x"}', "slowest must be a whole number, not 'x'"),
        (b'{"slowest": true}', "slowest must be a whole number, not True"),
        (b'{"slowest": 101}', "slowest must be 0 to 100, not 101"),
        (b'{"slowest": -1}', "slowest must be 0 to 100, not -1"),
    ],
)
def test_what_is_no_question_is_answered_and_ends_the_connection(
    port: CompletionPort, no_errors_logged: None, question: bytes, wanted: str
) -> None:
    """The port goes on, and so does the monitor."""
    monitor = port.monitor()
    with running(port):
        with Asker(monitor.address) as asker:
            assert asker.ask(question) == {"error": wanted}
            assert asker.file.readline() == b""
        with Asker(monitor.address) as asker:
            assert asker.ask()["pyiocp_monitor"] == 1


def test_line_without_end_is_cut_off(port: CompletionPort, no_errors_logged: None) -> None:
    """The port does not keep more than a question can be long."""
    monitor = port.monitor()
    with running(port), Asker(monitor.address) as asker:
        asker.socket.sendall(b"{" * 5000)
        assert asker.file.read() == b""


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::", "example.org"])
def test_only_this_machine_may_ask(port: CompletionPort, host: str) -> None:
    """Also no name, which may be anybody's."""
    with pytest.raises(ValueError, match="of this machine's loopback"):
        port.monitor((host, 0))
    assert port.handles == set()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_monitor_listens_on_either_loopback(port: CompletionPort, host: str) -> None:
    monitor = port.monitor((host, 0))
    with running(port), Asker(monitor.address[:2]) as asker:
        assert asker.ask()["sessions"]["open"] == 0


def test_port_has_one_monitor_at_a_time(port: CompletionPort) -> None:
    """A closed one sends away who looks, and leaves room for another."""
    monitor = port.monitor()
    with pytest.raises(RuntimeError, match="has a monitor already"):
        port.monitor()
    with running(port), Asker(monitor.address) as asker:
        asker.ask()
        monitor.close()
        assert asker.file.readline() == b""
        with Asker(port.monitor().address) as other:
            other.ask()


def test_wrong_addresses_are_refused(port: CompletionPort) -> None:
    with pytest.raises(TypeError, match="must be"):
        port.monitor("127.0.0.1:0")
    port.close()
    with pytest.raises(PortClosedError, match="cannot be monitored"):
        port.monitor()


def test_port_that_is_closed_or_shut_down_does_not_wait_for_who_looks() -> None:
    """An open connection to the monitor does not keep ``run`` from returning."""
    with CompletionPort() as port:
        monitor = port.monitor()
        thread = threading.Thread(target=port.run)
        thread.start()
        with Asker(monitor.address) as asker:
            asker.ask()
            port.shutdown()
            thread.join(WITHIN_S)
            assert not thread.is_alive()
            port.close()
            assert port._service.monitor_sessions == set()
