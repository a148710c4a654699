"""Signals: functions that the loop calls, and Ctrl-C as asyncio.Runner wants it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aio_running import run, running
from commands import run_python
from deadline import DEADLINE_S
from wine import WINE

from pyiocp import CompletionPort, aio
from pyiocp.engine import poller

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGBREAK]

AT_ONCE_S = 10.0
"""What a busy machine may take: a wake-up that was left out shows after a minute only."""


@pytest.fixture(autouse=True)
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a sleeping thread sleep on, so that a wake-up that was left out shows."""
    monkeypatch.setattr(poller, "_WAIT_MAX_MS", 60_000)


@pytest.fixture(autouse=True)
def signal_state_restored() -> Iterator[None]:
    """Fail a test after which a handler or a wake-up socket is left, and clear it away."""
    yield
    left = {sig: signal.signal(sig, signal.SIG_DFL) for sig in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    default = dict.fromkeys(SIGNALS, signal.SIG_DFL)
    assert left == {**default, signal.SIGINT: signal.default_int_handler}
    assert signal.set_wakeup_fd(-1) == -1


@contextlib.contextmanager
def pressed(when: Callable[[], Any], *signals: int) -> Iterator[None]:
    """Raise signals in another thread, when something is so."""

    def press() -> None:
        deadline = time.monotonic() + DEADLINE_S
        for sig in signals:
            while not when() and time.monotonic() < deadline:
                time.sleep(0.001)
            signal.raise_signal(sig)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        thread.join(DEADLINE_S)


def asleep(loop: aio.EventLoop) -> Callable[[], bool]:
    """Return what tells whether the main thread sleeps in the loop."""
    return lambda: threading.main_thread().ident in loop._queue.waiting


# Functions of the program's


@pytest.mark.parametrize("sig", SIGNALS)
def test_function_is_called_at_once_in_a_sleeping_loop(sig: int) -> None:
    """cpython#137863: also on Windows. In the loop's thread, with its arguments, ten times."""

    async def main() -> None:
        loop = running()
        heard: list[Any] = []
        name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
        name.set("of the one who has added it")

        def on_signal(*arguments: Any) -> None:
            heard.append((arguments, name.get(), asyncio.get_running_loop() is loop))
            called.set()

        loop.add_signal_handler(sig, on_signal, 1, "two")
        for n in range(10):
            called = asyncio.Event()
            begun = time.monotonic()
            with pressed(asleep(loop), sig):
                await asyncio.wait_for(called.wait(), DEADLINE_S)
            assert time.monotonic() - begun < AT_ONCE_S
            assert len(heard) == n + 1
        assert set(heard) == {((1, "two"), "of the one who has added it", True)}
        assert loop.remove_signal_handler(sig)
        assert not loop.remove_signal_handler(sig)

    run(main)


def test_function_is_called_after_the_callback_that_the_signal_has_met() -> None:
    async def main() -> None:
        loop = running()
        heard: list[str] = []
        loop.add_signal_handler(signal.SIGTERM, heard.append, "first")
        loop.add_signal_handler(signal.SIGTERM, heard.append, "second")
        signal.raise_signal(signal.SIGTERM)
        assert heard == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert heard == ["second"]

    run(main)


def test_failing_function_is_reported_and_the_loop_goes_on() -> None:
    reports: list[Any] = []

    async def main() -> None:
        loop = running()
        loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))
        loop.add_signal_handler(signal.SIGINT, lambda: 1 / 0)
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0.01)

    aio.run(main())
    assert [type(error) for error in reports] == [ZeroDivisionError]


def test_bad_signals_and_functions_are_refused_as_on_unix() -> None:
    async def coroutine() -> None:
        """Never called."""

    async def main() -> None:
        loop = running()
        for call in (lambda sig: loop.add_signal_handler(sig, print), loop.remove_signal_handler):
            with pytest.raises(TypeError, match="sig must be an int"):
                call("SIGINT")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="invalid signal number 9"):
                call(9)
        with pytest.raises(TypeError, match="coroutines cannot be used"):
            loop.add_signal_handler(signal.SIGINT, coroutine)
        made = coroutine()
        with pytest.raises(TypeError, match="coroutines cannot be used"):
            loop.add_signal_handler(signal.SIGINT, made)  # type: ignore[arg-type]
        made.close()

    run(main)
    loop = aio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.add_signal_handler(signal.SIGINT, print)


def test_only_the_main_thread_has_handlers() -> None:
    found: list[Any] = []

    async def main() -> None:
        with pytest.raises(RuntimeError, match="main thread") as caught:
            running().add_signal_handler(signal.SIGINT, print)
        found.append(caught.value)
        assert not running().remove_signal_handler(signal.SIGINT)

    thread = threading.Thread(target=run, args=(main,))
    thread.start()
    thread.join(DEADLINE_S)
    assert len(found) == 1


