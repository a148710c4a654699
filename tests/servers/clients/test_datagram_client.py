"""Clients of datagrams: a session on a socket of its own, whose peer may not be there."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from datagram_journal import LOCAL, DatagramJournal, Echo
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal
from journal import Made, eventually, served
from look_ups import FOUR, SIX, look_ups

from pyiocp import (
    CompletionPort,
    ConnectionLostError,
    IocpError,
    PeerResetError,
    SessionState,
    UnreachableError,
)
from pyiocp.winapi import SIO_UDP_CONNRESET, SOCKET_ERROR, WSAECONNRESET
from pyiocp.winapi.errorcodes import WSAENETUNREACH


class Asking(DatagramJournal):
    """Says hello as soon as it can."""

    def on_connect(self) -> None:
        super().on_connect()
        self.send(b"hello")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_client_and_server_on_one_port(port: CompletionPort, host: str) -> None:
    """An address of either family, and a name that is looked up meanwhile."""
    sessions = Made(Echo)
    server = port.serve_datagrams(("", 0), sessions, dual_stack=True)
    with served(port):
        client: Any = port.connect_datagram((host, server.address[1]), Asking)
        assert client.wait_received(1) == [b"hello"]
        assert client.state is SessionState.OPEN
        assert client.peer_address[1] == server.address[1]
        assert client.local_address[1] == sessions[0].peer_address[1]
        client.close()
        assert client.closed.wait(DEADLINE_S)
        assert eventually(lambda: port.sessions == {sessions[0]})
    assert (client.error, client.hooks) == (None, ["connect", "receive", "close"])


def test_nothing_happens_before_the_port_runs(port: CompletionPort) -> None:
    """The session is connecting, and takes nothing; `on_connect` is a worker's."""
    server = port.serve_datagrams(LOCAL, Echo)
    client: Any = port.connect_datagram(server.address, Asking)
    assert client.state is SessionState.CONNECTING
    assert (client.hooks, client.local_address) == ([], None)
    with pytest.raises(RuntimeError, match="before on_connect"):
        client.send(b"too early")
    assert port.broadcast([client], b"too early").connecting == [client]
    with pytest.raises(ValueError, match="at most 65507 bytes"):
        client.send(bytes(65508))
    with served(port):
        assert client.wait_received(1) == [b"hello"]


@pytest.mark.parametrize("method", ["close", "abort"])
def test_client_that_is_ended_before_it_begins(port: CompletionPort, method: str) -> None:
    client: Any = port.connect_datagram(("localhost", 9), Asking)
    getattr(client, method)()
    with served(port):
        assert client.closed.wait(DEADLINE_S)
        assert eventually(lambda: not port.sessions)
    assert client.hooks == ["close"]
    assert isinstance(client.error, ConnectionLostError)
    assert port.in_flight_by_kind() == {}


def test_name_that_nobody_has_comes_by_on_close(port: CompletionPort) -> None:
    client: Any = port.connect_datagram(("no-such-host.invalid", 9), Asking)
    with served(port):
        assert client.closed.wait(DEADLINE_S)
    assert client.hooks == ["close"]
    assert isinstance(client.error, socket.gaierror)


def test_address_that_there_is_no_way_to_comes_by_on_close() -> None:
    kernel = FaultyKernel()
    kernel.wrap("connect", Refusal(WSAENETUNREACH, SOCKET_ERROR))
    with CompletionPort(kernel=kernel) as port:
        client: Any = port.connect_datagram(LOCAL, Asking)
        with served(port):
            assert client.closed.wait(DEADLINE_S)
        assert isinstance(client.error, UnreachableError)
        assert client.hooks == ["close"]
        assert (port.in_flight, port.handles) == ({}, set())


@pytest.mark.parametrize("ended", [True, False])
def test_nobody_there_is_told_unless_not_wanted(ended: bool) -> None:
    """C04: the next receive fails, on the spot; the client ends with that, or goes on.

    The failure is the test's, the answer that comes after it, to whom goes on, is real.
    """
    kernel = FaultyKernel()
    refusal = Refusal(WSAECONNRESET, SOCKET_ERROR, times=3)
    kernel.wrap("WSARecvFrom", refusal)
    with CompletionPort(kernel=kernel) as port:
        refusal.enabled = False
        server = port.serve_datagrams(LOCAL, Echo)
        refusal.enabled = True
        client: Any = port.connect_datagram(server.address, Asking, report_unreachable=ended)
        with served(port):
            if ended:
                assert client.closed.wait(DEADLINE_S)
            else:
                assert client.wait_received(1) == [b"hello"]
    assert refusal.refused in ((1, 2, 3) if ended else (3,))
    if ended:
        assert client.hooks[-1] == "close"
        assert client.hooks.count("close") == 1
        assert isinstance(client.error, PeerResetError)
        assert isinstance(client.error, ConnectionResetError)
    else:
        assert client.hooks == ["connect", "receive", "close"]
        assert isinstance(client.error, ConnectionLostError)


