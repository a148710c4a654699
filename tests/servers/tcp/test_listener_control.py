"""Listeners that pause, resume and shut down, and what they listen at."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort, ConnectionLostError, PortClosedError, Session
from pyiocp.winapi import WSAENOBUFS

LOCAL = ("127.0.0.1", 0)


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


class Stubborn(Journal):
    """Does not answer the peer's end, and is patient when it closes itself."""

    close_timeout = 3600

    def on_eof(self) -> None:
        self.has_eof.set()


def accepts(port: CompletionPort) -> int:
    return port.in_flight_by_kind().get("accept", 0)


@pytest.mark.parametrize("first_data", [0, 16])
def test_paused_listener_leaves_clients_in_the_backlog(
    port: CompletionPort, no_errors_logged: None, first_data: int
) -> None:
    """Its session is served on; the next client is when it is resumed. Twice over."""
    listener = port.listen(LOCAL, Echo, accepts=3, first_data=first_data)
    with served(port), connect(listener) as first:
        first.sendall(b"one")
        assert receive_all(first, 3) == b"one"
        for n in (2, 3):
            listener.pause()
            assert listener.paused
            assert "paused" in repr(listener)
            assert eventually(lambda: accepts(port) == 0)
            with connect(listener) as waiting:
                waiting.sendall(b"two")
                first.sendall(b"more")
                assert receive_all(first, 4) == b"more"
                assert not eventually(lambda n=n: listener.accepted >= n, seconds=0.1)
                listener.resume()
                assert receive_all(waiting, 3) == b"two"
            assert eventually(lambda: accepts(port) == 3)
    assert (listener.accepted, listener.failed) == (3, 0)


def test_client_that_is_being_waited_for_is_not_dropped_by_a_pause(port: CompletionPort) -> None:
    """It is connected, and its first data comes during the pause."""
    listener = port.listen(LOCAL, Echo, accepts=2, first_data=16)
    with served(port), connect(listener) as peer:
        (operation,) = (
            o
            for o in listener._acceptors[0].operations
            if eventually(lambda o=o: o.connected_seconds() is not None, seconds=0.2)
        )
        listener.pause()
        assert eventually(lambda: accepts(port) == 1)
        assert operation.connected_seconds() is not None
        peer.sendall(b"ping")
        assert receive_all(peer, 4) == b"ping"
        assert accepts(port) == 0


def test_pausing_and_resuming_under_a_storm(port: CompletionPort, no_errors_logged: None) -> None:
    """Three workers accept 60 clients while another thread pauses and resumes all the time.

    Every client is served, and in the end as many accepts are pending as there were.
    """
    listener = port.listen(LOCAL, Echo, accepts=4)
    over = threading.Event()

    def toggle() -> None:
        while not over.is_set():
            listener.pause()
            listener.resume()

    thread = threading.Thread(target=toggle)
    with served(port, threads=3):
        thread.start()
        try:
            for n in range(60):
                with connect(listener) as peer:
                    peer.sendall(b"%02d" % n)
                    assert receive_all(peer, 2) == b"%02d" % n
        finally:
            over.set()
            thread.join(10)
        assert eventually(lambda: accepts(port) == 4)
        assert eventually(lambda: not port.sessions)
    assert (listener.accepted, listener.failed) == (60, 0)


def test_refused_listener_that_is_paused_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    """C02 with a pause in between: the system refuses, it is paused, resumed, and listens."""
    kernel = FaultyKernel()
    refusal = Refusal(WSAENOBUFS, 0)
    refusal.enabled = False
    kernel.wrap("AcceptEx", refusal)
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(LOCAL, Echo, accepts=1)
        with served(port):
            refusal.enabled = True
            with connect(listener):
                assert eventually(lambda: refusal.refused > 0)
            listener.pause()
            refusal.enabled = False
            listener.resume()
            with connect(listener) as peer:
                peer.sendall(b"ping")
                assert receive_all(peer, 4) == b"ping"
        assert accepts(port) == 1
    caplog.clear()


