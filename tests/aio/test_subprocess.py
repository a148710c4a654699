"""Processes with asyncio's interface: real ones, started with the interpreter that runs this."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from pathlib import Path
from typing import Any

import pytest
from aio_peers import eventually
from aio_running import run, running
from commands import run_python
from deadline import DEADLINE_S

from pyiocp import CompletionPort, aio

BIG = bytes(range(256)) * 20_000  # 5 MB

CAT = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
BOTH = "import sys; print('out'); print('err', file=sys.stderr)"
BLOCKED = "import time; time.sleep(3600)"
QUICK = ("-S", "-E", "-c")
"""Arguments of a child that is to start fast: without site, and without the environment."""


async def python(*arguments: str, **settings: Any) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, **settings)


@pytest.mark.parametrize("size", [0, 5, len(BIG)])
def test_what_a_child_is_told_it_says(size: int) -> None:
    async def main() -> None:
        child = await python("-c", CAT, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        said = await asyncio.wait_for(child.communicate(BIG[:size]), DEADLINE_S)
        assert said == (BIG[:size], b"")
        assert child.returncode == 0

    run(main)


def test_both_outputs_come_apart_or_together() -> None:
    async def main() -> None:
        child = await python("-c", BOTH, stdout=PIPE, stderr=PIPE)
        assert await child.communicate() == (b"out\r\n", b"err\r\n")
        child = await python("-u", "-c", BOTH, stdout=PIPE, stderr=STDOUT)
        assert await child.communicate() == (b"out\r\nerr\r\n", None)
        child = await python("-c", BOTH, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
        assert await child.communicate() == (None, b"err\r\n")

    run(main)


def test_child_writes_into_a_file_and_a_pipe_of_the_program(tmp_path: Path) -> None:
    """Descriptors and file objects are handed on as subprocess does it."""

    async def main() -> None:
        read_end, write_end = os.pipe()
        child = await python("-c", BOTH, stdout=write_end, stderr=DEVNULL)
        os.close(write_end)
        assert await child.wait() == 0
        with os.fdopen(read_end, "rb") as file:
            assert file.read() == b"out\r\n"

    run(main)


def test_exit_codes_of_programs_and_of_a_shell() -> None:
    async def main() -> None:
        for code in (0, 7, 259, 0xC0000005):
            signed = code - (code >> 31 << 32)
            child = await python("-c", f"import os; os._exit({signed})")
            assert await child.wait() == code
        child = await asyncio.create_subprocess_shell("exit 9", stdout=PIPE)
        assert await child.communicate() == (b"", None)
        assert child.returncode == 9

    run(main)


def test_startupinfo_is_handed_on() -> None:
    """A handle is inherited by being named."""
    code = (
        "import msvcrt, os, sys;"
        "file = msvcrt.open_osfhandle(int(sys.argv[1]), os.O_RDONLY);"
        "print(os.read(file, 100).decode())"
    )

    async def main() -> None:
        import msvcrt

        read_end, write_end = os.pipe()
        handle = msvcrt.get_osfhandle(read_end)
        os.set_handle_inheritable(handle, True)
        startup = subprocess.STARTUPINFO()
        startup.lpAttributeList = {"handle_list": [handle]}
        os.write(write_end, b"inherited")
        child = await python("-c", code, str(handle), stdout=PIPE, startupinfo=startup)
        assert await child.communicate() == (b"inherited\r\n", None)
        os.close(read_end)
        os.close(write_end)

    run(main)


def test_creationflags_are_handed_on() -> None:
    """A child without a console has no code page of one."""
    code = "import ctypes; print(ctypes.WinDLL('kernel32').GetConsoleCP() > 0)"

    async def main() -> None:
        flags = (subprocess.CREATE_NO_WINDOW, subprocess.DETACHED_PROCESS)
        children = [await python("-c", code, stdout=PIPE, creationflags=flag) for flag in flags]
        said = [(await child.communicate())[0].strip() for child in children]
        assert said == [b"True", b"False"]

    run(main)


def test_child_that_does_not_listen_breaks_the_pipe() -> None:
    async def main() -> None:
        child = await python("-c", "pass", stdin=PIPE)
        assert child.stdin is not None
        child.stdin.write(BIG)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await asyncio.wait_for(child.stdin.drain(), DEADLINE_S)
        assert await child.wait() == 0
        child = await python("-c", "pass", stdin=PIPE)
        await asyncio.wait_for(child.communicate(BIG), DEADLINE_S)

    run(main)


@pytest.mark.parametrize("end", [Process.kill, Process.terminate])
def test_child_is_ended(end: Any) -> None:
    async def main() -> None:
        child = await python("-c", BLOCKED)
        assert child.returncode is None
        end(child)
        assert await asyncio.wait_for(child.wait(), DEADLINE_S) == child.returncode == 1
        with pytest.raises(ProcessLookupError):
            child.send_signal(signal.SIGTERM)

    run(main)


def test_waits_can_be_cancelled_and_taken_up_again() -> None:
    async def main() -> None:
        child = await python("-c", BLOCKED, stdout=PIPE)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(child.wait(), 0.02)
        waits = [asyncio.create_task(child.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waits[1].cancel()
        child.kill()
        assert await asyncio.wait_for(child.wait(), DEADLINE_S) == 1
        assert (await waits[0], await waits[2]) == (1, 1)
        assert waits[1].cancelled()

    run(main)


def test_start_that_is_cancelled_leaves_no_child() -> None:
    async def main() -> None:
        started: list[Any] = []
        protocol = asyncio.SubprocessProtocol

        async def start() -> None:
            started.append(await running().subprocess_exec(protocol, sys.executable, "-c", BLOCKED))

        task = asyncio.create_task(start())
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert started == []
        await eventually(lambda: "wait" not in running().port.in_flight_by_kind())

    run(main)


def test_program_that_is_not_there_is_refused_and_leaves_nothing() -> None:
    async def main() -> None:
        for _ in range(50):
            with pytest.raises(FileNotFoundError):
                await asyncio.create_subprocess_exec(
                    "no such program", stdin=PIPE, stdout=PIPE, stderr=PIPE
                )
        with pytest.raises(ValueError, match="text must be False"):
            await python("-c", "pass", text=True)
        assert running().port.in_flight_by_kind() == {}

    run(main)


def test_child_that_cannot_be_waited_for_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses the wait: the error comes out, and nothing is left running."""
    from pyiocp.aio import subprocess_transport

    pids: list[int] = []

    def refuse(_home: Any, process: Any, *_: Any) -> Any:
        pids.append(process.pid)
        raise OSError(1450, "no resources")

    monkeypatch.setattr(subprocess_transport.Process, "open", refuse)

    async def main() -> None:
        with pytest.raises(OSError, match="no resources"):
            await python("-c", BLOCKED, stdin=PIPE, stdout=PIPE, stderr=PIPE)

    run(main)
    monkeypatch.undo()
    assert len(pids) == 1
    with CompletionPort() as port, contextlib.suppress(OSError):  # gone altogether
        assert port.process(pid=pids[0]).exit_code == 1


