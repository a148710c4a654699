"""TCP with asyncio's interface: what a protocol is told, and when."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aio_peers import Echo, Log, eventually, serving, visit, visited
from deadline import DEADLINE_S
from journal import receive_all, reset
from tls_context import client_context, server_context

from pyiocp import Session, aio

BIG = bytes(range(256)) * 20_000  # 5 MB: more than sockets hold


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine in a loop; what the loop reports is a failure."""
    reports: list[dict[str, Any]] = []

    async def reporting() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        await asyncio.wait_for(main(), 4 * DEADLINE_S)

    aio.run(reporting())
    assert reports == []


def test_protocol_is_told_what_happens_in_order() -> None:
    async def main() -> None:
        async with visited(Echo) as (protocol, peer):
            peer.sendall(b"ping")
            assert await asyncio.to_thread(receive_all, peer, 4) == b"ping"
            peer.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(receive_all, peer) == b""
        assert protocol.calls == ["made", "data", "eof", "lost"]
        assert protocol.error is None

    run(main)


def test_transport_is_one_of_asyncio_and_tells_about_the_connection() -> None:
    async def main() -> None:
        async with visited() as (protocol, peer):
            transport = protocol.transport
            assert isinstance(transport, asyncio.Transport)
            assert transport.get_extra_info("peername") == peer.getsockname()
            assert transport.get_extra_info("sockname") == peer.getpeername()
            sock = transport.get_extra_info("socket")
            assert sock.getpeername() == peer.getsockname()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert transport.get_extra_info("nothing", 5) == 5
            assert transport.can_write_eof()
            assert transport.get_protocol() is protocol

    run(main)


def test_much_goes_both_ways_at_once() -> None:
    """More than the sockets hold: writes wait, and the protocol is told to pause and go on."""

    async def main() -> None:
        async with visited(Echo) as (protocol, peer):
            sending = asyncio.create_task(asyncio.to_thread(peer.sendall, BIG))
            assert await asyncio.to_thread(receive_all, peer, len(BIG)) == BIG
            await sending
        assert bytes(protocol.data) == BIG

    run(main)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [1, 5000, 65_536, 65_537, len(BIG)])
def test_write_takes_any_bytes_and_copies_them(kind: Callable[[Any], Any], size: int) -> None:
    async def main() -> None:
        async with visited() as (protocol, peer):
            source = bytearray(BIG[:size])
            protocol.transport.write(kind(source))
            source[:] = bytes(size)  # the caller's again
            assert await asyncio.to_thread(receive_all, peer, size) == BIG[:size]

    run(main)


def test_writelines_keeps_the_order_behind_what_waits() -> None:
    async def main() -> None:
        async with visited() as (protocol, peer):
            protocol.transport.writelines([b"a", bytearray(b"b"), memoryview(b"c"), b""])
            protocol.transport.write(BIG)
            protocol.transport.writelines([b"x" * 50_000, b"y" * 50_000])
            protocol.transport.write(b"z")
            protocol.transport.write_eof()
            expected = b"abc" + BIG + b"x" * 50_000 + b"y" * 50_000 + b"z"
            assert await asyncio.to_thread(receive_all, peer) == expected

    run(main)


def test_flow_control_pauses_a_protocol_and_goes_on() -> None:
    async def main() -> None:
        async with visited() as (protocol, peer):
            transport = protocol.transport
            transport.set_write_buffer_limits(high=1000)
            assert transport.get_write_buffer_limits() == (250, 1000)
            transport.write(BIG)
            assert transport.get_write_buffer_size() > 1000
            assert protocol.calls == ["made", "pause"]
            assert await asyncio.to_thread(receive_all, peer, len(BIG)) == BIG
            await eventually(lambda: protocol.calls == ["made", "pause", "resume"])
            assert transport.get_write_buffer_size() == 0

    run(main)


def test_protocol_that_writes_much_in_data_received_is_paused() -> None:
    """It is in the connection's context then, which can be entered once."""

    class Generous(Log):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(BIG)

    async def main() -> None:
        async with visited(Generous) as (protocol, peer):
            peer.sendall(b"x")
            assert await asyncio.to_thread(receive_all, peer, len(BIG)) == BIG
            await eventually(lambda: protocol.calls == ["made", "data", "pause", "resume"])

    run(main)


