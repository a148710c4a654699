"""Looking names up: who waits for one is not held up by those that nobody waits for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from datagram_journal import DatagramJournal
from deadline import DEADLINE_S
from journal import Journal, Made, eventually, served
from look_ups import FOUR, SIX, look_ups

from pyiocp import (
    Backoff,
    CompletionPort,
    ConnectRefusedError,
    IocpError,
    NetworkTimeoutError,
    Session,
)
from pyiocp.servers import resolver
from pyiocp.winapi.errorcodes import WSAHOST_NOT_FOUND

LOCAL = ("127.0.0.1", 0)


class Names:
    """Names of which those that begin with "slow" have no answer until `known` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known = threading.Event()
        self.asked: list[str] = []
        self.families = [(FOUR, ("127.0.0.1", 9))]
        look_ups(monkeypatch, self._answer)

    def _answer(self, host: str) -> list[tuple[int, Any]]:
        self.asked.append(host)
        if host.startswith("slow"):
            assert self.known.wait(60)
        return self.families


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names(monkeypatch)
    yield names
    names.known.set()


def threads(port: CompletionPort) -> int:
    return port._service.resolver._threads


@pytest.mark.parametrize("end", ["timeout", "abort", "datagram"])
def test_look_ups_that_were_given_up_are_in_nobodys_way(
    port: CompletionPort, names: Names, end: str
) -> None:
    """C43: 40 of them, none of which gets an answer: another name is looked up at once.

    They were given up by their time-outs, or by who had begun them.
    """
    with served(port):
        slow: list[Any] = []
        for number in range(40):
            address = (f"slow{number}.test", 9)
            if end == "datagram":
                slow.append(port.connect_datagram(address, DatagramJournal))
            else:
                timeout = 0.05 if end == "timeout" else None
                slow.append(port.connect(address, Journal, timeout=timeout))
        if end != "timeout":
            assert eventually(lambda: len(names.asked) == 16)
            for session in slow:
                session.abort()
        assert all(session.closed.wait(DEADLINE_S) for session in slow)
        other = port.connect(("quick.test", 9), Journal)
        assert other.closed.wait(DEADLINE_S)
        assert not names.known.is_set()
        names.known.set()
        assert eventually(lambda: threads(port) == 0)
    assert type(other.error) is ConnectRefusedError
    # Who had not had their turn yet were not looked up any more.
    assert len(names.asked) <= 40 + 1
    assert port._service.resolver._under_way == set()