def test_protocol_is_told_of_output_pipes_and_end() -> None:
    class Log(asyncio.SubprocessProtocol):
        def __init__(self) -> None:
            self.calls: list[Any] = []
            self.output = {1: b"", 2: b""}
            self.lost = asyncio.Event()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.calls.append("made")

        def pipe_data_received(self, fd: int, data: bytes) -> None:
            self.output[fd] += data

        def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
            self.calls.append((fd, exc))

        def process_exited(self) -> None:
            self.calls.append("exited")

        def connection_lost(self, exc: Exception | None) -> None:
            self.calls.append("lost")
            self.lost.set()

    async def main() -> None:
        transport, log = await running().subprocess_exec(
            Log, sys.executable, "-c", BOTH, stdin=None
        )
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert transport.get_pid() == transport.get_extra_info("subprocess").pid
        assert isinstance(transport.get_pipe_transport(1), asyncio.ReadTransport)
        await asyncio.wait_for(log.lost.wait(), DEADLINE_S)
        assert (log.calls[0], log.calls[-1]) == ("made", "lost")
        assert (log.output[1], log.output[2]) == (b"out\r\n", b"err\r\n")
        assert set(log.calls[1:-1]) == {(1, None), (2, None), "exited"}
        assert transport.get_returncode() == 0
        transport.close()

    run(main)


def test_much_output_waits_for_a_reader() -> None:
    """A child whose output nobody reads is stopped by the pipe; all of it comes afterwards."""
    code = f"import sys; sys.stdout.buffer.write(bytes(range(256)) * {len(BIG) // 256})"

    async def main() -> None:
        child = await python("-c", code, stdout=PIPE, limit=1000)
        await asyncio.sleep(0.2)
        assert child.returncode is None
        assert child.stdout is not None
        data = bytearray()
        while piece := await child.stdout.read(100_000):
            data += piece
        assert bytes(data) == BIG
        assert await child.wait() == 0

    run(main)


