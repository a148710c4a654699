"""Where clients connect from, and the ports that they take."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from datagram_journal import DatagramJournal, Echo
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal
from journal import Journal, Made, eventually, served

from pyiocp import (
    AddressUnavailableError,
    Backoff,
    CompletionPort,
    ConnectionPool,
    ResourceLimitError,
    Session,
    explain,
)
from pyiocp.errors import SOCKET_WINERROR_OF, IocpError, error_of_code, error_of_status
from pyiocp.winapi import (
    SO_REUSE_UNICASTPORT,
    SOCKET_ERROR,
    SOL_SOCKET,
    WSAENOBUFS,
)
from pyiocp.winapi.errorcodes import (
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_TOO_MANY_ADDRESSES,
    WSAENOPROTOOPT,
)

LOCAL = ("127.0.0.1", 0)


# local_address


@pytest.mark.parametrize(
    ("server", "local", "seen"),
    [
        ("127.0.0.1", ("127.0.0.5", 0), "127.0.0.5"),
        ("127.0.0.1", ("", 0), "127.0.0.1"),
        ("::1", ("::1", 0), "::1"),
        ("::1", ("::1", 0, 0, 0), "::1"),
        ("::1", ("", 0), "::1"),
    ],
)
def test_connection_comes_from_the_local_address(
    port: CompletionPort, no_errors_logged: None, server: str, local: Any, seen: str
) -> None:
    """Both sides see it; an empty host is any of either family."""
    sessions = Made(Journal)
    listener = port.listen((server, 0), sessions)
    session: Any = port.connect(listener.address, Journal, local_address=local)
    with served(port):
        assert session.connected.wait(DEADLINE_S)
        assert session.local_address[0] == seen
        assert eventually(lambda: bool(sessions))
        assert sessions[0].peer_address[:2] == session.local_address[:2]
        session.close()
        assert session.closed.wait(DEADLINE_S)


def test_connection_comes_from_a_port_of_ones_own(port: CompletionPort) -> None:
    """One connection; while it stands the next has the error of the bind."""
    listener = port.listen(LOCAL, Session)
    with socket.socket() as free:
        free.bind(LOCAL)
        local = free.getsockname()
    first: Any = port.connect(listener.address, Journal, local_address=local)
    with served(port):
        assert first.connected.wait(DEADLINE_S)
        assert first.local_address == local
        second: Any = port.connect(listener.address, Journal, local_address=local)
        assert second.closed.wait(DEADLINE_S)
        first.abort()
        assert first.closed.wait(DEADLINE_S)
    assert type(second.error) is AddressUnavailableError
    assert second.error.function == "bind"


def test_address_of_another_machine_comes_by_on_close(port: CompletionPort) -> None:
    listener = port.listen(LOCAL, Session)
    session: Any = port.connect(listener.address, Journal, local_address=("192.0.2.1", 0))
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert type(session.error) is AddressUnavailableError
    assert (session.error.function, session.hooks) == ("bind", ["close"])


def test_client_that_comes_back_comes_from_the_same_address(port: CompletionPort) -> None:
    made, sessions = Made(Journal), Made(Session)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        client = port.keep_connected(
            listener.address,
            made,
            backoff=Backoff(first=0.01, maximum=0.05),
            local_address=("127.0.0.6", 0),
        )
        for number in range(2):
            assert eventually(lambda: len(made) > number)  # noqa: B023
            assert made[number].connected.wait(DEADLINE_S)
            assert made[number].local_address[0] == "127.0.0.6"
            made[number].abort()
        client.close()
        assert eventually(lambda: client.session is None)
    assert {session.peer_address[0] for session in sessions} == {"127.0.0.6"}


def test_datagrams_come_from_the_local_address(port: CompletionPort) -> None:
    class Asking(DatagramJournal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(b"hello")

    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(LOCAL)
        local = free.getsockname()  # a port: Wine 8 binds every datagram socket to all hosts
    client: Any = port.connect_datagram(server.address, Asking, local_address=local)
    with served(port):
        assert client.wait_received(1) == [b"hello"]
        assert client.local_address == sessions[0].peer_address == local


@pytest.mark.parametrize(
    ("error", "local", "message"),
    [
        (TypeError, "127.0.0.1", "is a tuple"),
        (TypeError, ("127.0.0.1",), "is a tuple"),
        (ValueError, ("localhost", 0), "numeric"),
        (ValueError, ("127.0.0.1", 70000), "0 to 65535"),
        (ValueError, ("::1", 0), "is not of IPv6"),
    ],
)
def test_bad_local_addresses_are_refused(
    port: CompletionPort, error: type[Exception], local: Any, message: str
) -> None:
    """By each kind of client, in the call; a numeric address of another family is one, too."""
    made = Made(Journal)
    for connect in (port.connect, port.keep_connected, port.connect_datagram):
        with pytest.raises(error, match=message):
            connect(("127.0.0.1", 9), made, local_address=local)  # type: ignore[operator]
    with pytest.raises(error, match=message):
        ConnectionPool(port, ("127.0.0.1", 9), made, local_address=local)
    assert (made, port.sessions) == ([], set())


# The ports that connections take


class Binds(FaultyKernel):
    """Writes down which sockets share local ports, and which are bound."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []
        self.wrap("setsockopt", self._set)
        self.wrap("bind", self._bound)

    def _set(self, real: Any, number: int, level: int, option: int, *rest: Any) -> Any:
        if (level, option) == (SOL_SOCKET, SO_REUSE_UNICASTPORT):
            self.calls.append(("share", number))
            assert (rest[0]._obj.value, rest[1]) == (1, 4)
        return real(number, level, option, *rest)

    def _bound(self, real: Any, number: int, *rest: Any) -> Any:
        self.calls.append(("bind", number))
        return real(number, *rest)