def test_others_are_not_heard(port: CompletionPort) -> None:
    """The socket is connected: what a stranger sends to it is dropped by the system."""
    server = port.serve_datagrams(LOCAL, Echo)
    with served(port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        client: Any = port.connect_datagram(server.address, Asking)
        assert client.wait_received(1) == [b"hello"]
        stranger.bind(LOCAL)
        for _ in range(5):
            stranger.sendto(b"psst", client.local_address)
        client.send(b"again")
        assert client.wait_received(2) == [b"hello", b"again"]


def test_first_hook_that_raises_ends_the_client(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(DatagramJournal):
        def on_connect(self) -> None:
            raise ZeroDivisionError

    client: Any = port.connect_datagram(LOCAL, Failing)
    with served(port):
        assert client.closed.wait(DEADLINE_S)
        assert eventually(lambda: port.handles == set())
    assert isinstance(client.error.__cause__, ZeroDivisionError)
    caplog.clear()


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"datagram_size": 0}),
        (TypeError, {"factory": object}),
        (TypeError, {"address": "127.0.0.1:80"}),
        (ValueError, {"address": ("127.0.0.1", 70000)}),
    ],
)
def test_bad_arguments_are_refused(
    port: CompletionPort, error: type[Exception], arguments: dict[str, Any]
) -> None:
    with pytest.raises(error):
        port.connect_datagram(**{"address": LOCAL, "factory": Asking, **arguments})
    assert port.sessions == set()


def test_clients_that_come_and_go_leave_nothing(port: CompletionPort) -> None:
    """100 clients, each with a question and its answer: no handle, no memory is left."""
    server = port.serve_datagrams(LOCAL, Echo)
    with served(port, threads=2):
        for _ in range(100):
            client: Any = port.connect_datagram(server.address, Asking)
            assert client.wait_received(1) == [b"hello"]
            client.close()
            assert client.closed.wait(DEADLINE_S)
        server.close()
        assert eventually(lambda: port.handles == set() and not port.sessions)
        assert eventually(lambda: port.in_flight_by_kind() == {})


@pytest.mark.parametrize("addresses", [1, 2])
def test_port_keeps_no_client_that_has_ended(
    monkeypatch: pytest.MonkeyPatch, addresses: int
) -> None:
    """Not those of its sockets either at whose addresses nobody was: 20 clients are collected."""
    kernel = FaultyKernel()
    Nobody(kernel, 2**63)
    with CompletionPort(kernel=kernel) as port:
        server = port.serve_datagrams(LOCAL, Echo)
        address = both(monkeypatch, server.address[1]) if addresses == 2 else server.address
        ended: list[weakref.ref[Any]] = []
        with served(port):
            for _ in range(20):
                ended += one_client(port, address)
            assert eventually(lambda: gc.collect() < 0 or not any(ref() for ref in ended))


def one_client(port: CompletionPort, address: Any) -> list[weakref.ref[Any]]:
    """Connect a client until it is at an IPv4 address, and close it."""
    client: Any = port.connect_datagram(address, Asking)
    assert eventually(lambda: client.connected.is_set() and len(client.local_address) == 2)
    refs = [weakref.ref(client), weakref.ref(client._pyiocp._receives)]
    client.close()
    assert client.closed.wait(DEADLINE_S)
    return refs


def test_error_of_the_system_is_an_iocp_error() -> None:
    """No socket is to be had: that comes by `on_close`, as all that goes wrong."""
    kernel = FaultyKernel()
    refusing: Callable[..., int] = Refusal(10024, 2**64 - 1)
    kernel.wrap("WSASocketW", refusing)
    with CompletionPort(kernel=kernel) as port:
        client: Any = port.connect_datagram(LOCAL, Asking)
        with served(port):
            assert client.closed.wait(DEADLINE_S)
    assert isinstance(client.error, IocpError)
    assert client.error.winerror == 10024


# A name with several addresses


