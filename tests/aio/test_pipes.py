"""Pipes with asyncio's interface: named ones, those of a program's own, and what takes a thread."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
import warnings
from asyncio import windows_utils
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from aio_peers import Echo, Log, eventually
from aio_running import reports_of, run, running
from commands import run_python
from deadline import DEADLINE_S
from pipe_ends import unused_name
from tls_context import client_context, server_context

from pyiocp import CompletionPort
from pyiocp.aio.pipe_transport import PipeTransport

BIG = bytes(range(256)) * 20_000  # 5 MB: more than pipes hold


class BufferedLog(Log, asyncio.BufferedProtocol):
    """Takes what comes in small buffers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._room = bytearray(1000)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self._room[:nbytes]


def drop(kept: list[Any]) -> None:
    """Have nobody know these any more."""
    kept.clear()
    gc.collect()


async def own_pipe(
    reader: Callable[[], Any] = Log, **settings: Any
) -> tuple[PipeTransport, Any, PipeTransport, Any]:
    """Return both ends of a pipe of this program's own: the reading one first."""
    read_end, write_end = windows_utils.pipe(**settings)
    loop = running()
    reading, read_log = await loop.connect_read_pipe(reader, windows_utils.PipeHandle(read_end))
    pipe = windows_utils.PipeHandle(write_end)
    writing, write_log = await loop.connect_write_pipe(Log, pipe)
    return cast("PipeTransport", reading), read_log, cast("PipeTransport", writing), write_log


# Ends of one way


@pytest.mark.parametrize("duplex", [False, True])
@pytest.mark.parametrize("reader", [Log, BufferedLog])
def test_what_is_written_is_read_to_the_end(reader: type[Log], duplex: bool) -> None:
    """5 MB: writes wait, and the protocol is told to pause and to go on."""

    async def main() -> None:
        _, read_log, writing, write_log = await own_pipe(reader, duplex=duplex)
        writing.write(b"")
        writing.write(bytearray(BIG[:100]))
        writing.write(memoryview(BIG)[100:])
        assert write_log.calls == ["made", "pause"]
        assert 0 < writing.get_write_buffer_size() < len(BIG)
        writing.write_eof()
        await asyncio.wait_for(read_log.lost.wait(), DEADLINE_S)
        await asyncio.wait_for(write_log.lost.wait(), DEADLINE_S)
        assert bytes(read_log.data) == BIG
        data = [] if reader is BufferedLog else ["data"]
        assert read_log.calls == ["made", *data, "eof", "lost"]
        assert write_log.calls == ["made", "pause", "resume", "lost"]
        assert (read_log.error, write_log.error) == (None, None)

    run(main)


def test_streams_go_over_a_pipe() -> None:
    async def main() -> None:
        read_end, write_end = map(windows_utils.PipeHandle, windows_utils.pipe())
        loop = running()
        reader = asyncio.StreamReader()
        reading_from, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), read_end
        )
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, write_end
        )
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        lines = [b"%d\n" % n for n in range(10_000)]
        reading = asyncio.create_task(reader.read())
        for line in lines:
            writer.write(line)
            await writer.drain()
        writer.close()
        assert await reading == b"".join(lines)
        assert not reading_from.is_closing()  # as with asyncio's own loops
        reading_from.close()

    run(main)


def test_transport_is_one_of_asyncio_and_tells_about_the_pipe() -> None:
    async def main() -> None:
        reading, read_log, writing, write_log = await own_pipe()
        assert isinstance(reading, asyncio.ReadTransport)
        assert isinstance(writing, asyncio.WriteTransport)
        assert reading.get_extra_info("pipe").fileno() == reading.end.number
        assert writing.get_extra_info("pipe").fileno() == writing.end.number
        assert reading.get_extra_info("nothing", 5) == 5
        assert (reading.can_write_eof(), writing.can_write_eof()) == (False, True)
        assert (reading.is_reading(), writing.is_reading()) == (True, False)
        assert writing.get_protocol() is write_log
        assert f"{writing.end.number:#x}" in repr(writing)
        with pytest.raises(NotImplementedError):
            reading.write(b"x")
        with pytest.raises(NotImplementedError):
            reading.write_eof()
        with pytest.raises(TypeError, match="bytes-like"):
            writing.write("text")  # type: ignore[arg-type]
        writing.close()
        await asyncio.wait_for(read_log.lost.wait(), DEADLINE_S)

    run(main)