async def children(total: int, at_once: int) -> None:
    """Run so many in all, each with three pipes, and look at what each says."""
    room = asyncio.Semaphore(at_once)
    running_now = most = 0

    async def one(n: int) -> None:
        nonlocal running_now, most
        async with room:
            running_now += 1
            most = max(most, running_now)
            code = f"import sys; print(sys.stdin.read(), {n}); sys.exit({n % 200})"
            child = await python(*QUICK, code, stdin=PIPE, stdout=PIPE, stderr=PIPE)
            said = await child.communicate(b"number")
            assert said == (b"number %d\r\n" % n, b"")
            assert child.returncode == n % 200
            running_now -= 1

    threads = threading.active_count()
    handles = set(running().port.handles)
    async with asyncio.TaskGroup() as group:
        for n in range(total):
            group.create_task(one(n))
    assert most == at_once
    assert threading.active_count() == threads
    assert running().port.in_flight_by_kind() == {}
    assert running().port.handles == handles


def test_seventy_children_at_a_time_and_two_hundred_in_all() -> None:
    """cpython#89240: a thread for each, or 64 in all; here there is no thread."""
    run(lambda: children(200, 70))


@pytest.mark.soak
def test_a_thousand_children() -> None:
    async def main() -> None:
        await children(1000, 70)

    aio.run(main())


def test_seventy_children_wait_together() -> None:
    """All of them run at the same time, for certain: none ends before it is told to."""

    async def main() -> None:
        code = "import sys; print(1, flush=True); sys.stdin.read()"
        made = [await python(*QUICK, code, stdin=PIPE, stdout=PIPE) for _ in range(70)]
        for child in made:
            assert child.stdout is not None
            await asyncio.wait_for(child.stdout.readline(), DEADLINE_S)
        assert [child.returncode for child in made] == [None] * 70
        assert running().port.in_flight_by_kind()["wait"] == 70
        for child in made:
            assert child.stdin is not None
            child.stdin.close()
        assert await asyncio.gather(*(child.wait() for child in made)) == [0] * 70

    run(main)


@pytest.mark.usefixtures("no_errors_logged")
def test_loop_ends_children_that_run_when_it_is_closed() -> None:
    """Those that have ended meanwhile keep their code; and nothing is raised, then or later."""
    kept: list[Any] = []

    async def main() -> None:
        for _ in range(5):
            kept.append(await python("-c", BLOCKED, stdin=PIPE, stdout=PIPE))
            kept.append(await python("-c", "pass", stdin=PIPE, stdout=PIPE))

    loop = aio.new_event_loop()
    loop.run_until_complete(main())
    processes = [child._transport.get_extra_info("subprocess") for child in kept]
    for process in processes[1::2]:
        process.wait(DEADLINE_S)  # of which the loop hears when it closes
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        loop.close()
    assert [process.wait(DEADLINE_S) for process in processes] == [1, 0] * 5
    kept.clear()
    with warnings.catch_warnings():
        # From 3.13 on asyncio's own writers warn when they are collected.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_nothing_is_said_at_the_exit_of_a_program_that_leaves_children() -> None:
    code = (
        "import asyncio, sys\n"
        "from asyncio.subprocess import PIPE\n"
        "from pyiocp import aio\n"
        "kept = []\n"
        "async def main():\n"
        "    for _ in range(3):\n"
        "        kept.append(await asyncio.create_subprocess_exec(\n"
        f"            sys.executable, '-c', {BLOCKED!r}, stdin=PIPE, stdout=PIPE))\n"
        "        kept[-1].stdin.write(bytes(5_000_000))\n"
        "aio.run(main())\n"
        "print('over')\n"
    )
    result = run_python("-c", code)
    assert (result.stdout, result.stderr, result.returncode) == ("over\n", "", 0)


def test_pools_of_processes_and_threads_work_as_they_are() -> None:
    async def main() -> None:
        loop = running()
        with concurrent.futures.ProcessPoolExecutor(2) as pool:
            found = await asyncio.gather(*(loop.run_in_executor(pool, abs, -n) for n in range(9)))
        assert found == list(range(9))
        assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()

    run(main)


def test_child_is_started_by_a_loop_in_another_thread() -> None:
    """No signal, and no main thread, is needed."""
    found: list[Any] = []

    async def main() -> None:
        child = await python("-c", CAT, stdin=PIPE, stdout=PIPE)
        found.append(await child.communicate(b"from a thread"))

    thread = threading.Thread(target=run, args=(main,))
    thread.start()
    thread.join(3 * DEADLINE_S)
    assert found == [(b"from a thread", None)]
