"""Pools: connections are used again, never by two at a time, and never when they are dead."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest
from deadline import DEADLINE_S
from journal import Journal, Made, eventually, served
from tls_context import client_context, server_context

from pyiocp import CompletionPort, ConnectionPool, ConnectRefusedError, PortClosedError, Session
from pyiocp.servers.clients.acquisition import Acquisition
from pyiocp.servers.layer import connection_of

LOCAL = ("127.0.0.1", 0)


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


@pytest.fixture
def echoes(port: CompletionPort) -> Iterator[Made]:
    """The sessions of a server that echoes, on the port, which is served."""
    made = Made(Echo)
    made.listener = port.listen(LOCAL, made)  # type: ignore[attr-defined]
    with served(port):
        yield made
    port.close()
    # pytest keeps what fixtures return, and each lock of a session is a handle.
    made.clear()


def pool_of(port: CompletionPort, echoes: Any, **arguments: Any) -> ConnectionPool:
    return ConnectionPool(port, echoes.listener.address, Journal, **arguments)


def got(future: Future[Session]) -> Journal:
    session = future.result(10)
    assert isinstance(session, Journal)
    return session


def ask(session: Journal, text: bytes) -> bytes:
    session.received.clear()
    session.send(text)
    return session.wait_received(len(text))


def test_released_connection_is_used_again(
    port: CompletionPort, echoes: Made, no_errors_logged: None
) -> None:
    """Ten questions one after the other: one connection, whose on_connect came first."""
    pool = pool_of(port, echoes)
    sessions = set()
    for n in range(10):
        session = got(pool.acquire())
        assert session.hooks[0] == "connect"
        assert (pool.busy, pool.idle) == (1, 0)
        assert ask(session, b"%d" % n) == b"%d" % n
        pool.release(session)
        assert (pool.busy, pool.idle) == (0, 1)
        sessions.add(session)
    assert len(sessions) == len(echoes) == 1
    pool.close()
    assert eventually(lambda: not port.sessions)
    assert session.error is None


def test_pool_over_tls(port: CompletionPort, no_errors_logged: None) -> None:
    """A connection is handed out after its handshake, and used again."""
    listener = port.listen(LOCAL, Echo, tls=server_context())
    pool = ConnectionPool(
        port, listener.address, Journal, tls=client_context(), server_hostname="localhost"
    )
    with served(port):
        session = got(pool.acquire())
        assert ask(session, b"one") == b"one"
        pool.release(session)
        assert got(pool.acquire()) is session
        assert ask(session, b"two") == b"two"


def test_last_one_released_is_the_first_one_taken(port: CompletionPort, echoes: Made) -> None:
    pool = pool_of(port, echoes)
    one, two = got(pool.acquire()), got(pool.acquire())
    assert one is not two
    pool.release(two)
    pool.release(one)
    assert got(pool.acquire()) is one
    assert got(pool.acquire()) is two


def test_no_more_than_the_maximum(port: CompletionPort, echoes: Made) -> None:
    """Six want one of two: four wait, and get them in their turn as they are given back."""
    pool = pool_of(port, echoes, maximum=2)
    futures = [pool.acquire() for _ in range(6)]
    busy = [got(future) for future in futures[:2]]
    assert pool.waiting == 4
    for future in futures[2:]:
        assert not future.done()
        session = busy.pop(0)
        pool.release(session)
        assert got(future) is session
        busy.append(session)
    assert len(echoes) == 2
    assert pool.waiting == 0


def test_threads_never_share_a_connection(port: CompletionPort, echoes: Made) -> None:
    """Four threads, 30 questions each, two connections: nobody sees another's answer."""
    pool = pool_of(port, echoes, maximum=2)
    failures: list[Any] = []

    def work(name: int) -> None:
        try:
            for n in range(30):
                session = got(pool.acquire())
                text = b"%d/%d" % (name, n)
                if (answer := ask(session, text)) != text:
                    failures.append((text, answer))
                pool.release(session)
        except Exception as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(echoes) <= 2
    assert (pool.busy, pool.idle) == (0, len(echoes))


