"""start_tls: a connection that begins without TLS and goes over to it, as SMTP does."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from deadline import DEADLINE_S
from journal import Journal, Made, connect, eventually, receive_all, served
from tls_context import client_context, server_context

from pyiocp import (
    CompletionPort,
    ConnectionPool,
    Delimited,
    FramedSession,
    Session,
    TlsError,
    TlsHandshakeError,
    TlsInfo,
)

LOCAL = ("127.0.0.1", 0)


class Mail(Journal, FramedSession):
    """A server of lines that knows STARTTLS."""

    framing = Delimited(b"\r\n")

    def on_connect(self) -> None:
        super().on_connect()
        self.send_frame(b"220 hello")

    def on_frame(self, frame: memoryview) -> None:
        line = bytes(frame)
        self.hooks.append(line.decode())
        if line == b"STARTTLS":
            self.send_frame(b"220 go ahead")
            self.start_tls(server_context(), server_side=True)
        else:
            self.send_frame(b"250 " + line)

    def on_tls(self) -> None:
        self.hooks.append("tls")


class MailClient(Journal, FramedSession):
    """Its client: says hello, goes over to TLS, and says hello again."""

    framing = Delimited(b"\r\n")

    def on_frame(self, frame: memoryview) -> None:
        line = bytes(frame)
        self.hooks.append(line.decode())
        if line == b"220 hello":
            self.send_frame(b"STARTTLS")
        elif line == b"220 go ahead":
            self.start_tls(client_context(), server_hostname="localhost")
            self.send_frame(b"EHLO early")  # waits for the handshake
        else:
            self.close()

    def on_tls(self) -> None:
        self.hooks.append("tls")


def test_both_sides_go_over_to_tls(port: CompletionPort, no_errors_logged: None) -> None:
    """on_tls comes once, and what was sent during the handshake goes encrypted, in order."""
    servers, clients = Made(Mail), Made(MailClient)
    listener = port.listen(LOCAL, servers)
    with served(port):
        port.connect(listener.address, clients)
        assert eventually(lambda: bool(clients) and clients[0].closed.is_set())
        assert servers[0].closed.wait(DEADLINE_S)
    assert clients[0].error is None
    assert servers[0].error is None
    assert servers[0].hooks == ["connect", "STARTTLS", "tls", "EHLO early", "eof", "close"]
    expected = ["connect", "220 hello", "220 go ahead", "tls", "250 EHLO early", "close"]
    assert clients[0].hooks == expected
    assert isinstance(clients[0].tls, TlsInfo)
    assert clients[0].tls.version == "TLSv1.3"


def test_standard_library_is_the_client(port: CompletionPort) -> None:
    """The stdlib's ssl talks to it, and sees the certificate."""
    listener = port.listen(LOCAL, servers := Made(Mail))
    with served(port), connect(listener) as raw:
        assert receive_all(raw, 11) == b"220 hello\r\n"
        raw.sendall(b"STARTTLS\r\n")
        assert receive_all(raw, 14) == b"220 go ahead\r\n"
        with client_context().wrap_socket(raw, server_hostname="localhost") as peer:
            peer.sendall(b"EHLO me\r\n" * 200)
            assert receive_all(peer, 200 * 13) == b"250 EHLO me\r\n" * 200
    assert servers[0].hooks.count("tls") == 1


@pytest.mark.parametrize("first_data", [0, 100])
def test_plaintext_behind_the_request_ends_the_session(
    port: CompletionPort, first_data: int
) -> None:
    """CVE-2011-0411: a command that a stranger put behind STARTTLS is never obeyed."""
    listener = port.listen(LOCAL, servers := Made(Mail), first_data=first_data)
    with served(port), connect(listener) as raw:
        raw.sendall(b"STARTTLS\r\nRCPT TO:<mallory>\r\n")
        assert eventually(lambda: bool(servers) and servers[0].closed.is_set())
    assert type(servers[0].error) is TlsError
    assert servers[0].hooks == ["connect", "STARTTLS", "close"]


def test_handshake_that_fails_ends_the_session(port: CompletionPort) -> None:
    """The peer talks on without encryption."""
    listener = port.listen(LOCAL, servers := Made(Mail))
    with served(port), connect(listener) as raw:
        raw.sendall(b"STARTTLS\r\n")
        assert receive_all(raw, 25) == b"220 hello\r\n220 go ahead\r\n"
        raw.sendall(b"EHLO plain\r\n")
        assert servers[0].closed.wait(DEADLINE_S)
    assert isinstance(servers[0].error, TlsHandshakeError)
    assert "tls" not in servers[0].hooks


def test_handshake_that_never_comes_has_its_time(port: CompletionPort) -> None:
    """`handshake_timeout` holds here as well."""

    class Hurried(Journal):
        def on_receive(self, data: memoryview) -> None:
            self.start_tls(server_context(), server_side=True, handshake_timeout=0.2)

    listener = port.listen(LOCAL, servers := Made(Hurried))
    with served(port), connect(listener) as raw:
        raw.sendall(b"go")
        assert eventually(lambda: bool(servers) and servers[0].closed.is_set())
    assert isinstance(servers[0].error, TimeoutError)


