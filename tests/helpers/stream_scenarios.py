"""What a stream does, as scenarios: receives, sends, accepts, connects, and their ends."""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from completions import one
from deadline import DEADLINE_S
from packets_as_sends import packets_as_sends
from plain_socket import received, reset, wait_until_full
from scenario import (
    CANCELLED,
    CLOSED,
    FAILURE,
    ON_THE_SPOT,
    PENDING,
    REFUSED,
    TOO_LATE,
    Cell,
    Elsewhere,
    Impossible,
    Outcome,
    Scenario,
)
from unanswered import Unanswered

from pyiocp import (
    ConnectRefusedError,
    NotConnectedError,
    PeerResetError,
    Stream,
)
from pyiocp.winapi import SD_SEND, WSAENOBUFS

if TYPE_CHECKING:
    from faulty_kernel import FaultyKernel

HOST = "127.0.0.1"
MUCH = bytes(n % 251 for n in range(1 << 19))
"""More than the sockets take, after `small_buffers`."""


def small_buffers(ours: socket.socket, peer: socket.socket) -> None:
    """Have the system take little of what the peer does not read."""
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)


class OfAPair(Scenario):
    """On a stream that is connected to a plain socket."""

    refusal = (WSAENOBUFS, -1)

    def set_up(self) -> None:
        ours, self.peer = socket.socketpair()
        self.peer.settimeout(DEADLINE_S)
        self.owns(self.peer)
        small_buffers(ours, self.peer)
        self.handle: Stream = self.owns(self.port.stream(ours))
        self.unconnected = self.owns(self.port.stream())


class Receive(OfAPair):
    method = "Stream.receive"
    function = "WSARecv"
    failure = PeerResetError
    spoiled = frozenset({FAILURE})

    def post(self) -> Any:
        return self.handle.receive(bytearray(16))

    def complete(self, operation: Any) -> None:
        self.peer.sendall(b"data")

    def post_ready(self) -> Any:
        self.peer.sendall(b"data")
        assert select.select([self.handle.number], [], [], 10)[0]
        return self.post()

    def post_failing(self) -> Any:
        operation = self.post()
        reset(self.peer)
        return operation

    def check(self, completion: Any) -> None:
        assert bytes(completion.data) == b"data"


class ReceiveNothing(Receive):
    variant = "without a buffer"

    def post(self) -> Any:
        return self.handle.receive()

    def check(self, completion: Any) -> None:
        """Nothing was taken: the bytes are there for a receive that has room."""
        assert completion.bytes == 0
        self.handle.receive(bytearray(16))
        assert bytes(one(self.port).data) == b"data"


class Peek(ReceiveNothing):
    variant = "peek"

    def post(self) -> Any:
        return self.handle.receive(bytearray(16), peek=True)

    def check(self, completion: Any) -> None:
        assert bytes(completion.data) == b"data"
        completion.bytes = 0
        super().check(completion)


class Send(OfAPair):
    method = "Stream.send"
    function = "WSASend"
    failure = NotConnectedError
    spoiled = frozenset({FAILURE, CANCELLED, CLOSED})

    def post(self) -> Any:
        return self.handle.send(MUCH)

    def complete(self, operation: Any) -> None:
        assert received(self.peer, len(MUCH)) == MUCH

    def post_ready(self) -> Any:
        return self.handle.send(b"data")

    def post_failing(self) -> Any:
        self.handle.shutdown(SD_SEND)
        return self.handle.send(b"data")

    def check(self, completion: Any) -> None:
        assert completion.bytes == sum(map(len, completion.operation.buffers))


class SendFile(Send):
    method = "Stream.send_file"
    function = "TransmitFile"
    refusal = (WSAENOBUFS, 0)
    wine_keeps_memory = True

    def set_up(self) -> None:
        super().set_up()
        path = self.folder / "much"
        path.write_bytes(MUCH)
        self.file = self.owns(path.open("rb"))

    def post(self) -> Any:
        return self.handle.send_file(self.file)

    def post_stuck(self) -> Any:
        operation = self.post()
        wait_until_full(self.peer)
        return operation

    def cancel(self, operation: Any) -> bool:
        """Ask again, as a port does that closes: Wine forgets a cancel while bytes are moving."""
        asked = super().cancel(operation)
        until = time.monotonic() + 60
        while operation._part.unwritten and time.monotonic() < until:
            time.sleep(0.01)  # it is over within one; bounded above
            operation.cancel()
        return asked

    def post_ready(self) -> Any:
        return self.handle.send_file(self.file, 0, 4)

    def post_failing(self) -> Any:
        return self.unconnected.send_file(self.file)

    def check(self, completion: Any) -> None:
        assert completion.bytes in (4, len(MUCH))