class Gap:
    """A lock that lets somebody in when it is given back for the first time after `arm`."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._visit: Callable[[], None] | None = None

    def arm(self, visit: Callable[[], None]) -> None:
        """Have `visit` called then."""
        self._visit = visit

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        visit, self._visit = self._visit, None
        if visit is not None:
            visit()


def test_connection_counts_all_the_time(port: CompletionPort, echoes: Made) -> None:
    """Somebody wants one while the only one that may be is being released: there is no second."""
    made = Made(Journal)
    pool = ConnectionPool(port, echoes.listener.address, made, maximum=1)
    pool._lock = gap = Gap(pool._lock)  # type: ignore[assignment]
    wanted: list[Future[Session]] = []
    session = got(pool.acquire())
    for _ in range(3):
        gap.arm(lambda: wanted.append(pool.acquire()))
        pool.release(session)
        assert got(wanted.pop()) is session
    assert made == [session]


@pytest.mark.parametrize("end", ["close", "abort"])
def test_idle_connection_that_ends_is_dropped(port: CompletionPort, echoes: Made, end: str) -> None:
    """The server ends it, in order or not; the next one gets a new connection."""
    pool = pool_of(port, echoes)
    session = got(pool.acquire())
    assert ask(session, b"ping") == b"ping"
    pool.release(session)
    getattr(echoes[0], end)()
    assert session.closed.wait(DEADLINE_S)
    assert eventually(lambda: pool.idle == 0)
    again = got(pool.acquire())
    assert again is not session
    assert ask(again, b"pong") == b"pong"


@pytest.mark.parametrize("end", ["close", "abort"])
def test_dead_connection_whose_end_waits_in_the_kernel_is_not_handed_out(end: str) -> None:
    """The pool's port is not served while the server, on another one, ends the connection.

    It is served by this thread, because Wine may never say how an operation ended whose
    thread has ended.
    """
    sessions = Made(Echo)

    def until(condition: Callable[[], bool]) -> bool:
        return eventually(lambda: port.wait(0.01) == [] and condition())

    with CompletionPort() as there, CompletionPort() as port, served(there):
        listener = there.listen(LOCAL, sessions)
        pool = ConnectionPool(port, listener.address, Journal)
        future = pool.acquire()
        assert until(future.done)
        session = got(future)
        session.send(b"ping")
        assert until(lambda: session.received == b"ping")
        pool.release(session)
        assert pool.idle == 1
        getattr(sessions[0], end)()
        assert eventually(lambda: not connection_of(session).quiet)
        assert session.state.value == "open"
        future = pool.acquire()
        assert not future.done()
        assert until(future.done)
        assert got(future) is not session
        assert until(session.closed.is_set)


def test_released_in_a_hook_and_acquired_there(port: CompletionPort, echoes: Made) -> None:
    """Its receive is not posted again before the hook ends: that does not make it dead."""
    taken: list[Session] = []
    done = threading.Event()

    class Asking(Journal):
        def on_receive(self, data: memoryview) -> None:
            pool.release(self)
            taken.append(pool.acquire().result(0))
            done.set()

    pool = ConnectionPool(port, echoes.listener.address, Asking)  # type: ignore[attr-defined]
    session = got(pool.acquire())
    session.send(b"ping")
    assert done.wait(DEADLINE_S)
    assert taken == [session]
    assert (pool.busy, pool.idle) == (1, 0)
    assert not session.closed.is_set()


def test_idle_connection_is_closed_after_its_time(port: CompletionPort, echoes: Made) -> None:
    """And the server hears of it."""
    pool = pool_of(port, echoes, idle_timeout=0.1)
    session = got(pool.acquire())
    pool.release(session)
    assert session.closed.wait(DEADLINE_S)
    assert echoes[0].closed.wait(DEADLINE_S)
    assert (pool.busy, pool.idle) == (0, 0)
    assert echoes[0].error is None


def test_connection_that_is_used_is_not_closed_for_idleness(
    port: CompletionPort, echoes: Made
) -> None:
    """Acquired again just in time, it is kept for longer than it may be idle."""
    pool = pool_of(port, echoes, idle_timeout=1.0)
    session = got(pool.acquire())
    pool.release(session)
    assert got(pool.acquire()) is session
    assert not session.closed.wait(2.0)
    assert ask(session, b"ping") == b"ping"


def test_closed_session_gives_its_place_to_who_waits(port: CompletionPort, echoes: Made) -> None:
    """Aborted by its user, who gives it back as well, or does not."""
    pool = pool_of(port, echoes, maximum=1)
    for give_back in (True, False):
        session = got(pool.acquire())
        future = pool.acquire()
        session.abort()
        assert session.closed.wait(DEADLINE_S)
        if give_back:
            pool.release(session)
        again = got(future)
        assert again is not session
        pool.release(again)


def test_failure_to_connect_is_told_to_each_that_waits(port: CompletionPort, refused: Any) -> None:
    pool = ConnectionPool(port, refused, Journal, maximum=2)
    futures = [pool.acquire() for _ in range(5)]
    with served(port):
        for future in futures:
            assert type(future.exception(10)) is ConnectRefusedError
    assert (pool.busy, pool.idle, pool.waiting) == (0, 0, 0)


def test_factory_that_fails_is_told(port: CompletionPort) -> None:
    def broken() -> Session:
        raise ZeroDivisionError

    pool = ConnectionPool(port, ("127.0.0.1", 9), broken)
    assert type(pool.acquire().exception(0)) is ZeroDivisionError
    assert port.sessions == set()


def test_factory_that_exits_is_told(port: CompletionPort) -> None:
    """SystemExit goes on to who called it, here `acquire`; nobody waits on for a connection."""
    exits = [SystemExit(3), SystemExit(4)]

    def broken() -> Session:
        raise exits.pop(0)

    pool = ConnectionPool(port, ("127.0.0.1", 9), broken, maximum=1)
    for code in (3, 4):
        with pytest.raises(SystemExit) as caught:
            pool.acquire()
        assert caught.value.code == code
        assert (pool.waiting, pool.busy, pool.idle) == (0, 0, 0)


def test_future_is_not_kept_once_it_is_done(port: CompletionPort, echoes: Made) -> None:
    """Nor if a callback is added in the moment in which the pool is about to give it a session."""
    pool = pool_of(port, echoes, maximum=1)
    session = got(pool.acquire())
    future = Acquisition(port._queue, lambda waiter: None)
    waiter = future.waiter
    waiter.stop()  # as the pool does before
    taken: list[Session] = []
    future.add_done_callback(lambda future: taken.append(future.result()))
    assert waiter.kept is future
    future.give(session)
    assert taken == [session]
    gone = weakref.ref(future)
    del future
    assert eventually(lambda: gc.collect() < 0 or gone() is None)
    pool.release(session)


def test_cancelled_wish_is_not_fulfilled(port: CompletionPort, echoes: Made) -> None:
    """The next one who waits gets the connection instead."""
    pool = pool_of(port, echoes, maximum=1)
    session = got(pool.acquire())
    cancelled, waiting = pool.acquire(), pool.acquire()
    assert cancelled.cancel()
    pool.release(session)
    assert got(waiting) is session


@pytest.mark.parametrize("what", ["twice", "foreign", "idle"])
def test_release_of_what_was_not_acquired(port: CompletionPort, echoes: Made, what: str) -> None:
    pool = pool_of(port, echoes)
    session = got(pool.acquire())
    pool.release(session)
    if what == "foreign":
        session = port.connect(echoes.listener.address, Journal)  # type: ignore[attr-defined]
        assert session.connected.wait(DEADLINE_S)
    with pytest.raises(ValueError, match="has not been acquired"):
        pool.release(session)
    assert (pool.busy, pool.idle) == (0, 1)


def test_closed_pool(port: CompletionPort, echoes: Made) -> None:
    """The idle one is closed, who waits is cancelled, the busy one goes on until released."""
    pool = pool_of(port, echoes, maximum=2)
    busy, idle = got(pool.acquire()), got(pool.acquire())
    waiting = pool.acquire()
    pool.release(idle)
    assert got(waiting) is idle
    pool.release(idle)
    unlucky = [pool.acquire(), pool.acquire()]
    pool.close()
    pool.close()
    with pytest.raises(CancelledError):
        unlucky[1].result(10)
    with pytest.raises(ValueError, match="closed"):
        pool.acquire()
    assert ask(busy, b"ping") == b"ping"
    pool.release(busy)
    assert busy.closed.wait(DEADLINE_S)
    pool.release(idle)
    assert idle.closed.wait(DEADLINE_S)


def test_port_closes_under_a_pool() -> None:
    """Idle and busy sessions end, and who waits hears why."""
    with CompletionPort() as port:
        listener = port.listen(LOCAL, Echo)
        pool = ConnectionPool(port, listener.address, Journal, maximum=1)
        with served(port):
            session = got(pool.acquire())
            waiting = pool.acquire()
    assert session.hooks[-1] == "close"
    assert type(waiting.exception(0)) is PortClosedError


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"maximum": 0}),
        (ValueError, {"idle_timeout": 0}),
        (TypeError, {"factory": None}),
        (ValueError, {"timeout": 0}),
        (ValueError, {"address": []}),
        (TypeError, {"address": "127.0.0.1:80"}),
    ],
)
def test_bad_arguments_are_refused(
    port: CompletionPort, error: type[Exception], arguments: dict[str, Any]
) -> None:
    with pytest.raises(error):
        ConnectionPool(
            **{"port": port, "address": ("127.0.0.1", 9), "factory": Journal, **arguments}
        )


# Who waits no longer


def test_timed_out_result_gets_nothing(port: CompletionPort, echoes: Made) -> None:
    """C41: `acquire().result(timeout=…)`: what comes after that goes to the next, or is idle."""
    pool = pool_of(port, echoes, maximum=1)
    session = got(pool.acquire())
    held = pool.acquire()
    with pytest.raises(TimeoutError):
        held.result(timeout=0.01)
    assert held.cancelled()
    with pytest.raises(TimeoutError):
        pool.acquire().exception(timeout=0.01)
    assert pool.waiting == 0
    following = pool.acquire()
    pool.release(session)
    assert got(following) is session
    pool.release(session)
    assert (pool.busy, pool.idle, pool.waiting) == (0, 1, 0)


def test_acquire_has_a_timeout_of_its_own(port: CompletionPort, echoes: Made) -> None:
    """C41: the future has a TimeoutError then, also if nobody waits for it; it gets nothing."""
    pool = pool_of(port, echoes, maximum=1)
    session = got(pool.acquire(timeout=10))
    late, next_one = pool.acquire(timeout=0.01), pool.acquire(timeout=10)
    assert type(late.exception(10)) is TimeoutError
    with pytest.raises(TimeoutError, match=r"ConnectionPool to 127.*: 1 busy.* within 0.01 s"):
        late.result()
    pool.release(session)
    assert got(next_one) is session
    assert port._queue.timers.next_due() is None


def test_timeout_of_nothing_takes_what_is_idle(port: CompletionPort, echoes: Made) -> None:
    """0 seconds: at once, or not at all."""
    pool = pool_of(port, echoes, maximum=1)
    session = got(pool.acquire())
    assert type(pool.acquire(timeout=0).exception(10)) is TimeoutError
    pool.release(session)
    assert got(pool.acquire(timeout=0)) is session


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_impossible_timeout_is_refused(port: CompletionPort, echoes: Made, timeout: float) -> None:
    pool = pool_of(port, echoes)
    with pytest.raises(ValueError, match="at least 0 seconds"):
        pool.acquire(timeout=timeout)
    with pytest.raises(ValueError, match="at least 0 seconds"), pool.connection(timeout):
        pass
    assert (pool.busy, pool.idle, pool.waiting) == (0, 0, 0)


def test_dropped_wish_gets_nothing(port: CompletionPort, echoes: Made) -> None:
    """C41: nobody has the futures any more: the one behind them gets the connection."""
    pool = pool_of(port, echoes, maximum=1)
    session = got(pool.acquire())
    ctypes.set_last_error(1234)
    for _ in range(20):
        pool.acquire()
    assert ctypes.get_last_error() == 1234  # C26: a port was woken meanwhile
    following = pool.acquire()
    assert eventually(lambda: pool.waiting == 1)
    pool.release(session)
    assert got(following) is session


@pytest.mark.parametrize("when", ["before", "after"])
def test_connection_of_a_dropped_future_goes_back(
    port: CompletionPort, echoes: Made, when: str
) -> None:
    """C41: it was there, but nobody had taken it from the future; idle at once, or made for it."""
    pool = pool_of(port, echoes, maximum=1)
    if when == "before":
        pool.release(got(pool.acquire()))
    future = pool.acquire()
    assert future.exception(10) is None
    assert pool.busy == 1
    following = pool.acquire()
    del future
    session = got(following)
    pool.release(session)
    assert (pool.busy, pool.idle, pool.waiting) == (0, 1, 0)


def test_dropped_future_with_callbacks_is_fulfilled(port: CompletionPort, echoes: Made) -> None:
    """The callback waits for it, and takes the session."""
    pool = pool_of(port, echoes, maximum=1)
    session = got(pool.acquire())
    taken: list[Session] = []
    done = threading.Event()

    def take(future: Future[Session]) -> None:
        taken.append(future.result())
        done.set()

    pool.acquire().add_done_callback(take)
    pool.release(session)
    assert done.wait(DEADLINE_S)
    assert taken == [session]
    assert (pool.busy, pool.idle) == (1, 0)


def test_time_outs_and_connections_at_the_same_moment(port: CompletionPort, echoes: Made) -> None:
    """C41: four threads whose time-outs are as long as a release takes: none is lost."""
    pool = pool_of(port, echoes, maximum=2)
    missed: list[int] = []

    def work() -> None:
        for n in range(100):
            try:
                session = pool.acquire().result(timeout=0.001 * (n % 4))
            except TimeoutError:
                missed.append(n)
            else:
                pool.release(session)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert missed  # or it has shown nothing
    assert eventually(lambda: (pool.busy, pool.waiting) == (0, 0))
    sessions = [got(pool.acquire()) for _ in range(2)]
    assert len(set(sessions)) == 2
    assert len(echoes) == 2


def test_many_time_outs_leave_nobody_in_line(port: CompletionPort, echoes: Made) -> None:
    """C41: while the only connection is out, a thousand give up: nothing of them is kept."""
    pool = pool_of(port, echoes, maximum=1)
    session = got(pool.acquire())
    for _ in range(1000):
        with pytest.raises(TimeoutError):
            pool.acquire().result(timeout=0)
    assert len(pool._waiters) == 0
    pool.release(session)
    assert pool.idle == 1


# A block with a connection


def test_block_with_a_connection(port: CompletionPort, echoes: Made) -> None:
    """C41: it is given back at the end, and the next block has the same."""
    pool = pool_of(port, echoes, maximum=1)
    sessions = set()
    for _ in range(3):
        with pool.connection(timeout=10) as session:
            assert isinstance(session, Journal)
            assert ask(session, b"ping") == b"ping"
            assert (pool.busy, pool.idle) == (1, 0)
            sessions.add(session)
        assert (pool.busy, pool.idle) == (0, 1)
    assert len(sessions) == 1


def test_block_that_fails_gives_nothing_back(port: CompletionPort, echoes: Made) -> None:
    """What it has asked may yet be answered: the connection is aborted, and there is a new one."""
    pool = pool_of(port, echoes, maximum=1)
    with pytest.raises(ZeroDivisionError), pool.connection() as session:
        raise ZeroDivisionError
    with pool.connection() as another:
        assert another is not session
    assert echoes[0].closed.wait(DEADLINE_S)


def test_block_that_gets_no_connection(port: CompletionPort, echoes: Made, refused: Any) -> None:
    """C41: in time, or because there is nobody: it raises, and leaves nothing."""
    pool = pool_of(port, echoes, maximum=1)
    with pool.connection():
        with pytest.raises(TimeoutError, match=r"1 busy.* within 0.01 s"), pool.connection(0.01):
            pass
        assert pool.waiting == 0
    nobody = ConnectionPool(port, refused, Journal)
    with pytest.raises(ConnectRefusedError), nobody.connection():
        pass
    assert (pool.busy, pool.idle) == (0, 1)


def test_hook_does_not_wait_for_a_connection(port: CompletionPort, echoes: Made) -> None:
    """Its worker would have to bring it. An idle one it gets."""
    pool = pool_of(port, echoes, maximum=1)
    found: list[Any] = []
    done = threading.Event()

    def in_a_hook() -> None:
        try:
            with pool.connection() as session:
                found.append(session)
        except RuntimeError as error:
            found.append(error)
        done.set()

    with pool.connection() as session:
        port.call_soon(in_a_hook)
        assert done.wait(DEADLINE_S)
        done.clear()
    port.call_soon(in_a_hook)
    assert done.wait(DEADLINE_S)
    assert "a hook cannot wait" in str(found[0])
    assert found[1] is session
    assert (pool.busy, pool.idle, pool.waiting) == (0, 1, 0)


def test_connections_of_a_pool_come_from_a_local_address(
    port: CompletionPort, echoes: Made
) -> None:
    pool = pool_of(port, echoes, local_address=("127.0.0.5", 0))
    with pool.connection() as session:
        assert session.local_address[0] == "127.0.0.5"
        assert echoes[0].peer_address == session.local_address


def test_waiting_for_a_closed_port_ends() -> None:
    """With a time-out or without: each has the error, at once."""
    with CompletionPort() as port:
        pool = ConnectionPool(port, ("127.0.0.1", 9), Journal)
    for timeout in (None, 30):
        assert type(pool.acquire(timeout).exception(0)) is PortClosedError
        with pytest.raises(PortClosedError), pool.connection(timeout):
            pass
    assert pool.waiting == 0