def test_session_without_frames_goes_over_to_tls(port: CompletionPort, tmp_path: Path) -> None:
    """And sends bytes and a file, and closes, before the handshake is over: all that waits."""
    path = tmp_path / "file"
    path.write_bytes(b"a file" * 50_000)

    class Upgrading(Journal):
        def on_receive(self, data: memoryview) -> None:
            self.send(b"plain;")
            self.start_tls(server_context(), server_side=True)
            self.send(b"encrypted;")
            self.send_file(path.open("rb"), close=True)
            self.close()

    listener = port.listen(LOCAL, servers := Made(Upgrading))
    with served(port), connect(listener) as raw:
        raw.sendall(b"go")
        assert receive_all(raw, 6) == b"plain;"
        with client_context().wrap_socket(raw, server_hostname="localhost") as peer:
            assert receive_all(peer) == b"encrypted;" + path.read_bytes()
        assert servers[0].closed.wait(DEADLINE_S)
    assert servers[0].error is None


def test_what_cannot_start_tls_says_why(port: CompletionPort) -> None:
    """Before on_connect, over TLS, with a context of the other side, without a name."""
    with pytest.raises(RuntimeError, match="no connection"):
        Session().start_tls(server_context(), server_side=True)
    errors: list[Any] = []

    class Wrong(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            wrong: list[tuple[Any, dict[str, Any], str]] = [
                (server_context(), {}, "does not fit a client"),
                (client_context(), {"server_side": True}, "does not fit a server"),
                (client_context(), {}, "server_hostname"),
                (server_context(), {"server_side": True, "handshake_timeout": 0}, "timeout"),
            ]
            for context, options, reason in wrong:
                with pytest.raises(ValueError, match=reason) as caught:
                    self.start_tls(context, **options)
                errors.append(caught.value)
            with pytest.raises(TypeError):
                self.start_tls("context")  # type: ignore[arg-type]
            self.start_tls(server_context(), server_side=True)
            with pytest.raises(RuntimeError, match="TLS already"):
                self.start_tls(server_context(), server_side=True)
            errors.append(None)

        def on_close(self, error: OSError | None) -> None:
            with pytest.raises(RuntimeError, match="closed"):
                self.start_tls(server_context(), server_side=True)
            errors.append(None)
            super().on_close(error)

    listener = port.listen(LOCAL, servers := Made(Wrong))
    with served(port), connect(listener) as raw:
        raw.shutdown(socket.SHUT_WR)
        assert eventually(lambda: bool(servers) and servers[0].closed.is_set())
    assert len(errors) == 6
    assert isinstance(servers[0].error, TlsHandshakeError)


def test_pooled_session_goes_over_to_tls(port: CompletionPort) -> None:
    """With a layer of the pool's above the frames: nothing goes out unencrypted after that."""
    listener = port.listen(LOCAL, servers := Made(Mail))

    class Client(MailClient):
        def on_tls(self) -> None:
            super().on_tls()
            self.send_frame(b"AUTH secret")

        def on_frame(self, frame: memoryview) -> None:
            if b"AUTH" not in bytes(frame):
                super().on_frame(frame)

    pool = ConnectionPool(port, listener.address, clients := Made(Client))
    with served(port):
        pool.acquire()
        assert eventually(lambda: bool(servers) and "AUTH secret" in servers[0].hooks)
        assert clients[0].tls is not None
        pool.close()


@pytest.mark.parametrize("size", [1 << 21, 80 << 20], ids=["over the high water", "over the limit"])
def test_much_that_is_sent_during_the_handshake_waits_for_it(
    port: CompletionPort, size: int
) -> None:
    """It neither stops the handshake nor counts as a slow reader, and goes encrypted."""

    class Eager(Journal):
        def on_receive(self, data: memoryview) -> None:
            if not self.hooks.count("receive"):
                super().on_receive(data)
                self.send(b"go;")
                self.start_tls(server_context(), server_side=True)
                self.pause_receiving()
                self.send(bytes(size))
                self.send(b"end")

    listener = port.listen(LOCAL, servers := Made(Eager))
    with served(port), connect(listener) as raw:
        raw.sendall(b"?")
        assert receive_all(raw, 3) == b"go;"
        with client_context().wrap_socket(raw, server_hostname="localhost") as peer:
            count = 0
            last = b""
            while count < size + 3:
                last = peer.recv(1 << 20)
                count += len(last)
            assert last.endswith(b"end")
            servers[0].resume_receiving()
        assert servers[0].closed.wait(DEADLINE_S)


def test_session_receives_on_after_its_own_end(port: CompletionPort, tmp_path: Path) -> None:
    """send_eof() behind two files, over TLS: what the peer sends after that still comes."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))

    class Ending(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            for _ in range(2):
                self.send_file(path.open("rb"), close=True)
            self.send_eof()

    listener = port.listen(LOCAL, servers := Made(Ending), tls=server_context())
    with served(port), connect(listener) as raw:
        with client_context().wrap_socket(
            raw, server_hostname="localhost", suppress_ragged_eofs=True
        ) as peer:
            assert len(receive_all(peer)) == 2 << 20
            for n in range(10):
                peer.sendall(bytes(1 << 16))
                assert servers[0].wait_received((n + 1) << 16)
        assert servers[0].closed.wait(DEADLINE_S)


def test_end_before_the_handshake_is_refused(port: CompletionPort) -> None:
    """send_eof() before on_connect raises, over TLS as well."""
    listener = port.listen(LOCAL, servers := Made(Journal), tls=server_context())
    with served(port), connect(listener):
        assert eventually(lambda: bool(servers) and servers[0].peer_address is not None)
        with pytest.raises(RuntimeError, match="before on_connect"):
            servers[0].send_eof()
