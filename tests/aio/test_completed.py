"""`aio.completed`: operations of the port are awaited, and nothing that has come is lost.

Both sides are real: pipes, files, timers and sockets. Where a race must go one way, the test puts
the other side's bytes there first.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import socket
import weakref
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from deadline import DEADLINE_S

from pyiocp import CompletionPort, Operation, OperationCancelledError, PipeBusyError, aio, winapi
from pyiocp.errors import MessageTruncatedError

FIONREAD = 0x4004667F

_names = itertools.count()


def pipe_name() -> str:
    """Return a name that no other pipe has."""
    import os

    return f"pyiocp-completed-{os.getpid()}-{next(_names)}"


def loop_port() -> CompletionPort:
    """Return the running loop's port."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, aio.EventLoop)
    return loop.port


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in a loop of ours; nothing may be in flight, or unclaimed, when it is over."""

    async def limited() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await main()
        port = loop_port()
        assert {k: n for k, n in port.in_flight_by_kind().items() if n} == {}
        assert list(port._queue.unclaimed) == []

    aio.run(limited())


async def pair() -> tuple[Any, socket.socket]:
    """Return a stream on the port and its peer, a plain socket."""
    ours, peer = socket.socketpair()
    peer.settimeout(DEADLINE_S)
    return loop_port().stream(ours, key="ours"), peer


def send_now(peer: socket.socket, data: bytes, stream: Any) -> None:
    """Send, and return when the bytes can be received."""
    peer.sendall(data)
    there = winapi.ULONG()
    while there.value < len(data):
        stream.call("ioctlsocket", FIONREAD, ctypes.byref(there))


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until it is so."""
    while not condition():  # noqa: ASYNC110, nothing tells
        await asyncio.sleep(0.001)


# Awaiting


def test_a_read_of_a_file(tmp_path: Path) -> None:
    """Its completion has the bytes; posted again, it is awaited again."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    async def main() -> None:
        with loop_port().file(path, key="the file") as file:
            operation = file.read(bytearray(4), 0)
            completion = await aio.completed(operation)
            assert (bytes(completion.data), completion.key) == (b"0123", "the file")
            assert completion.operation is operation
            operation.offset = 8
            operation.post()
            assert bytes((await aio.completed(operation)).data) == b"89"
            assert (await aio.completed(file.read(bytearray(4), 10))).bytes == 0

    run(main)


def test_one_that_pends_and_one_that_has_ended_before() -> None:
    """It makes no difference whether it ends before or after it is awaited."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            operation = stream.receive(bytearray(10))
            waiting = asyncio.create_task(aio.completed(operation))
            await asyncio.sleep(0)
            peer.sendall(b"later")
            assert bytes((await waiting).data) == b"later"
            peer.sendall(b"before")
            operation.post()
            await until(lambda: operation.state.value == "completed")
            assert bytes((await aio.completed(operation)).data) == b"before"

    run(main)


