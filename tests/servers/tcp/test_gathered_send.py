"""GatheredSend: what of a queue one WSASend takes, and from where."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from sys import getrefcount

import pytest

from pyiocp import CompletionPort
from pyiocp.engine.operation import Packet
from pyiocp.servers.tcp.gathered_send import GatheredSend


class Sender:
    """Sends over a connection, and sees what the system is given for that."""

    def __init__(self, port: CompletionPort, ours: socket.socket, peer: socket.socket) -> None:
        self.send = GatheredSend(port.stream(ours))
        self.send.operation.receiver = lambda *_: None
        self._port = port
        self._peer = peer
        self._given: list[bytes] = []

    def taken(self, packet: Packet) -> None:
        """Take note of what the system gets."""
        if packet is self.send.operation:
            self._given = [bytes(buffer) for buffer in packet.buffers]

    def given_back(self, packet: Packet) -> None:
        """Nothing to note."""

    def cancel_asked(self, packet: Packet) -> None:
        """Nothing to note."""

    def sent(self, *messages: bytes) -> list[bytes]:
        """Send messages, and return the buffers that the system was given for them."""
        self.send.queue.extend(messages)
        if self.send.start_next() is None:
            self._port.wait(timeout=0.1)
            self.send.take_sent(self.send.operation.transferred)
        received = b"".join(self._given)
        assert received == self._peer.recv(len(received), socket.MSG_WAITALL)
        return self._given


@pytest.fixture
def sender(port: CompletionPort) -> Iterator[Sender]:
    """What sends over a connection."""
    ours, peer = socket.socketpair()
    peer.settimeout(10)
    with peer:
        made = Sender(port, ours, peer)
        port.in_flight.observe(made)
        yield made
        port.in_flight.ignore(made)


def test_small_messages_go_out_as_one_buffer(sender: Sender) -> None:
    """They lie side by side, and the queue is empty then; once more, with others."""
    assert [b"onetwosix"] == sender.sent(b"one", b"two", b"six")
    assert [b"seven"] == sender.sent(b"seven")
    assert not sender.send.queue


def test_more_small_messages_than_fit_wait(sender: Sender) -> None:
    """The first of 100 fill the room; the others stay in the queue, and go next."""
    messages = [bytes([n]) * 100 for n in range(100)]
    first = sender.sent(*messages)
    count = len(first[0]) // 100
    assert [b"".join(messages[:count])] == first
    assert messages[count:] == list(sender.send.queue)
    assert [b"".join(messages[count : 2 * count])] == sender.sent()


def test_small_messages_before_a_large_one_go_with_it(sender: Sender) -> None:
    """A head and a body are one call, and nothing of the body is copied."""
    body = bytes(range(256)) * 16
    assert [b"head", body, b"tail"] == sender.sent(b"head", body, b"tail")
    assert [b"next"] == sender.sent(b"next")


def test_large_message_is_not_kept_beyond_the_next_one(sender: Sender) -> None:
    """The operation's hold on it is gone with the next message, however small."""
    body = bytes(range(256)) * 16
    references = getrefcount(body)
    sender.sent(body)
    assert getrefcount(body) > references
    sender.sent(b"small")
    assert references == getrefcount(body)
