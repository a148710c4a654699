"""python -m pyiocp monitor: a real server is looked at; what is none is said to be, in a line."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from commands import Command, run_python
from serving import Echo, running, served

from pyiocp import CompletionPort
from pyiocp.cli import monitor as command
from pyiocp.cli import sampling
from pyiocp.cli.command_line import main
from pyiocp.cli.monitor_links import MonitorError
from pyiocp.cli.sampling import rates_between

Start = Callable[..., Command]


@contextmanager
def looked_at(*, loopback: bool = False) -> Iterator[tuple[str, socket.socket]]:
    """Serve echoes to one client, with a monitor; give what to type for it, and the client."""
    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), Echo, accepts=3)
        monitor = port.monitor(("127.0.0.1", 0) if loopback else None)
        with running(port), socket.create_connection(listener.address, 10) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            yield f"127.0.0.1:{monitor.address[1]}" if loopback else f"{os.getpid()}", client


@pytest.mark.parametrize("loopback", [False, True], ids=["pipe", "loopback"])
def test_once_in_json_is_one_object(capsys: pytest.CaptureFixture[str], loopback: bool) -> None:
    """With the number of the process, or with an address."""
    with looked_at(loopback=loopback) as (address, client):
        assert main(f"monitor {address} --once --json --interval 0.1".split()) == 0
        peer = "{}:{}".format(*client.getsockname())
    rates = json.loads(capsys.readouterr().out)
    assert rates["connections"] == 1
    assert rates["messages_received_per_s"] == 0
    assert rates["in_flight_by_kind"]["accept"]["operations"] == 3
    assert [row["peer"] for row in rates["slowest"]] == [peer]
    assert rates["seconds"] >= 0.09


def test_once_in_words_has_all_tables(capsys: pytest.CaptureFixture[str]) -> None:
    with looked_at() as (address, _):
        assert main(f"monitor {address} --once --interval 0.1".split()) == 0
    text = capsys.readouterr().out
    assert re.search(r"process \d+, listening at 127\.0\.0\.1:\d+\n", text)
    for heading in ("messages/s in", "packets/wait", "pages locked", "slowest sessions"):
        assert heading in text
    assert "\x1b" not in text


@pytest.mark.parametrize("form", ["", " --json"])
def test_into_a_pipe_goes_a_line_for_each_interval(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with looked_at() as (address, _):
        assert main(f"monitor {address} --count 3 --interval 0.1{form}".split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    if form:
        assert [json.loads(line)["connections"] for line in lines] == [1, 1, 1]
    else:
        assert all(line.startswith("1 connection, 0 messages/s in, 0 out") for line in lines)


def test_it_works_off_windows_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command takes this for Linux: an address can be asked from there, a pipe cannot."""
    with looked_at(loopback=True) as (address, _):
        monkeypatch.setattr(sys, "platform", "linux")
        assert main(f"monitor {address} --once --json --interval 0.1".split()) == 0
        assert json.loads(capsys.readouterr().out)["connections"] == 1
        assert main(["monitor", "1234", "--once"]) == 1
        monkeypatch.undo()
    assert "a pipe is asked on Windows" in one_line(capsys)


def test_monitor_of_the_second_port_is_found_by_the_path_of_its_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And by the number alone once it is the only one left."""
    with CompletionPort() as first, CompletionPort() as second:
        first.monitor()
        listener = second.listen(("127.0.0.1", 0), Echo)
        path = second.monitor().address
        with running(second):
            for target in (path, f"{os.getpid()}"):
                arguments = ["monitor", target, "--once", "--json", "--interval", "0.1"]
                assert main(arguments) == 0
                rates = json.loads(capsys.readouterr().out)
                assert rates["listening_at"] == ["{}:{}".format(*listener.address)]
                first.close()


def test_process_without_a_monitor_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", f"{os.getpid()}", "--once"]) == 1
    assert f"process {os.getpid()} has no monitor: port.monitor() makes one" in one_line(capsys)
    assert main(["monitor", r"\\.\pipe\pyiocp-0", "--once"]) == 1
    assert "there is no such pipe" in one_line(capsys)
    assert main(["monitor", r"\\.\pip\name", "--once"]) == 1
    assert "is no path of a pipe" in one_line(capsys)


def test_pipe_of_another_process_under_that_name_is_not_believed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever is first may take the name; the system tells whose pipe it is."""
    with CompletionPort() as port, port.pipe_server("pyiocp-4242424"):
        assert main(["monitor", "4242424", "--once"]) == 1
    assert rf"\\.\pipe\pyiocp-4242424 belongs to process {os.getpid()}" in one_line(capsys)


def test_client_that_asks_seldom_connects_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends connections that are silent for a minute; intervals may be an hour."""
    monkeypatch.setattr(sampling, "_SILENT_MAX_S", -1.0)
    with CompletionPort() as port:
        monitor = port.monitor()
        with running(port), sampling.MonitorClient(os.getpid()) as client:
            for _ in range(3):
                assert client.sample(0)["sessions"]["open"] == 0
            assert monitor._clients.accepted == 4


def test_terminal_with_rich_gets_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves out the colours, and the display stays."""
    pytest.importorskip("rich")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = io.StringIO()
    with looked_at() as (address, _):
        monkeypatch.setattr(sys, "stdout", shown)
        assert main(f"monitor {address} --count 2 --interval 0.1".split()) == 0
        monkeypatch.undo()
    text = shown.getvalue()
    assert "slowest sessions" in text
    assert "EchoSession" not in text
    assert "\x1b[2K" in text  # lines are drawn again
    assert not re.search(r"\x1b\[[\d;]*3[0-7]", text)