def test_threads_of_look_ups_have_a_bound(
    port: CompletionPort, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C43: when all of them are in look-ups that nobody waits for, the next waits for one."""
    monkeypatch.setattr(resolver, "THREADS_MAX", 20)
    with served(port):
        for number in range(60):
            session: Any = port.connect((f"slow{number}.test", 9), Journal, timeout=0.01)
            assert session.closed.wait(DEADLINE_S)
        assert threads(port) == 20
        assert len(port._service.resolver._wanted) == 0  # nothing of the other 40 is kept
        other: Any = port.connect(("quick.test", 9), Journal)
        assert "quick.test" not in names.asked
        names.known.set()
        assert other.closed.wait(DEADLINE_S)
        assert eventually(lambda: threads(port) == 0)
    assert type(other.error) is ConnectRefusedError


def test_client_that_keeps_trying_holds_up_nobody(port: CompletionPort, names: Names) -> None:
    """C43: its look-ups never end, one after the other is given up; others get through."""
    made = Made(Journal)
    with served(port):
        client = port.keep_connected(
            ("slow.test", 9), made, timeout=0.01, backoff=Backoff(first=0.001, maximum=0.001)
        )
        assert eventually(lambda: len(names.asked) > 20)
        other: Any = port.connect(("quick.test", 9), Journal)
        assert other.closed.wait(DEADLINE_S)
        client.close()
        assert made[0].closed.wait(DEADLINE_S)
        names.known.set()
        assert eventually(lambda: threads(port) == 0)
    assert len(made) == 1


def test_time_out_of_a_look_up_says_so(port: CompletionPort, names: Names) -> None:
    """C43: it is no connect that took too long."""
    session: Any = port.connect(("slow.test", 9), Journal, timeout=0.05)
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert type(session.error) is NetworkTimeoutError
    assert session.error.function == "getaddrinfo"
    assert "getaddrinfo failed with WSAETIMEDOUT" in str(session.error)
    assert "slow.test:9" in str(session.error)


def test_time_out_of_a_connect_says_so(port: CompletionPort, unanswered: Any) -> None:
    session: Any = port.connect(unanswered.address, Journal, timeout=0.05)
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert session.error.function == "ConnectEx"


def test_unknown_name_is_in_the_error(port: CompletionPort) -> None:
    """C43: the function, the name and the code: by the system's own look-up."""
    session: Any = port.connect(("no-such-host.invalid", 9), Journal)
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert type(session.error) is socket.gaierror
    assert session.error.errno == WSAHOST_NOT_FOUND
    assert "getaddrinfo('no-such-host.invalid') failed with WSAHOST_NOT_FOUND (11001)" in str(
        session.error
    )


def test_several_unknown_names_are_all_told(port: CompletionPort) -> None:
    session: Any = port.connect([("no-host.invalid", 9), ("a..b", 9)], Journal)
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert "'a..b'" in str(session.error)
    assert [type(error) for error in session.error.__cause__.exceptions] == [socket.gaierror] * 2
    assert "no-host.invalid" in str(session.error.__cause__.exceptions[0])


def test_look_up_that_breaks_is_told_and_leaves_nothing(
    port: CompletionPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C43: whatever it raises, its place comes back: 40 times, and then one that works."""

    def answer(host: str) -> list[tuple[int, Any]]:
        if host == "good.test":
            return [(FOUR, ("127.0.0.1", 9))]
        raise MemoryError

    look_ups(monkeypatch, answer)
    with served(port):
        broken: list[Any] = [port.connect((f"{n}.test", 9), Journal) for n in range(40)]
        assert all(session.closed.wait(DEADLINE_S) for session in broken)
        assert all(isinstance(session.error.__cause__, MemoryError) for session in broken)
        good: Any = port.connect(("good.test", 9), Journal)
        assert good.closed.wait(DEADLINE_S)
        assert eventually(lambda: threads(port) == 0)
    assert type(good.error) is ConnectRefusedError


def test_name_with_flow_information_is_looked_up_in_its_family(
    port: CompletionPort, names: Names, no_errors_logged: None
) -> None:
    """C47: an address of four parts may have a name: only its IPv6 addresses are taken."""
    with socket.create_server(("::1", 0), family=SIX) as server:
        number = server.getsockname()[1]
        names.families = [(FOUR, ("127.0.0.1", number)), (SIX, ("::1", number, 0, 0))]
        session: Any = port.connect(("both.test", number, 0, 0), Journal)
        with served(port):
            assert session.connected.wait(DEADLINE_S)
            assert session.peer_address == ("::1", number, 0, 0)
            session.abort()
            assert session.closed.wait(DEADLINE_S)


def test_name_without_an_address_of_the_family_is_unknown(
    port: CompletionPort, names: Names
) -> None:
    """Of four parts, or with a local address of IPv6: IPv4 is of no use."""
    with served(port):
        for address, local in ((("four.test", 9, 0, 0), None), (("four.test", 9), ("::1", 0))):
            session: Any = port.connect(address, Journal, local_address=local)
            assert session.closed.wait(DEADLINE_S)
            assert type(session.error) is socket.gaierror


def test_local_address_chooses_the_family(
    port: CompletionPort, names: Names, no_errors_logged: None
) -> None:
    """The name has addresses of both, IPv6 first; the connection comes from one of IPv4."""
    listener = port.listen(LOCAL, Session)
    number = listener.address[1]
    names.families = [(SIX, ("::1", number, 0, 0)), (FOUR, ("127.0.0.1", number))]
    session: Any = port.connect(
        ("both.test", number), Journal, local_address=("127.0.0.7", 0), timeout=30
    )
    with served(port):
        assert session.connected.wait(DEADLINE_S)
        assert session.local_address[0] == "127.0.0.7"
        session.abort()
        assert session.closed.wait(DEADLINE_S)


def test_errors_of_look_ups_are_no_iocp_errors(port: CompletionPort) -> None:
    """`resolve` raises them in `listen` as well."""
    with pytest.raises(socket.gaierror, match="'no-such-host") as caught:
        port.listen(("no-such-host.invalid", 0), Session)
    assert not isinstance(caught.value, IocpError)
