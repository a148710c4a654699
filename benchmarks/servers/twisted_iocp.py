"""Twisted's servers: a Protocol a connection, on the IOCP reactor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import iocpreactor

from .control import Control

iocpreactor.install()

from twisted.internet import reactor  # noqa: E402, there is one only after the line above
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol  # noqa: E402
from twisted.protocols.basic import FileSender  # noqa: E402


class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class DatagramEcho(DatagramProtocol):
    """Sends back what comes, to where it came from."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Send it back."""
        self.transport.write(datagram, addr)


def _serve(control: Control, protocol: type[Protocol]) -> None:
    listening = reactor.listenTCP(
        0, Factory.forProtocol(protocol), backlog=4096, interface="127.0.0.1"
    )
    control.ready(listening.getHost().port)
    reactor.run()


def serve_echo(control: Control) -> None:
    """Send back what comes."""
    _serve(control, Echo)


def serve_broadcast(control: Control) -> None:
    """Send what comes on one connection to all."""
    players: set[Any] = set()

    class Player(Protocol):
        def connectionMade(self) -> None:
            players.add(self.transport)

        def connectionLost(self, reason: Any = None) -> None:
            players.discard(self.transport)

        def dataReceived(self, data: bytes) -> None:
            for transport in players:
                transport.write(data)

    _serve(control, Player)


def serve_datagrams(control: Control) -> None:
    """Send back what comes, to where it came from."""
    listening = reactor.listenUDP(0, DatagramEcho(), interface="127.0.0.1")
    control.ready(listening.getHost().port)
    reactor.run()


def serve_download(control: Control) -> None:
    """Send a file, and close."""

    class Download(Protocol):
        def connectionMade(self) -> None:
            file = Path(control.file).open("rb")  # noqa: SIM115, closed when it has been sent
            sent = FileSender().beginFileTransfer(file, self.transport)

            def end(_: object) -> None:
                file.close()
                self.transport.loseConnection()

            sent.addBoth(end)

    _serve(control, Download)
