"""Debug mode: who touches a buffer while the kernel owns it is found and named; nobody else is."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from ctypes import byref
from pathlib import Path

import pytest
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import BufferPool, BufferRuleError, CompletionPort, IocpError, Session, Stream
from pyiocp.engine.in_flight import InFlightTable
from pyiocp.memory.pages import PAGE_SIZE, extent_of
from pyiocp.observing.debugging import PATTERN, debug_mode_wanted
from pyiocp.winapi import DWORD, WSABUF, WSASend, last_error
from pyiocp.winapi import errorcodes as codes

Watched = tuple[CompletionPort, Stream, socket.socket]


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A port in debug mode, a stream on it, and its peer; no rule may have been broken."""
    ours, peer = socket.socketpair()
    peer.settimeout(10)
    with CompletionPort(debug=True) as port, peer:
        yield port, port.stream(ours), peer


def broken(port: CompletionPort) -> list[str]:
    """Close the port, and return what it says was broken."""
    with pytest.raises(BufferRuleError) as caught:
        port.close()
    assert port.closed
    return caught.value.violations


def test_buffer_of_a_pending_receive_is_full_of_the_pattern(watched: Watched) -> None:
    """Whoever reads it too early sees that; afterwards it has what came, and its old content."""
    port, stream, peer = watched
    buffer = bytearray(b"0123456789")
    stream.receive(buffer)
    assert buffer == bytes((PATTERN,)) * 10
    peer.sendall(b"abc")
    [completion] = port.wait(5)
    assert (bytes(completion.data), buffer) == (b"abc", b"abc3456789")


def test_scattered_receive_is_checked_over_all_its_buffers(watched: Watched) -> None:
    """5 bytes into buffers of 3 and 4: the rest of the second is as it was."""
    port, stream, peer = watched
    buffers = bytearray(b"..."), bytearray(b"0123")
    stream.receive(*buffers)
    peer.sendall(b"abcde")
    [completion] = port.wait(5)
    assert (completion.bytes, buffers) == (5, (b"abc", b"de23"))