def test_nothing_comes_in_a_pause_and_all_of_it_afterwards() -> None:
    async def main() -> None:
        reading, read_log, writing, _ = await own_pipe()
        reading.pause_reading()
        reading.pause_reading()
        assert not reading.is_reading()
        writing.write(BIG)
        writing.close()
        await asyncio.sleep(0.2)  # in which nothing may come
        assert read_log.data == b""
        while not read_log.lost.is_set():
            reading.resume_reading()
            reading.resume_reading()
            await asyncio.sleep(0)
            reading.pause_reading()
            await asyncio.sleep(0.001)
        assert bytes(read_log.data) == BIG

    run(main)


def test_end_that_came_in_a_pause_is_told_afterwards() -> None:
    async def main() -> None:
        reading, read_log, writing, write_log = await own_pipe()
        writing.write(b"last")
        await eventually(lambda: read_log.data == b"last")
        reading.pause_reading()
        writing.close()
        await asyncio.wait_for(write_log.lost.wait(), DEADLINE_S)
        await asyncio.sleep(0.05)
        assert read_log.calls == ["made", "data"]
        reading.resume_reading()
        await asyncio.wait_for(read_log.lost.wait(), DEADLINE_S)
        assert read_log.calls == ["made", "data", "eof", "lost"]

    run(main)


@pytest.mark.parametrize("busy", [False, True])
def test_writer_hears_that_nobody_reads_any_more(busy: bool) -> None:
    """Without a write, where its end may be read; with one under way, as an error."""

    async def main() -> None:
        reading, _, writing, write_log = await own_pipe(duplex=True)
        if busy:
            reading.pause_reading()
            writing.write(BIG)
        reading.close()
        await asyncio.wait_for(write_log.lost.wait(), DEADLINE_S)
        assert isinstance(write_log.error, BrokenPipeError) == busy
        for _ in range(10):
            writing.write(b"nobody hears this")
        assert writing.get_write_buffer_size() == 0

    run(main)


def test_end_that_may_only_write_hears_it_at_the_next_write() -> None:
    async def main() -> None:
        reading, read_log, writing, write_log = await own_pipe()
        reading.close()
        await asyncio.wait_for(read_log.lost.wait(), DEADLINE_S)
        writing.write(b"x")
        await asyncio.wait_for(write_log.lost.wait(), DEADLINE_S)
        assert isinstance(write_log.error, BrokenPipeError)

    run(main)


def test_abort_drops_what_waits() -> None:
    async def main() -> None:
        reading, read_log, writing, write_log = await own_pipe()
        reading.pause_reading()
        writing.write(BIG)
        writing.abort()
        writing.abort()
        assert writing.get_write_buffer_size() == 0
        await asyncio.wait_for(write_log.lost.wait(), DEADLINE_S)
        assert write_log.calls == ["made", "pause", "lost"]
        reading.resume_reading()
        await asyncio.wait_for(read_log.lost.wait(), DEADLINE_S)
        assert len(read_log.data) < len(BIG)

    run(main)


def test_failing_protocol_is_reported_and_closed() -> None:
    class Failing(Log):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        _, read_log, writing, write_log = await own_pipe(Failing, duplex=True)
        writing.write(b"x")
        await asyncio.wait_for(read_log.lost.wait(), DEADLINE_S)
        assert isinstance(read_log.error, ZeroDivisionError)
        await asyncio.wait_for(write_log.lost.wait(), DEADLINE_S)

    (report,) = reports_of(main)
    assert report["message"] == "Fatal error: protocol.data_received() call failed."
    assert isinstance(report["exception"], ZeroDivisionError)


def test_pipe_is_closed_once_and_its_number_is_free() -> None:
    """The program's object forgets its number; who has the number next keeps it."""

    async def main() -> None:
        ends = list(map(windows_utils.PipeHandle, windows_utils.pipe()))
        log: Log
        transport, log = await running().connect_read_pipe(Log, ends[0])
        ends[1].close()
        await asyncio.wait_for(log.lost.wait(), DEADLINE_S)
        await eventually(lambda: ends[0].handle is None)
        first, second = os.pipe()  # which may get the same numbers
        del transport, log
        ends.clear()
        gc.collect()
        os.write(second, b"still open")
        assert os.read(first, 100) == b"still open"
        os.close(first)
        os.close(second)

    run(main)


@pytest.mark.parametrize("closed_first", [False, True], ids=["open", "closed"])
def test_pipes_that_are_left_open_say_so_and_leave_no_handle(closed_first: bool) -> None:
    """The second close comes when the loop is closed: nothing is raised then."""
    kept: list[Any] = []

    async def main() -> None:
        reading, _, writing, _ = await own_pipe()
        kept.extend((reading, writing))

    run(main)
    assert [kept_one.get_extra_info("pipe").handle for kept_one in kept] == [None, None]
    if closed_first:
        list(map(PipeTransport.close, kept))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drop(kept)
    expected = [] if closed_first else [ResourceWarning, ResourceWarning]
    assert [w.category for w in caught] == expected


