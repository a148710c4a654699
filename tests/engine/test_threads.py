"""Several threads on one port: who gets what, who wakes whom, and what close() may race with.

Where a promise hangs on an instant, the kernel's seam holds a call at that instant; the
tests that only let threads loose on each other repeat often enough to have found what they
look for. Run them on a free-threaded build too.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from faulty_kernel import FaultyKernel

from pyiocp import (
    CompletionPort,
    HandleClosedError,
    OperationCancelledError,
    PortClosedError,
    Session,
)
from pyiocp.engine import poller
from pyiocp.winapi import PostQueuedCompletionStatus

LONG_S = 10.0
"""Bounds what should come at once; a test that reaches it has failed."""

HELD_S = 1.0
"""How long a held call waits for what may rightly not happen before it is let go."""


@pytest.fixture
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a sleeping thread sleep on, so that a wake-up that was left out shows."""
    monkeypatch.setattr(poller, "_WAIT_MAX_MS", 60_000)


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Have the interpreter change threads after nearly every bytecode."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@contextmanager
def running(*targets: Callable[[], None]) -> Iterator[list[threading.Thread]]:
    """Run functions in threads of their own; all of them must end, and none may raise."""
    failures: list[BaseException] = []

    def guarded(target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001, raised below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(t,), daemon=True) for t in targets]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join(LONG_S)
        assert [t.name for t in threads if t.is_alive()] == [], "threads do not end"
    if failures:
        raise failures[0]


def until(condition: Callable[[], Any]) -> None:
    """Wait until something is so; fail if it does not become so."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.001)


class Sink:
    """Waits on a port, in as many threads as asked for, until it is closed."""

    def __init__(self, port: CompletionPort, limit: int = 64) -> None:
        self._port = port
        self._limit = limit
        self._lock = threading.Lock()
        self.completions: list[Any] = []

    def __call__(self) -> None:
        try:
            while not self._port.closed:
                self.take(self._port.wait(limit=self._limit))
        except PortClosedError:
            pass

    def take(self, completions: list[Any]) -> None:
        with self._lock:
            self.completions += completions

    def keys(self) -> Counter[Any]:
        with self._lock:
            return Counter(completion.key for completion in self.completions)


# Each completion goes to exactly one


@pytest.mark.parametrize("limit", [1, 3, 64])
def test_each_completion_goes_to_exactly_one_waiter(limit: int, eager_switches: None) -> None:
    """Four threads wait, three post 300 packets each: the keys seen are the keys posted."""
    port = CompletionPort()
    sink = Sink(port, limit)

    def poster(name: str) -> Callable[[], None]:
        return lambda: [port.post((name, n)) for n in range(300)]  # type: ignore[return-value]

    with running(*[sink] * 4):
        with running(*map(poster, "abc")):
            pass
        until(lambda: len(sink.completions) >= 900)
        sink.take(port.close())
    assert sink.keys() == Counter((name, n) for name in "abc" for n in range(300))
    assert port.in_flight == {}


def test_packets_of_other_code_go_to_exactly_one_waiter_too(eager_switches: None) -> None:
    """Posted on the raw handle, with no operation behind them; four threads take one a time."""
    port = CompletionPort()
    sink = Sink(port, limit=1)
    with running(*[sink] * 4):
        for number in range(1000, 1500):
            assert PostQueuedCompletionStatus(port.handle, 0, number, None)
        until(lambda: len(sink.completions) >= 500)
        sink.take(port.close())
    assert sink.keys() == Counter(range(1000, 1500))


def test_posts_of_one_thread_arrive_in_order(port: CompletionPort) -> None:
    """Eight threads post 100 numbers each; to the one that waits each thread's are in order."""

    def poster(name: int) -> Callable[[], None]:
        return lambda: [port.post((name, n)) for n in range(100)]  # type: ignore[return-value]

    seen: dict[int, list[int]] = {name: [] for name in range(8)}
    with running(*map(poster, range(8))):
        while sum(map(len, seen.values())) < 800:
            completions = port.wait(LONG_S)
            assert completions != []
            for completion in completions:
                name, number = completion.key
                seen[name].append(number)
    assert seen == {name: list(range(100)) for name in range(8)}


