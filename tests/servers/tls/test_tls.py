"""TLS: sessions over it behave like those without, whatever the peer does.

The peers are Python's own `ssl` and, in tests/runner, the openssl program.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deadline import DEADLINE_S
from journal import Journal, Made, connect, eventually, receive_all, reset, served
from tls_context import CERTIFICATE, client_context, server_context

from pyiocp import (
    CompletionPort,
    ConnectionLostError,
    FramedSession,
    Framing,
    LengthPrefixed,
    Listener,
    NetworkTimeoutError,
    PeerResetError,
    SendQueueOverflowError,
    SessionState,
    TlsError,
    TlsHandshakeError,
    TlsTruncatedError,
)
from pyiocp.servers.tls.tls_layer import TlsLayer
from pyiocp.servers.transport import Transport
from pyiocp.servers.turn import TurnLayer

LOCAL = ("127.0.0.1", 0)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


def client(listener: Listener, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """Return Python's own TLS socket, connected to the listener."""
    return (context or client_context()).wrap_socket(connect(listener), server_hostname="localhost")


def only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    """Return a context that does this version of TLS and no other."""
    context.minimum_version = context.maximum_version = version
    return context


@contextlib.contextmanager
def python_server(
    serve: Callable[[ssl.SSLSocket], None], context: ssl.SSLContext | None = None
) -> Iterator[Any]:
    """Serve one client with Python's own `ssl`, in a thread; yield the address."""
    listening = socket.create_server(LOCAL)
    listening.settimeout(10)

    def run() -> None:
        with contextlib.suppress(OSError):
            plain, _ = listening.accept()
            plain.settimeout(10)
            with (context or server_context()).wrap_socket(plain, server_side=True) as peer:
                serve(peer)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        thread.join(15)
        listening.close()
        assert not thread.is_alive()


# What is the same as without TLS


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_server_over_tls(
    port: CompletionPort, no_errors_logged: None, version: ssl.TLSVersion
) -> None:
    """A megabyte comes back to Python's own client; both say close_notify; the hooks are few."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    data = bytes(range(256)) * 4096
    with served(port), client(listener, only(version, client_context())) as peer:
        peer.sendall(data)  # all of it: the session goes on reading while we do not
        assert receive_all(peer, len(data)) == data
        plain = peer.unwrap()  # close_notify, and waits for ours: raises if there is none
        assert plain.recv(1) == b""
        plain.close()
        [session] = sessions
        assert session.closed.wait(DEADLINE_S)
    assert session.hooks[0] == "connect"
    assert session.hooks[-2:] == ["eof", "close"]
    assert session.received == data
    assert session.error is None
    assert session.state is SessionState.CLOSED
    assert session.tls is not None
    assert session.tls.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_client_over_tls(
    port: CompletionPort, no_errors_logged: None, version: ssl.TLSVersion
) -> None:
    """It trusts the server's certificate, asks, gets the answer, and closes first."""

    class Asking(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(b"question")

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            self.close()

    heard: list[bytes] = []

    def serve(peer: ssl.SSLSocket) -> None:
        heard.append(receive_all(peer, 8))
        peer.sendall(b"answer")
        heard.append(peer.recv(1))  # b"" is close_notify: its lack would raise
        peer.unwrap().close()

    with python_server(serve, only(version, server_context())) as address, served(port):
        session = port.connect(address, Asking, tls=client_context(), server_hostname="localhost")
        assert isinstance(session, Asking)
        assert session.closed.wait(DEADLINE_S)
    assert heard == [b"question", b""]
    assert session.hooks == ["connect", "receive", "close"]
    assert session.received == b"answer"
    assert session.error is None
    assert session.tls is not None
    assert session.tls.peer_certificate is not None
    assert session.tls.peer_certificate["subject"] == ((("commonName", "localhost"),),)
    assert session.tls.peer_certificate_der == ssl.PEM_cert_to_DER_cert(CERTIFICATE.read_text())


def test_both_sides_on_one_port(port: CompletionPort, no_errors_logged: None) -> None:
    """The host of the address is the name that the certificate must have, unless one is given."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, tls=server_context())

    class Client(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(b"x" * 100_000)

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            if len(self.received) == 100_000:
                self.close()

    with served(port, threads=2):
        session = port.connect(listener.address, Client, tls=client_context())
        assert isinstance(session, Client)
        assert session.closed.wait(DEADLINE_S)
        assert sessions[0].closed.wait(DEADLINE_S)
    assert (session.error, sessions[0].error) == (None, None)
    assert session.received == b"x" * 100_000


def test_what_was_agreed_upon_can_be_read(port: CompletionPort) -> None:
    """ALPN, version, cipher and the client's certificate; nothing before the handshake."""
    context = server_context()
    context.set_alpn_protocols(["game/2", "game/1"])
    context.load_verify_locations(CERTIFICATE)
    context.verify_mode = ssl.CERT_REQUIRED
    theirs = client_context()
    theirs.set_alpn_protocols(["game/1", "other"])
    theirs.load_cert_chain(CERTIFICATE, CERTIFICATE.with_name("localhost.key"))
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, tls=context)
    with served(port), client(listener, theirs) as peer:
        peer.sendall(b"x")
        assert receive_all(peer, 1) == b"x"
        [session] = sessions
        assert session.tls.alpn == peer.selected_alpn_protocol() == "game/1"
        cipher = peer.cipher()
        assert cipher is not None
        assert session.tls.cipher == cipher[0]
        assert session.tls.version == peer.version()
        assert session.tls.peer_certificate["subject"] == ((("commonName", "localhost"),),)
    assert Echo().tls is None


