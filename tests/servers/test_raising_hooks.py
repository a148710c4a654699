"""Whatever a hook or a factory raises, the session ends, all counts come back, and it goes on."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from counts_back import come_back, figures
from deadline import DEADLINE_S
from journal import NOT_YET, Journal, Made, connect, eventually, receive_all, served
from tls_context import client_context, server_context

from pyiocp import (
    CompletionPort,
    DatagramSession,
    FramedSession,
    LengthPrefixed,
    Limits,
    Session,
)

LOCAL = ("127.0.0.1", 0)

ONE = Limits(sessions=1, sessions_per_address=1, handshakes=1, handshakes_per_address=1)
"""One slot that is not given back shuts out every other client."""


class Odd(BaseException):
    """What no library foresees."""


ERRORS = [SystemExit, KeyboardInterrupt, GeneratorExit, Odd, MemoryError]


def run_until_raised(port: CompletionPort, error: type[BaseException], ended: Any) -> None:
    """Run the port on this thread: the error comes out of run(), unless it is an Exception."""
    if issubclass(error, Exception):
        with served(port):
            assert eventually(ended)
        return
    with pytest.raises(error):
        port.run()


class Raising(Journal):
    """Raises once, from the hook of the class's choice."""

    idle_timeout = 3600
    error_type: type[BaseException] = Odd
    where = ""
    raised = 0

    def _raise(self, where: str) -> None:
        cls = type(self)
        if where == cls.where and not cls.raised:
            cls.raised += 1
            raise cls.error_type

    def on_connect(self) -> None:
        super().on_connect()
        self._raise("on_connect")

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)
        self._raise("on_receive")

    def on_eof(self) -> None:
        super().on_eof()
        self._raise("on_eof")

    def on_close(self, error: OSError | None) -> None:
        super().on_close(error)
        self._raise("on_close")


def raising(base: type[Any], error: type[BaseException], where: str) -> type[Any]:
    """Return a class of sessions that raises this error there, once."""
    return type(f"Raises_{where}", (base,), {"where": where, "error_type": error, "raised": 0})


HOOKS = ["on_connect", "on_receive", "on_eof", "on_close"]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", HOOKS)
def test_session_ends_and_then_it_is_raised(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: type[BaseException],
) -> None:
    """C70: on_close is called, the slot is free, no timer is left; the next client is served."""
    kind = raising(Raising, error, where)
    sessions = Made(kind)
    listener = port.listen(LOCAL, sessions, accepts=2, limits=ONE)
    expected = figures(port, [listener])
    with connect(listener) as peer:
        peer.sendall(b"ping")
        peer.shutdown(socket.SHUT_WR)
        run_until_raised(port, error, lambda: kind.raised and sessions[0].closed.is_set())
        assert kind.raised == 1
        assert sessions[0].hooks[-1] == "close"
        assert sessions[0].hooks.count("close") == 1
        if where != "on_close":
            assert isinstance(sessions[0].error.__cause__, error)
    assert come_back(port, [listener], expected) == expected
    with served(port), connect(listener) as peer:
        peer.sendall(b"ping")
        assert receive_all(peer, 4) == b"ping"
    assert listener.refused == 0
    caplog.clear()


class Frames(FramedSession, Raising):
    """The same with frames."""

    framing = LengthPrefixed(1)

    def on_frame(self, frame: memoryview) -> None:
        self.hooks.append("frame")
        self.send_frame(frame)
        self._raise("on_receive")


@pytest.mark.parametrize("error", [SystemExit, MemoryError])
@pytest.mark.parametrize("where", HOOKS)
def test_session_of_frames_ends_and_then_it_is_raised(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: type[BaseException],
) -> None:
    """C70 with a layer above the connection."""
    kind = raising(Frames, error, where)
    sessions = Made(kind)
    listener = port.listen(LOCAL, sessions, accepts=2, limits=ONE)
    expected = figures(port, [listener])
    with connect(listener) as peer:
        peer.sendall(b"\x04ping\x04more")
        peer.shutdown(socket.SHUT_WR)
        run_until_raised(port, error, lambda: kind.raised and sessions[0].closed.is_set())
        assert sessions[0].hooks.count("close") == 1
    assert come_back(port, [listener], expected) == expected
    with served(port), connect(listener) as peer:
        peer.sendall(b"\x04ping")
        assert receive_all(peer, 5) == b"\x04ping"
    caplog.clear()


@pytest.mark.parametrize("error", [SystemExit, MemoryError])
@pytest.mark.parametrize("where", HOOKS)
def test_session_over_tls_ends_and_then_it_is_raised(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: type[BaseException],
) -> None:
    """C70 with TLS: the deadline of the handshake and its slot are given back as well."""
    kind = raising(Raising, error, where)
    sessions = Made(kind)
    listener = port.listen(LOCAL, sessions, accepts=2, limits=ONE, tls=server_context())
    expected = figures(port, [listener])
    with CompletionPort() as other, served(other):
        client = other.connect(
            listener.address, Journal, tls=client_context(), server_hostname="localhost"
        )
        other.call_later(0.05, _ask, client)
        run_until_raised(port, error, lambda: kind.raised and sessions[0].closed.is_set())
        assert kind.raised == 1
        assert sessions[0].hooks.count("close") == 1
    assert come_back(port, [listener], expected) == expected
    with served(port), CompletionPort() as other, served(other):
        client = other.connect(
            listener.address, Journal, tls=client_context(), server_hostname="localhost"
        )
        assert client.connected.wait(DEADLINE_S)
        client.send(b"ping")
        assert client.wait_received(4) == b"ping"
    caplog.clear()


