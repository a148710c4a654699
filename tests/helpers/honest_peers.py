"""HonestPeers: one new peer of a datagram server after the other, each for two answers.

For attacks that lock new peers out: what they do to those that are in is `HonestClient`'s.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any, Self

from pyiocp import AddressValidation


class HonestPeers:
    """A thread whose peers ask twice, each from a port of its own, and wait for both answers.

    As protocols over UDP do, it asks again when no answer has come: datagrams get lost.

    address: the server's, which echoes.
    validated: whether a peer has to bring back a token first.
    """

    def __init__(self, address: Any, *, validated: bool = False) -> None:
        self._address = address
        self._validated = validated
        self._ending = False
        self.let_in = 0
        """How many peers have had both answers."""
        self.error: BaseException | None = None
        """What went wrong, if something did."""
        self._thread = threading.Thread(target=self._run, name="honest peers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    def let_in_within(self, seconds: float) -> int:
        """Return how many are let in in the next seconds."""
        before = self.let_in
        time.sleep(seconds)
        return self.let_in - before

    def _run(self) -> None:
        try:
            while not self._ending:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                    peer.connect(self._address)
                    peer.settimeout(0.1)
                    hello = AddressValidation.no_token + b"hello"
                    if self._validated:
                        token = self._answer(peer, hello, lambda a: len(a) == 20)
                        hello = token + b"hello"
                    self._answer(peer, hello, lambda a, hello=hello: a == hello)
                    if self._answer(peer, b"more", lambda a: a == b"more"):
                        self.let_in += 1
        except BaseException as error:  # the test asks for it
            self.error = error
            raise

    def _answer(self, peer: socket.socket, question: bytes, fits: Any) -> bytes:
        """Ask until the answer comes; return b"" when it is time to end, or to begin again."""
        for _ in range(20):
            if self._ending:
                break
            peer.send(question)
            try:
                while not fits(answer := peer.recv(100)):
                    pass
            except TimeoutError:
                continue
            return answer
        return b""
