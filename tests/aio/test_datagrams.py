"""UDP in the loop: what create_datagram_endpoint gives, with real sockets.

Where a test needs the system to refuse something, it does so in one call; all else reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import functools
import gc
import itertools
import socket
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from datagram_sockets import LOOPBACK
from deadline import DEADLINE_S
from faulty_kernel import Refusal, entries_of

from pyiocp import CompletionPort, aio, winapi
from pyiocp.aio.datagram_transport import DatagramSocketTransport
from pyiocp.winapi import SOCKET_ERROR, WSAEWOULDBLOCK
from pyiocp.winapi.errorcodes import (
    STATUS_UNEXPECTED_NETWORK_ERROR as STATUS_UNEXPECTED,
)
from pyiocp.winapi.errorcodes import WSAECONNRESET, WSAEMSGSIZE, WSAENETDOWN, WSAENETUNREACH

FAMILIES = pytest.mark.parametrize(
    "family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"]
)


class Recorder(asyncio.DatagramProtocol):
    """Writes down what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.transport: Any = None
        self._changed = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._tell("made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._tell((data, addr))

    def error_received(self, exc: Exception) -> None:
        self._tell(exc)

    def pause_writing(self) -> None:
        self._tell("paused")

    def resume_writing(self) -> None:
        self._tell("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(("lost", exc))

    def _tell(self, what: Any) -> None:
        self.told.append(what)
        self._changed.set()

    @property
    def data(self) -> list[bytes]:
        """The datagrams."""
        return [what[0] for what in self.told if type(what) is tuple and what[0] != "lost"]

    @property
    def errors(self) -> list[Any]:
        """The errors."""
        return [what for what in self.told if isinstance(what, Exception)]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it has been told enough."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_lost(self) -> None:
        """Wait until it has been told the end."""
        await self.until(lambda: any(type(w) is tuple and w[0] == "lost" for w in self.told))


class Echo(Recorder):
    """Sends back what comes."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        super().datagram_received(data, addr)
        self.transport.sendto(data, addr)


@contextlib.asynccontextmanager
async def endpoint(
    factory: Callable[[], Recorder] = Recorder, **words: Any
) -> AsyncIterator[tuple[Any, Any]]:
    """Return a transport and its protocol; at the end it is closed, and has said so once."""
    loop = asyncio.get_running_loop()
    if not words:
        words = {"local_addr": LOOPBACK[socket.AF_INET]}
    transport, protocol = await loop.create_datagram_endpoint(factory, **words)
    try:
        yield transport, protocol
    finally:
        transport.close()
        await protocol.until_lost()
        assert sum(type(w) is tuple and w[0] == "lost" for w in protocol.told) == 1


def address(transport: Any) -> Any:
    """Return where a transport is."""
    return transport.get_extra_info("sockname")


@pytest.fixture
def plain() -> Iterator[socket.socket]:
    """A blocking socket of Python's, at the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(LOOPBACK[socket.AF_INET])
        sock.settimeout(DEADLINE_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        yield sock


def refuse(name: str, code: int, times: int | None = None) -> Refusal:
    """Have the running loop's kernel refuse a call, for transports that are made from now on."""
    refusal = Refusal(code, SOCKET_ERROR, times)
    kernel: Any = asyncio.get_running_loop().port.kernel  # type: ignore[attr-defined]
    setattr(kernel, name, functools.partial(refusal, getattr(kernel, name)))
    return refusal


# Sending and receiving


@FAMILIES
def test_an_echo_without_and_with_a_connection(family: int) -> None:
    """Empty and large datagrams, over IPv4 and IPv6; the sender's address is Python's."""
    sent = [b"hello", b"", b"x" * 60_000, b"end"]

    async def main() -> None:
        async with (
            endpoint(Echo, local_addr=LOOPBACK[family][:2]) as (server, echo),
            endpoint(local_addr=LOOPBACK[family][:2]) as (free, at_large),
            endpoint(remote_addr=address(server)[:2]) as (connected, client),
        ):
            for n, data in enumerate(sent, 1):
                free.sendto(data, address(server))
                await at_large.until(lambda: len(at_large.data) == n)  # noqa: B023
                connected.sendto(data)
                await client.until(lambda: len(client.data) == n)  # noqa: B023
            assert at_large.told == ["made", *((data, address(server)) for data in sent)]
            assert client.told == ["made", *((data, address(server)) for data in sent)]
            both = [(d, a) for d in sent for a in (address(free), address(connected))]
            assert echo.told == ["made", *both]

    aio.run(main())


def test_many_come_in_order_and_others_have_their_turn(plain: socket.socket) -> None:
    """500 datagrams are there when the loop looks: it runs its callbacks after 64 at most."""
    count = 500

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with endpoint() as (transport, protocol):
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            for n in range(count):
                plain.sendto(b"%d" % n, address(transport))
            seen = [0]

            def look() -> None:
                seen.append(len(protocol.data))
                if seen[-1] < count:
                    loop.call_soon(look)

            look()
            await protocol.until(lambda: len(protocol.data) == count)
            assert protocol.data == [b"%d" % n for n in range(count)]
            between = [after - before for before, after in itertools.pairwise(seen)]
            assert 1 < max(between) <= 64

    aio.run(main())


def test_no_future_and_no_callback_for_each_datagram(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither grows with the number of messages."""
    count = 300

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        made = {"call_soon": 0, "create_future": 0}
        done = loop.create_future()

        class Player(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.left -= 1
                if self.left:
                    self.transport.sendto(data, addr)
                elif not done.done():
                    done.set_result(None)

            left = count

        async with endpoint(Player) as (one, _), endpoint(Player) as (other, _):
            for name in made:

                def counted(*arguments: Any, _name: str = name, **words: Any) -> Any:
                    made[_name] += 1
                    return getattr(type(loop), _name)(loop, *arguments, **words)

                monkeypatch.setattr(loop, name, counted)
            one.sendto(b"ball", address(other))
            await asyncio.wait_for(done, DEADLINE_S)
            assert sum(made.values()) < 20

    aio.run(main())


def test_an_idle_transport_meets_a_burst(plain: socket.socket) -> None:
    """After many that came alone, what comes together is delivered together, and nothing lost."""

    async def main() -> None:
        async with endpoint() as (transport, protocol):
            for n in range(40):
                plain.sendto(b"%d" % n, address(transport))
                await protocol.until(lambda: len(protocol.data) == n + 1)  # noqa: B023
            for n in range(40, 140):
                plain.sendto(b"%d" % n, address(transport))
            await protocol.until(lambda: len(protocol.data) == 140)
            assert protocol.data == [b"%d" % n for n in range(140)]

    aio.run(main())


def test_more_peers_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers still go where they belong."""
    monkeypatch.setattr("pyiocp.aio.datagram_transport._ADDRESSES_MAX", 3)

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            server, _ = await stack.enter_async_context(endpoint(Echo))
            clients = [await stack.enter_async_context(endpoint()) for _ in range(8)]
            for n in range(2):
                for i, (transport, _) in enumerate(clients):
                    transport.sendto(b"%d of %d" % (n, i), address(server))
            for i, (_, protocol) in enumerate(clients):
                await protocol.until(lambda: len(protocol.data) == 2)  # noqa: B023
                assert protocol.data == [b"%d of %d" % (n, i) for n in range(2)]
            assert len(server._shown) <= 3
            assert len(server._targets) <= 3

    aio.run(main())


# What is said of the socket


def test_what_the_transport_tells() -> None:
    """It is asyncio's kind of transport, and the socket is not handed out."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        async with endpoint() as (server, _):
            assert isinstance(server, asyncio.DatagramTransport)
            sock = server.get_extra_info("socket")
            assert type(sock) is asyncio.trsock.TransportSocket
            assert sock.getsockname() == address(server)
            assert server.get_extra_info("peername") is None
            assert server.get_extra_info("nothing", 7) == 7
            assert "open" in repr(server)
            with pytest.raises(RuntimeError, match="is used by transport"):
                loop.add_reader(sock, print)
            async with endpoint(remote_addr=address(server)) as (client, protocol):
                assert client.get_extra_info("peername") == address(server)
                assert client.get_protocol() is protocol
                other = Recorder()
                client.set_protocol(other)
                server.sendto(b"for the other", address(client))
                await other.until(lambda: other.data)
                client.set_protocol(protocol)
        assert server.is_closing()
        assert "closed" in repr(server)

    aio.run(main())


@FAMILIES
def test_a_socket_that_is_not_bound_gets_an_address(family: int) -> None:
    """As with the first send; before that, it could receive nothing."""

    async def main() -> None:
        async with (
            endpoint(family=family) as (free, protocol),
            endpoint(local_addr=LOOPBACK[family][:2]) as (bound, _),
        ):
            port = address(free)[1]
            assert port
            bound.sendto(b"first", (LOOPBACK[family][0], port))
            await protocol.until(lambda: protocol.data)
            assert protocol.data == [b"first"]

    aio.run(main())


def test_broadcasts() -> None:
    """With allow_broadcast the socket may, and remote_addr is where it sends, unconnected."""

    async def main() -> None:
        async with endpoint() as (server, protocol):
            to = address(server)
            async with endpoint(remote_addr=to, allow_broadcast=True) as (client, hears):
                sock = client.get_extra_info("socket")
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
                assert client.get_extra_info("peername") is None
                client.sendto(b"one")
                client.sendto(b"two", to)
                with pytest.raises(ValueError, match="must be None or"):
                    client.sendto(b"three", ("127.0.0.1", 9))
                await protocol.until(lambda: len(protocol.data) == 2)
                assert protocol.data == [b"one", b"two"]
                server.sendto(b"answer", ("127.0.0.1", address(client)[1]))
                await hears.until(lambda: hears.data)

    aio.run(main())


def test_a_socket_of_ones_own() -> None:
    """Also one that is connected: it sends to its peer."""

    async def main() -> None:
        async with endpoint() as (server, protocol):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect(address(server))
            async with endpoint(sock=sock) as (client, _):
                client.sendto(b"connected")
                await protocol.until(lambda: protocol.data)
                assert sock.fileno() == client.get_extra_info("socket").fileno()
            assert sock.fileno() == -1  # it was the transport's to close

    aio.run(main())


# Bad input


def test_what_cannot_be_sent() -> None:
    """TypeError and ValueError for the caller, and the transport goes on."""

    async def main() -> None:
        async with endpoint() as (server, protocol):
            to = address(server)
            async with endpoint(remote_addr=to) as (client, _):
                with pytest.raises(TypeError, match="bytes-like object, not 'str'"):
                    client.sendto("text")
                with pytest.raises(ValueError, match="must be None or"):
                    client.sendto(b"elsewhere", ("127.0.0.1", 9))
                client.sendto(bytearray(b"1"), to)
                client.sendto(memoryview(b"2"))
            with pytest.raises(TypeError, match="needs an address"):
                server.sendto(b"nowhere")
            for wrong in ("127.0.0.1", ("127.0.0.1",), ["127.0.0.1", 9], (7, 9), b"\x7f\0\0\1"):
                with pytest.raises((TypeError, ValueError)):
                    server.sendto(b"nowhere", wrong)
            for port in (-1, 65536):
                with pytest.raises(ValueError, match="65535"):
                    server.sendto(b"nowhere", ("127.0.0.1", port))
            await protocol.until(lambda: len(protocol.data) == 2)
            assert protocol.data == [b"1", b"2"]
            assert protocol.errors == []

    aio.run(main())


def test_names_of_hosts_are_looked_up() -> None:
    """One that is known is sent to; one that has no such address is an error of the socket's."""

    async def main() -> None:
        async with endpoint() as (server, protocol), endpoint() as (client, fails):
            client.sendto(b"by name", ("localhost", address(server)[1]))
            await protocol.until(lambda: protocol.data)
            client.sendto(b"of the other family", ("::1", address(server)[1]))
            await fails.until(lambda: fails.errors)
            assert [type(e) for e in fails.errors] == [socket.gaierror]

    aio.run(main())


# Errors


def test_nobody_has_the_port() -> None:
    """It is told, and sending goes on: who takes the port later gets what is sent then."""

    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(LOOPBACK[socket.AF_INET])
            to = peer.getsockname()
        async with endpoint(remote_addr=to) as (client, protocol):
            client.sendto(b"nobody hears this")
            await protocol.until(lambda: protocol.errors)
            assert isinstance(protocol.errors[0], ConnectionError)
            assert not client.is_closing()
            async with endpoint(local_addr=to) as (_, heard):
                while not heard.data:  # errors of earlier sends may come first
                    client.sendto(b"again")
                    await asyncio.sleep(0.01)
                assert heard.data[0] == b"again"

    aio.run(main())


@pytest.mark.parametrize("times", [1, 5])
def test_receiving_goes_on_after_an_unreachable_port(times: int, plain: socket.socket) -> None:
    """The call itself fails, with WSAECONNRESET, as it does on Windows.

    By a refusal: Wine 8 forgets a socket whose receive has failed so.
    """

    async def main() -> None:
        refusal = refuse("WSARecvFrom", WSAECONNRESET, times)
        async with endpoint() as (transport, protocol):
            await protocol.until(lambda: len(protocol.errors) == times)
            assert refusal.refused == times
            assert all(isinstance(e, ConnectionResetError) for e in protocol.errors)
            plain.sendto(b"still here", address(transport))
            await protocol.until(lambda: protocol.data)
            assert protocol.data == [b"still here"]

    aio.run(main())


def test_a_receive_that_the_system_refuses_is_tried_again(plain: socket.socket) -> None:
    """It is told each time, at growing intervals, and receiving goes on."""

    async def main() -> None:
        refuse("WSARecvFrom", winapi.errorcodes.WSAENOBUFS, 3)
        async with endpoint() as (transport, protocol):
            plain.sendto(b"patience", address(transport))
            await protocol.until(lambda: protocol.data)
            assert [e.winerror for e in protocol.errors] == [winapi.errorcodes.WSAENOBUFS] * 3

    aio.run(main())


def test_a_receive_that_ends_in_an_error_is_posted_after_a_while(plain: socket.socket) -> None:
    """Unlike that of a port that nobody has, it may come again at once: the loop does not spin."""
    loop: Any = aio.new_event_loop()
    kernel, later, addresses = loop.port.kernel, [], []
    real, call_later = kernel.GetQueuedCompletionStatusEx, loop.call_later

    def dequeue(*arguments: Any) -> Any:
        result = real(*arguments)
        for entry in entries_of(arguments) if result else ():
            address = ctypes.cast(entry.lpOverlapped, ctypes.c_void_p).value
            if address in addresses and len(later) < 3:
                entry.Internal, entry.dwNumberOfBytesTransferred = STATUS_UNEXPECTED, 0
        return result

    def count(seconds: float, function: Any, *arguments: Any) -> Any:
        later.append(seconds)
        return call_later(seconds, function, *arguments)

    async def main() -> None:
        async with endpoint() as (transport, protocol):
            addresses.append(transport._receive.address)
            loop.call_later = count
            for n in range(4):
                plain.sendto(b"%d" % n, address(transport))
                await protocol.until(lambda: len(protocol.told) == n + 2)  # noqa: B023
            assert [e.winerror for e in protocol.errors] == [WSAENETDOWN] * 3
            assert later == [0.02, 0.04, 0.08]
            assert protocol.data == [b"3"]
            del loop.call_later

    kernel.GetQueuedCompletionStatusEx = dequeue
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def test_a_datagram_that_is_too_long_is_told(
    plain: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With WSAEMSGSIZE; the first comes by a packet, the others are fetched behind it."""
    monkeypatch.setattr(DatagramSocketTransport, "max_size", 16)

    async def main() -> None:
        async with endpoint() as (transport, protocol):
            for data in (b"x" * 17, b"fits", b"y" * 400, b"z" * 500, b"fits too"):
                plain.sendto(data, address(transport))
            await protocol.until(lambda: len(protocol.told) == 6)
            assert protocol.data == [b"fits", b"fits too"]
            assert [e.winerror for e in protocol.errors] == [WSAEMSGSIZE] * 3

    aio.run(main())


def test_a_send_that_fails_is_told_and_the_next_goes_out(plain: socket.socket) -> None:
    """Also one that is longer than any datagram."""

    async def main() -> None:
        refuse("sendto", WSAENETUNREACH, 1)
        async with endpoint() as (transport, protocol):
            transport.sendto(b"refused", plain.getsockname())
            assert [e.winerror for e in protocol.errors] == [WSAENETUNREACH]
            transport.sendto(bytes(70_000), plain.getsockname())
            assert [e.winerror for e in protocol.errors] == [WSAENETUNREACH, WSAEMSGSIZE]
            transport.sendto(b"taken", plain.getsockname())
            assert plain.recv(100) == b"taken"

    aio.run(main())


@pytest.mark.parametrize("connected", [False, True], ids=["free", "connected"])
def test_what_finds_no_room_waits_and_goes_out_in_order(
    connected: bool, plain: socket.socket
) -> None:
    """The protocol is paused once and resumed once, though two of the sends fail meanwhile."""
    calls = ("send", "WSASend") if connected else ("sendto", "WSASendTo")
    to = plain.getsockname()

    async def main() -> None:
        busy = refuse(calls[0], WSAEWOULDBLOCK)
        failing = refuse(calls[1], WSAENETUNREACH, 2)
        failing.enabled = False
        words = {"remote_addr": to} if connected else {"local_addr": LOOPBACK[socket.AF_INET]}
        async with endpoint(**words) as (transport, protocol):
            transport.set_write_buffer_limits(high=30, low=10)
            for n in range(8):
                if n == 3:
                    failing.enabled = True  # the fourth and the fifth
                transport.sendto(b"%d" % n, None if connected else to)
            assert transport.get_write_buffer_size() == 8 * 9
            assert protocol.told == ["made", "paused"]
            await protocol.until(lambda: "resumed" in protocol.told)
            assert [plain.recv(100) for _ in range(6)] == [b"0", *(b"%d" % n for n in range(3, 8))]
            assert [e.winerror for e in protocol.errors] == [WSAENETUNREACH] * 2
            assert [w for w in protocol.told if isinstance(w, str)] == ["made", "paused", "resumed"]
            await asyncio.sleep(0)
            assert transport.get_write_buffer_size() == 0
            busy.enabled = False
            transport.sendto(b"at once", None if connected else to)
            assert plain.recv(100) == b"at once"

    aio.run(main())


def test_nothing_overtakes_what_waits(plain: socket.socket) -> None:
    """The system has room again, and still all goes behind what waits."""

    async def main() -> None:
        refuse("sendto", WSAEWOULDBLOCK, 1)
        async with endpoint() as (transport, _):
            for n in range(100):
                transport.sendto(b"%02d" % n, plain.getsockname())
            assert transport.get_write_buffer_size() == 100 * 10
            got = [await asyncio.to_thread(plain.recv, 100) for _ in range(100)]
            assert got == [b"%02d" % n for n in range(100)]

    aio.run(main())


def test_a_protocol_that_is_paused_while_it_answers(plain: socket.socket) -> None:
    """What the callback causes runs in the context that the callback runs in."""

    async def main() -> None:
        refuse("sendto", WSAEWOULDBLOCK)

        class Slow(Echo):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                transport.set_write_buffer_limits(high=0)

        async with endpoint(Slow) as (transport, protocol):
            plain.sendto(b"question", address(transport))
            await protocol.until(lambda: "resumed" in protocol.told)
            assert plain.recv(100) == b"question"
            strings = [w for w in protocol.told if isinstance(w, str)]
            assert strings == ["made", "paused", "resumed"]

    aio.run(main())


def test_a_protocol_that_raises_is_reported_and_hears_on(plain: socket.socket) -> None:
    """In datagram_received and in error_received: one datagram says nothing about the others."""

    async def main() -> None:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        refuse("sendto", WSAENETUNREACH, 1)

        class Clumsy(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                raise ZeroDivisionError(data)

            def error_received(self, exc: Exception) -> None:
                super().error_received(exc)
                raise LookupError

        async with endpoint(Clumsy) as (transport, protocol):
            for data in (b"1", b"2", b"3"):
                plain.sendto(data, address(transport))
            await protocol.until(lambda: len(protocol.data) == 3)
            transport.sendto(b"refused", plain.getsockname())
            assert [type(c["exception"]) for c in reported] == [ZeroDivisionError] * 3 + [
                LookupError
            ]
            assert all(c["transport"] is transport for c in reported)
            assert all(c["protocol"] is protocol for c in reported)

    aio.run(main())


def test_ctrl_c_in_a_callback_leaves_a_transport_that_hears(plain: socket.socket) -> None:
    """The exception leaves the loop; when that runs again, the next datagram comes."""

    class Interrupted(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"press":
                raise KeyboardInterrupt

    loop = aio.new_event_loop()
    try:
        making = loop.create_datagram_endpoint(Interrupted, local_addr=("127.0.0.1", 0))
        transport, protocol = loop.run_until_complete(making)
        plain.sendto(b"press", address(transport))
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        plain.sendto(b"after", address(transport))
        loop.run_until_complete(protocol.until(lambda: len(protocol.data) == 2))
        assert protocol.data == [b"press", b"after"]
        transport.close()
        loop.run_until_complete(protocol.until_lost())
    finally:
        loop.close()


def test_callbacks_keep_the_context(plain: socket.socket) -> None:
    """Each runs in the context that the transport was made in, whoever causes it."""
    variable = contextvars.ContextVar[str]("variable", default="none")

    async def main() -> None:
        seen: list[tuple[str, str]] = []

        class Seer(Recorder):
            def _tell(self, what: Any) -> None:
                super()._tell(what)
                seen.append((str(what[0] if type(what) is tuple else what), variable.get()))
                variable.set("set by a callback")

        variable.set("of the maker")
        async with endpoint(Seer) as (transport, protocol):
            variable.set("of the sender")
            plain.sendto(b"in", address(transport))
            await protocol.until(lambda: protocol.data)
        assert seen == [
            ("made", "of the maker"),
            ("b'in'", "set by a callback"),
            ("lost", "set by a callback"),
        ]

    aio.run(main())


def test_debug_mode_tells_of_a_slow_callback(
    plain: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """By the transport's name, not as a round of completions."""

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0.05

        class Slow(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                time.sleep(0.06)

        async with endpoint(Slow) as (transport, protocol):
            plain.sendto(b"x", address(transport))
            await protocol.until(lambda: protocol.data)

    aio.run(main(), debug=True)
    messages = [r.getMessage() for r in caplog.records]
    assert any("DatagramSocketTransport" in m and m.startswith("Executing") for m in messages)


# The end


def test_what_waits_is_sent_before_the_end(plain: socket.socket) -> None:
    """And what is sent after close() is not."""

    async def main() -> None:
        refuse("sendto", WSAEWOULDBLOCK)
        async with endpoint() as (transport, protocol):
            for n in range(100):
                transport.sendto(b"%d" % n, plain.getsockname())
            transport.close()
            transport.sendto(b"too late", plain.getsockname())
            assert transport.is_closing()
            await protocol.until_lost()
            assert protocol.told == ["made", ("lost", None)]
            assert [plain.recv(100) for _ in range(100)] == [b"%d" % n for n in range(100)]
            plain.settimeout(0)
            with pytest.raises(BlockingIOError):
                plain.recv(100)

    aio.run(main())


def test_abort_drops_what_waits(plain: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    """The end is told once, however often it is asked for; sends after it are logged."""

    async def main() -> None:
        refuse("sendto", WSAEWOULDBLOCK)
        async with endpoint() as (transport, protocol):
            for n in range(3):
                transport.sendto(b"%d" % n, plain.getsockname())
            transport.abort()
            transport.abort()
            transport.close()
            assert transport.get_write_buffer_size() == 0
            assert "write=<idle" in repr(transport)
            await protocol.until_lost()
            for _ in range(7):
                transport.sendto(b"late", plain.getsockname())
            await asyncio.sleep(0)
            assert protocol.told == ["made", ("lost", None)]

    aio.run(main())
    assert [r.getMessage() for r in caplog.records] == ["socket.sendto() raised exception."] * 2


def test_closing_from_a_callback_ends_receiving(plain: socket.socket) -> None:
    """Nothing comes after it, though more had come by then."""

    async def main() -> None:
        class Sated(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                self.transport.close()

        async with endpoint(Sated) as (transport, protocol):
            for n in range(5):
                plain.sendto(b"%d" % n, address(transport))
            await protocol.until_lost()
            assert protocol.data == [b"0"]

    aio.run(main())


def test_a_loop_that_closes_with_an_open_transport() -> None:
    """Its socket is closed, and a ResourceWarning says so."""
    loop = aio.new_event_loop()
    making = loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    transport, _ = loop.run_until_complete(making)
    sock = transport.get_extra_info("socket")
    loop.close()
    assert sock.fileno() == -1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport, making
        gc.collect()
    assert [w.category for w in caught if "unclosed transport" in str(w.message)] == [
        ResourceWarning
    ]


def test_a_socket_that_is_on_another_port(plain: socket.socket) -> None:
    """It is watched instead: a socket can be on one port only."""

    async def main(other: CompletionPort) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(LOOPBACK[socket.AF_INET])
        assert winapi.CreateIoCompletionPort(sock.fileno(), other.handle, 7, 0) == other.handle
        async with endpoint(Echo, sock=sock) as (transport, _):
            assert not isinstance(transport, DatagramSocketTransport)
            plain.sendto(b"over polls", address(transport))
            assert await asyncio.to_thread(plain.recv, 100) == b"over polls"

    with CompletionPort() as other:
        aio.run(main(other))
