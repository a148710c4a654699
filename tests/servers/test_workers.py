"""Workers: running, stopping and closing, with one thread and with several."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel
from journal import NOT_YET, Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort, PortClosedError, Session
from pyiocp.engine import poller

LOCAL = ("127.0.0.1", 0)


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


@pytest.mark.parametrize("threads", [1, 4])
def test_stop_from_a_hook(port: CompletionPort, threads: int) -> None:
    """run() returns after the hook that called stop(), and may be called again."""

    class Stopping(Echo):
        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            port.stop()
            self.after = "the rest of the hook"

    sessions = Made(Stopping)
    listener = port.listen(LOCAL, sessions)
    peer = connect(listener)
    with peer:
        for _ in range(2):
            peer.sendall(b"x")
            port.run(threads=threads)
            assert sessions[0].after == "the rest of the hook"
            del sessions[0].after
            assert receive_all(peer, 1) == b"x"
    assert [t for t in threading.enumerate() if t.name.startswith("pyiocp")] == []


@pytest.mark.parametrize("threads", [1, 4])
def test_stop_from_another_thread(
    port: CompletionPort, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle workers, all asleep in the kernel, are gone well before the minute of a wait."""
    monkeypatch.setattr(poller, "_WAIT_MAX_MS", 60_000)
    with served(port, threads) as thread:
        assert eventually(lambda: len(port._queue.waiting) == threads)
        begun = time.monotonic()
        port.stop()
        thread.join(30)
        assert not thread.is_alive()
        assert time.monotonic() - begun < 30


def test_stop_before_run_lets_the_next_run_return(port: CompletionPort) -> None:
    port.stop()
    port.run()
    timer = threading.Timer(0.05, port.stop)
    timer.start()
    port.run()  # which does not return at once: the timer must have fired
    assert timer.finished.is_set()
    timer.join()


def test_running_twice_at_once_is_an_error(port: CompletionPort) -> None:
    """The first run goes on."""
    with served(port) as thread:
        assert eventually(lambda: bool(port._queue.waiting))
        with pytest.raises(RuntimeError, match="runs already"):
            port.run()
        assert thread.is_alive()
        called = threading.Event()
        port.call_soon(called.set)
        assert called.wait(DEADLINE_S)


class Alarm(Exception):
    """What the user's own signal handler raises."""


