"""A TCP proxy: what comes from a client goes to another server, and what that answers comes back.

    python examples/proxy.py example.org:80             on Windows
    python3 run.py python examples/proxy.py example.org:80      in a checkout, elsewhere

Then, from another terminal: curl -H "Host: example.org" http://127.0.0.1:9000/. Ctrl-C ends it.

Each connection is two sessions, one to each side, and each side is read only as fast as the
other one takes it: whatever passes through, no more than `high_water` bytes and one receive
are in memory. The end of either stream is passed on by itself, for protocols in which one
side is silent first; so is a reset.

The number of clients is limited. When all places are taken, the client that has waited longest
without sending a byte is disconnected: so clients that only connect keep nobody out.
"""

from __future__ import annotations

import argparse
import threading

from pyiocp import CompletionPort, Limits, Session

ON_THEIR_WAY = 100
"""Places for new clients while the connections that make room for them are still ending."""


class Places:
    """The clients that are connected, and those that have not sent anything yet, oldest first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.lock = threading.Lock()  # hooks of several clients may run at a time
        self.taken: set[Client] = set()
        self.silent: dict[Client, None] = {}

    def take(self, client: Client) -> None:
        """Give a client a place: if none is free, that of the client that has waited longest."""
        with self.lock:
            self.taken.add(client)
            self.silent[client] = None
            if len(self.taken) <= self.count or not self.silent:
                return
            longest = next(iter(self.silent))
        self.give_back(longest)
        longest.abort()

    def heard(self, client: Client) -> None:
        """A client has said something: its place is its own."""
        with self.lock:
            self.silent.pop(client, None)

    def give_back(self, client: Client) -> None:
        """A client has gone, or is being disconnected."""
        with self.lock:
            self.taken.discard(client)
            self.silent.pop(client, None)


class Side(Session):
    """One side of a connection through the proxy; `other` is the other one."""

    high_water = 1 << 16
    low_water = 1 << 14
    close_timeout = 300.0  # for a peer that reads slowly: what is on its way shall arrive
    idle_timeout = 3600.0
    other: Side
    connected = False
    ended = False

    def on_receive(self, data: memoryview) -> None:
        """Pass it on; read no more while the other side's peer does not take it."""
        if not self.other.send(data):
            self.pause_receiving()
            # With several threads its on_writable may have come before we paused.
            if self.other.send_queue_bytes <= self.other.low_water:
                self.resume_receiving()

    def on_writable(self) -> None:
        """What was waiting here is gone: let more of it come."""
        self.other.resume_receiving()

    def on_eof(self) -> None:
        """This peer will send no more: tell the other one. When both have said so, it is over."""
        self.ended = True
        self.other.send_eof()
        if self.other.ended:
            self.close()
            self.other.close()

    def on_close(self, error: OSError | None) -> None:
        """End the other side in the same way: in order, or with a reset."""
        if not self.connected:
            return
        if error is None:
            self.other.close()
        else:
            self.other.abort()


class Client(Side):
    """The side of a client, which the listener made."""

    def __init__(self, port: CompletionPort, target: tuple[str, int], places: Places) -> None:
        self.port = port
        self.target = target
        self.places = places
        self.other = Server(self)

    def on_connect(self) -> None:
        """Connect the other side; nothing is read from the client before that stands."""
        self.places.take(self)
        self.set_keep_alive(60, 10)  # a silent client may stay, but not if its machine has gone
        self.pause_receiving()
        self.port.connect(self.target, lambda: self.other, timeout=10.0)
        self.connected = True

    def on_receive(self, data: memoryview) -> None:
        """The client has said something, which is passed on."""
        self.places.heard(self)
        super().on_receive(data)

    def on_close(self, error: OSError | None) -> None:
        """The client has gone."""
        self.places.give_back(self)
        super().on_close(error)


class Server(Side):
    """The side of the server, which the proxy connects to."""

    def __init__(self, client: Client) -> None:
        self.other = client

    def on_connect(self) -> None:
        """Both sides stand."""
        self.connected = True
        print(f"{self.other.peer_address} <-> {self.peer_address}", flush=True)
        self.other.resume_receiving()

    def on_close(self, error: OSError | None) -> None:
        """Reset the client if there was no connection, and say why."""
        if not self.connected:
            print(f"{self.other.peer_address} cannot be passed on: {error}", flush=True)
            self.other.abort()
        super().on_close(error)


def target_address(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Pass TCP connections on to another server.")
    parser.add_argument("target", type=target_address, metavar="HOST:PORT", help="that server")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="and its port (%(default)s)")
    parser.add_argument("--places", type=int, default=1000, help="for clients (%(default)s)")
    options = parser.parse_args()
    places = Places(options.places)
    most = options.places + ON_THEIR_WAY

    with CompletionPort() as port:
        listener = port.listen(
            (options.host, options.port),
            lambda: Client(port, options.target, places),
            limits=Limits(sessions=most, sessions_per_address=max(2 * ON_THEIR_WAY, most // 4)),
        )
        print(f"listening at {listener.address}", flush=True)
        try:
            port.run()
        except KeyboardInterrupt:
            print(f"{listener.accepted} connections were passed on")


if __name__ == "__main__":
    main()