# What is no pipe on a port


def test_what_cannot_be_a_pipe_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        loop = running()
        first, second = socket.socketpair()
        with first, second, pytest.raises(ValueError, match="no pipe"):
            await loop.connect_read_pipe(Log, first)
        read_end, write_end = map(windows_utils.PipeHandle, windows_utils.pipe())
        read_end.close()
        write_end.close()
        with pytest.raises(ValueError, match="closed"):
            await loop.connect_read_pipe(Log, read_end)
        with pytest.raises(AttributeError):
            await loop.connect_write_pipe(Log, 5)
        with CompletionPort() as port:
            pipe = windows_utils.PipeHandle(port.file(tmp_path / "file", "w").detach())
        with pipe, pytest.raises(ValueError, match="overlapped"):
            await loop.connect_write_pipe(Log, pipe)

    run(main)


def test_pipe_is_on_one_port_only() -> None:
    """A second transport of the same end is refused; the first goes on."""

    async def main() -> None:
        reading, read_log, writing, _ = await own_pipe()
        with pytest.raises(ValueError, match="on a completion port already"):
            await running().connect_read_pipe(Log, reading.get_extra_info("pipe"))
        writing.write(b"still here")
        writing.close()
        await asyncio.wait_for(read_log.lost.wait(), DEADLINE_S)
        assert read_log.data == b"still here"

    run(main)


def test_pipes_of_os_are_read_and_written_by_threads() -> None:
    """They are not overlapped: no port takes them."""

    async def main() -> None:
        read_end, write_end = os.pipe()
        loop = running()
        read_file, write_file = os.fdopen(read_end, "rb"), os.fdopen(write_end, "wb")
        _, read_log = await loop.connect_read_pipe(Log, read_file)
        writing, write_log = await loop.connect_write_pipe(Log, write_file)
        writing.write(BIG)
        assert write_log.calls == ["made", "pause"]
        writing.close()
        await asyncio.wait_for(write_log.lost.wait(), DEADLINE_S)
        await asyncio.wait_for(read_log.lost.wait(), DEADLINE_S)
        assert bytes(read_log.data) == BIG
        assert read_log.calls == ["made", "data", "eof", "lost"]
        assert write_log.calls == ["made", "pause", "resume", "lost"]
        await eventually(lambda: read_file.closed and write_file.closed)

    run(main)


def test_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BIG)

    async def main() -> None:
        log: Log
        _, log = await running().connect_read_pipe(Log, path.open("rb"))
        await asyncio.wait_for(log.lost.wait(), DEADLINE_S)
        assert bytes(log.data) == BIG

    run(main)


def test_thread_ends_when_its_pipe_is_closed_while_it_waits() -> None:
    async def main() -> None:
        read_end, write_end = os.pipe()
        read_file = os.fdopen(read_end, "rb")
        before = set(threading.enumerate())
        transport, log = await running().connect_read_pipe(Log, read_file)
        (thread,) = set(threading.enumerate()) - before
        assert thread.daemon
        transport.close()
        await asyncio.wait_for(log.lost.wait(), DEADLINE_S)
        with contextlib.suppress(OSError):  # where the system does not end the wait
            os.write(write_end, b"x")
        await asyncio.to_thread(thread.join, DEADLINE_S)
        assert not thread.is_alive()
        assert read_file.closed
        assert log.data == b""
        os.close(write_end)

    run(main)


STDIN_PROGRAM = """
import asyncio, sys
from pyiocp import aio

async def main():
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(line.decode().strip().upper(), flush=True)
        if line.strip() == b"enough":
            break

aio.run(main())
print("over")
"""


def test_standard_input_is_read_line_by_line() -> None:
    result = run_python("-c", STDIN_PROGRAM, typed="one\ntwo\n")
    assert result.stderr == ""
    assert result.stdout.split() == ["ONE", "TWO", "over"]


def test_wait_for_standard_input_does_not_hold_up_the_exit(start: Any) -> None:
    """The program ends by itself while its thread waits for a line that never comes."""
    command = start("-c", STDIN_PROGRAM)
    command.type_line("first")
    assert command.line_with("FIRST")
    command.type_line("enough")
    assert command.line_with("over")
    assert command.end() == 0
    assert command.output == ["FIRST", "ENOUGH", "over"]


# Named pipes


