"""HonestClient: a client that asks and waits for the answer, over and over, and counts.

Tests of attacks measure the service of one, alone and beside the attacker, and compare the two:
never with milliseconds, which depend on the machine.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self


class HonestClient:
    """A blocking client in a thread of its own.

    address: the server's.
    question: what it sends each time.
    answer_bytes: how many bytes it waits for; None for as many as it asked with.
    """

    def __init__(self, address: Any, question: bytes, answer_bytes: int | None = None) -> None:
        self._question = question
        self._answer_bytes = len(question) if answer_bytes is None else answer_bytes
        self._socket = socket.create_connection(address[:2], timeout=60)
        self._ending = False
        self.rounds = 0
        """How many answers have come."""
        self.error: OSError | None = None
        """Why it gave up, if it did."""
        self._thread = threading.Thread(target=self._ask, name="honest client", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._socket.close()
        assert not self._thread.is_alive()

    def _ask(self) -> None:
        try:
            while not self._ending:
                self._socket.sendall(self._question)
                missing = self._answer_bytes
                while missing:
                    part = self._socket.recv(missing)
                    if not part:
                        raise ConnectionAbortedError("the server has closed the connection")
                    missing -= len(part)
                self.rounds += 1
        except OSError as error:
            if not self._ending:
                self.error = error

    def rounds_in(self, seconds: float) -> int:
        """Return how many answers come in the next seconds; raise what ended it."""
        before = self.rounds
        time.sleep(seconds)
        if self.error is not None:
            raise self.error
        return self.rounds - before