def test_each_post_has_one_completion() -> None:
    """Two that nobody has awaited yet are not mixed up, and each is there once."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            one, other = stream.receive(bytearray(1)), stream.receive(bytearray(1))
            peer.sendall(b"12")
            await until(lambda: other.state.value == "completed")
            assert bytes((await aio.completed(other)).data) == b"2"
            assert bytes((await aio.completed(one)).data) == b"1"
            with pytest.raises(RuntimeError, match="has been taken"):
                await aio.completed(one)

    run(main)


def test_a_timer_and_a_series_of_ticks() -> None:
    """Each call returns the next tick."""

    async def main() -> None:
        with closing(loop_port().timer()) as timer:
            completion: Any = await aio.completed(timer.after(0.001))
            assert completion.late >= 0
            ticks = timer.every(0.001)
            for _ in range(5):
                assert (await aio.completed(ticks)).operation is ticks
            await until(lambda: loop_port()._queue.unclaimed)
            ticks.cancel()
            late = 0
            with suppress(OperationCancelledError):  # unless a tick is ready just then
                while loop_port()._queue.unclaimed or ticks.state.value == "pending":
                    await aio.completed(ticks)
                    late += 1
            assert late >= 1  # it had been due before

    run(main)


def test_a_pipe_its_server_and_its_client() -> None:
    """An accept, a wait for a busy server, reads and writes."""
    name = pipe_name()

    async def main() -> None:
        port = loop_port()
        with closing(port.pipe_server(name, instances=1)) as server:
            accept = server.accept()
            client = port.pipe(name)
            await aio.completed(accept)
            busy = port.connect_pipe(name)
            waiting = asyncio.create_task(aio.completed(busy))
            read = accept.accepted.read(bytearray(10))
            await aio.completed(client.write(b"request"))
            assert bytes((await aio.completed(read)).data) == b"request"
            client.close()
            accept.accepted.close()
            again = server.accept()
            await waiting
            await aio.completed(again)
            assert busy.pipe is not None
            with pytest.raises(PipeBusyError):
                await aio.completed(port.connect_pipe(name, timeout=0.01))
            busy.pipe.close()
            again.accepted.close()

    run(main)


def test_an_error_is_raised() -> None:
    """As the exception that the completion has."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            operation = stream.receive(bytearray(1))
            operation.cancel()
            with pytest.raises(OperationCancelledError) as caught:
                await aio.completed(operation)
            assert caught.value.subject is operation

    run(main)


