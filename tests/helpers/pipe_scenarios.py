"""What a pipe does, as scenarios: accepts, reads, writes, transactions, connects."""

from __future__ import annotations

from typing import Any, ClassVar

from completions import one
from pipe_ends import connected, unused_name
from scenario import (
    CANCELLED,
    CLOSED,
    FAILURE,
    ON_THE_SPOT,
    Cell,
    Elsewhere,
    Impossible,
    Outcome,
    Scenario,
)

from pyiocp import IocpError, PathNotFoundError, Pipe, PipeBusyError
from pyiocp.winapi import ERROR_NO_SYSTEM_RESOURCES, INVALID_HANDLE_VALUE

MUCH = bytes(1 << 18)
"""More than a pipe of `SIZE` has room for."""
SIZE = 4096


class OfAPair(Scenario):
    """On the server's end of a pipe whose client is on the same port."""

    refusal = (ERROR_NO_SYSTEM_RESOURCES, 0)
    message = False
    spoiled = frozenset({FAILURE})

    def set_up(self) -> None:
        ours, peer = connected(self.port, message=self.message, buffer_size=SIZE)
        self.handle: Pipe = self.owns(ours)
        self.peer: Pipe = self.owns(peer)

    def of_peer(self) -> Any:
        """Return the completion of what the peer has posted last."""
        completion = one(self.port)
        assert completion.key == "theirs"
        return completion


class Read(OfAPair):
    method = "Pipe.read"
    function = "ReadFile"
    failure = IocpError

    def post(self) -> Any:
        return self.handle.read(bytearray(16))

    def complete(self, operation: Any) -> None:
        self.peer.write(b"data")

    def take(self) -> Any:
        """Return the read's completion, and not that of the peer's write."""
        seen = [one_of for one_of in self.everything() if one_of.key == "ours"]
        [completion] = seen
        return completion

    def everything(self) -> list[Any]:
        """Take what has come, until nothing is in flight."""
        seen = [*self.port.wait(60)]
        while self.port.in_flight_by_kind():
            seen += self.port.wait(60)
        return [*seen, *self.port.wait(0)]

    def post_ready(self) -> Any:
        self.complete(None)
        self.of_peer()
        return self.post()

    def post_failing(self) -> Any:
        """ERROR_PIPE_NOT_CONNECTED: there is no client any more."""
        self.handle.disconnect()
        return self.post()

    def check(self, completion: Any) -> None:
        assert bytes(completion.data) == b"data"


class Write(Read):
    method = "Pipe.write"
    function = "WriteFile"
    spoiled = frozenset({FAILURE, CANCELLED})

    def post(self) -> Any:
        return self.handle.write(MUCH)

    def complete(self, operation: Any) -> None:
        count = 0
        buffer = bytearray(len(MUCH))
        while count < len(MUCH):
            self.peer.read(buffer)
            completions = self.port.wait(10, limit=1)
            [completion] = completions
            if completion.key == "ours":
                self.kept = completion
                continue
            count += completion.bytes

    def post_ready(self) -> Any:
        self.peer.read(bytearray(16))
        return self.handle.write(b"data")

    def check(self, completion: Any) -> None:
        assert completion.bytes in (4, len(MUCH))


class Transact(Read):
    method = "Pipe.transact"
    function = "TransactNamedPipe"
    message = True
    cells: ClassVar[dict[Outcome, Cell]] = {
        ON_THE_SPOT: Elsewhere(
            "handles/pipes/test_pipe_messages.py", "test_answer_may_come_within_the_call"
        )
    }

    def post(self) -> Any:
        return self.handle.transact(b"question", bytearray(16))

    def complete(self, operation: Any) -> None:
        self.peer.read(bytearray(16))
        self.peer.write(b"data")


class Accept(Scenario):
    method = "Pipe.accept"
    function = "ConnectNamedPipe"
    refusal = (ERROR_NO_SYSTEM_RESOURCES, 0)
    cells: ClassVar[dict[Outcome, Cell]] = {
        ON_THE_SPOT: Impossible(
            "an instance that was disconnected lets nobody in before it accepts"
        ),
        FAILURE: Impossible("a client that was there before, or has gone, is a success: C21"),
    }

    def set_up(self) -> None:
        self.name = unused_name()
        server = self.owns(self.port.pipe_server(self.name, instances=1))
        accept = server.accept()
        self.owns(self.port.pipe(self.name)).close()
        assert one(self.port).error is None
        assert accept.accepted is not None
        self.handle: Pipe = self.owns(accept.accepted)
        self.handle.disconnect()

    def post(self) -> Any:
        return self.handle.accept()

    def complete(self, operation: Any) -> None:
        self.client = self.owns(self.port.pipe(self.name))

    def post_ready(self) -> Any:
        """The client is there before: ERROR_PIPE_CONNECTED."""
        self.complete(None)
        return self.post()

    def check(self, completion: Any) -> None:
        assert completion.operation.accepted is self.handle
        self.client.close()
        self.handle.disconnect()


class ServerAccept(Accept):
    method = "PipeServer.accept"
    failure = PipeBusyError
    cells: ClassVar[dict[Outcome, Cell]] = {}

    def set_up(self) -> None:
        self.name = unused_name()
        self.handle: Any = self.owns(self.port.pipe_server(self.name))

    def post_failing(self) -> Any:
        """ERROR_PIPE_BUSY: the only instance has its client."""
        server = self.owns(self.port.pipe_server(unused_name(), instances=1))
        server.accept()
        self.owns(self.port.pipe(server.name))
        self.owns(one(self.port).operation.accepted)
        return server.accept()

    def check(self, completion: Any) -> None:
        completion.operation.accepted.close()
        self.client.close()


class Connect(Scenario):
    """A wait for a server all of whose instances are busy."""

    method = "CompletionPort.connect_pipe"
    function = "CreateFileW"
    refusal = (ERROR_NO_SYSTEM_RESOURCES, int(INVALID_HANDLE_VALUE))
    failure = PathNotFoundError
    cells: ClassVar[dict[Outcome, Cell]] = {
        CLOSED: Impossible("there is no handle yet to be closed")
    }

    def set_up(self) -> None:
        self.server = self.owns(self.port.pipe_server(unused_name(), instances=1))
        self.server.accept()
        self.first: Pipe = self.owns(self.port.pipe(self.server.name))
        self.busy: Pipe = self.owns(one(self.port).operation.accepted)

    def post(self) -> Any:
        return self.port.connect_pipe(self.server.name, key="connect")

    def complete(self, operation: Any) -> None:
        """The server has time again."""
        self.first.close()
        self.busy.disconnect()
        self.accept = self.busy.accept()

    def post_ready(self) -> Any:
        self.complete(None)
        return self.post()

    def post_ended(self) -> Any:
        """It is the port that tries again: what has ended without it has been quick."""
        return self.post_ready()

    def post_failing(self) -> Any:
        """There is no such pipe."""
        return self.port.connect_pipe(unused_name())

    def take(self) -> Any:
        """Return the connect's completion, and not that of the accept."""
        seen: list[Any] = []
        while not [c for c in seen if c.key == "connect"] or self.port.in_flight_by_kind():
            completions = self.port.wait(60)
            assert completions, f"only {seen} came"
            seen += completions
        [completion] = [c for c in seen if c.key == "connect"]
        return completion

    def check(self, completion: Any) -> None:
        assert completion.operation.pipe.peer_process_id() > 0
        self.first = self.owns(completion.operation.pipe)


SCENARIOS: list[type[Scenario]] = [Accept, ServerAccept, Read, Write, Transact, Connect]