@pytest.mark.parametrize("late", [False, True])
def test_exception_of_a_signal_handler_while_a_worker_starts(
    port: CompletionPort, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """It leaves Thread.start, the worker has been started all the same, and run() knows.

    If the worker is in a hook by then, run() ends when that does. If it comes late, when
    run() is about to end, it serves nobody.
    """
    in_hook, release = threading.Event(), threading.Event()
    workers: list[threading.Thread] = []
    failures: list[Any] = []
    hooks: list[str] = []
    start, run = threading.Thread.start, threading.Thread.run
    monkeypatch.setattr(threading, "excepthook", failures.append)

    def raise_alarm(*_: object) -> None:
        raise Alarm

    def start_and_signal(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("pyiocp"):
            workers.append(thread)
            assert late or in_hook.wait(DEADLINE_S)
            threading.Timer(0.1, release.set).start()
            signal.raise_signal(signal.SIGINT)

    def run_late(thread: threading.Thread) -> None:
        if late and thread.name.startswith("pyiocp"):
            last_run = port._service.workers._last_run
            assert last_run is not None
            assert eventually(lambda: last_run._over)
        run(thread)

    def hook() -> None:
        in_hook.set()
        assert release.wait(DEADLINE_S)
        hooks.append(threading.current_thread().name)

    port.call_soon(hook)
    previous = signal.signal(signal.SIGINT, raise_alarm)
    try:
        monkeypatch.setattr(threading.Thread, "start", start_and_signal)
        monkeypatch.setattr(threading.Thread, "run", run_late)
        with pytest.raises(Alarm):
            port.run(threads=2)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert not workers[0].is_alive()
    assert failures == []
    assert hooks == ([] if late else ["pyiocp worker 1"])
    monkeypatch.undo()
    port.call_later(0.05, port.stop)
    port.run(threads=2)
    assert len(hooks) == 1


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_bad_number_of_threads_is_refused(port: CompletionPort, threads: int) -> None:
    with pytest.raises(ValueError, match="threads must be"):
        port.run(threads=threads)


def test_close_sleeps_while_it_waits_for_a_hook(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """It looks about 50 times a second, not as often as it can."""
    asked: list[int] = []

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        asked.append(threading.get_ident())
        return real(*arguments)

    in_hook, go_on = threading.Event(), threading.Event()

    class Slow(Session):
        def on_connect(self) -> None:
            in_hook.set()
            go_on.wait(DEADLINE_S)

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    port = open_port()
    listener = port.listen(LOCAL, Slow)
    with served(port), connect(listener):
        assert in_hook.wait(DEADLINE_S)
        threading.Timer(0.5, go_on.set).start()
        port.close()
    assert 5 < asked.count(threading.get_ident()) < 100


def test_closed_port_does_not_run() -> None:
    port = CompletionPort()
    port.close()
    with pytest.raises(PortClosedError):
        port.run()


def test_blocked_hook_does_not_stall_another_session(port: CompletionPort) -> None:
    """Four workers, three hooks blocked: the fourth session is served all the same."""
    go_on = threading.Event()
    blocked = threading.Semaphore(0)

    class Blocking(Echo):
        def on_receive(self, data: memoryview) -> None:
            blocked.release()
            assert go_on.wait(DEADLINE_S)
            super().on_receive(data)

    blocking = port.listen(LOCAL, Blocking)
    quick = port.listen(LOCAL, Echo)
    with served(port, threads=4):
        peers = [connect(blocking) for _ in range(3)]
        try:
            for peer in peers:
                peer.sendall(b"x")
            for _ in peers:
                assert blocked.acquire(timeout=10)
            with connect(quick) as other:
                for n in range(20):
                    other.sendall(b"%02d" % n)
                    assert receive_all(other, 2) == b"%02d" % n
        finally:
            go_on.set()
        for peer in peers:
            assert receive_all(peer, 1) == b"x"
            peer.close()


def test_wake_up_taken_by_a_busy_worker_is_passed_on() -> None:
    """Two calls are ready, the first blocks: the sleeping worker makes the second at once.

    The sleeper is held just before it asks the kernel, so that the busy worker is sure to
    dequeue the packet that was to wake the sleeper. Passed on, it is there when the
    sleeper asks; swallowed, the sleeper would sleep for a second.
    """
    kernel = FaultyKernel()
    busy: list[int] = []
    may_ask = threading.Event()
    held = threading.Event()

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        if busy and threading.get_ident() != busy[0] and arguments[4].value:
            held.set()
            assert may_ask.wait(DEADLINE_S)
        return real(*arguments)

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    second = threading.Event()
    results: list[bool] = []

    def first() -> None:
        may_ask.set()
        results.append(second.wait(0.5))

    def prepare() -> None:
        busy.append(threading.get_ident())
        port.call_soon(int)  # which takes the other worker out of the kernel, if it is there
        assert held.wait(DEADLINE_S)
        port.call_soon(first)
        port.call_soon(second.set)

    with CompletionPort(kernel=kernel) as port:
        port.call_soon(prepare)
        with served(port, threads=2):
            assert eventually(lambda: bool(results))
    assert results == [True]


def test_closing_the_port_ends_every_session() -> None:
    """Three sessions, nobody runs the port any more: on_close has come when close() returns."""
    port = CompletionPort()
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions)
    peers = [connect(listener) for _ in range(3)]
    with served(port):
        assert eventually(lambda: len(sessions) == 3)
        assert all(session.connected.wait(DEADLINE_S) for session in sessions)
    port.close()
    assert [session.hooks for session in sessions] == [["connect", "close"]] * 3
    assert all(isinstance(session.error, ConnectionAbortedError) for session in sessions)
    assert port.sessions == set()
    assert port.in_flight == {}
    for peer in peers:
        peer.close()


def test_closing_the_port_waits_for_a_hook_of_another_thread() -> None:
    """A worker is in a hook: close() returns after that session's on_close, not before."""
    inside = threading.Event()
    go_on = threading.Event()

    class Slow(Journal):
        def on_receive(self, data: memoryview) -> None:
            inside.set()
            assert go_on.wait(DEADLINE_S)
            super().on_receive(data)

    port = CompletionPort()
    sessions = Made(Slow)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"x")
        assert inside.wait(DEADLINE_S)
        timer = threading.Timer(0.2, go_on.set)
        timer.start()
        port.close()
        error = sessions[0].error
        timer.join()
        assert sessions[0].closed.wait(DEADLINE_S)
    in_time = error is not NOT_YET
    hooks = sessions.pop().hooks
    del error  # its traceback would keep the port, and the handles of its locks
    assert hooks == ["connect", "receive", "close"]
    assert in_time, "close() returned before on_close came"


def test_closing_the_port_from_a_hook(no_errors_logged: None) -> None:
    """The hook's own session ends after the hook; all others before close() returns."""
    ended: list[Any] = []

    class Closing(Echo):
        def on_receive(self, data: memoryview) -> None:
            port.close()
            ended.append([session.hooks[-1] for session in sessions])

    port = CompletionPort()
    sessions = Made(Closing)
    listener = port.listen(LOCAL, sessions)
    with connect(listener) as first, connect(listener):
        with served(port) as thread:
            assert eventually(lambda: len(sessions) == 2)
            assert all(session.connected.wait(DEADLINE_S) for session in sessions)
            first.sendall(b"x")
            thread.join(10)
        assert all(session.closed.wait(DEADLINE_S) for session in sessions)
    [hooks] = ended
    assert sorted(hooks) == ["close", "connect"]
    assert port.closed


def test_completions_of_nobodys_are_kept_for_wait(port: CompletionPort) -> None:
    """run() dequeues a packet of the user's own; wait() in another thread gets it.

    After a second at the latest, which is what bounds a sleep: the kernel gives the packet
    to whichever thread it likes, and a wake-up too.
    """
    got: list[Any] = []
    done = threading.Event()

    def wait() -> None:
        got.extend(port.wait(5))
        done.set()

    thread = threading.Thread(target=wait)
    with served(port):
        assert eventually(lambda: bool(port._queue.waiting))
        thread.start()
        assert eventually(lambda: len(port._queue.waiting) == 2)
        port.post("mine")
        assert done.wait(DEADLINE_S)
    thread.join()
    assert [completion.key for completion in got] == ["mine"]


def test_workers_run_at_the_same_time(port: CompletionPort) -> None:
    """Four calls that wait for each other: only four workers at once can end them."""
    barrier = threading.Barrier(4)
    passed: list[int] = []

    def meet() -> None:
        barrier.wait(DEADLINE_S)
        passed.append(1)

    for _ in range(4):
        port.call_soon(meet)
    with served(port, threads=4):
        assert eventually(lambda: len(passed) == 4)


def test_traffic_on_four_workers(port: CompletionPort, no_errors_logged: None) -> None:
    """C38: 16 clients, 50 messages each: every client its own bytes, in order, once."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions)
    results: list[bool] = []

    def talk(n: int) -> None:
        with connect(listener) as peer:
            for m in range(50):
                message = b"%d:%d;" % (n, m)
                peer.sendall(message)
                if receive_all(peer, len(message)) != message:
                    return
        results.append(True)

    with served(port, threads=4):
        clients = [threading.Thread(target=talk, args=(n,)) for n in range(16)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(30)
        assert eventually(lambda: not port.sessions)
    assert results == [True] * 16
    for session in sessions:
        assert session.hooks[0] == "connect"
        assert session.hooks[-2:] == ["eof", "close"]
        assert session.error is None


def test_stop_and_close_again_and_again_under_traffic() -> None:
    """Twenty ports, each closed by another thread while two workers serve: no error, no hang."""
    for _ in range(20):
        port = CompletionPort()
        listener = port.listen(LOCAL, Session, accepts=4)
        with served(port, threads=2) as thread, connect(listener) as peer:
            peer.sendall(b"x")
            port.close()
            thread.join(10)
            assert not thread.is_alive()
        assert port.in_flight == {}
