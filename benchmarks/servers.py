"""Echo servers to compare, each run in a process of its own by ``echo.py``.

    python benchmarks/servers.py pyiocp

prints one line of JSON with the ports that it listens at, serves until the control
connection ends, and prints a second line with the CPU time that it took.

What belongs here: servers that do the same thing in the best way their library offers.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable


def serve_with_pyiocp(control: socket.socket) -> None:
    """Serve with a `Session`, on one worker."""
    # Each process imports only what it serves with.
    from pyiocp import CompletionPort, Session  # noqa: PLC0415

    class Echo(Session):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), Echo)
        when_over(control, listener.address[1], port.stop)
        port.run(threads=1)


def serve_with_proactor(control: socket.socket) -> None:
    """Serve with asyncio's ProactorEventLoop and a Protocol."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)  # type: ignore[attr-defined]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        when_over(control, port, lambda: loop.call_soon_threadsafe(over.set))
        await over.wait()
        server.close()

    asyncio.run(main())


def serve_with_operations(control: socket.socket) -> None:
    """Serve with a port's operations and completions, each of them posted again and again."""
    from pyiocp import CompletionPort, Stream  # noqa: PLC0415

    def serve(stream: Stream) -> None:
        buffer = bytearray(65536)
        receive = stream.receive_operation(buffer)
        stream.key = receive
        receive.post()

    with CompletionPort() as port:
        listening = port.stream(family=socket.AF_INET)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        for _ in range(32):
            listening.accept()
        over: list[bool] = []
        stop = functools.partial(port.post, over)
        when_over(control, listening.local_address()[1], stop)
        while True:
            for completion in port.wait():
                operation = completion.operation
                if completion.key is over:
                    return
                if operation.kind == "accept":
                    if operation.accepted is not None:
                        serve(operation.accepted)
                    operation.post()
                elif operation.kind == "send":
                    operation.handle.key.post()
                elif completion.bytes:
                    operation.handle.send(bytes(completion.data))
                else:
                    operation.handle.close()


SERVERS: dict[str, Callable[[socket.socket], None]] = {
    "pyiocp": serve_with_pyiocp,
    "operations": serve_with_operations,
    "asyncio": serve_with_proactor,
}
"""By name; besides, there is the floor, a program in C."""


_begun: list[os.times_result] = []
"""The CPU time when the server was ready."""


def when_over(control: socket.socket, port: int, stop: Callable[[], object]) -> None:
    """Tell the port, and call `stop` when the control connection has come and gone."""

    def watch() -> None:
        connection, _ = control.accept()
        with connection:
            connection.recv(1)
        stop()

    threading.Thread(target=watch, daemon=True).start()
    # What came before is nobody's message. To import pyiocp, which its servers only do, takes
    # 0.35 s of CPU time here: 15 us more for each of 23,000 messages.
    _begun.append(os.times())
    print(json.dumps({"echo": port, "control": control.getsockname()[1]}), flush=True)


def main() -> None:
    """Run the server that the command line names; ``floor`` is a program, named as well."""
    if sys.argv[1] == "floor":
        raise SystemExit(subprocess.call([sys.argv[2]]))
    with socket.create_server(("127.0.0.1", 0)) as control:
        SERVERS[sys.argv[1]](control)
    [before], after = _begun, os.times()
    taken = {"user_s": after.user - before.user, "system_s": after.system - before.system}
    print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
