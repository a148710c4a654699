"""Crowds that connect and then say nothing: they cost their own address, and nobody else.

The crowd comes from another address of the loopback. How many newcomers are served beside it is
compared with how many are without it.
"""

from __future__ import annotations

from typing import Any

import pytest
from deadline import DEADLINE_S
from journal import Journal, connect, eventually, receive_all, served
from newcomers import Crowd, Newcomers
from tls_context import client_context, server_context

from pyiocp import CompletionPort, Limits, Session

LOCAL = ("127.0.0.1", 0)

SECONDS = 1.5

SIZES = [
    pytest.param(150, 1, id="short"),
    pytest.param(1000, 20, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
]
"""How many silent clients come, and how many times."""

HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01"
"""The first bytes of a TLS handshake that is never finished."""


class Echo(Session):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        self.send(data)


def worst_beside_crowds(
    address: Any, tls: Any, count: int, times: int, sending: bytes = b""
) -> tuple[int, int]:
    """Return how many newcomers are served alone, and beside the worst of the crowds."""
    with Newcomers(address, tls) as newcomers:
        alone = newcomers.served_in(SECONDS)
        beside = []
        for _ in range(times):
            with Crowd(address, "127.0.0.2", count, sending):
                beside.append(newcomers.served_in(SECONDS))
        return alone, min(beside)


@pytest.mark.parametrize(("count", "times"), SIZES)
def test_clients_without_first_data_shut_nobody_out(
    port: CompletionPort,
    count: int,
    times: int,
    record_property: Any,
) -> None:
    """C68: they have one address, which is allowed 8 sessions: the rest of them is refused.

    The listener's own 8 accepts are occupied by silent ones, whose address is not known yet.
    """
    limits = Limits(sessions=100, sessions_per_address=8)
    listener = port.listen(
        LOCAL, Echo, accepts=8, first_data=64, first_data_timeout=60, limits=limits
    )
    with served(port):
        alone, beside = worst_beside_crowds(listener.address, None, count, times)
        record_property("newcomers alone", alone)
        record_property("newcomers beside the silent ones", beside)
        assert beside > alone / 4
        assert listener.refused >= (count - 16) * times
        # All of it comes back.
        assert eventually(lambda: not listener._acceptors[0].waiting)
        assert eventually(lambda: listener._admission._sessions == 0)
        assert eventually(lambda: port.in_flight_by_kind() == {"accept": 8})


def test_silent_client_of_a_plain_accept_has_its_time_too(port: CompletionPort) -> None:
    """C34, C68: with all accepts occupied, others wait elsewhere for first data; not for ever.

    One of them speaks in time, and becomes a session.
    """
    listener = port.listen(LOCAL, Journal, accepts=2, first_data=16, first_data_timeout=2)
    with served(port):
        silent = [connect(listener) for _ in range(2)]
        acceptor = listener._acceptors[0]
        assert eventually(lambda: port.in_flight_by_kind().get("accept", 0) == 4)
        silent += [connect(listener) for _ in range(3)]
        assert eventually(lambda: len(acceptor.waiting) == 3)
        silent[4].sendall(b"ping")
        assert eventually(lambda: listener.accepted == 1)
        assert len(acceptor.waiting) == 2
        assert [receive_all(peer) for peer in silent[:4]] == [b""] * 4
        assert eventually(lambda: listener.silent == 4)
        for peer in silent:
            peer.close()
        assert eventually(lambda: port.in_flight_by_kind() == {"accept": 2})
    assert (listener.accepted, listener.failed) == (1, 0)


def test_closing_closes_those_who_have_not_spoken(port: CompletionPort) -> None:
    """As the accepts of a closed listener, so those who wait elsewhere."""
    listener = port.listen(LOCAL, Journal, accepts=1, first_data=16)
    with served(port):
        silent = [connect(listener)]
        assert eventually(lambda: port.in_flight_by_kind().get("accept", 0) == 2)
        silent.append(connect(listener))
        assert eventually(lambda: len(listener._acceptors[0].waiting) == 1)
        listener.close()
        for peer in silent:
            assert receive_all(peer) == b""
            peer.close()
        assert eventually(lambda: port.in_flight_by_kind() == {})
    assert listener.accepted == 0


@pytest.mark.parametrize("sending", [b"", HELLO_BEGUN], ids=["nothing", "a beginning"])
@pytest.mark.parametrize(("count", "times"), SIZES)
def test_handshakes_that_never_end_shut_nobody_out(
    port: CompletionPort,
    count: int,
    times: int,
    sending: bytes,
    record_property: Any,
) -> None:
    """C68: they count against their address, and in all; who has finished does not."""
    limits = Limits(sessions=100, handshakes=20, handshakes_per_address=8)
    listener = port.listen(LOCAL, Echo, tls=server_context(), limits=limits)
    tls = client_context()
    with served(port):
        alone, beside = worst_beside_crowds(listener.address, tls, count, times, sending)
        record_property("newcomers alone", alone)
        record_property("newcomers beside unfinished handshakes", beside)
        assert beside > alone / 4
        assert listener.refused >= (count - 8) * times
        assert eventually(lambda: listener._admission._handshakes == 0)
        assert eventually(lambda: listener._admission._sessions == 0)


def test_established_sessions_are_no_handshakes(port: CompletionPort) -> None:
    """One handshake at a time may be under way: five sessions come, one after the other."""
    limits = Limits(handshakes=1, handshakes_per_address=1)
    listener = port.listen(LOCAL, Journal, tls=server_context(), limits=limits)
    with CompletionPort() as other, served(other), served(port):
        for n in range(5):
            client = other.connect(
                listener.address, Journal, tls=client_context(), server_hostname="localhost"
            )
            assert client.connected.wait(DEADLINE_S)
            assert eventually(lambda n=n: listener._admission._handshakes == 0)
            assert len(listener.sessions) == n + 1
    assert listener.refused == 0
