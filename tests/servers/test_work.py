"""Work elsewhere: what blocks runs on threads of the port's, and comes back on the port."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from typing import Any

import pytest
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort, PortClosedError
from pyiocp.servers.blocking_pool import THREADS_MAX

LOCAL = ("127.0.0.1", 0)


def test_result_comes_back_on_the_port(port: CompletionPort) -> None:
    """The function runs on a thread of its own, the callback on the worker."""
    ran: list[str] = []
    done = threading.Event()

    def work(a: int, b: int) -> int:
        ran.append(threading.current_thread().name)
        return a + b

    def called(future: Any) -> None:
        ran.append(threading.current_thread().name)
        ran.append(future.result())
        done.set()

    with served(port):
        future = port.submit(work, 2, 3)
        future.add_done_callback(called)
        assert done.wait(10)
        assert future.result(0) == 5
    assert ran == ["pyiocp work 1", "port.run", 5]


def test_callback_of_what_is_done_already_comes_on_the_port(port: CompletionPort) -> None:
    called: list[Any] = []
    future = port.submit(int)
    assert future.result(10) == 0
    future.add_done_callback(called.append)
    assert called == []
    assert port.wait(0) == []
    assert called == [future]


def test_what_the_function_raises_is_the_result(port: CompletionPort) -> None:
    """Also for what is no Exception; the thread goes on."""

    def fail() -> None:
        raise SystemExit(3)

    future = port.submit(fail)
    with pytest.raises(SystemExit):
        future.result(10)
    assert port.submit(int).result(10) == 0


def test_blocking_work_does_not_stall_the_sessions(port: CompletionPort) -> None:
    """One worker; 20 echoes while the work of another session waits, then its answer."""
    go_on = threading.Event()

    class Asking(Journal):
        def on_receive(self, data: memoryview) -> None:
            port.submit(go_on.wait, 10).add_done_callback(self.answer)

        def answer(self, future: Any) -> None:
            self.send(b"%d" % future.result())

    class Echo(Journal):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

    asking, echo = port.listen(LOCAL, Asking), port.listen(LOCAL, Echo)
    with served(port), connect(asking) as patient, connect(echo) as other:
        patient.sendall(b"?")
        for n in range(20):
            other.sendall(b"%02d" % n)
            assert receive_all(other, 2) == b"%02d" % n
        go_on.set()
        assert receive_all(patient, 1) == b"1"


def test_threads_are_as_many_as_needed_and_no_more(port: CompletionPort) -> None:
    """One after the other on one thread; then as many as may be at once, and the rest waits."""
    for _ in range(20):
        port.submit(int).result(10)
        assert eventually(lambda: port._service.blocking_pool._free == 1)
    assert len(_work_threads()) == 1
    go_on = threading.Event()
    inside = threading.Semaphore(0)

    def meet() -> int:
        inside.release()
        assert go_on.wait(10)
        return threading.get_ident()

    futures = [port.submit(meet) for _ in range(THREADS_MAX + 5)]
    for _ in range(THREADS_MAX):
        assert inside.acquire(timeout=10)
    assert len(_work_threads()) == THREADS_MAX
    assert [future.running() for future in futures[-5:]] == [False] * 5
    go_on.set()
    assert len({future.result(10) for future in futures}) == THREADS_MAX


def _work_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("pyiocp work")]


def test_closing_cancels_what_waits_and_waits_for_what_runs() -> None:
    """When close() returns all callbacks have come, the threads are gone, and no more is taken."""
    port = CompletionPort()
    go_on = threading.Event()
    called: list[Any] = []
    running = [port.submit(go_on.wait, 10) for _ in range(THREADS_MAX)]
    waiting = port.submit(int)
    for future in (*running, waiting):
        future.add_done_callback(called.append)
    assert eventually(lambda: all(future.running() for future in running))
    timer = threading.Timer(0.1, go_on.set)
    timer.start()
    port.close()
    timer.join()
    assert waiting.cancelled()
    with pytest.raises(CancelledError):
        waiting.result(0)
    assert [future.result(0) for future in running] == [True] * THREADS_MAX
    assert set(called) == {*running, waiting}
    assert _work_threads() == []
    with pytest.raises(PortClosedError):
        port.submit(int)


def test_closing_does_not_wait_longer_than_its_timeout() -> None:
    """A function that does not return: close() does; its callback has nowhere to come to."""
    port = CompletionPort()
    go_on = threading.Event()
    called: list[Any] = []
    future = port.submit(go_on.wait, 30)
    future.add_done_callback(called.append)
    assert eventually(future.running)
    begun = time.monotonic()
    port.close(timeout=0.2)
    assert 0.15 < time.monotonic() - begun < 5
    go_on.set()
    assert future.result(10) is True
    assert called == []


def test_work_may_close_the_port() -> None:
    """close() within a function of the port's own threads does not wait for that function."""
    port = CompletionPort()
    begun = time.monotonic()
    assert port.submit(port.close, 20).result(10) == []
    assert time.monotonic() - begun < 10
    assert port.closed


def test_only_functions_are_taken(port: CompletionPort) -> None:
    with pytest.raises(TypeError, match="a function is needed"):
        port.submit("name")  # type: ignore[arg-type]


def test_session_and_work_end_together(port: CompletionPort) -> None:
    """The answer comes when the session has gone: nothing is sent, nothing breaks."""
    go_on = threading.Event()
    answered = threading.Event()

    class Asking(Journal):
        def on_receive(self, data: memoryview) -> None:
            port.submit(go_on.wait, 10).add_done_callback(self.answer)

        def answer(self, future: Any) -> None:
            self.sent = self.send(b"late")
            answered.set()

    sessions = Made(Asking)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        with connect(listener) as peer:
            peer.sendall(b"?")
            assert eventually(lambda: bool(_work_threads()))
        assert sessions[0].closed.wait(10)
        go_on.set()
        assert answered.wait(10)
    assert sessions[0].sent is False


def test_what_is_cancelled_before_its_turn_is_not_done(port: CompletionPort) -> None:
    """All threads are busy; the last of the line is taken out of it."""
    go_on = threading.Event()
    ran: list[str] = []
    busy = [port.submit(go_on.wait, 10) for _ in range(THREADS_MAX)]
    cancelled, kept = port.submit(ran.append, "cancelled"), port.submit(ran.append, "kept")
    assert cancelled.cancel()
    go_on.set()
    kept.result(10)
    assert all(future.result(10) for future in busy)
    assert ran == ["kept"]


def test_a_closed_port_takes_no_work() -> None:
    port = CompletionPort()
    port.close()
    with pytest.raises(PortClosedError, match="does no work"):
        port.submit(print)


@pytest.mark.parametrize("threads", [0, 1])
def test_work_when_the_system_gives_no_thread(
    port: CompletionPort, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """The first time it is refused, and not done later; else another thread does it in its turn."""
    go_on = threading.Event()
    ran: list[str] = []
    for _ in range(threads):
        port.submit(go_on.wait, 10)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        if threads:
            done = port.submit(ran.append, "in its turn")
            go_on.set()
            done.result(10)
        else:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                port.submit(ran.append, "never")
    port.submit(ran.append, "later").result(10)
    assert ran == (["in its turn"] if threads else []) + ["later"]