def test_closed_loop_leaves_the_handlers_of_others() -> None:
    """One that somebody has set since is theirs."""
    theirs: list[int] = []
    loop = aio.new_event_loop()
    loop.add_signal_handler(signal.SIGINT, print)
    loop.add_signal_handler(signal.SIGTERM, print)
    signal.signal(signal.SIGTERM, lambda number, _: theirs.append(number))
    loop.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.raise_signal(signal.SIGTERM)
    assert theirs == [signal.SIGTERM]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


# Ctrl-C


@pytest.mark.parametrize("before", ["nothing", "a port has waited", "a port is open"])
def test_ctrl_c_cancels_the_main_task_at_once(before: str) -> None:
    """Twice with one Runner; also where a port of this thread has waited before."""
    with contextlib.ExitStack() as stack:
        if before != "nothing":
            port = stack.enter_context(CompletionPort())
            port.wait(0)
            if before == "a port has waited":
                port.close()
        cleaned: list[str] = []

        async def main() -> None:
            try:
                with pressed(asleep(running()), signal.SIGINT):
                    await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)
                cleaned.append("cleaned")
                raise

        begun = time.monotonic()
        with asyncio.Runner(loop_factory=aio.new_event_loop) as runner:
            for n in range(1, 3):
                with pytest.raises(KeyboardInterrupt):
                    runner.run(main())
                assert cleaned == ["cleaned"] * n
        assert time.monotonic() - begun < AT_ONCE_S


def test_loops_of_other_threads_leave_the_handler_alone() -> None:
    """A port waits in the main thread meanwhile: its handler is in force."""
    found: list[Any] = []

    def serve() -> None:
        try:
            aio.run(asyncio.sleep(0.01, "done"))
            found.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        except BaseException as error:  # noqa: BLE001, the test shows it
            found.append(error)
        port.post(1)

    with CompletionPort() as port:
        port.wait(0)
        thread = threading.Thread(target=serve)
        thread.start()
        assert port.wait(DEADLINE_S)
        thread.join(DEADLINE_S)
    assert found == [False]


def test_ctrl_c_in_a_busy_main_task_comes_out_of_run() -> None:
    steps: list[str] = []

    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        steps.append("went on")
        await asyncio.sleep(0)
        steps.append("never")

    with pytest.raises(KeyboardInterrupt):
        aio.run(main())
    assert steps == ["went on"]


def test_second_ctrl_c_interrupts_a_busy_main_task() -> None:
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not interrupted")

    with pytest.raises(KeyboardInterrupt):
        aio.run(main())


def test_ctrl_c_ends_a_loop_without_a_runner_at_once_and_it_goes_on() -> None:
    loop = aio.new_event_loop()
    for _ in range(3):
        begun = time.monotonic()
        with pressed(asleep(loop), signal.SIGINT), pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert time.monotonic() - begun < AT_ONCE_S
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert loop.run_until_complete(asyncio.sleep(0.01, "goes on")) == "goes on"
    loop.close()


