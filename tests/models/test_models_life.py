"""A model's server from its making to its end: run, stop, close, Ctrl-C, and what goes wrong."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal
from journal import Journal, Made, eventually, receive_all
from model_servers import LOCAL, dial, every_model, serving

from pyiocp import AddressUnavailableError, Kernel, PortClosedError, ResourceLimitError, models
from pyiocp.engine import poller
from pyiocp.models import loop
from pyiocp.winapi import *


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        self.send(data)


@every_model
def test_a_server_that_never_ran_is_closed_like_others(model: str) -> None:
    """Its address is free again, closing twice does nothing, and it cannot run any more."""
    with models.serve(model, LOCAL, Echo) as server:
        assert f"{model!r} at {server.address}: 0 sessions" in repr(server)
    server.close()
    with pytest.raises(PortClosedError):
        server.run()
    with models.serve(model, server.address, Echo):
        pass


@every_model
def test_it_runs_once(model: str) -> None:
    """While it runs, and after it was stopped, run() says so."""
    server = models.serve(model, LOCAL, Echo)
    thread = threading.Thread(target=server.run)
    thread.start()
    with dial(server) as peer:
        peer.sendall(b"up")
        assert receive_all(peer, 2) == b"up"
        with pytest.raises(RuntimeError, match="runs already"):
            server.run()
        server.stop()
        thread.join(60)
        assert not thread.is_alive()
        assert server.sessions == set()
    with pytest.raises(RuntimeError, match="has run"):
        server.run()
    server.close()


@every_model
@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_hook_may_end_the_server(model: str, end: str) -> None:
    """From within: run() returns after the hook, and the session has its on_close."""

    class Ending(Journal):
        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            getattr(server, end)()
            self.hooks.append("after")

    sessions = Made(Ending)
    with serving(model, sessions) as server, dial(server) as peer:
        peer.sendall(b"x")
        assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
    assert sessions[0].hooks == ["connect", "receive", "after", "close"]


@every_model
def test_ctrl_c_ends_it_at_once(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the main thread, while it waits: KeyboardInterrupt, and the session has ended.

    It would not look again for a minute, so that a wake-up that was left out shows.
    """
    for module in (loop, poller):
        monkeypatch.setattr(module, "_WAIT_MAX_MS", 60_000)
    sessions = Made(Journal)
    pressed_at = 0.0

    def press() -> None:
        nonlocal pressed_at
        with dial(server):
            assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
            pressed_at = time.monotonic()
            signal.raise_signal(signal.SIGINT)
            assert sessions[0].closed.wait(60)

    with models.serve(model, LOCAL, sessions) as server:
        presser = threading.Thread(target=press)
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            server.run()
        seconds = time.monotonic() - pressed_at
        presser.join(60)
    assert seconds < 30
    assert sessions[0].hooks == ["connect", "close"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


@every_model
def test_ctrl_c_waits_for_a_hook_and_a_second_one_does_not(model: str) -> None:
    """The first lets the hook go on, the second interrupts it: it is in the main thread."""
    if model == "threads":
        pytest.skip("its hooks are not in the main thread: Ctrl-C interrupts none")
    seen: list[str] = []

    class Slow(Journal):
        def on_receive(self, data: memoryview) -> None:
            signal.raise_signal(signal.SIGINT)
            seen.append("the first has let it go on")
            signal.raise_signal(signal.SIGINT)
            seen.append("the second has not")

    def visit() -> None:
        with dial(server) as peer:
            peer.sendall(b"x")
            over.wait(60)

    over = threading.Event()
    with models.serve(model, LOCAL, Slow) as server:
        visitor = threading.Thread(target=visit)
        visitor.start()
        with pytest.raises(KeyboardInterrupt):
            server.run()
        over.set()
        visitor.join(60)
    assert seen == ["the first has let it go on"]


@every_model
def test_an_address_in_use_is_told(model: str) -> None:
    """AddressUnavailableError, and nothing is left of the second server."""
    if not exclusive_addresses():
        pytest.skip("SO_EXCLUSIVEADDRUSE is not enforced here (Wine 8)")
    with models.serve(model, LOCAL, Echo) as server, pytest.raises(AddressUnavailableError):
        models.serve(model, server.address, Echo)


def exclusive_addresses() -> bool:
    """Tell whether the system lets nobody bind an address twice."""
    with models.serve("poll", LOCAL, Echo) as first:
        try:
            models.serve("poll", first.address, Echo).close()
        except AddressUnavailableError:
            return True
        return False


@every_model
def test_a_factory_that_raises_costs_one_client(
    model: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it makes next is served; and what is no Session is no session."""
    made: list[Any] = [LookupError("a bug"), object(), Echo()]

    def factory() -> Any:
        what = made.pop(0)
        if isinstance(what, Exception):
            raise what
        return what

    caplog.set_level(logging.CRITICAL, logger="pyiocp")
    with serving(model, factory) as server:
        for count in (1, 2):
            with dial(server) as peer:
                assert peer.recv(1) == b""
            # The peer may see the end before the loop has counted it.
            assert eventually(lambda count=count: server.failed == count)
        with dial(server) as peer:
            peer.sendall(b"fine")
            assert receive_all(peer, 4) == b"fine"
        assert server.accepted == 1


OVERLAPPED_MODELS = ("overlapped-polled", "overlapped-events", "completion-routines")


@pytest.mark.parametrize("model", OVERLAPPED_MODELS)
def test_a_receive_that_the_system_refuses_is_tried_again(model: str) -> None:
    """WSAENOBUFS, ten times over (C37): the session lives, and echoes in the end."""
    kernel = FaultyKernel()
    refusal = Refusal(WSAENOBUFS, SOCKET_ERROR, times=10)
    kernel.wrap("WSARecv", refusal)
    with serving(model, Echo, kernel=kernel) as server, dial(server) as peer:
        peer.sendall(b"patience")
        assert receive_all(peer, 8) == b"patience"
    assert refusal.refused == 10


@pytest.mark.parametrize(
    ("model", "function", "failure"),
    [
        ("select", "select", SOCKET_ERROR),
        ("poll", "WSAPoll", SOCKET_ERROR),
        ("event-select", "WSAWaitForMultipleEvents", WSA_WAIT_FAILED),
        ("overlapped-events", "WSAWaitForMultipleEvents", WSA_WAIT_FAILED),
        ("completion-routines", "WSAWaitForMultipleEvents", WSA_WAIT_FAILED),
    ],
)
def test_a_wait_that_the_system_refuses_ends_the_run(
    model: str, function: str, failure: int
) -> None:
    kernel = FaultyKernel()
    kernel.wrap(function, Refusal(WSAENOBUFS, failure, times=1))
    with models.serve(model, LOCAL, Echo, kernel=kernel) as server:
        with pytest.raises(ResourceLimitError, match=f"{function} failed with WSAENOBUFS"):
            server.run()
        assert server.sessions == set()


@pytest.mark.parametrize("function", ["WSACreateEvent", "WSAEventSelect"])
def test_a_server_without_its_event_is_none(function: str) -> None:
    kernel = FaultyKernel()
    failure = None if function == "WSACreateEvent" else SOCKET_ERROR
    kernel.wrap(function, Refusal(WSAENOBUFS, failure, times=1))
    with (
        pytest.raises(ResourceLimitError, match=f"{function} failed with WSAENOBUFS"),
        models.serve("event-select", LOCAL, Echo, kernel=kernel) as server,
    ):
        server.run()


@pytest.mark.parametrize("model", OVERLAPPED_MODELS)
def test_what_the_kernel_does_not_give_back_is_kept(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receive that is neither cancelled nor closed: a ResourceWarning, and its memory stays."""
    kept: list[dict[int, Any]] = []
    monkeypatch.setattr(loop, "keep_for_ever", kept.append)
    monkeypatch.setattr(loop, "_END_MAX_S", 0.2)
    kernel = FaultyKernel()
    open_numbers: list[int] = []
    kernel.wrap("CancelIoEx", lambda real, *arguments: False)
    kernel.wrap("closesocket", lambda real, number: open_numbers.append(number))
    sessions = Made(Journal)
    server = models.serve(model, LOCAL, sessions, kernel=kernel)
    warned: list[Warning] = []

    def run() -> None:
        try:
            server.run()
        except ResourceWarning as warning:  # the tests' settings make it an exception
            warned.append(warning)

    thread = threading.Thread(target=run)
    thread.start()
    with dial(server):
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        server.close()
        thread.join(60)
        assert not thread.is_alive()
    [table] = kept
    [operation] = table.values()
    assert operation.kind == "receive"
    assert "receive" in str(warned[0])
    assert not sessions[0].closed.is_set()
    for number in open_numbers:
        assert Kernel().closesocket(number) == 0
    assert eventually(lambda: not operation.unwritten)
    if operation.overlapped.hEvent:
        assert WSACloseEvent(operation.overlapped.hEvent)