def test_what_resume_writing_writes_is_sent_before_the_close() -> None:
    """The end of TLS goes that way, if the transport is full when the protocol closes."""

    class Trailing(Log):
        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.write(b"trailer")

    async def main() -> None:
        async with visited(Trailing) as (protocol, peer):
            protocol.transport.set_write_buffer_limits(high=0)
            protocol.transport.write(BIG)
            protocol.transport.close()
            assert await asyncio.to_thread(receive_all, peer) == BIG + b"trailer"

    run(main)


def test_pause_holds_data_and_the_end() -> None:
    """A receive that is under way when the pause begins brings its data after it."""

    async def main() -> None:
        async with visited() as (protocol, peer):
            transport = protocol.transport
            transport.pause_reading()
            assert not transport.is_reading()
            peer.sendall(b"one")
            peer.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.1)
            assert protocol.calls == ["made"]
            transport.resume_reading()
            transport.pause_reading()
            transport.resume_reading()
            assert transport.is_reading()
            await eventually(lambda: "lost" in protocol.calls)
        assert protocol.calls == ["made", "data", "eof", "lost"]
        assert protocol.data == b"one"

    run(main)


def test_pause_within_data_received_holds_what_follows() -> None:
    class Pausing(Log):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    async def main() -> None:
        async with visited(Pausing) as (protocol, peer):
            peer.sendall(b"one")
            await eventually(lambda: protocol.data == b"one")
            peer.sendall(b"two")
            await asyncio.sleep(0.05)
            assert protocol.data == b"one"
            protocol.transport.resume_reading()
            await eventually(lambda: protocol.data == b"onetwo")
            protocol.transport.close()

    run(main)


def test_half_closed_connection_can_still_send() -> None:
    class Patient(Log):
        def eof_received(self) -> bool | None:
            super().eof_received()
            return True

    async def main() -> None:
        async with visited(Patient) as (protocol, peer):
            peer.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(protocol.at_end.wait(), DEADLINE_S)
            protocol.transport.write(b"still here")
            protocol.transport.close()
            assert await asyncio.to_thread(receive_all, peer) == b"still here"
        assert protocol.calls == ["made", "eof", "lost"]

    run(main)


def test_close_sends_what_waits_and_abort_drops_it() -> None:
    async def main() -> None:
        async with visited() as (protocol, peer):
            protocol.transport.write(BIG)
            protocol.transport.close()
            assert protocol.transport.is_closing()
            assert await asyncio.to_thread(receive_all, peer) == BIG
        assert protocol.error is None
        async with visited() as (protocol, peer):
            protocol.transport.write(BIG)
            protocol.transport.abort()
            assert protocol.transport.get_write_buffer_size() == 0
            await asyncio.wait_for(protocol.lost.wait(), DEADLINE_S)
        assert (protocol.calls[-1], protocol.error) == ("lost", None)

    run(main)


def test_reset_is_the_error_of_connection_lost() -> None:
    async def main() -> None:
        async with visited() as (protocol, peer):
            await asyncio.to_thread(reset, peer)
            await asyncio.wait_for(protocol.lost.wait(), DEADLINE_S)
        assert isinstance(protocol.error, ConnectionResetError)
        for _ in range(7):
            protocol.transport.write(b"nobody reads this")  # as asyncio: no error

    run(main)


@pytest.mark.parametrize("name", ["data_received", "eof_received"])
def test_exception_of_a_protocol_is_reported_and_ends_the_connection(name: str) -> None:
    class Odd(Exception):
        pass

    def fail(self: Any, *arguments: Any) -> None:
        raise Odd

    async def main() -> None:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, found: reports.append(found))
        kind = type("Failing", (Log,), {name: fail})
        async with visited(kind) as (protocol, peer):
            peer.sendall(b"x")
            peer.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(protocol.lost.wait(), DEADLINE_S)
        assert [type(report["exception"]) for report in reports] == [Odd]
        assert reports[0]["protocol"] is protocol
        assert isinstance(protocol.error, Odd)

    run(main)


