"""Listeners: no client, no hook and no shortage ends the accepting."""

from __future__ import annotations

import ctypes
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal, entries_of
from journal import Journal, Made, connect, eventually, receive_all, reset, served

from pyiocp import AddressUnavailableError, CompletionPort, PortClosedError, Session
from pyiocp.winapi import (
    DWORD,
    INVALID_SOCKET,
    SO_EXCLUSIVEADDRUSE,
    SOCKADDR_STORAGE,
    SOL_SOCKET,
    STATUS_CONNECTION_RESET,
    STATUS_IO_TIMEOUT,
    WSAEMFILE,
    WSAENOBUFS,
    getsockopt,
)
from pyiocp.winapi.errorcodes import STATUS_LINK_FAILED

LOCAL = ("127.0.0.1", 0)

ADDRESS_SIZE = ctypes.sizeof(SOCKADDR_STORAGE) + 16


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


def answers(listener: Any) -> bool:
    """Tell whether a new client of the listener is served."""
    with connect(listener) as peer:
        peer.sendall(b"ping")
        return receive_all(peer, 4) == b"ping"


def the_end(peer: socket.socket) -> bytes:
    """Receive until the end, which may be a reset."""
    try:
        return receive_all(peer)
    except ConnectionError:
        return b""


@pytest.mark.parametrize("status", [STATUS_CONNECTION_RESET, STATUS_LINK_FAILED, STATUS_IO_TIMEOUT])
def test_client_lost_in_the_backlog_is_the_end_of_that_client_only(status: int) -> None:
    """C01: AcceptEx completes with WSAECONNRESET, 64, or ERROR_SEM_TIMEOUT.

    The seam changes the status in the packets of the first five accepts, whose clients
    are real and must see their sockets closed. One accept is pending at a time, so a
    listener that does not post the next one, or that gives up, serves no sixth.
    """
    kernel = FaultyKernel()
    lost: list[int] = []
    ports: list[CompletionPort] = []

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        for entry in entries_of(arguments) if result else ():
            address = ctypes.cast(entry.lpOverlapped, ctypes.c_void_p).value or 0
            packet = ports[0].in_flight.get(address)
            if packet is not None and packet.kind == "accept" and len(lost) < 5:
                lost.append(address)
                entry.Internal = status
        return result

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    with CompletionPort(kernel=kernel) as port:
        ports.append(port)
        listener = port.listen(LOCAL, Echo, accepts=1)
        with served(port):
            for _ in range(5):
                with connect(listener) as peer:
                    assert the_end(peer) == b""
            assert answers(listener)
        assert len(lost) == 5
        assert (listener.accepted, listener.failed) == (1, 5)
        listener.close()


def test_clients_that_reset_in_the_backlog(port: CompletionPort) -> None:
    """C01: real ones: nobody accepts while 20 clients connect, and reset what they have.

    Whatever the system makes of them (an accept that fails, or a session that ends at
    once), the next client is served, and no session stays.
    """
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, accepts=1)
    for _ in range(20):
        reset(connect(listener))
    with served(port):
        assert answers(listener)
        assert eventually(lambda: not port.sessions)
    assert listener.accepted == len(sessions)


@pytest.mark.parametrize(
    ("function", "code", "result"),
    [
        ("AcceptEx", WSAENOBUFS, 0),
        ("AcceptEx", WSAEMFILE, 0),
        ("WSASocketW", WSAEMFILE, int(INVALID_SOCKET)),
    ],
)
def test_listener_comes_back_after_the_system_refused(
    function: str, code: int, result: int, caplog: pytest.LogCaptureFixture
) -> None:
    """C02: the next AcceptEx, or its socket, is refused six times over; then it is not.

    One accept at a time: while it is refused nobody can be accepted, so that the client
    that is served in the end shows that it was tried again. The log says so.
    """
    kernel = FaultyKernel()
    refusal = Refusal(code, result, times=6)
    refusal.enabled = False
    kernel.wrap(function, refusal)
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(LOCAL, Echo, accepts=1)
        with served(port), caplog.at_level(logging.WARNING, logger="pyiocp"):
            refusal.enabled = True
            assert answers(listener)  # by the accept that was pending
            assert answers(listener)  # by one posted after the refusals
        assert refusal.refused == 6
        assert caplog.text.count("tries again in") == 6
        listener.close()
    caplog.clear()  # which keeps the port


