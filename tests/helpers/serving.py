"""Servers in another thread of the test's own process, for the commands that need one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyiocp import CompletionPort, Session


class Echo(Session):
    """Sends back what comes."""

    def on_receive(self, data: memoryview) -> None:
        self.send(data)


@contextmanager
def running(port: CompletionPort) -> Iterator[None]:
    """Run the port in another thread, as another program would."""
    thread = threading.Thread(target=port.run)
    thread.start()
    try:
        yield
    finally:
        port.stop()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def served(factory: Callable[[], Session]) -> Iterator[str]:
    """Serve; give the address."""
    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), factory)
        with running(port):
            yield f"127.0.0.1:{listener.address[1]}"