def test_keyboard_interrupt_in_a_protocol_leaves_a_connection_that_hears() -> None:
    """It comes out of the loop; when that runs again, the next data comes."""

    class Interrupted(Echo):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"stop":
                raise KeyboardInterrupt

    loop = aio.new_event_loop()
    made: list[Interrupted] = []

    def factory() -> Interrupted:
        made.append(Interrupted())
        return made[-1]

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    with visit(server) as peer:
        peer.sendall(b"stop")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        peer.sendall(b"more")
        receiving = loop.run_in_executor(None, receive_all, peer, 8)
        assert loop.run_until_complete(receiving) == b"stopmore"
    loop.run_until_complete(asyncio.wait_for(made[0].lost.wait(), DEADLINE_S))
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.parametrize("room", [1, 7, 4096, 100_000])
def test_buffered_protocol_gets_all_in_its_own_buffers(room: int) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.made, self.lost = asyncio.Event(), asyncio.Event()
            self.data = bytearray()
            self.buffer = bytearray(room)

        def connection_made(self, transport: Any) -> None:
            self.made.set()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.data += self.buffer[:nbytes]

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set()

    async def main() -> None:
        expected = BIG[: min(len(BIG), 3000 * room)]
        async with visited(Buffered) as (protocol, peer):
            await asyncio.to_thread(peer.sendall, expected)
            await eventually(lambda: len(protocol.data) == len(expected))
            assert bytes(protocol.data) == expected

    run(main)


def test_empty_buffer_of_a_buffered_protocol_is_an_error() -> None:
    class Empty(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.made, self.lost = asyncio.Event(), asyncio.Event()

        def connection_made(self, transport: Any) -> None:
            self.made.set()

        def get_buffer(self, sizehint: int) -> bytearray:
            return bytearray()

        def connection_lost(self, exc: Exception | None) -> None:
            self.error = exc
            self.lost.set()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, found: None)
        async with visited(Empty) as (protocol, peer):
            peer.sendall(b"x")
            await asyncio.wait_for(protocol.lost.wait(), DEADLINE_S)
        assert isinstance(protocol.error, RuntimeError)

    run(main)


def test_context_of_a_connection_is_its_own() -> None:
    """A variable that a protocol sets is there in its later calls, and nowhere else."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    class Counting(Echo):
        def data_received(self, data: bytes) -> None:
            variable.set(variable.get() + len(data))
            self.transport.write(str(variable.get()).encode())

    async def main() -> None:
        async with visited(Counting) as (_, one):
            one.sendall(b"abc")
            assert await asyncio.to_thread(receive_all, one, 1) == b"3"
            one.sendall(b"de")
            assert await asyncio.to_thread(receive_all, one, 1) == b"5"
            assert variable.get() == 0

    run(main)


def test_streams_serve_and_end() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with await asyncio.to_thread(visit, server) as peer:
            peer.sendall(b"one\ntwo\n")
            assert await asyncio.to_thread(receive_all, peer, 8) == b"ONE\nTWO\n"
            peer.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(receive_all, peer) == b""
        server.close()
        await server.wait_closed()

    run(main)


def test_many_clients_at_once() -> None:
    """More than there are accepts pending, and more than a batch of packets."""

    async def main() -> None:
        protocols: list[Echo] = []

        def factory() -> Echo:
            protocols.append(Echo())
            return protocols[-1]

        def visits() -> None:
            peers = [visit(server) for _ in range(150)]
            for number, peer in enumerate(peers):
                peer.sendall(str(number).encode())
            for number, peer in enumerate(peers):
                assert receive_all(peer, len(str(number))) == str(number).encode()
            for peer in peers:
                peer.close()

        async with serving(factory) as server:
            await asyncio.to_thread(visits)
            await eventually(lambda: all(protocol.lost.is_set() for protocol in protocols))
        assert len(protocols) == 150

    run(main)


def test_tls_on_the_server_and_a_file_over_it() -> None:
    async def main() -> None:
        def talk() -> bytes:
            context = client_context()
            address = server.sockets[0].getsockname()
            with (
                socket.create_connection(address, DEADLINE_S) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as peer,
            ):
                peer.sendall(BIG[:100_000])
                received = bytearray()
                while len(received) < 100_000:
                    received += peer.recv(65536)
                return bytes(received)

        async with serving(Echo, ssl=server_context()) as server:
            assert await asyncio.to_thread(talk) == BIG[:100_000]

    run(main)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_sendfile_sends_the_part_that_is_asked_for(tmp_path: Path, tls: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(BIG)

    class Sender(Log):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.write(b"first ")
            self.task = asyncio.ensure_future(self.send())

        async def send(self) -> None:
            loop = asyncio.get_running_loop()
            with path.open("rb") as file:
                assert await loop.sendfile(self.transport, file, 100, 1_000_000) == 1_000_000
                assert file.tell() == 1_000_100
                assert await loop.sendfile(self.transport, file, len(BIG), None) == 0
            self.transport.write(b" last")
            self.transport.close()

    async def main() -> None:
        made: list[Sender] = []

        def factory() -> Sender:
            made.append(Sender())
            return made[-1]

        def receive() -> bytes:
            peer = visit(server)
            if tls:
                peer = client_context().wrap_socket(peer, server_hostname="localhost")
            with peer:
                received = bytearray()
                while part := peer.recv(1 << 16):
                    received += part
                return bytes(received)

        async with serving(factory, ssl=server_context() if tls else None) as server:
            received = await asyncio.to_thread(receive)
            await made[0].task
        assert received == b"first " + BIG[100:1_000_100] + b" last"

    run(main)


def test_session_server_and_coroutines_share_the_loop() -> None:
    """A session's hook sets a future; a coroutine writes to a session."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, aio.EventLoop)
        received: asyncio.Future[bytes] = loop.create_future()

        class Upper(Session):
            def on_receive(self, data: memoryview) -> None:
                received.set_result(bytes(data))

        listener = loop.port.listen(("127.0.0.1", 0), Upper)
        with await asyncio.to_thread(socket.create_connection, listener.address) as peer:
            peer.settimeout(DEADLINE_S)
            peer.sendall(b"hello")
            assert await asyncio.wait_for(received, DEADLINE_S) == b"hello"
            (session,) = listener.sessions
            session.send(b"from a coroutine")
            assert await asyncio.to_thread(receive_all, peer, 16) == b"from a coroutine"

    run(main)


