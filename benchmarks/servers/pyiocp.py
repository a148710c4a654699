"""pyiocp's servers: a `Session` a connection, on one worker."""

from __future__ import annotations

from pathlib import Path

from pyiocp import CompletionPort, DatagramSession, Session

from .control import Control


class Echo(Session):
    """Sends back what comes."""

    def on_receive(self, data: memoryview) -> None:
        """Send it back."""
        self.send(data)


def serve_echo(control: Control) -> None:
    """Send back what comes."""
    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), Echo)
        control.ready(listener.address[1], port.stop)
        port.run(threads=1)


def serve_broadcast(control: Control) -> None:
    """Send what comes on one connection to all."""
    with CompletionPort() as port:

        class Player(Session):
            def on_receive(self, data: memoryview) -> None:
                port.broadcast(port.sessions, data)

        listener = port.listen(("127.0.0.1", 0), Player)
        control.ready(listener.address[1], port.stop)
        port.run(threads=1)


def serve_datagrams(control: Control) -> None:
    """Send back what comes, to where it came from."""

    class DatagramEcho(DatagramSession):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

    with CompletionPort() as port:
        server = port.serve_datagrams(("127.0.0.1", 0), DatagramEcho)
        control.ready(server.address[1], port.stop)
        port.run(threads=1)


def serve_download(control: Control) -> None:
    """Send a file, and close."""

    class Download(Session):
        def on_connect(self) -> None:
            file = Path(control.file).open("rb")  # noqa: SIM115, the session closes it
            self.send_file(file, close=True)
            self.close()

    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), Download)
        control.ready(listener.address[1], port.stop)
        port.run(threads=1)
