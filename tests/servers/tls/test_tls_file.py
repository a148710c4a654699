"""Files over TLS: in their place, whole, with bounded memory, and closed when they are sent.

The peers are Python's own `ssl`.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal
from journal import Journal, Made, connect, eventually, receive_all, served
from tls_context import client_context, server_context

from pyiocp import (
    CompletionPort,
    IocpError,
    Listener,
    NetworkTimeoutError,
    SendQueueOverflowError,
    SessionState,
)
from pyiocp.servers.tcp import send_progress
from pyiocp.servers.tls.tls_file import BLOCK
from pyiocp.winapi import ERROR_ACCESS_DENIED, INVALID_HANDLE_VALUE

LOCAL = ("127.0.0.1", 0)


@pytest.fixture
def content() -> bytes:
    """What the file has in it: several blocks, and a part of one."""
    return bytes(range(251)) * 8192


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    """The file."""
    path = tmp_path / "content"
    path.write_bytes(content)
    return path


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A file that is longer than sockets and the session hold."""
    path = tmp_path / "long"
    path.write_bytes(bytes(range(253)) * (1 << 18))
    return path


def client(listener: Listener) -> ssl.SSLSocket:
    """Return Python's own TLS socket, connected to the listener."""
    return client_context().wrap_socket(connect(listener), server_hostname="localhost")


def connected(sessions: Made) -> Any:
    """Return the one session, as soon as it stands."""
    assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
    [session] = sessions
    return session


def test_files_keep_their_place(port: CompletionPort, path: Path, content: bytes) -> None:
    """Bytes, the file, bytes, parts of it, an empty part, bytes: in that order, then the end.

    The session is closed at once: all of it is sent before, and it is closing meanwhile.
    """
    files: list[Any] = []

    class Sending(Journal):
        close_timeout = 30.0

        def on_connect(self) -> None:
            super().on_connect()
            files.extend(path.open("rb") for _ in range(4))
            self.send(b"head")
            self.answer = self.send_file(files[0], close=True)
            self.send(b"between")
            self.send_file(files[1], 1000, 5000, close=True)
            self.send_file(files[2], len(content), close=True)
            self.send_file(files[3], len(content) - 3, 100, close=True)
            self.send(b"tail")
            self.close()
            self.states = [self.state, self.send(b"too late"), self.send_file(files[0])]

    sessions = Made(Sending)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer:
        parts = [b"head", content, b"between", content[1000:6000], content[-3:], b"tail"]
        assert receive_all(peer) == b"".join(parts)
        assert eventually(lambda: all(file.closed for file in files))
        peer.unwrap().close()
        [session] = sessions
        assert session.closed.wait(10)
    assert session.answer is True
    assert session.states == [SessionState.CLOSING, False, False]
    assert session.error is None
    assert session.hooks == ["connect", "close"]


def test_peer_that_does_not_read_holds_the_file_up(port: CompletionPort, long: Path) -> None:
    """66 MB: `high_water` and a block wait, and no more; then all of it arrives."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer, long.open("rb") as file:
        session = connected(sessions)
        assert session.send_file(file) is True
        queued: list[int] = []

        def stands_still() -> bool:
            queued.append(session.send_queue_bytes)
            return len(queued) > 200 and len(set(queued[-200:])) == 1 and queued[-1] > 0

        assert eventually(stands_still)
        assert session.low_water < queued[-1] <= max(queued) < session.high_water + 2 * BLOCK
        digest = hashlib.sha256(long.read_bytes()).digest()
        received = receive_all(peer, long.stat().st_size)
        assert hashlib.sha256(received).digest() == digest
        assert session.hooks == ["connect"]  # the session itself was never told to wait


def test_second_file_that_waits_is_told_as_too_much(
    port: CompletionPort, long: Path, path: Path, content: bytes
) -> None:
    """As without TLS; what is sent behind it arrives behind it."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer, long.open("rb") as first, path.open("rb") as file:
        session = connected(sessions)
        answers = [session.send_file(first), session.send_file(file), session.send(b"!")]
        assert answers == [True, False, False]
        assert session.hooks == ["connect"]
        expected = long.read_bytes() + content + b"!"
        assert receive_all(peer, len(expected)) == expected
        assert eventually(lambda: session.hooks == ["connect", "writable"])
        assert session.send(b"?") is True
        assert receive_all(peer, 1) == b"?"


def test_what_waits_behind_a_file_is_limited(port: CompletionPort, long: Path) -> None:
    """`send` says False at `high_water`, and over `send_limit` the session is aborted."""

    class Limited(Journal):
        high_water = 1 << 16
        send_limit = 1 << 22

    sessions = Made(Limited)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener):
        session = connected(sessions)
        file = long.open("rb")
        session.send_file(file, close=True)
        assert session.send(bytes(1 << 16)) is False
        assert session.state is SessionState.OPEN
        assert session.statistics().send_queue_bytes >= 1 << 16
        session.send(bytes(1 << 22))
        assert session.send(b"more") is False
        assert session.closed.wait(10)
        assert isinstance(session.error, SendQueueOverflowError)
        assert file.closed