class Nobody:
    """A kernel's WSARecvFrom for which nobody is at the IPv6 addresses: as a host answers it.

    Wine 8 tells nobody of such answers.
    """

    def __init__(self, kernel: FaultyKernel, times: int) -> None:
        self.six: set[int] = set()
        self.refusal = Refusal(WSAECONNRESET, SOCKET_ERROR, times)
        self.reports: list[bool] = []
        """Of each socket, whether the system shall tell of such answers."""
        kernel.wrap("WSAIoctl", self._control)
        kernel.wrap("WSASocketW", self._open)
        kernel.wrap("WSARecvFrom", self._receive)

    def _open(self, real: Callable[..., int], family: int, *rest: Any) -> int:
        number = real(family, *rest)
        self.six.discard(number)  # numbers are used again
        if family == SIX:
            self.six.add(number)
        return number

    def _control(self, real: Callable[..., int], sock: int, code: int, *rest: Any) -> int:
        if code == SIO_UDP_CONNRESET:
            self.reports.append(bool(rest[0]._obj.value))
        return real(sock, code, *rest)

    def _receive(self, real: Callable[..., int], sock: Any, *rest: Any) -> Any:
        function = self.refusal if sock.value in self.six else lambda real, *all_: real(*all_)
        return function(real, sock, *rest)


def both(monkeypatch: pytest.MonkeyPatch, number: int) -> tuple[str, int]:
    """Return an address whose name has an IPv6 address, and then an IPv4 one."""
    found: list[Any] = [(SIX, ("::1", number, 0, 0)), (FOUR, ("127.0.0.1", number))]
    look_ups(monkeypatch, lambda _: found)
    return "both.test", number


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("times", [1, 3])
def test_client_goes_on_where_somebody_is(
    monkeypatch: pytest.MonkeyPatch, told: bool, times: int
) -> None:
    """C66: nobody is at the IPv6 address, which is the first: the server's is the IPv4 one.

    Whether or not the user wants to be told of that, and however often the host answers it. What
    was sent until then is lost.
    """
    kernel = FaultyKernel()
    nobody = Nobody(kernel, times)
    with CompletionPort(kernel=kernel) as port:
        server = port.serve_datagrams(LOCAL, Echo)
        address = both(monkeypatch, server.address[1])
        client: Any = port.connect_datagram(address, Asking, report_unreachable=told)
        with served(port):
            assert eventually(lambda: client.connected.is_set() and len(client.local_address) == 2)
            assert client.peer_address == server.address
            assert client.send(b"again")
            assert client.wait_received(1) == [b"again"]
            theirs = [handle for handle in port.handles if handle.key is client]
            assert [handle.family for handle in theirs] == [FOUR]  # type: ignore[attr-defined]
            # What another worker still has to tell of the socket before is of no account.
            client._pyiocp.on_end.__self__._unreachable(port.datagram()).work()
            assert client.state is SessionState.OPEN
            client.close()
            assert client.closed.wait(DEADLINE_S)
    assert 1 <= nobody.refusal.refused <= times
    assert nobody.reports[:3] == [False, True, told]  # the server's; while there is another address
    assert (client.hooks, client.error) == (["connect", "receive", "close"], None)


def test_client_at_whose_addresses_nobody_is_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """C66: after the last one, with the error of that."""
    kernel = FaultyKernel()
    refusal = Refusal(WSAECONNRESET, SOCKET_ERROR)
    kernel.wrap("WSARecvFrom", refusal)
    with CompletionPort(kernel=kernel) as port:
        client: Any = port.connect_datagram(both(monkeypatch, 9), Asking)
        with served(port):
            assert client.closed.wait(DEADLINE_S)
            assert eventually(lambda: not port.sessions)
            assert client.peer_address == ("127.0.0.1", 9)
            assert [handle for handle in port.handles if not handle.internal] == []
    assert client.hooks == ["connect", "close"]
    assert type(client.error) is PeerResetError


def test_client_that_was_answered_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """C66: once something has come from there, its going away is the end."""
    kernel = FaultyKernel()
    nobody = Nobody(kernel, 1)
    nobody.refusal.enabled = False
    with CompletionPort(kernel=kernel) as port:
        server = port.serve_datagrams(("::1", 0), Echo)
        client: Any = port.connect_datagram(both(monkeypatch, server.address[1]), Asking)
        with served(port):
            assert client.wait_received(1) == [b"hello"]
            nobody.six = {handle.number for handle in port.handles if handle.key is client}
            nobody.refusal.enabled = True
            client.send(b"more")
            assert client.closed.wait(DEADLINE_S)
            assert client.peer_address == server.address
    assert type(client.error) is PeerResetError


def test_client_without_a_way_to_one_family_takes_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C66: the system refuses IPv6 at once."""
    kernel = FaultyKernel()
    kernel.wrap("connect", Refusal(WSAENETUNREACH, SOCKET_ERROR, times=1))
    with CompletionPort(kernel=kernel) as port:
        server = port.serve_datagrams(LOCAL, Echo)
        client: Any = port.connect_datagram(both(monkeypatch, server.address[1]), Asking)
        with served(port):
            assert client.wait_received(1) == [b"hello"]
            assert client.peer_address == server.address
