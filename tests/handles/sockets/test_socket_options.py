"""Options of sockets: what is set is in force, and what cannot be is refused in words."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wine import WINE

from pyiocp import CompletionPort, HandleClosedError, IocpError, Stream
from pyiocp.winapi import (
    IPPROTO_TCP,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_RCVBUF,
    SO_SNDBUF,
    SO_TYPE,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_NODELAY,
)
from pyiocp.winapi.errorcodes import WSAENOPROTOOPT

BUFFERS = {"receive": SO_RCVBUF, "send": SO_SNDBUF}


@contextlib.contextmanager
def connected(port: CompletionPort) -> Iterator[Stream]:
    """A stream of a TCP connection."""
    ours, peer = socket.socketpair()
    with peer:
        yield port.stream(ours)


def keep_alive_s(stream: Stream) -> int | None:
    """Return after how many seconds of silence the first probe is due; None for never.

    Under Wine 8, which does not have the option that tells, the host's kernel is asked: column
    "tr" of /proc/net/tcp is 2 for a keep-alive timer, "when" is how many 1/100 s it has to go.
    """
    if not stream.get_option(SOL_SOCKET, SO_KEEPALIVE):
        return None
    if not WINE:
        return stream.get_option(IPPROTO_TCP, TCP_KEEPIDLE)
    ours = f":{stream.local_address()[1]:04X}"
    theirs = f":{stream.peer_address()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(ours) and fields[2].endswith(theirs):
            timer, when = fields[5].split(":")
            return math.ceil(int(when, 16) / 100) if timer == "02" else None
    raise AssertionError("the host does not know the connection")


def test_keep_alive_is_in_force(port: CompletionPort) -> None:
    """On, longer, and off again: as the system itself has it."""
    with connected(port) as stream:
        assert keep_alive_s(stream) is None
        for idle in (60, 3000):
            stream.set_keep_alive(idle, 5)
            due = keep_alive_s(stream)
            assert due is not None
            assert idle - 30 < due <= idle
        if not WINE:
            assert stream.get_option(IPPROTO_TCP, TCP_KEEPINTVL) == 5
        stream.set_keep_alive(None)
        assert keep_alive_s(stream) is None


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, 4_294_968])
def test_times_out_of_range_are_refused(port: CompletionPort, bad: float) -> None:
    with connected(port) as stream:
        with pytest.raises(ValueError, match="idle must be more than 0"):
            stream.set_keep_alive(bad)
        with pytest.raises(ValueError, match="interval must be more than 0"):
            stream.set_keep_alive(60, bad)
        assert keep_alive_s(stream) is None


def test_keep_alive_is_set_again_for_another_connection(port: CompletionPort) -> None:
    """As all options are, when a disconnect for reuse has ended."""
    with connected(port) as stream:
        stream.set_keep_alive(60)
        stream.set_keep_alive(60, 2)
        stream.set_option(SOL_SOCKET, SO_KEEPALIVE, 0)  # what a new connection may begin with
        assert keep_alive_s(stream) is None
        stream._options = None
        stream.disconnected()
        stream._peer = None
        assert keep_alive_s(stream) is not None


def test_no_delay(port: CompletionPort) -> None:
    with connected(port) as stream:
        for on in (True, False, True):
            stream.set_no_delay(on)
            assert bool(stream.get_option(IPPROTO_TCP, TCP_NODELAY)) is on
    datagram = port.datagram()
    assert not hasattr(datagram, "set_no_delay")


@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_buffer_sizes(port: CompletionPort, kind: str) -> None:
    """One, the other, both; what is not given stays."""
    handle: Any = getattr(port, kind)()
    before = {name: handle.get_option(SOL_SOCKET, number) for name, number in BUFFERS.items()}
    handle.set_buffer_sizes()
    for change in ({"receive": 200_000}, {"send": 150_000}, {"receive": 90_000, "send": 80_000}):
        handle.set_buffer_sizes(**change)
        before |= change
        now = {name: handle.get_option(SOL_SOCKET, number) for name, number in BUFFERS.items()}
        assert now == before
    for name in BUFFERS:
        for bad in (-1, 1 << 31):
            with pytest.raises(ValueError, match=f"{name} must be between"):
                handle.set_buffer_sizes(**{name: bad})


def test_any_other_option(port: CompletionPort) -> None:
    """Integers and structures, both ways; a ctypes structure or any buffer is taken."""
    with connected(port) as stream:
        assert stream.get_option(SOL_SOCKET, SO_TYPE) == SOCK_STREAM
        for data in (b"\1\0\7\0", bytearray(b"\1\0\7\0"), memoryview(struct.pack("HH", 1, 7))):
            stream.set_option(SOL_SOCKET, SO_LINGER, struct.pack("HH", 0, 0))
            stream.set_option(SOL_SOCKET, SO_LINGER, data)
            linger = stream.get_option_bytes(SOL_SOCKET, SO_LINGER, 4)
            assert struct.unpack("HH", linger) == (1, 7)
        with pytest.raises(IocpError) as caught:
            stream.get_option(IPPROTO_TCP, 0x7FFF)
        assert caught.value.winerror == WSAENOPROTOOPT
        stream.close()
        with pytest.raises(HandleClosedError):
            stream.get_option(SOL_SOCKET, SO_TYPE)


@pytest.mark.parametrize("bad", [1 << 32, -(1 << 31) - 1])
def test_integer_that_does_not_fit_is_refused(port: CompletionPort, bad: int) -> None:
    """It would be cut: 2³² would become 0."""
    handle = port.stream()
    with pytest.raises(ValueError, match="32 bits"):
        handle.set_option(SOL_SOCKET, SO_RCVBUF, bad)


@pytest.mark.parametrize("bad", [0, -1, 65537])
def test_room_out_of_range_is_refused(port: CompletionPort, bad: int) -> None:
    with pytest.raises(ValueError, match="size must be between 1 and 65536"):
        port.stream().get_option_bytes(SOL_SOCKET, SO_TYPE, bad)


@pytest.mark.parametrize("bad", ["text", 1.5, None])
def test_value_of_a_wrong_type_is_refused(port: CompletionPort, bad: Any) -> None:
    with pytest.raises(TypeError):
        port.stream().set_option(SOL_SOCKET, SO_RCVBUF, bad)
