"""Several addresses: the first that answers is taken, and the others leave nothing behind."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel
from journal import Journal, eventually, served
from look_ups import FOUR, SIX, look_ups

from pyiocp import (
    CompletionPort,
    ConnectionLostError,
    ConnectRefusedError,
    NetworkTimeoutError,
    Session,
)
from pyiocp.handles.sockets.stream import Stream
from pyiocp.servers.clients import happy_eyeballs
from pyiocp.servers.resolve import resolve_all

if TYPE_CHECKING:
    from unanswered import Unanswered

LOCAL = ("127.0.0.1", 0)


def streams(port: CompletionPort) -> list[Any]:
    return [handle for handle in port.handles if isinstance(handle, Stream)]


def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's first family first; within a family the system's order stays."""
    hosts = ["::a", "::b", "::c", "10.0.0.1", "10.0.0.2"]
    found = [(SIX if ":" in host else FOUR, (host, 80)) for host in hosts]
    look_ups(monkeypatch, lambda host: found)
    turns = ["::a", "10.0.0.1", "::b", "10.0.0.2", "::c"]
    assert [host for _, (host, _) in resolve_all(("host.test", 80))] == turns
    found.reverse()
    turns = ["10.0.0.2", "::c", "10.0.0.1", "::b", "::a"]
    assert [host for _, (host, _) in resolve_all(("host.test", 80))] == turns