def test_a_session_without_tls_says_so(port: CompletionPort) -> None:
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"x")
        assert receive_all(peer, 1) == b"x"
        assert sessions[0].tls is None


def test_sending_waits_for_the_handshake(port: CompletionPort) -> None:
    """Before it the session is connecting: it cannot send, and on_connect has not come."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].local_address is not None)
        [session] = sessions
        assert session.state is SessionState.CONNECTING
        with pytest.raises(RuntimeError, match="cannot send before on_connect"):
            session.send(b"x")
        session.close()  # nothing to close in order: it is aborted
        assert session.closed.wait(DEADLINE_S)
        peer.close()
    assert session.hooks == ["close"]
    assert type(session.error) is ConnectionLostError


def test_frames_over_tls(port: CompletionPort, no_errors_logged: None) -> None:
    """Both layers: frames are put together from what TLS brings, and paused between the two."""

    class Frames(Journal, FramedSession):
        framing: Framing = LengthPrefixed(2)

        def on_frame(self, frame: memoryview) -> None:
            self.hooks.append("frame")
            self.pause_receiving()
            self.send_frame(frame)
            port.call_soon(self.resume_receiving)

    sessions = Made(Frames)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    data = b"".join(Frames.framing.wrap(bytes([n]) * 700) for n in range(100))
    with served(port), client(listener) as peer:
        peer.sendall(data)
        assert receive_all(peer, len(data)) == data
        peer.unwrap().close()
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].hooks == ["connect", *["frame"] * 100, "eof", "close"]
    assert sessions[0].error is None


def test_sends_of_several_threads_do_not_mix(port: CompletionPort) -> None:
    """C38: OpenSSL's objects are used by one thread at a time, and records go out in order.

    Four threads send while the session echoes: a record out of order would end the client.
    """
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port, threads=2), client(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())

        def send(letter: int) -> None:
            for _ in range(50):
                sessions[0].send(bytes([letter]) * 1000)

        threads = [threading.Thread(target=send, args=(65 + n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            peer.sendall(b"z" * 1000)
        data = receive_all(peer, 250_000)
        for thread in threads:
            thread.join()
    assert sorted(data[at : at + 1000] for at in range(0, 250_000, 1000)) == sorted(
        bytes([letter]) * 1000 for letter in b"ABCDz" for _ in range(50)
    )


def test_pause_and_resume(port: CompletionPort) -> None:
    """Each record pauses the session: what was decrypted, and what was not, comes in order.

    The end comes last, though it has long been there.
    """

    class Pausing(Journal):
        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            self.pause_receiving()
            self.paused.set()

        def __init__(self) -> None:
            super().__init__()
            self.paused = threading.Event()

    sessions = Made(Pausing)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer:
        for n in range(10):
            peer.send(b"%d" % n)
        assert eventually(lambda: bool(sessions))
        [session] = sessions
        ended = threading.Thread(target=peer.unwrap)  # waits for our close_notify
        ended.start()
        for n in range(10):
            assert session.paused.wait(DEADLINE_S)
            session.paused.clear()
            assert session.received == b"0123456789"[: n + 1]
            assert "eof" not in session.hooks
            session.resume_receiving()
        assert session.has_eof.wait(DEADLINE_S)
        ended.join(10)
        peer.close()
        assert session.closed.wait(DEADLINE_S)
    assert session.error is None


def test_high_water_and_on_writable(port: CompletionPort) -> None:
    """C36: a client that does not read makes send say False, and on_writable come when it does."""

    class Flood(Journal):
        high_water, low_water = 1 << 20, 1 << 18

        def on_connect(self) -> None:
            super().on_connect()
            self.count = 0
            self.fill()

        def fill(self) -> None:
            while self.count < 400:
                self.count += 1
                if not self.send(bytes(1 << 16)):
                    return

        def on_writable(self) -> None:
            super().on_writable()
            self.fill()

    sessions = Made(Flood)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].send_queue_bytes >= 1 << 20)
        assert receive_all(peer, 400 << 16) == bytes(400 << 16)
    assert "writable" in sessions[0].hooks


def test_send_limit(port: CompletionPort, no_errors_logged: None) -> None:
    """C36: over the limit the session is aborted, with the error of its own."""

    class Flood(Journal):
        high_water, send_limit = 1 << 16, 1 << 18

        def on_connect(self) -> None:
            super().on_connect()
            while self.send_queue_bytes <= self.send_limit:
                self.send(bytes(1 << 16))

    sessions = Made(Flood)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), connect(listener) as plain:
        peer = client_context().wrap_socket(plain, server_hostname="localhost")
        assert eventually(lambda: bool(sessions))
        assert sessions[0].closed.wait(DEADLINE_S)
        peer.close()
    assert type(sessions[0].error) is SendQueueOverflowError


def test_a_hook_that_raises_ends_that_session(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Journal):
        def on_receive(self, data: memoryview) -> None:
            raise ZeroDivisionError

    sessions = Made(Failing)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer:
        peer.sendall(b"x")
        assert eventually(lambda: bool(sessions))
        assert sessions[0].closed.wait(DEADLINE_S)
    assert isinstance(sessions[0].error.__cause__, ZeroDivisionError)
    assert "Failing" in caplog.text
    caplog.clear()


# How it ends


def test_closing_says_close_notify_after_all_else(port: CompletionPort) -> None:
    """The client gets the last words, then a proper end: a missing close_notify would raise."""

    class Goodbye(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(bytes(1 << 20))
            self.send(b"goodbye")
            self.close()
            assert not self.send(b"too late")

    sessions = Made(Goodbye)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port):
        with client(listener) as peer:
            assert vars(peer)["suppress_ragged_eofs"]
            vars(peer)["suppress_ragged_eofs"] = False
            assert receive_all(peer) == bytes(1 << 20) + b"goodbye"
            peer.unwrap().close()
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].hooks == ["connect", "close"]
    assert sessions[0].error is None


def test_one_side_may_end_while_the_other_goes_on(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """send_eof says close_notify; what the client sends after that, and before, still comes.

    The session is paused meanwhile, so that something is waiting to be decrypted when OpenSSL
    takes its step of reading.
    """

    class HalfClosing(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(b"all of it")

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            if len(self.received) == 3:
                self.pause_receiving()
                self.send_eof()
                assert not self.send(b"too late")
                port.call_later(0.1, self.resume_receiving)

    sessions = Made(HalfClosing)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    plain = connect(listener)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")

    def until(step: Callable[[], Any]) -> Any:
        """Take a step of the client's as soon as what it takes has come."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(1 << 16))

    with served(port), plain:
        until(peer.do_handshake)
        peer.write(b"one")
        peer.write(b"two")  # in one piece with the first: it waits, undecrypted
        plain.sendall(outgoing.read())
        assert until(lambda: peer.read(9)) == b"all of it"
        with contextlib.suppress(ssl.SSLZeroReturnError):
            assert until(lambda: peer.read(9)) == b""
        peer.write(b"three")
        with contextlib.suppress(ssl.SSLError):
            peer.unwrap()
        plain.sendall(outgoing.read())
        plain.shutdown(socket.SHUT_WR)
        assert receive_all(plain) == b""
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].error is None
    assert sessions[0].received == b"onetwothree"
    assert sessions[0].hooks[-2:] == ["eof", "close"]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_an_end_without_close_notify_is_told(
    port: CompletionPort, no_errors_logged: None, version: ssl.TLSVersion
) -> None:
    """What came before is handed over; on_eof does not come, on_close tells."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener, only(version, client_context())) as peer:
        peer.sendall(b"all that I")
        socket.socket.shutdown(peer, socket.SHUT_WR)  # an FIN, and no close_notify
        assert eventually(lambda: bool(sessions))
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].received == b"all that I"
    assert "eof" not in sessions[0].hooks
    error = sessions[0].error
    assert type(error) is TlsTruncatedError
    assert isinstance(error, EOFError)
    assert isinstance(error.__cause__, ssl.SSLError)


def test_a_peer_that_is_gone_after_its_close_notify_ended_in_order(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """It resets when our answer comes, as a closed socket does: that is no error any more."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer:
        peer.sendall(b"x")
        plain = peer.unwrap()  # returns when our close_notify has come
        reset(plain)
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].error is None
    assert sessions[0].hooks == ["connect", "receive", "eof", "close"]


