"""The monitor of a port: what a sample says, who may ask (C73), what it costs."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, BinaryIO, Self

import pytest
from faulty_kernel import Calls, FaultyKernel
from journal import eventually
from serving import Echo, running

from pyiocp import AddressUnavailableError, CompletionPort, Monitor, PortClosedError, Session
from pyiocp.handles.pipes.pipe import Pipe
from pyiocp.handles.pipes.security import user_sid
from pyiocp.servers.monitor_clients import CLIENTS_MAX, ClientConnection
from pyiocp.winapi import (
    DACL_SECURITY_INFORMATION,
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    LPWSTR,
    PIPE_REJECT_REMOTE_CLIENTS,
    SDDL_REVISION_1,
    ConvertSecurityDescriptorToStringSecurityDescriptorW,
    LocalFree,
)

WITHIN_S = 15.0

DOORS = {"pipe": None, "loopback": ("127.0.0.1", 0)}


class Asker:
    """A client of the monitor: a plain socket, or a file opened by the pipe's path."""

    def __init__(self, address: Any) -> None:
        self.socket: socket.socket | None = None
        self.file: BinaryIO
        if isinstance(address, str):
            self.file = opened(address)
        else:
            self.socket = socket.create_connection(address, WITHIN_S)
            self.file = self.socket.makefile("rwb", buffering=0)  # type: ignore[assignment]

    def say(self, data: bytes) -> None:
        self.file.write(data)

    def line(self) -> bytes:
        """Return the next line; nothing at the end, whichever way the server has ended it."""
        try:
            return self.file.readline()
        except OSError:
            return b""

    def ask(self, question: bytes = b"{}") -> dict[str, Any]:
        self.say(question + b"\n")
        answer: dict[str, Any] = json.loads(self.line())
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.socket is not None:
            self.socket.close()


def opened(path: str) -> BinaryIO:
    """Return the client's end of a pipe, once the server has an instance that is free."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            return open(path, "r+b", buffering=0)  # noqa: PTH123, a pipe's
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.001)


@pytest.fixture(params=DOORS)
def monitor(port: CompletionPort, request: pytest.FixtureRequest) -> Monitor:
    """A monitor of each kind."""
    return port.monitor(DOORS[request.param])


def clients_of(monitor: Monitor) -> set[ClientConnection]:
    """Return those that are connected and accepted."""
    return monitor._clients._clients


def test_sample_counts_sessions_that_live_and_those_that_have_ended(
    port: CompletionPort, monitor: Monitor
) -> None:
    """Two clients send 3 messages each, one of them leaves: its messages stay counted."""
    listener = port.listen(("127.0.0.1", 0), Echo)
    with running(port), Asker(monitor.address) as asker:
        with socket.create_connection(listener.address, WITHIN_S) as stays:
            with socket.create_connection(listener.address, WITHIN_S) as leaves:
                for client in (stays, leaves) * 3:
                    client.sendall(b"12345")
                    assert client.recv(100) == b"12345"
                before = asker.ask()
                assert before["sessions"]["open"] == 2
                leaves.shutdown(socket.SHUT_WR)
                assert leaves.recv(100) == b""
            after = ask_until(asker, lambda sample: sample["sessions"]["ended"] == 1)
            assert after["sessions"] == {"open": 1, "connecting": 0, "closing": 0, "ended": 1}
        for sample in (before, after):
            assert sample["pyiocp_monitor"] == 1
            assert (sample["messages_received"], sample["messages_sent"]) == (6, 6)
            assert (sample["bytes_received"], sample["bytes_sent"]) == (30, 30)
        assert after["time_s"] > before["time_s"]
        assert after["listeners"][0]["accepted"] == 2


def ask_until(asker: Asker, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until an answer is good; a thousand times at most."""
    for _ in range(1000):
        sample = asker.ask()
        if good(sample):
            return sample
    raise AssertionError(sample)


