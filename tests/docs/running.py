"""Runs code as a user would, with an end: a server gets a visitor, and then Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any, Self

from visitors import VISITORS, WITHIN_S

SHOWN_PORT = "9000"
"""The port number that every server on the pages has; another one is put in its place."""


def compiled(text: str, name: str, line: int = 1) -> CodeType:
    """Compile code so that a traceback shows the line of the page."""
    return compile("\n" * (line - 1) + text, name, "exec")


def unused_port() -> int:
    """Return a TCP port number that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Visit:
    """A visitor in a thread of its own, who presses Ctrl-C on leaving."""

    def __init__(self, name: str, port: int, end: Callable[[], None]) -> None:
        self._visitor = VISITORS[name]
        self._port = port
        self._end = end
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._over = False
        self._thread = threading.Thread(target=self._visit, name=f"visitor {name}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True  # no Ctrl-C any more: it would hit whatever runs next
        self._thread.join(2 * WITHIN_S)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def _visit(self) -> None:
        try:
            self._visitor(self._port)
        except BaseException as failure:  # noqa: BLE001, raised in the test's thread
            self._failure = failure
        finally:
            with self._lock:
                if not self._over:
                    self._end()


def press_ctrl_c() -> None:
    """Do what the console does."""
    signal.raise_signal(signal.SIGINT)


def run_until_ctrl_c(code: str, name: str, line: int, visitor: str) -> None:
    """Run a server that listens at port 9000 in the code, until its visitor has left."""
    assert SHOWN_PORT in code, "a server on these pages listens at port 9000"
    port = unused_port()
    namespace: dict[str, Any] = {"__name__": "__main__"}
    program = compiled(code.replace(SHOWN_PORT, str(port)), name, line)
    with Visit(visitor, port, press_ctrl_c), contextlib.suppress(KeyboardInterrupt):
        exec(program, namespace)


def serve_class(session_class: Any, visitor: str) -> None:
    """Serve with a session class until its visitor has left."""
    from pyiocp import CompletionPort

    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), session_class)
        with Visit(visitor, listener.address[1], port.stop):
            port.run()