def test_bytes_that_are_no_tls_end_the_session(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """In the middle of an established connection: the peer's bytes are forged."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer:
        peer.sendall(b"x")
        assert eventually(lambda: bool(sessions) and sessions[0].received == b"x")
        socket.socket.send(peer, b"\x17\x03\x03\x00\x20" + bytes(32))
        assert sessions[0].closed.wait(DEADLINE_S)
    assert type(sessions[0].error) is TlsError
    assert isinstance(sessions[0].error.__cause__, ssl.SSLError)


def test_abort_and_a_peers_reset(port: CompletionPort) -> None:
    """Both end at once, and are told like without TLS.

    On a busy machine, Wine 8 tells one reset in thirty as an end, here without a goodbye.
    """
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port):
        with client(listener):
            assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
            sessions[0].abort()
            assert sessions[0].closed.wait(DEADLINE_S)
        for n in range(1, 11):
            peer = client(listener)
            assert eventually(lambda n=n: len(sessions) > n and sessions[n].connected.is_set())
            reset(peer)
            assert sessions[n].closed.wait(DEADLINE_S)
            if type(sessions[n].error) is PeerResetError:
                break
    first, *others, last = [type(session.error) for session in sessions]
    assert (first, last) == (ConnectionLostError, PeerResetError)
    assert set(others) <= {TlsTruncatedError}


# Handshakes that fail


def test_a_certificate_that_is_not_trusted(port: CompletionPort, no_errors_logged: None) -> None:
    """The client's on_close gets the ssl.SSLCertVerificationError; the server's its alert.

    Neither had an on_connect, and the listener goes on.
    """
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port):
        stranger = ssl.create_default_context()
        session = port.connect(listener.address, Journal, tls=stranger, server_hostname="localhost")
        assert isinstance(session, Journal)
        assert session.closed.wait(DEADLINE_S)
        assert sessions[0].closed.wait(DEADLINE_S)
        with client(listener) as peer:
            assert peer.version()
    assert session.hooks == ["close"]
    assert type(session.error) is TlsHandshakeError
    assert isinstance(session.error.__cause__, ssl.SSLCertVerificationError)
    assert "self-signed certificate" in str(session.error).replace("self signed", "self-signed")
    assert sessions[0].hooks == ["close"]
    assert isinstance(sessions[0].error, TlsHandshakeError | PeerResetError)


def test_the_name_in_the_certificate_is_checked(port: CompletionPort) -> None:
    listener = port.listen(LOCAL, Made(Journal), tls=server_context())
    with served(port):
        session = port.connect(
            listener.address, Journal, tls=client_context(), server_hostname="example.org"
        )
        assert isinstance(session, Journal)
        assert session.closed.wait(DEADLINE_S)
    assert isinstance(session.error.__cause__, ssl.SSLCertVerificationError)
    assert "example.org" in str(session.error)


def test_a_client_that_does_not_talk_tls(port: CompletionPort, no_errors_logged: None) -> None:
    """An HTTP request, and an end right away: a TlsHandshakeError each."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port):
        with connect(listener) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert eventually(lambda: len(sessions) == 1)
            assert sessions[0].closed.wait(DEADLINE_S)
        connect(listener).close()
        assert eventually(lambda: len(sessions) == 2)
        assert sessions[1].closed.wait(DEADLINE_S)
    assert [type(s.error) for s in sessions] == [TlsHandshakeError] * 2
    assert isinstance(sessions[0].error.__cause__, ssl.SSLError)
    assert "the peer ended the connection" in str(sessions[1].error)
    assert [s.hooks for s in sessions] == [["close"]] * 2


def test_a_client_that_never_finishes_the_handshake(port: CompletionPort) -> None:
    """It is thrown out after the deadline; who has finished is not."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context(), handshake_timeout=3.0)
    with served(port), client(listener) as good, connect(listener) as bad:
        bad.sendall(b"\x16\x03\x01")
        assert eventually(lambda: len(sessions) == 2)
        assert sessions[1].closed.wait(DEADLINE_S)
        good.sendall(b"alive")
        assert sessions[0].wait_received(5) == b"alive"
    assert sessions[1].hooks == ["close"]
    assert type(sessions[1].error) is NetworkTimeoutError
    assert "TLS handshake" in str(sessions[1].error)


def test_contexts_that_do_not_fit_are_refused(port: CompletionPort) -> None:
    """Before anything is opened, with words that say why."""
    with pytest.raises(TypeError, match=r"tls must be an ssl\.SSLContext, not True"):
        port.listen(LOCAL, Journal, tls=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not fit a server"):
        port.listen(LOCAL, Journal, tls=client_context())
    with pytest.raises(ValueError, match="does not fit a client"):
        port.connect(LOCAL, Journal, tls=server_context())
    with pytest.raises(ValueError, match="server_hostname must not be empty"):
        port.connect(LOCAL, Journal, tls=client_context(), server_hostname="")
    with pytest.raises(ValueError, match="handshake_timeout must be more than 0, not 0 s"):
        port.listen(LOCAL, Journal, tls=server_context(), handshake_timeout=0)
    assert (port.listeners, port.sessions) == (set(), set())


def test_renegotiation_is_switched_off(port: CompletionPort) -> None:
    """In the user's context, before the first connection (tests/runner has a client try)."""
    context = server_context()
    context.options &= ~ssl.OP_NO_RENEGOTIATION
    port.listen(LOCAL, Journal, tls=context)
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_what_tls_does_not_know_is_refused(port: CompletionPort) -> None:
    """Whatever else a connection can do, by a name yet unknown, does not get past TLS.

    And of what is known, nothing goes through but what is listed here.
    """
    session = Journal()
    listener = port.listen(LOCAL, Made(Journal), tls=server_context())
    with served(port):
        session = port.connect(listener.address, Journal, tls=client_context())  # type: ignore[assignment]
        assert session.connected.wait(DEADLINE_S)
        with pytest.raises(AttributeError, match="send_anything"):
            getattr(session._pyiocp, "send_anything")  # noqa: B009, mypy knows that there is none
        assert type(session._pyiocp.sends) is TlsLayer
    # The socket is for its options, which are those of the connection below.
    same = {"abort", "local_address", "peer_address", "sends", "socket", "start_tls"}
    asked_for = {name for name in dir(Transport) if not name.startswith("_")}
    assert asked_for - vars(TlsLayer).keys() - vars(TurnLayer).keys() == same - {"abort"}


def test_openssl_is_not_loaded_without_tls() -> None:
    """`import pyiocp`, and serving without TLS, leave `ssl` alone: it costs 20 ms and megabytes."""
    code = (
        "import sys; from pyiocp import *\n"
        "with CompletionPort() as port: port.listen(('127.0.0.1', 0), Session)\n"
        "print('ssl' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.strip() == "False"