def test_ctrl_c_interrupts_a_busy_callback_without_a_runner() -> None:
    """The loop has slept before: pyiocp's handler is in force."""
    loop = aio.new_event_loop()
    steps: list[str] = []

    def busy() -> None:
        steps.append("busy")
        signal.raise_signal(signal.SIGINT)
        steps.append("never")

    loop.call_later(0.02, busy)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert steps == ["busy"]
    loop.close()


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_a_protocol_comes_after_it_or_with_the_second_at_once(presses: int) -> None:
    """And the connection is still served, if the loop goes on."""
    steps: list[str] = []

    class Busy(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            steps.append(data.decode())
            if data == b"press":
                for _ in range(presses):
                    signal.raise_signal(signal.SIGINT)
                steps.append("after")

    async def begin() -> tuple[asyncio.Server, asyncio.StreamWriter]:
        server = await asyncio.get_running_loop().create_server(Busy, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        return server, writer

    async def until(step: str) -> None:
        while step not in steps:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    loop = aio.new_event_loop()
    server, writer = loop.run_until_complete(begin())
    writer.write(b"press")
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(DEADLINE_S))
    assert steps == (["press", "after"] if presses == 1 else ["press"])
    writer.write(b"again")
    loop.run_until_complete(asyncio.wait_for(until("again"), DEADLINE_S))
    writer.close()
    server.close()
    loop.run_until_complete(asyncio.wait_for(server.wait_closed(), DEADLINE_S))
    loop.close()


def test_second_ctrl_c_does_not_interrupt_what_is_not_the_programs() -> None:
    """Where a transport calls asyncio's own protocols, one more packet would be lost."""
    steps: list[str] = []
    source = """
def data_received(data):
    raise_signal(2)
    raise_signal(2)
    steps.append("went on")
"""
    names: dict[str, Any] = {
        "__name__": "asyncio.streams",
        "raise_signal": signal.raise_signal,
        "steps": steps,
    }
    exec(source, names)

    class Plain(asyncio.Protocol):
        """Has room for a method of its own."""

    def factory() -> asyncio.Protocol:
        protocol = Plain()
        protocol.data_received = names["data_received"]  # type: ignore[method-assign]
        return protocol

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        kept.extend((server, writer))
        writer.write(b"press")
        await asyncio.sleep(DEADLINE_S)

    async def close() -> None:
        kept[1].close()
        kept[0].close()
        await asyncio.wait_for(kept[0].wait_closed(), DEADLINE_S)

    kept: list[Any] = []
    loop = aio.new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    assert steps == ["went on"]
    loop.run_until_complete(close())
    loop.close()


# From outside

PROGRAM = """
    import asyncio, ctypes, os, signal, sys, time
    from pyiocp import aio
    from pyiocp.engine import poller
    poller._WAIT_MAX_MS = 60_000
    ctypes.WinDLL("kernel32").SetConsoleCtrlHandler(None, 0)

    def say(text):
        os.write(1, text.encode() + b"\\n")
    """

CONSOLE_PROGRAMS = {
    "run": """
    async def main():
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import time; time.sleep(3600)", stdin=-1, stdout=-1,
            creationflags=0x08000000)  # a console of its own, which hears nothing
        asyncio.get_running_loop().call_later(0.02, say, "ready")
        try:
            await child.wait()
        finally:
            say(repr(time.perf_counter()))

    try:
        aio.run(main())
    except KeyboardInterrupt:
        say("interrupted")
    """,
    "run_forever": """
    loop = aio.new_event_loop()
    loop.call_later(0.02, say, "ready")
    try:
        loop.run_forever()
    except KeyboardInterrupt:
        say(repr(time.perf_counter()))
        say("interrupted")
    loop.close()
    """,
    "SIGINT": """
    async def main():
        pressed = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, pressed.set)
        loop.call_later(0.02, say, "ready")
        await pressed.wait()
        say(repr(time.perf_counter()))
        say("interrupted")

    aio.run(main())
    """,
}
CONSOLE_PROGRAMS["SIGBREAK"] = CONSOLE_PROGRAMS["SIGINT"].replace("SIGINT", "SIGBREAK")

KEYBOARD = """
    import ctypes, signal, sys, time
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.FreeConsole()
    if not kernel32.AttachConsole(int(sys.argv[1])):
        sys.exit(f"AttachConsole failed with {ctypes.get_last_error()}")
    kernel32.SetConsoleCtrlHandler(None, 1)
    signal.signal(signal.SIGBREAK, signal.SIG_IGN)
    print(time.perf_counter(), flush=True)
    if not kernel32.GenerateConsoleCtrlEvent(int(sys.argv[2]), 0):
        sys.exit(f"GenerateConsoleCtrlEvent failed with {ctypes.get_last_error()}")
    """


no_break = pytest.mark.skipif(WINE, reason="Wine does not send Ctrl-Break to another process")


@pytest.mark.parametrize(
    "program",
    ["run", "run_forever", "SIGINT", pytest.param("SIGBREAK", marks=no_break)],
)
def test_keys_on_a_console_come_at_once_and_the_exit_is_quiet(program: str) -> None:
    """From a keyboard's program; both clocks are the machine's performance counter."""
    source = textwrap.dedent(PROGRAM) + textwrap.dedent(CONSOLE_PROGRAMS[program])
    with subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        creationflags=subprocess.CREATE_NO_WINDOW,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            time.sleep(0.05)  # for it to fall asleep; what comes before is no less at once
            key = "1" if program == "SIGBREAK" else "0"
            keyboard = run_python("-c", textwrap.dedent(KEYBOARD), str(process.pid), key)
            assert keyboard.stderr == ""
            heard = float(process.stdout.readline())
            assert process.stdout.readline() == "interrupted\n", process.stderr.read()
            assert process.wait(DEADLINE_S) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert heard - float(keyboard.stdout) < AT_ONCE_S


def test_ctrl_c_that_nobody_catches_is_a_traceback_and_nothing_else() -> None:
    """With connections, pipes, a child and an executor in use."""
    source = """
    import asyncio, signal, sys, time
    from pyiocp import aio

    kept = []

    async def main():
        loop = asyncio.get_running_loop()
        writers = []  # at the exit, writers of asyncio's say what they cannot any more
        server = await asyncio.start_server(lambda r, w: writers.append(w), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(bytes(5_000_000))
        kept.append(await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import time; time.sleep(3600)", stdin=-1, stdout=-1))
        kept[-1].stdin.write(bytes(5_000_000))
        loop.run_in_executor(None, time.sleep, 0.2)
        loop.call_later(0.1, signal.raise_signal, signal.SIGINT)
        await asyncio.sleep(3600)

    aio.run(main())
    """
    result = run_python("-c", textwrap.dedent(source))
    assert result.stderr.startswith("Traceback (most recent call last)")
    assert result.stderr.rstrip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in result.stderr
    assert "closed" not in result.stderr
    assert result.stdout == ""
