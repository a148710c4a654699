"""Closing in order: a transfer that goes on is not cut, and nobody is held up for ever (C39)."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from deadline import DEADLINE_S
from journal import Journal, Made, connect, eventually, served
from tls_context import client_context, server_context

from pyiocp import CompletionPort
from pyiocp.servers.tcp import send_progress

LOCAL = ("127.0.0.1", 0)
SIZE = 6 << 20


class Hurried(Journal):
    """Closes right after what it sends."""

    close_timeout = 0.5


def read_slowly(peer: Any, seconds: float) -> int:
    """Take all that comes, evenly over about so many seconds; return how much it was."""
    began, count = time.monotonic(), 0
    while part := peer.recv(1 << 16):
        count += len(part)
        ahead = count / SIZE * seconds - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)  # a reader that is slow
    return count


@pytest.mark.parametrize("kind", ["send", "send_file", "half of each"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_transfer_that_goes_on_is_not_cut(
    port: CompletionPort, tmp_path: Path, kind: str, tls: bool
) -> None:
    """It takes six times `close_timeout`."""
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE if kind == "send_file" else SIZE // 2))

    class Sending(Hurried):
        def on_connect(self) -> None:
            super().on_connect()
            if kind != "send_file":
                self.send(bytes(SIZE if kind == "send" else SIZE // 2))
            if kind != "send":
                self.send_file(path.open("rb"), close=True)
            self.close()

    sessions = Made(Sending)
    listener = port.listen(LOCAL, sessions, tls=server_context() if tls else None)
    with served(port):
        raw: Any = connect(listener)
        peer = client_context().wrap_socket(raw, server_hostname="localhost") if tls else raw
        with peer:
            assert read_slowly(peer, 3.0) == SIZE
        assert sessions[0].closed.wait(DEADLINE_S)


@pytest.mark.parametrize("kind", ["send", "send_file"])
def test_peer_that_takes_nothing_is_not_waited_for(
    port: CompletionPort, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aborted after `close_timeout`, and a little for the piece under way."""
    monkeypatch.setattr(send_progress, "_PIECE_RATE", 1 << 20)  # 15 s less for a piece
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 25))

    class Sending(Hurried):
        def on_connect(self) -> None:
            super().on_connect()
            if kind == "send":
                self.send(bytes(1 << 25))
            else:
                self.send_file(path.open("rb"), close=True)
            self.close()

    sessions = Made(Sending)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener):
        assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
    assert isinstance(sessions[0].error, TimeoutError)
    assert "close" in str(sessions[0].error)


def test_trickle_does_not_hold_a_session(port: CompletionPort) -> None:
    """The peer goes on taking, but less than `close_rate`: aborted, after five seconds of grace."""

    class Sending(Journal):
        close_timeout = 60.0
        close_rate = float(1 << 22)

        def on_connect(self) -> None:
            super().on_connect()
            self.send(bytes(1 << 27))
            self.close()

    sessions = Made(Sending)
    sessions_end = threading.Event()
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:

        def trickle() -> None:
            while not sessions_end.is_set():
                try:
                    peer.recv(1 << 16)
                except OSError:
                    return
                time.sleep(0.05)  # a reader that is slow

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
        finally:
            sessions_end.set()
            thread.join(10)
    assert isinstance(sessions[0].error, TimeoutError)


def test_peer_that_never_closes_is_left_after_the_time(port: CompletionPort) -> None:
    """All is taken, and the FIN has gone: from there `close_timeout` is absolute."""

    class Sending(Hurried):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(b"all")
            self.close()

    sessions = Made(Sending)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert peer.recv(3) == b"all"
        assert peer.recv(1) == b""
        for _ in range(4):  # what it sends does not prolong it
            peer.sendall(b"x")
        assert sessions[0].closed.wait(DEADLINE_S)
    assert isinstance(sessions[0].error, TimeoutError)


def test_shutdown_stays_absolute(port: CompletionPort) -> None:
    """port.shutdown(timeout) cuts a transfer that goes on: it says when the port ends."""

    class Sending(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(bytes(1 << 27))

    sessions = Made(Sending)
    listener = port.listen(LOCAL, sessions)
    with served(port) as thread, connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        port.shutdown(0.5)
        peer.settimeout(0.01)
        began = time.monotonic()
        while thread.is_alive() and time.monotonic() - began < 30:
            try:
                if not peer.recv(1 << 12):
                    break
            except TimeoutError:
                pass
            except OSError:
                break
        thread.join(30)
        assert not thread.is_alive()
    assert sessions[0].closed.is_set()
    assert isinstance(sessions[0].error, OSError)
    assert isinstance(peer, socket.socket)