def test_a_datagram_that_was_cut_off_is_returned() -> None:
    """With its error: what fitted is there, and the rest is lost either way."""

    async def main() -> None:
        with (
            closing(loop_port().datagram()) as receiver,
            socket.socket(type=socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            operation = receiver.receive_from(bytearray(4))
            sender.sendto(b"too long", receiver.local_address())
            completion: Any = await aio.completed(operation)
            assert bytes(completion.data) == b"too "
            assert completion.truncated
            assert isinstance(completion.error, MessageTruncatedError)

    run(main)


# Cancelling


def test_cancelling_the_task_cancels_the_operation() -> None:
    """And it waits until the kernel has given it back: then the buffer is free."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            buffer = bytearray(10)
            operation = stream.receive(buffer)
            task = asyncio.create_task(aio.completed(operation))
            await asyncio.sleep(0)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await task
            assert operation.address not in loop_port().in_flight
            assert operation.state.value == "completed"
            with pytest.raises(OperationCancelledError):
                await aio.completed(operation)
            # Posted again, what was before is forgotten.
            operation.post()
            peer.sendall(b"fresh")
            assert bytes((await aio.completed(operation)).data) == b"fresh"

    run(main)


def test_posted_again_after_a_cancel_that_nobody_asked_about() -> None:
    """The next completion is that of the next post."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            operation = stream.receive(bytearray(10))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(aio.completed(operation), 0.001)
            operation.post()
            peer.sendall(b"new")
            assert bytes((await aio.completed(operation)).data) == b"new"

    run(main)


def test_data_that_wins_the_race_is_not_lost() -> None:
    """The bytes are there before the cancel: the task is cancelled, and the next call has them."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            send_now(peer, b"won", stream)
            operation = stream.receive(bytearray(10))
            task = asyncio.create_task(aio.completed(operation))
            await asyncio.sleep(0)  # its packet has not been dispatched yet
            assert operation.state.value == "pending"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert bytes((await aio.completed(operation)).data) == b"won"
            with pytest.raises(RuntimeError, match="has been taken"):
                await aio.completed(operation)

    run(main)


def test_a_cancel_between_the_end_and_the_task() -> None:
    """The operation has been dispatched, and the task was about to go on with its data."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            operation = stream.receive(bytearray(10))
            task = asyncio.create_task(aio.completed(operation))
            await asyncio.sleep(0)
            peer.sendall(b"done")
            receiver: Any = operation.receiver

            def then_cancel(*arguments: Any) -> None:
                receiver(*arguments)
                task.cancel()

            operation.receiver = then_cancel
            with pytest.raises(asyncio.CancelledError):
                await task
            assert bytes((await aio.completed(operation)).data) == b"done"

    run(main)


def test_data_that_has_won_stays_first_when_it_is_posted_again() -> None:
    """Each post has its completion, in order."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            send_now(peer, b"one", stream)
            operation = stream.receive(bytearray(3))
            task = asyncio.create_task(aio.completed(operation))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            operation.post()
            assert (await aio.completed(operation)).bytes == 3
            peer.sendall(b"four")
            completion = await aio.completed(operation)
            assert (completion.bytes, bytes(completion.data)) == (3, b"fou")

    run(main)


def test_a_second_cancel_does_not_let_go_of_it_either() -> None:
    """The kernel still has the operation: the task goes on waiting for it."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            operation = stream.receive(bytearray(10))
            asked: list[str] = []

            class Stubborn(type(operation)):  # type: ignore[misc]
                """One that the kernel does not cancel: that happens, for a while."""

                __slots__ = ()

                def cancel(self) -> bool:
                    asked.append("again")
                    return True

            operation.__class__ = Stubborn
            task = asyncio.create_task(aio.completed(operation))
            for _ in range(3):
                await asyncio.sleep(0)
                task.cancel()
            await until(lambda: len(asked) >= 4)  # also without a further cancel
            assert not task.done()
            assert operation.address in loop_port().in_flight
            peer.sendall(b"at last")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert bytes((await aio.completed(operation)).data) == b"at last"

    run(main)


@pytest.mark.parametrize("way", ["wait_for", "timeout"])
def test_time_outs(way: str) -> None:
    """TimeoutError, as with everything else that is awaited; the data comes with the next call."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            operation = stream.receive(bytearray(10))

            async def awaited(seconds: float) -> Any:
                if way == "wait_for":
                    return await asyncio.wait_for(aio.completed(operation), seconds)
                async with asyncio.timeout(seconds):
                    return await aio.completed(operation)

            with pytest.raises(TimeoutError):
                await awaited(0.01)
            with pytest.raises(OperationCancelledError):
                await aio.completed(operation)
            operation.post()
            peer.sendall(b"in time")
            assert bytes((await awaited(DEADLINE_S)).data) == b"in time"
            this = asyncio.current_task()
            assert this is not None
            assert this.cancelling() == 0

    run(main)


def test_a_task_group_ends_when_one_of_it_fails() -> None:
    """A task that serves a stream for ever is cancelled, once, and its operation is back."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            operation = stream.receive(bytearray(10))

            async def serve() -> None:
                while True:
                    await aio.completed(operation)
                    operation.post()

            async def fail() -> None:
                peer.sendall(b"something to do")
                await asyncio.sleep(0.01)
                raise LookupError

            with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
                async with asyncio.TaskGroup() as group:
                    group.create_task(serve())
                    group.create_task(fail())
            assert [type(e) for e in caught.value.exceptions] == [LookupError]
            assert loop_port().in_flight_by_kind() == {}

    run(main)


def test_many_races_lose_nothing() -> None:
    """Every byte that the peer sends comes out, whoever wins, 300 times."""
    count = 300

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            got = b""
            operation: Operation = stream.receive(bytearray(1))
            for n in range(count):
                task = asyncio.create_task(aio.completed(operation))
                await asyncio.sleep(0)
                if n % 3:
                    peer.sendall(b"%c" % (n % 256))
                task.cancel()
                if not n % 3:
                    peer.sendall(b"%c" % (n % 256))
                with pytest.raises(asyncio.CancelledError):
                    await task
                try:
                    got += bytes((await aio.completed(operation)).data)
                except OperationCancelledError:
                    operation.post()
                    got += bytes((await aio.completed(operation)).data)
                operation.post()
            operation.cancel()
            with pytest.raises(OperationCancelledError):
                await aio.completed(operation)
            assert got == b"".join(b"%c" % (n % 256) for n in range(count))

    run(main)


@pytest.mark.parametrize("won", [True, False], ids=["data", "cancelled"])
def test_what_nobody_asks_for_is_let_go_of(won: bool) -> None:
    """How it has ended is kept with the operation, and goes with it."""

    async def main() -> None:
        stream, peer = await pair()
        with closing(stream), peer:
            if won:
                send_now(peer, b"won", stream)
            operation = stream.receive(bytearray(10))
            task = asyncio.create_task(aio.completed(operation))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gone = weakref.ref(operation)
            await asyncio.sleep(0)  # asyncio has the error until here
            gc.disable()
            del operation, task
            try:
                assert gone() is None  # without a collection, and so without a ring
            finally:
                gc.enable()

    run(main)


# Bad input


def test_what_is_no_operation_of_the_loop(tmp_path: Path) -> None:
    """Each error says what is wrong."""
    path = tmp_path / "file"
    path.write_bytes(b"x")

    async def main() -> None:
        port = loop_port()
        for wrong in (None, 7, port, port.post("key"), asyncio.sleep):
            with pytest.raises(TypeError, match="needs an operation"):
                await aio.completed(wrong)  # type: ignore[arg-type]
        await until(lambda: port._queue.unclaimed)
        port._queue.unclaimed.clear()  # the packet
        stream, peer = await pair()
        with closing(stream), peer:
            with pytest.raises(RuntimeError, match="not been posted"):
                await aio.completed(stream.receive_operation(bytearray(1)))
            operation = stream.receive(bytearray(1))
            first = asyncio.create_task(aio.completed(operation))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="something else waits"):
                await aio.completed(operation)
            peer.sendall(b"1")
            assert (await first).bytes == 1
        with CompletionPort() as other, other.file(path) as file:
            with pytest.raises(ValueError, match="this loop waits on"):
                await aio.completed(file.read(bytearray(1), 0))
            other.wait(DEADLINE_S)

    run(main)


def test_in_another_loop(tmp_path: Path) -> None:
    """The error says where it works."""
    path = tmp_path / "file"
    path.write_bytes(b"x")

    async def main(operation: Operation) -> None:
        with pytest.raises(RuntimeError, match=r"in a loop of pyiocp\.aio only"):
            await aio.completed(operation)

    with CompletionPort() as port, port.file(path) as file:
        asyncio.run(main(file.read(bytearray(1), 0)))
        port.wait(DEADLINE_S)


def test_a_task_that_begins_in_a_receiver(tmp_path: Path) -> None:
    """What has ended in the same round is found, though the round is not over yet."""
    path = tmp_path / "file"
    path.write_bytes(b"early")

    async def main() -> None:
        got: list[bytes] = []
        file = loop_port().file(path)
        early, late = file.read_operation(bytearray(9), 0), file.read_operation(bytearray(9), 0)
        coroutine = aio.completed(early)

        def begin(operation: Operation, count: int, status: int) -> None:
            operation.receiver = None
            try:
                coroutine.send(None)  # as an eager task does
            except StopIteration:
                got.append(b"at once")
            else:
                got.append(b"after the round")

        late.receiver = begin
        early.post()
        late.post()
        await until(lambda: got)
        assert got == [b"after the round"]
        with pytest.raises(StopIteration) as caught:
            coroutine.send(None)
        assert bytes(caught.value.value.data) == b"early"
        file.close()

    run(main)


@pytest.mark.usefixtures("no_errors_logged")
def test_a_loop_that_closes_under_a_task() -> None:
    """What is in flight comes back, and nobody is called any more."""
    loop = aio.new_event_loop()
    ours, peer = socket.socketpair()
    with peer:
        operation = loop.port.stream(ours).receive(bytearray(10))

        async def main() -> None:
            waiting.append(asyncio.create_task(aio.completed(operation)))
            await asyncio.sleep(0)

        waiting: list[asyncio.Task[Any]] = []
        loop.run_until_complete(main())
        loop.close()
        assert operation.state.value == "completed"
        assert not waiting[0].done()
        waiting.pop()._log_destroy_pending = False  # type: ignore[attr-defined]
