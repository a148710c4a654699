"""Readiness of any socket, and the sock_ methods: the sockets stay on no port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aio_peers import eventually
from deadline import DEADLINE_S
from journal import reset
from wine import WINE

from pyiocp import aio

BIG = bytes(range(256)) * 20_000


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine in a loop, which reports nothing and leaves nothing watched."""
    reports: list[dict[str, Any]] = []

    async def reporting() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, aio.EventLoop)
        loop.set_exception_handler(lambda _, context: reports.append(context))
        await asyncio.wait_for(main(), 4 * DEADLINE_S)
        await eventually(lambda: "poll" not in kinds_in_flight(loop))

    aio.run(reporting())
    assert reports == []


def kinds_in_flight(loop: aio.EventLoop) -> set[str]:
    """Return what is in flight, internal operations included."""
    return {packet.kind for packet in list(loop._queue.in_flight.values())}


@contextlib.contextmanager
def two_sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give two connected sockets; the first one does not block."""
    ours, peer = socket.socketpair()
    with ours, peer:
        ours.setblocking(False)
        peer.settimeout(DEADLINE_S)
        yield ours, peer


def test_reader_is_called_as_long_as_there_is_data() -> None:
    """Level-triggered: what has not been read is reported again."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with two_sockets() as (ours, peer):
            received: list[bytes] = []
            loop.add_reader(ours, lambda: received.append(ours.recv(1)))
            peer.sendall(b"abc")
            await eventually(lambda: received == [b"a", b"b", b"c"])
            await asyncio.sleep(0.05)
            assert received == [b"a", b"b", b"c"]
            assert loop.remove_reader(ours) is True
            assert loop.remove_reader(ours) is False
            peer.sendall(b"d")
            await asyncio.sleep(0.05)
            assert received == [b"a", b"b", b"c"]

    run(main)


def test_writer_is_called_when_there_is_room_again() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with two_sockets() as (ours, peer):
            with contextlib.suppress(BlockingIOError):
                while True:
                    ours.send(BIG)
            called = asyncio.Event()
            loop.add_writer(ours.fileno(), called.set)
            await asyncio.sleep(0.05)
            reading = asyncio.create_task(asyncio.to_thread(drain, peer))
            await asyncio.wait_for(called.wait(), DEADLINE_S)
            loop.remove_writer(ours.fileno())
            ours.shutdown(socket.SHUT_WR)
            await reading

    run(main)


def drain(peer: socket.socket) -> None:
    """Read until the end."""
    while peer.recv(1 << 20):
        pass