def test_refused_address_is_followed_by_the_next_at_once(
    port: CompletionPort, refused: Any, no_errors_logged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time given is shorter than it takes if one attempt had a turn, here of a minute."""
    monkeypatch.setattr(happy_eyeballs, "STAGGER_S", 60.0)
    with socket.create_server(("::1", 0), family=SIX) as server:
        addresses = [refused, refused, refused, refused, server.getsockname()]
        session = port.connect(addresses, Journal, timeout=50)
        with served(port):
            assert session.connected.wait(50)
            assert session.peer_address == server.getsockname()
            session.abort()
            assert session.closed.wait(DEADLINE_S)
        assert streams(port) == []


def test_unanswered_address_is_followed_after_a_quarter_of_a_second(
    port: CompletionPort, unanswered: Unanswered, no_errors_logged: None
) -> None:
    """The second one answers, not before its turn; the first is cancelled and closed."""
    with socket.create_server(LOCAL) as server:
        begun = time.monotonic()
        session = port.connect([unanswered.address, server.getsockname()], Journal)
        assert session.peer_address == unanswered.address
        with served(port):
            assert session.connected.wait(DEADLINE_S)
            assert 0.25 <= time.monotonic() - begun < 5
            assert session.peer_address == server.getsockname()
            assert eventually(lambda: "connect" not in port.in_flight_by_kind())
            assert len(streams(port)) == 1
            session.abort()
            assert session.closed.wait(DEADLINE_S)
    assert session.hooks == ["connect", "close"]


def test_second_of_two_winners_is_closed() -> None:
    """Both connects complete before either packet is dispatched: the first one wins.

    The seam has the first ConnectEx take as long as the turn of the second comes.
    """
    kernel = FaultyKernel()
    with (
        socket.create_server(LOCAL) as one,
        socket.create_server(LOCAL) as other,
        CompletionPort(kernel=kernel) as port,
    ):
        kernel.monotonic = lambda: time.monotonic() + shift[0]
        shift = [0.0]
        port._queue.timers._monotonic = kernel.monotonic
        session = port.connect([one.getsockname(), other.getsockname()], Journal)
        first = one.accept()[0]
        shift[0] += 1
        due: list[Any] = []
        port._queue.timers.pop_due(due)
        for timer, _, _ in due:
            timer.receiver(None, 0, 0)
        second = other.accept()[0]
        with served(port), first, second:
            assert session.connected.wait(DEADLINE_S)
            assert session.peer_address == one.getsockname()
            second.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert second.recv(1) == b""
            assert eventually(lambda: len(streams(port)) == 1)
            session.abort()
            assert session.closed.wait(DEADLINE_S)
    assert session.hooks == ["connect", "close"]


def test_all_errors_are_told(port: CompletionPort, refused: Any) -> None:
    """One class for all, so that `except ConnectionRefusedError` works, and each of them."""
    with socket.socket(SIX) as unused:
        unused.bind(("::1", 0))
        other = unused.getsockname()
    session = port.connect([refused, other], Journal)
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert session.hooks == ["close"]
    assert type(session.error) is ConnectRefusedError
    assert str(refused[1]) in str(session.error)
    group = session.error.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [type(error) for error in group.exceptions] == [ConnectRefusedError] * 2
    assert streams(port) == []


def test_deadline_covers_all_addresses(
    port: CompletionPort, unanswered: Unanswered, refused: Any
) -> None:
    """One is refused, one does not answer: TimeoutError, with what was learned until then."""
    session = port.connect([refused, unanswered.address], Journal, timeout=2.0)
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert type(session.error) is NetworkTimeoutError
    assert isinstance(session.error.__cause__, ExceptionGroup)
    assert [type(e) for e in session.error.__cause__.exceptions] == [ConnectRefusedError]
    assert streams(port) == []


@pytest.mark.parametrize("how", ["close", "abort"])
def test_racing_session_can_be_ended(
    port: CompletionPort, unanswered: Unanswered, how: str
) -> None:
    """Two attempts are under way, a third waits for its turn: all end, and on_close comes."""
    session = port.connect([unanswered.address] * 3, Journal, timeout=None)
    with served(port):
        assert eventually(lambda: port.in_flight_by_kind().get("connect") == 2)
        getattr(session, how)()
        assert session.closed.wait(DEADLINE_S)
        assert eventually(lambda: not port.sessions)
    assert session.hooks == ["close"]
    assert type(session.error) is ConnectionLostError
    assert port.in_flight_by_kind() == {}
    assert port._queue.timers.next_due() is None


@pytest.fixture
def slow_name(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A name whose look-up takes until the event is set; then it is this machine."""
    known = threading.Event()

    def answer(host: str) -> list[tuple[int, Any]]:
        assert known.wait(DEADLINE_S)
        return [(FOUR, ("127.0.0.1", 9))]

    look_ups(monkeypatch, answer)
    yield known
    known.set()


def test_look_up_does_not_block_the_port(
    port: CompletionPort, slow_name: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one name is being looked up, another connection is made and served."""
    listener = port.listen(LOCAL, Session)
    slow = port.connect(("slow.test", 9), Journal)
    assert slow.peer_address is None
    with served(port):
        other = port.connect(listener.address, Journal)
        assert other.connected.wait(DEADLINE_S)
        assert slow.hooks == []
        slow_name.set()
        assert slow.closed.wait(DEADLINE_S)
    assert slow.peer_address == ("127.0.0.1", 9)
    assert type(slow.error) is ConnectRefusedError


@pytest.mark.parametrize("end", ["abort", "timeout"])
def test_session_whose_name_is_looked_up_can_be_ended(
    port: CompletionPort, slow_name: threading.Event, end: str
) -> None:
    """It ends at once; the answer that comes after that is for nobody."""
    session = port.connect(("slow.test", 9), Journal, timeout=0.1 if end == "timeout" else None)
    with served(port):
        if end == "abort":
            session.abort()
        assert session.closed.wait(DEADLINE_S)
        slow_name.set()
        assert eventually(lambda: port._service.resolver._threads == 0)
    error = NetworkTimeoutError if end == "timeout" else ConnectionLostError
    assert type(session.error) is error
    assert session.hooks == ["close"]


def test_port_closes_while_a_name_is_looked_up(slow_name: threading.Event) -> None:
    port = CompletionPort()
    session = port.connect(("slow.test", 9), Journal)
    port.close()
    assert session.hooks == ["close"]
    slow_name.set()
    assert eventually(lambda: port._service.resolver._threads == 0)


def test_many_names_are_looked_up_by_a_few_threads(
    port: CompletionPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 sessions by name: each is told, by 16 threads at most, which then end."""
    most: list[int] = []

    def answer(host: str) -> list[tuple[int, Any]]:
        most.append(port._service.resolver._threads)
        raise socket.gaierror(socket.EAI_NONAME, host)

    look_ups(monkeypatch, answer)
    sessions = [port.connect((f"{n}.test", 9), Journal) for n in range(200)]
    with served(port):
        assert all(session.closed.wait(DEADLINE_S) for session in sessions)
        assert eventually(lambda: port._service.resolver._threads == 0)
    assert [str(n) + ".test" in str(session.error) for n, session in enumerate(sessions)] == [
        True
    ] * 200
    assert 1 <= max(most) <= 16


@pytest.mark.parametrize(
    ("error", "address", "arguments"),
    [
        (ValueError, [], {}),
        (TypeError, ["127.0.0.1"], {}),
        (TypeError, "127.0.0.1:80", {}),
        (ValueError, ("127.0.0.1", 65536), {}),
        (ValueError, ("a\0b", 80), {}),
        (ValueError, ("127.0.0.1", 80), {"timeout": 0}),
        (ValueError, ("127.0.0.1", 80), {"timeout": -1}),
    ],
)
def test_bad_arguments_are_refused(
    port: CompletionPort, error: type[Exception], address: Any, arguments: dict[str, Any]
) -> None:
    made: list[Any] = []
    with pytest.raises(error):
        port.connect(address, lambda: made.append(1), **arguments)  # type: ignore[arg-type]
    assert made == []
    assert port.sessions == set()
