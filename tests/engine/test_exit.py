"""C17: an interpreter that ends, and a port that is dropped, with operations in flight.

Each test runs a program in an interpreter of its own, to its end within a bound, and looks
at the exit code and at everything that was printed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

BOUND_S = 180
"""How long a program may take: starting the interpreter is most of it. Over that it hangs."""

IN_FLIGHT = '''
    import ctypes, gc, os, signal, socket, sys, threading, time, warnings
    from pyiocp import CompletionPort, Kernel, Session

    def ender():
        """Return what ends the process with an odd exit code when its owner is freed.

        A capsule, because a garbage collection calls what Python objects have as finalizers
        before it knows whether they go.
        """
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        return new(1, None, ctypes.cast(ctypes.WinDLL("kernel32").ExitProcess, ctypes.c_void_p))

    class Buffer(bytearray):
        def __del__(self, write=os.write):
            write(1, b"freed\\n")

    class SacredBuffer(bytearray):
        def __init__(self, size):
            super().__init__(size)
            self.ender = ender()

    def fill(port):
        "Have a receive, an accept and a send in flight, and a zero-byte receive."
        ours, peer = socket.socketpair()
        stream = port.stream(ours)
        stream.receive(bytearray(100))
        stream.receive()
        peers.append(peer)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while "send" not in port.in_flight_by_kind():
            stream.send(bytes(1 << 22))
        listening = port.stream()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.accept()
        assert port.in_flight_by_kind() == {"receive": 2, "send": 1, "accept": 1}
        return stream

    class Stuck(Kernel):
        """A kernel that gives nothing back.

        Not for a large send: Wine may not let its process end when such a send has been
        neither cancelled nor taken and its socket is closed.
        """
        def __init__(self):
            super().__init__()
            self.CancelIoEx = lambda *arguments: 1

    peers = []
    '''
"""What every program begins with."""

UNCLOSED = "unclosed <CompletionPort"
UNCLOSED_AT_EXIT = "unclosed at exit: <CompletionPort"
KEPT = "Their memory is kept for the life of the process."


def run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    source = textwrap.dedent(IN_FLIGHT) + textwrap.dedent(program)
    return subprocess.run(
        [sys.executable, *options, "-c", source],
        input="",
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Return the exit code and what was printed."""
    return done.returncode, done.stdout, done.stderr


# The ways to end


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("os._exit(5)", 5),
        ("threading.Thread(target=port.run, daemon=True).start(); sys.exit(7)", 7),
        ("threading.Thread(target=port.wait, daemon=True).start(); port.wait(0.05)", 0),
        # A thread that never gives the interpreter a chance to end it.
        ("port.call_soon(time.sleep, 999); threading.Thread(target=port.run, daemon=True).start()"
         "; time.sleep(0.1); sys.exit(8)", 8),
    ],
)  # fmt: skip
def test_exit_with_operations_in_flight_is_silent(ending: str, code: int) -> None:
    """C17: the exit code is the program's own, and by default nothing at all is printed."""
    program = f"port = CompletionPort(); fill(port)\n{ending}"
    assert outcome(run(program)) == (code, "", "")


def test_exit_with_sessions_is_silent() -> None:
    """A listener with its accepts, a client that is connected, and both ends' receives."""
    program = """
        port = CompletionPort()
        listener = port.listen(("127.0.0.1", 0), Session)
        class Client(Session):
            def on_connect(self):
                port.stop()
        port.connect(listener.address, Client)
        port.run()
        assert port.in_flight_by_kind()["accept"] == 32
        sys.exit(9)
        """
    assert outcome(run(program)) == (9, "", "")


def test_exit_after_close_is_silent_with_every_warning_an_error() -> None:
    program = """
        with CompletionPort() as port:
            stream = fill(port)
        for peer in peers:
            peer.close()
        """
    assert outcome(run(program, "-W", "error")) == (0, "", "")


def test_exit_by_an_exception_prints_that_and_nothing_else() -> None:
    done = run("port = CompletionPort(); fill(port); raise RuntimeError('the reason')")
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert (lines[0], lines[-1]) == (
        "Traceback (most recent call last):",
        "RuntimeError: the reason",
    )
    assert sum("Traceback" in line for line in lines) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_sys_exit_in_a_hook_ends_the_program(threads: int) -> None:
    """With two workers the hook runs in the one that is not the main thread."""
    program = f"""
        port = CompletionPort(); fill(port)
        def hook():
            if {threads} == 2 and threading.current_thread() is threading.main_thread():
                port.call_soon(hook)
                time.sleep(0.01)
            else:
                sys.exit(11)
        port.call_soon(hook)
        port.run(threads={threads})
        """
    assert outcome(run(program)) == (11, "", "")


def test_sys_exit_in_a_hook_that_close_calls_ends_the_program() -> None:
    """The hook comes while the port drains; what is left is drained at the exit."""
    program = """
        class K(Kernel):
            def __init__(self):
                super().__init__()
                close = self.CloseHandle
                self.CloseHandle = lambda n: (os.write(1, b"closed\\n"), close(n))[1]
        port = CompletionPort(kernel=K()); fill(port)
        port.call_soon(sys.exit, 12)
        port.close()
        """
    assert outcome(run(program)) == (12, "closed\n", "")


def test_exit_while_another_thread_closes() -> None:
    """A daemon thread is in close(), waiting for what does not come back in time."""
    program = """
        ours, peer = socket.socketpair()
        port = CompletionPort(kernel=Stuck())
        port.stream(ours).receive(bytearray(100))
        closing = threading.Thread(target=port.close, kwargs={"timeout": 2}, daemon=True)
        closing.start()
        while not port._queue.closing:
            time.sleep(0.001)
        sys.exit(13)
        """
    assert outcome(run(program)) == (13, "", "")


