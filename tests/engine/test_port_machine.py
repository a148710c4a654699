"""A machine that does everything to a port, in any order, and knows what must come of it.

Hypothesis draws sequences of rules; a model beside the port says which operations are
outstanding and which bytes each direction of each connection carries. After every rule:

- the operations in the in-flight table, in the ready queue and put back by an interrupted
  wait are, together and without overlap, exactly those that the model has outstanding: the
  very same objects, so that the counts are the same as well;
- every completion belongs to one of them, which is then outstanding no more: so none is
  lost, and none comes twice;
- the bytes received, taken in the order in which the receives were posted, are the bytes
  sent, from the first to as far as they have come; and all of them, if the end was orderly;
- an operation fails only if it was cancelled or its connection is broken;
- the buffers of outstanding operations refuse to be resized (C32), those of operations that
  are over and forgotten do not.

In the second machine two or three threads do what is drawn, at the same time and to the
same connections; the model looks when all of them have come to the end of it.
"""

from __future__ import annotations

import contextlib
import gc
import random
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from wine import WINE

from pyiocp import (
    Completion,
    CompletionPort,
    HandleClosedError,
    IocpError,
    Operation,
    OperationCancelledError,
    Stream,
)
from pyiocp.winapi import SD_SEND

LONG_S = 10.0
"""Bounds what must come at once; a machine that reaches it has failed."""

CONNECTIONS_MAX = 6
OUTSTANDING_MAX = 40
SOCKET_BUFFER_BYTES = 8192
"""Small, so that a large send is soon too much for the socket, and stays pending."""


IN_ORDER_MAX = 1 if WINE else 3
"""Receives, or sends, with bytes that are outstanding on one end at a time.

Windows carries them out in the order of their posting. Wine 8 lets one overtake another
that it is about to carry out: the bytes then are in another order.
"""

PERIOD = 65521
PATTERN = random.Random(1).randbytes(PERIOD)
"""What every direction carries, over and over; prime, so that a shift by a buffer shows."""

ABORTIVE = b"\x01\x00\x00\x00"
"""A LINGER of 0 seconds: closing resets the connection."""