def test_monitor_itself_counts_nowhere(port: CompletionPort, monitor: Monitor) -> None:
    """Not in the port's sessions, which are the user's to send to, nor in what is in flight."""
    assert port.statistics().in_flight.operations == 0
    assert port.listeners == set()
    with running(port), Asker(monitor.address) as asker, Asker(monitor.address) as other:
        for sample in (asker.ask(), other.ask()):
            assert sum(sample["sessions"].values()) == 0
            assert sample["in_flight"] == {"operations": 0, "bytes": 0, "pages": 0}
            assert sample["completions"] == {}
            assert sample["listeners"] == []
        assert port.sessions == set()
        assert len(clients_of(monitor)) == 2


def test_nothing_is_counted_before_somebody_looks(port: CompletionPort, monitor: Monitor) -> None:
    """The port follows its operations only from the first look on."""
    assert port._queue.watcher is None
    with running(port), Asker(monitor.address) as asker:
        # A question that is there when it is waited for comes without a packet.
        ask_until(asker, lambda sample: sample["batches"]["calls"] > 0)
        assert port._queue.watcher is not None


class Talks(Session):
    """Sends whenever there is room, so that in the end it waits for a peer that does not read."""

    def on_connect(self) -> None:
        while self.send(bytes(100_000)):
            pass

    on_writable = on_connect


def test_slowest_is_the_one_whose_queue_does_not_move(
    port: CompletionPort, monitor: Monitor
) -> None:
    """One client does not read, the others have nothing to wait for."""
    echo = port.listen(("127.0.0.1", 0), Echo)
    talks = port.listen(("127.0.0.1", 0), Talks)
    with (
        running(port),
        Asker(monitor.address) as asker,
        socket.create_connection(echo.address, WITHIN_S) as quick,
        socket.create_connection(talks.address, WITHIN_S) as stuck,
    ):
        quick.sendall(b"x")
        assert quick.recv(1) == b"x"
        host, number = stuck.getsockname()
        asker.ask()
        sample = ask_until(asker, lambda sample: sample["slowest"][0]["stalled_s"] > 0)
        slowest, other = sample["slowest"]
        assert slowest["peer"] == f"{host}:{number}"
        assert slowest["type"] == "Talks"
        assert slowest["send_queue_bytes"] > 500_000
        assert (other["type"], other["send_queue_bytes"], other["stalled_s"]) == ("Echo", 0, 0)
        [only] = asker.ask(b'{"slowest": 1}')["slowest"]
        assert only["type"] == "Talks"
        assert asker.ask(b'{"slowest": 0}')["slowest"] == []


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        (b"GET / HTTP/1.1\r", "a line with a JSON object is needed"),
        (b"\xff", "a line with a JSON object is needed"),
        (b"[]", "a JSON object is needed, not an array"),
        (b"7", "a JSON object is needed, not a number"),
        (b'{"all": 1}', "unknown: all; there is slowest"),
        (b'{"slowest": "x"}', "slowest must be a whole number, not a string"),
        (b'{"slowest": true}', "slowest must be a whole number, not a boolean"),
        (b'{"slowest": null}', "slowest must be a whole number, not null"),
        (b'{"slowest": 101}', "slowest must be 0 to 100"),
        (b'{"slowest": -1}', "slowest must be 0 to 100"),
    ],
)
def test_what_is_no_question_is_answered_and_ends_the_connection(
    port: CompletionPort, monitor: Monitor, no_errors_logged: None, question: bytes, wanted: str
) -> None:
    """The port goes on, and so does the monitor."""
    with running(port):
        with Asker(monitor.address) as asker:
            assert asker.ask(question) == {"error": wanted}
            assert asker.line() == b""
        with Asker(monitor.address) as asker:
            assert asker.ask()["pyiocp_monitor"] == 1


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(b"{}\n" * 21_000, id="many questions"),
        pytest.param(b"{}\n{}\n", id="two questions"),
        pytest.param(b"{" * 5000, id="a line without end"),
        pytest.param(b"[" * 1000 + b"\n", id="deep"),
        pytest.param(b'{"a":' * 200 + b"\n", id="deep objects"),
        pytest.param(b'{"slowest": ' + b"9" * 900 + b"}\n", id="a long number"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="a browser"),
    ],
)
def test_malformed_questions_end_the_connection_and_are_not_logged(
    port: CompletionPort,
    monitor: Monitor,
    caplog: pytest.LogCaptureFixture,
    flood: bytes,
) -> None:
    """C73: at most one of them is answered, the connection ends, and not a line is logged."""
    sampled: list[int] = []
    look = monitor._clients._sample
    monitor._clients._sample = lambda slowest: (sampled.append(slowest), look(slowest))[1]
    with running(port), Asker(monitor.address) as asker:
        saying = threading.Thread(target=say_what_is_taken, args=(asker, flood))
        saying.start()
        lines = [*iter(asker.line, b"")]
        saying.join(WITHIN_S)
        assert not saying.is_alive()
        assert len(lines) <= 1
        assert all("error" in json.loads(line) for line in lines)
        assert eventually(lambda: not clients_of(monitor))
    assert sampled == []
    assert caplog.records == []


