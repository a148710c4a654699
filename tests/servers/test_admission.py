"""Limits: who is let in, who is reset, and who waits."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from deadline import DEADLINE_S
from disturbance import ROUNDS_MAX, Alarm, Disturbance
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort, Limits, PeerResetError, Session
from pyiocp.servers.admission import Admission, Slot, network_of

LOCAL = ("127.0.0.1", 0)


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


class Clock:
    """A clock that stands."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def the_end(peer: socket.socket) -> bytes:
    """Receive until the end, which may be a reset."""
    try:
        return receive_all(peer)
    except ConnectionError:
        return b""


def peer_of(host: str) -> Any:
    return (host, 1) if ":" not in host else (host, 1, 0, 0)


def test_sessions_over_the_limit_are_reset(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """Two may come in; five more are reset, which is logged once; one leaves, another comes."""
    listener = port.listen(LOCAL, Echo, limits=Limits(sessions=2))
    with served(port):
        first, second = connect(listener), connect(listener)
        for peer in (first, second):
            peer.sendall(b"ping")
            assert receive_all(peer, 4) == b"ping"
        for _ in range(5):
            with connect(listener) as peer:
                assert the_end(peer) == b""
        assert len(listener.sessions) == 2
        first.close()
        assert eventually(lambda: len(listener.sessions) == 1)
        with connect(listener) as third:
            third.sendall(b"ping")
            assert receive_all(third, 4) == b"ping"
        second.close()
        assert eventually(lambda: not listener.sessions)
    assert (listener.accepted, listener.refused, listener.failed) == (3, 5, 0)
    assert caplog.text.count("refused by now") == 1
    assert "sessions=2" in caplog.text
    caplog.clear()


def test_refused_connections_are_reset(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of them lingers: a client that waits for bytes gets an RST.

    It waits already when it is refused: it is on a port of its own, and the listener's port
    is served after that. (Wine reports a reset that came before the receive as an end.)
    """
    listener = port.listen(LOCAL, Echo, limits=Limits(sessions=1))
    with connect(listener), CompletionPort() as other:
        client = other.connect(listener.address, Journal)
        with served(other):
            assert client.connected.wait(10)
            assert eventually(lambda: "receive" in other.in_flight_by_kind())
            assert eventually(lambda: port.wait(0.01) == [] and listener.refused == 1)
            assert client.closed.wait(10)
    assert type(client.error) is PeerResetError
    caplog.clear()


def test_place_of_a_session_that_could_not_be_made_is_free_again(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """C03 with a limit of one session: the factory fails three times, and then does not."""
    calls: list[int] = []

    def factory() -> Session:
        calls.append(1)
        if len(calls) < 4:
            raise ZeroDivisionError
        return Echo()

    limits = Limits(sessions=1, sessions_per_address=1)
    listener = port.listen(LOCAL, factory, limits=limits)
    with served(port):
        for _ in range(3):
            with connect(listener) as peer:
                assert receive_all(peer) == b""
        with connect(listener) as peer:
            peer.sendall(b"ping")
            assert receive_all(peer, 4) == b"ping"
    assert (listener.accepted, listener.failed, listener.refused) == (1, 3, 0)
    caplog.clear()


def test_too_many_in_a_second_wait_and_are_all_served(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """20 a second; 30 come at once: the last of them is half a second late, none is refused."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, accepts=4, limits=Limits(per_second=20))
    with served(port):
        begun = time.monotonic()
        peers = [connect(listener) for _ in range(30)]
        for peer in peers:
            peer.sendall(b"ping")
        assert [receive_all(peer, 4) for peer in peers] == [b"ping"] * 30
        assert time.monotonic() - begun >= 0.45
        for peer in peers:
            peer.close()
        assert eventually(lambda: not port.sessions)
    assert (listener.accepted, listener.refused) == (30, 0)


def test_connection_that_waits_for_its_turn_is_closed_with_the_port() -> None:
    with CompletionPort() as port:
        listener = port.listen(LOCAL, Echo, accepts=1, limits=Limits(per_second=0.01))
        with served(port):
            first, second = connect(listener), connect(listener)
            first.sendall(b"ping")
            assert receive_all(first, 4) == b"ping"
            assert eventually(lambda: port.in_flight_by_kind().get("accept", 0) == 0)
    assert receive_all(second) == b""
    first.close()
    second.close()
    assert listener.accepted == 1


def test_limits_of_an_address_do_not_touch_others() -> None:
    clock = Clock()
    admission = Admission(Limits(sessions_per_address=2, per_second_per_address=4), clock)
    one, other = peer_of("192.0.2.1"), peer_of("192.0.2.2")
    assert [admission.enter(one) for _ in range(2)] == [None, None]
    assert admission.enter(one) == "sessions_per_address"
    assert admission.enter(other) is None
    for _ in range(2):
        admission.leave(one)
        assert admission.enter(one) is None
    admission.leave(one)
    assert admission.enter(one) == "per_second_per_address"
    assert admission.enter(other) is None
    clock.now += 0.3
    assert admission.enter(one) is None


@pytest.mark.parametrize(("rate", "at_once"), [(5, 5), (1, 1), (0.5, 1), (2.5, 2)])
def test_a_seconds_worth_may_come_at_once(rate: float, at_once: int) -> None:
    """Then one at a time, at their distance; nothing is saved up for longer than a second."""
    clock = Clock()
    admission = Admission(Limits(per_second=rate), clock)
    for _ in range(2):
        waits = [admission.wait() for _ in range(at_once + 3)]
        assert waits[:at_once] == [0.0] * at_once
        assert waits[at_once] > 0
        steps = [b - a for a, b in zip(waits[at_once:], waits[at_once + 1 :], strict=False)]
        assert steps == pytest.approx([1 / rate] * 2)
        clock.now += 3600


def test_addresses_that_have_gone_are_forgotten() -> None:
    """100,000 addresses, each once: the table stays near what came in the last second."""
    clock = Clock()
    admission = Admission(Limits(sessions_per_address=1, per_second_per_address=1), clock)
    most = 0
    for n in range(100_000):
        peer = (socket.inet_ntoa(n.to_bytes(4, "big")), 1)
        assert admission.enter(peer) is None
        admission.leave(peer)
        clock.now += 0.001
        most = max(most, len(admission._addresses))
    assert most <= 4096


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%7", "fe80::2", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (network_of(peer_of(one)) == network_of(peer_of(other))) is same


@pytest.mark.parametrize(
    "limits",
    [{"sessions": 0}, {"sessions_per_address": 0}, {"per_second": 0}, {"per_second": -1.0}],
)
def test_impossible_limits_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        Limits(**limits)


def test_limits_must_be_limits(port: CompletionPort) -> None:
    with pytest.raises(TypeError, match="limits must be a Limits"):
        port.listen(LOCAL, Echo, limits={"sessions": 5})  # type: ignore[arg-type]
    assert port.handles == set()


class Handled(Disturbance):
    """Has a signal handler that raises nothing come at the nth place."""

    def __init__(self, handler: Callable[[], object], n: int, modules: set[str]) -> None:
        super().__init__(Alarm, n, modules)
        self._handle = handler  # type: ignore[method-assign]


def handled_everywhere(
    function: Callable[[], object], handler: Callable[[], object], modules: set[str]
) -> None:
    """Call a function, with the handler at each place in turn; in a thread that may wait for ever.

    A thread that waits for itself is no more than left behind: the test fails.
    """
    rounds: list[bool] = []

    def run() -> None:
        for n in range(1, ROUNDS_MAX):
            with Handled(handler, n, modules) as disturbance:
                function()
            rounds.append(bool(disturbance.where))
            if not disturbance.where:
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert len(rounds) > 3, "it waits for itself"
    assert rounds == [True] * (len(rounds) - 1) + [False]


def test_signal_handler_may_end_sessions_while_one_is_counted() -> None:
    """It shuts the server down, say, and interrupts the main thread in the limits themselves."""
    admission = Admission(
        Limits(sessions=9, sessions_per_address=9, per_second=1000, per_second_per_address=1000),
        Clock(),
    )

    def come_and_go(peer: Any) -> None:
        slot = Slot(admission, True)
        assert admission.enter(peer, slot) is None
        admission.wait()
        assert admission.refusing(peer) is None
        slot.established()
        slot.leave()
        assert admission.enter(peer) is None
        admission.leave(peer)

    def come_and_go_again() -> None:
        for n in range(2):
            come_and_go((f"10.0.0.{n}", 1))

    admission._sweep_at = 0
    handled_everywhere(lambda: come_and_go(("10.0.0.1", 1)), come_and_go_again, {"admission"})
    assert (admission._sessions, admission._handshakes) == (0, 0)
    assert [a for a in admission._addresses.values() if a.sessions or a.handshakes] == []