class SendPackets(Send):
    """Through the seam where the system has no TransmitPackets: pieces of memory, by WSASend."""

    method = "Stream.send_packets"
    function = "TransmitPackets"
    refusal = (WSAENOBUFS, 0)

    def __init__(self, kernel: FaultyKernel, folder: Path) -> None:
        self._seen = packets_as_sends(kernel)
        super().__init__(kernel, folder)

    def renew(self) -> None:
        super().renew()
        self._seen.clear()

    def post(self) -> Any:
        return self.handle.send_packets(MUCH[:1000], MUCH[1000:])

    def post_ready(self) -> Any:
        return self.handle.send_packets(b"da", b"ta")

    def post_failing(self) -> Any:
        self.handle.shutdown(SD_SEND)
        return self.handle.send_packets(b"data")

    def check(self, completion: Any) -> None:
        assert completion.bytes in (4, len(MUCH))


class Disconnect(OfAPair):
    method = "Stream.disconnect"
    function = "DisconnectEx"
    surely_pending = False
    refusal = (WSAENOBUFS, 0)
    stuck_call = True
    failure = NotConnectedError
    spoiled = frozenset(Outcome)
    cells: ClassVar[dict[Outcome, Cell]] = {
        ON_THE_SPOT: Impossible("DisconnectEx waits for the peer, or says so: it is always pending")
    }

    def post(self) -> Any:
        return self.handle.disconnect()

    def complete(self, operation: Any) -> None:
        assert self.peer.recv(10) == b""
        self.peer.close()

    def post_failing(self) -> Any:
        return self.unconnected.disconnect()

    def check(self, completion: Any) -> None:
        assert completion.bytes == 0


class Accept(Scenario):
    method = "Stream.accept"
    function = "AcceptEx"
    refusal = (WSAENOBUFS, 0)
    within_call = False
    first_data = b""
    cells: ClassVar[dict[Outcome, Cell]] = {
        FAILURE: Elsewhere("servers/tcp/test_listener.py", "test_clients_that_reset_in_the_backlog")
    }

    def set_up(self) -> None:
        self.handle: Stream = self.owns(self.port.stream())
        self.handle.bind((HOST, 0))
        self.handle.listen()

    def post(self) -> Any:
        return self.handle.accept(len(self.first_data))

    def complete(self, operation: Any) -> None:
        self.client = socket.create_connection(self.handle.local_address(), timeout=DEADLINE_S)
        self.owns(self.client)
        self.client.sendall(self.first_data)

    def post_ready(self) -> Any:
        self.complete(None)
        return self.post()

    def check(self, completion: Any) -> None:
        accepted = completion.operation.accepted
        assert accepted.peer_address() == self.client.getsockname()
        assert bytes(completion.data) == self.first_data
        accepted.close()
        self.client.close()


class AcceptWithData(Accept):
    variant = "with first data"
    first_data = b"first data"
    failure = PeerResetError
    cells: ClassVar[dict[Outcome, Cell]] = {}

    def post_failing(self) -> Any:
        operation = self.post()
        reset(socket.create_connection(self.handle.local_address(), timeout=DEADLINE_S))
        return operation


class Connect(Scenario):
    method = "Stream.connect"
    function = "ConnectEx"
    refusal = (WSAENOBUFS, 0)
    failure = ConnectRefusedError
    spoiled = frozenset({FAILURE, CANCELLED, TOO_LATE, PENDING})
    leaks = (PENDING, REFUSED)
    data = b""
    cells: ClassVar[dict[Outcome, Cell]] = {
        ON_THE_SPOT: Impossible("ConnectEx waits for the peer's answer: it is always pending")
    }

    def set_up(self) -> None:
        self.server = self.owns(socket.create_server((HOST, 0)))
        self.server.settimeout(DEADLINE_S)
        self.handle: Stream = self.owns(self.port.stream())

    def post(self) -> Any:
        return self.handle.connect(self.server.getsockname(), self.data)

    def post_stuck(self) -> Any:
        """To where nobody answers."""
        unanswered = Unanswered()
        self.owns(unanswered)
        assert unanswered.fill()
        return self.handle.connect(unanswered.address, self.data)

    def complete(self, operation: Any) -> None:
        self.peer, _ = self.server.accept()
        self.owns(self.peer)
        self.peer.settimeout(DEADLINE_S)

    def post_failing(self) -> Any:
        self.server.close()
        with socket.socket() as unused:
            unused.bind((HOST, 0))
            return self.handle.connect(unused.getsockname(), self.data)

    def check(self, completion: Any) -> None:
        assert completion.bytes == len(self.data)
        assert received(self.peer, len(self.data)) == self.data
        assert self.handle.peer_address() == self.server.getsockname()


class ConnectWithData(Connect):
    variant = "with first data"
    data = b"first data"


SCENARIOS: list[type[Scenario]] = [
    Receive,
    ReceiveNothing,
    Peek,
    Send,
    Accept,
    AcceptWithData,
    Connect,
    ConnectWithData,
    Disconnect,
    SendFile,
    SendPackets,
]
