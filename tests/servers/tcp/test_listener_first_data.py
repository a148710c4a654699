"""First data with the accept: a session begins with it, and who sends none is closed."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel
from journal import Journal, Made, connect, eventually, receive_all, reset, served
from tls_context import client_context, server_context

from pyiocp import CompletionPort
from pyiocp.winapi import SO_CONNECT_TIME

LOCAL = ("127.0.0.1", 0)


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_session_begins_with_the_first_data(
    port: CompletionPort, no_errors_logged: None, host: str
) -> None:
    """It is there only when the client has sent, with its addresses, and misses no byte."""
    sessions = Made(Echo)
    listener = port.listen((host, 0), sessions, accepts=2, first_data=16)
    with served(port), connect(listener) as peer:
        assert not eventually(lambda: bool(sessions), seconds=0.1)
        peer.sendall(b"0123456789")
        assert receive_all(peer, 10) == b"0123456789"
        assert sessions[0].peer_address == peer.getsockname()
        assert sessions[0].local_address == peer.getpeername()
        peer.sendall(b"abc")
        assert receive_all(peer, 3) == b"abc"
        peer.shutdown(socket.SHUT_WR)
        assert receive_all(peer) == b""
    assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].hooks == ["connect", "receive", "receive", "eof", "close"]


def test_more_than_there_is_room_for_comes_in_order(port: CompletionPort) -> None:
    """250 bytes at once: 50 with the accept, of which the session takes 7 at a time."""

    class Small(Echo):
        receive_size = 7

    sessions = Made(Small)
    sent = bytes(range(250))
    listener = port.listen(LOCAL, sessions, first_data=50)
    with served(port), connect(listener) as peer:
        peer.sendall(sent)
        assert receive_all(peer, 250) == sent
        assert bytes(sessions[0].received) == sent
    assert sessions[0].hooks[:10] == ["connect", *["receive"] * 9]


@pytest.mark.parametrize("pauses_at", [0, 1, 3])
def test_pause_holds_first_data_back(port: CompletionPort, pauses_at: int) -> None:
    """C44: paused in on_connect, or in an on_receive: the rest comes after the resume, in order."""

    class Pausing(Journal):
        receive_size = 7

        def on_connect(self) -> None:
            super().on_connect()
            if not pauses_at:
                self.pause_receiving()

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            if self.hooks.count("receive") == pauses_at:
                self.pause_receiving()

    sessions = Made(Pausing)
    sent = bytes(range(250))
    listener = port.listen(LOCAL, sessions, first_data=50)
    with served(port), connect(listener) as peer:
        peer.sendall(sent)
        assert eventually(lambda: bool(sessions) and len(sessions[0].received) == 7 * pauses_at)
        [session] = sessions
        assert not eventually(lambda: len(session.received) > 7 * pauses_at, seconds=0.2)
        session.resume_receiving()
        assert session.wait_received(250) == sent


def test_client_that_goes_without_a_byte_is_counted(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """As failed, where the system cannot say any more who it was; and the next one is served."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, accepts=1, first_data=16)
    with served(port):
        connect(listener).close()
        assert eventually(lambda: listener.accepted + listener.failed == 1)
        with connect(listener) as peer:
            peer.sendall(b"hello")
            assert receive_all(peer, 5) == b"hello"
            assert sessions[-1].peer_address == peer.getsockname()


