"""An echo server: everything that comes on a connection goes back.

    python examples/echo.py            on Windows
    python3 run.py python examples/echo.py      in a checkout, elsewhere

Then, from another terminal: nc 127.0.0.1 9000. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse

from pyiocp import CompletionPort, Limits, Session


class Echo(Session):
    """One connection; pyiocp makes one of these for each client."""

    idle_timeout = 300.0  # a client that sends nothing for so long is disconnected

    def on_connect(self) -> None:
        """The connection stands."""
        print(f"{self.peer_address} connected")

    def on_receive(self, data: memoryview) -> None:
        """Bytes came; `data` is a view of the session's buffer, and valid during this call."""
        if not self.send(data):
            # A client that sends, but does not read: take no more from it until it has read.
            self.pause_receiving()

    def on_writable(self) -> None:
        """The client has read most of what was waiting for it."""
        self.resume_receiving()

    def on_close(self, error: OSError | None) -> None:
        """The connection has ended, in order if `error` is None."""
        print(f"{self.peer_address} closed" if error is None else f"{self.peer_address}: {error}")


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Send back everything that comes.")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="and its port (%(default)s)")
    options = parser.parse_args()

    with CompletionPort() as port:
        limits = Limits(sessions=2000, sessions_per_address=500)
        listener = port.listen((options.host, options.port), Echo, limits=limits)
        print(f"listening at {listener.address}", flush=True)
        try:
            port.run()
        except KeyboardInterrupt:
            print(f"{listener.accepted} connections were served")


if __name__ == "__main__":
    main()