# Nobody sleeps while there is work


def test_threads_share_what_one_of_them_dequeued(no_second_look: None) -> None:
    """Six packets come in one batch; six threads take one each and do not come back for more.

    So the five that got no packet from the kernel must be woken by the one that did, one
    after the other; concurrency 1 keeps the kernel from helping.
    """
    with CompletionPort(concurrency=1) as port:
        arrived: list[Any] = []
        release = threading.Event()

        def take_one() -> None:
            while not (completions := port.wait(LONG_S, limit=1)):
                pass
            arrived.extend(completions)
            release.wait(LONG_S)

        with running(*[take_one] * 6):
            until(lambda: len(port._queue.waiting) == 6)
            for n in range(6):
                port.post(n)
            until(lambda: len(arrived) == 6)
            release.set()
        assert sorted(completion.key for completion in arrived) == list(range(6))


def test_thread_that_takes_less_than_there_is_wakes_another(no_second_look: None) -> None:
    """One thread takes one completion of four, goes away and returns for one more: twice.

    The second time it finds the rest in the ready queue and asks the kernel only in
    passing; the wake-up packet that it may dequeue there was meant for the other thread.
    """
    with CompletionPort(concurrency=1) as port:
        for n in range(4):
            port.post(n)
        port._queue.poller().gather(0.0)
        others: list[Any] = []
        with running(lambda: others.extend(port.wait(LONG_S, limit=1))):
            until(lambda: port._queue.waiting or others)
            mine = port.wait(0, limit=1) + port.wait(0, limit=1)
            until(lambda: others)
        assert sorted(c.key for c in mine + others + port.wait(0)) == list(range(4))


def test_sleeping_thread_gets_what_ended_on_the_spot(
    port: CompletionPort, no_second_look: None
) -> None:
    """The kernel queues no packet for such an operation: whoever submits it wakes a sleeper."""
    ours, peer = socket.socketpair()
    with peer:
        stream = port.stream(ours)
        peer.sendall(b"ab")
        stream.receive(bytearray(1))
        port.wait(LONG_S)  # the bytes have arrived
        seen: list[Any] = []
        with running(lambda: seen.extend(port.wait(LONG_S))):
            until(lambda: port._queue.waiting)
            operation = stream.receive(bytearray(1))
            until(lambda: seen)
        assert [(c.operation, bytes(c.data)) for c in seen] == [(operation, b"b")]
        stream.close()


def test_timer_added_while_a_thread_falls_asleep_is_on_time(
    monkeypatch: pytest.MonkeyPatch, no_second_look: None
) -> None:
    """The timer is added when the thread has asked how long to sleep and does not sleep yet."""
    with CompletionPort() as port:
        called = threading.Event()
        asked = port._queue.timers.next_due
        sleeper: list[int] = []

        def next_due() -> float | None:
            answer = asked()
            if threading.get_ident() in sleeper:
                sleeper.clear()
                with running(lambda: port.call_later(0.01, called.set) and None):  # type: ignore[func-returns-value]
                    pass
            return answer

        monkeypatch.setattr(port._queue.timers, "next_due", next_due)

        def sleep() -> None:
            sleeper.append(threading.get_ident())
            while not called.is_set() and not port._queue.closing:
                port.wait(LONG_S)

        with running(sleep):
            on_time = called.wait(LONG_S - 1)  # after LONG_S it looks again
            port.post("let the thread go")
            assert on_time


# close() and those who wait


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_close_releases_every_waiter(timeout: float | None, no_second_look: None) -> None:
    """Five threads sleep; close() in a sixth returns when all of them have come back."""
    port = CompletionPort()
    returned: list[list[Any]] = []
    with running(*[lambda: returned.append(port.wait(timeout))] * 5):
        until(lambda: len(port._queue.waiting) == 5)
        port.close()
        assert port._queue.waiting == set()
    assert returned == [[]] * 5


