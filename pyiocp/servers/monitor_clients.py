"""The clients of a monitor: what they may ask, how often, and for how long they may be silent.

A client sends a line with a JSON object, such as ``{"slowest": 5}``, and gets a line with another.
Then it may ask again. A line that is not a valid question is answered with an error, and its
connection is closed. A connection is also closed if its client asks again before it has been
answered, is silent, or does not take the answer. None of that is logged: anybody who can connect
could fill the log.

What all of them together cost is bounded, however many there are and whatever they do:

- there are `CLIENTS_MAX` at a time; the others wait outside, and the next comes in after a pause;
- one sample answers all that have asked by then, and after a sample there is a pause `_SHARE` times
  as long, but `_PAUSE_MAX_S` at most: the port's threads have that time for the sessions.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

from ..errors import HandleClosedError, IocpError, PortClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home
    from ..engine.operation import Operation
    from ..engine.packet import Receiver
    from ..engine.timers import ScheduledCall
    from .monitor_endpoints import End, Endpoint

    Step = Callable[[Operation, int, int], None]

SLOWEST_MAX = 100
"""The most sessions that a sample lists."""

CLIENTS_MAX = 16
"""How many clients there may be at a time."""

QUESTION_BYTES_MAX = 1024
"""How long a question may be, without the end of its line."""

_ACCEPT_PAUSE_S = 0.02
"""Seconds from one client to the next: what connects again and again costs little."""

_RETRY_S = 1.0
"""Seconds until clients are accepted again after the system has refused that."""

_SHARE = 19
"""How much longer than a sample the pause after it is: samples take a twentieth of one thread's
time, as long as one takes no more than 0.1 s."""

_PAUSE_MAX_S = 2.0
"""The longest such pause. It goes before the share: a client waits only some seconds for its
answer."""


class Clients:
    """Accepts clients, and answers them. Any thread may call any method.

    sample: returns what to answer; called with how many sessions to list.
    """

    def __init__(
        self, home: Home, endpoint: Endpoint, sample: Callable[[int], dict[str, Any]]
    ) -> None:
        self.home = home
        self.endpoint = endpoint
        self.accepted = 0
        self._sample = sample
        #: Reentrant: the user's signal handler may close the port.
        self._lock = threading.RLock()
        self._clients: set[ClientConnection] = set()
        self._accepting = False
        #: Whether there is no accept because there are as many clients as may be.
        self._full = False
        self._asked: list[tuple[ClientConnection, int]] = []
        #: Whether there is a sample to come, or under way.
        self._answering = False
        self._free_at = home.kernel.monotonic()
        self._accept()

    def close(self) -> None:
        """Accept no more clients, and end the connections."""
        self.endpoint.close()
        for client in list(self._clients):
            client.disconnect()

    # Coming and going

    def _accept(self) -> None:
        """Wait for the next client, unless there are as many as may be."""
        with self._lock:
            self._full = len(self._clients) >= CLIENTS_MAX
            if self._accepting or self._full or self.endpoint.closed:
                return
            self._accepting = True
        try:
            self.endpoint.accept(self._on_accept)
        except BaseException as error:
            self._accepting = False
            if not isinstance(error, HandleClosedError):
                self._later(_RETRY_S)
            if not isinstance(error, (IocpError, HandleClosedError)):
                raise

    def _later(self, seconds: float) -> None:
        """Wait for the next client after a pause, unless there is to be none."""
        if not self.endpoint.closed:
            with contextlib.suppress(PortClosedError):
                self.home.call_later(seconds, self._accept)

    def _on_accept(self, operation: Any, count: int, status: int) -> None:
        try:
            operation.finish(count, status)
            end = operation.accepted
            if end is not None:
                end.internal = True
                self.accepted += 1
                client = ClientConnection(self, end)
                self._clients.add(client)
                if self.endpoint.closed:
                    client.disconnect()
                else:
                    client.start()
        finally:
            self._accepting = False
            self._later(_ACCEPT_PAUSE_S)

    def left(self, client: ClientConnection) -> None:
        """Forget a client whose connection has ended."""
        with self._lock:
            self._clients.discard(client)
            was_full, self._full = self._full, False
        if was_full:
            self._later(_ACCEPT_PAUSE_S)

    # Answering

    def ask(self, client: ClientConnection, slowest: int) -> None:
        """Answer a client when it is time."""
        with self._lock:
            self._asked.append((client, slowest))
            if not self._answering:
                self._answering = True
                wait = max(0.0, self._free_at - self.home.kernel.monotonic())
                self.home.call_later(wait, self._answer)

    def _answer(self) -> None:
        """Answer all that have asked by now, with one sample."""
        monotonic = self.home.kernel.monotonic
        begun = monotonic()
        with self._lock:
            asked, self._asked = self._asked, []
        try:
            sample = self._sample(max(slowest for _, slowest in asked))
            for client, slowest in asked:
                client.answer(sample | {"slowest": sample["slowest"][:slowest]})
        except BaseException:
            for client, _ in asked:
                client.disconnect()
            raise
        finally:
            now = monotonic()
            pause = min(_SHARE * (now - begun), _PAUSE_MAX_S)
            with self._lock:
                self._free_at = now + pause
                self._answering = bool(self._asked)
                if self._asked:
                    self.home.call_later(pause, self._answer)


class ClientConnection:
    """One connection: a question, its answer, and so on, never two things at once."""

    first_question_s = 5.0
    """Seconds for the first question: clients that only connect keep nobody out."""
    idle_s = 60.0
    """Seconds for each of: taking an answer and asking the next question, in all of its bytes."""

    def __init__(self, clients: Clients, end: End) -> None:
        self._clients = clients
        self._endpoint = clients.endpoint
        self._end = end
        self._buffer = bytearray(QUESTION_BYTES_MAX + 2)  # one more than a line that is too long
        self._length = 0
        self._last = False
        self._deadline: ScheduledCall | None = None

    def start(self) -> None:
        """Wait for the first question."""
        self._limit(self.first_question_s)
        self._read()

    def disconnect(self) -> None:
        """End the connection at once, also if the client does not close it."""
        self._endpoint.disconnect(self._end)
        self._leave()

    def _leave(self) -> None:
        """End the connection, after what has been sent. May be called again."""
        self._end.close()
        if self._deadline is not None:
            self._deadline.cancel()
        self._clients.left(self)

    def _limit(self, seconds: float) -> None:
        """Disconnect the client after some seconds, and not at the time set before."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._clients.home.call_later(seconds, self.disconnect)

    def _post(self, operation: Operation, step: Step) -> None:
        """Post an operation, and take the step when it has succeeded."""
        operation.receiver = self._receiver(step)
        try:
            operation.post()
        except (IocpError, HandleClosedError, PortClosedError):
            self._leave()  # the client has gone, or the port goes

    def _receiver(self, step: Step) -> Receiver:
        def receive(operation: Any, count: int, status: int) -> None:
            try:
                if operation.finish(count, status).error is None and count:
                    step(operation, count, status)
                else:
                    self._leave()
            except PortClosedError:
                self._leave()
            except BaseException:  # a signal handler of the user's, say
                self.disconnect()
                raise

        return receive

    def _read(self) -> None:
        room = memoryview(self._buffer)[self._length :]
        self._post(self._endpoint.read(self._end, room), self._on_read)

    def _on_read(self, _operation: Operation, count: int, _status: int) -> None:
        self._length += count
        question, newline, rest = bytes(self._buffer[: self._length]).partition(b"\n")
        if rest:
            self.disconnect()  # it did not wait for the answer
        elif newline:
            self._length = 0
            self._ask(question)
        elif self._length > QUESTION_BYTES_MAX:
            self.disconnect()
        else:
            self._read()

    def _ask(self, question: bytes) -> None:
        self._limit(self.idle_s)  # also for the pause before the answer
        try:
            wanted = slowest_wanted(question)
        except ValueError as error:
            self._last = True
            self.answer({"error": str(error)})
        else:
            self._clients.ask(self, wanted)

    def answer(self, value: dict[str, Any]) -> None:
        """Send a line, and go on when the client has taken it."""
        line = json.dumps(value).encode() + b"\n"
        self._post(self._endpoint.write(self._end, line), self._on_written)

    def _on_written(self, _operation: Operation, _count: int, _status: int) -> None:
        if self._last:
            self._leave()
        else:
            self._limit(self.idle_s)
            self._read()


def slowest_wanted(question: bytes) -> int:
    """Return how many sessions a client wants to see.

    Raises ValueError for anything but such a question.
    """
    try:
        wanted = json.loads(question)
    except (ValueError, RecursionError):
        raise ValueError("a line with a JSON object is needed") from None
    if not isinstance(wanted, dict):
        raise ValueError(f"a JSON object is needed, not {_name_of(wanted)}")
    unknown = sorted(wanted.keys() - {"slowest"})
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; there is slowest")
    slowest = wanted.get("slowest", 5)
    if type(slowest) is not int:
        raise ValueError(f"slowest must be a whole number, not {_name_of(slowest)}")
    if not 0 <= slowest <= SLOWEST_MAX:
        raise ValueError(f"slowest must be 0 to {SLOWEST_MAX}")
    return slowest


def _name_of(value: Any) -> str:
    """Return what kind of value it is in JSON, not the value: that may be long, or deep."""
    return _NAMES[type(value)]


_NAMES = {
    list: "an array",
    dict: "an object",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number with a fraction",
    type(None): "null",
}
