"""The address of every interface, connected or sent to, is this machine.

Windows refuses it, and the system below these tests may not: here it is refused by the seam, in
every call that takes an address to connect or to send to.
"""

from __future__ import annotations

import ctypes
import socket
from typing import Any

import pytest
from completions import one
from datagram_journal import DatagramJournal, Echo
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel
from journal import Journal, served

from pyiocp import CompletionPort, Session
from pyiocp.handles.sockets.destination import destination
from pyiocp.winapi import (
    AF_INET,
    AF_INET6,
    SOCKET_ERROR,
    WSAEADDRNOTAVAIL,
    address_of,
)

SIX = int(AF_INET6)
EVERYWHERE = ["0.0.0.0", ""]
EVERYWHERE_SIX = ["::", "0::0", "0:0:0:0:0:0:0:0"]


class StrictKernel(FaultyKernel):
    """Refuses what Windows refuses: the address of every interface as a destination."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[Any] = []
        # The position of the address, and what a refusal is.
        for name, position, refusal in (
            ("ConnectEx", 1, 0),
            ("connect", 1, SOCKET_ERROR),
            ("sendto", 4, SOCKET_ERROR),
            ("WSASendTo", 5, SOCKET_ERROR),
            ("WSASendMsg", 1, SOCKET_ERROR),
        ):
            self.wrap(name, self._strict(position, refusal))

    def _strict(self, position: int, refusal: int) -> Any:
        def call(real: Any, *arguments: Any) -> Any:
            target = getattr(arguments[position], "_obj", arguments[position])
            if hasattr(target, "name"):  # a WSAMSG
                target = target.name
            address = address_of(target)
            self.targets.append(address)
            if address[0] in ("0.0.0.0", "::", "::ffff:0.0.0.0"):
                ctypes.set_last_error(WSAEADDRNOTAVAIL)
                return refusal
            return real(*arguments)

        return call


@pytest.mark.parametrize(
    ("family", "address", "expected"),
    [
        *[(AF_INET, (host, 7), ("127.0.0.1", 7)) for host in EVERYWHERE],
        *[(AF_INET6, (host, 7), ("::1", 7, 0, 0)) for host in EVERYWHERE_SIX],
        (AF_INET6, ("::", 7, 5, 0), ("::1", 7, 5, 0)),
        (AF_INET6, ("::ffff:0.0.0.0", 7), ("::ffff:127.0.0.1", 7, 0, 0)),
        (AF_INET, ("10.0.0.0", 7), ("10.0.0.0", 7)),
        (AF_INET, ("0.0.0.1", 7), ("0.0.0.1", 7)),
        (AF_INET6, ("fe80::", 7, 0, 3), ("fe80::", 7, 0, 3)),
        (AF_INET6, ("::1", 7), ("::1", 7, 0, 0)),
    ],
)
def test_loopback_stands_for_every_interface_only(family: int, address: Any, expected: Any) -> None:
    """C51: in whatever way it is written, and nothing else."""
    assert address_of(destination(family, address)) == expected


@pytest.mark.parametrize(
    ("family", "host"),
    [*[(socket.AF_INET, h) for h in EVERYWHERE], *[(SIX, h) for h in EVERYWHERE_SIX]],
)
def test_stream_connects_to_every_interface(family: int, host: str) -> None:
    """C51: ring 2, to a socket that listens there."""
    kernel = StrictKernel()
    with CompletionPort(kernel=kernel) as port, socket.socket(family) as server:  # type: ignore[arg-type]
        server.bind((host, 0))
        server.listen()
        stream = port.stream(family=family)
        stream.connect((host, server.getsockname()[1]))
        assert one(port).error is None
        assert stream.peer_address()[:2] == kernel.targets[0][:2]
    assert kernel.targets[0][0] == ("127.0.0.1" if family == socket.AF_INET else "::1")


@pytest.mark.parametrize("how", ["send_to", "try_send_to", "send_message", "connect"])
@pytest.mark.parametrize("family", [int(socket.AF_INET), SIX])
def test_datagram_is_sent_to_every_interface(family: int, how: str) -> None:
    """C51: ring 2, in every way there is."""
    kernel = StrictKernel()
    host = "0.0.0.0" if family == socket.AF_INET else "::"
    with (
        CompletionPort(kernel=kernel) as port,
        socket.socket(family, socket.SOCK_DGRAM) as server,  # type: ignore[arg-type]
    ):
        server.bind((host, 0))
        server.settimeout(10)
        address = (host, server.getsockname()[1])
        datagram = port.datagram(family=family)
        if how == "connect":
            datagram.connect(address)
            datagram.send(b"hello")
        else:
            getattr(datagram, how)(b"hello", address)
        assert server.recv(10) == b"hello"
        if how != "try_send_to":
            assert one(port).error is None
    assert len(kernel.targets) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::"])
def test_session_connects_to_the_address_of_its_listener(host: str) -> None:
    """C51: ring 3: the peer's address is the one that was gone to."""
    with CompletionPort(kernel=StrictKernel()) as port:
        listener = port.listen((host, 0), Session)
        number = listener.address[1]
        session: Any = port.connect(listener.address, Journal)
        with served(port):
            assert session.connected.wait(DEADLINE_S)
            assert session.peer_address[:2] == ("::1" if ":" in host else "127.0.0.1", number)
            session.abort()
            assert session.closed.wait(DEADLINE_S)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::"])
def test_session_of_datagrams_connects_to_the_address_of_its_server(host: str) -> None:
    """C51: and its server sends to it by that address, too."""

    class Asking(DatagramJournal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(b"hello")

    with CompletionPort(kernel=StrictKernel()) as port:
        server = port.serve_datagrams((host, 0), Echo)
        client: Any = port.connect_datagram(server.address, Asking)
        with served(port):
            assert client.wait_received(1) == [b"hello"]
            assert client.peer_address[0] == ("::1" if ":" in host else "127.0.0.1")
            assert server.send_to(b"again", (host, client.local_address[1]))
            assert client.wait_received(2) == [b"hello", b"again"]