def pattern(offset: int, count: int) -> bytes:
    """Return the bytes of a direction from an offset on."""
    start = offset % PERIOD
    return (PATTERN * (1 + (start + count) // PERIOD))[start : start + count]


class Direction:
    """The bytes from one end of a connection to the other.

    ``promised`` is how many a send, which was not refused, has been given. ``torn`` says
    that not all of them need arrive: a send was cancelled, or the connection is broken.
    What arrives is then still the beginning of them. ``ended`` says that the sender has
    shut down, so that an end must follow the last of them.
    """

    def __init__(self) -> None:
        self.promised = 0
        self.received = 0
        self.torn = False
        self.ended = False
        self.end_seen = False

    def arrive(self, data: bytes) -> None:
        """Check bytes that have come out of the connection."""
        assert not self.end_seen, "bytes came after the end"
        assert self.received + len(data) <= self.promised, "more came than was sent"
        assert data == pattern(self.received, len(data)), "other bytes came than were sent"
        self.received += len(data)

    def arrive_end(self) -> None:
        """Check that the end comes when somebody made it, and after all the bytes."""
        self.end_seen = True
        assert self.torn or self.ended, "an end that nobody made"
        assert self.torn or self.received == self.promised, "the end came before all the bytes"


class Connection:
    """Two ends, joined. ``broken`` says that one was closed: operations may then fail."""

    def __init__(self) -> None:
        there, back = Direction(), Direction()
        self.ends = (End(self, there, back), End(self, back, there))
        self.broken = False

    def tear(self) -> None:
        """Note that what is under way need not arrive."""
        for end in self.ends:
            end.incoming.torn = True


class End:
    """One end of a connection: a stream on the port, or a socket of Python's."""

    def __init__(self, connection: Connection, incoming: Direction, outgoing: Direction) -> None:
        self.connection = connection
        self.incoming = incoming
        self.outgoing = outgoing
        self.stream: Stream | None = None
        self.socket: socket.socket | None = None
        self.closed = False
        self.shut_down = False
        #: Receives in the order of their posting, from the first that has not ended.
        self.receives: list[Pending] = []

    @property
    def may_fail(self) -> bool:
        """Whether the system may refuse an operation here, or fail it."""
        return self.closed or self.connection.broken


class Pending:
    """What the model knows of one operation that was posted."""

    def __init__(self, end: End, buffers: tuple[bytearray, ...]) -> None:
        self.end = end
        self.buffers = buffers
        self.capacity = sum(map(len, buffers))
        self.cancelled = False
        self.completion: Completion | None = None


class Model:
    """A port, what can be done to it, and what must follow."""

    def __init__(self) -> None:
        self.port = CompletionPort()
        self.connections: list[Connection] = []
        self.outstanding: dict[Operation, Pending] = {}
        self.posts: dict[Any, int] = {}
        self.again: list[tuple[Operation, Pending]] = []
        self.over: list[tuple[weakref.ref[Operation], Pending]] = []
        self._posted = 0
        self._lock = threading.Lock()

    # What there is to do it to

    def ends(self, *, on_port: bool) -> list[End]:
        """Return the open ends that are streams, or the others."""
        ends = [end for connection in self.connections for end in connection.ends]
        return [end for end in ends if not end.closed and (end.stream is not None) == on_port]

    def sends_of(self, end: End) -> list[Operation]:
        """Return the sends of an end that are outstanding, in the order of their posting."""
        pending = list(self.outstanding.items())
        return [o for o, p in pending if p.end is end and o.kind == "send"]

    def _is_enough(self, end: End, kind: str, capacity: int) -> bool:
        """Whether there are as many operations outstanding as there shall be."""
        pending = list(self.outstanding.items())
        same = [o for o, p in pending if p.end is end and o.kind == kind and p.capacity]
        in_order = not capacity or len(same) < IN_ORDER_MAX
        return len(pending) >= OUTSTANDING_MAX or not in_order

    # What can be done

    def connect(self, both: bool) -> None:
        """Make a connection with one end, or both, on the port."""
        if len([c for c in self.connections if not c.broken]) >= CONNECTIONS_MAX:
            return
        connection = Connection()
        for end, sock in zip(connection.ends, socket.socketpair(), strict=True):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
            if both or end is connection.ends[0]:
                end.stream = self.port.stream(sock, key=end)
            else:
                sock.setblocking(False)
                end.socket = sock
        self.connections.append(connection)

    def receive(self, end: End, sizes: Iterable[int]) -> None:
        """Post a receive into buffers of these sizes; without any it takes no bytes."""
        pending = Pending(end, tuple(map(bytearray, sizes)))
        if self._is_enough(end, "receive", pending.capacity):
            return
        assert end.stream is not None
        with refusable(end):
            self.outstanding[end.stream.receive(*pending.buffers)] = pending
            end.receives.append(pending)

    def post_again(self, operation: Operation, pending: Pending) -> None:
        """Submit a receive that has ended once more, as it is."""
        fresh = Pending(pending.end, pending.buffers)
        if self._is_enough(fresh.end, "receive", fresh.capacity):
            return
        with refusable(pending.end):
            operation.post()
            self.outstanding[operation] = fresh
            pending.end.receives.append(fresh)

    def post_pending(self, operation: Operation) -> None:
        """Submit what is outstanding; that must be refused, and change nothing."""
        with pytest.raises((RuntimeError, HandleClosedError)):
            operation.post()

    def send(self, end: End, sizes: Iterable[int]) -> None:
        """Post a send of the next bytes of the end's direction, in buffers of these sizes."""
        direction = end.outgoing
        if direction.torn or self._is_enough(end, "send", 1):
            return
        assert end.stream is not None
        buffers, promised = [], direction.promised
        for size in sizes:
            buffers.append(bytearray(pattern(promised, size)))
            promised += size
        pending = Pending(end, tuple(buffers))
        if end.connection.broken:
            end.connection.tear()  # the answer to bytes for a closed end is a reset
        before, direction.promised = direction.promised, promised
        try:
            operation = end.stream.send(*buffers)
        except (IocpError, HandleClosedError) as error:
            direction.promised = before
            excuse(error, end.may_fail or end.shut_down)
        else:
            assert not end.shut_down or not pending.capacity
            self.outstanding[operation] = pending

    def cancel(self, operation: Operation) -> None:
        """Ask for a cancellation; it may be granted only of what is outstanding."""
        pending = self.outstanding.get(operation)
        if operation.kind == "send" and pending is not None:
            pending.end.outgoing.torn = True  # before, for others look at it at any time
        if operation.cancel():
            assert pending is not None, "something was cancelled that had ended"
            pending.cancelled = True

    def cancel_all(self, end: End) -> None:
        """Ask for the cancellation of everything on a stream."""
        assert end.stream is not None
        if self.sends_of(end):
            end.outgoing.torn = True
        for pending in list(self.outstanding.values()):
            if pending.end is end:
                pending.cancelled = True
        end.stream.cancel()

    def close(self, end: End, how: str, *, torn: bool = False) -> None:
        """Close an end: in order, or by a reset. Bytes that nobody has read make it one too."""
        with self._lock:
            if end.closed:
                return
            end.closed = True
        unread = end.incoming.received < end.incoming.promised
        if torn or how == "reset" or unread or self.sends_of(end):
            end.connection.tear()
        end.connection.broken = True
        end.outgoing.ended = True
        if end.stream is not None:
            if how == "reset":
                end.stream.set_option(socket.SOL_SOCKET, socket.SO_LINGER, ABORTIVE)
            end.stream.close()
            with pytest.raises(HandleClosedError):
                end.stream.receive(bytearray(1))
        else:
            assert end.socket is not None
            if how == "reset":
                end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORTIVE)
            end.socket.close()

    def shut_down(self, end: End) -> None:
        """Tell the other end that no more will come, when all that was sent has gone."""
        if self.sends_of(end):
            return
        end.outgoing.ended = end.shut_down = True
        try:
            if end.stream is not None:
                end.stream.shutdown(SD_SEND)
            elif end.socket is not None:
                end.socket.shutdown(socket.SHUT_WR)
        except (OSError, HandleClosedError) as error:
            excuse(error, end.may_fail)

    def peer_sends(self, end: End, size: int) -> None:
        """Have a socket of Python's send what it can of so many bytes."""
        if end.shut_down:
            return
        assert end.socket is not None
        direction = end.outgoing
        if end.connection.broken:
            end.connection.tear()
        # Promised before, for a receive may see them at once.
        before = direction.promised
        direction.promised += size
        try:
            direction.promised = before + end.socket.send(pattern(before, size))
        except BlockingIOError:
            direction.promised = before
        except OSError as error:
            direction.promised = before
            excuse(error, end.may_fail)

    def peer_receives(self, end: End, size: int) -> None:
        """Have a socket of Python's receive what is there, up to so many bytes."""
        assert end.socket is not None
        try:
            data = end.socket.recv(size)
        except BlockingIOError:
            return
        except OSError as error:
            excuse(error, end.may_fail)
            return
        if data:
            end.incoming.arrive(data)
        else:
            end.incoming.arrive_end()

    def post(self) -> None:
        """Post a packet of the user's own."""
        with self._lock:
            self._posted += 1
            number = self._posted
        self.posts[self.port.post(number, number)] = number

    # What follows

    def take(self, completions: Iterable[Completion]) -> None:
        """Account for completions: each ends one operation that is outstanding."""
        for completion in completions:
            packet: Any = completion.operation
            if packet in self.posts:
                number = self.posts.pop(packet)
                assert (completion.key, completion.bytes, completion.error) == (
                    number,
                    number,
                    None,
                )
                continue
            assert packet in self.outstanding, f"{completion!r} was not to be expected"
            pending = self.outstanding.pop(packet)
            pending.completion = completion
            assert completion.key is pending.end
            self._check_end(packet.kind, pending, completion)
            self.over.append((weakref.ref(packet), pending))
            if packet.kind == "receive":
                self._receive(pending.end)
                if completion.error is None and len(self.again) < 4:
                    self.again.append((packet, pending))

    def _check_end(self, kind: str, pending: Pending, completion: Completion) -> None:
        """An operation may fail if it was cancelled or its connection is broken, else not."""
        error = completion.error
        if error is None:
            assert completion.bytes <= pending.capacity
            if kind == "send" and completion.bytes < pending.capacity:
                # Windows sends all, or fails. Wine 8 ends a send that it has begun, when a
                # receive is pending and the peer shuts down its side, as the success of a part.
                assert WINE, completion
                assert pending.end.incoming.ended, completion
                pending.end.outgoing.torn = True
        elif isinstance(error, OperationCancelledError):
            assert pending.cancelled or pending.end.closed or self.port._queue.closing
        else:
            assert pending.end.may_fail, f"failed without a reason: {error}"
        if error is not None and kind == "send":
            pending.end.outgoing.torn = True

    def _receive(self, end: End) -> None:
        """Take the bytes of the receives that have ended, in the order of their posting.

        One that is done on the spot may overtake the packet of one that was posted before
        it, but the kernel has filled them in their order.
        """
        while end.receives and end.receives[0].completion is not None:
            pending = end.receives.pop(0)
            completion = pending.completion
            assert completion is not None
            if completion.error is None and pending.capacity:
                if completion.bytes:
                    end.incoming.arrive(b"".join(pending.buffers)[: completion.bytes])
                else:
                    end.incoming.arrive_end()

    def await_cancelled(self) -> None:
        """Wait until all that was cancelled has ended: that takes no time."""
        deadline = time.monotonic() + LONG_S
        while any(p.cancelled or p.end.closed for p in self.outstanding.values()):
            assert time.monotonic() < deadline, "what was cancelled does not end"
            self.take(self.port.wait(0.1))

    def check(self) -> None:
        """Compare the port with the model; nobody else may be using either."""
        port = self.port
        held: list[Any] = list(port.in_flight.values())
        held += [packet for packet, _, _ in port._queue.ready]
        held += [completion.operation for completion in port._queue.unclaimed]
        held = [packet for packet in held if not packet.internal]
        assert len(held) == len(set(held)), "an operation is held twice"
        assert set(held) == {*self.outstanding, *self.posts}
        kinds = [o.kind for o in self.outstanding if o.address in port.in_flight]
        kinds += ["post" for packet in self.posts if packet.address in port.in_flight]
        assert port.in_flight_by_kind() == {kind: kinds.count(kind) for kind in kinds}
        for pending in self.outstanding.values():
            for buffer in pending.buffers:
                with pytest.raises(BufferError):
                    buffer.append(0)
        self._check_given_back()

    def _check_given_back(self) -> None:
        """What is over, and not kept to be posted again, has given back its buffers."""
        waiting = {id(pending) for end in self._all_ends() for pending in end.receives}
        # A completion may wait for that of a receive posted before it.
        still = [(reference, pending) for reference, pending in self.over if id(pending) in waiting]
        done = [
            (reference, pending) for reference, pending in self.over if id(pending) not in waiting
        ]
        self.over = still
        for _, pending in done:
            pending.completion = None
        in_use: set[Operation | None] = {*self.outstanding, *(o for o, _ in self.again)}
        in_use |= {reference() for reference, _ in still}
        done = [(reference, pending) for reference, pending in done if reference() not in in_use]
        if any(reference() is not None for reference, _ in done):
            gc.collect()  # an error's traceback has it, in a cycle
        for reference, pending in done:
            assert reference() is None, "an operation is kept that is over"
            for buffer in pending.buffers:
                buffer.append(0)

    def _all_ends(self) -> Iterator[End]:
        for connection in self.connections:
            yield from connection.ends

    def finish(self) -> None:
        """Close the port: what it hands out then is all that was outstanding."""
        completions = self.port.close()
        for end in self._all_ends():
            if end.socket is not None:
                end.socket.close()
        self.take(completions)
        assert self.outstanding == {}
        assert self.posts == {}
        assert self.port.in_flight == {}
        for end in self._all_ends():
            assert end.receives == []
            assert end.stream is None or end.stream.closed


@contextlib.contextmanager
def refusable(end: End) -> Iterator[None]:
    """Let the system refuse an operation, if there is a reason."""
    try:
        yield
    except (IocpError, HandleClosedError) as error:
        excuse(error, end.may_fail)


def excuse(error: BaseException, reason: bool) -> None:
    """Let an error pass if there is a reason for it."""
    if not reason:
        raise AssertionError("refused, or failed, without a reason") from error


def pick(things: list[Any], index: int) -> list[Any]:
    """Return one of the things, by any number, or nothing if there are none."""
    return [things[index % len(things)]] if things else []


INDEX = st.integers(0, 1000)
RECEIVE_SIZES = st.lists(st.sampled_from([0, 1, 7, 100, 5000, 70_000]), max_size=3)
SEND_SIZES = st.lists(st.sampled_from([0, 1, 10, 3000, 70_000, 1 << 20]), min_size=1, max_size=3)
PEER_SIZES = st.sampled_from([1, 10, 3000, 100_000])
CLOSE = st.sampled_from(["close", "reset"])
TIMEOUT = st.sampled_from([0, 0, 0.0001, 0.01])
LIMIT = st.sampled_from([1, 3, 64])


class PortMachine(RuleBasedStateMachine):
    """One thread does everything, and now and then others wait with it.

    A rule for which there is nothing does nothing: what there is depends on time, and
    Hypothesis wants the same rules to be possible when it repeats a run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.model.connect(both=True)

    @rule(both=st.booleans())
    def connect(self, both: bool) -> None:
        self.model.connect(both)

    @rule(at=INDEX, sizes=RECEIVE_SIZES)
    def receive(self, at: int, sizes: list[int]) -> None:
        for end in pick(self.model.ends(on_port=True), at):
            self.model.receive(end, sizes)

    @rule(at=INDEX, sizes=SEND_SIZES)
    def send(self, at: int, sizes: list[int]) -> None:
        for end in pick(self.model.ends(on_port=True), at):
            self.model.send(end, sizes)

    @rule(at=INDEX, size=PEER_SIZES)
    def peer_sends(self, at: int, size: int) -> None:
        for end in pick(self.model.ends(on_port=False), at):
            self.model.peer_sends(end, size)

    @rule(at=INDEX, size=PEER_SIZES)
    def peer_receives(self, at: int, size: int) -> None:
        for end in pick(self.model.ends(on_port=False), at):
            self.model.peer_receives(end, size)

    @rule()
    def post(self) -> None:
        self.model.post()

    @rule(at=INDEX)
    def post_again(self, at: int) -> None:
        for kept in pick(self.model.again, at):
            self.model.again.remove(kept)
            self.model.post_again(*kept)

    @rule(at=INDEX)
    def post_pending(self, at: int) -> None:
        for operation in pick(list(self.model.outstanding), at):
            self.model.post_pending(operation)

    @rule(at=INDEX)
    def cancel(self, at: int) -> None:
        """Of the sends of a stream the last: the others' bytes would follow a gap."""
        for operation in pick(list(self.model.outstanding), at):
            end = self.model.outstanding[operation].end
            sends = self.model.sends_of(end)
            self.model.cancel(sends[-1] if operation in sends else operation)

    @rule(at=INDEX)
    def cancel_ended(self, at: int) -> None:
        for operation, _ in pick(self.model.again, at):
            assert operation.cancel() is False

    @rule(at=INDEX)
    def cancel_all(self, at: int) -> None:
        for end in pick(self.model.ends(on_port=True), at):
            self.model.cancel_all(end)

    @rule()
    def await_cancelled(self) -> None:
        self.model.await_cancelled()

    @rule(at=INDEX, how=CLOSE, on_port=st.booleans())
    def close(self, at: int, how: str, on_port: bool) -> None:
        for end in pick(self.model.ends(on_port=on_port), at):
            self.model.close(end, how)

    @rule(at=INDEX, on_port=st.booleans())
    def shut_down(self, at: int, on_port: bool) -> None:
        for end in pick(self.model.ends(on_port=on_port), at):
            self.model.shut_down(end)

    @rule(timeout=TIMEOUT, limit=LIMIT)
    def wait(self, timeout: float, limit: int) -> None:
        completions = self.model.port.wait(timeout, limit)
        assert len(completions) <= limit
        self.model.take(completions)

    @rule(threads=st.integers(2, 3), timeout=TIMEOUT, limit=LIMIT)
    def wait_from_threads(self, threads: int, timeout: float, limit: int) -> None:
        completions: list[Completion] = []
        waiters = [
            threading.Thread(
                target=lambda: completions.extend(self.model.port.wait(timeout, limit))
            )
            for _ in range(threads)
        ]
        for waiter in waiters:
            waiter.start()
        for waiter in waiters:
            waiter.join(LONG_S)
            assert not waiter.is_alive()
        self.model.take(completions)

    @rule()
    def collect(self) -> None:
        gc.collect()

    @invariant()
    def agrees(self) -> None:
        self.model.check()

    def teardown(self) -> None:
        self.model.finish()


COMMAND = st.one_of(
    st.tuples(st.just("receive"), INDEX, RECEIVE_SIZES),
    st.tuples(st.just("receive"), INDEX, RECEIVE_SIZES),
    st.tuples(st.just("send"), INDEX, SEND_SIZES),
    st.tuples(st.just("send"), INDEX, SEND_SIZES),
    st.tuples(st.just("peer_sends"), INDEX, PEER_SIZES),
    st.tuples(st.just("peer_receives"), INDEX, PEER_SIZES),
    st.tuples(st.just("post"), INDEX, st.none()),
    st.tuples(st.just("post_again"), INDEX, st.none()),
    st.tuples(st.just("cancel"), INDEX, st.none()),
    st.tuples(st.just("close"), INDEX, CLOSE),
    st.tuples(st.just("shut_down"), INDEX, st.none()),
    st.tuples(st.just("wait"), TIMEOUT, LIMIT),
    st.tuples(st.just("wait"), TIMEOUT, LIMIT),
    st.tuples(st.just("collect"), INDEX, st.none()),
)


class Worker:
    """What one of several threads does.

    Everybody closes, cancels and waits for anything; but what an end sends and receives
    has an order, which one thread must see to: connection n belongs to worker n % 3.
    """

    def __init__(self, model: Model, number: int) -> None:
        self.model = model
        self.number = number
        self.completions: list[Completion] = []

    def run(self, commands: list[tuple[str, Any, Any]], start: threading.Barrier) -> None:
        start.wait(LONG_S)
        for name, at, what in commands:
            command: Callable[[Any, Any], None] = getattr(self, name)
            command(at, what)

    def own_ends(self, *, on_port: bool) -> list[End]:
        own = self.model.connections[self.number :: 3]
        return [end for end in self.model.ends(on_port=on_port) if end.connection in own]

    def receive(self, at: int, sizes: list[int]) -> None:
        for end in pick(self.own_ends(on_port=True), at):
            self.model.receive(end, sizes)

    def send(self, at: int, sizes: list[int]) -> None:
        for end in pick(self.own_ends(on_port=True), at):
            self.model.send(end, sizes)

    def peer_sends(self, at: int, size: int) -> None:
        for end in pick(self.own_ends(on_port=False), at):
            self.model.peer_sends(end, size)

    def peer_receives(self, at: int, size: int) -> None:
        for end in pick(self.own_ends(on_port=False), at):
            self.model.peer_receives(end, size)

    def post(self, at: int, what: None) -> None:
        self.model.post()

    def post_again(self, at: int, what: None) -> None:
        own = self.model.connections[self.number :: 3]
        for kept in [k for k in list(self.model.again) if k[1].end.connection in own]:
            self.model.again.remove(kept)
            self.model.post_again(*kept)

    def cancel(self, at: int, what: None) -> None:
        """A send's own thread cancels it, so that no other send follows; all, receives."""
        for operation in pick(list(self.model.outstanding), at):
            pending = self.model.outstanding[operation]
            sends = self.model.sends_of(pending.end)
            if operation not in sends:
                self.model.cancel(operation)
            elif pending.end.connection in self.model.connections[self.number :: 3]:
                self.model.cancel(sends[-1])

    def close(self, at: int, how: str) -> None:
        """Only streams: a socket of Python's must not be closed in another thread's call."""
        if at % 4 == 0:
            for end in pick(self.model.ends(on_port=True), at // 4):
                self.model.close(end, how, torn=True)

    def shut_down(self, at: int, what: None) -> None:
        if at % 4 == 0:
            for end in pick(self.own_ends(on_port=at % 8 == 0), at // 8):
                self.model.shut_down(end)

    def wait(self, timeout: float, limit: int) -> None:
        completions = self.model.port.wait(timeout, limit)
        assert len(completions) <= limit
        self.completions += completions

    def collect(self, at: int, what: None) -> None:
        gc.collect()


class ThreadedPortMachine(RuleBasedStateMachine):
    """Two or three threads at a time do what is drawn for them."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        # Wine carries an operation out on the thread that submitted it: so each of them lives
        # as long as the port, and what a connection sends and receives in order has one.
        self.threads = [ThreadPoolExecutor(1) for _ in range(3)]
        for both in (True, True, True, False):
            self.model.connect(both)

    @rule(both=st.booleans())
    def connect(self, both: bool) -> None:
        self.model.connect(both)

    @rule(plans=st.lists(st.lists(COMMAND, min_size=1, max_size=8), min_size=2, max_size=3))
    def together(self, plans: list[list[tuple[str, Any, Any]]]) -> None:
        start = threading.Barrier(len(plans))
        workers = [Worker(self.model, number) for number in range(len(plans))]
        futures = [
            thread.submit(worker.run, plan, start)
            for thread, worker, plan in zip(self.threads, workers, plans, strict=False)
        ]
        for future in futures:
            future.result(LONG_S)
        futures.clear()
        for worker in workers:
            self.model.take(worker.completions)
            worker.completions.clear()

    @rule(limit=LIMIT)
    def wait(self, limit: int) -> None:
        self.model.take(self.model.port.wait(0, limit))

    @rule()
    def await_cancelled(self) -> None:
        self.model.await_cancelled()

    @invariant()
    def agrees(self) -> None:
        self.model.check()

    def teardown(self) -> None:
        try:
            self.model.finish()
        finally:
            for thread in self.threads:
                thread.shutdown()


def settings(examples: int, steps: int) -> hypothesis.settings:
    """Return the settings for so many runs.

    What fails is shown as it was drawn, at once: shrinking it would take minutes, and what
    hangs on an instant does not shrink. The blob that is printed with it repeats it.
    """
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate)
    return hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=phases,
        print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def test_whatever_is_done_to_a_port_each_operation_ends_once() -> None:
    """One thread; C05, C06, C08, C13, C25 and C32 in any order."""
    run_state_machine_as_test(PortMachine, settings=settings(60, 40))


def test_whatever_threads_do_to_a_port_each_operation_ends_once() -> None:
    """Two and three threads; C07 besides."""
    run_state_machine_as_test(ThreadedPortMachine, settings=settings(40, 12))


@pytest.mark.soak
def test_soak_of_one_thread() -> None:
    """The seed is that of `run.py soak`, which prints it."""
    run_state_machine_as_test(PortMachine, settings=settings(3000, 100))


@pytest.mark.soak
def test_soak_of_threads() -> None:
    """The seed is that of `run.py soak`; what threads do at the same time has none."""
    run_state_machine_as_test(ThreadedPortMachine, settings=settings(2000, 40))