def test_session_that_ends_closes_its_files(port: CompletionPort, long: Path) -> None:
    """One is being read, one waits, one comes too late; the hooks are over after the last."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener):
        session = connected(sessions)
        files = [long.open("rb") for _ in range(3)]
        for file in files[:2]:
            session.send_file(file, close=True)
        assert eventually(lambda: session.statistics().bytes_sent > BLOCK)
        session.abort()
        assert session.closed.wait(10)
        assert session.send_file(files[2], close=True) is False
        assert all(file.closed for file in files)
    assert session.hooks == ["connect", "close"]


def test_close_does_not_wait_for_ever(
    port: CompletionPort, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer does not read the file: the session is aborted after `close_timeout`."""
    monkeypatch.setattr(send_progress, "_PIECE_RATE", 1 << 20)  # 15 s less for a piece

    class Hurried(Journal):
        close_timeout = 0.3

    sessions = Made(Hurried)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener):
        session = connected(sessions)
        file = long.open("rb")
        session.send_file(file, close=True)
        session.close()
        session.close()
        assert session.closed.wait(10)
        assert isinstance(session.error, NetworkTimeoutError)
        assert file.closed


def test_end_of_this_side_comes_after_the_file(
    port: CompletionPort, path: Path, content: bytes
) -> None:
    """``send_eof``: then close_notify, and the session goes on receiving."""

    class OneSided(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send_file(path.open("rb"), close=True)
            self.send_eof()
            self.answer = self.send(b"too late")

    sessions = Made(OneSided)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer:
        assert receive_all(peer) == content
        peer.sendall(b"thanks")
        [session] = sessions
        assert session.wait_received(6) == b"thanks"
        assert session.answer is False
        peer.unwrap().close()
        assert session.closed.wait(10)
    assert session.error is None


def test_what_comes_while_a_session_is_closing_is_dropped(port: CompletionPort, long: Path) -> None:
    """It has said ``close``, and its file is on its way still: no hook but the last one."""

    class Closing(Journal):
        close_timeout = 30.0

        def on_connect(self) -> None:
            super().on_connect()
            self.send_file(long.open("rb"), close=True)
            self.close()

    sessions = Made(Closing)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer:
        peer.sendall(b"wait, there is something else")
        assert receive_all(peer) == long.read_bytes()
        peer.unwrap().close()
        [session] = sessions
        assert session.closed.wait(10)
    assert session.hooks == ["connect", "close"]
    assert session.error is None


def test_file_is_the_callers_by_default(port: CompletionPort, path: Path, content: bytes) -> None:
    """It stays open, where it was; one on the port itself can be sent as well."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer, path.open("rb") as file:
        session = connected(sessions)
        assert file.read(4) == content[:4]
        session.send_file(file)
        assert receive_all(peer, len(content)) == content
        assert file.read(4) == content[4:8]
        with port.file(path, "r") as other:
            session.send_file(other, 10, 20)
            assert receive_all(peer, 20) == content[10:30]


def test_file_that_becomes_shorter_ends_where_it_does(port: CompletionPort, long: Path) -> None:
    """While it is being read; what is behind it follows."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer, long.open("r+b") as file:
        session = connected(sessions)
        session.send_file(file)
        session.send(b"the end")
        assert eventually(lambda: session.statistics().bytes_sent > BLOCK)
        file.truncate(1000)
        session.close()
        received = receive_all(peer)
        assert received.endswith(b"the end")
        assert 1000 <= len(received) < 253 << 18


@pytest.mark.parametrize("bad", ["name", None, b"bytes", 2.0])
def test_what_is_no_file_is_refused(port: CompletionPort, bad: Any) -> None:
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener), pytest.raises(TypeError):
        connected(sessions).send_file(bad)


@pytest.mark.parametrize("numbers", [(-1, None), (0, -1), (2**63, None)])
def test_bad_numbers_are_refused(
    port: CompletionPort, path: Path, numbers: tuple[int, int | None]
) -> None:
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener), path.open("rb") as file:
        session = connected(sessions)
        with pytest.raises(ValueError, match="must be"):
            session.send_file(file, *numbers)


def test_file_closed_too_early_ends_the_session(port: CompletionPort, long: Path) -> None:
    """Closed by the caller while it waits behind another one: at its turn there is none."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context())
    with served(port), client(listener) as peer, long.open("rb") as first:
        session = connected(sessions)
        session.send_file(first)
        with long.open("rb") as file:
            session.send_file(file)
        received = bytearray()
        with contextlib.suppress(ssl.SSLError, ConnectionError):  # a stream that is cut
            while part := peer.recv(1 << 20):
                received += part
        assert long.read_bytes().startswith(received)
        assert session.closed.wait(10)
    assert isinstance(session.error, OSError)
    assert isinstance(session.error.__cause__, ValueError)


def reopening(kernel: FaultyKernel) -> str:
    """Have the file not be opened again."""
    kernel.wrap("ReOpenFile", Refusal(ERROR_ACCESS_DENIED, INVALID_HANDLE_VALUE))
    return "ReOpenFile"


def reading(kernel: FaultyKernel) -> str:
    """Have the first read fail."""
    kernel.wrap("ReadFile", Refusal(ERROR_ACCESS_DENIED, 0))
    return "ReadFile"


@pytest.mark.parametrize("fault", [reopening, reading])
def test_error_of_the_file_ends_the_session(
    path: Path, fault: Callable[[FaultyKernel], str]
) -> None:
    """``on_close`` has the system's error, and the file is closed."""
    kernel = FaultyKernel()
    function = fault(kernel)
    with CompletionPort(kernel=kernel) as port:
        sessions = Made(Journal)
        listener = port.listen(LOCAL, sessions, tls=server_context())
        with served(port), client(listener):
            session = connected(sessions)
            file = path.open("rb")
            session.send_file(file, close=True)
            assert session.closed.wait(10)
            assert file.closed
    assert isinstance(session.error, IocpError)
    assert session.error.function == function
