"""Many connections, resets, and chaos: nothing is lost, and nothing stays.

The short forms run every day, the long ones with `run.py soak`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aio_peers import Echo, Log, eventually, serving, visit
from deadline import DEADLINE_S
from journal import receive_all, reset

from pyiocp import aio, winapi

SEED = int(os.environ.get("PYIOCP_SEED", "1"))


def handles() -> int:
    """Return how many handles the process has; 0 where the system does not count them."""
    count = winapi.DWORD()
    assert winapi.GetProcessHandleCount(winapi.GetCurrentProcess(), ctypes.byref(count))
    return count.value


def run(main: Callable[[], Awaitable[None]], *, reports_wanted: bool = False) -> None:
    """Run a coroutine in a loop that reports nothing and has nothing in flight at the end."""
    reports: list[dict[str, Any]] = []
    before = handles()

    async def reporting() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, aio.EventLoop)
        loop.set_exception_handler(lambda _, context: reports.append(context))
        await main()
        await eventually(lambda: not loop.port.in_flight_by_kind())

    aio.run(reporting())
    assert reports == []
    assert handles() <= before + 20


@pytest.mark.parametrize(
    ("connections", "seconds"), [(200, 1), pytest.param(5000, 60, marks=pytest.mark.soak)]
)
def test_many_connections_are_served_for_a_while(connections: int, seconds: float) -> None:
    """Every byte comes back, and each connection has its turn again and again."""

    async def main() -> None:
        protocols: list[Echo] = []

        def factory() -> Echo:
            protocols.append(Echo())
            return protocols[-1]

        def talk() -> list[int]:
            peers = [visit(server) for _ in range(connections)]
            rounds = 0
            until = time.monotonic() + seconds
            while time.monotonic() < until or not rounds:
                for number, peer in enumerate(peers):
                    peer.sendall(b"%08d" % (number + rounds))
                for number, peer in enumerate(peers):
                    assert receive_all(peer, 8) == b"%08d" % (number + rounds)
                rounds += 1
            for peer in peers:
                peer.close()
            return [rounds] * connections

        async with serving(factory, backlog=connections) as server:
            rounds = await asyncio.to_thread(talk)
            await eventually(lambda: all(protocol.lost.is_set() for protocol in protocols))
        assert [len(protocol.data) // 8 for protocol in protocols] == rounds

    run(main)


@pytest.mark.parametrize("visits", [400, pytest.param(20_000, marks=pytest.mark.soak)])
def test_connections_that_are_reset_leave_nothing(visits: int) -> None:
    """At any moment: before the first byte, in the middle of an answer, while much waits."""

    async def main() -> None:
        made = lost = 0

        class Generous(Log):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                nonlocal made
                super().connection_made(transport)
                made += 1

            def data_received(self, data: bytes) -> None:
                self.transport.write(data * 2000)

            def connection_lost(self, exc: Exception | None) -> None:
                nonlocal lost
                super().connection_lost(exc)
                lost += 1

        def storm(seed: int) -> None:
            choose = random.Random(seed)
            for _ in range(visits // 4):
                peer = visit(server)
                step = choose.randrange(4)
                if step:
                    peer.sendall(b"x" * choose.choice([1, 50, 200]))
                if step > 1:
                    peer.recv(choose.choice([1, 1000]))
                if step == 3:
                    peer.close()
                else:
                    reset(peer)

        async with serving(Generous, backlog=1000) as server:
            storms = [asyncio.to_thread(storm, SEED + number) for number in range(4)]
            await asyncio.gather(*storms)
            await eventually(lambda: made == lost)
        # A client that has gone before it was accepted is no connection.
        assert visits // 2 < made <= visits

    run(main)


@pytest.mark.parametrize(
    "seed", [SEED, *(pytest.param(n, marks=pytest.mark.soak) for n in range(20))]
)
def test_chaos_loses_nothing(seed: int) -> None:
    """Both sides write, pause, go on and end as chance has it; every byte comes, in order."""
    choose = random.Random(seed)
    pairs = 12
    size = 300_000

    async def main() -> None:
        loop = asyncio.get_running_loop()
        payloads = [choose.randbytes(size) for _ in range(2 * pairs)]
        servers: list[Log] = []

        def factory() -> Log:
            servers.append(Log())
            return servers[-1]

        async def speak(transport: Any, payload: bytes) -> None:
            position = 0
            while position < size:
                step = choose.choice([1, 10, 1000, 30_000, 100_000])
                piece = payload[position : position + step]
                position += len(piece)
                if choose.random() < 0.3:
                    transport.writelines([piece[: step // 2], piece[step // 2 :]])
                else:
                    transport.write(piece)
                if choose.random() < 0.2:
                    transport.pause_reading()
                    await asyncio.sleep(choose.random() * 0.002)
                    transport.resume_reading()
                else:
                    await asyncio.sleep(0)

        async with serving(factory) as server:
            address = server.sockets[0].getsockname()
            clients: list[Log] = []
            for _ in range(pairs):
                _, client = await loop.create_connection(Log, *address)
                clients.append(client)
                await eventually(lambda: len(servers) == len(clients))
            both = [*clients, *servers]
            async with asyncio.timeout(4 * DEADLINE_S), asyncio.TaskGroup() as group:
                for side, payload in zip(both, payloads, strict=True):
                    group.create_task(speak(side.transport, payload))
            await eventually(lambda: all(len(side.data) == size for side in both))
            for side, payload in zip(both, payloads[pairs:] + payloads[:pairs], strict=True):
                assert bytes(side.data) == payload
            for side in choose.sample(both, pairs):
                side.transport.close()
            for side in clients:
                side.transport.close()
            await eventually(lambda: all(side.lost.is_set() for side in both))

    run(main)


def test_calls_of_other_threads_wake_the_loop() -> None:
    """However they fall: none waits for the next event."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        called: list[int] = []
        all_called = asyncio.Event()

        def note(number: int) -> None:
            called.append(number)
            if len(called) == 2000:
                all_called.set()

        def call(thread: int) -> None:
            for number in range(500):
                loop.call_soon_threadsafe(note, 1000 * thread + number)
                if number % 50 == 0:
                    time.sleep(0.001)

        threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        await asyncio.wait_for(all_called.wait(), DEADLINE_S)  # nothing else wakes the loop
        for thread in threads:
            thread.join()
        for thread_number in range(4):
            own = [number for number in called if number // 1000 == thread_number]
            assert own == sorted(own)

    run(main)