def test_terminal_without_rich_gets_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with looked_at() as (address, _):
        assert main(f"monitor {address} --count 1 --interval 0.1".split()) == 0
        assert main(f"monitor {address} --once --interval 0.1".split()) == 0
    line, *rest = capsys.readouterr().out.splitlines()
    assert line.startswith("1 connection, ")
    assert "slowest sessions" in rest


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was said: a line on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pyiocp: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_what_listens_there_is_no_monitor(capsys: pytest.CaptureFixture[str]) -> None:
    """An echo server, which answers with what it was asked."""
    with served(Echo) as address:
        assert main(f"monitor {address} --once".split()) == 1
    assert f"what listens at {address} is no monitor" in one_line(capsys)


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_address_of_every_interface_is_this_machine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """C51: Windows refuses it, as does this `create_connection`; nothing but numbers gets there."""
    real = socket.create_connection

    def create_connection(address: tuple[str, int], *arguments: float) -> socket.socket:
        assert address[0] == "127.0.0.1"
        return real(address, *arguments)

    monkeypatch.setattr(socket, "create_connection", create_connection)
    with CompletionPort() as port:
        monitor = port.monitor(("127.0.0.1", 0))
        with running(port):
            assert main(["monitor", f"{host}:{monitor.address[1]}", "--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_nobody_listens_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    assert main(f"monitor {address}".split()) == 1
    assert f"nobody answers at {address}" in one_line(capsys)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"", "has gone"),
        (b"220 mail.example.org\r\n", "is no monitor"),
        (b"[]\n", "is no monitor"),
        (b'{"pyiocp_monitor": 99}\n', "speaks form 99, this program form 1"),
        (b'{"error": "too many questions"}\n', "says: too many questions"),
        (b"x" * (1 << 20) + b"x", "is no monitor"),
        (None, "does not answer"),
    ],
)
def test_other_answers_are_told_in_a_line(
    answer: bytes | None,
    wanted: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that says something else, or nothing, or closes."""
    monkeypatch.setattr(sampling, "ANSWER_MAX_S", 0.5 if answer is None else 10.0)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                if answer is None:
                    over.wait(10)
                else:
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert main(f"monitor 127.0.0.1:{server.getsockname()[1]} --once".split()) == 1
        over.set()
        thread.join(10)
    assert wanted in one_line(capsys)


@pytest.mark.parametrize("address", [None, ("127.0.0.1", 0)], ids=["pipe", "loopback"])
def test_server_that_ends_meanwhile_has_gone(address: tuple[str, int] | None) -> None:
    """After the first interval."""
    port = CompletionPort()
    monitor = port.monitor(address)
    thread = threading.Thread(target=port.run)
    thread.start()
    with sampling.MonitorClient(monitor.address) as client:
        intervals = command.look(client, 0.1, None, 5)
        assert next(intervals)["connections"] == 0
        port.close()
        thread.join(10)
        with pytest.raises(MonitorError, match="has gone"):
            next(intervals)


def test_ctrl_c_ends_looking_in_order(start_interruptible: Start) -> None:
    """Exit code 0 if there was no end to it, 130 before the end that was asked for."""
    with looked_at() as (address, _):
        for count, code in (((), 0), (("--count", "1000"), 130)):
            looking = start_interruptible("monitor", address, "--interval", "0.1", *count)
            looking.line_with("1 connection")
            looking.press_ctrl_c()
            assert looking.end() == code
            assert "Traceback" not in "\n".join(looking.output)


def test_rates_are_differences_per_second() -> None:
    """Over two seconds: 20 messages, 4 waits with 10 packets."""
    with CompletionPort() as port:
        port.watch()
        before = port.monitor().sample()
    counts = {name: before[name] + 20 for name in before if name.startswith(("messages", "bytes"))}
    after = before | counts | {"time_s": before["time_s"] + 2}
    calls, packets = before["batches"]["calls"], before["batches"]["packets"]
    after["batches"] = {"calls": calls + 4, "packets": packets + 10, "largest": 9}
    after["completions"] = {"receive": 6, "send": 4}
    after["listeners"] = [{"address": "127.0.0.1:1", "accepted": 5}]
    rates = rates_between(before, after)
    assert (rates["messages_received_per_s"], rates["bytes_sent_per_s"]) == (10, 10)
    assert (rates["packets_per_wait"], rates["waits_per_s"]) == (2.5, 2)
    assert (rates["completions_per_s"], rates["accepted_per_s"]) == (5, 2.5)


@pytest.mark.parametrize("loopback", [False, True], ids=["pipe", "loopback"])
def test_serve_has_a_monitor_that_the_command_looks_at(
    start_interruptible: Start, loopback: bool
) -> None:
    """Both as a user types them; the pipe is found by the number of the process."""
    server = start_interruptible(
        *("serve", "echo", "--address", "127.0.0.1:0", "--monitor"),
        *(["127.0.0.1:0"] if loopback else []),
    )
    where = server.line_with("monitor at ").removeprefix("monitor at ")
    if not loopback:
        found = re.fullmatch(r"\\\\\.\\pipe\\pyiocp-(\d+)", where)
        assert found is not None
        where = found[1]
    listening = re.search(r"at (\S+);", server.line_with("listening at "))
    assert listening is not None
    done = run_python("-m", "pyiocp", "monitor", where, "--once", "--json", "--interval", "0.1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["listening_at"] == [listening[1]]
    server.press_ctrl_c()
    assert server.end() == 0


def test_serve_refuses_a_monitor_that_others_could_reach() -> None:
    done = run_python(
        *("-m", "pyiocp", "serve", "echo", "--address", "127.0.0.1:0", "--monitor", "0.0.0.0:0")
    )
    assert done.returncode == 1
    assert done.stderr.startswith("pyiocp: error: no monitor at 0.0.0.0:0: a monitor listens at")