@pytest.mark.parametrize(
    ("local", "shared"), [(None, True), (("127.0.0.1", 0), True), (("127.0.0.1", 1), False)]
)
def test_local_ports_are_shared_before_the_bind(local: Any, shared: bool) -> None:
    """C50: for every connect whose port the system chooses: with another the user wants that."""
    kernel = Binds()
    with CompletionPort(kernel=kernel) as port, socket.create_server(LOCAL) as server:
        if local and local[1]:
            with socket.socket() as free:
                free.bind(LOCAL)
                local = free.getsockname()
        session: Any = port.connect(server.getsockname(), Journal, local_address=local)
        with served(port):
            assert session.connected.wait(DEADLINE_S)
    number = kernel.calls[0][1]
    mine = [name for name, each in kernel.calls if each == number]
    assert mine[: mine.index("bind") + 1] == (["share", "bind"] if shared else ["bind"])


def test_streams_of_ring_2_share_local_ports() -> None:
    """C50: before the bind that ConnectEx needs; it is no option of the user's to be set again."""
    kernel = Binds()
    with CompletionPort(kernel=kernel) as port, socket.create_server(LOCAL) as server:
        stream = port.stream()
        stream.connect(server.getsockname())
        assert kernel.calls == [("share", stream.number), ("bind", stream.number)]
        assert stream._options is None
        assert port.wait(DEADLINE_S)


def test_system_without_that_option_connects_all_the_same() -> None:
    """C50: before Windows 10 there is none."""
    kernel = FaultyKernel()
    refusal = Refusal(WSAENOPROTOOPT, SOCKET_ERROR)

    def set_option(real: Any, number: int, level: int, option: int, *rest: Any) -> Any:
        function = refusal if option == SO_REUSE_UNICASTPORT else lambda real, *all_: real(*all_)
        return function(real, number, level, option, *rest)

    kernel.wrap("setsockopt", set_option)
    with CompletionPort(kernel=kernel) as port, socket.create_server(LOCAL) as server:
        session: Any = port.connect(server.getsockname(), Journal)
        with served(port):
            assert session.connected.wait(DEADLINE_S)
    assert refusal.refused == 1


@pytest.mark.parametrize("function", ["bind", "ConnectEx"])
def test_want_of_local_ports_is_told_as_that(function: str) -> None:
    """C50: a connect for which there is no port left says so, and no word of locked memory."""
    kernel = FaultyKernel()
    refusal = Refusal(WSAENOBUFS, 0 if function == "ConnectEx" else SOCKET_ERROR)
    refusal.enabled = False
    kernel.wrap(function, refusal)
    with CompletionPort(kernel=kernel) as port:
        port.wait(0)
        refusal.enabled = True
        session: Any = port.connect(("127.0.0.1", 9), Journal)
        with served(port):
            assert session.closed.wait(DEADLINE_S)
    assert type(session.error) is ResourceLimitError
    assert f"{function} failed with WSAENOBUFS (10055): no local port is left" in str(session.error)
    assert "locked" not in str(session.error)
    assert "no local port is left" in str(explain(session.error)).lower()


def test_want_of_memory_is_told_as_that() -> None:
    """C50: by the kernel's status, if there is one; and of all that takes no port."""
    pairs: list[tuple[IocpError, str]] = [
        (error_of_code("WSARecv", WSAENOBUFS), "too much memory is locked"),
        (
            error_of_status("ConnectEx", STATUS_INSUFFICIENT_RESOURCES, None, SOCKET_WINERROR_OF),
            "too much memory is locked",
        ),
        (
            error_of_status("ConnectEx", STATUS_TOO_MANY_ADDRESSES, None, SOCKET_WINERROR_OF),
            "no local port is left",
        ),
    ]
    for error, words in pairs:
        assert error.winerror == WSAENOBUFS
        assert words in str(error)