def test_write_to_the_buffer_of_a_pending_receive_is_named(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged with the completion: the byte, the operation and the line that posted it."""
    port, stream, peer = watched
    buffer = bytearray(100)
    operation = stream.receive(buffer)
    buffer[42] = 1
    peer.sendall(b"abc")
    with caplog.at_level(logging.ERROR, logger="pyiocp"):
        [completion] = port.wait(5)
    assert bytes(completion.data) == b"abc"
    [violation] = broken(port)
    assert violation.startswith(
        f"byte 42 of buffer 0 of <Operation receive at {operation.address:#x}"
    )
    assert "test_debug_mode.py:" in violation
    assert [record.getMessage() for record in caplog.records] == [violation]


def test_change_of_a_buffer_that_is_being_sent_is_named(watched: Watched) -> None:
    """The send stays pending until the peer reads; the third of its bytes changes meanwhile."""
    port, stream, peer = watched
    data = bytearray(1 << 24)
    stream.send(b"a constant", data)
    data[3] = 1
    reader = threading.Thread(target=take, args=(peer, len(data) + 10))
    reader.start()
    [completion] = port.wait(20)
    reader.join(20)
    assert completion.error is None
    [violation] = broken(port)
    assert violation.startswith("byte 3 of buffer 1 of <Operation send at ")


def take(peer: socket.socket, count: int) -> None:
    while count:
        count -= len(peer.recv(min(count, 1 << 20)))


def test_correct_program_is_not_accused(watched: Watched) -> None:
    """Sends, receives, posted again, on the spot and later, cancelled, refused and closed."""
    port, stream, peer = watched
    buffer = bytearray(b"." * 20)
    peer.sendall(b"on the spot")
    operation = stream.receive(buffer)
    [completion] = port.wait(5)
    assert bytes(completion.data) == b"on the spot"
    for n in range(20):
        operation.post()
        stream.send(bytearray(b"%d" % n))
        peer.sendall(b"%d" % n)
        ended = []
        while len(ended) < 2:
            ended += port.wait(5)
    operation.post()
    assert operation.cancel()
    [completion] = port.wait(5)
    assert completion.error is not None
    assert buffer == b"19 the spot........."
    with pytest.raises(IocpError):
        port.stream().receive(buffer)
    assert buffer == b"19 the spot........."
    stream.receive(buffer)
    stream.close()
    assert len(port.wait(5)) == 1


def test_refused_operation_leaves_its_buffer_as_it_was() -> None:
    """Also when it has completed before, with bytes: nothing of that is taken for its own."""
    kernel = FaultyKernel()
    refusal = Refusal(codes.WSAENOBUFS, -1)
    refusal.enabled = False
    kernel.wrap("WSARecv", refusal)
    ours, peer = socket.socketpair()
    with CompletionPort(kernel=kernel, debug=True) as port, peer:
        buffer = bytearray(b"0123456789")
        operation = port.stream(ours).receive(buffer)
        peer.sendall(b"abcdef")
        [_] = port.wait(5)
        buffer[:] = b"9876543210"
        refusal.enabled = True
        with pytest.raises(IocpError):
            operation.post()
        assert buffer == b"9876543210"


def test_session_works_in_debug_mode() -> None:
    """An echo of 50 messages, its buffers looked after."""

    class Echo(Session):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

    with CompletionPort(debug=True) as port:
        listener = port.listen(("127.0.0.1", 0), Echo)
        worker = threading.Thread(target=port.run)
        worker.start()
        with socket.create_connection(listener.address) as client:
            client.settimeout(10)
            for n in range(50):
                client.sendall(b"%d" % n)
                assert client.recv(10) == b"%d" % n
        port.stop()
        worker.join(10)


def test_byte_after_a_slice_is_nobodys() -> None:
    """The system refuses to send it (WSAEFAULT), and the one before the slice's first page.

    Every byte of the slice may be written and sent.
    """
    ours, peer = socket.socketpair()

    def sent(address: int) -> int:
        """Return 0 if a byte could be sent, or why not."""
        wsabuf, count = WSABUF(1, address), DWORD()
        if WSASend(ours.fileno(), byref(wsabuf), 1, byref(count), 0, None, None):
            return last_error()
        return 0

    with ours, peer, BufferPool(100, slices=3, debug=True) as pool:
        views = [pool.take() for _ in range(3)]
        for view in views:
            view[:] = bytes(100)
            address, size = extent_of(view)
            assert (sent(address), sent(address + size - 1)) == (0, 0)
            assert sent(address + size) == codes.WSAEFAULT
            assert sent(address + size - PAGE_SIZE - 1) == codes.WSAEFAULT
        views.clear()
        del view


def test_guarded_pool_can_be_locked() -> None:
    """The slices' own pages are; guards cannot be."""
    with BufferPool(5000, slices=3, debug=True, locked=True) as pool:
        statistics = pool.statistics()
        assert (statistics.bytes, statistics.bytes_locked) == (10 * PAGE_SIZE, 6 * PAGE_SIZE)


@pytest.mark.parametrize(
    ("value", "wanted"), [("1", True), ("yes", True), ("0", False), ("", False)]
)
def test_environment_turns_it_on(value: str, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """For ports and pools that do not say otherwise."""
    monkeypatch.setenv("PYIOCP_DEBUG", value)
    assert debug_mode_wanted() is wanted
    with CompletionPort() as port, CompletionPort(debug=False) as other:
        assert (port._debug, other._debug) == (wanted, False)
        with port.buffer_pool(100, slices=1) as pool:
            assert pool.statistics().bytes == (3 if wanted else 1) * PAGE_SIZE


def test_off_it_is_not_there() -> None:
    """The in-flight table is a dict whose methods are a dict's own: nothing looks on."""
    with CompletionPort(debug=False) as port:
        table = type(port.in_flight)
        assert table is InFlightTable
        for name in ("__setitem__", "__delitem__", "pop", "get"):
            assert getattr(table, name) is getattr(dict, name)


def test_broken_rule_ends_a_program_with_an_error() -> None:
    """In a process of its own, by the environment alone: the ``with`` block raises."""
    program = (
        "import socket, pyiocp\n"
        "ours, peer = socket.socketpair()\n"
        "with pyiocp.CompletionPort() as port:\n"
        "    buffer = bytearray(10)\n"
        "    port.stream(ours).receive(buffer)\n"
        "    buffer[9] = 9\n"
        "    peer.send(b'x')\n"
        "    port.wait(5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYIOCP_DEBUG": "1"},
    )
    assert done.returncode == 1
    assert "BufferRuleError: byte 9 of buffer 0 of <Operation receive" in done.stderr
    assert "posted at <string>:5" in done.stderr


def test_file_is_read_in_whole_sectors_or_not(tmp_path: Path) -> None:
    """5,000 bytes of a file into 8,192: what is behind them comes back, whatever the device did."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5000)
    with (
        CompletionPort(debug=True) as port,
        port.buffer_pool(8192) as pool,
        port.file(path) as buffered,
        port.file(path, unbuffered=True) as unbuffered,
    ):
        for file in (buffered, unbuffered):
            view = pool.take()
            view[:] = b"." * 8192
            file.read(view, 0)
            [completion] = port.wait(5)
            assert completion.error is None
            assert bytes(view) == b"x" * 5000 + b"." * 3192
            del completion
        view.release()