def test_close_releases_run(no_second_look: None) -> None:
    """Three workers in run() with nothing to do; close() comes from a fourth thread."""
    port = CompletionPort()
    with running(lambda: port.run(threads=3)):
        until(lambda: len(port._queue.waiting) == 3)
        port.close()
    assert port.in_flight == {}


def test_what_close_cancels_goes_to_one_waiter_or_to_close() -> None:
    """Forty receives are pending, three threads wait: forty completions, none of them twice."""
    port = CompletionPort()
    peers, operations = [], []
    for _ in range(40):
        ours, peer = socket.socketpair()
        peers.append(peer)
        operations.append(port.stream(ours).receive(bytearray(16)))
    sink = Sink(port, limit=2)
    with running(*[sink] * 3):
        until(lambda: len(port._queue.waiting) == 3)
        sink.take(port.close())
    for peer in peers:
        peer.close()
    assert Counter(c.operation for c in sink.completions) == Counter(operations)
    assert {type(c.error) for c in sink.completions} == {OperationCancelledError}
    assert port.in_flight == {}


def test_two_threads_may_close() -> None:
    """Both return when the port is closed, and share its completions between them."""
    for _ in range(20):
        port = CompletionPort()
        for n in range(10):
            port.post(n)
        returned: list[Any] = []
        with running(*[lambda: returned.extend(port.close())] * 2):  # noqa: B023
            pass
        assert port.closed
        assert sorted(c.key for c in returned) == list(range(10))


def test_close_from_a_hook_that_close_calls() -> None:
    """Two sessions' on_close close the port that is closing already; it closes all the same."""
    ended: list[Session] = []

    class Closing(Session):
        def on_close(self, error: OSError | None) -> None:
            port.close()
            ended.append(self)

    port = CompletionPort()
    listener = port.listen(("127.0.0.1", 0), Closing)
    clients = [socket.create_connection(listener.address) for _ in range(2)]
    while len(port.sessions) < 2:
        port.wait(LONG_S, limit=1) if len(port.sessions) else port.wait(0.05)
    with running(port.close):
        pass
    for client in clients:
        client.close()
    assert len(ended) == 2
    assert port.closed


def test_close_ends_although_calls_beget_calls() -> None:
    """A function that has itself called again keeps the ready queue filled for ever."""
    port = CompletionPort()
    before = time.monotonic()

    def again() -> None:
        if time.monotonic() - before < LONG_S:
            port.call_soon(again)

    port.call_soon(again)
    port.close(timeout=0.3)
    assert time.monotonic() - before < LONG_S / 2
    assert port.closed


# close() and those who submit


def test_nothing_is_lost_that_is_posted_while_closing(eager_switches: None) -> None:
    """Four threads post until the port refuses: what it took is what came out."""
    for _ in range(30):
        port = CompletionPort()
        sink = Sink(port)
        posted: list[Any] = []

        def post() -> None:
            name = threading.get_ident()
            for n in range(1_000_000):
                try:
                    port.post((name, n))  # noqa: B023
                except PortClosedError:
                    return
                posted.append((name, n))  # noqa: B023

        with running(sink, post, post, post, post):
            until(lambda: len(posted) > 20)  # noqa: B023
            sink.take(port.close())
        assert sink.keys() == Counter(posted)
        assert port.in_flight == {}


def test_packet_posted_at_the_last_moment_comes_out_of_close() -> None:
    """The port is closed when post() has found it open and has not called the kernel yet."""
    kernel = FaultyKernel()
    closed = threading.Event()
    about_to_post = threading.Event()

    def hold(real: Callable[..., Any], *arguments: Any) -> Any:
        if threading.current_thread() is poster:
            about_to_post.set()
            closed.wait(HELD_S)
        return real(*arguments)

    kernel.wrap("PostQueuedCompletionStatus", hold)
    port = CompletionPort(kernel=kernel)
    keys: list[Any] = []

    def post() -> None:
        nonlocal poster
        poster = threading.current_thread()
        try:
            port.post("last")
            keys.append("last")
        except PortClosedError:
            pass

    poster = threading.main_thread()
    with running(post):
        assert about_to_post.wait(LONG_S)
        poster_was, out = poster, port.close()
        closed.set()
        poster_was.join(LONG_S)
    assert [completion.key for completion in out] == keys
    assert port.in_flight == {}


