"""Several workers: one session's hooks take turns, and one that blocks blocks no other session."""

from __future__ import annotations

import threading
import time
from statistics import median
from typing import Any

import pytest
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort, Session

LOCAL = ("127.0.0.1", 0)


def test_completion_during_a_hook_waits_for_it(port: CompletionPort) -> None:
    """C38: another worker has the send's completion while on_receive runs: on_writable follows.

    on_receive returns only when the other worker has been there, which is seen by the entry
    that it left; and the bytes that come meanwhile come in order, after it.
    """

    class Blocking(Journal):
        high_water, low_water = 1 << 16, 1 << 15
        seen: Any = None

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            if self.seen is None:
                assert self.send(bytes(1 << 23)) is False
                inside.set()
                self.seen = eventually(lambda: bool(self._pyiocp.inbox._entries))
                self.hooks.append("end of receive")

        def on_writable(self) -> None:
            super().on_writable()
            writable.set()

    inside, writable = threading.Event(), threading.Event()
    sessions = Made(Blocking)
    listener = port.listen(LOCAL, sessions)
    with served(port, threads=2), connect(listener) as peer:
        peer.sendall(b"one")
        assert inside.wait(10)
        peer.sendall(b"two")
        assert len(receive_all(peer, 1 << 23)) == 1 << 23
        assert writable.wait(10)
        [session] = sessions
        assert session.wait_received(6) == b"onetwo"
    assert session.seen is True
    assert session.hooks[:4] == ["connect", "receive", "end of receive", "writable"]


@pytest.mark.parametrize("threads", [2, 4])
def test_receives_and_sends_at_once_keep_their_order(port: CompletionPort, threads: int) -> None:
    """C38: one session is flooded both ways, from outside too, with 6,000 lines.

    Each hook lets other threads run in its midst, and counts those that were in one then.
    The lines from outside stay whole and in order.
    """

    class Flooded(Journal):
        receive_size = 256
        high_water, low_water = 4096, 2048
        count = 0
        overlaps = 0
        inside = False

        def enter(self) -> None:
            self.overlaps += self.inside
            self.inside = True
            time.sleep(0)
            self.inside = False

        def on_receive(self, data: memoryview) -> None:
            self.enter()
            self.received += data
            self.send(b"echo\n")

        def on_writable(self) -> None:
            super().on_writable()
            self.enter()

    sessions = Made(Flooded)
    listener = port.listen(LOCAL, sessions)
    data = b"".join(b"%07d\n" % n for n in range(6_000))
    back = bytearray()
    with served(port, threads), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        sender = threading.Thread(target=peer.sendall, args=(data,))
        reader = threading.Thread(target=lambda: back.extend(receive_all(peer)))
        sender.start()
        reader.start()
        for n in range(1000):
            session.send(b"%d\n" % n)
        sender.join(30)
        assert eventually(lambda: len(session.received) == len(data), 30)
        session.close()
        reader.join(30)
    assert session.received == data
    assert session.overlaps == 0
    lines = bytes(back).splitlines()
    assert [line for line in lines if line != b"echo"] == [b"%d" % n for n in range(1000)]
    assert len(lines) - 1000 == session.statistics().messages_received


@pytest.mark.parametrize(("threads", "stalls"), [(1, True), (2, False)])
def test_a_second_worker_serves_while_a_hook_sleeps(
    threads: int, stalls: bool, record_property: pytest.RecordProperty
) -> None:
    """A port that runs one thread at a time, and a hook that sleeps for 0.5 s.

    The kernel then lets another worker run: with two of them, an echo on another session is
    back at once all the while; with one, it is back after the sleep. The figures are shown
    when all tests are through: how long 20 echoes took, one after the other.
    """
    asleep = threading.Event()

    class Sleepy(Session):
        def on_receive(self, data: memoryview) -> None:
            asleep.set()
            time.sleep(0.5)
            self.send(data)

    class Echo(Session):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

    with CompletionPort(concurrency=1) as port:
        sleepy, echo = port.listen(LOCAL, Sleepy), port.listen(LOCAL, Echo)
        with served(port, threads), connect(sleepy) as patient, connect(echo) as other:
            other.sendall(b"x")
            assert receive_all(other, 1) == b"x"
            patient.sendall(b"z")
            assert asleep.wait(10)
            latencies = []
            for _ in range(20):
                begun = time.monotonic()
                other.sendall(b"x")
                assert receive_all(other, 1) == b"x"
                latencies.append(time.monotonic() - begun)
            assert receive_all(patient, 1) == b"z"
    record_property("concurrency, threads", (port.concurrency, threads))
    record_property("median echo beside a hook that sleeps 500 ms", _shown(median(latencies)))
    record_property("longest of 20", _shown(max(latencies)))
    assert (max(latencies) > 0.3) is stalls, latencies


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