class Served:
    """What a server has made of its clients, and the server."""

    def __init__(self, kind: type[Log]) -> None:
        self.address = rf"\\.\pipe\{unused_name()}"
        self.logs: list[Any] = []
        self._kind = kind

    def __call__(self) -> Any:
        self.logs.append(self._kind())
        return self.logs[-1]

    async def start(self) -> Any:
        (self.server,) = await running().start_serving_pipe(self, self.address)
        return self


def test_named_pipe_serves_many_clients_at_once() -> None:
    async def main() -> None:
        served = await Served(Echo).start()
        made = [await running().create_pipe_connection(Log, served.address) for _ in range(20)]
        for n, (transport, _) in enumerate(made):
            assert isinstance(transport, asyncio.Transport)
            assert transport.get_extra_info("addr") == served.address
            assert transport.get_extra_info("pipe").fileno() == transport.end.number
            transport.write(b"%d" % n)
        await eventually(lambda: all(log.data for _, log in made))
        assert [log.data for _, log in made] == [b"%d" % n for n in range(20)]
        for transport, _ in made:
            assert transport.can_write_eof() is False
            with pytest.raises(NotImplementedError):
                transport.write_eof()
            transport.close()
        await eventually(lambda: all(log.lost.is_set() for log in served.logs))
        assert [log.calls for log in served.logs] == [["made", "data", "eof", "lost"]] * 20
        served.server.close()
        assert served.server.closed()

    run(main)


def test_much_goes_both_ways_over_a_named_pipe() -> None:
    async def main() -> None:
        served = await Served(Echo).start()
        transport, log = await running().create_pipe_connection(Log, served.address)
        transport.write(BIG)
        await eventually(lambda: len(log.data) == len(BIG))
        assert bytes(log.data) == BIG
        transport.close()
        await eventually(lambda: served.logs[0].lost.is_set())
        served.server.close()

    run(main)


def test_tls_goes_over_a_named_pipe() -> None:
    async def main() -> None:
        loop = running()
        served = await Served(Log).start()
        client, _ = await loop.create_pipe_connection(Log, served.address)
        await eventually(lambda: served.logs and served.logs[0].made.is_set())
        echo, log = Echo(), Log()
        server = served.logs[0].transport
        tls = asyncio.create_task(loop.start_tls(server, echo, server_context(), server_side=True))
        over_tls = await loop.start_tls(client, log, client_context(), server_hostname="localhost")
        echo.connection_made(cast("asyncio.Transport", await tls))
        assert over_tls is not None
        log.connection_made(over_tls)
        over_tls.write(BIG)
        await eventually(lambda: len(log.data) == len(BIG))
        over_tls.close()
        await asyncio.wait_for(echo.lost.wait(), DEADLINE_S)
        served.server.close()

    run(main)


def test_no_pipe_and_bad_names_are_refused() -> None:
    async def main() -> None:
        loop = running()
        with pytest.raises(FileNotFoundError):
            await loop.create_pipe_connection(Log, rf"\\.\pipe\{unused_name()}")
        for call in (loop.create_pipe_connection, loop.start_serving_pipe):
            with pytest.raises(TypeError):
                await call(Log, None)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="backslashes"):
                await call(Log, "\\\\.\\pipe\\a\\b")

    run(main)


def test_closed_server_is_gone_and_its_clients_stay() -> None:
    async def main() -> None:
        loop = running()
        served = await Served(Echo).start()
        transport, log = await loop.create_pipe_connection(Log, served.address)
        await eventually(lambda: served.logs)
        served.server.close()
        served.server.close()
        transport.write(b"still served")
        await eventually(lambda: log.data == b"still served")
        transport.close()
        await asyncio.wait_for(served.logs[0].lost.wait(), DEADLINE_S)
        await asyncio.sleep(0)
        with pytest.raises(FileNotFoundError):
            await loop.create_pipe_connection(Log, served.address)

    run(main)


def test_client_waits_while_the_server_is_busy_and_can_be_cancelled() -> None:
    """A server of one instance, on another port, which has its client."""
    name = unused_name()
    with CompletionPort() as port, port.pipe_server(name, instances=1) as server:
        accepting = server.accept()
        first = port.pipe(name)
        port.wait(DEADLINE_S)

        async def main() -> None:
            loop = running()
            waiting = asyncio.create_task(loop.create_pipe_connection(Log, name))
            given_up = asyncio.create_task(loop.create_pipe_connection(Log, name))
            await asyncio.sleep(0.1)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            await eventually(lambda: loop.port.in_flight_by_kind().get("connect") == 1)
            assert not waiting.done()
            first.close()
            assert accepting.accepted is not None
            accepting.accepted.disconnect()
            accepting.accepted.accept()
            transport, log = await asyncio.wait_for(waiting, DEADLINE_S)
            transport.close()
            await asyncio.wait_for(log.lost.wait(), DEADLINE_S)

        run(main)
        port.wait(DEADLINE_S)


