"""A game's world, sent to all players 20 times a second, over UDP and TCP.

    python examples/tick_server.py               the server, of both
    python examples/tick_client.py Ann           a player, over UDP, from another terminal
    python examples/tick_client.py Bob --tcp     another one, over TCP

Every picture of the world is whole: one that is lost costs nothing, and there is nothing to
send again. It fits into one datagram. Ticks are on a grid: one that is late makes none of
those after it late. Ctrl-C ends it.

A message is a letter and what follows it; over TCP its length, in two bytes, goes before it.

    player to server   J  token, name     let me in (over UDP: until a W has come)
                       I  vx, vy          this is how I move now, in units a second
                       B                  goodbye
    server to player   C  token           say that again, with this (over UDP)
                       W  number          you are in, and that is your number
                       T  tick, count     the world: number, x, y and name of each player
"""

from __future__ import annotations

import argparse
import itertools
import random
import struct
import time

from pyiocp import (
    AddressUnavailableError,
    AddressValidation,
    CompletionPort,
    DatagramServer,
    DatagramSession,
    FramedSession,
    LengthPrefixed,
    Limits,
    Listener,
)

TICK_S = 1 / 20
FIELD = 100.0
"""Units that the world measures each way; a player who leaves it comes in at the other side."""
PLAYERS_MAX = 40
"""So many fit into 1,200 bytes, which pass every network whole."""

HELLO = struct.Struct(f"<c{AddressValidation.token_size}s16s")
NAME_AT = 1 + AddressValidation.token_size
MOVE = struct.Struct("<cbb")
WELCOME = struct.Struct("<cH")
PICTURE = struct.Struct("<cIH")
ROW = struct.Struct("<Hff16s")
FRAMES = LengthPrefixed(2)

AT_THE_DOOR_MAX = 20
"""Connections over TCP that have not asked to be let in yet."""


class World:
    """Who is where. One thread serves them all, so it needs no lock."""

    def __init__(self, port: CompletionPort) -> None:
        self.port = port
        self.players: dict[int, Player] = {}
        self.at_the_door: dict[TcpPlayer, None] = {}
        """Players who are connected and have not joined; the oldest is first."""
        self.numbers = itertools.cycle(range(1, 65536))
        self.tick = 0
        self.latest_s = 0.0
        self.begun = time.monotonic()
        port.call_later(TICK_S, self.step)

    def step(self) -> None:
        """Move everybody, show everybody, and come again at the next point of the grid."""
        due = self.begun + (self.tick + 1) * TICK_S
        late_s = time.monotonic() - due
        self.latest_s = max(self.latest_s, late_s)
        if late_s > 1.0:
            self.begun += late_s  # the machine has slept, and the world with it
        self.tick += 1
        players = list(self.players.values())
        for player in players:
            player.x = (player.x + player.vx * TICK_S) % FIELD
            player.y = (player.y + player.vy * TICK_S) % FIELD
        picture = PICTURE.pack(b"T", self.tick, len(players)) + b"".join(
            ROW.pack(player.number, player.x, player.y, player.name) for player in players
        )
        udp = [player for player in players if isinstance(player, UdpPlayer)]
        tcp = [player for player in players if isinstance(player, TcpPlayer)]
        self.port.broadcast(udp, picture)  # a player who misses this one gets the next
        told = self.port.broadcast([p for p in tcp if not p.behind], FRAMES.wrap(picture))
        for player in told.behind:
            player.behind = True
        upcoming = self.begun + (self.tick + 1) * TICK_S
        self.port.call_later(max(0.0, upcoming - time.monotonic()), self.step)


def shown(name: bytes) -> str:
    """Return a name as it may be printed: a terminal would obey what is not printable."""
    text = name.rstrip(b"\0").decode(errors="replace")
    return "".join(letter for letter in text if letter.isprintable()) or "?"


