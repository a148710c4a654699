"""examples/tick_server.py: players with plain sockets, over UDP and TCP."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable

import pytest
from commands import TIMEOUT_S
from example_server import Server

Serve = Callable[..., Server]

PICTURE = struct.Struct("<cIH")
ROW = struct.Struct("<Hff16s")


def hello(name: str, token: bytes = b"") -> bytes:
    """Return the message of who wants to be let in."""
    return struct.pack("<c20s16s", b"J", token, name.encode())


def udp_player(server: Server) -> socket.socket:
    """Return a socket that talks to the server, and has not said anything."""
    player = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    player.settimeout(TIMEOUT_S)
    player.connect(("127.0.0.1", server.port))
    return player


def enter(player: socket.socket, name: str) -> int:
    """Be let in over UDP, with the token; return the player's number."""
    player.send(hello(name))
    retry = player.recv(2000)
    assert (len(retry), retry[:1]) == (21, b"C")
    player.send(hello(name, retry[1:]))
    while True:
        message = player.recv(2000)
        if message[:1] == b"W":
            return int.from_bytes(message[1:], "little")


def world(message: bytes) -> tuple[int, dict[str, tuple[float, float]]]:
    """Return the tick of a picture, and where everybody is."""
    kind, tick, count = PICTURE.unpack_from(message)
    rows = list(ROW.iter_unpack(message[PICTURE.size :]))
    assert (kind, count) == (b"T", len(rows))
    return tick, {name.rstrip(b"\0").decode(): (x, y) for _, x, y, name in rows}


def next_world(player: socket.socket) -> tuple[int, dict[str, tuple[float, float]]]:
    """Return the next picture that comes over UDP."""
    while (message := player.recv(2000))[:1] != b"T":
        pass
    return world(message)


def test_world_moves_on_a_grid(serve: Serve) -> None:
    """40 pictures, in order, at 20 a second; positions follow from velocity and tick alone."""
    server = serve("tick_server")
    with udp_player(server) as player:
        enter(player, "Ann")
        player.send(struct.pack("<cbb", b"I", 10, -20))
        for _ in range(5):  # by then the velocity is known
            next_world(player)
        begun = time.monotonic()
        first_tick, first = next_world(player)
        tick = first_tick
        for _ in range(40):
            previous, (tick, now) = tick, next_world(player)
            assert tick == previous + 1
            seconds = (tick - first_tick) / 20
            for at, was, speed in zip(now["Ann"], first["Ann"], (10, -20), strict=True):
                assert abs((at - was - speed * seconds + 50) % 100 - 50) < 0.01
        assert 1.5 < time.monotonic() - begun < 20  # two seconds, and what a busy machine adds
    ticks = server.end()[-2]
    assert re.fullmatch(r"\d+ ticks, at most \d+ ms late", ticks), ticks


def test_both_transports_see_one_world(serve: Serve) -> None:
    """A player of each; then the one over UDP says goodbye, and is gone from the other's world."""
    server = serve("tick_server")
    with udp_player(server) as ann, server.connect() as bob:
        enter(ann, "Ann")
        bob.send(len(hello("Bob")).to_bytes(2, "big") + hello("Bob"))

        def next_of_bob() -> bytes:
            return bob.read(int.from_bytes(bob.read(2), "big"))

        assert next_of_bob()[:1] == b"W"
        places = {}
        while len(places) < 2:
            tick, places = world(next_of_bob())
        assert sorted(places) == ["Ann", "Bob"]
        tick_of_ann, places_of_ann = next_world(ann)
        while tick_of_ann < tick:
            tick_of_ann, places_of_ann = next_world(ann)
        while tick < tick_of_ann:
            tick, places = world(next_of_bob())
        assert (tick, places) == (tick_of_ann, places_of_ann)
        ann.send(b"B")
        while len(places) > 1:
            _, places = world(next_of_bob())
        assert list(places) == ["Bob"]
    assert "Bob has left" in server.command.line_with("Bob has left")


def test_nobody_is_let_in_without_a_token(serve: Serve) -> None:
    """Nor with that of another address; and no answer is longer than what it answers."""
    server = serve("tick_server")
    with udp_player(server) as ann, udp_player(server) as eve:
        for nonsense in (b"", b"J", b"I\1\2", bytes(37), hello("Eve")[:-1], b"T" * 2000):
            eve.send(nonsense)
        ann.send(hello("Ann"))
        token = ann.recv(2000)[1:]
        eve.send(hello("Eve", token))
        # Of the nonsense, the one that begins like a hello is answered like one.
        assert [eve.recv(2000)[:1], eve.recv(2000)[:1]] == [b"C", b"C"]
        ann.send(hello("Ann", token))
        assert ann.recv(2000)[:1] == b"W"
        for nonsense in (b"", b"J", b"I", b"I\1", b"T" * 2000, b"\xff" * 37):
            ann.send(nonsense)
        assert list(next_world(ann)[1]) == ["Ann"]
        eve.settimeout(0.2)
        with pytest.raises(TimeoutError):
            eve.recv(2000)
    server.end()
