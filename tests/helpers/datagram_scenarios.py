"""What a datagram socket does, as scenarios: receives and sends, with control data and without.

A send never waits: what the socket has no room for is dropped, or was sent already. So it is
the seam that keeps one pending.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from scenario import Scenario

from pyiocp import (
    AccessDeniedError,
    Datagram,
    IocpError,
    MessageTruncatedError,
)
from pyiocp.winapi import WSAENOBUFS

HOST = "127.0.0.1"


class OfAPair(Scenario):
    """On a socket that is bound, beside a plain one that is bound too."""

    refusal = (WSAENOBUFS, -1)

    def set_up(self) -> None:
        self.handle: Datagram = self.owns(self.port.datagram())
        self.handle.bind((HOST, 0))
        self.unbound: Datagram = self.owns(self.port.datagram())
        self.peer = self.owns(socket.socket(type=socket.SOCK_DGRAM))
        self.peer.bind((HOST, 0))
        self.peer.settimeout(60)


class ReceiveFrom(OfAPair):
    method = "Datagram.receive_from"
    function = "WSARecvFrom"
    failure = MessageTruncatedError

    def post(self) -> Any:
        return self.handle.receive_from(bytearray(16))

    def complete(self, operation: Any) -> None:
        self.peer.sendto(b"data", self.handle.local_address())

    def post_ready(self) -> Any:
        self.complete(None)
        assert select.select([self.handle.number], [], [], 10)[0]
        return self.post()

    def post_failing(self) -> Any:
        """C12: more comes than there is room for."""
        self.peer.sendto(bytes(17), self.handle.local_address())
        return self.post()

    def check(self, completion: Any) -> None:
        assert bytes(completion.data) == b"data"
        assert completion.address == self.peer.getsockname()


class Receive(ReceiveFrom):
    """On a connected socket: the same call, in the words of streams."""

    method = "Datagram.receive"

    def set_up(self) -> None:
        super().set_up()
        self.handle.connect(self.peer.getsockname())

    def post(self) -> Any:
        return self.handle.receive(bytearray(16))


class ReceiveMessage(ReceiveFrom):
    method = "Datagram.receive_message"
    function = "WSARecvMsg"

    def set_up(self) -> None:
        super().set_up()
        self.handle.report(destination=True)

    def post(self) -> Any:
        return self.handle.receive_message(bytearray(16))

    def check(self, completion: Any) -> None:
        super().check(completion)
        assert completion.control.destination == HOST


class SendTo(OfAPair):
    method = "Datagram.send_to"
    function = "WSASendTo"
    stuck_call = True
    failure = AccessDeniedError

    def post(self) -> Any:
        """By the seam: it waits for `complete`."""
        return self.held(lambda: self.send(b"data"))

    def send(self, data: bytes, address: Any = None) -> Any:
        """Post it with these bytes, to the peer or to another address."""
        return self.handle.send_to(data, address or self.peer.getsockname())

    def complete(self, operation: Any) -> None:
        assert self.stuck is not None
        self.stuck.go_on(skips_on_success=False)

    def post_ready(self) -> Any:
        operation = self.send(b"data")
        assert self.peer.recv(16) == b"data"
        return operation

    def post_failing(self) -> Any:
        """WSAEACCES: nobody has allowed it to broadcast."""
        return self.send(b"data", ("255.255.255.255", 9))

    def check(self, completion: Any) -> None:
        assert completion.bytes == 4


class Send(SendTo):
    """On a connected socket."""

    method = "Datagram.send"
    function = "WSASend"
    failure = IocpError

    def set_up(self) -> None:
        super().set_up()
        self.handle.connect(self.peer.getsockname())

    def send(self, data: bytes, address: Any = None) -> Any:
        return self.handle.send(data)

    def post_failing(self) -> Any:
        """WSAENOTCONN; Wine says WSAEINVAL."""
        return self.unbound.send(b"data")


class SendMessage(SendTo):
    method = "Datagram.send_message"
    function = "WSASendMsg"

    def send(self, data: bytes, address: Any = None) -> Any:
        return self.handle.send_message(data, address or self.peer.getsockname())


SCENARIOS: list[type[Scenario]] = [
    ReceiveFrom,
    Receive,
    ReceiveMessage,
    SendTo,
    Send,
    SendMessage,
]