def test_shutdown_lets_sessions_finish(port: CompletionPort, no_errors_logged: None) -> None:
    """What waits to be sent goes out, the client sees the end; new clients are refused."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions)
    text = bytes(1 << 20)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: listener.accepted == 1)
        assert sessions[0].connected.wait(DEADLINE_S)
        sessions[0].send(text)
        listener.shutdown(timeout=30)
        assert listener.closed
        assert eventually(lambda: accepts(port) == 0)
        with pytest.raises(ConnectionRefusedError):
            connect(listener)
        assert receive_all(peer) == text
        peer.close()
        assert sessions[0].closed.wait(DEADLINE_S)
        assert eventually(lambda: port._queue.timers.next_due() is None)
    assert sessions[0].error is None
    assert listener.sessions == set()


def test_shutdown_aborts_what_is_left_at_the_deadline(port: CompletionPort) -> None:
    """The client does not close its side, and the session would wait for an hour."""
    sessions = Made(Stubborn)
    listener = port.listen(LOCAL, sessions)
    other = port.listen(LOCAL, Echo)
    with served(port), connect(listener), connect(other) as peer:
        assert eventually(lambda: listener.accepted == other.accepted == 1)
        assert sessions[0].connected.wait(DEADLINE_S)
        listener.shutdown(timeout=0.2)
        assert sessions[0].closed.wait(DEADLINE_S)
        peer.sendall(b"other")
        assert receive_all(peer, 5) == b"other"
    assert type(sessions[0].error) is ConnectionLostError
    assert port.listeners == {other}


def test_client_accepted_during_the_shutdown_is_closed_too(port: CompletionPort) -> None:
    """It has been accepted by the system, and its packet waits, when the shutdown begins."""
    sessions = Made(Stubborn)
    listener = port.listen(LOCAL, sessions, accepts=1)
    with connect(listener) as peer:
        (operation,) = listener._acceptors[0].operations
        assert eventually(lambda: not operation.unwritten)
        listener.shutdown(timeout=0.2)
        with served(port):
            assert receive_all(peer) == b""
            assert eventually(lambda: not port.sessions)
    assert all(session.hooks[-1] == "close" for session in sessions)


@pytest.mark.parametrize("threads", [1, 2])
def test_shutdown_of_the_port_ends_run(port: CompletionPort, threads: int) -> None:
    """One session finishes in order, one is aborted; then run() returns by itself.

    Nobody calls stop(). New listeners and connections are refused meanwhile.
    """
    sessions = Made(Stubborn)
    listener = port.listen(LOCAL, sessions)
    with served(port, threads) as thread, connect(listener) as one, connect(listener):
        assert eventually(lambda: listener.accepted == 2)
        assert all(session.connected.wait(DEADLINE_S) for session in sessions)
        port.shutdown(timeout=0.5)
        for attempt in (port.listen, port.connect, port.keep_connected):
            with pytest.raises(PortClosedError, match="shutting down"):
                attempt(listener.address, Echo)
        assert receive_all(one) == b""
        one.close()
        thread.join(10)
        assert not thread.is_alive()
    assert {type(session.error) for session in sessions} == {type(None), ConnectionLostError}
    assert port.sessions == set()


def test_shutdown_from_a_hook(port: CompletionPort) -> None:
    class Last(Echo):
        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            port.shutdown(timeout=30)

    listener = port.listen(LOCAL, Last)
    with served(port) as thread, connect(listener) as peer:
        peer.sendall(b"goodbye")
        assert receive_all(peer) == b"goodbye"
        peer.close()
        thread.join(10)
        assert not thread.is_alive()


def test_shutdown_without_sessions_ends_the_next_run(port: CompletionPort) -> None:
    listener = port.listen(LOCAL, Echo)
    port.shutdown()
    assert listener.closed
    port.run()


def test_negative_timeout_shuts_nothing_down(port: CompletionPort) -> None:
    listener = port.listen(LOCAL, Echo)
    for shutdown in (listener.shutdown, port.shutdown):
        with pytest.raises(ValueError, match="seconds"):
            shutdown(timeout=-1)
    assert not listener.closed
    assert port.listen(LOCAL, Echo).closed is False


@pytest.mark.parametrize("host", ["", "::"])
def test_dual_stack_takes_both_families(port: CompletionPort, host: str) -> None:
    """On one port: clients of 127.0.0.1 and of ::1, whose addresses read as documented."""
    sessions = Made(Echo)
    listener = port.listen((host, 0), sessions, dual_stack=True)
    number = listener.address[1]
    with served(port):
        for target in ("127.0.0.1", "::1"):
            with socket.create_connection((target, number), timeout=10) as peer:
                peer.sendall(b"ping")
                assert receive_all(peer, 4) == b"ping"
    assert [session.peer_address[0] for session in sessions] == ["::ffff:127.0.0.1", "::1"]


def test_ipv6_listener_takes_ipv6_only_unless_told(port: CompletionPort) -> None:
    """So both families may be listened at on one port, apart."""
    six = port.listen(("::", 0), Echo)
    four = port.listen(("0.0.0.0", six.address[1]), Echo)
    address = ("127.0.0.1", six.address[1])
    with served(port), socket.create_connection(address, timeout=10) as peer:
        peer.sendall(b"ping")
        assert receive_all(peer, 4) == b"ping"
    assert (six.accepted, four.accepted) == (0, 1)


@pytest.mark.parametrize("address", [("127.0.0.1", 0), ("0.0.0.0", 0)])
def test_dual_stack_needs_an_ipv6_address(port: CompletionPort, address: Any) -> None:
    with pytest.raises(ValueError, match="dual-stack"):
        port.listen(address, Session, dual_stack=True)
    assert port.handles == set()
