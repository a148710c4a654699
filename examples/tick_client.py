"""Players of the world that tick_server.py shows, over UDP or TCP.

    python examples/tick_client.py Ann                      until Ctrl-C
    python examples/tick_client.py Bob --tcp --seconds 10
    python examples/tick_client.py Crowd --players 20       Crowd1 to Crowd20

They walk about, tell who comes and goes, and at the end how many pictures they have seen.
"""

from __future__ import annotations

import argparse
import itertools
import random
import struct
from contextlib import suppress
from functools import partial
from typing import TypeVar

from tick_server import FRAMES, HELLO, MOVE, PICTURE, ROW, WELCOME, shown

from pyiocp import AddressValidation, CompletionPort, DatagramSession, FramedSession

_Bot = TypeVar("_Bot", bound="Bot")


class Bot:
    """A player at its own end: walks about, and says at the end what it has seen."""

    def __init__(self, port: CompletionPort, name: str, talks: bool) -> None:
        self.port = port
        self.name = name
        self.talks = talks
        self.number = 0
        self.tick = 0
        self.pictures = self.missed = self.too_late = 0
        self.others: dict[int, str] = {}
        self.seen: set[str] = set()
        self.path: list[tuple[float, float]] = []

    def say(self, message: bytes) -> None:
        """Send a message to the server."""
        raise NotImplementedError

    def hello(self, token: bytes = AddressValidation.no_token) -> None:
        """Ask to be let in."""
        self.say(HELLO.pack(b"J", token, self.name.encode()))

    def take(self, message: memoryview) -> None:
        """Do what a message says; one that is none is not obeyed."""
        with suppress(struct.error):
            self.obey(message)

    def obey(self, message: memoryview) -> None:
        """Do what a message says."""
        kind = bytes(message[:1])
        if kind == b"C":
            self.hello(bytes(message[1:]))
        elif kind == b"W":
            _, self.number = WELCOME.unpack(message)
        elif kind == b"T":
            self.look(message)

    def look(self, picture: memoryview) -> None:
        """Look at the world; one that is older than what was seen already is no use."""
        _, tick, _ = PICTURE.unpack_from(picture)
        if tick <= self.tick:
            self.too_late += 1
            return
        self.missed += tick - self.tick - 1 if self.tick else 0
        self.tick = tick
        self.pictures += 1
        rows = ROW.iter_unpack(picture[PICTURE.size :])
        players = {number: (shown(name), x, y) for number, x, y, name in rows}
        others = {n: name for n, (name, _, _) in players.items() if n != self.number}
        if self.talks:
            for number in others.keys() - self.others.keys():
                print(f"* {others[number]} is here", flush=True)
            for number in self.others.keys() - others.keys():
                print(f"* {self.others[number]} has left", flush=True)
        self.others = others
        self.seen.update(others.values())
        if self.number in players:
            self.path.append(players[self.number][1:])
        if self.pictures % 10 == 1:
            self.say(MOVE.pack(b"I", random.randint(-30, 30), random.randint(-30, 30)))

    def report(self) -> str:
        """Return what it has seen, in a line."""
        steps = sum(a != b for a, b in itertools.pairwise(self.path))
        return (
            f"{self.name}: {self.pictures} pictures in order, {self.missed} missed,"
            f" {self.too_late} too late; moved {steps} times; saw {', '.join(sorted(self.seen))}"
        )


class UdpBot(Bot, DatagramSession):
    """A player over UDP."""

    idle_timeout = 5.0

    def on_connect(self) -> None:
        """There is a socket; whether there is a server will be seen."""
        self.hello()
        self.again = self.port.call_later(0.2, self.on_connect)

    def on_receive(self, data: memoryview) -> None:
        """A datagram is a message."""
        self.take(data)
        if self.number:
            self.again.cancel()

    def say(self, message: bytes) -> None:
        """A message is a datagram."""
        self.send(message)


class TcpBot(Bot, FramedSession):
    """A player over TCP."""

    framing = FRAMES

    def on_connect(self) -> None:
        """The connection stands."""
        self.hello()

    def on_frame(self, frame: memoryview) -> None:
        """A frame is a message."""
        self.take(frame)

    def say(self, message: bytes) -> None:
        """A message is a frame."""
        self.send_frame(message)


def _itself(bot: _Bot) -> _Bot:
    """Be the factory of a session that is there already."""
    return bot


def main() -> None:
    """Be some players."""
    parser = argparse.ArgumentParser(description="Players for tick_server.py.")
    parser.add_argument("name", help="of the player, up to 16 bytes")
    parser.add_argument("--tcp", action="store_true", help="over TCP, not UDP")
    parser.add_argument("--players", type=int, default=1, help="how many (%(default)s)")
    parser.add_argument("--seconds", type=float, help="how long; until Ctrl-C if not given")
    parser.add_argument("--host", default="127.0.0.1", help="of the server (%(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="of the server (%(default)s)")
    options = parser.parse_args()
    address = (options.host, options.port)
    numbers = range(1, options.players + 1)
    names = [f"{options.name}{n}" for n in numbers] if options.players > 1 else [options.name]
    if any(len(name.encode()) > 16 for name in names):
        parser.error("a name has 16 bytes at most")

    with CompletionPort() as port:
        bots: list[TcpBot | UdpBot] = []
        for name in names:
            talks = not bots  # one of them tells what all of them see
            if options.tcp:
                bots.append(tcp := TcpBot(port, name, talks))
                port.connect(address, partial(_itself, tcp))
            else:
                bots.append(udp := UdpBot(port, name, talks))
                port.connect_datagram(address, partial(_itself, udp))
        if options.seconds is not None:
            port.call_later(options.seconds, port.stop)
        with suppress(KeyboardInterrupt):
            port.run(threads=1)
        with suppress(RuntimeError):  # of one that has never been connected
            for bot in bots:
                bot.say(b"B")
        port.shutdown(timeout=1)
        port.run(threads=1)
        for bot in bots:
            print(bot.report())


if __name__ == "__main__":
    main()
