"""The limits of the models: the real functions have them, and the servers say so."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import socket
import threading
from collections.abc import Callable
from ctypes import byref

import pytest
from faulty_kernel import FaultyKernel
from journal import Journal, Made, eventually, receive_all
from model_servers import LOCAL, dial, is_reset, serving

from pyiocp import IocpError, models
from pyiocp.models import ModelLimitError
from pyiocp.winapi import *


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        self.send(data)


def test_a_wait_for_65_events_fails() -> None:
    """WSAWaitForMultipleEvents takes 64 and answers WSA_INVALID_PARAMETER to one more."""
    events = [WSACreateEvent() for _ in range(WSA_MAXIMUM_WAIT_EVENTS + 1)]
    row = (WSAEVENT * len(events))(*events)
    assert WSAWaitForMultipleEvents(64, row, False, 0, False) == WSA_WAIT_TIMEOUT
    assert WSAWaitForMultipleEvents(65, row, False, 0, False) == WSA_WAIT_FAILED
    assert last_error() == WSA_INVALID_PARAMETER
    for event in events:
        assert WSACloseEvent(event)


def test_an_fd_set_has_room_for_64_sockets_and_select_for_more() -> None:
    """The 65th does not fit; in a larger set select() sees all of 100 sockets."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(100)
        ]
        numbers = [each.fileno() for each in sockets]
        small = FD_SET.of(*numbers[:FD_SETSIZE])
        with pytest.raises(OverflowError, match="room for 64"):
            small.add(numbers[FD_SETSIZE])
        with pytest.raises(OverflowError, match="not for 100"):
            small.replace(numbers)
        assert list(small) == numbers[:FD_SETSIZE]
        large = FD_SET.of(*numbers)
        assert select(0, None, byref(large), None, byref(TIMEVAL.of(0))) == 100


@pytest.mark.parametrize(
    ("model", "settings", "room", "limit"),
    [
        ("select", {}, 62, "FD_SETSIZE"),
        ("event-select", {}, 63, "WSA_MAXIMUM_WAIT_EVENTS"),
        ("event-select", {"threads": 2}, 126, "WSA_MAXIMUM_WAIT_EVENTS"),
        ("overlapped-events", {}, 31, "WSA_MAXIMUM_WAIT_EVENTS"),
    ],
)
def test_one_client_too_many_is_reset_and_the_reason_named(
    model: str,
    settings: dict[str, int],
    room: int,
    limit: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others are served on; when one of them goes, there is room again."""
    caplog.set_level(logging.ERROR, logger="pyiocp")
    with serving(model, Echo, **settings) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(room)]
        assert eventually(lambda: server.accepted == room)
        with dial(server) as refused:
            assert is_reset(refused)
        error = server.refusal
        assert isinstance(error, ModelLimitError)
        assert (error.model, error.connections_max, error.limit) == (model, room, limit)
        assert (server.accepted, server.refused) == (room, 1)
        for peer in (peers[0], peers[-1]):
            peer.sendall(b"here")
            assert receive_all(peer, 4) == b"here"
        peers[0].close()
        assert eventually(lambda: len(server.sessions) == room - 1)
        with dial(server) as late:
            late.sendall(b"room")
            assert receive_all(late, 4) == b"room"
    [record] = caplog.records
    assert limit in record.getMessage()


@pytest.mark.parametrize(
    "variant", ["threads", "poll", "overlapped-polled", "completion-routines", "completion-port"]
)
def test_other_models_have_no_limit_of_64(variant: str) -> None:
    """70 connections, each with an echo."""
    served(variant, 70)


@pytest.mark.parametrize(
    ("variant", "count"),
    [("select of 1,024", 70), ("event-select on several threads", 140)],
)
def test_what_is_done_about_a_limit(variant: str, count: int) -> None:
    """A larger set; and three threads, of 63 connections each."""
    served(variant, count)


def served(variant: str, count: int) -> None:
    """Have so many connections at once, and an echo on each."""
    sessions = Made(Echo)
    with serving(variant, sessions) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(count)]
        for peer in peers:
            peer.sendall(b"here")
        for peer in peers:
            assert receive_all(peer, 4) == b"here"
        assert (server.accepted, server.refused) == (count, 0)


@pytest.mark.parametrize(
    ("variant", "room"),
    [
        ("event-select on several threads", 70),
        ("overlapped-events", 31),
        ("completion-routines", 70),
    ],
)
def test_who_is_told_of_clients_by_an_event_accepts_none_in_vain(variant: str, room: int) -> None:
    """One accept for each FD_ACCEPT: another one may have Wine forget the next client."""
    results: list[int] = []

    def accept(real: Callable[..., int], *arguments: object) -> int:
        results.append(real(*arguments))
        return results[-1]

    kernel = FaultyKernel()
    kernel.wrap("accept", accept)
    with serving(variant, Echo, kernel=kernel) as server, contextlib.ExitStack() as stack:
        for _ in range(room):
            stack.enter_context(dial(server))
        assert eventually(lambda: server.accepted == room)
    assert len(results) == room
    assert INVALID_SOCKET not in results


def test_what_goes_wrong_in_a_further_thread_ends_the_server() -> None:
    """WSAEnumNetworkEvents fails there: `run` raises that, and every session has ended."""

    def enumerate_events(real: Callable[..., int], *arguments: object) -> int:
        if threading.current_thread().name.startswith("pyiocp event-select"):
            ctypes.set_last_error(WSAENOTSOCK)
            return SOCKET_ERROR
        return real(*arguments)

    kernel = FaultyKernel()
    kernel.wrap("WSAEnumNetworkEvents", enumerate_events)
    failures: list[IocpError] = []
    server = models.serve("event-select", LOCAL, Echo, threads=2, kernel=kernel)

    def run() -> None:
        try:
            server.run()
        except IocpError as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    with contextlib.ExitStack() as stack:
        for _ in range(64):  # one more than the first thread takes
            stack.enter_context(dial(server)).sendall(b"x")
        thread.join(60)
        assert not thread.is_alive()
    server.close()
    assert [error.winerror for error in failures] == [WSAENOTSOCK]


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        ("epoll", {}, "must be one of threads, select, poll"),
        ("poll", {"fd_setsize": 128}, "fd_setsize is a setting of 'select'"),
        ("threads", {"threads": 2}, "threads is a setting of 'event-select'"),
        ("select", {"fd_setsize": 63}, "from 64 to 65,536, not 63"),
        ("event-select", {"threads": 0}, "from 1 to 1,024, not 0"),
    ],
)
def test_wrong_settings_are_refused_in_words(
    model: str, settings: dict[str, int], said: str
) -> None:
    """ValueError, before there is a socket."""
    with pytest.raises(ValueError, match=said):
        models.serve(model, LOCAL, Echo, **settings)


def test_what_is_no_address_or_factory_is_refused() -> None:
    """TypeError; and nothing is left of the server that was begun."""
    with pytest.raises(TypeError, match="an address is a tuple"):
        models.serve("poll", "localhost:9000", Echo)
    with pytest.raises(TypeError, match="factory must be callable"):
        models.serve("poll", LOCAL, Echo())  # type: ignore[arg-type]