def test_each_accept_has_its_own_first_data(port: CompletionPort, no_errors_logged: None) -> None:
    """40 clients through two accepts: what the next client sends does not overwrite it."""
    listener = port.listen(LOCAL, Echo, accepts=2, first_data=64)
    with served(port, threads=2):
        peers = [connect(listener) for _ in range(40)]
        for n, peer in enumerate(peers):
            peer.sendall(b"%02d" % n)
        assert [receive_all(peer, 2) for peer in peers] == [b"%02d" % n for n in range(40)]
        for peer in peers:
            peer.close()
        assert eventually(lambda: not port.sessions)
    assert (listener.accepted, listener.failed) == (40, 0)


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_client_that_ends_before_it_sends(
    port: CompletionPort, end: Callable[[socket.socket], None]
) -> None:
    """In order or not: whatever that is to the system, the next client is served."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, accepts=1, first_data=16)
    with served(port):
        for _ in range(3):
            end(connect(listener))
        with connect(listener) as peer:
            peer.sendall(b"ping")
            assert receive_all(peer, 4) == b"ping"
        assert eventually(lambda: not port.sessions)
    assert listener.accepted == len(sessions)
    assert listener.accepted + listener.failed == 4


def test_handshake_may_be_the_first_data(port: CompletionPort, no_errors_logged: None) -> None:
    """Over TLS the client speaks first: what comes with the accept is its hello."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, first_data=64, tls=server_context())
    with served(port):
        client = port.connect(
            listener.address, Journal, tls=client_context(), server_hostname="localhost"
        )
        assert isinstance(client, Journal)
        assert client.connected.wait(DEADLINE_S)
        client.send(b"ping")
        assert client.wait_received(4) == b"ping"
        assert listener.sessions == set(sessions)
        client.close()
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].error is None


def test_first_hook_may_end_the_session_before_its_first_data(port: CompletionPort) -> None:
    class Closing(Echo):
        def on_connect(self) -> None:
            super().on_connect()
            self.close()

    sessions = Made(Closing)
    listener = port.listen(LOCAL, sessions, first_data=16)
    with served(port), connect(listener) as peer:
        peer.sendall(b"unheard")
        assert receive_all(peer) == b""
        peer.close()
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].hooks == ["connect", "close"]


def test_silent_clients_are_closed_and_others_served_meanwhile(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """C34: three silent clients take all three accepts; the system's clock is the real one.

    The fourth client is served although none of the accepts is free, before the silent
    ones are closed, which they are after a second or two.
    """
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, accepts=3, first_data=16, first_data_timeout=1)
    with served(port):
        silent = [connect(listener) for _ in range(3)]
        with connect(listener) as peer:
            peer.sendall(b"ping")
            assert receive_all(peer, 4) == b"ping"
            assert listener.silent == 0
            assert [receive_all(client) for client in silent] == [b""] * 3
            assert eventually(lambda: listener.silent == 3)
            for client in silent:
                client.close()
            assert eventually(lambda: port.in_flight_by_kind()["accept"] == 3)
    assert (listener.accepted, listener.failed) == (1, 0)
    assert len(sessions) == 1


def connect_times(kernel: FaultyKernel, seconds: list[int]) -> None:
    """Have the system's answers to SO_CONNECT_TIME be these, where there is a client."""

    def answer(real: Callable[..., int], *arguments: Any) -> int:
        result: int = real(*arguments)
        value = arguments[3]._obj
        if arguments[2] == SO_CONNECT_TIME and not result and value.value != 0xFFFFFFFF:
            ctypes.memmove(ctypes.byref(value), bytes(ctypes.c_uint32(seconds[0])), 4)
        return result

    kernel.wrap("getsockopt", answer)


@pytest.mark.parametrize(("timeout", "allowed"), [(10, 9), (9.5, 9), (0.2, 0)])
def test_clients_have_the_time_that_was_given(timeout: float, allowed: int) -> None:
    """C34: by the system's clock, which the seam sets: closed in that second, not before.

    Two looks pass before it is set to the last second.
    """
    kernel = FaultyKernel()
    seconds = [allowed]
    connect_times(kernel, seconds)
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(LOCAL, Echo, first_data=16, first_data_timeout=timeout)
        with served(port), connect(listener) as peer:
            assert not eventually(lambda: listener.silent > 0, seconds=1.2)
            seconds[0] += 1
            assert receive_all(peer) == b""
            assert eventually(lambda: listener.silent == 1)


@pytest.mark.parametrize(
    "arguments",
    [{"first_data": -1}, {"first_data": (1 << 20) + 1}, {"first_data_timeout": 0}],
)
def test_impossible_first_data_is_refused(port: CompletionPort, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="first_data"):
        port.listen(LOCAL, Echo, **arguments)
    assert port.handles == set()
