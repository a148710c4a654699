"""Files among what a session sends: in their place, whole, and closed when they are sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort, IocpError

LOCAL = ("127.0.0.1", 0)


@pytest.fixture
def content() -> bytes:
    """What the file has in it: more than a socket takes at once."""
    return bytes(range(256)) * 8192


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    """The file."""
    path = tmp_path / "content"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("zero_byte_after", [None, 0])
def test_files_keep_their_place(
    port: CompletionPort, path: Path, content: bytes, zero_byte_after: float | None
) -> None:
    """Bytes, the file, bytes, parts of it, an empty part, bytes: in that order, then the end.

    The session is closed at once: all of it is sent before. Each file is closed by then.
    """
    files: list[Any] = []

    class Sending(Journal):
        close_timeout = 30.0

        def on_connect(self) -> None:
            super().on_connect()
            files.extend(path.open("rb") for _ in range(3))
            self.send(b"head")
            self.answer = self.send_file(files[0], close=True)
            self.send(b"between")
            self.send_file(files[1], 1000, 5000, close=True)
            self.send_file(files[2], len(content), close=True)
            self.send(b"tail")
            self.close()

    Sending.zero_byte_after = zero_byte_after
    sessions = Made(Sending)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        with connect(listener) as peer:
            expected = b"head" + content + b"between" + content[1000:6000] + b"tail"
            assert receive_all(peer) == expected
            assert eventually(lambda: all(file.closed for file in files))
            now = sessions[0].statistics()
            sent = (now.bytes_sent, now.messages_sent, now.send_queue_bytes)
            assert sent == (len(expected), 6, 0)
        assert sessions[0].closed.wait(
            DEADLINE_S
        )  # the peer has closed: while the port still serves
    assert sessions[0].answer is True
    assert sessions[0].error is None


def test_file_that_is_not_sent_is_closed_too(port: CompletionPort, path: Path) -> None:
    """The session ends with one file under way and one waiting; another comes too late."""
    files: list[Any] = []
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener):
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        session.send(bytes(1 << 23))  # which the peer does not read
        for _ in range(2):
            files.append(path.open("rb"))
            session.send_file(files[-1], close=True)
        session.abort()
        assert session.closed.wait(DEADLINE_S)
        files.append(path.open("rb"))
        assert session.send_file(files[-1], close=True) is False
        assert eventually(lambda: all(file.closed for file in files))


def test_second_file_that_waits_is_told_as_too_much(
    port: CompletionPort, path: Path, content: bytes
) -> None:
    """Its ``send_file`` says False, and so does ``send``; ``on_writable`` comes once."""

    class Unlimited(Journal):
        high_water = 1 << 30

    sessions = Made(Unlimited)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer, path.open("rb") as file:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        assert session.send(bytes(1 << 23)) is True  # more than the sockets hold
        answers = [session.send_file(file), session.send_file(file), session.send(b"!")]
        assert answers == [True, False, False]
        assert session.hooks == ["connect"]
        expected = bytes(1 << 23) + content + content + b"!"
        assert receive_all(peer, len(expected)) == expected
        assert eventually(lambda: session.hooks == ["connect", "writable"])
        assert session.send_file(file) is True


def test_session_is_not_idle_while_its_file_is_being_read(
    port: CompletionPort, tmp_path: Path
) -> None:
    """Half of a long file has been read, and that counts, though the file is on its way still."""

    class Idle(Journal):
        idle_timeout = 3600.0

    (tmp_path / "long").write_bytes(bytes(32 << 20))
    sessions = Made(Idle)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer, (tmp_path / "long").open("rb") as file:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        watch = sessions[0]._pyiocp.watch
        watch.active_at = long_ago = watch.now() - 1000
        sessions[0].send_file(file)
        assert len(receive_all(peer, 16 << 20)) >= 16 << 20
        assert eventually(lambda: watch.active_at > long_ago)
        assert sessions[0].statistics().bytes_sent == 0


def test_file_is_the_callers_by_default(port: CompletionPort, path: Path, content: bytes) -> None:
    """Sent twice, by two sessions, and open still."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with path.open("rb") as file, served(port):
        for n in range(2):
            with connect(listener) as peer:
                assert eventually(lambda n=n: len(sessions) > n and sessions[n].connected.is_set())
                sessions[n].send_file(file)
                assert receive_all(peer, len(content)) == content
        assert not file.closed
        assert file.read(4) == content[:4]


@pytest.mark.parametrize("bad", ["name", None, b"bytes", 2.0])
def test_what_is_no_file_is_refused(port: CompletionPort, bad: Any) -> None:
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        with pytest.raises(TypeError):
            sessions[0].send_file(bad)
        sessions[0].send(b"only this")
        sessions[0].close()
        assert receive_all(peer) == b"only this"


def test_file_closed_too_early_ends_the_session(port: CompletionPort, path: Path) -> None:
    """Closed by the caller while it waits: what was before it arrives, then the session ends."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        session.send(bytes(1 << 23))
        with path.open("rb") as file:
            session.send_file(file)
        assert not session.closed.is_set()
        assert len(receive_all(peer, 1 << 23)) == 1 << 23
        assert session.closed.wait(DEADLINE_S)
    assert isinstance(session.error, OSError)
    assert isinstance(session.error.__cause__, ValueError)


def test_error_of_the_file_ends_the_session(path: Path) -> None:
    """TransmitFile is refused: on_close has the system's error, and the file is closed."""
    kernel = FaultyKernel()

    def size(real: Callable[..., int], number: int, result: Any) -> int:
        return real(0, result)

    kernel.wrap("GetFileSizeEx", size)
    with CompletionPort(kernel=kernel) as port:
        sessions = Made(Journal)
        listener = port.listen(LOCAL, sessions)
        with served(port), connect(listener):
            assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
            file = path.open("rb")
            sessions[0].send_file(file, close=True)
            assert sessions[0].closed.wait(DEADLINE_S)
            assert eventually(lambda: file.closed)
    assert isinstance(sessions[0].error, IocpError)
    assert sessions[0].error.function == "GetFileSizeEx"


def test_file_that_cannot_be_closed_is_told_in_the_log(
    port: CompletionPort, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The session goes on: its bytes were sent."""

    class Failing:
        closed = False

        def __init__(self) -> None:
            self.file = path.open("rb")

        def fileno(self) -> int:
            return self.file.fileno()

        def close(self) -> None:
            self.file.close()
            raise OSError("the disk is gone")

    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with caplog.at_level(logging.ERROR, logger="pyiocp"), served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        sessions[0].send_file(Failing(), 0, 5, close=True)
        sessions[0].send(b", on")
        assert receive_all(peer, 9)[5:] == b", on"
        assert eventually(lambda: "could not be closed" in caplog.text)
    caplog.clear()