def test_reader_and_writer_of_one_socket_are_one_poll() -> None:
    """A reader that is added while a poll for writing is under way is heard as well."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, aio.EventLoop)
        with two_sockets() as (ours, peer):
            seen: set[str] = set()
            loop.add_reader(ours, seen.add, "read")
            await asyncio.sleep(0.02)
            loop.add_writer(ours, seen.add, "write")
            await eventually(lambda: seen == {"write"})
            loop.remove_writer(ours)
            polls = [p for p in list(loop._queue.in_flight.values()) if p.kind == "poll"]
            assert len(polls) <= 1
            peer.sendall(b"x")
            await eventually(lambda: seen == {"read", "write"})
            loop.remove_reader(ours)

    run(main)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_end_of_the_peer_is_readable(end: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        listening = socket.create_server(("127.0.0.1", 0))
        ours = socket.create_connection(listening.getsockname())
        peer, _ = listening.accept()
        with ours, listening:
            ours.setblocking(False)
            called = asyncio.Event()
            loop.add_reader(ours, called.set)
            await asyncio.sleep(0.02)
            if end == "reset":
                reset(peer)
            else:
                peer.close()
            await asyncio.wait_for(called.wait(), DEADLINE_S)
            loop.remove_reader(ours)
            if end == "reset":
                with contextlib.suppress(ConnectionResetError):  # under Wine it may be the end
                    assert ours.recv(1) == b""
            else:
                assert ours.recv(1) == b""

    run(main)


def test_udp_sockets_are_watched_too() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with (
            socket.socket(type=socket.SOCK_DGRAM) as ours,
            socket.socket(type=socket.SOCK_DGRAM) as peer,
        ):
            ours.bind(("127.0.0.1", 0))
            peer.bind(("127.0.0.1", 0))
            ours.setblocking(False)
            receiving = asyncio.create_task(loop.sock_recvfrom(ours, 100))
            await asyncio.sleep(0.02)
            peer.sendto(b"ping", ours.getsockname())
            assert await receiving == (b"ping", peer.getsockname())
            assert await loop.sock_sendto(ours, b"pong", peer.getsockname()) == 4
            assert peer.recv(100) == b"pong"
            room = bytearray(10)
            receiving_into = asyncio.create_task(loop.sock_recvfrom_into(ours, room))
            await asyncio.sleep(0.02)
            peer.sendto(b"more", ours.getsockname())
            assert await receiving_into == (4, peer.getsockname())
            assert room[:4] == b"more"

    run(main)


def test_sock_calls_of_a_connection(tmp_path: Path) -> None:
    """Accept, connect, both directions, more than sockets hold, and a file."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "file"
        path.write_bytes(BIG)
        with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
            listening.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listening))
            await asyncio.sleep(0.02)
            await loop.sock_connect(client, listening.getsockname())
            server, address = await accepting
            with server:
                assert address == client.getsockname()
                sending = asyncio.create_task(loop.sock_sendall(client, BIG))
                received = bytearray()
                room = bytearray(1 << 16)
                while len(received) < len(BIG):
                    count = await loop.sock_recv_into(server, room)
                    received += room[:count]
                await sending
                assert received == BIG
                with path.open("rb") as file:
                    file_sending = asyncio.create_task(loop.sock_sendfile(server, file))
                    received.clear()
                    while len(received) < len(BIG):
                        received += await loop.sock_recv(client, 1 << 16)
                    assert await file_sending == len(BIG)
                    assert received == BIG

    run(main)