def test_operation_that_ends_on_the_spot_while_closing_comes_out_of_close() -> None:
    """The port is closed between the system call and the entry in the ready queue."""
    closing = threading.Event()
    closed = threading.Event()
    kernel = FaultyKernel()

    def receive(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        if threading.current_thread() is not threading.main_thread():
            closing.set()
            closed.wait(HELD_S)
        return result

    kernel.wrap("WSARecv", receive)
    port = CompletionPort(kernel=kernel)
    ours, peer = socket.socketpair()
    with peer:
        stream = port.stream(ours)
        peer.sendall(b"ab")
        stream.receive(bytearray(1))
        port.wait(LONG_S)
        with running(lambda: stream.receive(bytearray(1)) and None):  # type: ignore[func-returns-value]
            assert closing.wait(LONG_S)
            out = port.close()
            closed.set()
    assert [bytes(completion.data) for completion in out] == [b"b"]


def test_stream_made_while_closing_is_refused_or_closed() -> None:
    """C25: the port is closed when stream() has found it open and has not associated yet.

    Associated with a port that is no more, by number 0, a socket would get a new port.
    """
    kernel = FaultyKernel()
    closed = threading.Event()
    associating = threading.Event()
    ports: list[int] = []

    def hold(real: Callable[..., Any], handle: int, port: int | None, *arguments: Any) -> Any:
        if port is None:
            return real(handle, port, *arguments)
        associating.set()
        closed.wait(HELD_S)
        ports.append(queue.handle)
        return real(handle, port, *arguments)

    kernel.wrap("CreateIoCompletionPort", hold)
    queue = CompletionPort(kernel=kernel)
    number = queue.handle
    ours, peer = socket.socketpair()
    refused: list[BaseException] = []

    def associate() -> None:
        try:
            streams.append(queue.stream(ours))
        except PortClosedError as error:
            refused.append(error)

    streams: list[Any] = []
    with ours, peer, running(associate):
        assert associating.wait(LONG_S)
        queue.close()
        closed.set()
    assert ports in ([], [number])
    assert len(refused) + len(streams) == 1
    assert [stream.closed for stream in streams] == [True] * len(streams)


class NumberWatch:
    """Sees to it that no call reaches a socket's number after, or while, it is closed."""

    def __init__(self) -> None:
        self.kernel = FaultyKernel()
        self.calls = 0
        self.violations: list[str] = []
        self._lock = threading.Lock()
        self._closed: set[int] = set()
        self._busy: Counter[int] = Counter()
        for name in ("WSARecv", "WSASend", "CancelIoEx", "shutdown"):
            self.kernel.wrap(name, self._watched(name))
        self.kernel.wrap("CreateIoCompletionPort", self._associate)
        self.kernel.wrap("closesocket", self._close)

    def _watched(self, name: str) -> Callable[..., Any]:
        def watched(real: Callable[..., Any], socket: Any, *arguments: Any) -> Any:
            number = getattr(socket, "value", socket)
            with self._lock:
                self.calls += 1
                self._busy[number] += 1
                if number in self._closed:
                    self.violations.append(f"{name} on closed {number:#x}")
            try:
                return real(socket, *arguments)
            finally:
                with self._lock:
                    self._busy[number] -= 1

        return watched

    def _associate(self, real: Callable[..., Any], handle: int, *arguments: Any) -> Any:
        with self._lock:
            self._closed.discard(handle)
        return real(handle, *arguments)

    def _close(self, real: Callable[..., Any], number: int) -> Any:
        with self._lock:
            self._closed.add(number)
            if self._busy[number]:
                self.violations.append(f"closesocket during a call on {number:#x}")
        return real(number)


def test_submissions_racing_with_close_never_reach_a_reused_number(eager_switches: None) -> None:
    """C25: three threads receive, send and cancel on each stream while a fourth closes it.

    Numbers are reused at once: 60 pairs are made one after the other, and the kernel's
    seam counts the calls that reach a number that is, or is being, closed.
    """
    watch = NumberWatch()
    with CompletionPort(kernel=watch.kernel) as port:
        for _ in range(60):
            ours, peer = socket.socketpair()
            stream = port.stream(ours)
            started = threading.Barrier(4)
            shared: list[Any] = []

            def submit(how: Callable[[], Any]) -> Callable[[], None]:
                def loop() -> None:
                    started.wait(LONG_S)  # noqa: B023
                    try:
                        while True:
                            shared.append(how())  # noqa: B023
                    except HandleClosedError:
                        pass

                return loop

            def cancel() -> None:
                started.wait(LONG_S)  # noqa: B023
                while not stream.closed:  # noqa: B023
                    for operation in shared[-3:]:  # noqa: B023
                        operation.cancel()
                    stream.cancel()  # noqa: B023

            receive = submit(lambda: stream.receive(bytearray(8)))  # noqa: B023
            send = submit(lambda: stream.send(b"x"))  # noqa: B023
            with peer, running(receive, send, cancel):
                started.wait(LONG_S)
                until(lambda: len(shared) > 5)  # noqa: B023
                stream.close()
            while port.in_flight_by_kind():
                assert port.wait(LONG_S) != []
        port.wait(0)
    assert watch.violations == []
    assert watch.calls > 600


@pytest.mark.parametrize("timeout", [0, 5.0])
def test_waits_racing_with_close_never_ask_a_closed_port(timeout: float) -> None:
    """C25: the port is closed when wait() has found it open and has not called the kernel yet.

    By then the number might be another port's, whose packets this thread would steal.
    """
    kernel = FaultyKernel()
    closed = threading.Event()
    about_to_ask = threading.Event()
    asking: list[str] = []
    order: list[str] = []

    def hold(real: Callable[..., Any], *arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            return real(*arguments)
        if not about_to_ask.is_set():
            about_to_ask.set()
            closed.wait(HELD_S)
        order.append("ask")
        return real(*arguments)

    def close_handle(real: Callable[..., Any], number: int) -> Any:
        order.append("close")
        return real(number)

    kernel.wrap("GetQueuedCompletionStatusEx", hold)
    kernel.wrap("CloseHandle", close_handle)
    port = CompletionPort(kernel=kernel)
    with running(lambda: asking.extend(port.wait(timeout))):
        assert about_to_ask.wait(LONG_S)
        port.close()
        closed.set()
    assert order[-1] == "close"
    assert order.count("ask") >= 1
    assert asking == []


def test_waits_and_closes_at_random(eager_switches: None) -> None:
    """A thread that waits in short pieces sees a close as nothing, or as PortClosedError."""
    for _ in range(60):
        port = CompletionPort()
        started = threading.Barrier(4)

        def look() -> None:
            started.wait(LONG_S)  # noqa: B023
            try:
                while True:
                    port.wait(0)  # noqa: B023
                    port.wait(0.001)  # noqa: B023
            except PortClosedError:
                pass

        with running(look, look, look):
            started.wait(LONG_S)
            port.close()
        assert port.in_flight == {}


def test_run_in_several_threads_calls_each_once(port: CompletionPort) -> None:
    """Calls from four threads, made by three workers: each is made exactly once."""
    made: list[int] = []
    lock = threading.Lock()

    def call(number: int) -> None:
        with lock:
            made.append(number)
            last = len(made) == 400
        if last:
            port.stop()

    def caller(offset: int) -> Callable[[], None]:
        return lambda: [port.call_soon(call, offset + n) for n in range(100)] and None  # type: ignore[func-returns-value,return-value]

    with running(lambda: port.run(threads=3), *map(caller, range(0, 400, 100))):
        pass
    assert sorted(made) == list(range(400))