def say_what_is_taken(asker: Asker, data: bytes) -> None:
    """Write for as long as the server lets one."""
    try:
        for first in range(0, len(data), 1024):
            asker.say(data[first : first + 1024])
    except OSError:
        pass


def test_question_may_come_in_pieces(port: CompletionPort, monitor: Monitor) -> None:
    with running(port), Asker(monitor.address) as asker:
        for n in range(3):
            for piece in (b'{"slow', b'est": ', b"%d}" % n, b"\n"):
                asker.say(piece)
            assert json.loads(asker.line())["pyiocp_monitor"] == 1


@pytest.mark.parametrize("says", [b"", b'{"slowest"'], ids=["nothing", "half a question"])
def test_silent_client_is_thrown_out(
    port: CompletionPort,
    monitor: Monitor,
    monkeypatch: pytest.MonkeyPatch,
    says: bytes,
) -> None:
    """Before its first question, and after one."""
    monkeypatch.setattr(ClientConnection, "first_question_s", 0.1)
    monkeypatch.setattr(ClientConnection, "idle_s", 3.0)
    with running(port), Asker(monitor.address) as asker:
        asker.say(says)
        assert asker.line() == b""
        assert eventually(lambda: not clients_of(monitor))
        monkeypatch.setattr(ClientConnection, "first_question_s", 60.0)
        with Asker(monitor.address) as other:
            other.ask()
            other.say(says)
            assert other.line() == b""
            assert eventually(lambda: not clients_of(monitor))


