"""``serve echo``: any client is served, and Ctrl-C ends it in order with a summary."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import pytest
from commands import Command, run_python

Start = Callable[..., Command]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_serve_echoes_to_a_plain_socket_until_ctrl_c(start_interruptible: Start, host: str) -> None:
    """Two clients, one after the other; the second is still there at Ctrl-C, and sees the end."""
    shown = f"[{host}]" if ":" in host else host
    command = start_interruptible("serve", "echo", "--address", f"{shown}:0")
    listening = command.line_with("listening at ")
    match = re.fullmatch(r"listening at (.*):(\d+); Ctrl-C ends", listening)
    assert match, listening
    assert match[1] == shown
    with socket.create_connection((host, int(match[2])), 10) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    with socket.create_connection((host, int(match[2])), 10) as client:
        client.sendall(b"abc")
        assert client.recv(100) == b"abc"
        command.press_ctrl_c()
        assert client.recv(100) == b""
    assert command.end() == 0
    assert re.fullmatch(
        r"served 2 connections in \d+\.\d s: 8 bytes came, 8 bytes went back",
        "\n".join(command.output[1:]),
    )


def test_a_client_that_does_not_close_is_aborted_in_the_end(start_interruptible: Start) -> None:
    """A second Ctrl-C waits for it no longer."""
    command = start_interruptible("serve", "echo", "--address", "127.0.0.1:0")
    port = int(command.line_with("listening at ").rpartition(":")[2].partition(";")[0])
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        command.press_ctrl_c()
        assert client.recv(1) == b""
        command.press_ctrl_c()
        assert command.end() == 0
    assert command.output[1:][1] == "1 connection aborted: the other side did not close"


def test_address_of_another_machine_is_one_line() -> None:
    """An address that no interface has (TEST-NET-1) fails with 1 and says which."""
    done = run_python("-m", "pyiocp", "serve", "echo", "--address", "192.0.2.1:9000")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pyiocp: error: cannot listen at 192.0.2.1:9000: bind failed with WSAEADDRNOTAVAIL"
        " (10049): no interface of this machine has this address\n"
    )


def test_address_in_use_is_one_line() -> None:
    """A socket listens there already."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = run_python("-m", "pyiocp", "serve", "echo", "--address", address)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        rf"pyiocp: error: cannot listen at {address}: .*WSAE\w+ .*\n", done.stderr
    ), done.stderr


def send_until_blocked(client: socket.socket, chunk: bytes) -> int:
    """Send until nothing was taken for the socket's timeout, or 64 MB; return the bytes sent."""
    sent = 0
    try:
        while sent < 1 << 26:
            sent += client.send(chunk)
    except TimeoutError:
        pass
    return sent


def test_a_client_that_does_not_read_is_not_read_from(start_interruptible: Start) -> None:
    """It can send until both systems' buffers and the server's queue are full, and no more.

    What it sent comes back when it reads at last. The server's limit, at which it would
    abort a session, is 64 MB; were there no back-pressure, that would be reached.
    """
    command = start_interruptible("serve", "echo", "--address", "127.0.0.1:0")
    port = int(command.line_with("listening at ").rpartition(":")[2].partition(";")[0])
    chunk = bytes(range(256)) * 1024
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.settimeout(1.0)
        sent = send_until_blocked(client, chunk)
        assert sent < 1 << 26
        client.settimeout(20)
        client.shutdown(socket.SHUT_WR)
        back = bytearray()
        while data := client.recv(1 << 20):
            back += data
    assert back == (chunk * (sent // len(chunk) + 1))[:sent]
    command.press_ctrl_c()
    assert command.end() == 0
