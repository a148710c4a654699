"""C42: where the main thread of `threading` is not the one that Python runs signal handlers in.

That is so in a subinterpreter, which has none, and up to Python 3.12 where another thread was the
first to import `threading`. `signal` refuses what it is asked there with a ValueError. Each program
runs in a process of its own, which has imported nothing before.
"""

from __future__ import annotations

import sys
import textwrap

import pytest
from commands import run_python

SERVES = """
import socket
from pyiocp import CompletionPort, Session

class Echo(Session):
    def on_receive(self, data):
        self.send(data)
    def on_close(self, error):
        port.stop()

with CompletionPort() as port:
    port.post("posted")
    print(port.wait(10)[0].key)
    called = []
    port.call_later(0.01, called.append, "later")
    while not called:
        port.wait(0.1)
    print(called[0])
    listener = port.listen(("127.0.0.1", 0), Echo)
    client = socket.create_connection(listener.address)
    client.sendall(b"echoed")
    client.shutdown(socket.SHUT_WR)
    port.run(threads=THREADS)
    print(client.recv(100).decode())
    client.close()
"""

SERVED = ["posted", "later", "echoed"]


def run_alone(program: str) -> list[str]:
    """Run a program without `site`, which may import `threading`; return what it prints."""
    begin = f"import sys; sys.path[:] = {sys.path!r}; assert 'threading' not in sys.modules\n"
    done = run_python("-S", "-c", begin + textwrap.dedent(program))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout.split()


@pytest.mark.parametrize("threads", [1, 2])
def test_port_serves_in_a_subinterpreter(threads: int) -> None:
    """In one that shares the GIL, where all extension modules load: in its main thread."""
    body = f"import sys; sys.path[:] = {sys.path!r}\n" + SERVES.replace("THREADS", str(threads))
    module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    legacy = "'legacy'" if sys.version_info >= (3, 13) else "isolated=False"
    program = f"""
        import {module} as interpreters
        made = interpreters.create({legacy})
        failure = interpreters.run_string(made, {body!r})
        if failure is not None:
            raise RuntimeError(failure.errdisplay)
        interpreters.destroy(made)
    """
    assert run_alone(program) == SERVED


@pytest.mark.parametrize("threads", [1, 2])
def test_port_serves_in_a_thread_that_was_the_first_to_import_threading(threads: int) -> None:
    """As a thread that C code has started may be; it is not the one that gets signals."""
    body = SERVES.replace("THREADS", str(threads))
    program = f"""
        import _thread
        ended = _thread.allocate_lock()
        ended.acquire()
        def serve():
            try:
                exec({body!r}, {{"__name__": "served"}})
            finally:
                ended.release()
        _thread.start_new_thread(serve, ())
        ended.acquire()
    """
    assert run_alone(program) == SERVED


def test_ctrl_c_ends_a_wait_of_the_thread_that_gets_it() -> None:
    """Although another thread was the first to import `threading`, and waited on a port first."""
    program = """
        import _thread
        ended = _thread.allocate_lock()
        ended.acquire()
        def wait_first():
            from pyiocp import CompletionPort
            with CompletionPort() as port:
                port.wait(0)
            ended.release()
        _thread.start_new_thread(wait_first, ())
        ended.acquire()

        import signal, threading, time
        from pyiocp import CompletionPort
        from pyiocp.engine import poller
        poller._WAIT_MAX_MS = 60_000  # or the wait ends by itself, and shows nothing
        with CompletionPort() as port:
            def press():
                while not port._queue.waiting:
                    time.sleep(0.001)
                signal.raise_signal(signal.SIGINT)
            pressing = threading.Thread(target=press)
            for wait in (port.wait, port.run):
                pressing = threading.Thread(target=press)
                pressing.start()
                try:
                    wait()
                except KeyboardInterrupt:
                    print("interrupted")
                pressing.join()
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """
    assert run_alone(program) == ["interrupted", "interrupted", "True"]