def test_refused_listener_can_be_closed(caplog: pytest.LogCaptureFixture) -> None:
    """C02: with all accepts waiting to be tried again close() ends that too."""
    kernel = FaultyKernel()
    refusal = Refusal(WSAENOBUFS, 0)
    refusal.enabled = False
    kernel.wrap("AcceptEx", refusal)
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(LOCAL, Echo, accepts=1)
        with served(port):
            refusal.enabled = True
            assert answers(listener)
            assert refusal.refused >= 1
            listener.close()
            refused = refusal.refused
            done = threading.Event()
            port.call_later(0.3, done.set)  # after the next try would have been
            assert done.wait(DEADLINE_S)
        assert refusal.refused <= refused + 1
    caplog.clear()


class NoSession(Exception):
    """What a factory raises here."""


def _raise() -> Session:
    raise NoSession


@pytest.mark.parametrize(
    "factory", [_raise, lambda: None, lambda: "session", object, lambda: 1 / 0]
)
def test_factory_that_makes_no_session(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, factory: Any
) -> None:
    """C03: it raises, or returns something else: that client is closed, the next is served."""
    calls = 0

    def sometimes() -> Session:
        nonlocal calls
        calls += 1
        return factory() if calls == 1 else Echo()

    listener = port.listen(LOCAL, sometimes, accepts=1)
    with served(port):
        with connect(listener) as peer:
            assert the_end(peer) == b""
        assert answers(listener)
    assert (listener.accepted, listener.failed) == (1, 1)
    assert caplog.text.count("no session could be made") == 1
    caplog.clear()