def test_loop_that_is_closed_leaves_nothing_behind() -> None:
    """Connections that are open then: their memory comes back, and a warning says so."""
    loop = aio.new_event_loop()
    made: list[Log] = []

    def factory() -> Log:
        made.append(Log())
        return made[-1]

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    with visit(server) as peer:
        loop.run_until_complete(eventually(lambda: made and made[0].made.is_set()))
        server.close()
        port = loop.port
        loop.close()
        assert loop.is_closed()
        assert port.closed
        assert port.in_flight == {}
        assert receive_all(peer) == b""
    del made[0].transport
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        gc.collect()
    loop.close()  # again: nothing
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)


def test_bad_input_is_refused_as_asyncio_does() -> None:
    async def main() -> None:
        async with visited() as (protocol, peer):
            transport = protocol.transport
            for wrong in ("text", 5, None):
                with pytest.raises(TypeError, match="bytes-like"):
                    transport.write(wrong)
            with pytest.raises(TypeError):
                transport.writelines([b"a", "b"])
            with pytest.raises(ValueError, match="high"):
                transport.set_write_buffer_limits(high=1, low=2)
            transport.write(b"")
            transport.write_eof()
            transport.write_eof()
            with pytest.raises(RuntimeError, match="write_eof"):
                transport.write(b"late")
            with pytest.raises(RuntimeError, match="write_eof"):
                transport.writelines([b"late"])
            assert receive_all(peer) == b""

    run(main)


def test_no_peer_starves_the_others() -> None:
    """C67: one floods; honest clients are answered all the time."""

    async def main() -> None:
        async with serving(Echo) as server:
            flood = await asyncio.to_thread(visit, server)
            honest = await asyncio.to_thread(visit, server)
            stop = False

            def pour() -> None:
                while not stop:
                    flood.sendall(BIG[:65536])

            def drain() -> None:
                while flood.recv(1 << 20):
                    pass

            flooding = [asyncio.create_task(asyncio.to_thread(f)) for f in (pour, drain)]
            for number in range(200):
                await asyncio.to_thread(honest.sendall, b"%03d" % number)
                answer = await asyncio.to_thread(receive_all, honest, 3)
                assert answer == b"%03d" % number
            stop = True
            await flooding[0]
            flood.shutdown(socket.SHUT_WR)
            await flooding[1]
            flood.close()
            honest.close()

    run(main)


def test_client_that_talks_no_tls_is_let_go() -> None:
    """The handshake fails, and the loop goes on."""

    async def main() -> None:
        async with serving(Echo, ssl=server_context()) as server:
            with await asyncio.to_thread(visit, server) as peer:
                peer.sendall(b"this is no TLS at all\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    await asyncio.to_thread(receive_all, peer)

    run(main)


def test_debug_mode_names_the_slow_protocol(caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Echo):
        def data_received(self, data: bytes) -> None:
            time.sleep(0.05)
            super().data_received(data)

    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        asyncio.get_running_loop().slow_callback_duration = 0.04
        async with visited(Slow) as (_, peer):
            peer.sendall(b"x")
            assert await asyncio.to_thread(receive_all, peer, 1) == b"x"

    run(main)
    assert "Slow.data_received" in caplog.text