def test_message_longer_than_the_buffer_comes_whole() -> None:
    """C22: ERROR_MORE_DATA is no error. And messages stay apart, empty ones are no end."""

    class Messages(Log):
        def __init__(self) -> None:
            super().__init__()
            self.parts: list[bytes] = []

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.parts.append(data)

    async def main() -> None:
        served = await Served(Messages).start()
        with CompletionPort() as port:
            client = port.pipe(served.address)
            await eventually(lambda: served.logs)
            (log,) = served.logs

            def write(message: bytes) -> None:
                client.write(message)
                port.wait(DEADLINE_S)

            for message in (b"one", b"", b"two", b"x" * 100_000, b"three"):
                await asyncio.to_thread(write, message)
                await eventually(partial(log.data.endswith, message))
            client.close()
        await asyncio.wait_for(log.lost.wait(), DEADLINE_S)
        assert log.calls == ["made", "data", "eof", "lost"]
        assert log.parts[:2] == [b"one", b"two"]
        assert log.parts[-1] == b"three"
        assert b"".join(log.parts) == b"onetwo" + b"x" * 100_000 + b"three"
        assert len(log.parts) > 4
        served.server.close()

    run(main)


def test_each_write_of_a_server_is_one_message() -> None:
    """Also those that had to wait until the pipe had room."""
    sizes = [1, 5000, 70_000, 3, 8192, 1]

    async def main() -> None:
        served = await Served(Log).start()
        with CompletionPort() as port:
            client = port.pipe(served.address, message=True)
            await eventually(lambda: served.logs and served.logs[0].made.is_set())
            for n, size in enumerate(sizes):
                served.logs[0].transport.write(bytes([n]) * size)
            assert served.logs[0].transport.get_write_buffer_size() > 0

            def read() -> bytes:
                buffer = bytearray(100_000)
                client.read(buffer)
                (completion,) = port.wait(DEADLINE_S)
                return bytes(buffer[: completion.bytes])

            messages = [await asyncio.to_thread(read) for _ in sizes]
            assert messages == [bytes([n]) * size for n, size in enumerate(sizes)]
            client.close()
        await asyncio.wait_for(served.logs[0].lost.wait(), DEADLINE_S)
        served.server.close()

    run(main)


def test_what_a_client_left_behind_is_read_and_who_left_nothing_is_no_client() -> None:
    """C21: the client is faster than the accept, and gone."""

    async def main() -> None:
        served = await Served(Log).start()
        with CompletionPort() as port:
            for message in (b"", b"hello"):
                client = port.pipe(served.address)
                if message:
                    client.write(message)
                client.close()
                await asyncio.sleep(0.05)
        await eventually(lambda: served.logs and served.logs[-1].lost.is_set())
        assert [bytes(log.data) for log in served.logs] == [b"hello"]
        served.server.close()

    run(main)


def test_failing_factory_is_reported_and_the_server_goes_on() -> None:
    async def main() -> None:
        loop = running()
        address = rf"\\.\pipe\{unused_name()}"
        logs: list[Log] = []

        def factory() -> Log:
            logs.append(Log())
            if len(logs) == 1:
                raise ZeroDivisionError
            return logs[-1]

        (server,) = await loop.start_serving_pipe(factory, address)
        transport, log = await loop.create_pipe_connection(Log, address)
        await asyncio.wait_for(log.lost.wait(), DEADLINE_S)
        transport, log = await loop.create_pipe_connection(Log, address)
        await eventually(lambda: len(logs) == 2 and logs[1].made.is_set())
        transport.close()
        await asyncio.wait_for(logs[1].lost.wait(), DEADLINE_S)
        server.close()

    (report,) = reports_of(main)
    assert isinstance(report["exception"], ZeroDivisionError)


def test_loop_closes_with_pipes_and_a_server_that_are_open() -> None:
    kept: list[Any] = []

    async def main() -> None:
        served = await Served(Echo).start()
        kept.append(served)
        for _ in range(3):
            made = await running().create_pipe_connection(Log, served.address)
            kept.append(made)
            made[0].write(BIG)
        await eventually(lambda: len(served.logs) == 3)

    run(main)
    assert kept[0].server.closed()
    assert [made[0].get_extra_info("pipe").handle for made in kept[1:]] == [None] * 3
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        drop(kept)