@pytest.mark.parametrize("when", ["alive", "ended"])
def test_factory_that_returns_a_session_again(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    """C03: one session is one connection; the first one goes on, if it is still there."""
    only = Echo()
    listener = port.listen(LOCAL, lambda: only, accepts=1)
    with served(port):
        with connect(listener) as first:
            first.sendall(b"one")
            assert receive_all(first, 3) == b"one"
            if when == "ended":
                first.close()
                assert only.closed.wait(DEADLINE_S)
            with connect(listener) as second:
                assert the_end(second) == b""
            if when == "alive":
                first.sendall(b"two")
                assert receive_all(first, 3) == b"two"
        assert only.closed.wait(DEADLINE_S)
    assert only.hooks.count("connect") == only.hooks.count("close") == 1
    assert (listener.accepted, listener.failed) == (1, 1)
    caplog.clear()


def test_first_hook_that_raises_closes_that_client_only(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """C03: on_connect, the hook in the accept path."""

    class Failing(Echo):
        def on_connect(self) -> None:
            if len(sessions) == 1:
                raise NoSession
            super().on_connect()

    sessions = Made(Failing)
    listener = port.listen(LOCAL, sessions, accepts=1)
    with served(port):
        with connect(listener) as peer:
            assert the_end(peer) == b""
        assert sessions[0].closed.wait(DEADLINE_S)
        assert answers(listener)
    assert isinstance(sessions[0].error.__cause__, NoSession)
    assert sessions[0].hooks == ["close"]
    caplog.clear()


@pytest.mark.parametrize("size", [0, -1, None])
def test_impossible_receive_size_ends_that_session_only(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, size: Any
) -> None:
    """C03: a setting that no buffer can be made with; 0 must not look like the peer's end."""

    class Impossible(Echo):
        receive_size = size

    sessions = Made(Impossible)
    bad = port.listen(LOCAL, sessions)
    good = port.listen(LOCAL, Echo)
    with served(port):
        with connect(bad) as peer:
            assert the_end(peer) == b""
        assert eventually(lambda: bool(sessions))
        assert sessions[0].closed.wait(DEADLINE_S)
        assert answers(good)
    assert sessions[0].hooks == ["close"]
    assert sessions[0].error is not None
    caplog.clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_listening_sockets_have_their_address_for_themselves(
    port: CompletionPort, host: str
) -> None:
    """C35: SO_EXCLUSIVEADDRUSE is set on the listening socket, which the system is asked for.

    That a second socket with SO_REUSEADDR is then refused is not tested: Wine does not
    enforce the option.
    """
    for exclusive in (True, False):
        listener = port.listen((host, 0), Echo, exclusive=exclusive)
        value, size = DWORD(7), ctypes.c_int(4)
        number = listener._acceptors[0].stream.number
        assert not getsockopt(
            number, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, ctypes.byref(value), ctypes.byref(size)
        )
        assert bool(value.value) is exclusive


def test_address_in_use_is_said(port: CompletionPort) -> None:
    listener = port.listen(LOCAL, Echo)
    with pytest.raises(AddressUnavailableError, match="another socket has this address"):
        port.listen(listener.address, Echo)
    with pytest.raises(AddressUnavailableError):
        port.listen(("192.0.2.1", 0), Echo)
    assert port.listeners == {listener}


def test_closed_listener_keeps_its_sessions(port: CompletionPort) -> None:
    """The open connection is served on, a new one is refused; closing twice does nothing."""
    listener = port.listen(LOCAL, Echo)
    with served(port), connect(listener) as peer:
        peer.sendall(b"before")
        assert receive_all(peer, 6) == b"before"
        listener.close()
        listener.close()
        assert listener.closed
        assert port.listeners == set()
        # The system may let clients in as long as an accept is pending on the socket.
        assert eventually(lambda: port.in_flight_by_kind().get("accept", 0) == 0)
        with pytest.raises(ConnectionRefusedError):
            connect(listener)
        peer.sendall(b"after")
        assert receive_all(peer, 5) == b"after"
    assert listener.accepted == 1


def test_many_clients_at_once(port: CompletionPort, no_errors_logged: None) -> None:
    """More than there are accepts pending: each is served, with its own bytes."""
    listener = port.listen(LOCAL, Echo, accepts=2)
    with served(port, threads=2):
        peers = [connect(listener) for _ in range(40)]
        for n, peer in enumerate(peers):
            peer.sendall(b"%02d" % n)
        assert [receive_all(peer, 2) for peer in peers] == [b"%02d" % n for n in range(40)]
        for peer in peers:
            peer.close()
        assert eventually(lambda: not port.sessions)
    assert (listener.accepted, listener.failed) == (40, 0)


def test_both_families_on_one_port(port: CompletionPort) -> None:
    """C27 in ring 3: IPv4 and IPv6 listeners and clients, whose AcceptEx may differ."""
    sessions = Made(Echo)
    listeners = [port.listen((host, 0), sessions) for host in ("127.0.0.1", "::1")]
    clients = [port.connect(listener.address, Journal) for listener in listeners]
    with served(port):
        for client in clients:
            assert client.connected.wait(DEADLINE_S)
            client.send(b"hello")
            assert client.wait_received(5) == b"hello"
    assert {client.peer_address[0] for client in clients} == {"127.0.0.1", "::1"}
    assert {session.peer_address for session in sessions} == {c.local_address for c in clients}


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"accepts": 0}),
        (ValueError, {"accepts": 4097}),
        (TypeError, {"factory": Session()}),
        (TypeError, {"address": "127.0.0.1:80"}),
        (TypeError, {"address": ("127.0.0.1", "80")}),
        (ValueError, {"address": ("127.0.0.1", 70000)}),
    ],
)
def test_bad_arguments_are_refused(
    port: CompletionPort, error: type[Exception], arguments: dict[str, Any]
) -> None:
    with pytest.raises(error):
        port.listen(**{"address": LOCAL, "factory": Echo, **arguments})
    assert port.listeners == set()


def test_closed_port_does_not_listen() -> None:
    port = CompletionPort()
    port.close()
    with pytest.raises(PortClosedError):
        port.listen(LOCAL, Echo)
