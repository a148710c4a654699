"""Sessions over TLS against the openssl program, which is the peer on this machine's side."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkouts import ROOT, clean_environment

OPENSSL = shutil.which("openssl")
PROGRAM = Path(__file__).with_name("tls_program.py")
CERTIFICATE = ROOT / "tests" / "helpers" / "localhost.crt"
KEY = CERTIFICATE.with_suffix(".key")

pytestmark = [
    pytest.mark.usefixtures("ready"),
    pytest.mark.skipif(OPENSSL is None, reason="there is no openssl program"),
]


@contextlib.contextmanager
def ours(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the program of this folder in Python for Windows, and have it ended in any case."""
    command = [sys.executable, str(ROOT / "run.py"), "python", str(PROGRAM), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that it prints."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        process.kill()
        pytest.fail(f"it ended: {process.communicate()[1]}")
    return line


@contextlib.contextmanager
def s_client(port: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start ``openssl s_client``, which trusts the certificate of the tests only."""
    command = [str(OPENSSL), "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile"]
    command += [str(CERTIFICATE), "-verify_return_error", "-servername", "localhost", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told_until(process: subprocess.Popen[str], text: str) -> str:
    """Return what it prints until there is the text in a line."""
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if text in line:
            return told
    pytest.fail(f"no {text!r} in {told!r}")


def say(process: subprocess.Popen[str], text: str) -> None:
    """Type something."""
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_s_client_is_served(option: str, version: str) -> None:
    """It verifies the certificate, agrees on a protocol, gets its answer, and leaves in order."""
    with ours("serve", "1") as server:
        with s_client(line_of(server), option, "-alpn", "other,game/1") as client:
            say(client, "hello\n")
            told = told_until(client, "HELLO")
            assert client.stdin is not None
            client.stdin.close()
            assert client.wait(20) == 0
        ended = json.loads(line_of(server))
    assert "ALPN protocol: game/1" in told
    assert "Verification: OK" in told
    assert ended == {"agreed": [version, "game/1"], "error": None}


def test_renegotiation_is_refused() -> None:
    """``R`` has s_client ask for it, in TLS 1.2: it is answered with no_renegotiation."""
    with ours("serve", "2") as server:
        port = line_of(server)
        with s_client(port, "-tls1_2") as client:
            say(client, "hello\n")
            told_until(client, "HELLO")
            say(client, "R\n")
            told_until(client, "RENEGOTIATING")
            told_until(client, "no renegotiation")
            assert client.wait(20) == 1
        json.loads(line_of(server))
        with s_client(port, "-tls1_3") as client:  # the others are served as before
            say(client, "hello\n")
            told_until(client, "HELLO")


def test_s_server_is_asked() -> None:
    """It turns each line round; our client gets the answer, and both sides end in order."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    command: list[Any] = [OPENSSL, "s_server", "-accept", f"127.0.0.1:{number}", "-naccept", "1"]
    command += ["-cert", CERTIFICATE, "-key", KEY, "-alpn", "game/1", "-rev"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            told_until(server, "ACCEPT")
            with ours("ask", str(number)) as client:
                answer = line_of(client)
                ended = json.loads(line_of(client))
            until = time.monotonic() + 60
            while server.poll() is None and time.monotonic() < until:
                time.sleep(0.01)  # for it to end by itself; bounded above
            assert server.returncode == 0
        finally:
            server.kill()
    assert answer == "noitseuq a"
    assert ended == {"agreed": ["TLSv1.3", "game/1"], "error": None}
