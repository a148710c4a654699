"""TLS sessions are resumed by the clients that connect to one server again and again."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any

import pytest
from deadline import DEADLINE_S
from journal import Journal, Made, eventually, served
from tls_context import client_context, server_context

from pyiocp import (
    AddressUnavailableError,
    Backoff,
    CompletionPort,
    ConnectionPool,
    Listener,
    TlsHandshakeError,
)

LOCAL = ("127.0.0.1", 0)
SOON = Backoff(first=0.01, maximum=0.05)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


class Asking(Journal):
    """Asks when it is connected, and takes what the answer says of the connection with it."""

    def on_connect(self) -> None:
        super().on_connect()
        self.send(b"question")


def only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    """Return a context that does this version of TLS and no other."""
    context.minimum_version = context.maximum_version = version
    return context


def answered(made: Made, number: int) -> Any:
    """Return the session of that number, once it has its answer: and its ticket, sent before it."""
    assert eventually(lambda: len(made) > number)
    session = made[number]
    assert session.wait_received(8) == b"question"
    return session


def listened_again(port: CompletionPort, address: Any, context: ssl.SSLContext) -> Listener:
    """Listen at an address whose last listener may not have given it up yet."""
    until = time.monotonic() + DEADLINE_S
    while True:
        try:
            return port.listen(address, Echo, tls=context)
        except AddressUnavailableError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)  # nothing tells when it is free


@versions
@pytest.mark.parametrize("end", ["close", "abort"])
def test_client_that_comes_back_resumes(
    port: CompletionPort, no_errors_logged: None, version: ssl.TLSVersion, end: str
) -> None:
    """Three connections of `keep_connected`, which end in order or not: both sides say so."""
    servers, made = Made(Echo), Made(Asking)
    listener = port.listen(LOCAL, servers, tls=only(version, server_context()))
    context = client_context()
    with served(port):
        client = port.keep_connected(listener.address, made, backoff=SOON, tls=context)
        for number in range(3):
            session = answered(made, number)
            assert session.tls.resumed is (number > 0)
            assert servers[number].tls.resumed is (number > 0)
            assert session.tls.peer_certificate == made[0].tls.peer_certificate
            assert session.tls.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
            getattr(session, end)()
            assert session.closed.wait(DEADLINE_S)
        client.close()
        assert eventually(lambda: not port.sessions)


@versions
def test_pool_resumes_while_the_first_connection_stands(
    port: CompletionPort, no_errors_logged: None, version: ssl.TLSVersion
) -> None:
    """The second and third connection of a pool resume the session of the first."""
    made = Made(Asking)
    listener = port.listen(LOCAL, Echo, tls=only(version, server_context()))
    pool = ConnectionPool(port, listener.address, made, tls=client_context())
    with served(port):
        for number in range(3):
            pool.acquire().result(10)
            assert answered(made, number).tls.resumed is (number > 0)
        assert pool.busy == 3


@versions
def test_server_that_has_forgotten_makes_a_new_session(
    port: CompletionPort, no_errors_logged: None, version: ssl.TLSVersion
) -> None:
    """Restarted, with other keys for its tickets: the handshake is a whole one, and works."""
    made = Made(Asking)
    listener = port.listen(LOCAL, Echo, tls=only(version, server_context()))
    address = listener.address
    with served(port):
        client = port.keep_connected(address, made, backoff=SOON, tls=client_context())
        first = answered(made, 0)
        listener.close()
        listened_again(port, address, only(version, server_context()))
        first.abort()
        second = answered(made, 1)
        second.abort()
        assert answered(made, 2).tls.resumed
        client.close()
        assert eventually(lambda: client.session is None)
    assert not second.tls.resumed


def test_session_whose_handshake_failed_is_not_resumed_again(port: CompletionPort) -> None:
    """The server breaks off who resumes: the next handshake is a whole one, though it need not."""
    made = Made(Asking)
    theirs = server_context()
    listener = port.listen(LOCAL, Echo, tls=theirs)
    address = listener.address
    with served(port):
        client = port.keep_connected(address, made, backoff=SOON, tls=client_context())
        first = answered(made, 0)
        listener.close()
        with socket.create_server(address) as refusing:
            first.abort()
            with contextlib.closing(refusing.accept()[0]) as peer:
                peer.recv(1)
        assert eventually(lambda: len(made) > 1)
        assert made[1].closed.wait(DEADLINE_S)
        assert "connect" not in made[1].hooks
        port.listen(address, Echo, tls=theirs)
        assert eventually(lambda: made[-1].received == b"question")
        assert not made[-1].tls.resumed
        client.close()
        assert eventually(lambda: client.session is None)
    assert isinstance(made[1].error, (ConnectionError, TlsHandshakeError))


def test_connection_that_had_no_ticket_is_no_loss(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """TLS 1.3: what stands before its ticket comes, or never gets one, resumes nothing.

    So the session before it is kept: the server that made it is there again, and resumes it.
    """
    made = Made(Asking)
    theirs, stingy = server_context(), server_context()
    stingy.num_tickets = 0
    listener = port.listen(LOCAL, Echo, tls=theirs)
    address = listener.address
    with served(port):
        client = port.keep_connected(address, made, backoff=SOON, tls=client_context())
        resumed = []
        for number, context in enumerate((stingy, theirs, theirs)):
            session = answered(made, number)
            resumed.append(session.tls.resumed)
            listener.close()
            listener = listened_again(port, address, context)
            session.abort()
        client.close()
        assert eventually(lambda: client.session is None)
    assert resumed == [False, False, True]


def test_single_connections_share_no_session(port: CompletionPort, no_errors_logged: None) -> None:
    """`connect` is for one connection each: nothing of it is kept."""
    context = client_context()
    listener = port.listen(LOCAL, Echo, tls=server_context())
    made = Made(Asking)
    with served(port):
        for number in range(2):
            port.connect(listener.address, made, tls=context)
            assert not answered(made, number).tls.resumed