def _ask(client: Journal) -> None:
    """Send once it is connected, and then end."""
    if client.connected.is_set():
        client.send(b"ping")
        client.close()
    elif not client.closed.is_set():
        client._pyiocp.connection.call_later(0.05, lambda: _ask(client))


@pytest.mark.parametrize("error", ERRORS)
def test_factory_that_raises_costs_its_client_only(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """C70, C71: the connection is closed, the slot is free, the accept is posted again."""
    calls: list[int] = []

    def factory() -> Session:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return Raising()

    listener = port.listen(LOCAL, factory, accepts=1, limits=ONE)
    expected = figures(port, [listener])
    with connect(listener) as peer:
        run_until_raised(port, error, lambda: listener.failed)
        assert receive_all(peer) == b""
    assert come_back(port, [listener], expected) == expected
    with served(port), connect(listener) as peer:
        peer.sendall(b"ping")
        assert receive_all(peer, 4) == b"ping"
    assert (listener.accepted, listener.failed, listener.refused) == (1, 1, 0)
    caplog.clear()


def greet(server: socket.socket) -> None:
    """Accept one client, send something and the end, and read until it leaves."""
    with contextlib.suppress(OSError), server.accept()[0] as peer:  # it may have left already
        peer.sendall(b"ping")
        peer.shutdown(socket.SHUT_WR)
        receive_all(peer)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", HOOKS)
def test_client_ends_and_then_it_is_raised(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: type[BaseException],
) -> None:
    """C70: a session of connect()."""
    kind = raising(Raising, error, where)
    with socket.create_server(LOCAL) as server:
        thread = threading.Thread(target=greet, args=(server,))
        thread.start()
        client: Any = port.connect(server.getsockname(), kind)
        try:
            run_until_raised(port, error, lambda: kind.raised and client.closed.is_set())
        finally:
            thread.join(10)
        assert eventually(lambda: port.wait(0.01) == [] and not port.sessions)
    assert client.hooks.count("close") == 1
    assert client.error is not NOT_YET
    assert port.in_flight_by_kind() == {}
    assert not any(not entry[2].cancelled for entry in port._queue.timers.heap)
    caplog.clear()


class Peer(DatagramSession):
    """A peer that raises once."""

    error_type: type[BaseException] = Odd
    where = ""
    raised = 0

    def __init__(self) -> None:
        self.closed = 0
        self.error: OSError | None = None

    def _raise(self, where: str) -> None:
        cls = type(self)
        if where == cls.where and not cls.raised:
            cls.raised += 1
            raise cls.error_type

    def on_connect(self) -> None:
        self._raise("on_connect")

    def on_receive(self, data: memoryview) -> None:
        self.send(data)
        self._raise("on_receive")
        if data == b"bye":
            self.close()

    def on_close(self, error: OSError | None) -> None:
        self.closed += 1
        self.error = error
        self._raise("on_close")


def datagram_client(server: Any) -> socket.socket:
    """Return a connected UDP socket."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.settimeout(10)
    peer.connect(server.address)
    return peer


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", ["on_connect", "on_receive", "on_close", "factory", "admit"])
def test_peer_ends_and_then_it_is_raised(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: type[BaseException],
) -> None:
    """C70 for datagrams: the slot is free, the receive is posted again, others are served.

    A second peer's datagram has come before it is raised.
    """
    kind = raising(Peer, error, where)
    calls: list[str] = []

    def sometimes(what: str) -> None:
        calls.append(what)
        if what == where and calls.count(what) == 1:
            kind.raised += 1
            raise error

    sessions: list[Any] = []

    def factory() -> DatagramSession:
        sometimes("factory")
        sessions.append(kind())
        made: DatagramSession = sessions[-1]
        return made

    def admit(address: Any, data: memoryview) -> bool:
        sometimes("admit")
        return True

    server = port.serve_datagrams(
        LOCAL, factory, admit=admit, limits=Limits(sessions=2, sessions_per_address=2)
    )
    expected = figures(port, [server])
    with datagram_client(server) as one, datagram_client(server) as other:
        one.send(b"bye")
        other.send(b"ping")
        run_until_raised(port, error, lambda: kind.raised)
        with served(port):
            assert other.recv(100) == b"ping"
            other.send(b"bye")
            assert other.recv(100) == b"bye"
    assert come_back(port, [server], expected) == expected
    assert [session.closed for session in sessions] == [1] * len(sessions)
    causes = [session.error.__cause__ for session in sessions if session.error is not None]
    assert list(map(type, causes)) == ([error] if where in ("on_connect", "on_receive") else [])
    with served(port), datagram_client(server) as peer:
        peer.send(b"ping")
        assert peer.recv(100) == b"ping"
    assert server.refused == 0
    caplog.clear()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError])
def test_watch_of_a_directory_goes_on(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    error: type[BaseException],
) -> None:
    """C70: the receiver of a watch raises at the first change; later ones are told to it."""
    told: list[str] = []

    def receiver(completion: Any) -> None:
        told.extend(str(change.name) for change in completion.changes)
        if len(told) == len(completion.changes) > 0:
            raise error

    directory = port.directory(tmp_path)
    directory.watch(receiver)
    (tmp_path / "first").write_bytes(b"")
    if not issubclass(error, Exception):
        run_until_raised(port, error, lambda: told)
    # By one thread: beside other tests, Wine has now and then lost a change that came just when the
    # thread ended that had asked for it.
    with served(port):
        assert eventually(lambda: told)
        (tmp_path / "second").write_bytes(b"")
        assert eventually(lambda: "second" in told)
    directory.close()
    caplog.clear()
