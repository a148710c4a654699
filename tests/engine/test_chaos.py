"""Hundreds of connections, and every misfortune that one can have, drawn from a seed.

Both ends of each connection are streams on one port. What the driver does next, and to
which end, depends on the seed and on nothing else, so that a seed repeats the schedule;
when the kernel answers is its own affair. Each direction of a connection carries bytes
that follow from its number and their position alone, so that any piece of it, received
at any time, can be looked at: not one byte may be another.

What must come of it: each operation completes once, what arrives is what was sent, from
the first byte to as far as it has come, and nothing is left in flight.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from pyiocp import (
    Completion,
    CompletionPort,
    HandleClosedError,
    IocpError,
    Operation,
    OperationCancelledError,
    Stream,
)
from pyiocp.winapi import (
    SD_SEND,
    SO_LINGER,
    SOL_SOCKET,
    GetCurrentProcess,
    SetProcessWorkingSetSizeEx,
)

CONNECTIONS = 100
"""Two streams each."""

LENGTH_MAX = 1 << 16
ROUND_OF_CONTENT = 251 * 256
"""A prime number of bytes to the round, so that a piece that is out of place shows."""

_CONTENT = bytes(n % 251 for n in range(ROUND_OF_CONTENT + LENGTH_MAX))
_RESET = struct.pack("HH", 1, 0)


def content(direction: int, position: int, length: int) -> memoryview:
    """The bytes at a position of a direction."""
    begin = (position + direction * 31) % 251
    return memoryview(_CONTENT)[begin : begin + length]


class End:
    """One end of a connection: what it has sent and received, and what is pending."""

    def __init__(self, stream: Stream, outgoing: int, incoming: int) -> None:
        self.stream = stream
        self.outgoing = outgoing
        self.incoming = incoming
        self.sent = 0
        self.received = 0
        #: After an end, a failure or a cancelled send, no more is sent: what the peer gets is
        #: then a beginning of the content all the same.
        self.sends = True
        self.sending: Operation | None = None
        self.receiving: Operation | None = None


class Chaos:
    """The driver."""

    def __init__(self, port: CompletionPort, seed: int) -> None:
        self.port = port
        self.chance = random.Random(seed)
        self.ends: list[End] = []
        self.pending: dict[Operation, End] = {}
        self.directions = 0
        self.counts: Counter[str] = Counter()
        self.actions: list[tuple[int, Callable[[End], None]]] = [
            (40, self.send),
            (40, self.receive),
            (6, self.receive_nothing),
            (8, self.cancel),
            (2, self.half_close),
            (1, self.close),
            (1, self.reset),
            (1, self.collect),
            (20, self.look),
        ]

    def connect(self) -> None:
        """Make a connection of two streams."""
        pair = socket.socketpair()
        first, second = self.directions, self.directions + 1
        self.directions += 2
        for sock, outgoing, incoming in zip(pair, (first, second), (second, first), strict=True):
            self.ends.append(End(self.port.stream(sock), outgoing, incoming))

    def step(self) -> tuple[str, int]:
        """Do one thing to one end; return what, and to which."""
        while len(self.ends) < 2 * CONNECTIONS:
            self.connect()
        end = self.chance.choice(self.ends)
        weights, actions = zip(*self.actions, strict=True)
        action = self.chance.choices(actions, weights)[0]
        self.counts[action.__name__] += 1
        with contextlib.suppress(HandleClosedError):  # closed; it is replaced when it is drawn
            action(end)
        if end.stream.closed:
            self.ends = [other for other in self.ends if other is not end]
        return action.__name__, end.outgoing

    def send(self, end: End) -> None:
        """Send the next bytes, in one buffer or in two; one send at a time keeps their order."""
        length = self.chance.randint(1, LENGTH_MAX)
        cut = self.chance.randint(0, length)
        if end.sending is not None or not end.sends:
            return
        data = content(end.outgoing, end.sent, length)
        buffers = [bytes(data[:cut]), bytearray(data[cut:])]
        self.post(end, "sending", lambda: end.stream.send(*buffers))

    def receive(self, end: End) -> None:
        """Receive into one, two or three buffers that nobody but the port holds."""
        sizes = [self.chance.randint(1, LENGTH_MAX) for _ in range(self.chance.randint(1, 3))]
        if end.receiving is None:
            self.post(end, "receiving", lambda: end.stream.receive(*map(bytearray, sizes)))

    def receive_nothing(self, end: End) -> None:
        """Wait for bytes without a buffer."""
        if end.receiving is None:
            self.post(end, "receiving", end.stream.receive)

    def post(self, end: End, slot: str, post: Callable[[], Operation]) -> None:
        """Post an operation; a connection that is broken refuses it."""
        try:
            operation = post()
        except IocpError:
            self.counts["refused"] += 1
            end.sends = False
            return
        self.pending[operation] = end
        setattr(end, slot, operation)

    def cancel(self, end: End) -> None:
        """Cancel what is pending: one operation, or all of the handle."""
        which = self.chance.choice(["sending", "receiving", "all"])
        if which != "receiving" and end.sending is not None:
            end.sends = False
        if which == "all":
            end.stream.cancel()
        elif (operation := getattr(end, which)) is not None:
            operation.cancel()

    def half_close(self, end: End) -> None:
        """End the sending side, after what was sent."""
        if end.sending is None:
            end.sends = False
            with contextlib.suppress(IocpError):
                end.stream.shutdown(SD_SEND)

    def close(self, end: End) -> None:
        """Close with whatever is pending."""
        end.stream.close()

    def reset(self, end: End) -> None:
        """Close with a reset."""
        end.stream.set_option(SOL_SOCKET, SO_LINGER, _RESET)
        end.stream.close()

    def collect(self, end: End) -> None:
        """Collect garbage; and change how often Python does so by itself."""
        gc.set_threshold(self.chance.choice([1, 10, 700]))
        gc.collect(self.chance.randrange(3))

    def look(self, end: End) -> None:
        """Take what has completed, if anything has."""
        limit = self.chance.choice([1, 7, 64, 1000])
        timeout = self.chance.choice([0, 0, 0.001])
        for completion in self.port.wait(timeout, limit):
            self.take(completion)

    def take(self, completion: Completion) -> None:
        """Check one completion against what was asked for."""
        operation = completion.operation
        assert isinstance(operation, Operation)
        end = self.pending.pop(operation)  # KeyError: it came twice
        self.counts["completed"] += 1
        if end.sending is operation:
            end.sending = None
            end.sent += completion.bytes
            full = completion.bytes == sum(map(len, operation.buffers))
            end.sends = end.sends and completion.error is None and full
        else:
            assert end.receiving is operation
            end.receiving = None
            left = completion.bytes
            for buffer in operation.buffers:
                piece = min(left, len(buffer))
                expected = content(end.incoming, end.received, piece)
                assert buffer[:piece] == expected, f"at {end.received} of {end.incoming}"
                end.received += piece
                left -= piece
            assert left == 0
        if completion.error is not None:
            self.counts[type(completion.error).__name__] += 1
            if not isinstance(completion.error, OperationCancelledError):
                end.sends = False

    def finish(self) -> None:
        """Close every stream, and take what is left."""
        for end in self.ends:
            end.stream.close()
        deadline = time.monotonic() + 60
        while self.pending:
            assert time.monotonic() < deadline, f"{len(self.pending)} never completed"
            for completion in self.port.wait(1.0):
                self.take(completion)


@pytest.fixture
def small_working_set() -> Iterator[None]:
    """Have the system take pages away as soon as it may; and the collector as it was, after."""
    process = GetCurrentProcess()
    assert SetProcessWorkingSetSizeEx(process, 1 << 20, 8 << 20, 0)
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    assert SetProcessWorkingSetSizeEx(process, 2**64 - 1, 2**64 - 1, 0)


@pytest.mark.parametrize(
    "seconds", [3, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(180)])]
)
@pytest.mark.usefixtures("small_working_set")
def test_chaos_loses_no_completion_and_no_byte(seconds: float) -> None:
    """C05, C13: whatever is done, each operation completes once and every byte is right.

    The seed stands in the report of a failure; PYIOCP_SEED repeats its schedule.
    """
    seed = int(os.environ.get("PYIOCP_SEED") or random.randrange(2**32))
    print(f"PYIOCP_SEED={seed}")
    with CompletionPort() as port:
        chaos = Chaos(port, seed)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            chaos.step()
        chaos.finish()
        print(dict(chaos.counts))
        assert port.in_flight_by_kind() == {}
        assert chaos.pending == {}
    for needed in ("cancel", "reset", "half_close", "collect", "OperationCancelledError"):
        assert chaos.counts[needed] > 0


@pytest.mark.usefixtures("small_working_set")
def test_a_seed_repeats_the_schedule() -> None:
    """A thousand steps, twice: the same is done to the same ends, whatever the kernel answers.

    The second time, time passes: what arrives between two steps is more than before.
    """
    schedules: list[list[tuple[str, int]]] = []
    for pause in (0, 0.001):
        with CompletionPort() as port:
            chaos = Chaos(port, seed=1)
            schedules.append([])
            for n in range(1000):
                schedules[-1].append(chaos.step())
                if n % 10 == 0:
                    time.sleep(pause)
            chaos.finish()
    assert schedules[0] == schedules[1]
    assert len({action for action, _ in schedules[0]}) == len(chaos.actions)