def test_terminated_process_is_gone_at_once() -> None:
    """TerminateProcess, which ``os.kill`` is on Windows: no Python code runs any more."""
    program = "port = CompletionPort(); fill(port); os.kill(os.getpid(), signal.SIGTERM)"
    assert outcome(run(program)) == (signal.SIGTERM, "", "")


def test_process_ended_by_another_is_gone_at_once() -> None:
    """While it waits, and with a second thread in run()."""
    program = """
        port = CompletionPort(); fill(port)
        threading.Thread(target=port.run, daemon=True).start()
        os.write(1, b"waits\\n")
        CompletionPort().wait()
        """
    source = textwrap.dedent(IN_FLIGHT) + textwrap.dedent(program)
    with subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.kill()
        assert process.communicate(timeout=BOUND_S) == ("", "")
        assert process.returncode == 1


def test_unhandled_ctrl_c_in_a_wait_ends_as_in_any_python_program() -> None:
    """The exit code is STATUS_CONTROL_C_EXIT, and the traceback ends in KeyboardInterrupt."""
    program = """
        port = CompletionPort(); fill(port)
        def interrupt():
            while not port._queue.waiting:
                time.sleep(0.001)
            signal.raise_signal(signal.SIGINT)
        threading.Thread(target=interrupt).start()
        port.wait()
        """
    done = run(program)
    assert done.returncode & 0xFFFFFFFF == 0xC000013A
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("", "KeyboardInterrupt")


# What is said about it


def test_port_left_open_at_exit_is_named() -> None:
    """A ResourceWarning says what was in flight; Python shows it when it is asked to."""
    done = run("port = CompletionPort(); fill(port)", "-W", "always::ResourceWarning")
    assert done.returncode == 0
    assert done.stderr.count(UNCLOSED_AT_EXIT) == 1
    assert "2 receive, 1 send, 1 accept in flight" in done.stderr
    assert KEPT not in done.stderr


def test_every_port_is_closed_at_exit_although_each_warning_is_an_error() -> None:
    """Three ports are open, and closing one ends in an exception: the others are closed too."""
    program = """
        class K(Kernel):
            def __init__(self):
                super().__init__()
                close = self.CloseHandle
                self.CloseHandle = lambda n: (os.write(1, b"closed\\n"), close(n))[1]
        ports = [CompletionPort(kernel=K()) for _ in range(3)]
        for port in ports:
            fill(port)
        """
    done = run(program, "-W", "error::ResourceWarning")
    assert (done.returncode, done.stdout) == (0, "closed\n" * 3)
    assert UNCLOSED_AT_EXIT in done.stderr


DROPPED = """
class K(Kernel):
    def __init__(self):
        super().__init__()
        close = self.CloseHandle
        def closing(n):
            os.write(1, b"closed\\n")
            return close(n)
        self.CloseHandle = closing
port = CompletionPort(kernel=K())
fill(port).receive(Buffer(10))
del port
gc.collect()
os.write(1, b"collected\\n")
"""
"""A program that drops a port with operations in flight, and tells what goes when."""


def test_dropped_port_drains_and_is_named() -> None:
    """Nobody holds the port any more: the kernel has given all back before its memory goes."""
    done = run(DROPPED, "-W", "always::ResourceWarning")
    # Which comes first depends on the rounds in which the kernel gives back what it has.
    *ends, last = done.stdout.split()
    assert (done.returncode, sorted(ends), last) == (0, ["closed", "freed"], "collected")
    assert UNCLOSED in done.stderr
    assert "3 receive, 1 send, 1 accept in flight" in done.stderr
    assert KEPT not in done.stderr


def test_dropped_port_drains_although_the_warning_is_an_error() -> None:
    """The exception of the warning must not come between the port and its draining."""
    done = run(DROPPED, "-W", "error::ResourceWarning")
    *ends, last = done.stdout.split()
    assert (done.returncode, sorted(ends), last) == (0, ["closed", "freed"], "collected")
    assert UNCLOSED in done.stderr


def test_port_that_could_not_be_made_is_dropped_in_silence() -> None:
    program = """
        for bad in ({"batch": 0}, {"concurrency": -1}):
            try:
                CompletionPort(**bad)
            except ValueError:
                pass
        """
    assert outcome(run(program, "-W", "error")) == (0, "", "")


# What the kernel does not give back


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("port.close(timeout=0.1)", 0),
        ("sys.exit(4)", 4),
        ("del port, stream; gc.collect()", 0),
    ],
    ids=["close", "exit", "drop"],
)
@pytest.mark.parametrize("filter_", ["always", "error"])
def test_what_the_kernel_keeps_is_kept_and_named(ending: str, code: int, filter_: str) -> None:
    """C17: CancelIoEx does nothing here, so that the receive's memory is the kernel's for ever.

    The buffer would end the process if it were freed, at the interpreter's very end too,
    where the modules that hold it are taken apart.
    """
    program = f"""
        ours, peer = socket.socketpair()
        peer.detach()
        port = CompletionPort(kernel=Stuck())
        stream = port.stream(ours)
        stream.receive(SacredBuffer(100))
        try:
            {ending}
        except ResourceWarning as warning:
            print(warning, file=sys.stderr)
        """
    done = run(program, "-W", f"{filter_}::ResourceWarning")
    assert (done.returncode, done.stdout) == (code, "")
    assert KEPT in done.stderr
    assert "closed with operations in flight after" in done.stderr
    assert "s: 1 receive. " in done.stderr
