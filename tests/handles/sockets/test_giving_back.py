"""C48: a socket is given back in the mode that it came with: blocking, and what it reports.

The system does not tell the mode of a socket: a call that would wait shows it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from faulty_kernel import FaultyKernel

from pyiocp import CompletionPort, Datagram, FunctionUnavailableError, Stream
from pyiocp.winapi import SIO_UDP_CONNRESET, SIO_UDP_NETRESET

LOCAL = ("127.0.0.1", 0)


def waits(number: int, wake: Callable[[], object]) -> bool:
    """Tell whether a receive on the socket waits for what `wake` sends; close the socket."""
    outcome: list[Any] = []

    def receive() -> None:
        try:
            outcome.append(sock.recv(10))
        except BlockingIOError:
            outcome.append(None)

    with socket.socket(fileno=number) as sock:
        assert sock.gettimeout() is None, "Python takes it for one that waits"
        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        thread.join(0.1)
        if thread.is_alive():
            wake()
            thread.join(10)
        assert not thread.is_alive()
    [data] = outcome
    return data is not None


def datagram_socket(timeout: float | None) -> socket.socket:
    """Return a socket in the mode that a time-out means."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(LOCAL)
    sock.settimeout(timeout)
    return sock


@pytest.mark.parametrize("timeout", [None, 5.0, 0.0], ids=["waits", "time-out", "never waits"])
@pytest.mark.parametrize("adopted", [True, False], ids=["adopt", "datagram"])
def test_datagram_socket_comes_back_in_its_mode(
    port: CompletionPort, timeout: float | None, adopted: bool
) -> None:
    """After `try_send_to`, which must not wait."""
    sock = datagram_socket(timeout)
    address = sock.getsockname()
    datagram = port.adopt(sock) if adopted else port.datagram(sock)
    assert isinstance(datagram, Datagram)
    with datagram_socket(5) as peer:
        assert datagram.try_send_to(b"hello", peer.getsockname())
        assert peer.recv(10) == b"hello"
        number = datagram.detach()
        assert waits(number, lambda: peer.sendto(b"wake up", address)) is (timeout is None)


def test_socket_by_its_number_counts_as_one_that_waits(port: CompletionPort) -> None:
    sock = datagram_socket(None)
    address = sock.getsockname()
    datagram = port.datagram(sock.detach())
    with datagram_socket(5) as peer:
        assert datagram.try_send_to(b"hello", peer.getsockname())
        assert waits(datagram.detach(), lambda: peer.sendto(b"wake up", address))


@pytest.mark.parametrize("blocking", [True, False])
def test_mode_that_was_set_by_name_stays(port: CompletionPort, blocking: bool) -> None:
    """The user's last word, before `try_send_to` or after."""
    for first in (True, False):
        sock = datagram_socket(None)
        address = sock.getsockname()
        datagram = port.datagram(sock)
        with datagram_socket(5) as peer:
            if first:
                datagram.set_blocking(blocking)
            assert datagram.try_send_to(b"hello", peer.getsockname())
            if not first:
                datagram.set_blocking(blocking)
            number = datagram.detach()
            assert waits(number, lambda to=address: peer.sendto(b"wake up", to)) is blocking


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_stream_comes_back_in_its_mode(port: CompletionPort, timeout: float | None) -> None:
    """What sends without an operation asks for `stop_waiting`, as a session's does."""
    ours, peer = socket.socketpair()
    ours.settimeout(timeout)
    stream = port.stream(ours)
    with peer:
        assert stream.may_wait is (timeout is None)
        stream.stop_waiting()
        assert waits(stream.detach(), lambda: peer.send(b"wake up")) is (timeout is None)


def test_stream_is_shared_in_its_mode(kernel: FaultyKernel, port: CompletionPort) -> None:
    """Both processes have one socket: the mode goes with it, where a socket can be shared."""
    ours, peer = socket.socketpair()
    stream = port.stream(ours)
    stream.stop_waiting()
    modes: list[int] = []

    def set_mode(real: Callable[..., int], number: int, code: int, value: Any) -> int:
        modes.append(value._obj.value)
        return real(number, code, value)

    kernel.wrap("ioctlsocket", set_mode)
    with peer:
        try:
            stream.share(os.getpid())
        except FunctionUnavailableError:
            assert stream.may_wait, "it is as it was"
        assert modes == [0]
        stream.close()


def test_what_was_not_changed_is_not_touched(kernel: FaultyKernel, port: CompletionPort) -> None:
    """A stream that was never asked to stop waiting: no call is made for its mode."""
    calls: list[Any] = []

    def set_mode(real: Callable[..., int], *arguments: Any) -> int:
        calls.append(arguments)
        return real(*arguments)

    kernel.wrap("ioctlsocket", set_mode)
    ours, peer = socket.socketpair()
    with peer:
        stream = port.stream(ours)
        assert isinstance(stream, Stream)
        with socket.socket(fileno=stream.detach()):
            assert calls == []


@pytest.mark.parametrize("chosen", [None, True, False], ids=["default", "on", "off"])
def test_what_a_datagram_socket_reports_is_turned_on_again(
    kernel: FaultyKernel, port: CompletionPort, chosen: bool | None
) -> None:
    """Pyiocp turns it off (C04); `detach` gives it back as new sockets are, or as it was asked."""
    state: dict[int, bool] = {}

    def note(real: Callable[..., int], number: int, code: int, value: Any, *rest: Any) -> int:
        state[code] = bool(value._obj.value)
        done = rest[3]
        ctypes.memset(done, 0, ctypes.sizeof(done._obj))
        return 0

    kernel.wrap("WSAIoctl", note)
    datagram = port.datagram(datagram_socket(None))
    assert state == {SIO_UDP_CONNRESET: False, SIO_UDP_NETRESET: False}
    if chosen is not None:
        datagram.report(unreachable=chosen)
    with socket.socket(fileno=datagram.detach()):
        assert state == {SIO_UDP_CONNRESET: chosen is not False, SIO_UDP_NETRESET: True}


def test_inheritance_is_never_changed(port: CompletionPort) -> None:
    """Of a socket that is adopted, in either state; new ones are not inherited."""
    for inheritable in (True, False):
        sock = datagram_socket(None)
        sock.set_inheritable(inheritable)
        datagram = port.datagram(sock)
        assert os.get_handle_inheritable(datagram.number) is inheritable  # type: ignore[attr-defined]
        with socket.socket(fileno=datagram.detach()) as again:
            assert again.get_inheritable() is inheritable
    for made in (port.datagram(), port.stream()):
        assert os.get_handle_inheritable(made.number) is False  # type: ignore[attr-defined]