def test_client_that_does_not_take_its_answer_is_thrown_out(
    port: CompletionPort, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of 64 MB: what the system does not take stays with the server, for a while only."""
    monkeypatch.setattr(ClientConnection, "idle_s", 0.3)
    monitor._clients._sample = lambda slowest: {"slowest": [], "long": "x" * 64_000_000}
    with running(port), Asker(monitor.address) as asker:
        asker.say(b"{}\n")
        assert eventually(lambda: len(clients_of(monitor)) == 1)
        assert eventually(lambda: not clients_of(monitor), 30)
        assert eventually(lambda: "write" not in port._queue.in_flight_by_kind(), 30)


def test_so_many_clients_and_the_next_waits_for_one_to_leave(
    port: CompletionPort, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are answered in the end, and never are there more at a time."""
    monkeypatch.setattr(ClientConnection, "first_question_s", 60.0)
    late: list[dict[str, Any]] = []
    with running(port):
        askers = [Asker(monitor.address) for _ in range(CLIENTS_MAX)]
        try:
            for asker in askers:
                asker.ask()
            with Asker(monitor.address) as other:
                asking = threading.Thread(target=lambda: late.append(other.ask()))
                asking.start()
                for asker in askers:
                    asker.ask()
                assert late == []
                assert len(clients_of(monitor)) == CLIENTS_MAX
                askers.pop().__exit__()
                asking.join(WITHIN_S)
                assert [answer["pyiocp_monitor"] for answer in late] == [1]
                assert len(clients_of(monitor)) == CLIENTS_MAX
            assert eventually(lambda: len(clients_of(monitor)) == CLIENTS_MAX - 1)
        finally:
            for asker in askers:
                asker.__exit__()


def test_all_that_ask_are_answered_by_one_sample_and_after_a_pause(
    port: CompletionPort, monitor: Monitor
) -> None:
    """A sample that takes long is followed by a pause nineteen times as long, for all of them.

    By the port's clock, which goes on by 50 ms for each sample.
    """
    clients, clock = monitor._clients, port.kernel.monotonic
    taken: list[float] = []

    def sample(slowest: int) -> dict[str, Any]:
        taken.append(clock())
        until = clock() + 0.05
        while clock() < until:
            pass
        return {"slowest": [*range(slowest)]}

    clients._sample = sample
    with running(port):
        askers = [Asker(monitor.address) for _ in range(5)]
        answers: list[tuple[int, int]] = []

        def ask(n: int) -> None:
            question = b'{"slowest": %d}' % n
            answers.extend((n, len(askers[n].ask(question)["slowest"])) for _ in range(3))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for asker in askers:
            asker.__exit__()
    assert sorted(answers) == sorted([(n, n) for n in range(5)] * 3)
    assert 3 <= len(taken) <= 5  # 15 questions; the first may come alone
    pauses = [after - before for before, after in pairwise(taken)]
    assert min(pauses) >= 20 * 0.05 - 1e-6


# --- The pipe -------------------------------------------------------------------------------------


def test_pipe_is_asked_for_with_what_keeps_others_out() -> None:
    """This user only, nobody from other machines, and no name that somebody else has already.

    What is asked of the system is looked at. Wine checks none of it: there it is all that can be.
    """
    made: list[tuple[str, int, int, str]] = []
    kernel = FaultyKernel()

    def note(real: Callable[..., Any], *arguments: Any) -> Any:
        path, open_mode, pipe_mode, *_, attributes = arguments
        made.append((path, open_mode, pipe_mode, dacl_of(attributes._obj.lpSecurityDescriptor)))
        return real(*arguments)

    kernel.wrap("CreateNamedPipeW", note)
    with CompletionPort(kernel=kernel) as port:
        monitor = port.monitor()
        with running(port), Asker(monitor.address) as asker:
            asker.ask()
            assert eventually(lambda: len(made) >= 2)
    assert {path for path, *_ in made} == {monitor.address}
    assert [bool(mode & FILE_FLAG_FIRST_PIPE_INSTANCE) for _, mode, *_ in made[:2]] == [True, False]
    for _, _, pipe_mode, dacl in made:
        assert pipe_mode & PIPE_REJECT_REMOTE_CLIENTS
        assert dacl == f"D:P(A;;GA;;;{user_sid(port.kernel)})"


def dacl_of(descriptor: int) -> str:
    """Return who a security descriptor lets in, as text."""
    text = LPWSTR()
    assert ConvertSecurityDescriptorToStringSecurityDescriptorW(
        descriptor, SDDL_REVISION_1, DACL_SECURITY_INFORMATION, ctypes.byref(text), None
    )
    try:
        return str(text.value)
    finally:
        LocalFree(ctypes.cast(text, ctypes.c_void_p))


def test_pipe_has_the_name_of_the_process_and_each_port_its_own() -> None:
    """The first that is free; one that is closed gives its name back."""
    mine = rf"\\.\pipe\pyiocp-{os.getpid()}"
    with CompletionPort() as first, CompletionPort() as second, CompletionPort() as third:
        assert first.monitor().address == mine
        assert second.monitor().address == mine + "-2"
        for port, listeners in ((first, 0), (second, 1)):
            if listeners:
                port.listen(("127.0.0.1", 0), Echo)
            address = mine + "-2" * listeners
            with running(port), Asker(address) as asker:
                assert len(asker.ask()["listeners"]) == listeners
        first.close()
        assert third.monitor().address == mine


def test_clients_that_keep_their_end_keep_no_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thrown out, they are disconnected: the server has one instance left, a free one.

    Without it Windows keeps an instance until the client has closed its end, too.
    """
    monkeypatch.setattr(ClientConnection, "first_question_s", 0.1)
    kernel = FaultyKernel()
    calls = Calls(kernel, "DisconnectNamedPipe")
    with CompletionPort(kernel=kernel) as port, running(port):
        monitor = port.monitor()
        askers = [Asker(monitor.address) for _ in range(CLIENTS_MAX + 5)]
        assert eventually(lambda: monitor._clients.accepted == CLIENTS_MAX + 5, 30)
        assert eventually(lambda: not clients_of(monitor))
        pipes = [handle for handle in port.handles if isinstance(handle, Pipe)]
        assert len(pipes) == 1
        assert calls["DisconnectNamedPipe"] == CLIENTS_MAX + 5
        for asker in askers:
            assert asker.line() == b""
            asker.__exit__()


# --- The loopback ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::", "example.org"])
def test_only_this_machine_may_ask(port: CompletionPort, host: str) -> None:
    """Also no name, which may be anybody's."""
    with pytest.raises(ValueError, match="of this machine's loopback"):
        port.monitor((host, 0))
    assert port.handles == set()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_monitor_listens_on_either_loopback(port: CompletionPort, host: str) -> None:
    monitor = port.monitor((host, 0))
    with running(port), Asker(monitor.address[:2]) as asker:
        assert asker.ask()["sessions"]["open"] == 0


def test_wrong_addresses_are_refused(port: CompletionPort) -> None:
    with pytest.raises(TypeError, match="must be"):
        port.monitor("127.0.0.1:0")
    taken = port.listen(("127.0.0.1", 0), Echo)
    with pytest.raises(AddressUnavailableError):
        port.monitor(taken.address)
    port.close()
    with pytest.raises(PortClosedError, match="cannot be monitored"):
        port.monitor()


# --- The end --------------------------------------------------------------------------------------


def test_port_has_one_monitor_at_a_time(port: CompletionPort, monitor: Monitor) -> None:
    """A closed one sends away who looks, and leaves room for another."""
    with pytest.raises(RuntimeError, match="has a monitor already"):
        port.monitor()
    with running(port), Asker(monitor.address) as asker:
        asker.ask()
        monitor.close()
        assert asker.line() == b""
        with Asker(port.monitor().address) as other:
            other.ask()


def test_port_that_is_closed_or_shut_down_does_not_wait_for_who_looks(
    port: CompletionPort, monitor: Monitor
) -> None:
    """An open connection to the monitor does not keep ``run`` from returning."""
    thread = threading.Thread(target=port.run)
    thread.start()
    with Asker(monitor.address) as asker:
        asker.ask()
        port.shutdown()
        thread.join(WITHIN_S)
        assert not thread.is_alive()
        assert port.close() == []
        assert clients_of(monitor) == set()
        assert asker.line() == b""


def test_session_that_has_ended_is_not_kept_for_the_next_sample(
    port: CompletionPort, monitor: Monitor
) -> None:
    """Its queue was seen; if nobody asks again, it is forgotten all the same."""
    talks = port.listen(("127.0.0.1", 0), Talks)
    with running(port):
        with socket.create_connection(talks.address, WITHIN_S), Asker(monitor.address) as asker:
            ask_until(asker, lambda sample: sample["slowest"][0]["send_queue_bytes"] > 0)
            assert len(monitor._queues) == 1
        assert eventually(lambda: not port.sessions)
        assert monitor._queues == {}
