"""The name that a client tells the server, and that the server's certificate must have."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from deadline import DEADLINE_S
from journal import Journal, Made, served
from look_ups import FOUR, look_ups
from tls_context import client_context, server_context

from pyiocp import CompletionPort, ConnectionPool, TlsHandshakeError

LOCAL = ("127.0.0.1", 0)


class NamedServer:
    """A context that writes down by which name it is called, None for none."""

    def __init__(self) -> None:
        self.context = server_context()
        self.context.sni_callback = self._told
        self.names: list[str | None] = []

    def _told(self, _connection: Any, name: str | None, _context: ssl.SSLContext) -> None:
        self.names.append(name)


@pytest.fixture
def server() -> NamedServer:
    return NamedServer()


@pytest.mark.parametrize(
    ("host", "server_hostname", "told"),
    [
        ("localhost", None, "localhost"),
        ("localhost.test.", "localhost.", "localhost"),
        ("127.0.0.1", "localhost", "localhost"),
        ("127.0.0.1", None, None),
        ("127.1", None, None),
        ("0.0.0.0", None, None),
        ("", None, None),
        ("localhost.test", "127.0.0.1", None),
    ],
)
def test_certificate_is_checked_against_the_host(
    port: CompletionPort,
    server: NamedServer,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    server_hostname: str | None,
    told: str | None,
) -> None:
    """C46: a name goes out without its dot, an IP address does not; the certificate has both.

    RFC 6066, section 3.
    """
    look_ups(monkeypatch, lambda _: [(FOUR, listener.address)])
    listener = port.listen(LOCAL, Journal, tls=server.context)
    session: Any = port.connect(
        (host, listener.address[1]),
        Journal,
        tls=client_context(),
        server_hostname=server_hostname,
    )
    with served(port):
        assert session.connected.wait(DEADLINE_S)
        session.close()
        assert session.closed.wait(DEADLINE_S)
    assert server.names == [told]


def test_dot_at_the_end_of_a_host_does_not_count(
    port: CompletionPort, server: NamedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C46: ``name.test.`` is told, and checked, as ``name.test``; it is looked up as it is."""
    asked: list[str] = []

    def answer(host: str) -> list[tuple[int, Any]]:
        asked.append(host)
        return [(FOUR, listener.address)]

    look_ups(monkeypatch, answer)
    listener = port.listen(LOCAL, Journal, tls=server.context)
    session: Any = port.connect(("name.test.", listener.address[1]), Journal, tls=client_context())
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert (server.names, asked) == (["name.test"], ["name.test."])
    assert "is not valid for 'name.test'" in str(session.error.__cause__)


@pytest.mark.parametrize("host", ["::1", "::1%1", "0:0::1"])
def test_zone_of_an_address_is_not_checked(
    port: CompletionPort, server: NamedServer, host: str
) -> None:
    """C46: the certificate of these tests is not one for ::1: the check says what it looked for."""
    listener = port.listen(("::1", 0), Journal, tls=server.context)
    session: Any = port.connect((host, listener.address[1]), Journal, tls=client_context())
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert type(session.error) is TlsHandshakeError
    assert "IP address mismatch, certificate is not valid for '::1'" in str(session.error.__cause__)
    assert server.names == [None]


def test_addresses_of_several_hosts_need_a_name(port: CompletionPort, server: NamedServer) -> None:
    """C46: one name cannot be right for two hosts; for one host with two ports it is."""
    listener = port.listen(LOCAL, Journal, tls=server.context)
    number = listener.address[1]
    context = client_context()
    several = [("127.0.0.2", number), ("127.0.0.1", number)]
    made = Made(Journal)
    with pytest.raises(ValueError, match=r"server_hostname is needed.*127\.0\.0\.1.*127\.0\.0\.2"):
        port.connect(several, made, tls=context)
    with pytest.raises(ValueError, match="server_hostname is needed"):
        ConnectionPool(port, several, made, tls=context)
    assert made == []
    first: Any = port.connect(several, made, tls=context, server_hostname="localhost")
    same: Any = port.connect([("localhost", number), ("localhost.", 9)], made, tls=context)
    with served(port):
        assert first.connected.wait(DEADLINE_S)
        assert same.connected.wait(DEADLINE_S)
        for session in made:
            session.close()
            assert session.closed.wait(DEADLINE_S)
    assert server.names == ["localhost"] * 2


def test_context_that_checks_no_name_needs_none(port: CompletionPort, server: NamedServer) -> None:
    context = client_context()
    context.check_hostname = False
    listener = port.listen(LOCAL, Journal, tls=server.context)
    session: Any = port.connect(listener.address, Journal, tls=context, server_hostname="")
    with served(port):
        assert session.connected.wait(DEADLINE_S)
        session.close()
        assert session.closed.wait(DEADLINE_S)
    assert server.names == [None]