class Player:
    """A player, as the server has it, whatever it comes by."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.number = 0
        self.name = b""
        self.x, self.y = random.uniform(0, FIELD), random.uniform(0, FIELD)
        self.vx = self.vy = 0

    def tell(self, message: bytes) -> None:
        """Send a message to the player."""
        raise NotImplementedError

    def end(self) -> None:
        """End the session."""
        raise NotImplementedError

    def take(self, message: memoryview) -> None:
        """Do what a message says; it may be anything."""
        kind, size = bytes(message[:1]), len(message)
        if kind == b"J" and size == HELLO.size:
            if not self.number and len(self.world.players) < PLAYERS_MAX:
                players, self.name = self.world.players, bytes(message[NAME_AT:])
                self.number = next(n for n in self.world.numbers if n not in players)
                players[self.number] = self
                print(f"{shown(self.name)} has come, {len(players)} are here", flush=True)
            if self.number:  # also if it asks again: the first answer may have been lost
                self.tell(WELCOME.pack(b"W", self.number))
        elif kind == b"I" and size == MOVE.size:
            _, self.vx, self.vy = MOVE.unpack(message)
        elif kind == b"B":
            self.end()

    def on_close(self, error: OSError | None) -> None:
        """The player has left, or has not been heard of for too long."""
        if self.world.players.pop(self.number, None) is not None:
            print(f"{shown(self.name)} has left", flush=True)


class UdpPlayer(Player, DatagramSession):
    """A player over UDP. Its session begins when it has brought its token back."""

    idle_timeout = 5.0

    def on_receive(self, data: memoryview) -> None:
        """A datagram is a message."""
        self.take(data)

    def tell(self, message: bytes) -> None:
        """A message is a datagram."""
        self.send(message)

    def end(self) -> None:
        """What waits goes out, and no more is taken from there."""
        self.close()


class TcpPlayer(Player, FramedSession):
    """A player over TCP. One that does not read misses pictures, instead of making them wait."""

    framing = LengthPrefixed(2, maximum=64)
    high_water = 1 << 13
    low_water = 1 << 11
    idle_timeout = 5.0
    send_limit = 1 << 16
    behind = False

    def on_connect(self) -> None:
        """Wait at the door; if too many do, disconnect the one that has waited longest."""
        door = self.world.at_the_door
        door[self] = None
        if len(door) > AT_THE_DOOR_MAX:
            first = next(iter(door))
            del door[first]
            first.abort()

    def on_close(self, error: OSError | None) -> None:
        """The connection has ended, of a player or of one who never joined."""
        self.world.at_the_door.pop(self, None)
        super().on_close(error)

    def on_frame(self, frame: memoryview) -> None:
        """A frame is a message."""
        if not self.number and self not in self.world.at_the_door:
            return  # it had to make room for another one, and is being disconnected
        self.take(frame)
        if self.number:
            self.world.at_the_door.pop(self, None)

    def tell(self, message: bytes) -> None:
        """A message is a frame."""
        self.send_frame(message)

    def end(self) -> None:
        """What waits goes out, then the connection ends."""
        self.close()

    def on_writable(self) -> None:
        """It has read what waited: it gets pictures again."""
        self.behind = False


def open_both(
    port: CompletionPort, world: World, host: str, number: int, attempts: int = 10
) -> tuple[Listener, DatagramServer]:
    """Listen for TCP and UDP at one port number."""
    # Over TCP a few more: a connection that is aborted takes a moment to end.
    most = PLAYERS_MAX + 2 * AT_THE_DOOR_MAX
    tcp_limits = Limits(sessions=most, per_second=100)
    udp_limits = Limits(sessions=PLAYERS_MAX, per_second=100)
    # An address in a datagram may be a lie, and nothing is remembered of those that are.
    validation = AddressValidation(hello=b"J", retry=b"C")
    listener = port.listen((host, number), lambda: TcpPlayer(world), limits=tcp_limits)
    try:
        return listener, port.serve_datagrams(
            listener.address[:2], lambda: UdpPlayer(world), admit=validation, limits=udp_limits
        )
    except AddressUnavailableError:
        listener.close()
        if number or not attempts:
            raise
        return open_both(port, world, host, number, attempts - 1)  # the system chooses another


def serve(port: CompletionPort, host: str, number: int) -> None:
    """Serve at one address, by both transports, until Ctrl-C."""
    world = World(port)
    listener, server = open_both(port, world, host, number)
    print(f"listening at {listener.address[:2]}, TCP and UDP", flush=True)
    try:
        port.run(threads=1)
    except KeyboardInterrupt:
        port.shutdown(timeout=1)
        port.run(threads=1)
        sent = server.statistics()
        print(f"{world.tick} ticks, at most {world.latest_s * 1000:.0f} ms late")
        print(f"{sent.messages_sent:,} datagrams sent, {sent.sends_dropped} dropped")


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description="A world, 20 times a second, over UDP and TCP.")
    parser.add_argument("--host", default="127.0.0.1", help="where to serve (%(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="0 for any (%(default)s)")
    options = parser.parse_args()
    with CompletionPort() as port:
        serve(port, options.host, options.port)


if __name__ == "__main__":
    main()
