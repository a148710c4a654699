"""python -m pyiocp trace: a script runs as by itself, and all its ports are in the file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Command, run_python

Start = Callable[..., Command]

SCRIPT = """
import socket, sys
from pyiocp import CompletionPort
ports = [CompletionPort(), CompletionPort()]
for port in ports:
    ours, peer = socket.socketpair()
    stream = port.stream(ours)
    stream.receive(bytearray(10))
    peer.send(b"hello")
    port.wait(10)
    port.close()
print(__name__, sys.argv[1:], sys.path[0] == {folder!r})
{end}
"""


def trace(folder: Path, end: str, *arguments: str) -> Any:
    """Trace a script with two ports and some end, and return what came of it."""
    (folder / "script.py").write_text(SCRIPT.format(end=end, folder=str(folder)), encoding="utf-8")
    return run_python(
        *("-m", "pyiocp", "trace", str(folder / "trace.json"), "--json", "--"),
        *(str(folder / "script.py"), *arguments),
    )


def recorded(folder: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads((folder / "trace.json").read_text())["traceEvents"]
    return events


def test_every_port_of_a_script_is_recorded(tmp_path: Path) -> None:
    """Two receives, told apart by their numbers; the script sees its own arguments."""
    done = trace(tmp_path, "", "--seconds", "5", "--", "x")
    assert (done.returncode, done.stderr) == (0, "")
    printed, _, summary = done.stdout.partition("\n")
    assert printed == "__main__ ['--seconds', '5', '--', 'x'] True"
    told = json.loads(summary)
    assert (told["ports"], told["dropped"], told["exit_code"]) == (2, 0, 0)
    operations = [event for event in recorded(tmp_path) if event.get("cat") == "operation"]
    assert [(event["ph"], event["name"]) for event in operations] == [
        ("b", "receive"),
        ("e", "receive"),
    ] * 2
    assert len({event["id"] for event in operations}) == 2
    assert told["events"] == sum(event["ph"] != "M" for event in recorded(tmp_path))


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("sys.exit('enough')", 1, "enough"),
        ("raise KeyboardInterrupt", 130, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_exit_code_is_the_scripts_own(tmp_path: Path, end: str, code: int, said: str) -> None:
    """What was recorded until then is in the file; a traceback begins in the script."""
    done = trace(tmp_path, end)
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1:] == ([said] if said else [])
    assert "runpy" not in done.stderr
    assert any(event["ph"] == "e" for event in recorded(tmp_path))


def test_script_without_a_port_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('hello')", encoding="utf-8")
    script = str(tmp_path / "script.py")
    done = run_python("-m", "pyiocp", "trace", str(tmp_path / "trace.json"), "--", script)
    assert done.returncode == 1
    assert done.stderr == "pyiocp: error: the script has made no port\n"


def test_without_a_script_an_echo_server_and_its_clients_are_recorded(tmp_path: Path) -> None:
    """Every submission has its end; the server's thread has its name."""
    file = tmp_path / "trace.json"
    command = ("trace", str(file), "--clients", "3", "--seconds", "0.2")
    done = run_python("-m", "pyiocp", *command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{file}: ")
    assert done.stdout.endswith("open it at https://ui.perfetto.dev\n")
    events = recorded(tmp_path)
    begun = Counter(event["id"] for event in events if event["ph"] == "b")
    ended = Counter(event["id"] for event in events if event["ph"] == "e")
    assert begun == ended
    assert set(begun.values()) == {1}
    kinds = Counter(event["name"] for event in events if event["ph"] == "b")
    assert kinds["connect"] == 3
    assert kinds["accept"] >= 3
    assert {"send", "receive"} <= kinds.keys()
    assert "server" in {event["args"]["name"] for event in events if event["ph"] == "M"}


def test_server_that_runs_until_ctrl_c_is_recorded(
    tmp_path: Path, start_interruptible: Start
) -> None:
    """The file is written, and says so, after the Ctrl-C."""
    script = tmp_path / "server.py"
    script.write_text(
        "from pyiocp import CompletionPort, Session\n"
        "with CompletionPort() as port:\n"
        "    print('at', port.listen(('127.0.0.1', 0), Session).address, flush=True)\n"
        "    port.run()\n",
        encoding="utf-8",
    )
    command = start_interruptible("trace", str(tmp_path / "trace.json"), "--", str(script))
    command.line_with("at ")
    command.press_ctrl_c()
    assert command.end() == 130
    assert "open it at https://ui.perfetto.dev" in command.output[-1]
    names = Counter(event["name"] for event in recorded(tmp_path) if event["ph"] == "b")
    assert names == {"accept": 32}


def test_oldest_events_go_when_there_is_no_room(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    command = ("trace", str(file), "--clients", "2", "--seconds", "0.2", "--events", "10")
    done = run_python("-m", "pyiocp", *command, "--json")
    told = json.loads(done.stdout)
    assert (told["events"], told["ports"]) == (20, 2)
    assert told["dropped"] > 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nosuch/trace.json",), "No such file or directory"),
        (("trace.json", "--", "nosuch.py"), "there is no script 'nosuch.py'"),
    ],
)
def test_wrong_names_are_one_line(
    tmp_path: Path, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_python("-m", "pyiocp", "trace", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pyiocp: error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
