"""pyiocp one ring further in: operations and completions, posted again and again by hand."""

from __future__ import annotations

import functools
import socket

from pyiocp import CompletionPort, IocpError, Stream

from .control import Control


def serve_echo(control: Control) -> None:
    """Send back what comes."""

    def serve(stream: Stream) -> None:
        receive = stream.receive_operation(bytearray(65536))
        stream.key = receive
        receive.post()

    with CompletionPort() as port:
        listening = port.stream(family=socket.AF_INET)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        for _ in range(32):
            listening.accept()
        over: list[bool] = []
        control.ready(listening.local_address()[1], functools.partial(port.post, over))
        while True:
            for completion in port.wait():
                operation = completion.operation
                if completion.key is over:
                    return
                stream = operation.handle
                if operation.kind == "accept":
                    stream = operation.accepted
                    operation.post()
                try:
                    if operation.kind == "send":
                        stream.key.post()
                    elif operation.kind == "receive":
                        if completion.bytes:
                            stream.send(bytes(completion.data))
                        else:
                            stream.close()
                    elif stream is not None:
                        serve(stream)
                except IocpError:  # told on the spot: no completion will tell it
                    stream.close()


def serve_datagrams(control: Control) -> None:
    """Send back what comes, to where it came from."""
    with CompletionPort() as port:
        datagram = port.datagram(family=socket.AF_INET)
        datagram.bind(("127.0.0.1", 0))
        for _ in range(64):
            datagram.receive_from(bytearray(2048))
        over: list[bool] = []
        control.ready(datagram.local_address()[1], functools.partial(port.post, over))
        while True:
            for completion in port.wait():
                operation = completion.operation
                if completion.key is over:
                    return
                if operation.kind == "receive_from":
                    datagram.try_send_to(completion.data, completion.address)
                    operation.post()