def test_refused_connection_is_an_error(refused: tuple[str, int]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await loop.sock_connect(client, refused)
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(asyncio.Protocol, *refused)

    run(main)


def test_cancelled_receive_takes_nothing() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with two_sockets() as (ours, peer):
            for number in range(50):
                receiving = asyncio.create_task(loop.sock_recv(ours, 100))
                await asyncio.sleep(0 if number % 2 else 0.002)
                receiving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await receiving
                peer.sendall(b"%02d" % number)
                assert await loop.sock_recv(ours, 100) == b"%02d" % number

    run(main)


@pytest.mark.parametrize("kind", ["ProactorEventLoop", "SelectorEventLoop"])
def test_another_loop_can_have_the_socket_afterwards(kind: str) -> None:
    """It was never on our port, so a ProactorEventLoop can put it on its own."""
    with two_sockets() as (ours, peer):

        async def main() -> None:
            peer.sendall(b"one")
            assert await asyncio.get_running_loop().sock_recv(ours, 3) == b"one"
            receiving = asyncio.create_task(asyncio.get_running_loop().sock_recv(ours, 3))
            await asyncio.sleep(0.02)
            peer.sendall(b"two")
            assert await receiving == b"two"

        run(main)
        with asyncio.Runner(loop_factory=getattr(asyncio, kind)) as runner:
            runner.run(main())
        run(main)


def test_sockets_by_the_hundred() -> None:
    """More than select() takes, and more than go through one handle of the driver."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, aio.EventLoop)
        count = 1200
        with contextlib.ExitStack() as stack:
            sockets = [
                stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(count)
            ]
            ready: set[int] = set()

            def on_ready(number: int) -> None:
                ready.add(number)
                sockets[number].recv(10)

            for number, sock in enumerate(sockets):
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
                loop.add_reader(sock, on_ready, number)
            devices = [handle for handle in loop._queue.handles if handle.kind == "afd"]
            assert len(devices) == 3
            await asyncio.sleep(0.1)
            for number in (0, 5, 499, 500, 700, 1199):
                sockets[-1 - number].sendto(b"x", sockets[number].getsockname())
            await eventually(lambda: ready == {0, 5, 499, 500, 700, 1199})
            for sock in sockets:
                assert loop.remove_reader(sock)

    run(main)


def test_socket_that_is_closed_while_it_is_watched() -> None:
    """Its number may be another's at once: that is watched if somebody asks for it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(100):
            ours, peer = socket.socketpair()
            ours.setblocking(False)
            number = ours.fileno()
            heard: list[int] = []
            loop.add_reader(ours, heard.append, 1)
            await asyncio.sleep(0)
            ours.close()
            again, other = socket.socketpair()
            again.setblocking(False)
            if again.fileno() == number:
                loop.add_reader(again, heard.append, 2)
                other.sendall(b"x")
                await eventually(lambda heard=heard: 2 in heard)
                assert 1 not in heard
            loop.remove_reader(number)
            for sock in (peer, again, other):
                sock.close()

    run(main)


def test_what_is_no_socket_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for wrong in (-1, "text", None, object()):
            with pytest.raises((ValueError, TypeError)):
                loop.add_reader(wrong, print)  # type: ignore[arg-type]
        if not WINE:  # which takes any number for a socket's
            with pytest.raises(OSError, match="10038"):
                loop.add_reader(123_456_788, print)
        with socket.socket() as unconnected:
            number = unconnected.fileno()
        assert loop.remove_reader(number) is False

    run(main)


def test_socket_of_a_transport_is_not_watched_besides() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        transport, _ = await loop.create_connection(
            asyncio.Protocol, *server.sockets[0].getsockname()
        )
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(transport.get_extra_info("socket"), print)
        transport.close()
        server.close()
        await server.wait_closed()

    run(main)


def test_socket_on_another_port_has_a_transport_over_polls() -> None:
    """What another loop has on its port is served all the same."""

    def occupy(ours: socket.socket) -> None:
        async def receive() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.get_running_loop().sock_recv(ours, 1)

        with asyncio.Runner(loop_factory=asyncio.ProactorEventLoop) as runner:
            runner.run(receive())

    async def main() -> None:
        with two_sockets() as (ours, peer):
            await asyncio.to_thread(occupy, ours)
            reader, writer = await asyncio.open_connection(sock=ours)
            peer.sendall(b"ping")
            assert await reader.readexactly(4) == b"ping"
            writer.write(b"pong")
            assert await asyncio.to_thread(peer.recv, 4) == b"pong"
            writer.close()
            await writer.wait_closed()

    run(main)


@pytest.mark.parametrize("rounds", [200, pytest.param(5000, marks=pytest.mark.soak)])
def test_rounds_leave_no_handle(rounds: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(rounds):
            with two_sockets() as (ours, peer):
                receiving = asyncio.create_task(loop.sock_recv(ours, 10))
                await asyncio.sleep(0)
                peer.sendall(b"x")
                assert await receiving == b"x"

    run(main)


def test_sockets_that_block_do_not_block_the_loop() -> None:
    """They are set not to, but in debug mode, where asyncio refuses them."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with two_sockets() as (ours, peer):
            for timeout in (None, 5.0):
                ours.settimeout(timeout)
                receiving = asyncio.create_task(loop.sock_recv(ours, 10))
                await asyncio.sleep(0.02)
                peer.sendall(b"x")
                assert await receiving == b"x"
                ours.settimeout(timeout)
                await loop.sock_sendall(ours, b"y")
                assert peer.recv(1) == b"y"
            loop.set_debug(True)
            ours.setblocking(True)
            with pytest.raises(ValueError, match="non-blocking"):
                await loop.sock_recv(ours, 10)

    run(main)
