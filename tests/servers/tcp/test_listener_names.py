"""Listening at a name: at all its addresses, on one port."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from faulty_kernel import FaultyKernel
from journal import Journal, Made, eventually, receive_all, served

from pyiocp import AddressUnavailableError, CompletionPort, Limits
from pyiocp.servers.resolve import resolve_passive
from pyiocp.winapi import SOCKADDR_IN, SOCKET_ERROR, WSAEADDRINUSE, WSAEADDRNOTAVAIL
from pyiocp.winapi.errorcodes import WSAEACCES

BOTH = "both.test"

IPV4_SIZE = ctypes.sizeof(SOCKADDR_IN)

ADDRESSES = {BOTH: ["::1", "127.0.0.1"], "lost.test": ["192.0.2.1", "127.0.0.1"]}


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the names above looked up here; Wine knows one address of localhost only."""
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, family: int, *arguments: Any) -> Any:
        if host not in ADDRESSES:
            return real(host, port, family, *arguments)
        if arguments[-1] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        found = []
        for each in ADDRESSES[host]:
            if family in (0, socket.AF_INET6 if ":" in each else socket.AF_INET):
                found += real(each, port, 0, socket.SOCK_STREAM, 0, 0) * 2  # some systems do
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def ask(host: str, number: int) -> bytes:
    """Return the answer to a client of one address."""
    with socket.create_connection((host, number), timeout=10) as peer:
        peer.sendall(b"ping")
        return receive_all(peer, 4)


def test_name_is_listened_at_on_all_its_addresses(port: CompletionPort) -> None:
    """C66: clients of ::1 and of 127.0.0.1, on one port that the system has chosen."""
    sessions = Made(Echo)
    listener = port.listen((BOTH, 0), sessions, accepts=2)
    number = listener.address[1]
    assert number != 0
    assert listener.addresses == [("::1", number, 0, 0), ("127.0.0.1", number)]
    assert listener.address == listener.addresses[0]
    assert port.in_flight_by_kind() == {"accept": 4}
    assert repr(listener).startswith(f"<Listener at [::1]:{number} and 127.0.0.1:{number}: ")
    with served(port):
        assert ask("::1", number) == ask("127.0.0.1", number) == b"ping"
    assert {session.peer_address[0] for session in sessions} == {"::1", "127.0.0.1"}
    assert listener.accepted == 2


def test_name_of_four_parts_is_listened_at_over_ipv6(port: CompletionPort) -> None:
    """With its scope: each link has its own."""
    listener = port.listen((BOTH, 0, 0, 0), Echo)
    assert [address[0] for address in listener.addresses] == ["::1"]
    assert resolve_passive((BOTH, 80, 0, 7)) == [(socket.AF_INET6, ("::1", 80, 0, 7))] * 2


def test_name_that_no_host_can_have_is_said(port: CompletionPort) -> None:
    """A label is too long; ``getaddrinfo`` says that by a UnicodeError."""
    with pytest.raises(socket.gaierror, match="no host can be called that"):
        port.listen(("a" * 64 + ".test", 0), Echo)


def test_numeric_address_is_one(port: CompletionPort) -> None:
    listener = port.listen(("127.0.0.1", 0), Echo)
    assert listener.addresses == [listener.address]


def test_limits_are_for_all_addresses_together(port: CompletionPort) -> None:
    listener = port.listen((BOTH, 0), Echo, limits=Limits(sessions=1))
    number = listener.address[1]
    with served(port), socket.create_connection(("::1", number), timeout=10) as first:
        first.sendall(b"ping")
        assert receive_all(first, 4) == b"ping"
        with socket.create_connection(("127.0.0.1", number), timeout=10) as second:
            assert eventually(lambda: listener.refused == 1)
            second.settimeout(10)
    assert listener.accepted == 1


@pytest.mark.parametrize("end", ["close", "shutdown"])
def test_pause_and_end_are_for_all_addresses(port: CompletionPort, end: str) -> None:
    listener = port.listen((BOTH, 0), Echo, accepts=2)
    number = listener.address[1]
    with served(port):
        listener.pause()
        assert eventually(lambda: port.in_flight_by_kind() == {})
        listener.resume()
        assert eventually(lambda: port.in_flight_by_kind() == {"accept": 4})
        assert ask("::1", number) == ask("127.0.0.1", number) == b"ping"
        getattr(listener, end)()
        assert listener.closed
        assert eventually(lambda: port.in_flight_by_kind() == {})
        for host in ("::1", "127.0.0.1"):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, number), timeout=10)
    assert port.listeners == set()


class Taken:
    """Has the system refuse to bind at IPv4 addresses, so many times."""

    def __init__(self, kernel: FaultyKernel, times: int, code: int = WSAEADDRINUSE) -> None:
        self.calls: list[int] = []
        self._times = times
        self._code = code
        kernel.wrap("bind", self._bind)

    def _bind(self, real: Callable[..., int], number: int, target: Any, size: int) -> int:
        if size == IPV4_SIZE and len(self.calls) < self._times:
            self.calls.append(number)
            ctypes.set_last_error(self._code)
            return int(SOCKET_ERROR)
        return real(number, target, size)


@pytest.mark.parametrize("code", [WSAEADDRINUSE, WSAEACCES])
def test_port_that_is_taken_at_the_other_address_is_left(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], code: int
) -> None:
    """C66: the system's choice for ::1 is another's at 127.0.0.1, five times over.

    The second code is that of a port that somebody has for itself alone.
    """
    taken = Taken(kernel, 5, code)
    port = open_port()
    listener = port.listen((BOTH, 0), Echo)
    assert len(taken.calls) == 5
    assert len({address[1] for address in listener.addresses}) == 1
    assert len(listener.addresses) == 2
    assert len(port.handles) == 2


def test_no_port_for_all_addresses_is_said(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """It gives up in the end; and at once, if a certain port was asked for."""
    taken = Taken(kernel, 100)
    port = open_port()
    with pytest.raises(AddressUnavailableError):
        port.listen((BOTH, 0), Echo)
    assert 1 < len(taken.calls) < 50
    taken.calls.clear()
    with pytest.raises(AddressUnavailableError):
        port.listen((BOTH, 47_991), Echo)
    assert len(taken.calls) == 1
    assert port.handles == set()
    assert port.listeners == set()


def test_address_that_this_machine_lacks_is_left_out(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """As asyncio does: a name often has an address of a family that is switched off."""
    listener = port.listen(("lost.test", 0), Echo)
    assert [address[0] for address in listener.addresses] == ["127.0.0.1"]
    assert "192.0.2.1" in caplog.text
    with served(port):
        assert ask("127.0.0.1", listener.address[1]) == b"ping"
    caplog.clear()


def test_no_address_at_all_is_an_error(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], caplog: Any
) -> None:
    Taken(kernel, 1, WSAEADDRNOTAVAIL)
    port = open_port()
    ADDRESSES["none.test"] = ["127.0.0.1", "192.0.2.1"]
    with pytest.raises(AddressUnavailableError):
        port.listen(("none.test", 0), Echo)
    assert port.handles == set()
    caplog.clear()


def test_all_addresses_are_shared() -> None:
    """What share() gives is both sockets; the other listener serves when this one is paused."""
    with CompletionPort() as port, CompletionPort() as other:
        listener = port.listen((BOTH, 0), Echo)
        second = other.listen(listener.share(os.getpid()), Echo)
        assert second.addresses == listener.addresses
        listener.close()
        number = second.address[1]
        with served(port), served(other):
            assert ask("::1", number) == ask("127.0.0.1", number) == b"ping"
        assert second.accepted == 2
